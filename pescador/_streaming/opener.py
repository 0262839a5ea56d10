"""Openers: who opens a source. A run says what to open; an opener never chooses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import GeneratorType
from typing import Any, NamedTuple, Protocol

from . import positions
from .closable import close_iterator
from .recipe import Recipe
from .seeds import Seed


class Expected(NamedTuple):
    """An activation that will probably be opened: the arguments of `Opener.open`."""

    streamer: Recipe
    parent: Seed
    place: int
    number: int
    #: How many items it may give (0: any number; None: not known yet).
    limit: int | None
    position: Any = 0


class Opener(Protocol):
    """Opens and closes the sources of the runs that its `Session` is handed down to.

    The items of an activation follow from its seed, that is from ``parent``, ``place`` and
    ``number``. So it may be opened anywhere, at any time, and again at a position.
    """

    #: How many activations a run should announce (`expect`) before their turn, at least.
    n_ahead: int
    #: Whether it wants to hear what a run has drawn (`draw`).
    wants_draws: bool
    #: Whether it tells a meter itself how long its sources were waited for.
    is_timed: bool

    def open(
        self,
        streamer: Recipe,
        parent: Seed,
        place: int,
        number: int,
        limit: int,
        position: Any = 0,
    ) -> Iterator:
        """Return the items of an activation, from a position on.

        The run will take ``limit`` items in all, those before the position included (0: any
        number).
        """

    def end(self, streamer: Recipe, source: Iterator) -> None:
        """Close what `open` returned: its ``finally`` blocks run, and their errors come out."""

    def end_soon(self, sources: list[Iterator]) -> None:
        """Hear which will be ended at once, one after the other."""

    def expect(self, likely: list[Expected]) -> None:
        """Hear what will probably be opened next, in this order. It may turn out otherwise."""

    def draw(
        self, parent: Seed, sources: Sequence[Iterator], counts: list[int], slots: Any
    ) -> None:
        """Hear which of the sources of a run will probably be drawn next.

        Parameters
        ----------
        parent : Seed
            That of the run.
        sources : sequence of Iterator
            What it reads, by slot. What is opened when one of them has ended takes its slot.
        counts : list of int
            How many items the run has given, and then each of them.
        slots : ndarray of int
            The draws, in their order.
        """


def open_at(streamer: Recipe, parent: Seed, place: int, number: int, position: Any) -> Iterator:
    """Start an activation, and move it to a position."""
    if streamer._passes_on():
        return streamer._open_at(parent, place, number, position)
    position, n_skipped = positions.parts(position)
    if not n_skipped:
        return streamer._open_at(parent, place, number, position)
    with parent.session.uncounted():
        source = streamer._open_at(parent, place, number, position)
        with parent.session.failures.as_known():
            return positions.moved(source, n_skipped, streamer)


class InPlace:
    """Opens every source in this thread, at the moment when it is asked for."""

    n_ahead = 0
    wants_draws = False
    is_timed = False

    def open(
        self,
        streamer: Recipe,
        parent: Seed,
        place: int,
        number: int,
        limit: int,
        position: Any = 0,
    ) -> Iterator:
        """Start an activation, and count it."""
        counted = streamer._origin
        if counted is None:
            counted = streamer
        counted.active_count_ += 1
        try:
            if position:
                return open_at(streamer, parent, place, number, position)
            return streamer._open_run(parent, place, number)
        except BaseException:
            counted.active_count_ -= 1
            raise

    def end(self, streamer: Recipe, source: Iterator) -> None:
        """Close an activation."""
        counted = streamer._origin
        if counted is None:
            counted = streamer
        counted.active_count_ -= 1
        if type(source) is GeneratorType:
            source.close()
        else:
            close_iterator(source)

    def end_soon(self, sources: list[Iterator]) -> None:
        """Do nothing."""

    def expect(self, likely: list[Expected]) -> None:
        """Do nothing: nothing is opened ahead."""

    def draw(
        self, parent: Seed, sources: Sequence[Iterator], counts: list[int], slots: Any
    ) -> None:
        """Do nothing: an item is made when it is read."""


IN_PLACE = InPlace()
