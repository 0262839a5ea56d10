"""A report as text, and as HTML."""

from __future__ import annotations

import heapq
from html import escape
from typing import Any

from .._repr import counted, cut, of_items
from .counts import Path
from .rows import SourceReport

N_SHOWN = 20  # rows: those that matter
FAR = 4  # standard deviations, from which a share is worth a look
_HEAD = ("path", "streamer", "expected", "share", "z", "items", "opened", "notes", "waited")
_LONGEST = 48  # characters of a streamer


def those_that_matter(rows: dict[Path, SourceReport]) -> dict[Path, SourceReport]:
    """Return some rows: what failed, what is far from its share, what was waited for, what gave."""
    return dict(heapq.nsmallest(N_SHOWN, rows.items(), lambda item: _importance(item[1])))


def _importance(row: SourceReport) -> tuple:
    is_wrong = row.is_dropped or row.n_failures > 0
    is_far = row.z is not None and abs(row.z) >= FAR
    z = abs(row.z) if is_far and row.z is not None else 0.0
    return not is_wrong, -row.n_failures, not is_far, -z, -(row.waited or 0), -row.n_items, row.path


def cells(row: SourceReport) -> list[str]:
    """Return a row as texts."""
    return [
        ".".join(map(str, row.path)),
        cut(row.streamer, _LONGEST),
        "" if row.expected is None else f"{row.expected:.4g}",
        f"{row.share:.4g}",
        "" if row.z is None else f"{row.z:+.1f}",
        f"{row.n_items:,}",
        f"{row.n_opened:,}",
        _notes(row),
        "" if row.waited is None else seconds(row.waited),
    ]


def _notes(row: SourceReport) -> str:
    notes = []
    if row.n_failures:
        notes.append(f"{row.n_failures} failed")
    if row.n_empty:
        notes.append(f"{row.n_empty} empty")
    if row.is_dropped:
        notes.append("left out")
    return ", ".join(notes)


def seconds(value: float) -> str:
    """Return a number of seconds, as text."""
    if value >= 100:
        return f"{value:,.0f} s"
    return f"{value:.3g} s" if value >= 1 else f"{1e3 * value:.3g} ms"


def percent(part: float, whole: float) -> str:
    """Return a part in percent."""
    return f"{100 * part / whole:.0f} %" if whole > 0 else "0 %"


def summary(report: Any) -> list[str]:
    """Return what a report says in all, in lines."""
    rate = report.n_items / report.seconds if report.seconds else 0.0
    times = [
        f"{of_items(report.n_items)} in {seconds(report.seconds)} ({rate:,.0f} items/s)",
        f"waited {seconds(report.waited)} for items"
        f" ({percent(report.waited, report.seconds_in_all)})",
    ]
    if report.opening:
        times.append(f"opening sources took {seconds(report.opening)}")
    return ["; ".join(times), "; ".join(_counts(report))]


def _counts(report: Any) -> list[str]:
    if not report.n_sources:
        return ["no mux has opened a source"]
    never = f", {report.n_unopened:,} not opened yet" if report.n_unopened else ""
    found = [
        f"{counted(report.n_sources, 'source')}{never}",
        f"opened {counted(report.n_opened, 'time')}; they gave {of_items(report.n_given)}",
    ]
    if report.n_failures:
        found.append(counted(report.n_failures, "failure"))
    if report.bytes_ahead:
        found.append(f"{counted(report.bytes_ahead, 'byte')} made ahead")
    return found


def as_text(report: Any) -> str:
    """Return a report as text."""
    rows = [list(_HEAD), *(cells(row) for row in report.most_notable())]
    lines = summary(report)
    if len(rows) > 1:
        widths = [max(map(len, column)) for column in zip(*rows)]
        is_used = [any(row[n] for row in rows[1:]) for n in range(len(_HEAD))]
        lines += ["", *(_line(row, widths, is_used) for row in rows), *_more(report)]
    return "\n".join(lines)


def _line(row: list[str], widths: list[int], is_used: list[bool]) -> str:
    parts = [
        cell.ljust(width) if _HEAD[n] in ("path", "streamer", "notes") else cell.rjust(width)
        for n, (cell, width) in enumerate(zip(row, widths))
        if is_used[n]
    ]
    return "  ".join(parts).rstrip()


def _more(report: Any) -> list[str]:
    n_more = report.n_sources - N_SHOWN
    return [f"... and {n_more:,} more, in report.sources"] if n_more > 0 else []


def as_html(report: Any) -> str:
    """Return a report as HTML, in the colours of the notebook."""
    text = "".join(f"<div>{escape(line)}</div>" for line in [*summary(report), *_more(report)])
    head = "".join(f"<th>{each}</th>" for each in _HEAD)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells(row)) + "</tr>"
        for row in report.most_notable()
    )
    return f"<div>{text}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
