"""What the muxes of a tree have given, copied from a meter at a moment."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from operator import mul
from typing import Any

import numpy as np

from .._streaming.marks import Known, Mark
from .._streaming.meter import Meter
from .._streaming.mux_meter import MuxMeter
from .._streaming.promises import Period, Promise, expected
from .._streaming.waits import Times

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
        # How many streamers it has, or those of its parts that are counted here.
        self.n_streams_of: dict[Any, int | None] = {}
        self.is_background = False
        # By place:
        self.items: dict[int, int] = defaultdict(int)
        self.opened: dict[int, int] = defaultdict(int)
        self.empty: dict[int, int] = defaultdict(int)
        self.failures: dict[int, int] = defaultdict(int)
        self.waited: dict[int, float] = defaultdict(float)  # seconds
        self.opening: dict[int, float] = defaultdict(float)  # seconds
        self.sampled = Times()  # seconds that stand for others, until they are added
        self.dropped: set[int] = set()
        # How many items each streamer should have given, and the variances; None: not promised.
        self.promised: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def n_items(self) -> int:
        """How many items it has given."""
        return sum(self.items.values())

    @property
    def n_streams(self) -> int | None:
        """How many streamers it has; None where they are read lazily."""
        known = [each for each in self.n_streams_of.values() if each is not None]
        return sum(known) if len(known) == len(self.n_streams_of) else None

    def places(self) -> list[int]:
        """Return which of its streamers were opened, or have failed."""
        return sorted({*self.items, *self.failures})

    def add_samples(self, most: float) -> None:
        """Add the seconds that stand for others, but no more than are left of so many."""
        left = max(0.0, most - sum(self.waited.values()))
        part = min(1.0, left / (sum(self.sampled.waited.values()) or 1.0))
        for mine, sampled in (
            (self.waited, self.sampled.waited),
            (self.opening, self.sampled.opening),
        ):
            for place, seconds in sampled.items():
                mine[place] += seconds * part
        self.sampled = Times()

    def add(self, other: MuxCounts) -> None:
        """Add what another mux of the same kind has given."""
        is_first = not self.items
        self.is_background = other.is_background
        self.names = other.names if is_first else Either(self, other)
        self.n_streams_of |= other.n_streams_of
        for name in ("items", "opened", "empty", "failures", "waited", "opening"):
            mine = getattr(self, name)
            for place, number in getattr(other, name).items():
                mine[place] += number
        self.dropped |= other.dropped
        if is_first:
            self.promised = other.promised
        elif other.items:
            self.promised = _sum(self.promised, other.promised)


class Either:
    """What gives the names of the streamers of one mux, or of another part of it."""

    def __init__(self, one: MuxCounts, other: MuxCounts) -> None:
        self._one, self._other = one.names, other.names
        self._of_one = set(one.places())

    def _names(self, place: int) -> Any:
        return self._one if place in self._of_one else self._other

    def __call__(self, place: int) -> str:
        return self._names(place)(place)

    def has_mux(self, place: int) -> bool:
        """Tell whether there is a mux below a streamer, or it is one."""
        return self._names(place).has_mux(place)


class InPart:
    """What gives the names of the streamers of a part by where the whole mux has them."""

    def __init__(self, names: Any, first: int, step: int) -> None:
        self._names, self._first, self._step = names, first, step

    def __call__(self, place: int) -> str:
        return self._names((place - self._first) // self._step)

    def has_mux(self, place: int) -> bool:
        """Tell whether there is a mux below a streamer, or it is one."""
        return self._names.has_mux((place - self._first) // self._step)


def _sum(one: Any, other: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the sums of means and variances; of another part there may be more."""
    if one is None or other is None:
        return None
    n = max(len(one[0]), len(other[0]))
    padded = [[np.pad(each, (0, n - len(each))) for each in pair] for pair in (one, other)]
    return padded[0][0] + padded[1][0], padded[0][1] + padded[1][1]


