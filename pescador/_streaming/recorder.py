"""A meter in a background process: it also keeps what happens in its order, to be told elsewhere.

What is kept is an array of events. For each item of each mux it is the number of the activation
that has given it, with the bit `ITEM` if that completes an item of the process (as it does in the
outermost mux; where there is none, a word of its own does so). An activation that is over is its
number and `END`. One that is opened is a negative number, of its run and its streamer (see
`opening_of`); activations are numbered in the order in which they are opened. And `FACT` says that
more is told in the list of facts. For items all is added in C, by what an item passes.
"""

from __future__ import annotations

import contextlib
import threading
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterator
from itertools import compress, repeat
from operator import iadd, length_hint
from typing import Any

import numpy as np

from .marks import Mark
from .meter import Meter
from .mux_meter import MuxMeter
from .promises import FIRST, Promise

FACT, AGAIN = 0, 1  # in place of an activation
N_WORDS = 2  # that are no activations
_ITEM_BIT = 59
ITEM = 1 << _ITEM_BIT  # beside the number of an activation, or alone
NUMBER = ITEM - 1  # the bits of such a number
END, IS_SHORT, IS_EMPTY = 1 << 60, 1 << 61, 1 << 62  # bits beside the number of an activation
PLACE_BITS = 27  # of an opening, for the place of the streamer; others are told as facts
_N_PLACES, _N_RUNS = 1 << PLACE_BITS, 1 << (62 - PLACE_BITS)
#: What facts are about; each is one of these, and up to four numbers, filled up with zeros.
RUN, LEAVE, OPEN, CARRY, DROP, PERIOD, NO_PROMISE, SHORT = range(8)
WIDTH = 5


def as_json(promise: Promise | None) -> list | None:
    """Return a promise as JSON can hold it."""
    if promise is None:
        return None
    weights = promise.weights
    text = None if weights is None else b64encode(weights.astype("<f8").tobytes()).decode()
    return [text, *promise[1:]]


def from_json(told: list | None) -> Promise | None:
    """Return the promise that `as_json` has told."""
    if told is None:
        return None
    text, *rest = told
    weights = None if text is None else np.frombuffer(b64decode(text), "<f8")
    return Promise(weights, *rest)


def opening_of(run: int, place: int) -> int:
    """Return the event of an activation that is opened in a run, of the streamer at a place."""
    return -1 - (run << PLACE_BITS) - place


