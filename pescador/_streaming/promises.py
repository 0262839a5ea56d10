"""Which shares a mux promises, and how far chance takes them from these."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FIRST = "first"  # weights: those that a run begins with


class Promise(NamedTuple):
    """The shares that a mux promises to its streamers, and how far chance takes them from these."""

    weights: np.ndarray | None  # None: equal ones
    n_streams: int
    #: What is drawn independently: "items", "activations"; "turns": nothing is left to chance;
    #: "": no formula is known.
    unit: str = ""
    #: Whether it holds only as long as no stream ends before its limit.
    while_full: bool = False
    #: Whether it holds only among the streamers that a run has opened in the beginning.
    among_open: bool = False
    #: Whether it holds only after many items of one run.
    in_long_runs: bool = False

    def holds(self, n_runs: int, has_short: bool) -> bool:
        """Tell whether it does, for a mux that was started so often.

        ``has_short``: whether a stream has ended before its limit.
        """
        needs_one_run = self.among_open or self.in_long_runs
        return not (self.while_full and has_short) and not (needs_one_run and n_runs > 1)


def are_alike(one: Promise | None, other: Promise | None) -> bool:
    """Tell whether two muxes promise the same."""
    if one is None or other is None:
        return one is other
    if one[1:] != other[1:]:
        return False
    if one.weights is None or other.weights is None:
        return one.weights is other.weights
    return np.array_equal(one.weights, other.weights)


class Period:
    """Items that were chosen by the same weights."""

    __slots__ = ("is_listed", "n_items", "n_squares", "promise")

    def __init__(self, promise: Promise | None) -> None:
        self.promise = promise
        self.is_listed = False  # among those of its mux
        self.n_items = 0
        self.n_squares = 0  # of the items of each activation


def expected(
    promise: Promise | None, n_items: int, n_squares: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return how many items each streamer should have given, and the variances (nan: unknown)."""
    if promise is None:
        return None
    weights = promise.weights
    if weights is None:
        weights = np.full(promise.n_streams, 1 / promise.n_streams)
    n_units = {"items": n_items, "activations": n_squares, "turns": 0, "": np.nan}[promise.unit]
    return weights * n_items, weights * (1 - weights) * n_units
