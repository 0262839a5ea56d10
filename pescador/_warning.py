"""Warnings about likely mistakes: once, at the line of the user's that led to them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import FrameType

# Not the user's, though they call us: this package, and what makes its decorated functions.
_NOT_THEIRS = {__package__, "decorator"}


class _Told:
    """Which warnings have been given where, as long as the filters stay the same.

    Python keeps such a record too, but there a text that has another number is another warning:
    a mux of a thousand short files would tell of each.
    """

    def __init__(self) -> None:
        self._filters: object = None
        self._places: set[tuple] = set()

    def places(self) -> set[tuple]:
        """Return what has been told, for the caller to add to."""
        if self._filters is not warnings.filters:  # a `catch_warnings` has begun, or ended
            self._filters = warnings.filters
            self._places = set()
        return self._places


told = _Told()

# In a background process: who hears of a warning, whose user is elsewhere.
told_instead: Callable[..., None] | None = None


def warn(
    start: str, rest: str, category: type[Warning] = UserWarning, frame: FrameType | None = None
) -> None:
    """Warn at the innermost line outside this package (from ``frame`` on), once there.

    The text begins with ``start``, which should have no letters that mean something in a regular
    expression, and ends with how to silence it.
    """
    if told_instead is not None:
        told_instead(start=start, rest=rest, category=category)
        return
    frame = frame or sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame):
        frame = frame.f_back
    path, line = frame.f_code.co_filename, frame.f_lineno
    places, place = told.places(), (start, category, path, line)
    if place in places:
        return
    silence = f"warnings.filterwarnings('ignore', {start!r})"
    warnings.warn_explicit(
        f"{start}{rest} (to silence this: {silence})",
        category,
        path,
        line,
        frame.f_globals.get("__name__"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )
    places.add(place)


def _is_ours(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__") or ""
    return name.partition(".")[0] in _NOT_THEIRS
