"""Warnings of the background process, which are given again in the consumer."""

from __future__ import annotations

import builtins
import json
import sys
import warnings
from collections import deque
from typing import Any

from .. import _warning


def heard() -> deque[bytes]:
    """Note from now on, instead of printing it, what this process warns of; return the notes.

    (As far as the filters here let it pass: under spawn and forkserver those of ``python -W``.)
    """
    notes: deque[bytes] = deque()

    def note(**facts: Any) -> None:
        category = facts.pop("category")
        name = f"{category.__module__}.{category.__qualname__}"
        notes.append(json.dumps({**facts, "category": name}).encode())

    def show(message: Any, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
        note(message=str(message), category=category, filename=str(filename), lineno=lineno)

    warnings.showwarning = show  # type: ignore[assignment]
    _warning.told_instead = note
    return notes


def retold(text: bytes) -> None:
    """Give a warning of the background process here, as the filters say, once for each place."""
    facts = json.loads(text)
    category = _category(facts.pop("category"))
    if "start" in facts:  # one of this package: at the line that reads the stream
        _warning.warn(facts["start"], facts["rest"], category)
        return
    places, place = _warning.told.places(), (category, *facts.values())
    if place not in places:
        warnings.warn_explicit(**facts, category=category)
        places.add(place)


def _category(name: str) -> Any:
    """Return the class of a warning, if it has been imported here."""
    module, _, name = name.rpartition(".")
    found = getattr(sys.modules.get(module, builtins), name, None)
    return found if isinstance(found, type) and issubclass(found, Warning) else UserWarning
