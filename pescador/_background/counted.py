"""What a background process has told of its muxes, counted as its items are handed out."""

from __future__ import annotations

import json
import struct
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._streaming.marks import Known, Mark
from .._streaming.meter import Meter
from .._streaming.mux_meter import MuxMeter
from .._streaming.promises import Promise
from .._streaming.recorder import (
    CARRY,
    DROP,
    END,
    FACT,
    IS_EMPTY,
    IS_SHORT,
    LEAVE,
    N_WORDS,
    NO_PROMISE,
    NUMBER,
    OPEN,
    PERIOD,
    RUN,
    SHORT,
    WIDTH,
    Recorder,
    ends_of_items,
    from_json,
    run_and_place,
)
from .activations import Activations

_HEAD = struct.Struct("<QQ")  # how many events and facts there are; all else is notes
_NO_NOTES = b"[]"
_MOST_WAITING = 2**13  # events, until they are counted: NumPy takes as long for a few of them


def packed(events: array, facts: array, notes: list) -> bytes:
    """Return what has been recorded, as it travels."""
    head = _HEAD.pack(len(events), len(facts))
    text = json.dumps(notes).encode() if notes else _NO_NOTES
    return b"".join([head, events.tobytes(), facts.tobytes(), text])


class _Told(NamedTuple):
    """What has been told of some items."""

    first: int  # the number of items before these
    n_items: int
    events: np.ndarray
    facts: np.ndarray  # a row of each


class _Setup:
    """The parameters of the runs of a mux over there."""

    def __init__(
        self, promise: Promise | None, n_streams: int | None, part: Any, is_read_lazily: bool
    ) -> None:
        self.promise, self.n_streams, self.is_read_lazily = promise, n_streams, is_read_lazily
        self.part = None if part is None else tuple(part)


class _RemoteRun:
    """A run of a mux in another process; its slots are activations."""

    sources = ()
    is_timed_elsewhere = True

    def __init__(
        self, number: int, setup: _Setup, mux: MuxMeter, names: dict, open_in: Activations
    ) -> None:
        self.told_as, self.setup, self.mux = number, setup, mux  # (its number over there)
        self.is_read_lazily = setup.is_read_lazily
        self.names_here: dict[int, tuple[str, bool]] = names
        self._open = open_in
        self.marks: Any = None  # of those that have another one than `fresh`
        self.fresh: Any = None
        self.cells: Any = {}  # what it is known by where this is recorded in its turn

    def promise(self, now: str = "") -> Promise | None:
        """Return what was told of it."""
        return self.setup.promise

    def open_streams(self) -> list[tuple[int, int, int]]:
        """Return, of each open stream, its number, the place of its streamer, and what it gave."""
        numbers, _, places, given = (each.tolist() for each in self._open.of_run(self.told_as))
        return list(zip(numbers, places, given))

    def listed_marks(self) -> dict[int, Mark]:
        """Return the marks of all that are open, of which one may be altered."""
        self.marks = self.seen_marks()
        return self.marks

    def seen_marks(self) -> dict[int, Mark]:
        """Return the same for a report, which alters nothing."""
        numbers = self._open.of_run(self.told_as).numbers.tolist()
        return {**dict.fromkeys(numbers, self.fresh), **(self.marks or {})}

    def all_given(self, mark: Mark) -> tuple[np.ndarray, np.ndarray] | None:
        """Return whose the open streams are, and what they gave, if all have this mark."""
        if self.marks or self.fresh is not mark:
            return None
        _, _, places, given = self._open.of_run(self.told_as)
        return places, given

    def has_set_aside(self) -> bool:
        """Tell nothing: over there it is known."""
        return False

    def names(self) -> Known:
        """Return what gives the streamer at a place as text."""
        return Known(self.names_here)


