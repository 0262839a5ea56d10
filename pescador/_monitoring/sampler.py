"""How long a loop has waited for items, some of which are timed: all of them in a slow loop."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import compress, islice, repeat, starmap
from operator import not_
from time import perf_counter
from typing import Any

from .._streaming.meter import Meter

SLOW = 100e-6  # seconds of a loop for an item, from which every one is timed: it costs some 3
TIMED_EVERY = 2e-3  # seconds of a quicker loop, for one item that is timed
MOST_UNTIMED = 4000  # items
KEPT = 0.99  # of a running mean, after an item more


class Sampler:
    """Says how many items the next one that is timed stands for: one, in a slow loop.

    Parameters
    ----------
    now : float
        The time.
    """

    def __init__(self, now: float) -> None:
        self.n_items = 1
        self._rng = random.Random(0)
        self._mean = 1.0  # seconds of the loop for an item, over the last hundred
        self._last = now

    def go_on(self, now: float) -> None:
        """Know that an item has been timed, which stood for `n_items`."""
        of_each = (now - self._last) / self.n_items
        self._mean += (of_each - self._mean) * (1 - KEPT**self.n_items)
        self._last, self.n_items = now, 1
        if self._mean < SLOW:  # at random, so that no rhythm of the sources is met
            n_mean = min(TIMED_EVERY / max(self._mean, 1e-9), MOST_UNTIMED)
            self.n_items += int(2 * self._rng.random() * n_mean)


class Timed:
    """An item that is timed, from when it is asked for until it is there."""

    def __init__(self, n_items: int, blocked: float) -> None:
        self.n_items, self.blocked = n_items, blocked
        self.ends: list[float] = []
        self.is_added = False
        self.begin = perf_counter()

    def alone(self, items: Iterator) -> Iterator:
        """Return the next item, if there is one, as an iterator that notes when it is there.

        (In C, so that no interrupt comes between the item and whoever reads it.)
        """
        ticks = map(not_, map(self.ends.append, starmap(perf_counter, repeat(()))))
        return islice(compress(items, ticks), 1)


class Waiting:
    """How long the loops over one stream have waited, but for what the meter knows.

    Parameters
    ----------
    meter : Meter
        Knows how long they have waited for what is made elsewhere.
    now : float
        The time.
    """

    def __init__(self, meter: Meter, now: float) -> None:
        self._meter = meter
        self._sampler = Sampler(now)
        self._seconds = 0.0
        self._timed: list[Timed] = []  # not added yet

    def seconds(self) -> float:
        """Return how long it was up to now."""
        timed = [each for each in list(self._timed) if each.ends]
        return self._seconds + sum(map(self._seconds_of, timed))

    def _seconds_of(self, timed: Timed) -> float:
        seconds = timed.ends[0] - timed.begin - (self._meter.blocked - timed.blocked)
        return seconds * timed.n_items

    def begin(self) -> Timed:
        """Begin to time an item."""
        for each in list(self._timed):  # of loops that were left
            if each.ends:
                self.add(each)
        timed = Timed(self._sampler.n_items, self._meter.blocked)
        self._timed.append(timed)
        return timed

    def add(self, timed: Timed) -> int:
        """Add an item that has been timed; return how many may follow that are not."""
        if not timed.is_added:
            timed.is_added = True
            self._seconds += self._seconds_of(timed)
            self._timed.remove(timed)
            self._sampler.go_on(timed.ends[0])
        return self._sampler.n_items - 1

    def stop(self, timed: Timed) -> None:
        """Add an item for which the loop has waited in vain."""
        timed.ends.append(perf_counter())
        timed.n_items = 1
        self.add(timed)


class LoopTimer:
    """Times some of the items of one loop.

    Parameters
    ----------
    waiting : Waiting
        Where what it finds is added up.
    on_end : callable
        Called when the loop has come to an end.
    """

    def __init__(self, waiting: Waiting, on_end: Callable[[], object]) -> None:
        self._waiting, self._on_end = waiting, on_end
        self._timed: Timed | None = None
        self.n_untimed = 0  # items that may be read now

    def portion(self, items: Iterator) -> Iterator[Any]:
        """Return what the loop is to read next: an item that is timed, or some that are not."""
        if self.n_untimed > 0:
            portion, self.n_untimed = islice(items, self.n_untimed), 0
            return portion
        if self._timed is None:
            self._timed = self._waiting.begin()
        return self._timed.alone(items)

    def goes_on(self) -> bool:
        """Tell whether there may be more items, after a portion."""
        timed = self._timed
        if timed is None:
            return True
        if not timed.ends:
            return False
        self._timed, self.n_untimed = None, self._waiting.add(timed)
        return True

    def stop(self) -> None:
        """Know that there is no item any more."""
        timed, self._timed = self._timed, None
        if timed is not None and not timed.is_added:
            self._waiting.stop(timed)
        self._on_end()
