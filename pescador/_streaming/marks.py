"""What a meter knows of a stream that goes on, and of streamers that are gone."""

from __future__ import annotations

from typing import NamedTuple

from .promises import Period

STOP_FAILED = -2  # in place of a limit: the stream has failed


class Mark(NamedTuple):
    """What is known already of an activation that goes on."""

    n_counted: int  # items of it that have been added up, or do not count
    n_carried: int  # of those, and of what it goes on with, how many belong to what is added up
    n_opened: int  # 1 if its opening is to be counted
    period: Period


class Known:
    """Streamers as text, by their places; and whether they have a mux below them."""

    def __init__(self, known: dict[int, tuple[str, bool]]) -> None:
        self._known = known

    def __call__(self, place: int) -> str:
        return self._known[place][0] if place in self._known else f"streamer {place}"

    def has_mux(self, place: int) -> bool:
        """Tell whether there is a mux below a streamer."""
        return place in self._known and self._known[place][1]
