"""Gathers findings; those that are alike become one."""

from __future__ import annotations

from collections.abc import Hashable

from .findings import Finding
from .plan import Node


class Report:
    """What has been found so far."""

    def __init__(self) -> None:
        self._found: dict[Hashable, list[Finding]] = {}

    def add(
        self,
        severity: str,
        kind: str,
        node: Node,
        message: str,
        remedy: str,
        like: Hashable = None,
    ) -> None:
        """Add a finding. Those of one kind and ``like`` in one mux are told once."""
        group = node if like is None else node.mux
        finding = Finding(severity, kind, node.place, node.text, message, remedy)
        self._found.setdefault((kind, id(group), like), []).append(finding)

    def has(self, kind: str, node: Node) -> bool:
        """Tell whether there is a finding of a kind at a node or below it."""
        n = len(node.place)
        return any(
            each.kind == kind and each.place[:n] == node.place
            for group in self._found.values()
            for each in group
        )

    def findings(self) -> list[Finding]:
        """Return one finding for each group, which says how many are like it."""
        found = []
        for first, *others in self._found.values():
            if others:
                n_others = f"{len(others)} other" + "s" * (len(others) > 1)
                message = f"{first.message} ({n_others} of this mux likewise)"
                first = first._replace(message=message)
            found.append(first)
        return found
