"""When items will be needed, as far as muxes have drawn that already.

A time is a number of items of the whole stream. The times of the outermost mux are exact, until a
source ends before it was expected to; below an inner mux, they follow from the times of the items
of that one. They decide which item is made first, and nothing else.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from heapq import heapify, heapreplace
from typing import Any

import numpy as np

from .orders import Due

_MOST_RUNS = 1000  # of which is known what they draw


class _Run:
    """What is known of a run: when the items of each of its slots will be needed."""

    __slots__ = ("dues", "free", "is_new", "key", "limits")

    def __init__(self) -> None:
        self.key: int | None = None  # the id of what it is read by, if another run reads it
        self.is_new = True  # it has announced nothing
        self.dues: dict[int, Due] = {}  # by slot
        self.limits: dict[int, int] = {}  # how many items each may give (0: any number), by slot
        self.free: list[int] = []  # slots whose streams have ended


class Demand:
    """What has been drawn, by all runs of a tree."""

    def __init__(self) -> None:
        self._runs: dict[bytes, _Run] = {}  # by the paths of their seeds
        # By the ids of what is read:
        self._slots: dict[int, tuple[_Run, int]] = {}
        self._limits: dict[int, int] = {}
        self._now = 0.0

    def draw(
        self, path: bytes, sources: Sequence[Any], counts: Sequence[int], slots: np.ndarray
    ) -> list[tuple[int, Due]]:
        """Know what a run will draw; return when the items of what it reads will be needed.

        ``counts`` tells how many items the run has given, and then each of its sources. What is
        returned is by the ids of these.
        """
        if not len(sources) or not len(slots):
            return []
        run = self._run(path)
        n_given, *counts = counts
        times = self._times_of(run, n_given, len(slots))
        self._pass(times[0])
        span = float(times[-1] - self._now) + 1.0
        order = np.argsort(slots, kind="stable")
        starts = np.searchsorted(slots[order], np.arange(1, len(counts)))
        run.free = []
        for slot, each in enumerate(np.split(times[order], starts)):
            known = each if len(each) else times[-1:] + span / 2
            run.dues[slot] = Due(counts[slot], array("d", known.tolist()), span / len(known))
            key = id(sources[slot])
            self._slots[key], run.limits[slot] = (run, slot), self._limits.get(key, 0)
        return [(id(source), run.dues[slot]) for slot, source in enumerate(sources)]

    def _run(self, path: bytes) -> _Run:
        run = self._runs.get(path)
        if run is None:
            if len(self._runs) >= _MOST_RUNS:  # not every run tells its end: the oldest goes
                del self._runs[next(iter(self._runs))]
            run = self._runs[path] = _Run()
        return run

    def _times_of(self, run: _Run, n_given: int, n_items: int) -> np.ndarray:
        """Return when a run has to give its next items: never, if they are beyond its limit."""
        numbers = np.arange(n_given, n_given + n_items)
        above, slot = self._above(run)
        if above is None:
            return numbers.astype(float)
        times = np.array(list(map(above.dues[slot].at, numbers.tolist())))
        if above.limits[slot]:
            times[numbers >= above.limits[slot]] = np.inf
        return times

    def _above(self, run: _Run) -> tuple[_Run | None, int]:
        """Return the run that reads this one, and its slot there, if these are known."""
        return (None, 0) if run.key is None else self._slots.get(run.key, (None, 0))

    def openings(self, path: bytes, limits: Sequence[int | None]) -> list[float]:
        """Return when a run will open its next sources, of which these are the limits.

        That is infinite where it is not known, and now for its first ones; those are left out that
        come after its own end.
        """
        run = self._run(path)
        if not run.dues:  # it has not drawn anything
            is_first, run.is_new = run.is_new, False
            return [self._now if is_first else math.inf] * len(limits)
        above, slot = self._above(run)
        end = math.inf if above is None else _end(above.dues[slot], above.limits[slot])
        ends = [(_end(due, run.limits[slot]), slot) for slot, due in run.dues.items()]
        heapify(ends)
        times = []
        for limit in limits:
            time, slot = ends[0]
            times.append(time)
            due = run.dues[slot]
            after = _rest(due, bisect_left(due.times, time), time, 0)
            heapreplace(ends, (_end(after, limit), slot))
        return [time for time in times if time < end or math.isinf(end)]

    def begin(self, above: bytes, path: bytes, key: int, limit: int) -> None:
        """Know that an inner run begins, which another one reads."""
        slot, _ = self.take(above, 0)
        self._run(path).key = key  # (which may have drawn before, if it was resumed)
        self.put(above, slot, key, limit)

    def forget(self, path: bytes) -> None:
        """Know that an inner run is over."""
        self._runs.pop(path, None)

    def take(self, path: bytes, n_before: int) -> tuple[int | None, Due]:
        """Take a slot that is free; return it, and when what is opened in it will be needed.

        That begins after ``n_before`` of its items.
        """
        run = self._runs.get(path)
        if run is None or not run.free:
            return None, Due(n_before, array("d", [self._now]), 1.0)
        slot = run.free.pop()
        due = run.dues[slot]
        later = max(self._now, due.times[-1]) + due.interval
        run.dues[slot] = _rest(due, bisect_right(due.times, self._now), later, n_before)
        return slot, run.dues[slot]

    def put(self, path: bytes, slot: int | None, key: int, limit: int) -> None:
        """Know what is read in a slot now (None: in which one, is not known), and its limit."""
        self._limits[key] = limit
        run = self._runs.get(path)
        if slot is not None and run is not None:
            self._slots[key], run.limits[slot] = (run, slot), limit

    def end(self, key: int, n_given: int = 0) -> None:
        """Know that what a run has read is over, after so many items (0: not known)."""
        run, slot = self._slots.pop(key, (None, 0))
        self._limits.pop(key, None)
        if run is not None:
            run.free.append(slot)
            if n_given:
                self._pass(run.dues[slot].at(n_given - 1))

    def _pass(self, time: float) -> None:
        if self._now < time < math.inf:
            self._now = time

    def clear(self) -> None:
        """Forget everything: a stream is over."""
        self._runs.clear()
        self._slots.clear()
        self._limits.clear()
        self._now = 0.0


def _end(due: Due, limit: int | None) -> float:
    """Return when what has a limit is drawn for the first time after that; infinite: not known."""
    return due.at(limit) if limit else math.inf


def _rest(due: Due, start: int, later: float, n_before: int) -> Due:
    """Return what is left of the times of a slot for what is opened there; at least a later one."""
    return Due(n_before, due.times[start:] or array("d", [later]), due.interval)
