"""What the muxes of a tree have given, copied from a meter at a moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from .._streaming.meter import Mark, Meter, MuxMeter, Promise, expected

Path = tuple[int, ...]


class MuxCounts:
    """What one mux has given, over all its runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name_of: Any = "streamer {}".format
        self.is_background = False
        self.items: Counter[int] = Counter()
        self.opened: Counter[int] = Counter()
        self.empty: Counter[int] = Counter()
        self.failures: Counter[int] = Counter()
        self.waited: Counter[int] = Counter()  # seconds
        self.opening: Counter[int] = Counter()  # seconds
        self.dropped: set[int] = set()
        # How many items each streamer should have given, and the variances; None: not promised.
        self.promised: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def n_items(self) -> int:
        """How many items it has given."""
        return sum(self.items.values())

    def places(self) -> list[int]:
        """Return which of its streamers were opened, or have failed."""
        return sorted({*self.items, *self.failures})

    def add(self, other: MuxCounts) -> None:
        """Add what another mux of the same kind has given."""
        is_first = not self.items
        self.name_of, self.is_background = other.name_of, other.is_background
        for name in ("items", "opened", "empty", "failures", "waited", "opening"):
            getattr(self, name).update(getattr(other, name))
        self.dropped |= other.dropped
        if is_first:
            self.promised = other.promised
        elif other.items:
            self.promised = _sum(self.promised, other.promised)


def _sum(one: Any, other: Any) -> tuple[np.ndarray, np.ndarray] | None:
    if one is None or other is None or len(one[0]) != len(other[0]):
        return None
    return one[0] + other[0], one[1] + other[1]


def counts_of(meter: Meter) -> dict[Path, MuxCounts]:
    """Return what is known of each mux."""
    meter.settle()
    copied = {path: _copied(mux) for path, mux in list(meter.muxes.items())}
    found = {path: mux for path, mux in copied.items() if mux.items or mux.opened}
    for path, seconds in list(meter.blocked_by.items()):
        if path[:-1] in found:
            found[path[:-1]].waited[path[-1]] += seconds  # type: ignore[assignment]
    return found


def _copied(mux: MuxMeter) -> MuxCounts:
    counts = MuxCounts(mux.path)
    counts.name_of, counts.is_background = mux.name_of, mux.is_background
    counts.items, counts.opened = mux.items.copy(), mux.opened.copy()
    counts.empty, counts.dropped = Counter(mux.empty), set(mux.dropped)
    counts.waited, counts.opening = Counter(mux.waited), Counter(mux.opening)
    sums = {id(each): [each, each.n_items, each.n_squares] for each in mux.periods}
    for run in list(mux.runs):
        for slot, place, n_given in run.open_streams():
            _add_open(counts, sums, place, n_given, run.marks[slot])
    for place in [each for each in counts.items if not counts.items[each]]:
        if not counts.opened[place]:  # it was only open before
            del counts.items[place], counts.opened[place]
    if mux.is_promised and counts.items:
        counts.promised = _promised(mux, counts, list(sums.values()))
    return counts


def _add_open(counts: MuxCounts, sums: dict, place: int, n_given: int, mark: Mark) -> None:
    n_items = n_given - mark.n_counted
    counts.items[place] += n_items
    counts.opened[place] += mark.n_opened
    total = sums.setdefault(id(mark.period), [mark.period, 0, 0])
    total[1] += n_items
    total[2] += n_items * (n_items + 2 * mark.n_carried)


def _promised(
    mux: MuxMeter, counts: MuxCounts, sums: Iterable
) -> tuple[np.ndarray, np.ndarray] | None:
    found = mux.folded
    for period, n_items, n_squares in sums:
        if not n_items:
            continue
        promise: Promise | None = period.promise
        if promise is not None and promise.while_full and mux.n_short:
            promise = None
        if promise is not None and promise.among_open:
            promise = None if mux.n_runs > 1 else _of_open(promise, counts)
        each = expected(promise, n_items, n_squares)
        if each is None:
            return None
        found = each if found is None else _sum(found, each)
    return found


def _of_open(promise: Promise, counts: MuxCounts) -> Promise:
    """Return the same for the streamers that have been opened, and no others."""
    weights = np.zeros(promise.n_streams)
    is_open = list(counts.opened)
    weights[is_open] = 1 if promise.weights is None else promise.weights[is_open]
    return promise._replace(weights=weights / weights.sum())
