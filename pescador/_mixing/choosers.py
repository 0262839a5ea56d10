"""Which streamer to open next."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any

import numpy as np

from .design import Table, Tree
from .limits import Limits
from .slots import FIRST_BLOCK, LAST_BLOCK


def activations(rng: np.random.RandomState, limits: Limits | None) -> Iterator[tuple[float, Any]]:
    """Yield, for ever, what each activation takes: a uniform number to choose its streamer by,
    and its limit (or, if ``limits`` is None, a second uniform number to draw the limit by).
    """
    size = FIRST_BLOCK
    while True:
        # A row for each activation, so that the sizes of the blocks do not matter.
        choices, seconds = rng.random_sample((size, 2)).T
        yield from zip(
            choices.tolist(), seconds.tolist() if limits is None else limits.draw_block(seconds)
        )
        size = min(2 * size, LAST_BLOCK)


# Which streamer next.


class Replacing:
    """Chooses uniformly among candidates, any of them at any time.

    Dropping a candidate moves the last one into its place; only moved ones are recorded, so
    nothing here grows with the number of candidates.
    """

    def __init__(self, n_places: int, places: list[int] | None = None) -> None:
        self._places = places  # ascending; None: all of them
        self._at: dict[int, int] = {}  # position -> candidate, where they differ
        self._position_of: dict[int, int] = {}
        self._dropped: list[int] = []
        self.n_left = n_places if places is None else len(places)

    @property
    def n_free(self) -> int:
        """The number of candidates that could be chosen next."""
        return self.n_left

    def choose(self, draw: float) -> int | None:
        """Return a place for the uniform number ``draw``, or None if there are none."""
        n_left = self.n_left
        if self._at or self._places is not None or not n_left:
            return self._place_at(int(draw * n_left)) if n_left else None
        return int(draw * n_left)

    def release(self, place: int) -> None:
        """Note that a chosen place is free again."""

    def drop(self, place: int) -> None:
        """Never choose this (released) place again; nothing happens if it is dropped already."""
        position = self._position(place)
        if position < self.n_left and self._place_at(position) == place:
            self._dropped.append(place)
            self._vacate(position)

    @property
    def dropped(self) -> list[int]:
        """The places that were dropped, in order."""
        return self._dropped.copy()

    @property
    def position(self) -> list[int]:
        """What it has come to, but for what is in use."""
        return self.dropped

    def resume(self, position: list[int], in_use: list[int]) -> None:
        """Go to a position, where some places are in use."""
        for place in position:
            self.drop(place)

    def _place_at(self, position: int) -> int:
        if self._at:
            position = self._at.get(position, position)
        return position if self._places is None else self._places[position]

    def _position(self, place: int) -> int:
        if self._places is not None:
            place = bisect_left(self._places, place)
        return self._position_of.get(place, place) if self._position_of else place

    def _vacate(self, position: int) -> None:
        self.n_left -= 1
        last = self._at.pop(self.n_left, self.n_left)
        self._position_of.pop(last, None)
        if position != self.n_left:
            self._at[position] = last
            self._position_of[last] = position


class Distinct(Replacing):
    """Chooses uniformly among the candidates that are not chosen at the moment.

    With m candidates free, a position below m is drawn. If it is in use, it stands for one of
    the free positions from m on: there are as many of those as positions in use below m.
    """

    def __init__(self, n_places: int, places: list[int] | None = None) -> None:
        super().__init__(n_places, places)
        self._in_use: list[int] = []  # positions, ascending

    @property
    def n_free(self) -> int:
        return self.n_left - len(self._in_use)

    def choose(self, draw: float) -> int | None:
        in_use = self._in_use
        n_free = self.n_left - len(in_use)
        if not n_free:
            return None
        position = int(draw * n_free)
        rank = bisect_left(in_use, position)
        if rank < len(in_use) and in_use[rank] == position:
            position, rank = self._free_from(n_free, rank)
        in_use.insert(rank, position)
        if self._at or self._places is not None:
            return self._place_at(position)
        return position

    def _free_from(self, start: int, rank: int) -> tuple[int, int]:
        """Return the free position number ``rank`` from ``start`` on, and where it sorts."""
        in_use = self._in_use
        first = low = bisect_left(in_use, start)
        high = len(in_use)
        while low < high:
            middle = (low + high) // 2
            if in_use[middle] - start - (middle - first) <= rank:
                low = middle + 1
            else:
                high = middle
        return start + rank + low - first, low

    def occupy(self, place: int) -> None:
        """Note that a (free) place has been chosen."""
        insort(self._in_use, self._position(place))

    def release(self, place: int) -> None:
        if self._position_of or self._places is not None:
            place = self._position(place)
        in_use = self._in_use
        del in_use[bisect_left(in_use, place)]

    def resume(self, position: list[int], in_use: list[int]) -> None:
        super().resume(position, in_use)
        self._in_use = sorted(map(self._position, in_use))

    def _vacate(self, position: int) -> None:
        super()._vacate(position)
        if self._in_use and self._in_use[-1] == self.n_left:  # the one that was moved
            del self._in_use[-1]
            insort(self._in_use, position)


class Permuted:
    """Chooses every candidate once, in a random order."""

    def __init__(self, n_places: int, places: Any, rng: np.random.RandomState) -> None:
        self._order = rng.permutation(n_places if places is None else places)
        self._next: list[int] = []  # of the order, the next one last
        self._n_taken = 0
        self.n_left = self.n_free = len(self._order)

    def choose(self, draw: float) -> int | None:
        """Return the next place of the order; ``draw`` is not needed."""
        if not self.n_left:
            return None
        if not self._next:
            end = self._n_taken + LAST_BLOCK
            self._next = self._order[self._n_taken : end][::-1].tolist()
            self._n_taken = end
        self.n_left = self.n_free = self.n_left - 1
        return self._next.pop()

    def release(self, place: int) -> None:
        """Note that a place is free again; it stays chosen."""

    def drop(self, place: int) -> None:
        """Do nothing: no place is chosen twice."""

    @property
    def dropped(self) -> list[int]:
        """None."""
        return []

    @property
    def position(self) -> list[int]:
        """How many have been chosen."""
        return [len(self._order) - self.n_left]

    def resume(self, position: list[int], in_use: list[int]) -> None:
        """Go to a position."""
        (self._n_taken,) = position
        self.n_left = self.n_free = len(self._order) - self._n_taken


class Shares:
    """Chooses candidates with probabilities in proportion to weights, any of them at any time."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._tree = Tree(table.levels, table.fanout)
        self._out: set[int] = set()  # dropped or set aside
        self.n_left = table.n_places

    @property
    def n_free(self) -> int:
        """The number of candidates that could be chosen next."""
        return self.n_left

    def choose(self, draw: float) -> int | None:
        """Return a place for the uniform number ``draw``, or None if there are none."""
        return self._tree.find(draw)

    def release(self, place: int) -> None:
        """Note that a chosen place is free again."""

    def drop(self, place: int) -> None:
        """Do not choose this (released) place again, until it is restored."""
        if place not in self._out:
            self._out.add(place)
            self.n_left -= self._is_candidate(place)
            self._hide(place)

    def restore(self, place: int) -> None:
        """Undo `drop`."""
        self._out.remove(place)
        self.n_left += self._is_candidate(place)
        self._show(place)

    @property
    def dropped(self) -> list[int]:
        """The places that are not chosen now, those that are to be restored included."""
        return sorted(self._out)

    @property
    def position(self) -> list[int]:
        """What it has come to, but for what is in use."""
        return self.dropped

    def resume(self, position: list[int], in_use: list[int]) -> None:
        """Go to a position, where some places are in use."""
        for place in position:
            self.drop(place)

    def _is_candidate(self, place: int) -> bool:
        return bool(self._table.levels[0][place]) or place in self._table.fixed

    def _hide(self, place: int) -> None:
        self._tree.put(place, 0.0)

    def _show(self, place: int) -> None:
        self._tree.put(place, self._table.levels[0][place].item())


class DistinctShares(Shares):
    """Chooses among the candidates that are not chosen at the moment, as a `Design` says."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._in_use: set[int] = set()
        self._waiting = set(table.fixed)  # those that are not chosen, although they should be

    @property
    def n_free(self) -> int:
        return self.n_left - len(self._in_use)

    def choose(self, draw: float) -> int | None:
        place = min(self._waiting) if self._waiting else self._tree.find(draw)
        if place is not None:
            self.occupy(place)
        return place

    def resume(self, position: list[int], in_use: list[int]) -> None:
        super().resume(position, in_use)
        for place in in_use:
            self.occupy(place)

    def occupy(self, place: int) -> None:
        """Note that a place has been chosen."""
        self._in_use.add(place)
        self._hide(place)

    def release(self, place: int) -> None:
        self._in_use.discard(place)
        if place not in self._out:
            self._show(place)

    def _hide(self, place: int) -> None:
        if place in self._table.fixed:
            self._waiting.discard(place)
        else:
            super()._hide(place)

    def _show(self, place: int) -> None:
        if place in self._table.fixed:
            self._waiting.add(place)
        else:
            super()._show(place)
