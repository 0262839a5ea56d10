"""Sources that begin with the same items whenever they are opened."""

from __future__ import annotations

import math
import numbers
from collections import Counter
from types import CodeType
from typing import Any

from .. import _repr, _validate
from ..parallel import ParallelStreamer
from .plan import PROCESS, SOURCE, Node, bound_arguments, function_of, limit_of, opened_again
from .report import Report
from .traces import names_in

_SEED_NAMES = {"seed", "random_state", "random_seed", "rng", "rng_seed"}
_MAKERS = {"default_rng", "RandomState", "Random", "Generator", "manual_seed"}
_GLOBAL_SEED = {"random", "seed"}  # the names in np.random.seed(0)
_TAKE_A_SEED = "give its function a parameter seed, and pescador.FRESH_SEED as the argument for it"
_FEWEST_COMPARED = 4  # items, of which some differ: else they may be alike by chance


def most_of(limit: float) -> int:
    """Return how many items an activation gives at most, but for one in a million."""
    return math.ceil(limit + 5 * math.sqrt(limit) + 5)


def begin_alike(root: Node, report: Report) -> None:
    """Find sources whose activations repeat, and those whose rest is never reached."""
    for node in root.walk():
        if node.kind == SOURCE and node.facts is not None and node.facts.is_alike:
            _look_at(node, report)


def _look_at(node: Node, report: Report) -> None:
    limit = limit_of(node)
    seed = _seed_of(node)
    if not n_unreached(node) and not (opened_again(node) and _draws_alike(node, limit, seed)):
        return
    like: str = _repr.named(function_of(node.streamer))
    if seed or _makes_generator(node):
        message = "draws random numbers, but begins with the same items every time it is opened"
        remedy = f"give pescador.FRESH_SEED in place of {seed}"
        if not seed:
            remedy = _TAKE_A_SEED
        report.add("warning", "begins-alike", node, message, remedy, like=like)
        return
    assert limit is not None
    items = "item" if limit == 1 else "items"
    message = "begins with the same item every time it is opened, and its mux closes it after"
    message += f" about {limit:g} {items}: it never reads the items after these"
    remedy = f"begin at a random item: {_TAKE_A_SEED}; or give the mux rate=None and"
    remedy += ' mode="exhaustive"'
    report.add("warning", "rest-unreached", node, message, remedy, like=like)


def n_unreached(node: Node) -> int:
    """Return how many different items come only after the most that an activation gives."""
    limit = limit_of(node)
    if node.facts is None or limit is None:
        return 0
    most, digests = most_of(limit), node.facts.digests
    return len(set(digests[most:]) - set(digests[:most]))


def _draws_alike(node: Node, limit: float | None, seed: str) -> bool:
    """Tell whether a source that is opened again draws the same at random."""
    facts = node.facts
    assert facts is not None
    if not (seed or _makes_generator(node)) or (limit is None and not facts.has_ended):
        return False
    return len(facts.digests) >= _FEWEST_COMPARED and facts.n_different > 1


def _seed_of(node: Node) -> str:
    """Return the seed that a source was given, as text; "" if it has none."""
    try:
        arguments = bound_arguments(node.streamer)
    except AttributeError:
        return ""
    for name, value in arguments.items():
        is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if name in _SEED_NAMES and is_whole:
            return f"{name}={_validate.short(value)}"
    return ""


def _makes_generator(node: Node) -> bool:
    """Tell whether the function of a source makes a random generator, or seeds a global one."""
    function: Any = function_of(node.streamer)
    if isinstance(function, type):
        function = getattr(function, "__iter__", None)
    code = getattr(function, "__code__", None)
    names = names_in(code) if isinstance(code, CodeType) else set()
    return bool(names & _MAKERS) or names >= _GLOBAL_SEED


def same_in_every_process(root: Node, report: Report) -> None:
    """Find random generators that are copied into processes, where they start anew."""
    for node in root.walk():
        processes = [each for each in node.all_above() if each.kind == PROCESS]
        if node.kind == PROCESS or not node.generators or not any(map(_is_copied, processes)):
            continue
        name = type(node.generators[0]).__name__
        message = f"draws from a {name} that the program has made: each background process gets a"
        message += " copy, and all copies give the same random numbers"
        report.add("warning", "begins-alike", node, message, _TAKE_A_SEED, like=name)


def _is_copied(node: Node) -> bool:
    streamer = node.streamer
    return not isinstance(streamer, ParallelStreamer) or streamer.backend != "threads"


def share_a_generator(root: Node, report: Report) -> None:
    """Find random generators that several sources draw from, in the program."""
    sources = [
        each
        for each in root.walk()
        if each.kind == SOURCE and each.generators and not report.has("begins-alike", each)
    ]
    known = {id(each): each for node in sources for each in node.generators}
    n_drawing = Counter(number for node in sources for number in set(map(id, node.generators)))
    for node in sources:
        for number in map(id, node.generators):
            if n_drawing[number] > 1:
                _tell_of_sharing(node, type(known[number]).__name__, number, report)
                break


def _tell_of_sharing(node: Node, name: str, number: int, report: Report) -> None:
    message = f"draws from a {name} that other sources use too: its items depend on when those are"
    message += f" read, and the state of a stream does not include the {name}"
    remedy = f"{_TAKE_A_SEED}: see docs/reproducibility.md"
    report.add("note", "shared-generator", node, message, remedy, like=number, is_of_tree=True)
