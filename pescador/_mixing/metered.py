"""What a run tells a meter, if it has one: see `_streaming.meter`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from operator import is_
from typing import Any

import numpy as np

from .. import _validate
from .._repr import is_streamer
from .._streaming.meter import Mark, Meter, MuxMeter
from .._streaming.promises import Period, Promise
from .._streaming.recipe import Recipe
from .._streaming.seeds import Seed
from .._streaming.survey import streamers_of
from .failing import FailingRun
from .setup import Setup

NO_SOURCE: Iterator = iter(())
CURRENT = "current"  # weights
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
            streamer = self._streamers[place]
            is_plain = streamer._is_source() and not any(map(is_streamer, streamer._parts()))
            self._has_mux[place] = not is_plain and any(
                each._chooses() for each in streamers_of(streamer)
            )
        return self._has_mux[place]


class MeteredRun(FailingRun):
    """The part of a mux's run that a meter asks, and is told by."""

    __slots__ = (
        "cells",
        "fresh",
        "is_timed_elsewhere",
        "marks",
        "meter",
        "number",
        "places",
        "readers",
        "selectors",
        "sources",
        "ticks",
        "told",
    )

    # By slot: the open stream, which streamer it is of, and what counts its items (see `Run`).
    sources: list[Iterator]
    places: list[int]
    ticks: list[Iterator]
    # What is read, and what takes the ticks along: the same, unless the run is metered.
    readers: list[Iterator]
    selectors: list[Iterator]
    is_timed_elsewhere: bool
    marks: list[Mark]  # what a meter knows already of the stream of each slot
    fresh: Mark  # of one that is opened now
    # Of a meter that records:
    cells: list[list[int]]
    number: int
    told: Period

    is_read_in_turn = False  # the streamers, perhaps lazily, so that they have no place here

    def __init__(self, setup: Setup, seed: Seed) -> None:
        super().__init__(setup, seed)
        self.meter: MuxMeter | None = None

    def named(self, place: int) -> int:
        """Return where the mux has the streamer that is at ``place`` here."""
        return place

    def counts(self) -> list[int]:
        """Return the number of items given by the open stream of each slot."""
        raise NotImplementedError

    def metered_by(self, meter: Meter) -> None:
        """Tell a meter from now on what happens."""
        self.readers = self.sources.copy()
        self.meter = meter.of_mux(self.seed.display_path)
        self.meter.join(self)
        if self.sources:
            self.tell_weights(self.meter)

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

    def all_given(self, mark: Mark) -> tuple[list[int], list[int]] | None:
        """Return whose the open streams are, and what they gave, if all have this mark."""
        if not all(map(is_, self.marks, repeat(mark))) or NO_SOURCE in self.sources:
            return None
        return self.places, self.counts()

    def promise(self, now: Weights = CURRENT) -> Promise | None:
        """Return which shares the mux promises; None if it promises none.

        By its weights of now, those it had in the beginning, or others which it goes over to.
        """
        return None

    def names(self) -> Names:
        """Return what gives the streamer at a place as text."""
        return Names(self.setup.streamers, self.setup.mux)