class Counted:
    """What one background process has told, counted up to the item that was handed out.

    Parameters
    ----------
    meter : Meter
        Where it is counted.
    prefix : tuple of int
        The path of what the process reads.
    n_handed_out : callable
        Returns how many items have been handed out.
    bytes_ahead : callable
        Returns how many bytes have come and have not been handed out.
    """

    def __init__(
        self,
        meter: Meter,
        prefix: tuple[int, ...],
        n_handed_out: Callable[[], int],
        bytes_ahead: Callable[[], int],
    ) -> None:
        self._meter = meter
        self._prefix = prefix
        self._n_handed_out = n_handed_out
        self.bytes_ahead = bytes_ahead
        self._told: deque[_Told] = deque()
        self._n_waiting = 0  # events of these
        self._notes: dict[int, Any] = {}  # those that no fact has referred to yet
        self._n_notes = 0
        self._setups: dict[tuple[int, ...], _Setup] = {}  # the last of each mux
        self._names: dict[tuple[int, ...], dict[int, tuple[str, bool]]] = {}
        self._runs: dict[int, _RemoteRun] = {}
        self._open = Activations()
        self._n_activations = N_WORDS - 1  # the number of the last
        self._is_recorded = isinstance(meter, Recorder)  # this too is in a background process
        # Of the first of those that were told: how many items, events and facts are counted.
        self._n_items = self._n_events = self._n_facts = 0
        self._ends: np.ndarray | None = None  # how many events there are up to each of its items
        meter.parts.add(self)

    def take(self, first: int, n_items: int, message: bytes) -> None:
        """Take what has been told of some items, from one on; or after the last."""
        if self._n_waiting > _MOST_WAITING:
            self.settle()
        n_events, n_facts = _HEAD.unpack_from(message)
        n_numbers = n_events + n_facts
        numbers = np.frombuffer(message, "<i8", n_numbers, _HEAD.size)
        events, facts = numbers[:n_events], numbers[n_events:].reshape(-1, WIDTH)
        text = message[_HEAD.size + 8 * n_numbers :]
        if text != _NO_NOTES:
            notes = json.loads(text)
            self._notes.update(enumerate(notes, self._n_notes))
            self._n_notes += len(notes)
        self._told.append(_Told(first, n_items, events, facts))
        self._n_waiting += n_events

    def settle(self) -> None:
        """Count what was handed out."""
        self.advance(self._n_handed_out())

    def advance(self, n_items: int, is_end: bool = False) -> None:
        """Count up to an item; or all that was told, at the end."""
        self._join(n_items)
        while self._told:
            told = self._told[0]
            n_of_these = min(n_items - told.first, told.n_items)
            is_whole = is_end or n_of_these == told.n_items
            if n_of_these > self._n_items or is_end:
                n_events = len(told.events)
                if not is_whole:
                    n_events = self._end_of(told, n_of_these)
                events, self._n_events = told.events[self._n_events : n_events], n_events
                self._n_items = n_of_these
                self._count(events, self._next_facts(told, int((events == FACT).sum())))
            if not is_whole or not (is_end or told.n_items):
                return
            self._n_waiting -= len(self._told.popleft().events)
            self._n_items = self._n_events = self._n_facts = 0
            self._ends = None

    def _end_of(self, told: _Told, n_items: int) -> int:
        """Return how many events belong to so many items of the first of those told."""
        if self._ends is None:
            self._ends = ends_of_items(told.events)
        return int(self._ends[n_items - 1])

    def _join(self, n_items: int) -> None:
        """Make one of what was told of items that have all been handed out."""
        whole: list[_Told] = []
        while self._told and 0 < self._told[0].n_items <= n_items - self._told[0].first:
            whole.append(self._told.popleft())
        if len(whole) > 1:
            events = np.concatenate([each.events for each in whole])
            facts = np.concatenate([each.facts for each in whole])
            whole = [_Told(whole[0].first, sum(each.n_items for each in whole), events, facts)]
            self._ends = None
        self._told.extendleft(whole)

    def _next_facts(self, told: _Told, n: int) -> np.ndarray:
        begin = self._n_facts
        self._n_facts += n
        return told.facts[begin : self._n_facts]

    def _count(self, events: np.ndarray, facts: np.ndarray) -> None:
        """Count events, of which those before another period belong to other sums."""
        begin = n_facts = 0
        splits = np.flatnonzero(facts[:, 0] == PERIOD).tolist()
        here = np.flatnonzero(events == FACT)[splits].tolist() if splits else []
        for index, fact in zip(here, splits):
            self._count_alike(events[begin:index], facts[n_facts:fact])
            self._reweigh(*facts[fact].tolist())
            begin, n_facts = index + 1, fact + 1
        self._count_alike(events[begin:], facts[n_facts:])

    def _count_alike(self, events: np.ndarray, facts: np.ndarray) -> None:
        """Count events of one period: what is opened, what is given, and then what ends."""
        is_opening = facts[:, 0] == OPEN
        others = facts[~is_opening].tolist()
        for fact in others:
            if fact[0] == RUN:
                self._begin_run(*fact)
        self._begin(events, is_opening, facts)
        for fact in others:
            self._obey(*fact)
        given = events[(events >= N_WORDS) & (events < END)] & NUMBER
        given = given[given >= N_WORDS]
        self._open.add(given)
        if self._is_recorded:
            self._record(given)
        self._end(events[events >= END])
        for fact in others:
            if fact[0] == LEAVE:
                self._leave(self._runs.pop(fact[1]))

    def _begin(self, events: np.ndarray, is_told: np.ndarray, facts: np.ndarray) -> None:
        """Know of activations that have been opened, of which some are told by facts."""
        is_opening = events < FACT
        is_opening[np.flatnonzero(events == FACT)[is_told]] = True
        opened = events[is_opening]
        if not len(opened):
            return
        runs, places = run_and_place(opened)
        are_new = np.ones_like(runs)
        told, facts = opened == FACT, facts[is_told]
        _, runs[told], places[told], are_new[told], _ = facts.T
        numbers = self._n_activations + 1 + np.arange(len(opened))
        self._n_activations += len(opened)
        self._open.open(numbers, runs, places)
        for number, fact in zip(numbers[told].tolist(), facts.tolist()):
            self._know(number, *fact)
        if self._is_recorded:
            rows = (each.tolist() for each in (numbers, runs, places, are_new))
            for number, of_run, place, is_new in zip(*rows):
                run = self._runs[of_run]
                run.mux.opened_elsewhere(run, number, place, is_new)

    def _know(self, number: int, _: int, of_run: int, place: int, is_new: int, name: int) -> None:
        """Know what is told of an activation beside its opening."""
        run = self._runs[of_run]
        if name:
            run.names_here[place] = tuple(self._notes.pop(name - 1))
        if not is_new:
            run.marks[number] = run.fresh._replace(n_opened=0)

    def _record(self, given: np.ndarray) -> None:
        """Tell of items to whom this process tells."""
        numbers, counts = np.unique(given, return_counts=True)
        of = self._open.runs_of(numbers)
        for number, count, of_run in zip(numbers.tolist(), counts.tolist(), of.tolist()):
            run = self._runs[of_run]
            run.mux.gave(run, number, count)

    def _end(self, over: np.ndarray) -> None:
        """Add up activations that are over."""
        if not len(over):
            return
        is_short, is_empty = (over & IS_SHORT) != 0, (over & IS_EMPTY) != 0
        ended = self._open.end(over & NUMBER)
        runs = np.unique(ended.runs).tolist()
        for each in runs:
            run = self._runs[each]
            of_run = slice(None) if len(runs) == 1 else ended.runs == each
            rows = (*(column[of_run] for column in ended), is_short[of_run], is_empty[of_run])
            if self._is_recorded or run.marks:
                self._end_each(run, rows)
                continue
            _, _, places, given, short, empty = rows
            run.mux.all_ended_elsewhere((places, given), run.fresh.period, short, empty)

    @staticmethod
    def _end_each(run: _RemoteRun, rows: Any) -> None:
        numbers, _, *columns = (each.tolist() for each in rows)
        for number, place, given, is_short, is_empty in zip(numbers, *columns):
            mark = run.marks.pop(number, run.fresh)
            run.mux.ended_elsewhere(
                run, number, (place, given, mark), bool(is_short), bool(is_empty)
            )

    def _obey(self, kind: int, number: int, value: int, *_: int) -> None:
        if kind == CARRY:
            run = self._runs[int(self._open.runs_of(np.array([number]))[0])]
            run.mux.carry(run, number, value)
        elif kind == DROP:
            self._runs[number].mux.drop_elsewhere(self._runs[number], value)
        elif kind == SHORT:
            self._runs[number].mux.short_elsewhere(self._runs[number])
        elif kind == NO_PROMISE:
            self._runs[number].mux.breaks_promise(self._runs[number])

    def _reweigh(self, _: int, number: int, note: int, is_restored: int, *rest: int) -> None:
        run = self._runs[number]
        run.mux.reweighed(run, from_json(self._notes.pop(note)), bool(is_restored))

    def _leave(self, run: _RemoteRun) -> None:
        run.mux.leave(run)
        self._open.end_run(run.told_as)

    def _begin_run(self, _: int, number: int, note: int, *rest: int) -> None:
        path, is_new, promise, *told = self._notes.pop(note)
        mux = self._meter.of_mux((*self._prefix, *path))
        if is_new:
            self._setups[mux.path] = _Setup(from_json(promise), *told)
        mux.is_background = True
        names = self._names.setdefault(mux.path, {})
        run = _RemoteRun(number, self._setups[mux.path], mux, names, self._open)
        self._runs[number] = run
        mux.join(run)
        run.marks, run.cells = {}, {}

    def close(self) -> None:
        """Count nothing more; what was open in the process has gone with it."""
        self.settle()
        for run in list(self._runs.values()):
            self._leave(run)
        self._runs.clear()
        self._told.clear()
        self._n_waiting = 0
        self._meter.parts.discard(self)
