"""What will probably be opened: as much of it as may be is open already, the rest is known.

Each run tells what it will open next. A guess that turns out wrong costs work, and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from .._streaming.opener import Expected

_MOST_RUNS = 1000  # of which is known what they will open
_WEIGHT = 0.2  # of the last interval, in the mean of them

_Key = tuple[bytes, int]  # the path of the run above, and which of its activations it is


class _Run:
    """What is known of a run: what it will open, and how often it opens something."""

    __slots__ = ("at", "interval", "n_left", "number", "wishes")

    def __init__(self) -> None:
        self.wishes: deque[tuple[int, Expected]] = deque()  # each with the number it waits for
        self.n_left: int | None = None  # items that it may still give; None: any number
        self.number, self.at = -1, 0  # what it has opened last, and after how many items in all
        self.interval = 0.0  # items between two openings; 0: not known

    def note_opening(self, number: int, n_items: int) -> float:
        """Note an opening; return how many items there were since the last one."""
        since = n_items - self.at if self.number >= 0 else 0
        self.number, self.at = number, n_items
        if since:  # else it is one of its first, which come all at once
            self.interval += (since - self.interval) * (_WEIGHT if self.interval else 1)
        return since

    def is_due_in(self, usual: float) -> float:
        """Return in how many items it will open its next wish, in the mean.

        (When it has opened the last one says nothing: slots are drawn at random.)
        """
        number, _ = self.wishes[0]
        return (self.interval or usual) * (number - self.number)


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
        self._planned: dict[_Key, tuple[int, bytes]] = {}  # inner runs: place, and their own path

    def _run(self, path: bytes) -> _Run:
        if path not in self._runs:
            self._runs[path] = _Run()
            kept: list[dict[Any, Any]] = [self._runs, self._planned]
            for known in kept:
                if len(known) > _MOST_RUNS:  # not every run tells its end: the oldest goes
                    del known[next(iter(known))]
        return self._runs[path]

    def expect(self, likely: list[Expected]) -> None:
        """Know what a run will open next."""
        run = self._run(likely[0].parent.path)
        run.wishes = deque((each.number, each) for each in likely)

    def next_wish(self) -> Expected | None:
        """Return what should be opened ahead next; None for nothing."""
        while len(self._open) < self._n_most:
            waiting = [run for run in self._runs.values() if run.wishes]
            if not waiting:
                return None
            run = min(waiting, key=self._is_due_in)
            _, wish = run.wishes.popleft()
            if (wish.parent.path, wish.number) not in self._open and self._is_worth_it(wish):
                return wish
        return None

    def _is_due_in(self, run: _Run) -> float:
        return run.is_due_in(self._usual)

    def _is_worth_it(self, wish: Expected) -> bool:
        """Tell whether its run will probably live long enough to open it."""
        run = self._runs.get(wish.parent.path)
        if run is None or run.n_left is None:
            return True
        run.n_left -= wish.limit or 0
        return run.n_left >= 0

    def is_planned(self, wish: Expected) -> bool:
        """Tell whether it is known what an inner run begins with."""
        return (wish.parent.path, wish.number) in self._planned

    def plan(self, wish: Expected, path: bytes, sources: list[Expected]) -> None:
        """Know that an inner run, whose path this is, begins with these sources."""
        above = wish.parent.path
        self._planned[above, wish.number] = wish.place, path
        wishes = self._run(above).wishes
        wishes.extendleft((wish.number, each) for each in reversed(sources))

    def begin(self, path: bytes, n_items: int) -> None:
        """Know that an inner run begins, and how many items it may give (0: any number)."""
        self._run(path).n_left = n_items or None

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
        self._note_opening(expected, found is not None)
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

    def _note_opening(self, expected: Expected, was_guessed: bool) -> None:
        run, number = self._run(expected.parent.path), expected.number
        since = run.note_opening(number, self.n_items)
        if since:
            self._usual += (since - self._usual) * (_WEIGHT if self._usual else 1)
        if run.n_left is not None and not (since and was_guessed):
            # (Of its first ones, about half is not read when the run ends.)
            run.n_left -= (expected.limit or 0) // (1 if since else 2)
        while run.wishes and run.wishes[0][0] <= number:
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


def _fits(activation: Any, expected: Expected) -> bool:
    is_same = activation.place == expected.place and activation.streamer is expected.streamer
    is_same = is_same and activation.start == expected.position
    return is_same and activation.limit in (None, expected.limit)
