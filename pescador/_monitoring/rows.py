"""The rows of a report: shares that were promised, and shares that came."""

from __future__ import annotations

import math
from typing import NamedTuple

from .counts import MuxCounts, Path, inner_paths

LEAST_UNITS = 50  # drawn of a streamer, and of the others, for its share to be nearly normal


class SourceReport(NamedTuple):
    """A source of a mixture, and what it has given: a row of ``Report.sources``."""

    #: The index of a streamer in the outermost mux, then in the mux there, and so on.
    path: tuple[int, ...]
    #: The streamer, as text.
    streamer: str
    #: The share that follows from the weights, rates and modes of its muxes; None if none does.
    expected: float | None
    #: The real share: of the items of its mux, times the real share of that mux, and so on.
    share: float
    #: ``share - expected``, in standard deviations; None if these are not known, or with few items.
    z: float | None
    #: How many items it has given.
    n_items: int
    #: How often it was opened.
    n_opened: int
    #: How many of its streams ended without an item.
    n_empty: int
    #: How often it has failed.
    n_failures: int
    #: Whether its mux has left it out, for its failures or because it gave nothing.
    is_dropped: bool
    #: Seconds in which the loop waited for it; None in a background process: not known there.
    waited: float | None


class Level(NamedTuple):
    """What a mux says of one of its streamers."""

    share: float
    expected: float | None
    variance: float  # of the share; nan: unknown


def rows_of(
    muxes: dict[Path, MuxCounts], known: dict[Path, tuple[int, bool]]
) -> dict[Path, SourceReport]:
    """Return a row for every streamer that a mux has opened, by its path with all on the way.

    ``known`` has the numbers of failures, and whether they were too many. No streamer is named.
    """
    levels = _all_levels(muxes)
    return {
        path: _row(muxes[path[:-1]], path[-1], of_path, known.get(path, (0, False)))
        for path, of_path in levels.items()
    }


def deviations_of(muxes: dict[Path, MuxCounts]) -> dict[Path, float]:
    """Return the standard deviation of each share, by the path; nan where it is not known."""
    found = {}
    for path, levels in _all_levels(muxes).items():
        variance = _variance(levels)
        found[path] = math.nan if variance is None else math.sqrt(variance)
    return found


def _all_levels(muxes: dict[Path, MuxCounts]) -> dict[Path, list[Level]]:
    levels: dict[Path, list[Level]] = {}
    for path in sorted(muxes, key=len):
        mux = muxes[path]
        above = _levels_above(path, levels)
        n_items = mux.n_items
        for place in mux.places():
            here = (*path, place)
            levels[here] = [*above, _level(mux, place, n_items)]
    return levels


def _levels_above(path: Path, levels: dict[Path, list[Level]]) -> list[Level]:
    """Return what the muxes on the way to a mux say."""
    while path and path not in levels:
        path = path[:-1]  # (arguments of functions, which are no streamers of a mux)
    return levels.get(path, [])


def _level(mux: MuxCounts, place: int, n_items: int) -> Level:
    share = mux.items[place] / n_items if n_items else 0.0
    if mux.promised is None or not n_items or place >= len(mux.promised[0]):
        return Level(share, None, math.nan)
    means, variances = mux.promised
    return Level(share, float(means[place]) / n_items, float(variances[place]) / n_items**2)


def _row(mux: MuxCounts, place: int, levels: list[Level], failed: tuple[int, bool]) -> SourceReport:
    share, expected, z = _compared(levels)
    return SourceReport(
        path=displayed((*mux.path, place)),
        streamer="",
        expected=expected,
        share=share,
        z=z,
        n_items=mux.items[place],
        n_opened=mux.opened[place],
        n_empty=mux.empty[place],
        n_failures=failed[0],
        is_dropped=failed[1] or place in mux.dropped,
        waited=None if mux.is_background else float(mux.waited[place]),
    )


def _compared(levels: list[Level]) -> tuple[float, float | None, float | None]:
    """Return a share, what it should be, and how many standard deviations these are apart."""
    share = math.prod(each.share for each in levels)
    promised = [each.expected for each in levels if each.expected is not None]
    if len(promised) < len(levels):
        return share, None, None
    expected, variance = math.prod(promised), _variance(levels)
    is_normal = all(_is_nearly_normal(mean, each.variance) for mean, each in zip(promised, levels))
    if not variance or not variance > 0 or not is_normal:
        return share, expected, None
    return share, expected, (share - expected) / math.sqrt(variance)


def _variance(levels: list[Level]) -> float | None:
    """Return the variance of a product of independent shares; None if something is not known."""
    promised = [each.expected for each in levels if each.expected is not None]
    if len(promised) < len(levels):
        return None
    expected = math.prod(promised)
    # (To first order, relative variances add up.)
    pairs = zip(promised, (each.variance for each in levels))
    return sum((expected / mean) ** 2 * each for mean, each in pairs if mean)


def _is_nearly_normal(mean: float, variance: float) -> bool:
    if not variance:
        return True  # no chance in it
    n_units = mean * (1 - mean) / variance
    return min(mean, 1 - mean) * n_units >= LEAST_UNITS


def displayed(path: Path) -> Path:
    """Return a path for people: one index for each mux on the way."""
    return tuple(place for place in path if place >= 0)


def sources_among(
    rows: dict[Path, SourceReport], muxes: dict[Path, MuxCounts]
) -> dict[Path, SourceReport]:
    """Return the rows of streamers that have no mux below them."""
    inner = inner_paths(muxes)
    found = [(row.path, path) for path, row in rows.items() if path not in inner]
    return {path: rows[path] for _, path in sorted(found)}


def named(rows: dict[Path, SourceReport], muxes: dict[Path, MuxCounts]) -> dict[Path, SourceReport]:
    """Return the rows with their streamers as text, which takes longer than all the rest."""
    return {
        path: row._replace(streamer=muxes[path[:-1]].names(path[-1])) for path, row in rows.items()
    }
