"""Which activation a worker works on next.

What the caller waits for comes first, then what it has opened, then the item that will be needed
the soonest. Guesses are opened in time, and their items are made when there is nothing else to do.
Whatever is in here may have changed since, so it is looked at again when its turn has come.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from .work import Work

_LEAD = 4  # items of an activation, which a guess is opened earlier than it is needed

_Heap = list[tuple[float, int, Work]]  # by the time at which the next item will be needed


class Agenda:
    """The activations of a worker, in the order in which they are to be worked on.

    Parameters
    ----------
    has_room : callable
        ``has_room(work)`` tells whether there is memory for the next item of an activation.
    """

    def __init__(self, has_room: Callable[[Work], bool]) -> None:
        self._has_room = has_room
        self._numbers = count()  # (so that two activations are never compared)
        self._urgent: deque[Work] = deque()
        self._unopened: _Heap = []
        self._open: _Heap = []
        self._unopened_guesses: _Heap = []
        self._open_guesses: deque[Work] = deque()

    def put(self, work: Work) -> None:
        """Note an activation that is new, or has changed."""
        if work.is_busy or work.is_over:
            return
        if _is_urgent(work):
            self._urgent.append(work)
            return
        if work.is_guess and work.source is not None:
            self._open_guesses.append(work)
            return
        heap, time = self._open, work.due.at(work.n_made)
        if work.source is None:
            heap = self._unopened_guesses if work.is_guess else self._unopened
        elif time == math.inf:
            return  # unless somebody asks for it, or knows better
        heappush(heap, (time, next(self._numbers), work))

    def next(self) -> Work | None:
        """Take the next activation; None if there is nothing to do."""
        while self._open_guesses and not _makes_guesses(self._open_guesses[0]):
            self._open_guesses.popleft()
        while self._urgent:
            urgent = self._urgent.popleft()
            if not (urgent.is_busy or urgent.is_over) and _is_urgent(urgent):
                return urgent
        if _first(self._unopened, is_open=False, is_guess=False) is not None:
            return heappop(self._unopened)[2]
        work = _first(self._open, is_open=True, is_guess=False)
        if work is not None and not self._has_room(work):
            work = None
        guess = _first(self._unopened_guesses, is_open=False, is_guess=True)
        if guess is not None and (work is None or _is_in_time(guess, work)):
            return heappop(self._unopened_guesses)[2]
        return heappop(self._open)[2] if work is not None else self._next_guess()

    def _next_guess(self) -> Work | None:
        """Take a guess whose items there is room for."""
        for _ in range(len(self._open_guesses)):
            guess = self._open_guesses.popleft()
            if not _makes_guesses(guess):
                continue
            if self._has_room(guess):
                return guess
            self._open_guesses.append(guess)
        return None


def _is_urgent(work: Work) -> bool:
    """Tell whether it needs no room: it is asked for, or to be closed."""
    return work.is_closing or work.is_asked or work.n_made == work.stop


def _makes_guesses(work: Work) -> bool:
    """Tell whether it is a guess that is open, and may make items."""
    return work.is_guess and not (work.is_busy or work.is_over) and work.n_made < work.n_most


def _is_in_time(guess: Work, work: Work) -> bool:
    """Tell whether a guess is to be opened before the next item of another activation is made."""
    now = work.due.at(work.n_made)
    return guess.due.at(guess.n_made) < now + _LEAD * work.due.interval


def _first(heap: _Heap, is_open: bool, is_guess: bool) -> Work | None:
    """Return the first of a heap, after those have been dropped that are not in it any more."""
    while heap:
        time, _, work = heap[0]
        is_there = not (work.is_busy or work.is_over) and work.is_guess == is_guess
        if is_there and (work.source is not None) == is_open and work.due.at(work.n_made) == time:
            return work
        heappop(heap)
    return None
