"""The tree that is checked: what a streamer is made of, or a sample of it."""

from __future__ import annotations

import functools
import inspect
import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .. import _repr, maps
from .._callables import FOLLOWS, GENERATOR, ONE_TO_ONE
from .._repr import is_streamer
from .._streaming.survey import streamers_in
from ..core import Streamer
from ..mux import BaseMux, ChainMux, RoundRobinMux, StochasticMux
from ..parallel import ParallelStreamer
from ..zmq_stream import ZMQStreamer
from .clock import Clock
from .probe import Facts
from .traces import Kept

_LAZILY = 8  # so many times fewer streamers are looked at that are read lazily
_DEEPEST_WRAPPING = 100

# What a node of the tree is. (Opaque: a class of the user's with an `iterate` of its own.)
SOURCE, MUX, MAP, PASS, PROCESS, OPAQUE = "source", "mux", "map", "pass", "process", "opaque"


class Node:
    """A streamer in the tree."""

    def __init__(self, streamer: Any, place: tuple[int, ...], above: Node | None) -> None:
        self.streamer = streamer
        self.place = place
        self.above = above
        self.kind = _kind_of(streamer)
        self.below: list[Node] = []
        self.n_left_out = 0  # streamers of this mux that are not among those below
        self.n_not_reached = 0  # the same, for want of time
        self.is_cut = False  # perhaps there are more of them than were read
        self.once = ""  # why it cannot be read without using something up
        self.once_value: Any = None  # what that would use up
        self.generators: list[Any] = []  # random ones that it may draw from
        self.facts: Facts | None = None  # once it has been read
        self.has_failed = False  # in the code that makes its streamers

    @property
    def text(self) -> str:
        """The streamer, in one line."""
        return _repr.head(self.streamer, 100)

    @property
    def index(self) -> int:
        """Its index in the mux above."""
        return self.place[-1]

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it."""
        yield self
        for each in self.below:
            yield from each.walk()

    def all_above(self) -> Iterator[Node]:
        """Yield the nodes above, from the nearest to the root."""
        node = self.above
        while node is not None:
            yield node
            node = node.above

    @property
    def mux(self) -> Node | None:
        """The nearest mux above."""
        return next((each for each in self.all_above() if each.kind == MUX), None)

    @property
    def is_whole(self) -> bool:
        """Whether all of it can be read, and nothing was left out."""
        return not any(
            each.n_left_out or each.n_not_reached or each.is_cut or each.once or each.has_failed
            for each in self.walk()
        )

    def producers(self) -> Iterator[Node]:
        """Yield those below that make the items that this one gives, perhaps itself."""
        if self.kind in (SOURCE, MAP, OPAQUE):
            yield self
        else:
            for each in self.below:
                yield from each.producers()


def _kind_of(streamer: Any) -> str:
    if streamer._has_own_iterate():
        return OPAQUE
    if isinstance(streamer, BaseMux):
        return MUX
    if isinstance(streamer, (ZMQStreamer, ParallelStreamer)):
        return PROCESS
    if streamer._passes_on():
        return PASS
    return SOURCE if next(streamers_in(streamer._parts()), None) is None else MAP


class Planner:
    """Makes the tree of nodes."""

    def __init__(self, kept: Kept, seed: int, clock: Clock) -> None:
        self._kept = kept
        self._random = random.Random(seed)
        self._clock = clock

    def plan(
        self,
        streamer: Any,
        most: int,
        place: tuple[int, ...] = (),
        above: Node | None = None,
    ) -> Node:
        """Return the node of a streamer, with about so many below it at most."""
        node = Node(streamer, place, above)
        if node.kind != PROCESS:  # which is told of what it reads
            node.once, node.once_value = _why_once(streamer)
        parts = streamer.streamers if node.kind == MUX else streamer._parts()
        if not (node.kind == MUX and isinstance(parts, list)):
            node.generators = self._kept.keep(*streamer._parts())
        self._kept.keep(*streamer._generators())
        if node.kind == MUX:
            is_read = isinstance(node.streamer, ChainMux) and not isinstance(parts, list)
            chosen = self._read(node, most) if is_read else self._chosen(node, most)
        else:
            chosen = [(-1, each) for each in self._parts_of(node)]
        self._plan_below(node, chosen, most)
        return node

    def _plan_below(self, node: Node, chosen: list[tuple[int, Any]], most: int) -> None:
        for number, (index, each) in enumerate(chosen):
            if number and node.kind == MUX and not self._clock.left:
                node.n_not_reached = len(chosen) - number
                self._clock.cut()
                return
            where = (*node.place, index) if node.kind == MUX else node.place
            most_below = max(1, most // len(chosen))
            node.below.append(self.plan(each, most_below, where, node))

    def _parts_of(self, node: Node) -> list[Streamer]:
        if node.kind == PROCESS and not is_streamer(node.streamer.streamer):
            return [Streamer(node.streamer.streamer)]  # ZMQStreamer takes any iterable
        found: Iterable[Any] = streamers_in(node.streamer._parts())
        return list(found)

    def _chosen(self, node: Node, most: int) -> list[tuple[int, Streamer]]:
        """Return a sample of the streamers of a mux that may be opened, with their indices."""
        streamers = node.streamer.streamers
        function, weights = node.streamer._weights_to_show()
        indices: Any = range(len(streamers))
        if weights is not None and function is None:
            indices = np.flatnonzero(weights).tolist()
        if not isinstance(streamers, list):  # each of them has to be made
            most = max(1, most // _LAZILY)
        if len(indices) > most:
            node.n_left_out = len(indices) - most
            indices = sorted(self._random.sample(indices, most))
        return [(index, streamers[index]) for index in indices]

    def _read(self, node: Node, most: int) -> list[tuple[int, Streamer]]:
        """Return the first streamers of a chain that is read lazily."""
        reader = node.streamer.reader
        n_most = max(1, most // _LAZILY)
        node.once, node.once_value = _why_once(reader)
        node.is_cut = True
        if node.once:
            return []
        found: list[tuple[int, Streamer]] = []
        try:
            with reader.iterate(n_most) as stream:
                has_ended = self._take(stream, found)
        except Exception:
            node.has_failed = True
            return found
        node.is_cut = not has_ended or len(found) == n_most
        return found

    def _take(self, stream: Iterable, found: list[tuple[int, Streamer]]) -> bool:
        """Add the streamers to those that were found; tell whether there was time for all."""
        for index, each in enumerate(stream):
            found.append((index, each if is_streamer(each) else Streamer(each)))
            if not self._clock.left:
                self._clock.cut()
                return False
        return True


def _why_once(streamer: Any) -> tuple[str, Any]:
    """Return why reading a streamer would use something up, and what; "" if it would not."""
    if isinstance(streamer, BaseMux):
        return "", None
    if streamer._ticket is not None:
        return f"it reads {_repr.named(streamer.streamer)}", streamer.streamer
    for each in _values_of((*streamer.args, *streamer.kwargs.values(), streamer.streamer)):
        if isinstance(each, Iterator):
            return f"one of its arguments is {_repr.named(each)}", each
    return "", None


def _values_of(values: Any) -> Iterator[Any]:
    """Yield some values, those inside a partial too."""
    for each in values:
        yield each
        if isinstance(each, functools.partial):
            yield from _values_of((*each.args, *each.keywords.values()))


def sources_of(root: Node) -> list[Node]:
    """Return the sources of a tree that may be read."""
    return [each for each in root.walk() if each.kind == SOURCE and not each.once]


# What a node is to those above it.


def may_open_again(mux: Any) -> bool:
    """Tell whether a mux may open a streamer more than once in a run."""
    if isinstance(mux, StochasticMux):
        return mux.mode != "exhaustive"
    if isinstance(mux, RoundRobinMux):
        return mux.mode in ("cycle", "permuted_cycle")
    return mux.mode == "cycle" if isinstance(mux, ChainMux) else True


def opened_again(node: Node) -> bool:
    """Tell whether a run of the tree may open a node more than once."""
    return any(each.kind == MUX and may_open_again(each.streamer) for each in node.all_above())


def limit_of(node: Node) -> float | None:
    """Return how many items an activation of a node may give, on average; None for all."""
    limit: float | None = None
    n_each: float | None = 1.0  # items of this node for each item of the one that is looked at
    for above in node.all_above():
        if above.kind in (MAP, OPAQUE):
            n_below = _n_read(above)
            n_each = None if n_each is None or n_below is None else n_each * n_below
        rate = getattr(above.streamer, "rate", None) if above.kind == MUX else None
        if rate is not None and n_each is not None:
            limit = min(rate * n_each, limit or rate * n_each)
    return limit


def _n_read(node: Node) -> float | None:
    """Return how many items a map reads for one that it gives, if that is known."""
    function = function_of(node.streamer)
    if hasattr(function, ONE_TO_ONE):
        return 1.0
    return float(bound_arguments(node.streamer)["buffer_size"]) if _joins(node) else None


def _joins(node: Node) -> bool:
    """Tell whether a node is a `buffer_stream`."""
    is_it = function_of(node.streamer) is getattr(maps.buffer_stream, GENERATOR)
    return node.kind == MAP and is_it


def axis_of(node: Node) -> int | None:
    """Return the axis along which a node joins the items that it reads; None if it does not."""
    axis = bound_arguments(node.streamer)["axis"] if _joins(node) else None
    return axis if isinstance(axis, int) else None


def function_of(streamer: Any) -> Any:
    """Return the function that a streamer calls, without what is wrapped around it."""
    function = streamer.streamer
    for _ in range(_DEEPEST_WRAPPING):  # a wrapper may name itself
        if hasattr(function, FOLLOWS):
            break
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, GENERATOR):
            function = getattr(function, GENERATOR)
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            break
    return function


def bound_arguments(streamer: Any) -> dict[str, Any]:
    """Return the arguments of a streamer's call by the names of their parameters."""
    call, args, kwargs = streamer.streamer, streamer.args, streamer.kwargs
    while isinstance(call, functools.partial):
        args, kwargs = (*call.args, *args), {**call.keywords, **kwargs}
        call = call.func
    try:
        bound = inspect.signature(call).bind(*args, **kwargs)
    except (TypeError, ValueError):  # written in C
        return dict(kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)
