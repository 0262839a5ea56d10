"""Sums of what streamers have given, by their places in a mux."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

MOST_DENSE = 2**20  # places, up to which every one has a number
MOST_PER_STREAM = 8  # places, up to which it is quicker to go over all of them


class Sums:
    """How many streams of each streamer have ended, and how many items they gave."""

    def __init__(self) -> None:
        self._opened = np.zeros(0, np.int64)
        self._items = np.zeros(0, np.int64)
        self._sparse: list[tuple[int, int, int]] = []  # of places beyond those

    def add(self, places: np.ndarray, given: np.ndarray) -> None:
        """Add streams: whose each was, and what it gave."""
        n_places = int(places.max()) + 1
        if n_places > MOST_DENSE:
            self._add_sparse(places, given)
            return
        if n_places > len(self._opened):
            n_more = min(max(n_places, 2 * len(self._opened)), MOST_DENSE) - len(self._opened)
            self._opened, self._items = (
                np.concatenate([each, np.zeros(n_more, np.int64)])
                for each in (self._opened, self._items)
            )
        if n_places > MOST_PER_STREAM * len(places):
            np.add.at(self._opened, places, 1)
            np.add.at(self._items, places, given)
        else:
            self._opened[:n_places] += np.bincount(places)
            self._items[:n_places] += np.bincount(places, given).astype(np.int64)

    def _add_sparse(self, places: np.ndarray, given: np.ndarray) -> None:
        known, numbers = np.unique(places, return_inverse=True)
        n_opened, n_items = np.bincount(numbers), np.bincount(numbers, given).astype(int)
        self._sparse += zip(known.tolist(), n_opened.tolist(), n_items.tolist())

    def take(self) -> Iterator[tuple[int, int, int]]:
        """Yield, by place, how many have ended and what they gave, and forget them."""
        sparse, self._sparse = self._sparse, []
        yield from sparse
        places = np.flatnonzero(self._opened)
        sums = places, self._opened[places], self._items[places]
        self._opened[places] = self._items[places] = 0
        yield from zip(*(each.tolist() for each in sums))
