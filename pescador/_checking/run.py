"""One check, end to end: the tree, what its sources give, and then what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .._streaming.failures import add_note
from . import contents, crossing, mixing, repeats
from .clock import Clock
from .findings import Findings
from .plan import MAP, OPAQUE, SOURCE, Node, Planner, limit_of, opened_again
from .probe import probe
from .report import Report
from .traces import Kept
from .twin import twin_of

# How much of the time that is left goes to what.
_FOR_PLAN, _FOR_SOURCES, _FOR_MAPS = 0.2, 0.6, 0.8
_FEWEST_READ = 64  # items of a source, if there are so many
_MORE_THAN_REACHED = 16  # items beyond those that a mux takes
_N_ACTIVATIONS = 3  # of sources that are opened again


def run(streamer: Any, n_items: int, seed: int, max_seconds: float) -> Findings:
    """Return what is found."""
    clock = Clock(max_seconds)
    with Kept(seed) as kept:
        root = Planner(kept, seed, clock.part(_FOR_PLAN)).plan(streamer)
        n_sources = _read_sources(root, n_items, clock)
        _read_maps(root, n_items, clock)
        report = Report()
        _look(root, n_items, clock, report)
    n_left_out = sum(each.n_left_out for each in root.walk())
    return Findings(report.findings(), n_sources, n_left_out, not clock.has_cut)


def _look(root: Node, n_items: int, clock: Clock, report: Report) -> None:
    """Make all checks. (Those that keep quiet about what others have told come later.)"""
    contents.read_once(root, report)
    contents.give_nothing(root, report)
    contents.differ(root, report)
    contents.fail(root, report)
    contents.fill_no_batch(root, report)
    mixing.parameters(root, n_items, report)
    repeats.begin_alike(root, report)
    repeats.same_in_every_process(root, report)
    crossing.cannot_cross(root, report)
    crossing.cannot_be_pickled(root, clock, report)
    crossing.cost_more(root, report)
    crossing.would_save(root, report)
    crossing.start_often(root, report)


def _read_sources(root: Node, n_items: int, clock: Clock) -> int:
    """Read each source a little; return how many there were."""
    sources = [each for each in root.walk() if each.kind == SOURCE and not each.once]
    alone = len(sources) == 1
    budget = clock.part(_FOR_SOURCES)
    known: dict[int, Any] = {}
    for number, node in enumerate(sources):
        if id(node.streamer) in known:
            node.facts = known[id(node.streamer)]
            continue
        if not budget.left:
            clock.has_cut = True
            break
        part = budget.part(1 / (len(sources) - number))
        limit = limit_of(node)
        is_again = opened_again(node) or limit is not None
        n_reached = 0 if limit is None else repeats.most_of(limit)
        n_most = n_items if alone else max(_FEWEST_READ, n_reached + _MORE_THAN_REACHED)
        with _named(node):
            node.facts = probe(
                node.streamer, min(n_items, n_most), _N_ACTIVATIONS if is_again else 1, part
            )
        known[id(node.streamer)] = node.facts
    return sum(each.facts is not None for each in sources)


def _read_maps(root: Node, n_items: int, clock: Clock) -> None:
    """Read what maps make of the sources, and the whole tree, from below."""
    nodes = [each for each in root.walk() if each.kind in (MAP, OPAQUE)]
    if root.kind != SOURCE and root not in nodes:
        nodes.insert(0, root)
    budget = clock.part(_FOR_MAPS)
    for number, node in enumerate(reversed(nodes)):
        if not budget.left:
            clock.has_cut = True
            return
        part = budget.part(1 / (len(nodes) - number))
        twin = twin_of(node, part)
        if twin is not None:
            with _named(node):
                node.facts = probe(twin, n_items, 1, part)


@contextmanager
def _named(node: Node) -> Iterator[None]:
    """Say in an interrupt what was being read: it may have hung."""
    try:
        yield
    except BaseException as error:
        add_note(error, f"pescador.check was reading {node.text}, at {node.place}")
        raise
