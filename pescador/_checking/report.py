"""Gathers findings; those that are alike become one."""

from __future__ import annotations

from collections.abc import Hashable

from .. import _repr
from .findings import Finding
from .plan import Node

_LONGEST_ERROR = 300  # of the text of one: its end, such as a path, says what to do


def error_text(error: BaseException) -> str:
    """Return the type and the text of an error, in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # of the user's class
        text = "?"
    return _repr.cut(f"{type(error).__name__}: {text}", _LONGEST_ERROR)


class Report:
    """What has been found so far."""

    def __init__(self) -> None:
        self._found: dict[Hashable, list[Finding]] = {}
        self._told: set[tuple[str, tuple[int, ...]]] = set()  # kinds, and where or above what

    def add(
        self,
        severity: str,
        kind: str,
        node: Node,
        message: str,
        remedy: str,
        like: Hashable = None,
        *,
        is_of_tree: bool = False,
    ) -> None:
        """Add a finding. Those of one kind and ``like`` in one mux, or tree, are told once."""
        group = None if is_of_tree else node if like is None else node.mux
        finding = Finding(severity, kind, node.place, node.text, message, remedy)
        self._found.setdefault((kind, id(group), like), []).append(finding)
        self._told.update((kind, node.place[:n]) for n in range(len(node.place) + 1))

    def has(self, kind: str, node: Node) -> bool:
        """Tell whether there is a finding of a kind at a node or below it."""
        return (kind, node.place) in self._told

    def findings(self) -> list[Finding]:
        """Return one finding for each group, the first in the tree, which lists the others."""
        found = []
        for group in self._found.values():
            first, *rest = sorted(group, key=lambda each: each.place)
            others = tuple((each.place, each.streamer) for each in rest)
            found.append(first._replace(others=others))
        return found
