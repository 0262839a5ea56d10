"""The part of a tree for one of several consumers: ranks, jobs, loader workers."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import _validate
from ._callables import FOLLOWS, ONE_TO_ONE
from ._repr import counted, is_streamer
from ._streaming.closable import close_iterator
from ._streaming.seeds import Seed
from ._streaming.survey import streamers_in, streamers_of
from .core import Streamer
from .exceptions import PescadorError
from .mux import BaseMux

__all__ = ["Shard", "shard"]


def shard(streamer: Any, index: int, count: int, steps: int | None = None) -> Streamer:
    """Return the part of a tree for one of several consumers.

    The lowest muxes are divided. Of each, consumer ``index`` of ``count`` gets the streamers
    ``index``, ``index + count``, and so on. The rest of the tree stays as it is. If the tree ends,
    its parts together give every item once.

    Parameters
    ----------
    streamer : Streamer
        A tree with a mux in it. The mux may be inside maps, a `ZMQStreamer` or a
        `ParallelStreamer`. If a function has several muxes among its arguments, all are divided.
    index : int, 0 <= index < count
        The number of this consumer: the rank.
    count : int >= 1
        The number of consumers.
    steps : int >= 1, optional
        The exact number of items that every part gives in a pass. A shorter part begins again.
        None: each part gives what it has, so some may end earlier than others.

    Returns
    -------
    Streamer
        The part, with seeds of its own for each ``index`` and ``count``. With ``count=1`` it gives
        the items of ``streamer``.

    Raises
    ------
    PescadorError
        If a number is out of its range; if there is no mux to divide; if a mux has fewer streamers
        than there are consumers, or has both muxes and sources, or if all weights of a part are 0
        (the error names the mux). In a run with ``steps``, if a pass has no items.

    See Also
    --------
    Report.merge : Join the reports of several parts.

    Notes
    -----
    Shares between muxes stay the same. In the part of a divided mux, shares are in proportion to
    the weights of its streamers. ``n_active`` and ``rate`` stay the same. If ``weights`` is a
    function, it counts the items of the part. A `ChainMux` that is read lazily is divided as it is
    read, and its parts may be empty.

    With another ``count``, the parts give other items in another order, and a state does not fit.
    Reports and failures name a source by its path in the whole tree.

    Examples
    --------
    >>> import pescador
    >>> files = [range(10 * k, 10 * k + 10) for k in range(6)]
    >>> epoch = pescador.StochasticMux(files, 2, None, mode="exhaustive", random_state=0)
    >>> parts = [list(pescador.shard(epoch, rank, 2)) for rank in range(2)]
    >>> [sorted({item // 10 for item in part}) for part in parts]
    [[0, 2, 4], [1, 3, 5]]
    >>> sorted(parts[0] + parts[1]) == list(range(60))
    True
    """
    count = _validate.whole("count", count, 1, "give the number of consumers")
    remedy = "give the number of this consumer: the first one is 0"
    index = _validate.whole("index", index, 0, remedy, count - 1)
    if steps is not None:
        steps = _validate.whole("steps", steps, 1, "give the number of items of a pass, or None")
    if not isinstance(streamer, Streamer):
        rule, remedy = "is not a streamer", "give the mux, or the Streamer of maps around it"
        raise _validate.refuse("streamer", streamer, rule, remedy)
    part = Shard(streamer, index, count)
    return part if steps is None else Streamer(_exactly, Streamer(part.cycle, steps), steps)


class Shard(Streamer):
    """A part of a tree, as `pescador.shard` makes it.

    Parameters
    ----------
    streamer : Streamer
        The whole tree.
    index, count : int
        Which part it is, of how many.
    first_pass : int >= 0
        The number of the pass of ``cycle()`` with which a run begins. It is for a loop that starts
        a new run for each epoch.

    Attributes
    ----------
    streamer : Streamer
        The part.
    index, count, first_pass
        As given.

    Raises
    ------
    PescadorError
        As `pescador.shard` says.

    Examples
    --------
    >>> import pescador
    >>> part = pescador.shard(pescador.ChainMux([range(3), "ab", "c"]), 1, 2)
    >>> part.index, part.count, list(part)
    (1, 2, ['a', 'b'])
    """

    def __init__(self, streamer: Streamer, index: int, count: int, first_pass: int = 0) -> None:
        super().__init__(streamer if count == 1 else _Divider(index, count).whole(streamer))
        self.index, self.count, self.first_pass = index, count, first_pass

    def _seed(self, above: Seed) -> Seed:
        return above if self.count == 1 else above.part(self.index, self.count)

    def _open_own(self, parent: Seed, place: int, number: int) -> Iterator:
        return super()._open_own(self._seed(parent), place, number + self.first_pass)

    def _open_at(self, parent: Seed, place: int, number: int, position: Any) -> Iterator:
        number += self.first_pass
        return super()._open_at(self._seed(parent), place, number, position)


class _Divider:
    """Makes the part of a tree; what is in it twice is divided once."""

    def __init__(self, index: int, count: int) -> None:
        self._index, self._count = index, count
        self._known: dict[int, tuple[Any, Any]] = {}  # by id, with what it is of

    def whole(self, tree: Any) -> Any:
        """Return the part of a whole tree."""
        if not _has_mux(tree):
            rule = "has no mux, so there is nothing to divide among several consumers"
            remedy = "put its sources into a mux, or give count=1"
            raise _validate.refuse("streamer", tree, rule, remedy)
        return self.part(tree)

    def part(self, streamer: Any) -> Any:
        """Return the part of something in the tree; itself, if there is no mux in it."""
        if id(streamer) not in self._known:
            self._known[id(streamer)] = streamer, self._new(streamer)
        return self._known[id(streamer)][1]

    def _new(self, streamer: Any) -> Any:
        if not _has_mux(streamer):
            return streamer
        if not isinstance(streamer, BaseMux):
            _refuse_hidden(streamer)
            return streamer._remade(self.part)
        below = streamer.streamers if isinstance(streamer.streamers, list) else []
        if streamer.n_streams and not below and _has_mux(streamer.streamers[0]):
            rule = "reads its streamers lazily, so the muxes in them cannot be divided"
            raise _validate.refuse("mux", streamer, rule, "give a list of streamers")
        n_muxes = sum(map(_has_mux, below))
        if n_muxes == len(below) > 0:
            return streamer._remade(self.part)
        if n_muxes:
            rule = f"mixes {counted(n_muxes, 'streamer')} with muxes inside, and"
            rule += f" {len(below) - n_muxes} without"
            remedy = "put those without into a mux of their own"
            raise _validate.refuse("mux", streamer, rule, remedy)
        n_streams = streamer.n_streams
        if n_streams is not None and n_streams < self._count:
            rule = f"has {counted(n_streams, 'streamer')}, too few for {self._count} consumers"
            remedy = "split its sources into smaller ones, or use fewer consumers"
            raise _validate.refuse("mux", streamer, rule, remedy)
        return self._part_of(streamer)

    def _part_of(self, mux: Any) -> Any:
        try:
            return mux._part(self._index, self._count)
        except PescadorError as error:
            which = f"part {self._index} of {self._count} of {_validate.short(mux)}"
            raise PescadorError(f"{which} cannot be made: {error}") from error


def _refuse_hidden(streamer: Any) -> None:
    """Refuse muxes that could not be divided beside those that are."""
    for value in _inside([*streamer._parts(), *_own_attributes(streamer)]):
        if is_streamer(value) and _has_mux(value):
            rule = f"has {_validate.short(value)} inside an argument, where it cannot be divided"
            remedy = "give it as an argument of its own"
            raise _validate.refuse("streamer", streamer, rule, remedy)


def _own_attributes(streamer: Any) -> list:
    """Return what a class of the user's keeps for an ``iterate()`` of its own."""
    return [list(vars(streamer).values())] if streamer._has_own_iterate() else []


def _inside(values: Iterable) -> Iterator[Any]:
    """Yield what is in containers, and in objects that may be called, among some values."""
    for value in values:
        if isinstance(value, functools.partial):
            yield from _inside([*value.args, *value.keywords.values()])
        elif isinstance(value, Mapping):
            yield from value.values()
        elif isinstance(value, (list, tuple, set, frozenset)):
            yield from value
        elif not (is_streamer(value) or isinstance(value, type)):
            yield from getattr(value, "__dict__", {}).values()


def _has_mux(streamer: Any) -> bool:
    """Tell whether there is a mux in a streamer, or it is one."""
    if isinstance(streamer, BaseMux):
        return True
    if next(streamers_in(streamer._parts()), None) is None:
        return False  # as of most
    return any(isinstance(each, BaseMux) for each in streamers_of(streamer))


def _exactly(stream: Iterable, steps: int) -> Iterator[Any]:
    """Yield the items; it is an error if there are fewer than there should be."""
    iterator = iter(stream)
    n_given = getattr(iterator, "n_given", 0)  # (it may be resumed)
    try:
        for item in iterator:
            n_given += 1
            yield item
    finally:
        close_iterator(iterator)
    if n_given < steps:
        raise PescadorError(
            f"steps={steps}: a pass over this part gave no items, after {n_given} in all;"
            " check whether its sources are empty"
        )


setattr(_exactly, FOLLOWS, True)
setattr(_exactly, ONE_TO_ONE, True)
