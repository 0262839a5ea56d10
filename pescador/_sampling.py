"""The arithmetic of muxing: which slot next, which streamer next, how many items.

Everything here takes random numbers in and gives indices out; it knows no streamers. Numbers are
drawn a block at a time. Blocks start small, so that a short run does not pay for a long one.
"""

from __future__ import annotations

import functools
import math
import statistics
import sys
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice
from operator import length_hint
from typing import Any, Protocol

import numpy as np

FIRST_BLOCK = 16
LAST_BLOCK = 1024
_FANOUT = 64
_CALM = 4  # draws without a change, per slot, before an alias table is worth making
_ENDLESS = 2.0**62  # items: more than anybody will see
_ROUNDING = 1e-12
_LARGEST_TABLE_RATE = 2.0**30


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
        self._left: Iterator = iter(())  # of it
        self._n_drawn = 0
        self._n_calm = 0  # draws since the last change, whole blocks only
        self.is_stale = False
        self.n_slots = n_slots

    def _draw(self, most: int) -> np.ndarray:
        size = min(self._size, most)
        self._before = [self._n_drawn, size, self._size, self.n_slots, self._n_calm]
        self._n_drawn += size
        return self._rng.random_sample(size)

    def _using(self, block: Iterable[int]) -> Iterable[int]:
        self._left = iter(block)
        return self._left

    def block(self, most: int = sys.maxsize) -> Iterable[int]:
        """Return the next (at most ``most``) slots to draw from, valid until `is_stale` is set."""
        raise NotImplementedError

    @property
    def position(self) -> list:
        """Where it stands, for `resume`."""
        used = self._before[1] - length_hint(self._left)
        return [*self._before, self._n_calm, self._size, used, int(self.is_stale)]

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
        while len(self._levels[-1]) > 1 or not self._cumulative:
            below = self._levels[-1]
            starts = range(0, len(below), _FANOUT)
            self._cumulative.append([[0.0] * len(below[i : i + _FANOUT]) for i in starts])
            self._levels.append([0.0] * len(starts))

    def put(self, slot: int, weight: float) -> None:
        """Change the weight of a slot."""
        for below, nodes in zip(self._levels, self._cumulative):
            below[slot] = weight
            node, index = divmod(slot, _FANOUT)
            sums = nodes[node]
            end = (node + 1) * _FANOUT
            if index:
                sums[index - 1 :] = accumulate(below[slot:end], initial=sums[index - 1])
            else:
                sums[:] = accumulate(below[slot:end])
            slot, weight = node, sums[-1]
        self._levels[-1][0] = weight
        self._n_calm = 0
        if self._aliases is not None:
            self._aliases = None
            self.is_stale = True

    def fill(self, weights: list[float]) -> None:
        """Set the weights of all slots at once."""
        level = self._levels[0]
        level[: len(weights)] = weights
        for depth, nodes in enumerate(self._cumulative):
            for index, sums in enumerate(nodes):
                sums[:] = accumulate(self._levels[depth][index * _FANOUT : (index + 1) * _FANOUT])
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
        is_calm = self._n_calm >= _CALM * self.n_slots
        self._n_calm += len(draws)
        self._size = min(4 * self._size, LAST_BLOCK)
        if is_calm:
            return self._using(self._whole_block(draws))
        left = self._using(draws.tolist())
        return self._bisections(left) if len(self._cumulative) == 1 else self._descents(left)

    def _whole_block(self, draws: np.ndarray) -> Iterable[int]:
        if self._aliases is None:
            self._aliases = alias_table(self._levels[0][: self.n_slots])
        keep, other = self._aliases
        draws *= self.n_slots
        slots = draws.astype(np.intp)
        draws -= slots
        return _as_ints(np.where(draws < keep[slots], slots, other[slots]), self.n_slots)

    def _bisections(self, draws: Iterable[float]) -> Iterator[int]:
        sums = self._cumulative[0][0]  # changed in place, so always the current weights
        for draw in draws:
            slot = bisect_right(sums, draw * sums[-1])
            if slot < len(sums):  # else the product was rounded up to the total
                yield slot

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
                slot = slot * _FANOUT + index
            else:
                yield slot


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


# How many items.


class Limits(Protocol):
    """A distribution over whole numbers >= 1 (0: no limit)."""

    def draw(self, uniform: float) -> int:
        """Return the number that belongs to a uniform number in [0, 1)."""

    def draw_block(self, uniforms: np.ndarray) -> list[int]:
        """Return the numbers that belong to uniform numbers in [0, 1)."""


class NoLimits:
    """No limit, whatever the random number."""

    def draw(self, uniform: float) -> int:
        """Return zero."""
        return 0

    def draw_block(self, uniforms: np.ndarray) -> list[int]:
        """Return a zero for every number."""
        return [0] * len(uniforms)


