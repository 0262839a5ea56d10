"""What a background process has told of its muxes, counted as its items are handed out."""

from __future__ import annotations

import json
import struct
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._streaming.meter import Known, Mark, Meter, MuxMeter
from .._streaming.promises import Promise
from .._streaming.recorder import (
    CARRY,
    DROP,
    END,
    FACT,
    LEAVE,
    N_NUMBERS,
    NO_PROMISE,
    OPEN,
    PERIOD,
    RUN,
    SHORT,
    Recorder,
    from_json,
)

_HEAD = struct.Struct("<QQQ")  # how many events, lengths and facts there are; all else is notes
# What has happened before these belongs to other sums.
_SPLITTING = {PERIOD, LEAVE, RUN, SHORT, NO_PROMISE}


def packed(recorder: Recorder) -> bytes:
    """Return what has been recorded up to the last mark, as it travels."""
    *numbers, notes = recorder.take()
    head = _HEAD.pack(*map(len, numbers))
    return b"".join([head, *(each.tobytes() for each in numbers), json.dumps(notes).encode()])


class _Told(NamedTuple):
    """What has been told of some items."""

    first: int  # the number of items before these
    lengths: np.ndarray
    events: np.ndarray
    facts: array


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
    is_read_in_turn = False

    def __init__(self, setup: _Setup, mux: MuxMeter, names: dict[int, tuple[str, bool]]) -> None:
        self.setup, self.mux = setup, mux
        self.is_read_lazily = setup.is_read_lazily
        self._names = names
        self.open: dict[int, list[int]] = {}  # by activation: place, and how many items it gave
        self.marks: Any = {}
        self.fresh: Any = None
        self.cells: Any = {}  # what it is known by where this is recorded in its turn

    def promise(self, now: str = "") -> Promise | None:
        """Return what was told of it."""
        return self.setup.promise

    def open_streams(self) -> list[tuple[int, int, int]]:
        """Return, of each open stream, its number, the place of its streamer, and what it gave."""
        return [(number, *each) for number, each in self.open.items()]  # type: ignore[misc]

    def listed_marks(self) -> dict[int, Mark]:
        """Return the marks, of which one may be altered."""
        return self.marks

    seen_marks = listed_marks

    def all_given(self, mark: Mark) -> None:
        """Say nothing: there are no lists of them here."""

    def has_set_aside(self) -> bool:
        """Tell nothing: over there it is known."""
        return False

    def names(self) -> Known:
        """Return what gives the streamer at a place as text."""
        return Known(self._names)


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
        self._notes: dict[int, Any] = {}  # those that no fact has referred to yet
        self._n_notes = 0
        self._setups: dict[tuple[int, ...], _Setup] = {}  # the last of each mux
        self._names: dict[tuple[int, ...], dict[int, tuple[str, bool]]] = {}
        self._runs: dict[int, _RemoteRun] = {}
        self._of: dict[int, _RemoteRun] = {}  # by activation
        # Of the first of those that were told: how many items, events and facts are counted.
        self._n_items = self._n_events = self._n_facts = 0
        meter.parts.add(self)

    def take(self, first: int, message: bytes) -> None:
        """Take what has been told of the items from one on."""
        sizes = _HEAD.unpack_from(message)
        parts, offset = [], _HEAD.size
        for size in sizes:
            parts.append(np.frombuffer(message, "<u8", size, offset))
            offset += 8 * size
        events, lengths, facts = parts
        notes = json.loads(message[offset:])
        self._notes.update(enumerate(notes, self._n_notes))
        self._n_notes += len(notes)
        self._told.append(_Told(first, np.cumsum(lengths), events, array("Q", facts.tolist())))

    def settle(self) -> None:
        """Count what was handed out."""
        self.advance(self._n_handed_out())

    def advance(self, n_items: int, is_end: bool = False) -> None:
        """Count up to an item; or all that was told, at the end."""
        while self._told:
            told = self._told[0]
            n_of_these = min(n_items - told.first, len(told.lengths))
            is_whole = is_end or n_of_these == len(told.lengths)
            if n_of_these > self._n_items or is_end:
                n_events = len(told.events) if is_end else int(told.lengths[n_of_these - 1])
                events, self._n_events = told.events[self._n_events : n_events], n_events
                self._n_items = n_of_these
                self._count(told, events)
            if not is_whole or (not is_end and not len(told.lengths)):
                return
            self._told.popleft()
            self._n_items = self._n_events = self._n_facts = 0

    def _count(self, told: _Told, events: np.ndarray) -> None:
        """Count events in their order, as many at a time as may be."""
        here = np.flatnonzero(events == FACT)
        facts = [self._next_fact(told.facts) for _ in range(len(here))]
        begin, ended = 0, list[list[int]]()
        for index, fact in zip(here.tolist(), facts):
            if fact[0] in _SPLITTING:
                self._add(events[begin:index], ended)
                begin, ended = index, []
            if fact[0] == END:  # (when its items have been counted)
                ended.append(fact)
            else:
                self._obey(*fact)
        self._add(events[begin:], ended)

    def _next_fact(self, facts: array) -> list[int]:
        begin = self._n_facts
        end = self._n_facts = begin + 1 + N_NUMBERS[facts[begin]]
        return facts[begin:end].tolist()

    def _add(self, events: np.ndarray, ended: list[list[int]]) -> None:
        """Add items to their activations, and close those that have ended."""
        numbers, counts = np.unique(events[events != FACT], return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist()):
            run = self._of[number]
            run.open[number][1] += count
            run.mux.gave(run, number, count)
        for _, number, is_short, is_empty in ended:
            run = self._of.pop(number)
            run.mux.ended_elsewhere(run, number, bool(is_short), bool(is_empty))
            del run.open[number], run.marks[number]

    def _obey(self, kind: int, *numbers: int) -> None:
        if kind == RUN:
            self._begin_run(*numbers)
        elif kind == OPEN:
            self._open(*numbers)
        elif kind == CARRY:
            number, n_carried = numbers
            run = self._of[number]
            run.mux.carry(run, number, n_carried)
        else:
            self._of_run(kind, self._runs[numbers[0]], *numbers)

    def _of_run(self, kind: int, run: _RemoteRun, number: int, *rest: int) -> None:
        if kind == PERIOD:
            note, is_restored = rest
            run.mux.reweighed(run, from_json(self._notes.pop(note)), bool(is_restored))
        elif kind == DROP:
            run.mux.drop_elsewhere(run, *rest)
        elif kind == SHORT:
            run.mux.short_elsewhere(run)
        elif kind == NO_PROMISE:
            run.mux.breaks_promise(run)
        elif kind == LEAVE:
            run.mux.leave(run)
            del self._runs[number]
            for each in run.open:
                self._of.pop(each, None)

    def _begin_run(self, number: int, note: int) -> None:
        path, is_new, promise, *told = self._notes.pop(note)
        mux = self._meter.of_mux((*self._prefix, *path))
        if is_new:
            self._setups[mux.path] = _Setup(from_json(promise), *told)
        mux.is_background = True
        names = self._names.setdefault(mux.path, {})
        run = self._runs[number] = _RemoteRun(self._setups[mux.path], mux, names)
        mux.join(run)
        run.marks, run.cells = {}, {}

    def _open(self, number: int, run_number: int, place: int, n_opened: int, name: int) -> None:
        run = self._of[number] = self._runs[run_number]
        if name:
            self._names[run.mux.path][place] = tuple(self._notes.pop(name - 1))
        run.open[number] = [place, 0]
        run.marks[number] = run.fresh if n_opened else run.fresh._replace(n_opened=0)
        run.mux.opened_elsewhere(run, number, place, n_opened)

    def close(self) -> None:
        """Count nothing more; what was open in the process has gone with it."""
        self.settle()
        for run in list(self._runs.values()):
            run.mux.leave(run)
        self._runs.clear()
        self._told.clear()
        self._meter.parts.discard(self)
