"""A picture of a report: shares asked for, and shares that came."""

from __future__ import annotations

import math
from typing import Any

from ..exceptions import PescadorError

_MOST_NAMED = 40  # sources, with a line of its own for each
_SIGMAS = 3


def plot(report: Any, axes: Any) -> Any:
    """Draw shares, with three standard deviations around those asked for; return the axes."""
    rows = list(report.sources)
    if not rows:
        raise PescadorError(
            "there is nothing to draw: no mux has opened a source yet; read some items first"
        )
    axes = _new_axes(len(rows)) if axes is None else axes
    rows.sort(key=lambda row: (-(row.expected or row.share), row.path))
    _draw(axes, rows, is_named=len(rows) <= _MOST_NAMED)
    return axes


def _new_axes(n_rows: int) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise PescadorError("plot() needs matplotlib: pip install matplotlib") from error
    height = 1.5 + 0.25 * n_rows if n_rows <= _MOST_NAMED else 4
    return plt.subplots(figsize=(7, height), layout="constrained")[1]


def _draw(axes: Any, rows: list, is_named: bool) -> None:
    ranks = list(range(len(rows)))
    size = 6 if is_named else max(1.5, 6 / math.log10(len(rows)) ** 2)
    along, across = (axes.set_xlabel, axes.set_ylabel)
    shares = [row.share for row in rows]
    known = [rank for rank in ranks if rows[rank].expected is not None]
    asked = [rows[rank].expected for rank in known]
    spread = [_SIGMAS * _deviation(rows[rank]) for rank in known]
    if is_named:
        axes.errorbar(asked, known, xerr=spread, fmt="|", color="0.5", label="asked for, ± 3 sd")
        axes.plot(shares, ranks, "o", ms=size, label="realised")
        names = [f"{'.'.join(map(str, row.path))}  {row.streamer[:30]}" for row in rows]
        axes.set_yticks(ranks, names, fontsize="small")
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        along("share of the items")
    else:
        low = [max(0.0, mean - each) for mean, each in zip(asked, spread)]
        high = [mean + each for mean, each in zip(asked, spread)]
        axes.fill_between(known, low, high, color="0.8", label="asked for, ± 3 sd", lw=0)
        axes.plot(known, asked, color="0.4", lw=1)
        axes.plot(ranks, shares, ".", ms=size, label="realised", zorder=3)
        axes.set_ylim(bottom=0)
        along(f"{len(rows):,} sources, by the share asked for")
        across("share of the items")
    axes.legend(loc="best", frameon=False)


def _deviation(row: Any) -> float:
    """Return the standard deviation of a share; 0 where it is not known."""
    return (row.share - row.expected) / row.z if row.z else 0.0
