"""What will probably be opened: as much of it as may be is open already, the rest is known.

Each run tells what it will open next, and when, as far as that is known. A guess that turns out
wrong costs work, and nothing else.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Any

from .._streaming.opener import Expected

_MOST_RUNS = 1000  # of which is known what they will open
_BETWEEN = 16  # items between two openings, before that is known
_WEIGHT = 0.2  # of the last interval, in the mean of them

_Key = tuple[bytes, int]  # the path of the run above, and which of its activations it is


class _Run:
    """What is known of a run: what it will open, and how often it opens something."""

    __slots__ = ("at", "interval", "number", "wishes")

    def __init__(self) -> None:
        # Each with the time at which it will be opened, and the number that it waits for.
        self.wishes: deque[tuple[float, int, Expected]] = deque()
        self.number, self.at = -1, 0  # what it has opened last, and after how many items in all
        self.interval = 0.0  # items between two openings; 0: not known

    def note_opening(self, number: int, n_items: int) -> float:
        """Note an opening; return how many items there were since the last one."""
        since = n_items - self.at if self.number >= 0 else 0
        self.number, self.at = number, n_items
        if since:  # else it is one of its first, which come all at once
            self.interval += (since - self.interval) * (_WEIGHT if self.interval else 1)
        return since


class Guesses:
    """Activations that are open ahead of their turn, and those that may be next.

    Parameters
    ----------
    n_most : int
        How many may be open ahead.
    """

    def __init__(self, n_most: int) -> None:
        self.n_items = 0  # that were handed out, of all runs
        self._n_most = n_most
        self._open: dict[_Key, Any] = {}
        self._runs: dict[bytes, _Run] = {}
        self._usual = 0.0  # items between two openings of a run
        self._openings: deque[int] = deque(maxlen=64)  # the last ones: after how many items
        self._planned: dict[_Key, tuple[int, bytes]] = {}  # inner runs: place, and their own path

    def _run(self, path: bytes) -> _Run:
        if path not in self._runs:
            self._runs[path] = _Run()
            kept: list[dict[Any, Any]] = [self._runs, self._planned]
            for known in kept:
                if len(known) > _MOST_RUNS:  # not every run tells its end: the oldest goes
                    del known[next(iter(known))]
        return self._runs[path]

    def expect(self, likely: list[Expected], times: list[float]) -> None:
        """Know what a run will open next, and when: after how many items of the whole stream.

        Where that is infinite, it is not known. For what has no time, the run will not live long
        enough.
        """
        run = self._run(likely[0].parent.path)
        interval = run.interval or self._usual
        planned = [each for each in run.wishes if each[2].parent.path != likely[0].parent.path]
        run.wishes = deque(planned)
        for each, time in zip(likely, times):
            if math.isinf(time):
                time = self.n_items + interval * (each.number - run.number)
            run.wishes.append((time, each.number, each))

    def expected(self, path: bytes) -> list[Expected]:
        """Return what a run will open next and is not open yet, as far as that is known."""
        run = self._runs.get(path)
        wishes = () if run is None else run.wishes
        return [each for _, _, each in wishes if each.parent.path == path]

    def next_wish(self) -> tuple[float, Expected] | None:
        """Return when something will be opened, and what: the next that should be open ahead."""
        while len(self._open) < self._n_most:
            waiting = [run for run in self._runs.values() if run.wishes]
            if not waiting:
                return None
            run = min(waiting, key=_time_of_first)
            if run.wishes[0][0] > self._horizon():
                return None  # others may be known by then that come before it
            time, _, wish = run.wishes.popleft()
            if (wish.parent.path, wish.number) not in self._open:
                return time, wish
        return None

    def _horizon(self) -> float:
        """Return the time until which about as many are opened as may be open ahead."""
        openings = self._openings
        since = self.n_items - openings[0] if openings else 0
        between = since / len(openings) if since else _BETWEEN
        return self.n_items + 2 * self._n_most * between

    def is_planned(self, wish: Expected) -> bool:
        """Tell whether it is known what an inner run begins with."""
        return (wish.parent.path, wish.number) in self._planned

    def plan(self, time: float, wish: Expected, path: bytes, sources: list[Expected]) -> None:
        """Know that an inner run, whose path this is, begins with these sources at a time."""
        above = wish.parent.path
        self._planned[above, wish.number] = wish.place, path
        wishes = self._run(above).wishes
        wishes.extendleft((time, wish.number, each) for each in reversed(sources))

    def end(self, path: bytes) -> list[Any]:
        """Know that an inner run is over; return what was opened ahead for it."""
        self._runs.pop(path, None)
        return [self._open.pop(key) for key in list(self._open) if key[0] == path]

    def add(self, activation: Any) -> None:
        """Note that a guess has been opened."""
        self._open[activation.parent.path, activation.number] = activation

    def settle(self, expected: Expected) -> tuple[Any | None, list[Any]]:
        """Return the guess that has turned out right, and those that have turned out wrong."""
        if not self._n_most:
            return None, []
        path, number = expected.parent.path, expected.number
        found = self._open.pop((path, number), None)
        self._note_opening(path, number)
        wrong = []
        if found is not None and not _fits(found, expected):
            wrong.append(found)
            found = None
        stale = [key for key in self._open if key[0] == path and key[1] < number]
        wrong += map(self._open.pop, stale)
        place, inner = self._planned.pop((path, number), (expected.place, b""))
        if place != expected.place:
            wrong += self.end(inner)
        return found, wrong

    def _note_opening(self, path: bytes, number: int) -> None:
        run = self._run(path)
        self._openings.append(self.n_items)
        since = run.note_opening(number, self.n_items)
        if since:
            self._usual += (since - self._usual) * (_WEIGHT if self._usual else 1)
        while run.wishes and run.wishes[0][1] <= number:
            run.wishes.popleft()

    def drop(self, activation: Any) -> None:
        """Forget a guess."""
        self._open.pop((activation.parent.path, activation.number), None)

    def clear(self) -> Iterable[Any]:
        """Forget everything; return what is open."""
        guesses = list(self._open.values())
        for each in (self._open, self._runs, self._planned):
            each.clear()
        return guesses


def _time_of_first(run: _Run) -> float:
    return run.wishes[0][0]


def _fits(activation: Any, expected: Expected) -> bool:
    is_same = activation.place == expected.place and activation.streamer is expected.streamer
    is_same = is_same and activation.start == expected.position
    return is_same and activation.limit in (None, expected.limit)
