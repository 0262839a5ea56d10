"""One activation of a streamer: how it gets its iterator, how that is closed, where it stands.

(This module knows streamers by what they have, since theirs are built on it.)
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import islice
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from .. import _validate
from .._repr import is_streamer
from . import positions
from .closable import ClosableIterator, close_iterator
from .seeds import Seed

if TYPE_CHECKING:
    from ..core import Streamer

ACCEPTED = (
    "give an iterable, a generator function (one that uses 'yield'), something that wraps one"
    " (functools.partial, a method, a callable object, a decorator that sets __wrapped__),"
    " or a class whose instances are iterable"
)


def begin(streamer: Streamer, parent: Seed, place: int, number: int) -> Iterator:
    """Open an activation of ``streamer`` and count it."""
    counted = streamer._origin
    if counted is None:
        counted = streamer
    counted.active_count_ += 1
    try:
        return streamer._open_run(parent, place, number)
    except BaseException:
        counted.active_count_ -= 1
        raise


def begin_at(streamer: Streamer, parent: Seed, place: int, number: int, position: Any) -> Iterator:
    """Open an activation of ``streamer`` where another one stood, and count it."""
    counted = streamer._counted_by()
    counted.active_count_ += 1
    try:
        return streamer._open_at(parent, place, number, position)
    except BaseException:
        counted.active_count_ -= 1
        raise


def end(streamer: Streamer, source: Iterator) -> None:
    """Close what `begin` opened."""
    counted = streamer._origin
    if counted is None:
        counted = streamer
    counted.active_count_ -= 1
    if type(source) is GeneratorType:
        source.close()
    else:
        close_iterator(source)


def nested(
    streamer: Streamer, parent: Seed, place: int, number: int, position: Any = None
) -> Generator:
    """Return a generator that reads one activation of another streamer, counting it there."""
    record = _Nested(streamer)
    items = record.items(parent, place, number, position)
    positions.records[items] = record
    if position is not None:
        next(items)
    return items


class _Nested:
    """One activation of a streamer inside a streamer."""

    def __init__(self, streamer: Streamer) -> None:
        self._streamer = streamer
        self._source: Iterator | None = None

    def items(self, parent: Seed, place: int, number: int, position: Any) -> Generator:
        """Yield the items; first, if there is a position, a None once that is reached."""
        if position is None:
            source = self._source = begin(self._streamer, parent, place, number)
        else:
            source = self._source = begin_at(self._streamer, parent, place, number, position)
        try:
            if position is not None:
                yield None
            yield from source
        finally:
            end(self._streamer, source)

    def position(self, n_given: int) -> Any:
        """Return that of the inner activation."""
        if self._source is None:
            return 0
        return {"inner": positions.position_of(self._source, n_given)}


def iterator_of(made: Any, parent: Seed, place: int, number: int) -> Iterator:
    """Return an iterator over what the call of a streamer's function returned."""
    if isinstance(made, (GeneratorType, ClosableIterator)):
        return made
    if is_streamer(made):
        return nested(made, parent, place, number)
    try:
        return iter(made)
    except TypeError as error:
        rule = "is what the streamer's function returned, and it is not iterable"
        raise _validate.refuse("result", made, rule, ACCEPTED) from error


def is_finished(iterator: Any) -> bool:
    if isinstance(iterator, ClosableIterator):
        return iterator._is_closed
    return isinstance(iterator, GeneratorType) and iterator.gi_frame is None


def lend(iterator: Iterator) -> Generator:
    """Read an iterator that belongs to the user: closing the reader does not close it."""
    for item in iterator:  # noqa: UP028 - 'yield from' would close it
        yield item


def bounded(source: Iterator, n_items: int | None) -> Generator:
    """Read at most ``n_items``; a generator, so that only one thread at a time is in it."""
    yield from islice(source, n_items)
