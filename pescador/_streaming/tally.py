"""What the streams of a mux have given, added up by place, and by the weights they had."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np

from .marks import Mark
from .promises import Period, expected
from .sums import Sums

MOST_PERIODS = 32
MOST_GROUPS = 256  # of streams that have ended together


def _taken(values: list, step: int = 1) -> list:
    """Take what a list holds, in whole steps; another thread may go on adding at its end."""
    n = len(values) // step * step
    taken = values[:n]
    del values[:n]
    return taken


class Tally:
    """Sums of the streams that are over, and what is not added up yet."""

    __slots__ = (
        "_left",
        "_n_left",
        "_settling",
        "_sums",
        "ended",
        "folded",
        "is_promised",
        "items",
        "kept",
        "meter",
        "opened",
        "periods",
        "usual",
    )

    def __init__(self, meter: Any) -> None:
        self.meter = meter
        # Ended streams, not added up yet: whose, and what they gave, where that is what all of
        # them gave since they were opened; and others.
        # (Without tuples, which Python would have to track. One by one is quickest; an interrupt
        # in between ends the run, see `MuxMeter.leave`.)
        self.ended: list[int] = []
        # The same of many at a time, and to which period they belong.
        self._left: list[tuple[Period, np.ndarray, np.ndarray]] = []
        self._n_left = 0
        self.kept: list[tuple[int, int, Mark]] = []
        self._sums = Sums()
        self._settling = threading.RLock()  # a report may be made in any thread
        self.items: Counter[int] = Counter()  # of those that have been gathered
        self.opened: Counter[int] = Counter()
        self.periods: list[Period] = []
        self.folded: tuple[np.ndarray, np.ndarray] | None = None  # means and variances
        self.is_promised = True
        self.usual = Mark(0, 0, 1, Period(None))  # of streams, until weights change

    def keep(self, place: int, n_given: int, mark: Mark) -> None:
        """Take a stream that is over."""
        self.kept.append((place, n_given, mark))
        if len(self.kept) >= self.meter.most_kept:
            self.settle()

    def keep_all(self, streams: tuple[np.ndarray, np.ndarray], period: Period) -> None:
        """Take many: of which places, and what they gave since they were opened."""
        self._left.append((period, *streams))
        self._n_left += len(streams[0])
        if self._n_left >= self.meter.most_kept or len(self._left) >= MOST_GROUPS:
            self.settle()

    def forget(self) -> None:
        """Leave out what is not added up yet."""
        self.ended.clear()
        self._left.clear()
        self._n_left = 0
        self.kept.clear()

    def gather(self) -> None:
        """Bring what is known up to date, but for what is open."""
        with self._settling:
            self.settle()
            for place, n_opened, n_items in self._sums.take():
                self.opened[place] += n_opened
                self.items[place] += n_items

    def settle(self) -> None:
        """Add up the streams that have ended."""
        if self.meter.is_reading_again or sys.is_finalizing():  # (NumPy imports as it goes)
            return
        with self._settling:
            self._n_left = 0
            self._settle(_taken(self.ended, 2), _taken(self.kept), _taken(self._left))

    def _settle(self, ended: list[int], kept: list, left: list) -> None:
        if ended:
            numbers = np.fromiter(ended, np.int64, len(ended))
            self._add_all(self.usual.period, numbers[::2], numbers[1::2])
        for period, group in groupby(left, itemgetter(0)):
            _, *streams = zip(*group)
            self._add_all(period, *map(np.concatenate, streams))
        for each in kept:
            self._add(*each)
            if len(self.periods) > MOST_PERIODS:
                self._fold()

    def _add_all(self, period: Period, places: np.ndarray, given: np.ndarray) -> None:
        """Add up streams from their openings to their limits."""
        if len(places):
            self._sums.add(places, given)
            self._add_to(period, int(given.sum()), int(given @ given))

    def _add(self, place: int, n_given: int, mark: Mark) -> None:
        """Add up a stream."""
        n_items = n_given - mark.n_counted
        self.items[place] += n_items
        self.opened[place] += mark.n_opened
        self._add_to(mark.period, n_items, n_items * (n_items + 2 * mark.n_carried))

    def _add_to(self, period: Period, n_items: int, n_squares: int) -> None:
        """Add items to a period."""
        if not period.is_listed:
            period.is_listed = True
            self.periods.append(period)
        period.n_items += n_items
        period.n_squares += n_squares

    def _fold(self) -> None:
        """Keep what is to be known of most periods in two sums."""
        for period in self.periods[:-1]:
            promise = period.promise
            if promise is not None and (promise.among_open or promise.while_full):
                promise = None  # it would have to be known at the end whether it holds
            moments = expected(promise, period.n_items, period.n_squares)
            if moments is None:
                self.is_promised = self.is_promised and not period.n_items
            elif self.folded is None:
                self.folded = moments
            else:
                self.folded = self.folded[0] + moments[0], self.folded[1] + moments[1]
            period.n_items = period.n_squares = 0
            period.is_listed = False
        del self.periods[:-1]
