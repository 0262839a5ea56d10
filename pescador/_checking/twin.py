"""A copy of a tree that runs in this process, and holds only what a check may read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
    left = iter(twins)  # in the order of `streamers_in`
    return node.streamer._remade(lambda _: next(left))
