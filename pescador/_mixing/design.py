"""The arithmetic of true shares: streamers chosen in proportion to weights.

It takes random numbers in and gives indices out, and knows no streamers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate

import numpy as np

# Children of a node: many where weights hardly ever change, few where they do all the time.
_WIDE = 1024
_NARROW = 32
_ROUNDING = 1e-9  # how far a share may be above what is feasible
_ALWAYS = 1e-7  # a place that is to be open for all but this part of the time is always open
_ACCURACY = 1e-11
_MOST_ROUNDS = 200
_TRIES = 4096  # uniform numbers drawn at once, or as many as there are candidates


def are_equal(weights: np.ndarray) -> bool:
    """Tell whether all positive weights are the same."""
    positive = weights[weights > 0]
    return bool((positive == positive[0]).all())


def levels_of(weights: np.ndarray, fanout: int) -> list[np.ndarray]:
    """Return the weights, their sums by ``fanout``, the sums of those, ... up to the total."""
    levels = [weights]
    while len(levels) == 1 or len(levels[-1]) > 1:
        below = levels[-1]
        groups = np.zeros((-(-len(below) // fanout), fanout))
        groups.ravel()[: len(below)] = below
        # In order, as accumulate() does: the same weights always have the same sums.
        levels.append(np.cumsum(groups, axis=1)[:, -1])
    return levels


class Tree:
    """Finds an index by weight; weights can change, the arrays it is made of do not.

    A node is made when it is first looked at. Finding and changing take time logarithmic in the
    number of weights, and sums depend on the weights alone, not on what they have been.
    """

    def __init__(self, levels: list[np.ndarray], fanout: int) -> None:
        self._levels = levels
        self._fanout = fanout
        # By height, then by number: the weights of the children, and their cumulative sums.
        self._nodes: list[dict[int, tuple[list[float], list[float]]]] = [{} for _ in levels[1:]]

    def _node(self, height: int, number: int) -> tuple[list[float], list[float]]:
        start = number * self._fanout
        weights = self._levels[height][start : start + self._fanout].tolist()
        node = self._nodes[height][number] = weights, list(accumulate(weights))
        return node

    def find(self, draw: float) -> int | None:
        """Return the index that belongs to a uniform number; None if all weights are zero."""
        height = len(self._nodes) - 1
        _, sums = self._nodes[height].get(0) or self._node(height, 0)
        if not sums[-1]:
            return None
        index, rest = 0, draw * sums[-1]
        while True:
            child = bisect_right(sums, rest)
            if child == len(sums):  # rounding: the last one that has a weight
                child = bisect_left(sums, sums[-1])
            if child:
                rest -= sums[child - 1]
            index = index * self._fanout + child
            if not height:
                return index
            height -= 1
            _, sums = self._nodes[height].get(index) or self._node(height, index)

    def put(self, index: int, weight: float) -> None:
        """Change one weight."""
        for height, nodes in enumerate(self._nodes):
            number, child = divmod(index, self._fanout)
            weights, sums = nodes.get(number) or self._node(height, number)
            weights[child] = weight
            if child:
                sums[child - 1 :] = accumulate(weights[child:], initial=sums[child - 1])
            else:
                sums[:] = accumulate(weights)
            index, weight = number, sums[-1]


class Table:
    """What any run that chooses in proportion to these weights needs; it never changes."""

    def __init__(self, weights: np.ndarray, fanout: int = _WIDE) -> None:
        self.fanout = fanout
        self.levels = levels_of(weights, fanout)
        self.fixed: frozenset[int] = frozenset()
        self.n_places = int(np.count_nonzero(weights))


class Design(Table):
    """The same for ``n_open`` different places at a time, of which each is open by its share.

    Sets S of places have probabilities in proportion to the product of odds[i] over S: the design
    of maximal entropy, or conditional Poisson sampling (Chen, Dempster & Liu, 1994). Replacing
    any one place by a free one, chosen in proportion to the odds, keeps that distribution (a
    heat bath). A place whose share is 1 / n_open is always open: it is one of `fixed`.
    """

    def __init__(self, weights: np.ndarray, n_open: int) -> None:
        inclusions = weights * n_open
        is_fixed = inclusions >= 1 - _ALWAYS
        fixed = np.flatnonzero(is_fixed)
        self._n_drawn = n_open - len(fixed)
        self._places = np.flatnonzero((inclusions > 0) & ~is_fixed)
        if not self._n_drawn:
            self._places = self._places[:0]
        inclusions = inclusions[self._places]
        inclusions *= self._n_drawn / (inclusions.sum() or 1)  # but for what was rounded
        self._probabilities = poisson_probabilities(inclusions, self._n_drawn)
        odds = np.zeros(len(weights))
        odds[self._places] = self._probabilities / (1 - self._probabilities)
        super().__init__(odds, _NARROW)
        self.fixed = frozenset(fixed.tolist())
        self.n_places += len(fixed)

    def first(self, rng: np.random.RandomState) -> list[int]:
        """Draw the places to begin with, from exactly that distribution, in random order.

        Independent draws, again and again until there are as many as needed (J. Hajek, 1964).
        """
        n_places = len(self._places)
        is_taken = np.zeros(n_places, dtype=bool)
        while np.count_nonzero(is_taken) != self._n_drawn:
            draws = rng.random_sample((max(1, _TRIES // n_places), n_places))
            tries = draws < self._probabilities
            fitting = np.flatnonzero(np.count_nonzero(tries, axis=1) == self._n_drawn)
            if fitting.size:
                is_taken = tries[fitting[0]]
        places = np.concatenate([self._places[is_taken], sorted(self.fixed)])
        return rng.permutation(places.astype(np.intp)).tolist()


def largest_share(n_open: int) -> float:
    """Return the largest share that one of ``n_open`` different places at a time can have."""
    return (1 + _ROUNDING) / n_open


def poisson_probabilities(inclusions: np.ndarray, size: int) -> np.ndarray:
    """Return the probabilities of independent draws which, when they happen to be ``size``,
    include each index as often as asked for. ``inclusions`` are in (0, 1), and sum to ``size``.

    The fixed point of log odds <- log odds + what is missing, by Anderson's (1965) acceleration.
    """
    if not size:
        return np.zeros(0)
    target = np.log(inclusions) - np.log1p(-inclusions)
    metric = np.sqrt(inclusions * (1 - inclusions))[:, None]
    log_odds = target
    points: list[np.ndarray] = []
    steps: list[np.ndarray] = []
    for _ in range(_MOST_ROUNDS):
        log_odds = _centred(log_odds, size)
        probabilities = _probabilities(log_odds)
        step = target - log_odds - np.log(_ratio_of_sizes(probabilities, size))
        if np.max(np.abs(step) * (1 - inclusions)) < _ACCURACY:
            return probabilities
        points, steps = [*points[-8:], log_odds], [*steps[-8:], step]
        log_odds = log_odds + step
        if len(points) > 1:
            moved, changed = np.diff(points, axis=0).T, np.diff(steps, axis=0).T
            factors = np.linalg.lstsq(changed * metric, step * metric[:, 0], rcond=1e-14)[0]
            log_odds -= (moved + changed) @ factors
    raise ArithmeticError(
        'no way was found to draw streamers with these weights: weighting="share",'
        ' mode="single_active"; give other weights, or mode="with_replacement"'
    )


def _probabilities(log_odds: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -log_odds))


def _centred(log_odds: np.ndarray, size: int) -> np.ndarray:
    """Return the log odds, all moved by as much as makes ``size`` the mean number of draws."""
    for _ in range(_MOST_ROUNDS):
        probabilities = _probabilities(log_odds)
        excess = probabilities.sum() - size
        slope = (probabilities * (1 - probabilities)).sum()
        move = min(max(excess / slope, -1.0), 1.0)  # Newton's
        log_odds = log_odds - move
        if abs(move) < 1e-9:
            break
    return log_odds


def _ratio_of_sizes(probabilities: np.ndarray, size: int) -> np.ndarray:
    """Return P(size - 1) / P(size) of the number of independent draws other than i, for each i.

    Sums over the characteristic function (M. Fernandez & S. Williams, 2010), at points that are
    never -1, where a factor may vanish. They begin with the largest; soon the rest is nothing.
    """
    deviation = float((probabilities * (1 - probabilities)).sum()) ** 0.5
    n_points = 6 * int(deviation) + 46  # so that what is aliased is below 1e-16
    one_less, as_many = np.zeros((2, len(probabilities)))
    for k in range(n_points):
        point = np.exp(1j * np.pi * (k + 0.5) / n_points)
        factors = 1 - probabilities + probabilities * point
        whole = factors.prod() * point**-size
        if abs(whole) < 1e-18:
            break
        others = whole / factors
        as_many += others.real
        one_less += (others * point).real
    return one_less / as_many
