"""The arithmetic of muxing: which slot next, which streamer next, how many items.

Everything here takes random numbers in and gives indices out; it knows no streamers. Numbers are
drawn a block at a time. Blocks start small, so that a short run does not pay for a long one.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice
from operator import length_hint

import numpy as np

FIRST_BLOCK = 16
LAST_BLOCK = 1024
_MOST_CHILDREN = 64  # of a node
_CALM = 4  # draws without a change, per slot, before an alias table is worth making


# Which slot next.


def _as_ints(slots: np.ndarray, n_slots: int) -> Iterable[int]:
    """Return numbers below ``n_slots``, rounded down, in the form that is read the fastest."""
    if n_slots <= 256:
        return slots.astype(np.uint8).tobytes()
    return slots.astype(np.intp).tolist()


class _Slots:
    """What is drawn from a generator, a block at a time; and how far it has been used."""

    def __init__(self, rng: np.random.RandomState, n_slots: int) -> None:
        self._rng = rng
        self._size = FIRST_BLOCK
        self._before: list[int] = []  # the block that is being used: what its drawing began with
        self._block: Iterable = ()  # the block itself
        self._left: Iterator = iter(())  # what is left of it
        self._n_drawn = 0
        self._n_calm = 0  # draws since the last change, whole blocks only
        self.is_stale = False
        self.n_slots = n_slots

    @property
    def size(self) -> int:
        """How many draws the block holds that is being used."""
        return self._before[1]

    def _draw(self, most: int) -> np.ndarray:
        size = min(self._size, most)
        self._before = [self._n_drawn, size, self._size, self.n_slots, self._n_calm]
        self._n_drawn += size
        return self._rng.random_sample(size)

    def _using(self, block: Iterable[int]) -> Iterable[int]:
        self._block, self._left = block, iter(block)
        return self._left

    def foresee(self) -> np.ndarray:
        """Return what is left of the block, and the next one: what probably will be drawn."""
        if not self._has_any():
            return np.empty(0, np.intp)
        state = self._rng.get_state(legacy=False)
        draws = self._rng.random_sample(min(self._size, LAST_BLOCK))
        self._rng.set_state(state)
        block = np.array(memoryview(self._block) if isinstance(self._block, bytes) else self._block)
        rest = block[len(block) - length_hint(self._left) :]
        is_drawn = block.dtype == float  # but not looked up yet
        rest = self._looked_up(rest, False) if is_drawn else rest.astype(np.intp)
        slots = np.concatenate([rest, self._looked_up(draws, True)])
        return slots[slots < self.n_slots]

    def _has_any(self) -> bool:
        """Tell whether there is a slot to draw."""
        return self.n_slots > 0

    def _looked_up(self, draws: np.ndarray, is_next: bool) -> np.ndarray:
        """Return the slots that numbers in [0, 1) mean now; whether they are the next block."""
        raise NotImplementedError

    def block(self, most: int = sys.maxsize) -> Iterable[int]:
        """Return the next (at most ``most``) slots to draw from, valid until `is_stale` is set."""
        raise NotImplementedError

    @property
    def position(self) -> list:
        """Where it stands, for `resume`."""
        used = self._before[1] - length_hint(self._left)
        return [*self._before, self._n_calm, self._size, used, int(self.is_stale)]

    @property
    def position_before_draw(self) -> list:
        """The same before the last slot was drawn."""
        *rest, used, is_stale = self.position
        return [*rest, used - 1, is_stale]

    def resume(self, position: list, rng: np.random.RandomState) -> Iterable[int]:
        """Go to a position, with a generator that gave ``position[0]`` numbers.

        Return what is left of the block.
        """
        (self._n_drawn, n_draws, self._size, before, self._n_calm, *after) = position
        n_calm, size, n_used, is_stale = after
        self._rng = rng
        now, self.n_slots = self.n_slots, before
        if is_stale:
            self._draw(n_draws)
            rest = self._left = iter(())
        else:
            rest = iter(self.block(n_draws))
        next(islice(self._left, n_used, n_used), None)
        self.n_slots, self._n_calm, self._size, self.is_stale = now, n_calm, size, bool(is_stale)
        return rest


class EqualSlots(_Slots):
    """Draws among slots of equal weight.

    A block stays valid when the number of slots shrinks: a draw of a slot that is gone is
    passed over, which leaves the others equally likely.
    """

    def block(self, most: int = sys.maxsize) -> Iterable[int]:
        self.is_stale = False
        draws = self._draw(most)
        draws *= self.n_slots
        self._size = min(4 * self._size, LAST_BLOCK)
        return self._using(_as_ints(draws, self.n_slots))

    def _looked_up(self, draws: np.ndarray, is_next: bool) -> np.ndarray:
        return (draws * self.n_slots).astype(np.intp)

    def put(self, slot: int, weight: float) -> None:
        """Note the weight of the stream that is now in a slot; here all are the same."""

    def fill(self, weights: list[float]) -> None:
        """Set the weights of all slots at once; here all are the same."""

    def probability(self, slot: int) -> float:
        """Return the probability that the next draw is ``slot``."""
        return 1 / self.n_slots

    def shrink(self) -> None:
        """Take the last slot away."""
        self.n_slots -= 1

    def grow(self, weight: float) -> None:
        """Add a slot at the end."""
        self.n_slots += 1
        self.is_stale = True


class WeightedSlots(_Slots):
    """Draws among slots in proportion to their weights, which may change after every draw.

    The weights are the leaves of a tree in which every node has up to 64 children and keeps
    their cumulative sums. A change rebuilds one node a level, a draw bisects one node a level:
    both take time logarithmic in the number of slots. Sums are always formed from the leaves in
    the same order, so they depend on the weights alone and not on their history. Once nothing
    has changed for long enough to pay for an alias table, whole blocks are drawn at once.
    """

    def __init__(self, rng: np.random.RandomState, n_slots: int) -> None:
        super().__init__(rng, n_slots)
        self._aliases: tuple[np.ndarray, np.ndarray] | None = None
        self._levels: list[list[float]] = [[0.0] * n_slots]
        self._cumulative: list[list[list[float]]] = []
        self._fanout = _children_of(n_slots)
        while len(self._levels[-1]) > 1 or not self._cumulative:
            below = self._levels[-1]
            starts = range(0, len(below), self._fanout)
            self._cumulative.append([[0.0] * len(below[i : i + self._fanout]) for i in starts])
            self._levels.append([0.0] * len(starts))

    def put(self, slot: int, weight: float) -> None:
        """Change the weight of a slot."""
        weight = float(weight)  # (NumPy's numbers are added and compared three times as slowly)
        fanout = self._fanout
        for below, nodes in zip(self._levels, self._cumulative):
            below[slot] = weight
            node = slot // fanout
            first = node * fanout
            index, sums, rest = slot - first, nodes[node], below[slot : first + fanout]
            if index:
                rest[0] += sums[index - 1]
            sums[index:] = accumulate(rest)
            slot, weight = node, sums[-1]
        self._levels[-1][0] = weight
        self._n_calm = 0
        if self._aliases is not None:
            self._aliases = None
            self.is_stale = True

    def fill(self, weights: list[float]) -> None:
        """Set the weights of all slots at once."""
        level = self._levels[0]
        level[: len(weights)] = map(float, weights)
        fanout = self._fanout
        for depth, (below, nodes) in enumerate(zip(self._levels, self._cumulative)):
            for index, sums in enumerate(nodes):
                sums[:] = accumulate(below[index * fanout : (index + 1) * fanout])
            self._levels[depth + 1][:] = [sums[-1] for sums in nodes]
        self._n_calm = 0
        self._aliases = None

    @property
    def total(self) -> float:
        """The sum of the weights."""
        return self._levels[-1][0]

    def probability(self, slot: int) -> float:
        """Return the probability that the next draw is ``slot``."""
        return self._levels[0][slot] / self.total

    def shrink(self) -> None:
        """Take the last slot away."""
        self.n_slots -= 1
        self.put(self.n_slots, 0.0)

    def grow(self, weight: float) -> None:
        """Add a slot at the end, where one was taken away."""
        self.n_slots += 1
        self.put(self.n_slots - 1, weight)

    def block(self, most: int = sys.maxsize) -> Iterable[int]:
        if self.is_stale:
            self.is_stale, self._size = False, FIRST_BLOCK
        draws = self._draw(most)
        is_calm = self._is_calm()
        self._n_calm += len(draws)
        self._size = min(4 * self._size, LAST_BLOCK)
        if is_calm:
            return self._using(self._whole_block(draws))
        left = self._using(draws.tolist())
        n_levels = len(self._cumulative)
        if n_levels == 1:
            return self._bisections(left)
        return self._bisections_of_two(left) if n_levels == 2 else self._descents(left)

    def _has_any(self) -> bool:
        return self.n_slots > 0 and self.total > 0

    def _is_calm(self) -> bool:
        return self._n_calm >= _CALM * self.n_slots

    def _looked_up(self, draws: np.ndarray, is_next: bool) -> np.ndarray:
        if is_next and self._is_calm():
            # (Not kept: a change would make the block stale.)
            return _by_aliases(draws, self._aliases or alias_table(self._levels[0][: self.n_slots]))
        sums = np.cumsum(self._levels[0][: self.n_slots])
        return np.minimum(np.searchsorted(sums, draws * sums[-1], "right"), self.n_slots - 1)

    def _whole_block(self, draws: np.ndarray) -> Iterable[int]:
        if self._aliases is None:
            self._aliases = alias_table(self._levels[0][: self.n_slots])
        return _as_ints(_by_aliases(draws, self._aliases), self.n_slots)

    def _bisections(self, draws: Iterable[float]) -> Iterator[int]:
        sums = self._cumulative[0][0]  # changed in place, so always the current weights
        for draw in draws:
            slot = bisect_right(sums, draw * sums[-1])
            if slot < len(sums):  # else the product was rounded up to the total
                yield slot

    def _bisections_of_two(self, draws: Iterable[float]) -> Iterator[int]:
        """Yield what `_descents` does, where there are two levels: in two thirds of the time."""
        leaves, (top,) = self._cumulative
        for draw in draws:
            rest = draw * top[-1]
            node = bisect_right(top, rest)
            if node == len(top):  # rounding, as above
                continue
            if node:
                rest -= top[node - 1]
            sums = leaves[node]
            index = bisect_right(sums, rest)
            if index < len(sums):
                yield node * self._fanout + index

    def _descents(self, draws: Iterable[float]) -> Iterator[int]:
        downward = self._cumulative[::-1]
        for draw in draws:
            rest = draw * self._levels[-1][0]
            slot = 0
            for nodes in downward:
                sums = nodes[slot]
                index = bisect_right(sums, rest)
                if index == len(sums):  # rounding, as above
                    break
                if index:
                    rest -= sums[index - 1]
                slot = slot * self._fanout + index
            else:
                yield slot


def _children_of(n_leaves: int) -> int:
    """Return how many children a node gets, so that levels are few, and nodes of one size."""
    n_levels = 1
    while _MOST_CHILDREN**n_levels < n_leaves:
        n_levels += 1
    n_children = round(n_leaves ** (1 / n_levels))
    return max(1, n_children + (n_children**n_levels < n_leaves))


def _by_aliases(draws: np.ndarray, aliases: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    keep, other = aliases
    draws *= len(keep)
    slots = draws.astype(np.intp)
    draws -= slots
    return np.where(draws < keep[slots], slots, other[slots])


def alias_table(weights: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the alias table of a discrete distribution.

    Cell i keeps its own index with probability ``keep[i]`` and gives ``other[i]`` otherwise
    (A. J. Walker, 1977; this construction: M. D. Vose, 1991).
    """
    n = len(weights)
    scale = n / math.fsum(weights)
    keep = [weight * scale for weight in weights]
    other = list(range(n))
    small = [index for index in other if keep[index] < 1]
    large = [index for index in other if keep[index] >= 1]
    while small and large:
        giver, index = large[-1], small.pop()
        other[index] = giver
        keep[giver] -= 1 - keep[index]
        if keep[giver] < 1:
            small.append(large.pop())
    for index in small + large:  # what is left differs from 1 by rounding alone
        keep[index] = 1.0
    return np.array(keep), np.array(other)
