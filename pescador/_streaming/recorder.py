"""A meter in a background process: it also keeps what happens in its order, to be told elsewhere.

What is kept is a list of events, one for each item of each mux, which are marked off after every
item of the process. An event is the number of the activation that has given an item; or it is
`FACT`, and more is said in the list of facts.
"""

from __future__ import annotations

import contextlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterator
from itertools import repeat
from operator import iadd, length_hint
from typing import Any

import numpy as np

from .meter import Mark, Meter, MuxMeter
from .promises import FIRST, Promise

FACT = 0  # in place of an activation, which are counted from 1
#: What facts are about; how many numbers follow is in `N_NUMBERS`.
RUN, LEAVE, OPEN, END, CARRY, DROP, PERIOD, NO_PROMISE, SHORT = range(9)
N_NUMBERS = {
    RUN: 2,
    LEAVE: 1,
    OPEN: 5,
    END: 3,
    CARRY: 2,
    DROP: 2,
    PERIOD: 3,
    NO_PROMISE: 1,
    SHORT: 1,
}


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


class Recorder(Meter):
    """Keeps what happens, until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[int] = []
        self.facts: list[int] = []
        self.notes: list[Any] = []  # what facts say in words
        self._lengths: list[int] = []  # events of each item that has been marked off
        self._n_marked = [0, 0, 0]  # events, facts and notes up to the last mark
        self._n_activations = self._n_runs = self._n_notes = 0

    def _new(self, path: tuple[int, ...]) -> MuxMeter:
        return RecordingMux(path, self)

    def number_of_run(self) -> int:
        """Return a number for another run."""
        self._n_runs += 1
        return self._n_runs

    def number_of_activation(self) -> int:
        """Return a number for another activation."""
        self._n_activations += 1
        return self._n_activations

    def tell(self, *fact: int) -> None:
        """Keep a fact: what it is about, and its numbers."""
        if not self.is_reading_again:
            self.facts.extend(fact)
            self.events.append(FACT)

    def note(self, value: Any) -> int:
        """Keep something that facts refer to; return its number."""
        if not self.is_reading_again:
            self.notes.append(value)
            self._n_notes += 1
        return self._n_notes - 1

    def mark_item(self) -> None:
        """Note that an item is complete: what has happened belongs to it."""
        n_events = len(self.events)
        self._lengths.append(n_events - self._n_marked[0])
        self._n_marked = [n_events, len(self.facts), len(self.notes)]

    def forget_items(self) -> None:
        """Leave out the items since the last mark: what came of them cannot be sent."""
        n_marked = self._n_marked[0]
        self.events[n_marked:] = [each for each in self.events[n_marked:] if each == FACT]

    def mark_end(self) -> None:
        """Note that nothing more will happen."""
        self._n_marked = [len(self.events), len(self.facts), len(self.notes)]

    def take(self) -> tuple[array, array, array, list]:
        """Return the events, how many belong to each item, facts and notes, up to the last mark."""
        n_events, n_facts, n_notes = self._n_marked
        events, facts, notes = self.events[:n_events], self.facts[:n_facts], self.notes[:n_notes]
        del self.events[:n_events], self.facts[:n_facts], self.notes[:n_notes]
        lengths, self._lengths, self._n_marked = self._lengths, [], [0, 0, 0]
        return array("Q", events), array("Q", lengths), array("Q", facts), notes

    @contextlib.contextmanager
    def as_known(self) -> Iterator[None]:
        """Tell nothing while what has been before is read again; then, what is open."""
        if self.is_reading_again:
            yield
            return
        n_events = len(self.events)
        try:
            with super().as_known():
                yield
        finally:
            del self.events[n_events:]
            for mux in self.muxes.values():
                mux.announce_all()  # type: ignore[attr-defined]


class RecordingMux(MuxMeter):
    """Tells of a mux what happens in its runs."""

    __slots__ = ("_gone", "_is_known_broken", "_named", "_told_setup")

    meter: Recorder

    def __init__(self, path: tuple[int, ...], meter: Recorder) -> None:
        super().__init__(path, meter)
        self._told_setup: Any = None
        self._named: set[int] = set()
        self._is_known_broken = False  # that no shares are promised any more
        # Facts that could not be told while what has been before was read again:
        self._gone: list[tuple[int, ...]] = []

    def join(self, run: Any) -> None:
        super().join(run)
        run.fresh = Mark(*run.fresh)  # (not the usual one: every end is to be told)
        run.listed_marks()
        run.cells, run.selectors = [], []
        run.number, run.told = 0, run.fresh.period  # (it has not been told of)
        self.announce(run)

    def announce_all(self) -> None:
        """Tell what has changed while nothing could be told."""
        gone, self._gone = self._gone, []
        for fact in gone:
            self.meter.tell(*fact)
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
                self._tell_open(run, slot, place, 0)
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

    def _tell_open(self, run: Any, slot: Any, place: int, n_opened: int) -> None:
        number = run.cells[slot][0] = self.meter.number_of_activation()
        name = 0
        if place not in self._named:
            self._named.add(place)
            name = 1 + self.meter.note([self.names(place), self.names.has_mux(place)])
        self.meter.tell(OPEN, number, run.number, place, n_opened, name)

    def add_slots(self, run: Any, n: int) -> None:
        super().add_slots(run, n)
        for _ in range(n):
            run.cells.append([0])
            run.selectors.append(None)
            self._make_selector(run, len(run.cells) - 1)

    def _make_selector(self, run: Any, slot: int) -> None:
        """Let every tick of a slot add the number of its activation to the events."""
        run.ticks[slot] = repeat(run.cells[slot], length_hint(run.ticks[slot]))
        run.selectors[slot] = map(iadd, repeat(self.meter.events), run.ticks[slot])

    def columns(self, run: Any) -> tuple[list, ...]:
        return *super().columns(run), run.cells, run.selectors

    def opened_one(
        self, run: Any, slot: int, place: int, source: Iterator, begin: float
    ) -> Iterator:
        run.marks[slot], run.readers[slot] = run.fresh, source
        run.cells[slot][0] = 0
        if not self.meter.is_reading_again:
            self._tell_open(run, slot, run.named(place), 1)
        return source

    def restored_one(self, run: Any, slot: int, n_given: int) -> None:
        super().restored_one(run, slot, n_given)
        self._make_selector(run, slot)
        run.cells[slot][0] = 0
        if not self.meter.is_reading_again:
            self._tell_open(run, slot, run.named(run.places[slot]), 0)

    def ended_one(self, run: Any, slot: int, n_given: int, has_ended: bool) -> None:
        is_short = has_ended and self.is_short(run, slot, n_given)
        number = run.cells[slot][0]
        if not number:
            return  # it has not been told of
        if self.meter.is_reading_again:
            self._gone.append((END, number, False, False))
        else:
            self.meter.tell(END, number, is_short, is_short and not n_given)

    def failed_one(self, run: Any) -> None:
        self.meter.tell(SHORT, run.number)
        super().failed_one(run)

    def goes_on(self, run: Any, slot: int, before: Mark, n_given: int) -> None:
        super().goes_on(run, slot, before, n_given)
        self.meter.tell(CARRY, run.cells[slot][0], run.listed_marks()[slot].n_carried)

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
            self._gone.append((LEAVE, run.number))
        elif run.number:
            self.meter.tell(LEAVE, run.number)

    def _add_open(self, run: Any) -> None:
        """Do nothing: it is counted elsewhere."""

    def checkpoint(self, run: Any) -> None:
        super().checkpoint(run)
        self.kept.clear()  # it is counted elsewhere

    def opened_elsewhere(self, run: Any, number: int, place: int, n_opened: int) -> None:
        run.cells[number] = [0]
        self._tell_open(run, number, place, n_opened)

    def gave(self, run: Any, number: int, n_items: int) -> None:
        self.meter.events.extend(n_items * run.cells[number])

    def ended_elsewhere(self, run: Any, number: int, is_short: bool, is_empty: bool) -> None:
        self.meter.tell(END, run.cells.pop(number)[0], is_short, is_empty)

    def carry(self, run: Any, number: int, n_carried: int) -> None:
        super().carry(run, number, n_carried)
        self.meter.tell(CARRY, run.cells[number][0], n_carried)

    def short_elsewhere(self, run: Any) -> None:
        self.meter.tell(SHORT, run.number)
        super().short_elsewhere(run)

    def drop_elsewhere(self, run: Any, place: int) -> None:
        self.meter.tell(DROP, run.number, place)
