"""Streamers that a sequence makes when it is asked for them, so that there may be millions."""

from __future__ import annotations

import array
import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np

from .._repr import named
from .._streaming.recipe import Recipe
from ..core import Streamer, as_streamer
from .metered import NO_SOURCE
from .stochastic_run import StochasticRun

# What holds all that it gives.
_LISTED = (list, tuple, range, memoryview, array.array, deque, np.ndarray, Streamer)


def is_lazy(streamers: Any) -> bool:
    """Tell whether something is a sequence of the user's, which makes what it gives."""
    if isinstance(streamers, _LISTED):
        return False
    return isinstance(streamers, Sequence) or _is_indexed(streamers)


def _is_indexed(streamers: Any) -> bool:
    """Tell whether something is known by its indices alone."""
    kind = type(streamers)
    has_all = hasattr(kind, "__getitem__") and hasattr(kind, "__len__")
    return has_all and not hasattr(kind, "__iter__")


def bounded(streamers: Any) -> Any:
    """Return what ends at its length, if it has one (an IndexError need not tell it)."""
    return LazyStreamers(streamers) if _is_indexed(streamers) else streamers


class LazyStreamers:
    """The streamers that a sequence gives, each of them when it is asked for.

    Parameters
    ----------
    given : object
        Has ``__len__`` and ``__getitem__``; gives streamers or iterables.
    indices : range, optional
        Which of them; None: all that there are now.
    """

    def __init__(self, given: Any, indices: range | None = None) -> None:
        self.given = given
        self.indices = range(len(given)) if indices is None else indices

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"<{len(self):,} streamers of {named(self.given)}>"

    @overload
    def __getitem__(self, index: int) -> Recipe: ...

    @overload
    def __getitem__(self, index: slice) -> LazyStreamers: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return LazyStreamers(self.given, self.indices[index])
        index = self.indices[index]
        try:
            value = self.given[index]
        except Exception:
            # Met as any other source that fails; perhaps it does not the next time.
            return Streamer(_made_again, self.given, index)
        return as_streamer(value, index)


def _made_again(streamers: Any, index: int) -> Iterator:
    """Yield the items of a streamer that could not be made."""
    yield from as_streamer(streamers[index], index)


class Held:
    """The streamers of one run, of which those that are open stay the same.

    Parameters
    ----------
    streamers : LazyStreamers
        Gives them.
    """

    def __init__(self, streamers: LazyStreamers) -> None:
        self._streamers = streamers
        self._open: dict[int, list] = {}  # by place: the streamer, and how often it is open

    def __len__(self) -> int:
        return len(self._streamers)

    def __getitem__(self, place: int) -> Recipe:
        held = self._open.get(place)
        return self._streamers[place] if held is None else held[0]

    def hold(self, place: int) -> None:
        """Keep a streamer, which is being opened."""
        held = self._open.get(place)
        if held is None:
            held = self._open[place] = [self._streamers[place], 0]
        held[1] += 1

    def let_go(self, place: int) -> None:
        """Keep it no longer than it is open elsewhere."""
        held = self._open[place]
        held[1] -= 1
        if not held[1]:
            del self._open[place]

    @contextlib.contextmanager
    def held_if_opened(self, place: int) -> Iterator[list[bool]]:
        """Keep a streamer from now on, if what is yielded says in the end that it is open."""
        self.hold(place)
        is_open = [False]
        try:
            yield is_open
        finally:
            if not is_open[0]:
                self.let_go(place)


class LazyRun(StochasticRun):
    """One run of a StochasticMux whose streamers are made as they are opened."""

    __slots__ = ()

    streamers: Any

    def __init__(self, setup: Any, seed: Any) -> None:
        super().__init__(setup, seed)
        self.streamers = Held(setup.streamers)

    def put(self, slot: int, place: int, limit: int) -> bool:
        with self.streamers.held_if_opened(place) as is_open:
            is_open[0] = super().put(slot, place, limit)
        return is_open[0]

    def _restore_slot(self, slot: int, place: int, *rest: Any) -> None:
        self._check_place(place)
        with self.streamers.held_if_opened(place) as is_open:
            super()._restore_slot(slot, place, *rest)
            is_open[0] = self.sources[slot] is not NO_SOURCE

    def end(self, slot: int, n_given: int, has_ended: bool = True) -> None:
        was_open, place = self.sources[slot] is not NO_SOURCE, self.places[slot]
        try:
            super().end(slot, n_given, has_ended)
        finally:
            if was_open:
                self.streamers.let_go(place)
