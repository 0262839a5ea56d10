"""What a window tells its workers, and what they tell it."""

from __future__ import annotations

import enum
import math
import sys
from array import array
from bisect import bisect_left
from typing import Any, NamedTuple, Protocol


class Due(NamedTuple):
    """When the items of an activation will be needed, as far as that has been drawn."""

    first: int  # an item of it
    times: array[float]  # of that item, and those after it; there is one at least
    interval: float  # between those after these, in the mean

    def at(self, number: int) -> float:
        """Return the time of an item."""
        index, times = number - self.first, self.times
        if index < len(times):
            return times[max(0, index)]
        return times[-1] + self.interval * (index + 1 - len(times))

    @property
    def end(self) -> int:
        """The number of the first item that will never be needed, or a very large one."""
        if self.times[-1] + self.interval < math.inf:
            return sys.maxsize
        return self.first + bisect_left(self.times, math.inf)


class Open(NamedTuple):
    """Open an activation, and make its items as memory allows."""

    activation: int  # its number among all of this window
    source: Any  # its streamer, or what finds it
    seed: tuple[bytes, bytes, tuple[int, ...], list]  # entropy, path, display path, what is taken
    place: int
    number: int
    limit: int | None  # as in `Opener.open`; None: not known yet
    position: Any
    due: Due
    is_guess: bool  # else it is wanted
    careful_until: int = -1  # send items up to this one at once: a worker has died there


class Adopt(NamedTuple):
    """What was a guess has turned out right."""

    activation: int
    limit: int
    due: Due


class Draw(NamedTuple):
    """When the items of some activations will be needed."""

    dues: tuple[tuple[int, Due], ...]


class Ask(NamedTuple):
    """The caller waits for the next item, or to hear that it is open."""

    activation: int
    n_received: int  # items before that one


class Credit(NamedTuple):
    """So many items have been handed out, of some activations."""

    handed_out: tuple[tuple[int, int], ...]


class Close(NamedTuple):
    """No more items are wanted of an activation."""

    activation: int


class Interrupt(NamedTuple):
    """Cut short the item that an activation is at, if it is to be closed."""

    activation: int


Order = Open | Adopt | Draw | Ask | Credit | Close | Interrupt


class Moment(enum.IntEnum):
    """At which moment an error has come."""

    OPENING = 0
    ITEM = 1
    CLOSING = 2


class Marks:
    """What has become of activations, told behind their items."""

    def mark(self, kind: str, activation: int, *facts: Any) -> None:
        """Tell it, behind the items that were taken."""
        raise NotImplementedError

    def opened(self, activation: int) -> None:
        """Tell that an activation is open."""
        self.mark("opened", activation)

    def stands_at(self, activation: int, number: int, position: Any) -> None:
        """Tell the position of an activation after so many items."""
        self.mark("at", activation, number, position)

    def ended(self, activation: int) -> None:
        """Tell that an activation has given all it may, or has, and is closed."""
        self.mark("ended", activation)


class Sink(Protocol):
    """Where the items of a worker go, and `Marks`; it may be called from several threads."""

    #: Seconds after which what was flushed is out of the process.
    under_way: float

    def add(self, activation: int, item: Any, number: int) -> int:
        """Take an item, copied; return what it costs, in bytes."""

    def opened(self, activation: int) -> None:
        """As `Marks` does."""

    def stands_at(self, activation: int, number: int, position: Any) -> None:
        """As `Marks` does."""

    def ended(self, activation: int) -> None:
        """As `Marks` does."""

    def failed(self, activation: int, moment: Moment, error: BaseException) -> None:
        """Tell that it is over by an error."""

    def flush(self) -> None:
        """Hand over what was taken, now."""

    def is_due(self) -> bool:
        """Tell whether it is time to hand over what was taken."""
