"""What the runs of a mux tell, for whoever monitors it.

Nothing is counted here for an item. A run knows how much each of its open streams has given; a
stream is added up when it ends, and those that are open when somebody asks.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from .marks import STOP_FAILED, Known, Mark
from .promises import FIRST, Period, Promise, are_alike
from .tally import Tally
from .waits import Clock, Times

MOST_CHANGED = 10**8  # weights, since streamers were left out, until no share is told any more


class MuxMeter(Tally):
    """What is known of a mux, over all its runs at one place in a tree."""

    # (Attributes beyond thirty would not be found as fast in a dictionary.)
    __slots__ = (
        "_is_below_lazy",
        "_setup",
        "dropped",
        "empty",
        "has_short",
        "is_background",
        "is_read_lazily",
        "last_open",
        "length",
        "n_changed",
        "n_runs",
        "n_streams",
        "names",
        "part",
        "path",
        "runs",
        "sampled",
        "times",
    )

    records = False  # whether it is told of each stream that is opened

    def __init__(self, path: tuple[int, ...], meter: Any) -> None:
        super().__init__(meter)
        self.path = path
        self.n_runs = 0
        self.runs: set[Any] = set()  # those that are open
        self.empty: dict[int, int] = {}
        self.times = Times()  # of stretches that were timed while all were
        self.sampled = Times()  # of others, which stand for more than themselves
        self.dropped: set[int] = set()
        self.has_short = False  # whether a stream has ended before its limit
        self.length = 64  # timings that the first stretch of the last run would have taken, about
        self.n_changed = 0  # weights, for streamers that were left out
        self.names: Any = Known({})
        self.n_streams: int | None = None
        self.part: tuple[int, int] | None = None  # as of a `Setup`
        self.is_read_lazily = False  # its streamers are made as they are opened
        self.last_open: Counter[int] = Counter()  # as its last run ended
        self.is_background = False  # its runs are in another process
        self._setup: Any = None  # of the last run
        self._is_below_lazy: bool | None = None  # not known yet

    def join(self, run: Any) -> None:
        """Know of a run from now on; what it has given before does not count."""
        self.n_runs += 1
        if run.setup is not self._setup:
            self.names, self.n_streams = run.names(), run.setup.n_streams
            self.part, self.is_read_lazily = run.setup.part, run.is_read_lazily
            self.settle()
            for each in self.runs:
                each.listed_marks()  # which are not the usual ones any more
            self._setup = run.setup
            promise = run.promise(FIRST)
            if not are_alike(promise, self.usual.period.promise):
                self.usual = Mark(0, 0, 1, Period(promise))
        run.fresh, run.marks = self.usual, None
        if run.sources:
            for slot, _, n_given in run.open_streams():
                run.listed_marks()[slot] = Mark(n_given, 0, 0, run.fresh.period)
        self.runs.add(run)

    # What happens.

    def add_slots(self, run: Any, n: int) -> None:
        """Hear that a run has so many slots more."""
        if run.marks is not None:
            run.marks += [run.fresh] * n

    def columns(self, run: Any) -> tuple[list, ...]:
        """Return what is kept here of a run, by slot."""
        return () if run.marks is None else (run.marks,)

    def weight_of(self, run: Any, n_timings: int) -> float:
        """Hear that a run begins a stretch; return how often what is timed counts; 0: nothing is.

        (A run says so at its beginning, and about once in a thousand items.)
        """
        if len(self.ended) >= self.meter.most_kept:
            self.settle()
            run.forget_marks(self.usual)
        if run.is_timed_elsewhere:
            return 0.0
        return self.meter.stretches.weight(n_timings)

    def clock(self, place: int, weight: float, is_new: bool) -> Clock:
        """Return what adds up the time of a stream."""
        return Clock(self.times if weight == 1 else self.sampled, place, weight, is_new)

    def opened_one(self, run: Any, slot: int, place: int) -> None:
        """Hear that a run has opened a stream, if that is recorded."""

    def ended_one(self, run: Any, slot: int, n_given: int, has_ended: bool) -> None:
        """Hear that a stream is over, by itself or by its limit (or else was closed before).

        (Not of every stream: see `ended`.)
        """
        place = run.places[slot]
        mark = self.usual if run.marks is None else run.marks[slot]
        if mark is self.usual:
            self.ended += place, n_given
        else:
            self.keep(place, n_given, mark)
        if has_ended and self.is_short(run, slot, n_given):
            self.has_short = True
            if not n_given:
                self.empty[place] = self.empty.get(place, 0) + 1

    @staticmethod
    def is_short(run: Any, slot: int, n_given: int) -> bool:
        """Tell whether a stream has ended by itself, and not by its limit or a failure."""
        stop = run.through_limit[slot]
        return stop != STOP_FAILED and (n_given <= stop or stop < 0)

    def failed_one(self, run: Any) -> None:
        """Hear that a stream has failed, and that the run goes on: its streamer gives less."""
        self.has_short = True
        promise = run.fresh.period.promise
        if promise is not None and promise.unit != "items":
            self.breaks_promise(run)

    def goes_on(self, run: Any, slot: int, before: Mark, n_given: int) -> None:
        """Hear that a stream that was opened goes on with what another one has left."""
        n_carried = before.n_carried + n_given - before.n_counted
        marks = run.listed_marks()
        marks[slot] = marks[slot]._replace(n_carried=n_carried)

    def restored_one(self, run: Any, slot: int, n_given: int) -> None:
        """Hear that a stream has been opened where it stood."""
        run.listed_marks()[slot] = Mark(n_given, 0, 0, run.fresh.period)

    def drop(self, run: Any, place: int) -> None:
        """Hear that a streamer is not opened again in a run."""
        self.dropped.add(place)
        self.n_changed += run.setup.n_streams
        if self.n_changed > MOST_CHANGED:
            self.is_promised = False  # it takes too long to know them
        if self.is_promised:
            self.reweighed(run, run.promise())

    def breaks_promise(self, run: Any) -> None:
        """Hear that something has happened after which no shares are promised."""
        self.is_promised = self.is_promised and self.meter.is_reading_again

    def reweighed(self, run: Any, promise: Promise | None, is_restored: bool = False) -> None:
        """Hear that a run chooses by other weights from now on."""
        if not is_restored:
            self.checkpoint(run)
        now, marks = Period(promise), run.listed_marks()
        run.fresh = Mark(0, 0, 1, now)
        if not is_restored and promise is not None and promise.unit == "activations":
            return  # what is open was chosen by the weights of before
        for slot, *_ in run.open_streams():
            marks[slot] = marks[slot]._replace(period=now)

    # What happens in the run of another process, which has numbers in place of slots.

    def opened_elsewhere(self, run: Any, number: int, place: int, is_new: bool) -> None:
        """Hear that a stream has been opened (or was open before, and is not new)."""

    def gave(self, run: Any, number: int, n_items: int) -> None:
        """Hear that a stream has given so many items more."""

    def ended_elsewhere(
        self, run: Any, number: int, ended: tuple[int, int, Mark], is_short: bool, is_empty: bool
    ) -> None:
        """Hear that a stream is over: perhaps before its limit, or without an item."""
        self.keep(*ended)
        place, *_ = ended
        self.has_short = self.has_short or is_short
        if is_empty:
            self.empty[place] = self.empty.get(place, 0) + 1

    def all_ended_elsewhere(
        self, streams: tuple[np.ndarray, np.ndarray], period: Period, is_short: Any, is_empty: Any
    ) -> None:
        """Hear the same of many: of which places, what they gave; all of it counts in a period."""
        self.keep_all(streams, period)
        self.has_short = self.has_short or bool(is_short.any())
        for place in streams[0][np.flatnonzero(is_empty)].tolist():
            self.empty[place] = self.empty.get(place, 0) + 1

    def carry(self, run: Any, number: int, n_carried: int) -> None:
        """Hear that a stream goes on with what others have left, after so many items of these."""
        mark = run.marks.get(number, run.fresh)
        run.marks[number] = mark._replace(n_carried=n_carried)

    def short_elsewhere(self, run: Any) -> None:
        """Hear that a stream has failed."""
        self.has_short = True

    def drop_elsewhere(self, run: Any, place: int) -> None:
        """Hear that a streamer is not opened again in a run."""
        self.dropped.add(place)

    def leave(self, run: Any) -> None:
        """Hear that a run is over, with what is still open in it."""
        promise = run.fresh.period.promise
        if promise is not None and promise.among_open:
            self.last_open = Counter(place for _, place, _ in run.open_streams())
        self._add_open(run)
        self.runs.discard(run)
        if self._is_below_lazy is None:
            self._is_below_lazy = self.meter.is_below_lazy(self.path)
        if not self.runs and self._is_below_lazy:
            # What is read lazily is not to be kept.
            self.gather()
            known = {place: (self.names(place), self.names.has_mux(place)) for place in self.items}
            self.names, self._setup = Known(known), None

    def _add_open(self, run: Any) -> None:
        """Add up what the open streams of a run have given, now that it is over."""
        if len(self.ended) % 2:
            self.ended.pop()  # an interrupt came in between: it counts as open
        found = run.all_given(self.usual)
        if found is not None:
            self.keep_all(found, self.usual.period)
            return
        marks = run.listed_marks()
        for slot, place, n_given in run.open_streams():
            self.keep(place, n_given, marks[slot])

    # What is known, and what is read again.

    def checkpoint(self, run: Any) -> None:
        """Add up what the open streams of a run have given up to now."""
        marks = run.listed_marks()
        for slot, place, n_given in run.open_streams():
            mark = marks[slot]
            n_carried = mark.n_carried + n_given - mark.n_counted
            self.kept.append((place, n_given, mark))
            marks[slot] = Mark(n_given, n_carried, 0, mark.period)
        if len(self.kept) >= self.meter.most_kept:
            self.settle()

    def begin_again(self) -> tuple:
        """Return what is known now, before something is read that has been before."""
        for run in self.runs:
            self.checkpoint(run)
        self.settle()
        times = self.times.copy(), self.sampled.copy()
        runs, empty, dropped = set(self.runs), self.empty.copy(), self.dropped.copy()
        return runs, self.n_runs, self.has_short, empty, dropped, times

    def end_again(self, before: tuple | None) -> None:
        """Know no more than before it, but for what is open."""
        known = before or (set(), 0, False, {}, set(), (Times(), Times()))
        runs, self.n_runs, self.has_short, self.empty, self.dropped, times = known
        for now, then in zip((self.times, self.sampled), times):
            now.set(then)
        self.n_runs += len(self.runs - runs)
        self.forget()
        for run in self.runs:
            marks = run.listed_marks()
            for slot, _, n_given in run.open_streams():
                marks[slot] = marks[slot]._replace(n_counted=n_given, n_opened=0)
            if run.has_set_aside():
                self.is_promised = False
