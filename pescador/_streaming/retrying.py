"""Sources that are opened again where they failed: for storage that times out."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import compress, repeat
from operator import length_hint
from time import sleep
from typing import Any

from .. import _validate
from . import positions
from .failures import LOG, told
from .opener import Expected, Opener
from .recipe import Recipe
from .seeds import Seed

_FIRST_PAUSE = 0.1  # seconds, then twice as long each time
_LONGEST_PAUSE = 30.0
_NO_SOURCE: Iterator = iter(())


class Retrying:
    """An opener whose sources begin again at the item at which they fail.

    Parameters
    ----------
    opener : Opener
        What opens them.
    n_most : int
        How often in a row a source may fail at one item; then its error comes out.
    """

    def __init__(self, opener: Opener, n_most: int) -> None:
        self.n_ahead, self.wants_draws = opener.n_ahead, opener.wants_draws
        self.is_timed = opener.is_timed
        self._opener = opener
        self._n_most = n_most
        self._attempts: dict[Iterator, _Attempts] = {}

    def open(
        self,
        streamer: Recipe,
        parent: Seed,
        place: int,
        number: int,
        limit: int,
        position: Any = 0,
    ) -> Iterator:
        """Return the items of an activation, which may take several attempts."""
        activation = Expected(streamer, parent, place, number, limit, position)
        attempts = _Attempts(self._opener, activation, self._n_most)
        items = attempts.items()
        next(items)
        self._attempts[items] = attempts
        positions.records[items] = attempts
        return items

    def end(self, streamer: Recipe, source: Iterator) -> None:
        """Close what `open` returned."""
        attempts = self._attempts.pop(source)
        source.close()  # type: ignore[attr-defined]
        attempts.end()

    def end_soon(self, sources: Iterable[Iterator]) -> None:
        """Hear which will be ended at once."""
        found = [self._attempts[each].source for each in sources if each in self._attempts]
        self._opener.end_soon([each for each in found if each is not None])

    def expect(self, likely: list[Expected]) -> None:
        """Hear what will probably be opened next."""
        self._opener.expect(likely)

    def draw(
        self, parent: Seed, sources: Sequence[Iterator], counts: list[int], slots: Any
    ) -> None:
        """Hear which of its sources a run will draw next."""
        attempts = map(self._attempts.get, sources)
        found = [None if each is None else each.source for each in attempts]
        known = [_NO_SOURCE if each is None else each for each in found]
        self._opener.draw(parent, known, counts, slots)


class _Attempts:
    """One activation, with as many sources as it takes."""

    def __init__(self, opener: Opener, activation: Expected, n_most: int) -> None:
        self._opener = opener
        self._activation = activation
        self._n_most = n_most
        self._position = activation.position
        self._n_before = positions.n_given_at(activation.position)  # what it is to begin at
        self.source: Iterator | None = None
        self._n_failures, self._failed_at = 0, -1

    def items(self) -> Generator:
        """Yield a None once it is open, then the items."""
        self._open()
        yield None
        while True:
            assert self.source is not None
            ticks = repeat(True, sys.maxsize)
            try:
                yield from compress(self.source, ticks)
                return
            except Exception as error:
                n_given = self._n_before + sys.maxsize - length_hint(ticks)
                self._position = positions.position_of(self.source, n_given)
                self._n_before = n_given
                self._pause_after(error)
                self.end()
                self._open()

    def _open(self) -> None:
        streamer, parent, place, number, limit, _ = self._activation
        while True:
            try:
                self.source = self._opener.open(
                    streamer, parent, place, number, limit or 0, self._position
                )
                return
            except Exception as error:
                if positions.is_misfit(error):
                    raise
                self._pause_after(error)

    def _pause_after(self, error: Exception) -> None:
        """Wait until the next attempt; or raise the error again, if there were enough."""
        if self._failed_at != self._n_before:
            self._n_failures, self._failed_at = 0, self._n_before
        self._n_failures += 1
        if self._n_failures >= self._n_most:
            raise error
        seconds = min(_FIRST_PAUSE * 2 ** (self._n_failures - 1), _LONGEST_PAUSE)
        streamer = _validate.short(self._activation.streamer)
        what = f"{streamer} failed at item {self._n_before} of this activation: {told(error)}"
        LOG.warning("%s; it is opened again in %g s", what, seconds)
        sleep(seconds)

    def end(self) -> None:
        """Close the source that is open, if one is."""
        source, self.source = self.source, None
        if source is not None:
            self._opener.end(self._activation.streamer, source)

    def reads(self) -> list:
        """Return the source that is open."""
        return [(self.source, self._activation.streamer)]

    def position(self, n_given: int) -> Any:
        """Return where it stands."""
        if self.source is None:
            return positions.skipping(self._position, n_given - self._n_before)
        return positions.position_of(self.source, n_given)
