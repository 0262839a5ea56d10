"""What a check has found, as a person reads it and as JSON holds it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any, NamedTuple

from .. import _validate
from .._repr import counted

SEVERITIES = ("error", "warning", "note")
KINDS = (
    "begins-alike",
    "cannot-cross",
    "costs-more",
    "empty",
    "fails",
    "few-for-a-batch",
    "items-differ",
    "n-active",
    "never-ends",
    "never-read",
    "not-picklable",
    "not-read",
    "one-shot",
    "rest-unreached",
    "shared-generator",
    "starts-often",
    "weights-decide-little",
    "would-save",
)
_MOST_OTHERS = 10  # that are like a finding, in its text


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
    #: The places, and the streamers there, of which the same is to say.
    others: tuple[tuple[tuple[int, ...], str], ...] = ()

    def __str__(self) -> str:
        where = _where(self.place, self.streamer)
        likewise = "".join(f"\n    {each}" for each in self.others_text())
        first = f"{self.severity} ({self.kind}) {where}:\n    {self.message}"
        return f"{first}{likewise}\n    -> {self.remedy}"

    def others_text(self) -> list[str]:
        """Return the first of the others, one to a line, and how many more there are."""
        lines = [f"the same {_where(*each)}" for each in self.others[:_MOST_OTHERS]]
        n_more = len(self.others) - len(lines)
        return [*lines, f"and {n_more:,} more"] if n_more else lines

    def to_dict(self) -> dict[str, Any]:
        """Return the same as lists, dicts and strings."""
        others = [{"place": list(place), "streamer": text} for place, text in self.others]
        return {**self._asdict(), "place": list(self.place), "others": others}


def _where(place: tuple[int, ...], streamer: str) -> str:
    return f"at {place}, {streamer}" if place else f"in {streamer}"


class Findings(tuple):
    """All that a check has found, the worst first; empty when all is well.

    ``n_sources`` is how many sources were read, ``n_left_out`` how many streamers of large muxes
    were left out on purpose, and ``is_complete`` whether the rest was read as far as was asked for.
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
            f"<td>{'<br>'.join(map(escape, (each.message, *each.others_text())))}"
            f"<br>&rarr; {escape(each.remedy)}</td></tr>"
            for each in self
        )
        table = f"<table>{''.join(rows)}</table>" if self else ""
        return f"<div>{table}<p>{escape(self._summary())}</p></div>"

    def _summary(self) -> str:
        """Return how many there are, and what was looked at."""
        n_found = len(self) or "no"
        text = f"{n_found} finding{'s' * (len(self) != 1)}; "
        text += f"{counted(self.n_sources, 'source')} read"
        if self.n_left_out:
            were = "was" if self.n_left_out == 1 else "were"
            left_out = counted(self.n_left_out, "streamer")
            text += f"; {left_out} {were} not looked at (see n_sources)"
        if not self.is_complete:
            text += "; there was no time to read more (see max_seconds)"
        return text

    def without(self, kinds: Iterable[str]) -> Findings:
        """Return the same without the findings of some kinds."""
        left_out = {_validate.option("kinds", each, KINDS) for each in kinds}
        return self._only(each for each in self if each.kind not in left_out)

    def at_least(self, severity: str) -> Findings:
        """Return the findings of a severity, and those that are worse."""
        _validate.option("severity", severity, SEVERITIES)
        allowed = SEVERITIES[: SEVERITIES.index(severity) + 1]
        return self._only(each for each in self if each.severity in allowed)

    def _only(self, found: Iterable[Finding]) -> Findings:
        return Findings(found, self.n_sources, self.n_left_out, self.is_complete)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as lists, dicts, strings and numbers, which ``json.dumps`` takes."""
        return {
            "findings": [each.to_dict() for each in self],
            "n_sources": self.n_sources,
            "n_left_out": self.n_left_out,
            "is_complete": self.is_complete,
        }


def _rank(finding: Finding) -> tuple:
    return SEVERITIES.index(finding.severity), finding.place, finding.kind
