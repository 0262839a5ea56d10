"""One activation of a streamer: how it gets its iterator, how that is closed, where it stands.

(This module knows streamers by what they have, since theirs are built on it.)
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Generator, Iterator
from itertools import count, islice
from types import GeneratorType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _positions, _validate
from ._callables import FOLLOWS, SEEDED
from ._iterator import ClosableIterator, close_iterator
from ._repr import is_streamer
from ._seeds import FRESH_SEED, Seed

if TYPE_CHECKING:
    from .core import Streamer

ACCEPTED = (
    "give an iterable, a generator function (one that uses 'yield'), something that wraps one"
    " (functools.partial, a method, a callable object, a decorator that sets __wrapped__),"
    " or a class whose instances are iterable"
)


def survey(streamer: Streamer) -> tuple[list, list[Streamer]]:
    """Return what a run of ``streamer`` may use up, however deep.

    That is the random generators it draws from, and the streamers that can be started only once.
    """
    found = list(_streamers_of(streamer))
    one_shots = [each for each in found if each._ticket is not None]
    return list(generators_of(streamer)), one_shots


def generators_of(streamer: Streamer) -> Iterator:
    """Yield the random generators that a run of ``streamer`` draws from, from the top down."""
    seen = set()
    for each in _streamers_of(streamer):
        for generator in each._generators():
            if id(generator) not in seen:
                seen.add(id(generator))
                yield generator


def _streamers_of(streamer: Streamer) -> Iterator[Streamer]:
    """Yield a streamer and those that it is made of, however deep."""
    seen = set()
    left: list[Any] = [streamer]
    while left:
        each = left.pop()
        if isinstance(each, functools.partial):
            left += (each.func, *each.args, *each.keywords.values())
        elif inspect.ismethod(each):
            left.append(each.__self__)
        elif is_streamer(each) and id(each) not in seen:
            seen.add(id(each))
            yield each
            left += each._parts()


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
    _positions.records[items] = record
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
        return {"inner": _positions.position_of(self._source, n_given)}


class Binding:
    """What a copy of a streamer, made for one call, knows of the run around it."""

    def __init__(self, seeds: Iterator[Seed], fields: dict | None) -> None:
        self.seeds = seeds
        self.fields = fields  # where the first of its streams is to begin, if not at the start
        self.stream: weakref.ref | None = None  # the last that was started
        self.ready: weakref.ref | None = None  # a stream that is there already

    def take_ready(self) -> Any:
        """Return the stream that is there already, once; None if there is none."""
        ready, self.ready = self.ready, None
        return None if ready is None else ready()


class _Bound:
    """One call of a function that gives what the streamers among its arguments give."""

    def __init__(self, bindings: list[Binding], call: Callable[[], list[str]]) -> None:
        self._bindings = bindings
        self._call = call
        self._streams: list[Any] = []  # that have been started again (their bindings know them)

    def position(self, n_given: int) -> Any:
        """Return those of the streams that it reads."""
        streams = []
        for binding in self._bindings:
            stream = None if binding.stream is None else binding.stream()
            fields = binding.fields if stream is None else stream._fields()
            if fields is None:
                return n_given
            streams.append(fields)
        return {"streams": streams, "call": self._call()}

    def start_again(self, made: Any, bound: list[Streamer]) -> None:
        """Start what a call reads, where it stood, now: what does not fit must be told at once."""
        if hasattr(made, "start"):  # a stream
            made.start()
            return
        for streamer, binding in zip(bound, self._bindings):
            if is_streamer(streamer):  # (not a method of one)
                stream = streamer.iterate()
                self._streams.append(stream)
                stream.start()
                binding.ready = weakref.ref(stream)


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


def open_by_iterate(self: Streamer, parent: Seed, place: int, number: int) -> Generator:
    """Read a streamer whose class defines its own ``iterate``."""
    counted = self._counted_by()
    other = _bound(self, Binding(_seeds_below(parent.child(place, number), 0), None))
    other.__dict__ = vars(self)  # what iterate() sets, it sets on the original too
    counted.active_count_ -= 1  # the run that iterate() starts counts itself
    stream = other.iterate()
    try:
        yield from stream
    finally:
        close_iterator(stream)
        counted.active_count_ += 1


def call_bound(
    call: Callable,
    args: tuple,
    kwargs: dict,
    parent: Seed,
    place: int,
    number: int,
    position: dict | None = None,
) -> Any:
    """Call a function, with seeds in place of FRESH_SEED, and with streamers that are bound.

    ``position`` tells where the streams of these are to begin.
    """
    seed = parent.child(place, number)
    function: Any = call
    while isinstance(function, functools.partial):
        args, kwargs = function.args + args, {**function.keywords, **kwargs}
        function = function.func
    follows = hasattr(function, FOLLOWS) or _streamer_of(function) is not None
    # By position, then by name: an argument's number says where in the tree it is.
    if hasattr(function, SEEDED):
        function, args = getattr(function, SEEDED), (seed.child(-1, 0), *args)
    values = [function, *args, *kwargs.values()]
    bindings: list[Binding] = []
    bound: list[Streamer] = []
    given = iter(position["streams"] if position else ())
    call_now = functools.partial(_described, function, values[1:])
    for index, value in enumerate(values):
        if value is FRESH_SEED:
            values[index] = parent.fresh(place, number, index)
            continue
        streamer = _streamer_of(value)
        if streamer is not None:
            bindings.append(Binding(_seeds_below(seed, -1 - index), next(given, None)))
            follows = follows and type(streamer)._open_run is not open_by_iterate
            values[index] = _bound(value, bindings[-1])
            bound.append(values[index])
    if position:
        _check_call(position, call_now(), len(bindings) if follows else -1)
    function, *values = values
    made = function(*values[: len(args)], **dict(zip(kwargs, values[len(args) :])))
    if follows and isinstance(made, (GeneratorType, ClosableIterator)):
        record = _positions.records[made] = _Bound(bindings, call_now)
        if position:
            record.start_again(made, bound)
    return made


def _check_call(position: dict, call: list[str], n_streams: int) -> None:
    """Compare a call with what is known of the one whose streams had been read."""
    if len(position["streams"]) != n_streams:
        what = "reads other streamers than when the state was taken"
        raise _positions.misfit(f"{call[0]}(...)", what)
    if position["call"] != call:
        what = f"was {position['call'][0]}(...), perhaps with other arguments"
        raise _positions.misfit(f"{call[0]}(...)", what)


def _described(function: Any, values: list) -> list[str]:
    """Return the name of a function, and a digest of its plain arguments."""
    plain = []
    for value in values:
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        is_plain = isinstance(value, (str, int, float, type(None)))
        plain.append(value if is_plain else type(value).__name__)
    name = getattr(function, "__qualname__", type(function).__name__)
    return [name, _positions.digest(repr(plain).encode())]


def _seeds_below(seed: Seed, place: int) -> Iterator[Seed]:
    return map(functools.partial(seed.above, place), count())


def _streamer_of(value: Any) -> Streamer | None:
    """Return a streamer, given it or a method of it."""
    if inspect.ismethod(value):
        value = value.__self__
    return value if is_streamer(value) else None


def _bound(value: Any, binding: Binding) -> Any:
    """Return a copy of a streamer, or of the one whose method this is, that is part of a run."""
    if inspect.ismethod(value):
        return getattr(_bound(value.__self__, binding), value.__name__)
    other = value._counted_copy()
    other._binding = binding
    return other


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