def run_and_place(openings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what `opening_of` has been given for these events."""
    numbers = -1 - openings
    return numbers >> PLACE_BITS, numbers & (_N_PLACES - 1)


def ends_of_items(events: np.ndarray) -> np.ndarray:
    """Return how many events there are up to the end of each item."""
    return np.flatnonzero(events >> _ITEM_BIT == 1) + 1


class Recorder(Meter):
    """Keeps what happens, until it is taken.

    ``is_of_mux`` says that the items are those of a mux, as it gives them.
    """

    def __init__(self, is_of_mux: bool) -> None:
        super().__init__()
        self.is_of_mux = is_of_mux
        self.events = array("q")
        self.facts: list[int] = []
        self.notes: list[Any] = []  # what facts say in words
        self.n_activations = N_WORDS - 1
        self._n_runs = self._n_notes = 0
        self._cutting = threading.Lock()  # what is kept: another thread may send it

    def _new(self, path: tuple[int, ...]) -> MuxMeter:
        return RecordingMux(path, self)

    def number_of_run(self) -> int:
        """Return a number for another run."""
        self._n_runs += 1
        return self._n_runs

    def tell(self, kind: int, a: int, b: int = 0, c: int = 0, d: int = 0) -> None:
        """Keep a fact: what it is about, and its numbers."""
        if not self.is_reading_again:
            self.facts += kind, a, b, c, d
            self.events.append(FACT)

    def note(self, value: Any) -> int:
        """Keep something that facts refer to; return its number."""
        if not self.is_reading_again:
            self.notes.append(value)
            self._n_notes += 1
        return self._n_notes - 1

    def marked(self, items: Iterator) -> Iterator:
        """Return an iterator of the same items that marks off what has happened for each."""
        if self.is_of_mux:
            return items
        return compress(items, map(iadd, repeat(self.events), repeat(array("q", [ITEM]))))

    def forget_items(self, n_items: int) -> None:
        """Leave out all but the first items: what came of the others cannot be sent."""
        n_kept = self._n_events(np.array(self.events), n_items)
        facts = [each for each in self.events[n_kept:] if each <= FACT or each & END]
        self.events[n_kept:] = array("q", facts)

    def take(self, n_items: int | None = None) -> tuple[array, array, list]:
        """Return events, facts and notes of the next items, or all there are, and forget them."""
        with self._cutting:
            # (The other thread may add something meanwhile.)
            events = self.events[:]
            known = np.frombuffer(events, np.int64)
            n_events = len(events) if n_items is None else self._n_events(known, n_items)
            n_facts = np.count_nonzero(known[:n_events] == FACT) if self.facts else 0
            n_numbers = WIDTH * n_facts
            facts, notes = array("q", self.facts[:n_numbers]), self.notes.copy()
            del self.events[:n_events], self.facts[:n_numbers], self.notes[: len(notes)]
        return events[:n_events], facts, notes

    @staticmethod
    def _n_events(events: np.ndarray, n_items: int) -> int:
        """Return how many events belong to the first items."""
        return int(ends_of_items(events)[n_items - 1]) if n_items else 0

    @contextlib.contextmanager
    def as_known(self) -> Iterator[None]:
        """Tell nothing while what has been before is read again; then, what is open."""
        if self.is_reading_again:
            yield
            return
        self.events.append(AGAIN)
        try:
            with super().as_known():
                yield
        finally:
            with self._cutting:
                del self.events[self.events.index(AGAIN) :]
            for mux in self.muxes.values():
                mux.announce_all()  # type: ignore[attr-defined]


class RecordingMux(MuxMeter):
    """Tells of a mux what happens in its runs."""

    __slots__ = (
        "_bits",
        "_fitting",
        "_is_known_broken",
        "_left_runs",
        "_named",
        "_over",
        "_told_setup",
    )

    meter: Recorder
    records = True

    def __init__(self, path: tuple[int, ...], meter: Recorder) -> None:
        super().__init__(path, meter)
        self._bits = ITEM if meter.is_of_mux and not path else 0
        self._told_setup: Any = None
        self._named: set[int] = set()  # places of which the names are known there
        self._fitting: set[int] = set()  # those whose openings fit into a number
        self._is_known_broken = False  # that no shares are promised any more
        # What was over while what has been before was read again, and could not be told:
        self._over: list[int] = []  # activations
        self._left_runs: list[int] = []

    def join(self, run: Any) -> None:
        super().join(run)
        run.fresh = Mark(*run.fresh)  # (not the usual one: every end is to be told)
        run.listed_marks()
        run.cells, run.selectors = [], []
        run.number, run.told = 0, run.fresh.period  # (it has not been told of)
        self.announce(run)

    def announce_all(self) -> None:
        """Tell what has changed while nothing could be told."""
        over, self._over = self._over, []
        self.meter.events.extend(over)
        left, self._left_runs = self._left_runs, []
        for number in left:
            self.meter.tell(LEAVE, number)
        for run in self.runs:
            self.announce(run)

    def announce(self, run: Any) -> None:
        """Tell of a run, and of what is open in it, unless that is known."""
        if self.meter.is_reading_again:
            return
        if not run.number:
            run.number = self.meter.number_of_run()
            self._tell_run(run)
        for slot, place, _ in run.open_streams():
            if not run.cells[slot][0]:
                self._tell_open(run, slot, place, False)
        if run.told is not run.fresh.period:
            self._tell_period(run, is_restored=True)
        self._tell_promise(run)

    def _tell_promise(self, run: Any) -> None:
        if not (self.is_promised or self._is_known_broken):
            self._is_known_broken = True
            self.meter.tell(NO_PROMISE, run.number)

    def _tell_run(self, run: Any) -> None:
        is_new, self._told_setup = run.setup is not self._told_setup, run.setup
        promise = as_json(run.promise(FIRST)) if is_new else None
        setup = run.setup
        told = [setup.n_streams, setup.part, run.is_read_lazily]
        note = [list(self.path), is_new, promise, *told]
        self.meter.tell(RUN, run.number, self.meter.note(note))
        run.opening = opening_of(run.number, 0)
        if run.number >= _N_RUNS:
            self._fitting.clear()

    def _tell_open(self, run: Any, slot: Any, place: int, is_new: bool) -> None:
        """Tell of an activation; it is not new if what it gave before counts elsewhere."""
        meter, name = self.meter, 0
        number = meter.n_activations = meter.n_activations + 1
        run.cells[slot][0] = number | self._bits
        if place not in self._named:
            self._named.add(place)
            name = 1 + meter.note([self.names(place), self.names.has_mux(place)])
            if place < _N_PLACES and run.number < _N_RUNS:
                self._fitting.add(place)
        meter.facts += OPEN, run.number, place, is_new, name
        meter.events.append(FACT)

    def add_slots(self, run: Any, n: int) -> None:
        super().add_slots(run, n)
        for _ in range(n):
            run.cells.append(array("q", [0]))
            run.selectors.append(None)
            self._make_selector(run, len(run.cells) - 1)

    def _make_selector(self, run: Any, slot: int) -> None:
        """Let every tick of a slot add the number of its activation to the events."""
        run.ticks[slot] = repeat(run.cells[slot], length_hint(run.ticks[slot]))
        run.selectors[slot] = map(iadd, repeat(self.meter.events), run.ticks[slot])

    def columns(self, run: Any) -> tuple[list, ...]:
        return *super().columns(run), run.cells, run.selectors

    def weight_of(self, run: Any, n_timings: int) -> float:
        return 0.0  # it is the program that waits

    def opened_one(self, run: Any, slot: int, place: int) -> None:
        meter = self.meter
        if meter.is_reading_again:
            run.cells[slot][0] = 0
        elif place in self._fitting:
            number = meter.n_activations = meter.n_activations + 1
            run.cells[slot][0] = number | self._bits
            meter.events.append(run.opening - place)
        else:
            self._tell_open(run, slot, place, True)

    def restored_one(self, run: Any, slot: int, n_given: int) -> None:
        super().restored_one(run, slot, n_given)
        self._make_selector(run, slot)
        run.cells[slot][0] = 0
        if not self.meter.is_reading_again:
            self._tell_open(run, slot, run.named(run.places[slot]), False)

    def ended_one(self, run: Any, slot: int, n_given: int, has_ended: bool) -> None:
        number = run.cells[slot][0]
        if not number:
            return  # it has not been told of
        over = number | END
        if self.meter.is_reading_again:
            self._over.append(over)
            return
        if has_ended and self.is_short(run, slot, n_given):
            over |= IS_SHORT if n_given else IS_SHORT | IS_EMPTY
        self.meter.events.append(over)

    def failed_one(self, run: Any) -> None:
        self.meter.tell(SHORT, run.number)
        super().failed_one(run)

    def goes_on(self, run: Any, slot: int, before: Mark, n_given: int) -> None:
        super().goes_on(run, slot, before, n_given)
        number = run.cells[slot][0] & NUMBER
        self.meter.tell(CARRY, number, run.listed_marks()[slot].n_carried)

    def drop(self, run: Any, place: int) -> None:
        super().drop(run, place)
        self.meter.tell(DROP, run.number, place)
        self._tell_promise(run)

    def breaks_promise(self, run: Any) -> None:
        super().breaks_promise(run)
        self._tell_promise(run)

    def reweighed(self, run: Any, promise: Promise | None, is_restored: bool = False) -> None:
        super().reweighed(run, promise, is_restored)
        if not self.meter.is_reading_again:
            self._tell_period(run, is_restored)

    def _tell_period(self, run: Any, is_restored: bool) -> None:
        run.told = run.fresh.period
        note = self.meter.note(as_json(run.told.promise))
        self.meter.tell(PERIOD, run.number, note, is_restored)

    def leave(self, run: Any) -> None:
        super().leave(run)
        if run.number and self.meter.is_reading_again:
            self._left_runs.append(run.number)
        elif run.number:
            self.meter.tell(LEAVE, run.number)

    def _add_open(self, run: Any) -> None:
        """Do nothing: it is counted elsewhere."""

    def checkpoint(self, run: Any) -> None:
        super().checkpoint(run)
        self.kept.clear()  # it is counted elsewhere

    def opened_elsewhere(self, run: Any, number: int, place: int, is_new: bool) -> None:
        run.cells[number] = array("q", [0])
        self._tell_open(run, number, place, is_new)

    def gave(self, run: Any, number: int, n_items: int) -> None:
        self.meter.events.extend(n_items * run.cells[number])

    def ended_elsewhere(
        self, run: Any, number: int, ended: tuple[int, int, Mark], is_short: bool, is_empty: bool
    ) -> None:
        over = run.cells.pop(number)[0] | END | is_short * IS_SHORT | is_empty * IS_EMPTY
        self.meter.events.append(over)

    def carry(self, run: Any, number: int, n_carried: int) -> None:
        super().carry(run, number, n_carried)
        self.meter.tell(CARRY, run.cells[number][0] & NUMBER, n_carried)

    def short_elsewhere(self, run: Any) -> None:
        self.meter.tell(SHORT, run.number)
        super().short_elsewhere(run)

    def drop_elsewhere(self, run: Any, place: int) -> None:
        self.meter.tell(DROP, run.number, place)
