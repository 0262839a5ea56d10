"""Iterators for activations: a streamer inside a streamer, and what is not a generator."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import GeneratorType
from typing import Any

from .. import _validate
from .._callables import is_iterable
from .._repr import is_streamer
from . import positions
from .closable import ClosableIterator
from .opener import IN_PLACE
from .recipe import Recipe
from .seeds import Seed
from .stateful import opened

ACCEPTED = (
    "give an iterable, a generator function (one that uses 'yield'), something that wraps one"
    " (functools.partial, a method, a callable object, a decorator that sets __wrapped__),"
    " or a class whose instances are iterable"
)


def nested(
    streamer: Recipe,
    parent: Seed,
    place: int,
    number: int,
    position: Any = None,
    is_made: bool = False,
) -> Generator:
    """Return a generator that reads one activation of another streamer, counting it there.

    ``is_made``: whether a function has made that streamer. Else its position is that of the reader.
    """
    record = _Nested(streamer, is_made)
    items = record.items(parent, place, number, position)
    positions.records[items] = record
    if position is not None:
        next(items)
    return items


class _Nested:
    """One activation of a streamer inside a streamer."""

    def __init__(self, streamer: Recipe, is_made: bool) -> None:
        self._streamer = streamer
        self._is_made = is_made
        self._source: Iterator | None = None

    def items(self, parent: Seed, place: int, number: int, position: Any) -> Generator:
        """Yield the items; first, if there is a position, a None once that is reached."""
        at = 0 if position is None else position
        # (In place: whoever opened the outer one has decided where.)
        source = self._source = IN_PLACE.open(self._streamer, parent, place, number, 0, at)
        try:
            if position is not None:
                yield None
            yield from source
        finally:
            IN_PLACE.end(self._streamer, source)

    def reads(self) -> list:
        """Return the inner activation."""
        return [(self._source, self._streamer)]

    def position(self, n_given: int) -> Any:
        """Return that of the inner activation."""
        if self._source is None:
            return 0
        position = positions.position_of(self._source, n_given)
        return {"made": position} if self._is_made else position


def iterator_of(
    made: Any, streamer: Recipe, parent: Seed, place: int, number: int, is_new: bool
) -> Iterator:
    """Return an iterator over what the call of a streamer's function returned.

    ``is_new``: whether that is certain to belong to this activation alone.
    """
    if isinstance(made, (GeneratorType, ClosableIterator)):
        return made
    if is_streamer(made):
        return nested(made, parent, place, number, is_made=True)
    _validate.ordered("result", made)
    try:
        return opened(made, not is_new, streamer)
    except TypeError as error:
        if is_iterable(made):
            raise
        rule = "the function of the streamer returned this, which is not iterable"
        remedy = "give items by 'yield' in the function, or return an iterable"
        raise _validate.refuse("result", made, rule, remedy) from error


def is_finished(iterator: Any) -> bool:
    if isinstance(iterator, ClosableIterator):
        return iterator._is_closed
    return isinstance(iterator, GeneratorType) and iterator.gi_frame is None


def lend(iterator: Iterator) -> Generator:
    """Read an iterator in a generator, which only one thread at a time can be in.

    Closing the generator does not close the iterator.
    """
    for item in iterator:  # noqa: UP028 - 'yield from' would close it
        yield item