class LimitTable:
    """A distribution over neighbouring whole numbers, drawn by inverting its cumulative sums."""

    def __init__(self, lowest: int, probabilities: np.ndarray) -> None:
        self._lowest = lowest
        self._sums = np.cumsum(probabilities)
        self._sums /= self._sums[-1]

    def draw(self, uniform: float) -> int:
        """Return the number that belongs to a uniform number in [0, 1)."""
        return self._lowest + bisect_right(self._sums, uniform)

    def draw_block(self, uniforms: np.ndarray) -> list[int]:
        """Return the numbers that belong to uniform numbers in [0, 1)."""
        return (self._lowest + self._sums.searchsorted(uniforms, "right")).tolist()


class WideLimits:
    """The same for a mean so large that a table would not fit: a rounded normal variable.

    It is within 1 / sqrt(rate) < 4e-5 of the distribution it stands for (Berry-Esseen).
    """

    def __init__(self, mean: float, variance: float) -> None:
        self._normal = statistics.NormalDist(mean, variance**0.5)

    def draw(self, uniform: float) -> int:
        """Return the number that belongs to a uniform number in [0, 1)."""
        return max(1, round(self._normal.inv_cdf(max(uniform, 2.0**-54))))

    def draw_block(self, uniforms: np.ndarray) -> list[int]:
        """Return the numbers that belong to uniform numbers in [0, 1)."""
        return [self.draw(uniform) for uniform in uniforms.tolist()]


def limits(dist: str, rate: float | None, probability: float = 1.0) -> Limits:
    """Return the distribution of the number of items an activation is allowed.

    Parameters
    ----------
    dist : {"constant", "poisson", "binomial"}
        The family.
    rate : float > 0 or None
        The mean; at least one item is always allowed, so it is max(rate, 1). None: no limit.
    probability : float in (0, 1]
        The draw probability of the slot, which fixes the variance of ``"binomial"``.
    """
    if rate is None:
        return NoLimits()
    rate = min(max(rate, 1.0), _ENDLESS)
    if dist != "binomial":
        return _limits(dist, rate, 0.0)
    return _limits(dist, rate, rate * probability)


@functools.lru_cache(maxsize=256)
def _limits(dist: str, rate: float, variance: float) -> Limits:
    if dist == "constant":
        variance = 0.0
    elif dist == "poisson" or variance >= rate - 1:
        # No binomial is wider than the Poisson distribution, its limit.
        variance, dist = rate - 1, "poisson"
    mean = rate - 1  # of the items beyond the first
    part = mean % 1.0
    if variance <= part * (1 - part) + _ROUNDING * mean:
        # No whole number with this mean varies less than the two neighbours of the mean.
        return LimitTable(int(rate), np.array([1 - part, part]) if part else np.ones(1))
    if rate > _LARGEST_TABLE_RATE:
        return WideLimits(rate, variance)
    if dist == "poisson":
        return LimitTable(*_poisson(mean))
    return LimitTable(*_binomial(mean, variance))


def _poisson(mean: float) -> tuple[int, np.ndarray]:
    """Return the lowest value and the probabilities of 1 + Poisson(mean)."""
    mode = int(mean)
    reach = _reach(mean)
    low = max(0, mode - reach)
    downward = np.arange(mode, low, -1) / mean
    upward = mean / np.arange(mode + 1, mode + reach)
    return 1 + low, _from_mode(downward, upward)


def _binomial(mean: float, variance: float) -> tuple[int, np.ndarray]:
    """Return the lowest value and the probabilities of 1 + Binomial(N, q).

    N is k or k + 1, the second with probability f, chosen such that (k + f) q = mean and
    mean (1 - q) + q**2 f (1 - f) = variance. With f = 0 throughout, only those variances could
    be met for which mean**2 / (mean - variance) is a whole number.
    """
    target = (mean - variance) / mean**2  # = (k + f**2) / (k + f)**2, from 1 / k to 1 / (k + 1)
    k = int(1 / target)
    b, c = 2 * target * k, k * (target * k - 1)
    f = -2 * c / (b + max(b * b - 4 * (target - 1) * c, 0.0) ** 0.5)
    q = mean / (k + f)
    low = max(0, int(mean) - _reach(variance))
    high = min(k + 1, int(mean) + _reach(variance))
    fewer, more = (_binomial_probabilities(n, q, low, high) for n in (k, k + 1))
    return 1 + low, (1 - f) * fewer + f * more


def _binomial_probabilities(n: int, q: float, low: int, high: int) -> np.ndarray:
    """Return the probabilities of low ... high, which hold all but 1e-16 of Binomial(n, q)."""
    mode = min(int((n + 1) * q), n)
    odds = q / (1 - q)
    below, above = np.arange(mode, low, -1), np.arange(mode, high)
    weights = _from_mode(below / ((n - below + 1) * odds), (n - above) / (above + 1) * odds)
    return weights / weights.sum()


def _reach(variance: float) -> int:
    """Return how far from the mean a Poisson or binomial variable can be, but for 1e-16."""
    return int(9 * variance**0.5) + 60


def _from_mode(downward: np.ndarray, upward: np.ndarray) -> np.ndarray:
    """Return probabilities, up to a factor, from the ratios of neighbours."""
    with np.errstate(under="ignore"):
        return np.concatenate([np.cumprod(downward)[::-1], [1.0], np.cumprod(upward)])
