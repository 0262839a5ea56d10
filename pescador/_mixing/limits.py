"""How many items an activation may give."""

from __future__ import annotations

import functools
import statistics
from bisect import bisect_right
from typing import Protocol

import numpy as np

_ENDLESS = 2.0**62  # items: more than anybody will see
_ROUNDING = 1e-12
_LARGEST_TABLE_RATE = 2.0**30


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


def limits_of(dist: str, rate: float | None, probability: float = 1.0) -> Limits:
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
