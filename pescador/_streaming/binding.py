"""Streamers among the arguments of a function that a streamer calls."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Generator, Iterator
from itertools import count
from types import GeneratorType
from typing import Any

import numpy as np

from .._callables import FOLLOWS, SEEDED
from .._repr import is_streamer, named
from . import positions
from .closable import ClosableIterator, close_iterator
from .recipe import Recipe
from .seeds import FRESH_SEED, Seed


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

    def __init__(self, bindings: list[Binding], call: Callable[[], list]) -> None:
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

    def start_again(self, made: Any, bound: list[Recipe]) -> None:
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


def open_by_iterate(streamer: Recipe, parent: Seed, place: int, number: int) -> Generator:
    """Read a streamer whose class has an ``iterate`` of the user's."""
    counted = streamer._counted_by()
    other = _bound(streamer, Binding(_seeds_below(parent.child(place, number), 0), None))
    other.__dict__ = vars(streamer)  # what iterate() sets, it sets on the original too
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
    bound: list[Recipe] = []
    given = iter(position["streams"] if position else ())
    call_now = functools.partial(_described, function, values[1:], tuple(kwargs))
    for index, value in enumerate(values):
        if value is FRESH_SEED:
            values[index] = parent.fresh(place, number, index)
            continue
        streamer = _streamer_of(value)
        if streamer is not None:
            bindings.append(Binding(_seeds_below(seed, -1 - index), next(given, None)))
            follows = follows and not streamer._has_own_iterate()
            values[index] = _bound(value, bindings[-1])
            bound.append(values[index])
    if position:
        _check_call(position, call_now, len(bindings) if follows else -1, function)
    function, *values = values
    made = function(*values[: len(args)], **dict(zip(kwargs, values[len(args) :])))
    if follows and isinstance(made, (GeneratorType, ClosableIterator)):
        record = positions.records[made] = _Bound(bindings, call_now)
        if position:
            record.start_again(made, bound)
    return made


def _check_call(
    position: dict, call_now: Callable[..., list], n_streams: int, function: Any
) -> None:
    """Compare a call with what is known of the one whose streams had been read."""
    call = call_now()
    if len(position["streams"]) != n_streams:
        what = "reads other streamers than when the state was taken"
        raise positions.misfit(f"{call[0]}(...)", what)
    # (States of 2.2 name the class that passes the items on.)
    if position["call"][:2] not in (
        call[:2],
        call_now(type_of=lambda value: type(value).__name__)[:2],
    ):
        raise positions.misfit(f"{call[0]}(...)", _difference(position["call"], call, function))


def _difference(before: list, now: list, function: Any) -> str:
    """Return in which argument two calls differ, as `_described` tells of them."""
    if before[0] == now[0] and len(before) == 3:  # (older states have no values)
        values = [_by_name(function, call[2]) for call in (before, now)]
        for name in {**values[0], **values[1]}:
            one, other = (each.get(name, "nothing") for each in values)
            if one != other:
                return f"had {name}={one} when the state was taken, and has {name}={other} now"
    return f"was {before[0]}(...), perhaps with other arguments"


def _by_name(function: Any, values: list) -> dict[str, str]:
    """Return the values of a call by the names of their parameters, those not given too."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # written in C
        parameters = []
    found = {
        each.name: named(each.default) for each in parameters if each.default is not each.empty
    }
    places = [each.name for each in parameters if each.kind <= each.POSITIONAL_OR_KEYWORD]
    for index, (name, value) in enumerate(values):
        found[name or (places[index] if index < len(places) else f"args[{index}]")] = value
    return found


def _type_of(value: Any) -> str:
    return value._kind() if is_streamer(value) else type(value).__name__


def _described(
    function: Any,
    values: list,
    keywords: tuple[str, ...],
    type_of: Callable[[Any], str] = _type_of,
) -> list:
    """Return the name of a function, a digest of its plain arguments, and these as texts."""
    plain, shown = [], []
    names = (len(values) - len(keywords)) * ("",) + keywords
    for name, value in zip(names, values):
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        is_plain = isinstance(value, (str, int, float, type(None)))
        plain.append(value if is_plain else type_of(value))
        shown.append([name, named(value) if is_plain else type_of(value)])
    name = getattr(function, "__qualname__", type(function).__name__)
    return [name, positions.digest(repr(plain).encode()), shown]


def _seeds_below(seed: Seed, place: int) -> Iterator[Seed]:
    return map(functools.partial(seed.above, place), count())


def _streamer_of(value: Any) -> Recipe | None:
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
