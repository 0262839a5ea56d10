"""Streamers among the arguments of a function that a streamer calls."""

from __future__ import annotations

import contextlib
import functools
import inspect
import weakref
from collections.abc import Callable, Generator, Iterator
from itertools import count
from time import monotonic
from types import GeneratorType
from typing import Any

import numpy as np

from .._callables import FOLLOWS, ONE_TO_ONE, SEEDED
from .._repr import is_streamer, named
from ..exceptions import PescadorError
from . import positions
from .closable import ClosableIterator, close_iterator
from .recipe import Recipe
from .seeds import FRESH_SEED, Seed

MARK_EVERY = 1.0  # seconds


class Binding:
    """What a copy of a streamer, made for one call, knows of the run around it."""

    def __init__(self, seeds: Iterator[Seed], fields: dict | None) -> None:
        self.seeds = seeds
        self.fields = fields  # where the first of its streams is to begin, if not at the start
        self.stream: weakref.ref | None = None  # the last that was started
        self.ready: weakref.ref | None = None  # a stream that is there already
        self.closed: dict | None = None  # where the last one stood, if it was closed before its end
        # How many items the call had given, and where the stream stood, up to a second ago.
        self.mark: tuple[int, dict] | None = None
        self.next_mark = monotonic() + MARK_EVERY

    def take_ready(self) -> Any:
        """Return the stream that is there already, once; None if there is none."""
        ready, self.ready = self.ready, None
        return None if ready is None else ready()


class _Bound:
    """One call of a function that gives what the streamers among its arguments give."""

    def __init__(
        self,
        bindings: list[Binding],
        call: Callable[[], list],
        is_one_to_one: bool,
        start: dict | None,
    ) -> None:
        self._bindings = bindings
        self._call = call
        self._is_one_to_one = is_one_to_one  # an item comes out for each that goes in
        self._start = start  # the position that it began at
        self._streams: list[Any] = []  # that have been started again (their bindings know them)

    def reads(self) -> list:
        """Return what its streams read."""
        streams = [None if each.stream is None else each.stream() for each in self._bindings]
        return [(each._source, each._streamer) for each in streams if each is not None]

    def position(self, n_given: int) -> Any:
        """Return those of the streams that it reads."""
        if any(binding.closed is not None for binding in self._bindings):
            return self._last_position(n_given)
        streams = []
        for binding in self._bindings:
            stream = None if binding.stream is None else binding.stream()
            fields = binding.fields if stream is None else stream._fields()
            if fields is None:
                return n_given
            streams.append(fields)
        return {"streams": streams, "call": self._call(), "n_items": n_given}

    def _last_position(self, n_given: int) -> Any:
        """Return where a call stood after an item, whose streams have been closed since."""
        if not n_given:
            return 0
        binding = self._bindings[0]
        if len(self._bindings) == 1 and binding.closed is not None:
            fields = binding.closed
            if self._is_one_to_one and fields["n_given"] == n_given:
                return {"streams": [fields], "call": self._call(), "n_items": n_given}
            if binding.mark is not None and binding.mark[0] <= n_given:
                n_before, fields = binding.mark
                start = {"streams": [fields], "call": self._call(), "n_items": n_before}
                return positions.skipping(start, n_given - n_before)
        if self._start is None or "n_items" not in self._start:  # (in states of 2.2)
            return n_given
        return positions.skipping(self._start, n_given - self._start["n_items"])

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


def is_marked(iterator: Any) -> bool:
    """Tell whether `mark` may keep where a stream stands."""
    stream = getattr(iterator, "_stream", iterator)
    return isinstance(getattr(getattr(stream, "_streamer", None), "_binding", None), Binding)


def mark(iterator: Any, n_given: int) -> None:
    """Keep where the stream stands that a call reads, now that the call has given an item.

    To be called between two items; it looks at the clock, and does more once a second only.
    """
    stream = getattr(iterator, "_stream", iterator)
    binding = stream._streamer._binding
    if monotonic() < binding.next_mark:
        return
    known = None if binding.stream is None else binding.stream()
    if known is not None and known is stream:  # (and not something of the user's around it)
        with contextlib.suppress(PescadorError):  # not every source has a position now
            binding.mark = n_given, known._fields()
    binding.next_mark = monotonic() + MARK_EVERY


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
        is_one_to_one = hasattr(function, ONE_TO_ONE) or not hasattr(function, FOLLOWS)
        record = positions.records[made] = _Bound(bindings, call_now, is_one_to_one, position)
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
    if before[0] == now[0]:
        return "had other arguments when the state was taken"
    return f"was {before[0]}(...) when the state was taken"


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
