"""Which streamer to open next.

A `Chooser` knows which places may be chosen, and finds the one that belongs to a uniform number.
`Choices` makes these numbers, in a row that can be looked at ahead of time.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from itertools import chain
from operator import length_hint
from typing import Any, Protocol

import numpy as np

from .design import Table, Tree
from .limits import Limits
from .slots import FIRST_BLOCK, LAST_BLOCK


class Choices:
    """What each activation takes: a number to choose its streamer by, and its limit.

    (Without ``limits``, a second uniform number to draw the limit by.) An activation takes two
    random numbers, so that what the n-th one chooses follows from the seed and n.
    """

    def __init__(self, rng: np.random.RandomState, limits: Limits | None, n_taken: int = 0) -> None:
        self._rng = rng
        self._limits = limits
        self._size = FIRST_BLOCK
        self._n_drawn = n_taken
        self._ahead: deque[list[tuple[float, Any]]] = deque()  # blocks that are not begun
        self._block: list[tuple[float, Any]] = []
        self._left = iter(self._block)
        #: Whose ``next`` uses the next one. (In C: a third of the cost of a method of ours.)
        self.rows: Iterator[tuple[float, Any]] = chain.from_iterable(self._blocks())

    @property
    def n_taken(self) -> int:
        """How many have been taken, looked at or not."""
        return self._n_drawn - sum(map(len, self._ahead)) - length_hint(self._left)

    def _blocks(self) -> Iterator[Iterator[tuple[float, Any]]]:
        while True:
            if not self._ahead:
                self._draw_block()
            self._block = self._ahead.popleft()
            self._left = iter(self._block)
            yield self._left

    def peek(self, n: int) -> list[tuple[float, Any]]:
        """Return the next ``n``, which remain to be taken."""
        n_left = length_hint(self._left)
        seen = self._block[len(self._block) - n_left :][:n]
        while n_left + sum(map(len, self._ahead)) < n:
            self._draw_block()
        for block in self._ahead:
            seen += block[: n - len(seen)]
        return seen

    def _draw_block(self) -> None:
        # A row for each activation, so that the sizes of the blocks do not matter.
        draws, seconds = self._rng.random_sample((self._size, 2)).T
        limits = seconds.tolist() if self._limits is None else self._limits.draw_block(seconds)
        self._ahead.append(list(zip(draws.tolist(), limits)))
        self._n_drawn += self._size
        self._size = min(2 * self._size, LAST_BLOCK)


class Chooser(Protocol):
    """Chooses among places, by uniform numbers in [0, 1)."""

    #: How many places may still be chosen, those that are in use included.
    n_left: int

    @property
    def n_free(self) -> int:
        """How many places could be chosen next."""

    def find(self, draw: float) -> int | None:
        """Return the place that would be chosen now, and mark nothing; None if there is none."""

    def choose(self, draw: float) -> int | None:
        """Return the same, and mark it as in use."""

    def occupy(self, place: int) -> None:
        """Mark a free place as in use."""

    def release(self, place: int) -> None:
        """Note that a place is no longer in use."""

    def drop(self, place: int) -> None:
        """Do not choose a (released) place again. Dropping it twice changes nothing."""

    def restore(self, place: int) -> None:
        """Undo `drop`."""

    def foresee(self, draws: list[float]) -> list[int | None]:
        """Guess the next choices, if a place is released before each; None where it is open."""

    @property
    def dropped(self) -> list[int]:
        """The places that are not chosen now."""

    @property
    def position(self) -> list[int]:
        """Where it stands, but for what is in use, as a list that JSON can hold."""

    def resume(self, position: list[int], in_use: list[int]) -> None:
        """Go to a position, where some places are in use."""


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
        return self.n_left

    def find(self, draw: float) -> int | None:
        n_left = self.n_left
        if self._at or self._places is not None or not n_left:
            return self._place_at(int(draw * n_left)) if n_left else None
        return int(draw * n_left)

    choose = find  # nothing has to be marked

    def foresee(self, draws: list[float]) -> list[int | None]:
        return list(map(self.find, draws))

    def occupy(self, place: int) -> None:
        """Do nothing: a place in use may be chosen as well."""

    def release(self, place: int) -> None:
        """Do nothing, for the same reason."""

    def restore(self, place: int) -> None:
        """Not here: what was dropped is out of the run."""
        raise NotImplementedError

    def drop(self, place: int) -> None:
        position = self._position(place)
        if position < self.n_left and self._place_at(position) == place:
            self._dropped.append(place)
            self._vacate(position)

    @property
    def dropped(self) -> list[int]:
        return self._dropped.copy()

    @property
    def position(self) -> list[int]:
        return self.dropped

    def resume(self, position: list[int], in_use: list[int]) -> None:
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

    def find(self, draw: float) -> int | None:
        if not self.n_free:
            return None
        position = int(draw * self.n_free)
        rank = bisect_left(self._in_use, position)
        if self._in_use[rank : rank + 1] == [position]:
            position, _ = self._free_from(self.n_free, rank)
        return self._place_at(position)

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

    def foresee(self, draws: list[float]) -> list[int | None]:
        """Guess those that do not depend on which place is released."""
        taken = set(self._in_use)
        guesses: list[int | None] = []
        for draw in draws:
            position = int(draw * (self.n_free + 1))
            guesses.append(None if position in taken else self._place_at(position))
            taken.add(position)
        return guesses

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
        if places is not None:
            self._order = rng.permutation(places)
        else:  # the same as of a number, which takes twice the memory
            self._order = np.arange(n_places, dtype=np.int32 if n_places < 2**31 else np.int64)
            rng.shuffle(self._order)
        self._next: list[int] = []  # of the order, the next one last
        self._n_read = 0
        self.n_left = self.n_free = len(self._order)

    def _ahead(self, n: int) -> list[int]:
        """Return the next places of the order, the next one last, at least ``n`` if there are."""
        while len(self._next) < min(n, self.n_left):
            end = self._n_read + LAST_BLOCK
            self._next[:0] = self._order[self._n_read : end][::-1].tolist()
            self._n_read = end
        return self._next

    def find(self, draw: float) -> int | None:
        return self._ahead(1)[-1] if self.n_left else None

    def choose(self, draw: float) -> int | None:
        if not self.n_left:
            return None
        place = (self._next or self._ahead(1)).pop()
        self.n_left = self.n_free = self.n_left - 1
        return place

    def foresee(self, draws: list[float]) -> list[int | None]:
        n = min(len(draws), self.n_left)
        return [*self._ahead(n)[: -n - 1 : -1], *[None] * (len(draws) - n)]

    def occupy(self, place: int) -> None:
        """Take the next place of the order, which this must be."""
        self.choose(0.0)

    def release(self, place: int) -> None:
        """Do nothing: no place is chosen twice."""

    def drop(self, place: int) -> None:
        """Do nothing, for the same reason."""

    def restore(self, place: int) -> None:
        """Do nothing, for the same reason."""

    @property
    def dropped(self) -> list[int]:
        return []

    @property
    def position(self) -> list[int]:
        """How many have been chosen."""
        return [len(self._order) - self.n_left]

    def resume(self, position: list[int], in_use: list[int]) -> None:
        (self._n_read,) = position
        self.n_left = self.n_free = len(self._order) - self._n_read


class Shares:
    """Chooses candidates with probabilities in proportion to weights, any of them at any time."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._tree = Tree(table.levels, table.fanout)
        self._out: set[int] = set()  # dropped or set aside
        self.n_left = table.n_places

    @property
    def n_free(self) -> int:
        return self.n_left

    def find(self, draw: float) -> int | None:
        return self._tree.find(draw)

    choose = find  # nothing has to be marked

    def foresee(self, draws: list[float]) -> list[int | None]:
        return list(map(self.find, draws))

    def occupy(self, place: int) -> None:
        """Do nothing: a place in use may be chosen as well."""

    def release(self, place: int) -> None:
        """Do nothing, for the same reason."""

    def drop(self, place: int) -> None:
        if place not in self._out:
            self._out.add(place)
            self.n_left -= self._is_candidate(place)
            self._hide(place)

    def restore(self, place: int) -> None:
        self._out.remove(place)
        self.n_left += self._is_candidate(place)
        self._show(place)

    @property
    def dropped(self) -> list[int]:
        return sorted(self._out)

    @property
    def position(self) -> list[int]:
        return self.dropped

    def resume(self, position: list[int], in_use: list[int]) -> None:
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

    def find(self, draw: float) -> int | None:
        return min(self._waiting) if self._waiting else self._tree.find(draw)

    def choose(self, draw: float) -> int | None:
        place = self.find(draw)
        if place is not None:
            self.occupy(place)
        return place

    def foresee(self, draws: list[float]) -> list[int | None]:
        """Guess nothing: the odds depend on which place is released."""
        return [None] * len(draws)

    def resume(self, position: list[int], in_use: list[int]) -> None:
        super().resume(position, in_use)
        for place in in_use:
            self.occupy(place)

    def occupy(self, place: int) -> None:
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