def _in_whole(counts: MuxCounts, part: tuple[int, int]) -> None:
    """Let a part be counted by where the whole mux has its streamers."""
    first, step = part
    for name in ("items", "opened", "empty", "failures", "waited", "opening"):
        known = getattr(counts, name)
        moved = {first + step * place: number for place, number in known.items()}
        setattr(counts, name, defaultdict(known.default_factory, moved))
    counts.dropped = {first + step * place for place in counts.dropped}
    counts.names = InPart(counts.names, first, step)
    if counts.promised is not None:
        scattered = np.zeros((2, first + step * len(counts.promised[0])))
        scattered[:, first::step] = counts.promised
        counts.promised = scattered[0], scattered[1]


def inner_paths(muxes: dict[Path, MuxCounts]) -> set[Path]:
    """Return the paths of the streamers that have a mux below them, and of what is on the way."""
    inner = {path[:n] for path in muxes for n in range(len(path) + 1)}
    for path, mux in muxes.items():  # some may not have been read yet
        unread = (place for place, n_items in mux.items.items() if not n_items)
        inner |= {(*path, place) for place in unread if mux.names.has_mux(place)}
    return inner


def counts_of(meter: Meter, waited: float) -> dict[Path, MuxCounts]:
    """Return what is known of each mux; ``waited`` is for how long the loop has waited."""
    meter.settle()
    copied = {path: _copied(mux) for path, mux in dict(meter.muxes).items()}
    found = {path: mux for path, mux in copied.items() if mux.items or mux.opened}
    for path, seconds in dict(meter.blocked_by).items():
        if path[:-1] in found:
            found[path[:-1]].waited[path[-1]] += seconds
    for path, mux in found.items():
        mux.add_samples(waited)
        part = meter.muxes[path].part
        if part is not None:
            _in_whole(mux, part)
    return found


def _copied(mux: MuxMeter) -> MuxCounts:
    counts = MuxCounts(mux.path)
    counts.names, counts.is_background = mux.names, mux.is_background
    counts.n_streams_of = {mux.part: mux.n_streams}
    counts.dropped = set(mux.dropped)
    counts.items, counts.opened = defaultdict(int, mux.items), defaultdict(int, mux.opened)
    counts.empty = defaultdict(int, mux.empty)
    times, counts.sampled = mux.times.copy(), mux.sampled.copy()
    counts.waited, counts.opening = times.waited, times.opening
    sums = {id(each): [each, each.n_items, each.n_squares] for each in mux.periods}
    for run in list(mux.runs):
        given = run.all_given(mux.usual)
        if given is None:
            _add_open(counts, sums, run)
        elif len(given[0]):
            _add_usual(counts, sums, mux.usual.period, *(each.tolist() for each in given))
    for place in [each for each in counts.items if not counts.items[each]]:
        if not counts.opened[place]:  # it was only open before
            del counts.items[place], counts.opened[place]
    if mux.is_promised and counts.items:
        counts.promised = _promised(mux, counts, list(sums.values()))
    return counts


def _add_open(counts: MuxCounts, sums: dict, run: Any) -> None:
    """Add the open streams of a run."""
    marks = run.seen_marks()
    for slot, place, n_given in run.open_streams():
        mark: Mark = marks[slot]
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
        if promise is not None and not promise.holds(mux.n_runs, mux.has_short):
            promise = None
        if promise is not None and promise.among_open:
            promise = _of_open(promise, mux)
        each = expected(promise, n_items, n_squares)
        if each is None:
            return None
        found = each if found is None else _sum(found, each)
    return found


def _of_open(promise: Promise, mux: MuxMeter) -> Promise | None:
    """Return the same for the streams that are open, or were at the end: some may be twice."""
    n_open = mux.last_open
    for run in list(mux.runs):
        n_open = Counter(place for _, place, _ in run.open_streams())
    weights = np.zeros(promise.n_streams)
    for place, number in n_open.items():
        weights[place] = number * (1 if promise.weights is None else promise.weights[place])
    return promise._replace(weights=weights / weights.sum()) if weights.any() else None
