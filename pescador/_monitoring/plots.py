"""A picture of a report: expected shares, and real ones."""

from __future__ import annotations

import math
from typing import Any

from .._repr import counted, cut
from ..exceptions import PescadorError

_MOST_NAMED = 40  # sources, with a line of its own for each
_SIGMAS = 3
_EXPECTED = "expected ± 3 standard deviations"
_LONGEST = 34  # characters of a streamer


def plot(report: Any, axes: Any) -> Any:
    """Draw shares, with three standard deviations around those expected; return the axes."""
    rows = report.rows_with_deviations()
    if not rows:
        raise PescadorError(
            "there is nothing to draw: no mux has opened a source yet; read some items first"
        )
    axes = _new_axes(len(rows)) if axes is None else axes
    rows.sort(key=lambda pair: (-(pair[0].expected or pair[0].share), pair[0].path))
    deviations = [deviation for _, deviation in rows]
    _draw(axes, [row for row, _ in rows], deviations, is_named=len(rows) <= _MOST_NAMED)
    return axes


def _new_axes(n_rows: int) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise PescadorError("plot() needs matplotlib: pip install matplotlib") from error
    height = 1.5 + 0.25 * n_rows if n_rows <= _MOST_NAMED else 4
    return plt.subplots(figsize=(7, height), layout="constrained")[1]


def _draw(axes: Any, rows: list, deviations: list, is_named: bool) -> None:
    known = [rank for rank, row in enumerate(rows) if row.expected is not None]
    expected = [rows[rank].expected for rank in known]
    spread = [_SIGMAS * deviations[rank] for rank in known]
    if is_named:
        _draw_named(axes, rows, known, expected, spread)
    else:
        _draw_many(axes, rows, known, expected, spread)
    axes.legend(loc="best", frameon=False)


def _draw_named(axes: Any, rows: list, known: list, expected: list, spread: list) -> None:
    """Draw a line for each source, with its name."""
    axes.errorbar(expected, known, xerr=spread, fmt="|", color="0.5", label=_EXPECTED)
    axes.plot([row.share for row in rows], range(len(rows)), "o", ms=6, label="real")
    names = [f"{'.'.join(map(str, row.path))}  {cut(row.streamer, _LONGEST)}" for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize="small")
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("share of the items")


def _draw_many(axes: Any, rows: list, known: list, expected: list, spread: list) -> None:
    """Draw a point for each source."""
    size = max(1.5, 6 / math.log10(len(rows)) ** 2)
    low = [max(0.0, mean - each) for mean, each in zip(expected, spread)]
    high = [mean + each for mean, each in zip(expected, spread)]
    shares = [row.share for row in rows]
    axes.plot(range(len(rows)), shares, ".", ms=size, label="real", zorder=1)
    axes.fill_between(known, low, high, color="0.4", alpha=0.25, label=_EXPECTED, lw=0, zorder=2)
    axes.plot(known, expected, color="0.2", lw=1, zorder=3)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"{counted(len(rows), 'source')}, sorted by expected share")
    axes.set_ylabel("share of the items")
