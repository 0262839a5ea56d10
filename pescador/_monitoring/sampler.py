"""Which items of a loop are timed."""

from __future__ import annotations

import random

TIMED_EVERY = 30e-6  # seconds of a loop, for one item that is timed
MOST_UNTIMED = 1000  # items
KEPT = 0.99  # of a running mean, after an item more


class Sampler:
    """Says how many items the next one that is timed stands for: one, in a slow loop.

    Parameters
    ----------
    now : float
        The time.
    """

    def __init__(self, now: float) -> None:
        self.n_items = 1
        self._rng = random.Random(0)
        self._mean = 1.0  # seconds of the loop for an item, over the last hundred
        self._last = now

    def go_on(self, now: float) -> None:
        """Know that an item has been timed, which stood for `n_items`."""
        of_each = (now - self._last) / self.n_items
        self._mean += (of_each - self._mean) * (1 - KEPT**self.n_items)
        self._last, self.n_items = now, 1
        if self._mean < TIMED_EVERY:  # at random, so that no rhythm of the sources is met
            n_mean = min(TIMED_EVERY / max(self._mean, 1e-9), MOST_UNTIMED)
            self.n_items += int(2 * self._rng.random() * n_mean)
