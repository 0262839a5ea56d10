"""What the parameters of muxes decide, and what they never open."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _validate
from .._callables import FOLLOWS
from .._repr import counted
from ..exceptions import PescadorError
from ..mux import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux
from .plan import MAP, MUX, OPAQUE, SOURCE, Node, function_of, may_open_again
from .report import Report, error_text


def parameters(root: Node, n_items: int, report: Report) -> None:
    """Find what the parameters of a mux do not do."""
    for node in root.walk():
        if node.kind == MUX:
            _weight_functions(node, n_items, report)
            _zero_weights(node, report)
            _behind_endless(node, report)
            if isinstance(node.streamer, StochasticMux):
                _little_weight(node, report)
                _large_n_active(node, report)
                _never_replaced(node, report)
                _endless_epoch(node, report)


def _weight_functions(node: Node, n_items: int, report: Report) -> None:
    mux = node.streamer
    function, _ = mux._weights_to_show()
    if function is None:
        return
    for number in range(0, n_items + 1, 1000):
        try:
            _validate.weights_at(function, number, mux.n_streams)
        except Exception as error:
            rule = str(error) if isinstance(error, PescadorError) else error_text(error)
            message = f"its function of weights fails for n_items={number}: {rule}"
            remedy = f"let it return {mux.n_streams} numbers >= 0 for every n_items"
            report.add("error", "fails", node, message, remedy)
            return


def _positive(node: Node) -> np.ndarray:
    """Return the positive weights of a mux."""
    _, weights = node.streamer._weights_to_show()
    if weights is None:
        return np.ones(node.streamer.n_streams)
    return weights[weights > 0]


def _zero_weights(node: Node, report: Report) -> None:
    function, weights = node.streamer._weights_to_show()
    if function is not None or weights is None or weights.all():
        return
    first, *others = np.flatnonzero(weights == 0).tolist()
    message = f"weights[{first}]=0: streamer {first} is never opened"
    if others:
        message += f" (the same for {counted(len(others), 'more streamer')})"
    remedy = "give it a positive weight, or leave the streamer out"
    report.add("note", "never-read", node, message, remedy)


def _little_weight(node: Node, report: Report) -> None:
    """Find weights that choose among open streams only (see docs/muxanalysis.md)."""
    mux, positive = node.streamer, _positive(node)
    _, weights = mux._weights_to_show()
    if weights is None or mux.is_weighting_given or positive.min() == positive.max():
        return
    is_closed = mux.rate is not None or _all_end(node)
    if mux.mode == "exhaustive" or not is_closed:
        return
    if mux.mode == "single_active" and len(positive) <= mux.n_active:
        return  # each is replaced by itself
    shares = "their lengths" if mux.rate is None else "equality"
    which = f"(n_active={mux.n_active}, of {len(positive)} streamers with a weight > 0)"
    message = f"the weights decide little: they choose only among the open streams {which}, so"
    message += f" shares drift towards {shares}"
    remedy = 'give weighting="share"' + (", and a rate" if mux.rate is None else "")
    remedy += "; or use ShuffledMux(streamers, weights), which keeps all streams open"
    report.add("warning", "weights-decide-little", node, message, remedy)


def _all_end(node: Node) -> bool:
    """Tell whether all that a mux opens has been seen to end."""
    return bool(node.below) and all(
        each.kind == SOURCE and each.facts is not None and each.facts.has_ended
        for each in node.below
    )


def _large_n_active(node: Node, report: Report) -> None:
    mux, n_streams = node.streamer, len(_positive(node))
    # (In the other modes it means all of them. And one streamer alone is not mixed at all.)
    if mux.mode != "with_replacement" or not 1 < n_streams < mux.n_active:
        return
    message = f"n_active={mux.n_active}, but there are only {n_streams} streamers to open, so some"
    message += " are open several times at once"
    remedy = f'give n_active={n_streams}, or mode="single_active", which never opens one twice'
    report.add("note", "n-active", node, message, remedy)


def _never_replaced(node: Node, report: Report) -> None:
    """Find endless streams that stay open for ever, so that others are never opened."""
    mux, n_streams = node.streamer, len(_positive(node))
    if mux.rate is not None or mux.n_active >= n_streams or not node.below:
        return
    if all(is_endless(each) for each in node.below):
        stay = "stays" if mux.n_active == 1 else "stay"
        message = f"rate=None: {mux.n_active} of {n_streams} endless streams {stay} open for ever,"
        message += " and the others are never opened"
        remedy = "give a rate, such as rate=256, or use ShuffledMux to read all of them"
        report.add("warning", "never-read", node, message, remedy)


def _endless_epoch(node: Node, report: Report) -> None:
    """Find endless streams among others, where each is to be read once, to its end."""
    mux = node.streamer
    if mux.mode != "exhaustive" or mux.rate is not None or all(map(is_endless, node.below)):
        return
    for each in filter(is_endless, node.below):
        message = 'never ends, so the epoch of its mux (mode="exhaustive") never ends either'
        remedy = "limit it to n items, Streamer(streamer.iterate, n), or leave it out"
        report.add("warning", "never-ends", each, message, remedy, like=True)


def _behind_endless(node: Node, report: Report) -> None:
    if not isinstance(node.streamer, ChainMux):
        return
    for before, after in itertools.pairwise(node.below):
        if is_endless(before):
            message = f"the streamer before it, at {before.place}, never ends, so the chain never"
            message += " opens this one"
            remedy = "limit that one to n items, Streamer(streamer.iterate, n), or use another mux"
            report.add("warning", "never-read", after, message, remedy)
            return


# What never ends.


def is_endless(node: Node) -> bool:
    """Tell whether a stream is known never to end; False if that is not known."""
    if node.kind == SOURCE:
        return _is_endless_source(node)
    if node.kind in (MAP, OPAQUE):
        is_map = node.kind == MAP and hasattr(function_of(node.streamer), FOLLOWS)
        return is_map and is_endless(node.below[0])
    if node.kind != MUX:
        return all(is_endless(each) for each in node.below)
    combined = _combined(node.streamer)
    return bool(node.below) and combined(map(_is_endless_in(node.streamer), node.below))


def _combined(mux: Any) -> Callable[[Any], bool]:
    """Return ``all`` or ``any``: which of its streams must be endless for a mux to be."""
    is_all = isinstance(mux, RoundRobinMux) and mux.mode == "shortest"
    return all if is_all else any


def _is_endless_in(mux: Any) -> Callable[[Node], bool]:
    """Return what tells whether a stream keeps a mux going for ever."""
    if isinstance(mux, ShuffledMux) or may_open_again(mux):
        return _gives
    if isinstance(mux, StochasticMux) and mux.rate is not None:
        return lambda node: False
    return is_endless


def _gives(node: Node) -> bool:
    return any(each.facts is not None and each.facts.n_items for each in node.producers())


def _is_endless_source(node: Node) -> bool:
    source = node.streamer.streamer
    if isinstance(source, (itertools.count, itertools.cycle)):
        return True
    facts = node.facts
    if facts is None or facts.has_ended or facts.error is not None or not facts.n_items:
        return False
    return _loops_for_ever(function_of(node.streamer))


def _loops_for_ever(function: Any) -> bool:
    """Tell whether the last thing that a generator function does is a loop without a way out."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return False
    definition = tree.body[0]
    body = getattr(definition, "body", [])
    while body and isinstance(body[-1], (ast.With, ast.Try)):
        body = body[-1].body
    if not isinstance(definition, ast.FunctionDef) or not body:
        return False
    last = body[-1]
    is_loop = (
        isinstance(last, ast.While) and isinstance(last.test, ast.Constant) and last.test.value
    )
    ways_out = (ast.Break, ast.Return, ast.Raise)
    return bool(is_loop) and not any(isinstance(each, ways_out) for each in ast.walk(last))
