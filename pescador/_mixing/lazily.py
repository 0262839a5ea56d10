"""Streamers that a sequence makes when it is asked for them, so that there may be millions."""

from __future__ import annotations

import array
from collections import UserList
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from typing import Any, overload

import numpy as np

from .._repr import counted, named
from .._streaming.recipe import Recipe
from .._streaming.seeds import Seed
from ..core import Streamer, as_streamer
from .metered import NO_SOURCE, Names
from .setup import Setup
from .stochastic_run import StochasticRun

# What holds all that it gives.
_HOLDING = (tuple, range, memoryview, array.array, np.ndarray, MutableSequence, UserList, Streamer)


def is_lazy(streamers: Any) -> bool:
    """Tell whether something is a sequence of the user's, which makes what it gives."""
    if isinstance(streamers, _HOLDING):
        return False
    return isinstance(streamers, Sequence) or _is_indexed(streamers)


def _is_indexed(streamers: Any) -> bool:
    """Tell whether something is known by its indices alone."""
    kind = type(streamers)
    has_all = hasattr(kind, "__getitem__") and hasattr(kind, "__len__")
    return has_all and not hasattr(kind, "__iter__")


def bounded(streamers: Any) -> Any:
    """Return what ends at its length, if it is known by its indices alone."""
    return _Bounded(streamers) if _is_indexed(streamers) else streamers


class _Bounded:
    """What something gives that has a length, also if no IndexError says where it ends."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, index: int) -> Any:
        if index >= len(self.given):
            raise IndexError(index)
        return self.given[index]

    def __repr__(self) -> str:
        return named(self.given)


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
        return f"<{counted(len(self), 'streamer')} of {named(self.given)}>"

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
        except Exception as error:
            return Unmade(self.given, index, error)
        return as_streamer(value, index)


def not_made(streamers: Any, index: int) -> Iterator:
    """Stand for what would give the items of a streamer that could not be made."""
    yield from ()


class Unmade(Streamer):
    """Stands for a streamer that could not be made: it fails as it is opened, as any other source.

    When it is opened again, the streamer is made anew.
    """

    def __init__(self, given: Any, index: int, error: Exception) -> None:
        super().__init__(not_made, given, index)
        self._error: Exception | None = error

    def __getstate__(self) -> tuple[dict, dict]:
        attributes, slots = super().__getstate__()
        return {**attributes, "_error": None}, slots  # (which may not be one that can be pickled)

    def _make(self) -> Recipe:
        error, self._error = self._error, None
        if error is not None:
            raise error
        given, index = self.args
        return as_streamer(given[index], index)

    def _open_run(self, parent: Seed, place: int, number: int) -> Iterator:
        return self._make()._open_run(parent, place, number)

    def _open_at(self, parent: Seed, place: int, number: int, position: Any) -> Iterator:
        return self._make()._open_at(parent, place, number, position)


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

    def clear(self) -> None:
        """Keep nothing: the run is over."""
        self._open.clear()


class LazyNames(Names):
    """The streamers of a mux, as text; whether they have muxes is found out from one of them."""

    _has_muxes: bool | None = None

    def has_mux(self, place: int) -> bool:
        if self._has_muxes is False:
            return False
        if place not in self._has_mux:
            self._has_muxes = self._has_mux[place] = self._finds_mux_in(self._streamers[place])
        return self._has_mux[place]


class LazyRun(StochasticRun):
    """One run of a StochasticMux whose streamers are made as they are opened."""

    __slots__ = ()

    streamers: Any
    is_read_lazily = True

    def __init__(self, setup: Setup, seed: Seed) -> None:
        super().__init__(setup, seed)
        self.streamers = Held(setup.streamers)  # type: ignore[arg-type]

    def names(self) -> LazyNames:
        return LazyNames(self.setup.streamers, self.setup.mux)

    def _open_all(self, given: Iterable[tuple[int, int, int]]) -> list[int]:
        return self._put_each(given)  # which holds the streamers

    def put(self, slot: int, place: int, limit: int) -> bool:
        self.streamers.hold(place)
        try:
            return super().put(slot, place, limit)
        finally:
            if self.sources[slot] is NO_SOURCE:
                self.streamers.let_go(place)

    def _restore_slot(self, slot: int, place: int, *rest: Any) -> None:
        self._check_place(place)
        self.streamers.hold(place)
        try:
            super()._restore_slot(slot, place, *rest)
        finally:
            if self.sources[slot] is NO_SOURCE:
                self.streamers.let_go(place)

    def end(self, slot: int, n_given: int, has_ended: bool = True) -> None:
        was_open, place = self.sources[slot] is not NO_SOURCE, self.places[slot]
        try:
            super().end(slot, n_given, has_ended)
        finally:
            if was_open:
                self.streamers.let_go(place)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.streamers.clear()
