"""A copy of a tree that runs in this process, and holds only what a check may read."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Iterator
from typing import Any

from .._repr import is_streamer
from ..core import Streamer
from ..mux import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux
from .clock import Clock, OutOfTime
from .plan import MAP, MUX, OPAQUE, PROCESS, SOURCE, Node


def twin_of(node: Node, clock: Clock) -> Streamer | None:
    """Return the copy of a node; None if there is nothing that may be read.

    It is about what items there are, not about shares: weights are left out. Sources that fail are
    left out too, and background processes.
    """
    if node.once or node.has_failed:
        return None
    if node.kind == SOURCE:
        has_failed = node.facts is not None and node.facts.error is not None
        return None if has_failed else Streamer(_until, node.streamer, clock)
    if node.kind == OPAQUE:
        return node.streamer if node.is_whole and not _has_process(node) else None
    twins = [twin_of(each, clock) for each in node.below]
    if node.kind == MUX:
        return _mux_of(node.streamer, [each for each in twins if each is not None])
    if None in twins:
        return None
    return _call_of(node, twins) if node.kind == MAP else twins[0]


def _until(stream: Any, clock: Clock) -> Iterator[Any]:
    """Yield the items of a stream, while there is time."""
    for item in stream:
        yield item
        if not clock.left:
            raise OutOfTime


def _has_process(node: Node) -> bool:
    return any(each.kind == PROCESS for each in node.walk())


def _mux_of(mux: Any, twins: list[Streamer]) -> Streamer | None:
    """Return a mux like another one, of other streamers."""
    if not twins:
        return None
    if isinstance(mux, StochasticMux):
        return StochasticMux(
            twins,
            mux.n_active,
            mux.rate,
            mode=mux.mode,
            prune_empty_streams=mux.prune_empty_streams,
            dist=mux.dist,
        )
    if isinstance(mux, RoundRobinMux):
        return RoundRobinMux(twins, mux.mode)
    return ChainMux(twins, mux.mode) if isinstance(mux, ChainMux) else ShuffledMux(twins)


def _call_of(node: Node, twins: list[Any]) -> Streamer:
    """Return a streamer that makes the same call, with other streamers in it."""
    streamer = node.streamer
    left = iter(twins)
    other = copy.copy(streamer)
    other.streamer = _replaced(streamer.streamer, left)
    other.args = tuple(_replaced(each, left) for each in streamer.args)
    other.kwargs = {name: _replaced(each, left) for name, each in streamer.kwargs.items()}
    return other


def _replaced(value: Any, left: Iterator[Any]) -> Any:
    """Return a value with the next twins in place of the streamers in it (see `streamers_in`)."""
    if is_streamer(value):
        return next(left)
    if isinstance(value, functools.partial):
        function, *args = [_replaced(each, left) for each in (value.func, *value.args)]
        keywords = {name: _replaced(each, left) for name, each in value.keywords.items()}
        return functools.partial(function, *args, **keywords)
    if inspect.ismethod(value) and is_streamer(value.__self__):
        return getattr(next(left), value.__name__)
    return value
