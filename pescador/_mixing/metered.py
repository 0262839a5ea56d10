"""What a run tells a meter, if it has one: see `_streaming.mux_meter`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import repeat
from operator import is_
from time import perf_counter
from typing import Any

import numpy as np

from .. import _validate
from .._repr import is_streamer
from .._streaming.marks import Mark
from .._streaming.meter import Meter
from .._streaming.mux_meter import MuxMeter
from .._streaming.promises import Period, Promise
from .._streaming.recipe import Recipe
from .._streaming.survey import streamers_of
from .._streaming.waits import Clock, Timed, untimed
from .failing import FailingRun

NO_SOURCE: Iterator = iter(())
MOST_TICKS = sys.maxsize  # of a slot, for all its activations
# Of ticks; `length_hint` takes three times as long.
N_LEFT: Callable[[repeat], int] = repeat.__length_hint__
CURRENT = "current"  # weights
STRETCH = 1024  # items of a run, at least, for which its streams are timed, or are not
FIRST_STRETCH = 2 * STRETCH  # (so that a short run is one stretch)
Weights = np.ndarray | str  # themselves, or of which moment: `FIRST` or `CURRENT`


class Names:
    """The streamers of a mux, as text; those that are read lazily by their numbers."""

    def __init__(self, streamers: Any, mux: Recipe) -> None:
        self._streamers, self._mux = streamers, mux
        self._has_mux: dict[int, bool] = {}  # what has been found out

    def __call__(self, place: int) -> str:
        if isinstance(self._streamers, (list, tuple)):
            return _validate.short(self._streamers[place])
        return f"streamer {place} of {_validate.short(self._mux)}"

    def has_mux(self, place: int) -> bool:
        """Tell whether there is a mux below a streamer, or it is one."""
        if not isinstance(self._streamers, (list, tuple)):
            return False
        if place not in self._has_mux:
            self._has_mux[place] = self._finds_mux_in(self._streamers[place])
        return self._has_mux[place]

    @staticmethod
    def _finds_mux_in(streamer: Recipe) -> bool:
        if streamer._is_source() and not any(map(is_streamer, streamer._parts())):
            return False
        return any(each._chooses() for each in streamers_of(streamer))


def _are_all(marks: list[Mark], mark: Mark) -> bool:
    return all(map(is_, marks, repeat(mark)))


class MeteredRun(FailingRun):
    """The part of a mux's run that a meter asks, and is told by."""

    __slots__ = (
        "cells",
        "fresh",
        "initial_ticks",
        "is_timed_elsewhere",
        "looks",
        "marks",
        "meter",
        "n_until",
        "number",
        "opening",
        "places",
        "readers",
        "resume_from",
        "selectors",
        "sources",
        "ticks",
        "told",
        "weight",
    )

    # By slot: the open stream, which streamer it is of, and what counts its items (see `Run`).
    sources: list[Iterator]
    places: list[int]
    ticks: list[repeat]
    initial_ticks: list[int]
    readers: list[Iterator]  # what is read of each: the sources, unless they are timed
    selectors: list[Any]  # what takes the ticks along: the ticks, unless that is recorded
    is_timed_elsewhere: bool
    iterators: list[Iterator]
    meter: MuxMeter | None
    # What a meter knows already of the stream of each slot; None while that is the usual of all.
    marks: list[Mark] | None
    fresh: Mark  # of one that is opened now
    resume_from: dict | None
    looks: bool  # whether streams are opened one by one: each is timed, or told to a recorder
    weight: float  # how often the time of an item counts; 0: they are not timed now
    n_until: int  # items, until that is found out anew
    # Of a meter that records:
    cells: list[list[int]]
    number: int
    opening: int  # the event of its streamer at place 0
    told: Period

    is_read_lazily = False  # the streamers: made as they are opened

    def named(self, place: int) -> int:
        """Return where the mux has the streamer that is at ``place`` here."""
        return place

    def counts(self) -> list[int]:
        """Return the number of items given by the open stream of each slot."""
        raise NotImplementedError

    def metered_by(self, meter: Meter) -> None:
        """Tell a meter from now on what happens."""
        self.meter = meter.of_mux(self.seed.display_path)
        self.meter.join(self)
        self.n_until = FIRST_STRETCH
        self._weigh(self.meter.weight_of(self, self.meter.length + self.n_to_open()))
        if self.sources:
            self.tell_weights(self.meter)

    def n_to_open(self) -> int:
        """Return how many streams are opened in the beginning."""
        return len(self.setup.streamers)

    def go_on_for(self, n_items: int) -> None:
        """Let the streams be timed, or not, for so many items: see `_streaming.waits`."""
        self.n_until -= n_items
        if self.n_until > 0:
            return
        assert self.meter is not None
        self.n_until = STRETCH
        if self.weight:
            self.iterators[:] = untimed(self.iterators)
        self._weigh(self.meter.weight_of(self, STRETCH + len(self.sources)))

    def _weigh(self, weight: float) -> None:
        """Let the time of an item count so often from now on."""
        assert self.meter is not None
        self.weight, self.readers = weight, self.sources
        self.looks = weight > 0 or self.meter.records
        if not weight:
            return
        self.readers = self.sources.copy()
        for slot, (source, n_given) in enumerate(zip(self.sources, self.counts())):
            if source is not NO_SOURCE:
                self.time_slot(slot, not n_given)

    def time_slot(self, slot: int, is_new: bool) -> None:
        """Let the stream of a slot be timed."""
        clock = self.clock(slot, is_new)
        self.iterators[slot] = Timed(self.iterators[slot], clock)
        self.readers[slot] = Timed(self.sources[slot], clock)

    def clock(self, slot: int, is_new: bool = False) -> Clock:
        """Return what adds up the time of the streamer of a slot; ``is_new``: to open it."""
        assert self.meter is not None
        return self.meter.clock(self.named(self.places[slot]), self.weight, is_new)

    def note_opening(self, slot: int, begin: float) -> None:
        """Add the time since then, in which the streamer of a slot has been opened (or not)."""
        self.clock(slot, True).add(perf_counter() - begin)

    def tell_weights(self, meter: MuxMeter) -> None:
        """Tell a meter that weights are not those of the beginning, if that is so."""
        if not self.is_as_at_first():
            meter.reweighed(self, self.promise(), is_restored=True)

    def is_as_at_first(self) -> bool:
        """Tell whether weights are those of the beginning, and nobody is left out."""
        return True

    def open_streams(self) -> list[tuple[int, int, int]]:
        """Return, of each open stream, its slot, which streamer it is of, and how much it gave."""
        kept = zip(self.sources, self.places, self.counts())
        return [
            (slot, self.named(place), n_given)
            for slot, (source, place, n_given) in enumerate(kept)
            if source is not NO_SOURCE
        ]

    def listed_marks(self) -> list[Mark]:
        """Return the marks by slot, of which one may be altered."""
        self.marks = self.seen_marks()
        return self.marks

    def seen_marks(self) -> list[Mark]:
        """Return the marks by slot, for a report, which alters nothing: it may be in a thread."""
        marks, meter = self.marks, self.meter
        assert meter is not None
        return [meter.usual] * len(self.sources) if marks is None else marks

    def forget_marks(self, mark: Mark) -> None:
        """List the marks no more, if all have this one, and will."""
        if self.fresh is mark and self.marks is not None and _are_all(self.marks, mark):
            self.marks = None

    def all_given(self, mark: Mark) -> tuple[np.ndarray, np.ndarray] | None:
        """Return whose the open streams are, and what they gave, if all have this mark."""
        if (self.marks is not None and not _are_all(self.marks, mark)) or self.has_gap():
            return None
        n = len(self.places)
        n_left = np.fromiter(map(N_LEFT, self.ticks), np.int64, n)
        n_first: Any = MOST_TICKS
        if self.n_opened > n or self.resume_from is not None:
            n_first = np.fromiter(self.initial_ticks, np.int64, n)
        return np.fromiter(self.places, np.int64, n), n_first - n_left

    def has_gap(self) -> bool:
        """Tell whether nothing is open in a slot."""
        return any(map(is_, self.sources, repeat(NO_SOURCE)))

    def promise(self, now: Weights = CURRENT) -> Promise | None:
        """Return which shares the mux promises; None if it promises none.

        By its weights of now, those it had in the beginning, or others which it goes over to.
        """
        return None

    def names(self) -> Names:
        """Return what gives the streamer at a place as text."""
        return Names(self.setup.streamers, self.setup.mux)
