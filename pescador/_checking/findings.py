"""What a check has found, as a person reads it and as JSON holds it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any, NamedTuple

SEVERITIES = ("error", "warning", "note")


class Finding(NamedTuple):
    """One thing that is likely to be wrong."""

    #: How bad it is: one of `SEVERITIES`.
    severity: str
    #: What it is: a short name that stays the same.
    kind: str
    #: Where: the index of a streamer in the root mux, of one in that mux, and so on.
    place: tuple[int, ...]
    #: The streamer there, as text.
    streamer: str
    #: What is wrong.
    message: str
    #: What to type instead.
    remedy: str

    def __str__(self) -> str:
        where = f"at {self.place}, {self.streamer}" if self.place else f"in {self.streamer}"
        return f"{self.severity} ({self.kind}) {where}:\n    {self.message}\n    -> {self.remedy}"


class Findings(tuple):
    """All that a check has found, the worst first; empty when all is well.

    ``n_sources`` is how many sources were read, ``n_left_out`` how many streamers of large muxes
    were not looked at, and ``is_complete`` whether there was time for all the others.
    """

    n_sources: int
    n_left_out: int
    is_complete: bool

    def __new__(
        cls, found: Iterable[Finding], n_sources: int, n_left_out: int, is_complete: bool
    ) -> Findings:
        made = super().__new__(cls, sorted(found, key=_rank))
        made.n_sources, made.n_left_out = n_sources, n_left_out
        made.is_complete = is_complete
        return made

    def __getnewargs__(self) -> tuple:
        return tuple(self), self.n_sources, self.n_left_out, self.is_complete

    def __repr__(self) -> str:
        return "\n".join([*map(str, self), self._summary()])

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><td>{each.severity}</td><td>{each.kind}</td>"
            f"<td>{escape(str(each.place))}<br>{escape(each.streamer)}</td>"
            f"<td>{escape(each.message)}<br>&rarr; {escape(each.remedy)}</td></tr>"
            for each in self
        )
        table = f"<table>{''.join(rows)}</table>" if self else ""
        return f"<div>{table}<p>{escape(self._summary())}</p></div>"

    def _summary(self) -> str:
        """Return how many there are, and what was looked at."""
        n_found = len(self) or "no"
        text = f"{n_found} finding{'s' * (len(self) != 1)}; "
        text += f"{self.n_sources:,} source{'s' * (self.n_sources != 1)} read"
        if self.n_left_out:
            text += f", a sample: {self.n_left_out:,} streamers were left out"
        if not self.is_complete:
            text += "; there was no time for the rest (max_seconds)"
        return text

    def without(self, kinds: Iterable[str]) -> Findings:
        """Return the same without the findings of some kinds."""
        left = [each for each in self if each.kind not in set(kinds)]
        return Findings(left, self.n_sources, self.n_left_out, self.is_complete)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as lists, dicts, strings and numbers, which ``json.dumps`` takes."""
        return {
            "findings": [{**each._asdict(), "place": list(each.place)} for each in self],
            "n_sources": self.n_sources,
            "n_left_out": self.n_left_out,
            "is_complete": self.is_complete,
        }


def _rank(finding: Finding) -> tuple:
    return SEVERITIES.index(finding.severity), finding.place, finding.kind
