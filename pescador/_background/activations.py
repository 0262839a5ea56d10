"""The activations that are open in another process, and what each has given."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_NUMBER, _RUN, _PLACE, _GIVEN = range(4)
_LEAST = 64  # activations that there is room for
_FEW = 4  # times as many numbers as are looked up, in a list of all
_OVER = 0  # in place of a run, which are numbered from 1


class Rows(NamedTuple):
    """Some activations: of which run and streamer each is, and how many items it gave."""

    numbers: np.ndarray
    runs: np.ndarray
    places: np.ndarray
    given: np.ndarray


class Activations:
    """A table of activations, whose numbers rise.

    Every method takes and returns arrays of 64-bit integers, and calls NumPy a few times, however
    many activations there are.
    """

    def __init__(self) -> None:
        self._table = np.zeros((4, _LEAST), np.int64)
        self._n = 0  # rows that are in use, or over

    def open(self, numbers: np.ndarray, runs: np.ndarray, places: np.ndarray) -> None:
        """Add activations, which have given nothing yet."""
        n = self._n + len(numbers)
        if n > self._table.shape[1]:
            self._make_room(len(numbers))
            n = self._n + len(numbers)
        new = self._table[:, self._n : n]
        new[_NUMBER], new[_RUN], new[_PLACE], new[_GIVEN] = numbers, runs, places, 0
        self._n = n

    def _make_room(self, n_more: int) -> None:
        kept = self._table[:, : self._n]
        kept = kept[:, kept[_RUN] != _OVER]
        self._n = kept.shape[1]
        self._table = np.zeros((4, max(_LEAST, 2 * (self._n + n_more))), np.int64)
        self._table[:, : self._n] = kept

    def _rows_of(self, numbers: np.ndarray) -> np.ndarray:
        known = self._table[_NUMBER, : self._n]
        if not len(known) or known[-1] - known[0] > _FEW * (len(numbers) + len(known)):
            return np.searchsorted(known, numbers)
        rows = np.zeros(known[-1] - known[0] + 1, np.intp)  # which is quicker to read
        rows[known - known[0]] = np.arange(len(known))
        return rows[numbers - known[0]]

    def add(self, numbers: np.ndarray) -> None:
        """Count an item of the activation of each number, of which there may be several."""
        self._table[_GIVEN, : self._n] += np.bincount(self._rows_of(numbers), minlength=self._n)

    def runs_of(self, numbers: np.ndarray) -> np.ndarray:
        """Return the run of each."""
        return self._table[_RUN, self._rows_of(numbers)]

    def end(self, numbers: np.ndarray) -> Rows:
        """Take out activations, and return them."""
        rows = self._rows_of(numbers)
        ended = Rows(*self._table[:, rows])
        self._table[_RUN, rows] = _OVER
        return ended

    def of_run(self, run: int) -> Rows:
        """Return those that are open in a run."""
        used = self._table[:, : self._n]
        return Rows(*used[:, used[_RUN] == run])

    def end_run(self, run: int) -> None:
        """Take out all of a run."""
        runs = self._table[_RUN, : self._n]
        runs[runs == run] = _OVER
