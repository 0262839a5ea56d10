"""Warnings of the background process, which are given again in the consumer."""

from __future__ import annotations

import json
import sys
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

from .. import _warning

_Notes = deque[bytes]


def heard(may_tell: Callable[[], bool], tell: Callable[[], None]) -> _Notes:
    """Note from now on what this process warns of, instead of printing it; return the notes.

    ``tell`` is called with each; it is printed if the consumer hears no more (``may_tell``). What
    is warned of is decided here: under spawn and forkserver by the filters of ``python -W``.
    """
    notes: _Notes = deque()

    def note(category: type[Warning], **facts: Any) -> None:
        names = [[each.__module__, each.__qualname__] for each in category.__mro__]
        notes.append(json.dumps({**facts, "category": names}).encode())
        tell()

    def show(message: Any, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
        if not may_tell():
            sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))
            return
        module = _module_at(filename)
        note(category, message=str(message), filename=str(filename), lineno=lineno, module=module)

    warnings.showwarning = show  # type: ignore[assignment]
    _warning.told_instead = note
    return notes


def _module_at(filename: str) -> str | None:
    """Return the name of the module of a file, as its program knows it."""
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == filename:
            return "__main__" if name == "__mp_main__" else name
    return None


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


def _category(names: list[list[str]]) -> Any:
    """Return the class of a warning, or the nearest base of it that has been imported here."""
    for module, qualname in names:
        found: Any = sys.modules.get(module)
        for name in qualname.split("."):
            found = getattr(found, name, None)
        if isinstance(found, type) and issubclass(found, Warning):
            return found
    return UserWarning
