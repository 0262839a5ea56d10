"""What an inner mux will open first, found before it is opened.

A run of it is made from the seed that it will have. It chooses, and opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .._streaming.opener import Expected
from .._streaming.recipe import Recipe
from .._streaming.seeds import Seed
from .._streaming.session import Session


class _Planned(BaseException):
    """Raised where the first item would be."""


class _Scout:
    """An opener that opens nothing, and notes what it should have."""

    n_ahead = 0
    wants_draws = False
    is_timed = True

    def __init__(self, is_remote: Callable[[Recipe], bool]) -> None:
        self.found: list[Expected] = []
        self._is_remote = is_remote

    def open(
        self,
        streamer: Recipe,
        parent: Seed,
        place: int,
        number: int,
        limit: int,
        position: Any = 0,
    ) -> Iterator:
        """Note a source; look into a mux."""
        if self._is_remote(streamer):
            self.found.append(Expected(streamer, parent, place, number, limit, position))
        elif can_be_planned(streamer):
            _look_into(streamer, parent, place, number)
        return _Unread()

    def end(self, streamer: Recipe, source: Iterator) -> None:
        """Do nothing."""

    def end_soon(self, sources: list[Iterator]) -> None:
        """Do nothing."""

    def expect(self, likely: list[Expected]) -> None:
        """Do nothing."""

    def draw(
        self, parent: Seed, sources: Sequence[Iterator], counts: list[int], slots: Any
    ) -> None:
        """Do nothing."""


class _Unread:
    """A source that nobody must read."""

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        raise _Planned


def _look_into(streamer: Recipe, parent: Seed, place: int, number: int) -> None:
    run: Any = streamer._open_run(parent, place, number)
    try:
        next(run, None)
    except _Planned:
        pass
    finally:
        run.close()


def can_be_planned(streamer: Recipe) -> bool:
    """Tell whether nothing of the user's is called when it is opened: a mux."""
    return streamer._chooses()


def plan(expected: Expected, is_remote: Callable[[Recipe], bool]) -> list[Expected]:
    """Return the sources that an inner mux will open before its first item."""
    scout = _Scout(is_remote)
    parent = expected.parent
    below = parent.within(Session(scout))  # one of its own: nobody else is to hear of it
    try:
        _look_into(expected.streamer, below, expected.place, expected.number)
    except Exception:
        return []  # it will be told when the mux is opened, if it is
    session = parent.session
    return [each._replace(parent=each.parent.within(session)) for each in scout.found]
