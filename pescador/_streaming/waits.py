"""How long streams were waited for: some of their items are timed, and stand for the others.

A run is timed in some stretches, from one block of draws to another. Whether it is, is drawn for
each stretch, with the same probability for all of them: what there is time for. An item that is
timed counts as often as the inverse of this probability says. So the sums are right in the mean,
whatever is in a stretch, and however long it is (Horvitz and Thompson 1952). Where all are timed
(it takes little of the time if items take long), they are exact.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from time import perf_counter
from typing import Any

MOST = 0.01  # of the time, for timing
TIMING = 1e-6  # seconds, for an item
AT_FIRST = 0.2  # seconds, in which more may be timed
KEPT = 0.9  # of sums over the last stretches, after one more


class Stretches:
    """Says which stretches of the runs of a tree are timed."""

    def __init__(self) -> None:
        self._rng = random.Random(0)
        self._last = perf_counter()
        # Sums over the last stretches: seconds that went by, and those that timing would take.
        self._seconds, self._cost = AT_FIRST, 0.0

    def weight(self, n_timings: int) -> float:
        """Return how often an item counts that is timed in the next stretch; 0: none is.

        ``n_timings`` is how many items, or streams, there would be to time.
        """
        now = perf_counter()
        self._seconds = KEPT * self._seconds + now - self._last
        self._cost = KEPT * self._cost + TIMING * n_timings
        self._last = now
        probability = MOST * self._seconds / self._cost
        if probability >= 1:
            return 1.0
        return 1 / probability if self._rng.random() < probability else 0.0


class Times:
    """Seconds that streams have taken, by place."""

    __slots__ = ("opening", "waited")

    def __init__(self) -> None:
        self.waited: dict[int, float] = defaultdict(float)
        self.opening: dict[int, float] = defaultdict(float)  # those of them until first items

    def copy(self) -> Times:
        """Return the same times, which may go on meanwhile."""
        copy = Times()
        copy.waited.update(dict(self.waited))
        copy.opening.update(dict(self.opening))
        return copy

    def set(self, times: Times) -> None:
        """Go back to times of before."""
        for now, then in ((self.waited, times.waited), (self.opening, times.opening)):
            now.clear()
            now.update(then)


class Clock:
    """Adds up the time of one stream.

    Parameters
    ----------
    times : Times
        Where it is added.
    place : int
        Whose stream it is.
    weight : float
        How often a second counts.
    is_new : bool
        Whether the stream has not given an item yet.
    """

    __slots__ = ("is_new", "opening", "place", "waited", "weight")

    def __init__(self, times: Times, place: int, weight: float, is_new: bool) -> None:
        self.waited, self.opening = times.waited, times.opening
        self.place, self.weight, self.is_new = place, weight, is_new

    def add(self, seconds: float) -> None:
        """Add a time during which the program waited for the stream."""
        seconds *= self.weight
        self.waited[self.place] += seconds
        if self.is_new:
            self.opening[self.place] += seconds


class Timed:
    """Gives the items of an iterator, and times each."""

    __slots__ = ("clock", "items")

    def __init__(self, items: Iterator, clock: Clock) -> None:
        self.items, self.clock = items, clock

    def __iter__(self) -> Timed:
        return self

    def __next__(self) -> Any:
        clock, begin = self.clock, perf_counter()
        try:
            item = next(self.items)
        finally:
            clock.add(perf_counter() - begin)
        clock.is_new = False
        return item


def untimed(iterators: list) -> list:
    """Return the iterators without those that time them."""
    return [each.items if type(each) is Timed else each for each in iterators]
