"""What the muxes of a tree have given, copied from a meter at a moment."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from operator import mul
from typing import Any

import numpy as np

from .._streaming.meter import Known, Mark, Meter, MuxMeter
from .._streaming.promises import Period, Promise, expected

Path = tuple[int, ...]


class MuxCounts:
    """What one mux has given, over all its runs."""

    def __getstate__(self) -> dict:
        # (What gives the names may hold all the streamers, and these what cannot be pickled.)
        known = {each: (self.names(each), self.names.has_mux(each)) for each in self.places()}
        return {**vars(self), "names": Known(known)}

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: Any = Known({})
        self.n_streams: int | None = None
        self.is_background = False
        # By place:
        self.items: dict[int, int] = defaultdict(int)
        self.opened: dict[int, int] = defaultdict(int)
        self.empty: dict[int, int] = defaultdict(int)
        self.failures: dict[int, int] = defaultdict(int)
        self.waited: dict[int, float] = defaultdict(float)  # seconds
        self.opening: dict[int, float] = defaultdict(float)  # seconds
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
        self.names, self.is_background = other.names, other.is_background
        self.n_streams = other.n_streams
        for name in ("items", "opened", "empty", "failures", "waited", "opening"):
            mine = getattr(self, name)
            for place, number in getattr(other, name).items():
                mine[place] += number
        self.dropped |= other.dropped
        if is_first:
            self.promised = other.promised
        elif other.items:
            self.promised = _sum(self.promised, other.promised)


def _sum(one: Any, other: Any) -> tuple[np.ndarray, np.ndarray] | None:
    if one is None or other is None or len(one[0]) != len(other[0]):
        return None
    return one[0] + other[0], one[1] + other[1]


def inner_paths(muxes: dict[Path, MuxCounts]) -> set[Path]:
    """Return the paths of the streamers that have a mux below them, and of what is on the way."""
    inner = {path[:n] for path in muxes for n in range(len(path) + 1)}
    for path, mux in muxes.items():  # some may not have been read yet
        unread = (place for place, n_items in mux.items.items() if not n_items)
        inner |= {(*path, place) for place in unread if mux.names.has_mux(place)}
    return inner


def counts_of(meter: Meter) -> dict[Path, MuxCounts]:
    """Return what is known of each mux."""
    meter.settle()
    copied = {path: _copied(mux) for path, mux in list(meter.muxes.items())}
    found = {path: mux for path, mux in copied.items() if mux.items or mux.opened}
    for path, seconds in list(meter.blocked_by.items()):
        if path[:-1] in found:
            found[path[:-1]].waited[path[-1]] += seconds
    return found


def _copied(mux: MuxMeter) -> MuxCounts:
    counts = MuxCounts(mux.path)
    counts.names, counts.is_background = mux.names, mux.is_background
    counts.n_streams = mux.n_streams
    counts.dropped = set(mux.dropped)
    counts.items, counts.opened = defaultdict(int, mux.items), defaultdict(int, mux.opened)
    counts.empty = defaultdict(int, mux.empty)
    counts.waited = defaultdict(float, mux.waited)
    counts.opening = defaultdict(float, mux.opening)
    _estimate_all(mux, counts)
    sums = {id(each): [each, each.n_items, each.n_squares] for each in mux.periods}
    for run in list(mux.runs):
        given = run.all_given(mux.usual)
        if given is None:
            _add_open(counts, sums, run)
        elif given[0]:
            _add_usual(counts, sums, mux.usual.period, *given)
    for place in [each for each in counts.items if not counts.items[each]]:
        if not counts.opened[place]:  # it was only open before
            del counts.items[place], counts.opened[place]
    if mux.is_promised and counts.items:
        counts.promised = _promised(mux, counts, list(sums.values()))
    return counts


def _add_open(counts: MuxCounts, sums: dict, run: Any) -> None:
    """Add the open streams of a run."""
    for slot, place, n_given in run.open_streams():
        mark: Mark = run.marks[slot]
        n_items = n_given - mark.n_counted
        counts.items[place] += n_items
        counts.opened[place] += mark.n_opened
        total = sums.setdefault(id(mark.period), [mark.period, 0, 0])
        total[1] += n_items
        total[2] += n_items * (n_items + 2 * mark.n_carried)


def _add_usual(
    counts: MuxCounts, sums: dict, period: Period, places: list[int], given: list[int]
) -> None:
    """Add open streams of which nothing has been counted yet (there may be very many)."""
    items, opened, once = counts.items, counts.opened, dict(zip(places, given))
    if len(once) == len(places) and not items:
        items.update(once)
        opened.update(dict.fromkeys(once, 1))
    else:
        for place, n_given in zip(places, given):
            items[place] += n_given
            opened[place] += 1
    total = sums.setdefault(id(period), [period, 0, 0])
    total[1] += sum(given)
    total[2] += sum(map(mul, given, given))


def _promised(
    mux: MuxMeter, counts: MuxCounts, sums: Iterable
) -> tuple[np.ndarray, np.ndarray] | None:
    found = mux.folded
    for period, n_items, n_squares in sums:
        if not n_items:
            continue
        promise: Promise | None = period.promise
        if promise is not None and not promise.holds(mux.n_runs, mux.n_short):
            promise = None
        if promise is not None and promise.among_open:
            promise = _of_open(promise, mux)
        each = expected(promise, n_items, n_squares)
        if each is None:
            return None
        found = each if found is None else _sum(found, each)
    return found


def _estimate_all(mux: MuxMeter, counts: MuxCounts) -> None:
    """Let the streams that were timed stand for those that were not."""
    for place, n_timed in mux.timed.items():
        if counts.opened[place] > n_timed:
            for seconds in (counts.waited, counts.opening):
                seconds[place] *= counts.opened[place] / n_timed


def _of_open(promise: Promise, mux: MuxMeter) -> Promise | None:
    """Return the same for the streams that are open, or were at the end: some may be twice."""
    n_open = mux.last_open
    for run in list(mux.runs):
        n_open = Counter(place for _, place, _ in run.open_streams())
    weights = np.zeros(promise.n_streams)
    for place, number in n_open.items():
        weights[place] = number * (1 if promise.weights is None else promise.weights[place])
    return promise._replace(weights=weights / weights.sum()) if weights.any() else None
