"""Maps: iterators over the items of another iterator.

A map takes any iterable, and checks its arguments when it is called. It returns an iterator that
can be closed and shared among threads. If the map has started the iterable (a streamer, say), it
closes it at its own end.
"""

from __future__ import annotations

import copy as copying
import functools
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from time import monotonic
from typing import Any

import numpy as np

from . import _repr, _validate
from ._batch import Batch
from ._callables import FOLLOWS, GENERATOR, ONE_TO_ONE, SEEDED, callable_for, is_iterable
from ._copying import NO_ITEM, PLAIN
from ._streaming.binding import is_marked, mark
from ._streaming.closable import ClosableIterator, close_iterator
from ._streaming.failures import add_note
from ._streaming.seeds import Seed
from ._streaming.session import Session
from ._values import not_a_mapping
from ._warning import warn

# Where programs of 2.x and 3.0 find these.
from .exceptions import DataError as DataError
from .exceptions import PescadorError as PescadorError
from .util import get_rng as get_rng

__all__ = ["buffer_stream", "cache", "keras_tuples", "tuples"]


def _map(check: Callable[..., tuple]) -> Callable[[Callable], Callable]:
    """Make a generator function a map: ``check`` gets its arguments and returns checked ones."""

    def decorate(function: Callable[..., Generator]) -> Callable[..., ClosableIterator]:
        check.__qualname__ = function.__qualname__  # for Python's own errors about arguments

        @functools.wraps(function)
        def start(*args: Any, **kwargs: Any) -> ClosableIterator:
            return ClosableIterator(generator(*args, **kwargs))

        @functools.wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Generator:
            return function(*check(*args, **kwargs))

        setattr(start, GENERATOR, generator)
        return start

    return decorate


def _iterable(stream: Any) -> Iterable:
    """Return ``stream``, if it can be a stream of items."""
    if isinstance(stream, (str, bytes, Mapping)) or not is_iterable(stream):
        remedy = "give a streamer, a generator, a list or the like"
        if callable_for(stream) is not None:
            name = _repr.named(stream)
            remedy = f"call it first, or make a streamer of it: Streamer({name}, ...)"
        raise _validate.refuse("stream", stream, "must be an iterable of items", remedy)
    _validate.ordered("stream", stream)
    return stream


class _reading:  # noqa: N801 - used like a function
    """Read a stream; close the iterator at the end, if it is not the caller's own.

    (A class, since a generator-based context manager keeps what it has read alive in a cycle of
    references when it is left by an exception, before Python 3.11.)
    """

    def __init__(self, stream: Iterable) -> None:
        self._stream = stream

    def __enter__(self) -> Iterator:
        self._iterator = iter(self._stream)
        self._is_marked = is_marked(self._iterator)
        # A streamer that is resumed here goes on where it stood.
        self.n_before: int = getattr(self._iterator, "n_given", 0)
        return iter(self._iterator)

    def mark(self, n_given: int) -> None:
        """Keep where the stream stands, now and then, after so many items of the map."""
        if self._is_marked:
            mark(self._iterator, n_given)

    def __exit__(self, *exc: object) -> None:
        iterator, stream = self._iterator, self._stream
        del self._iterator, self._stream
        if iterator is not stream:
            close_iterator(iterator)


def _check_buffer_stream(
    stream: Any, buffer_size: Any, partial: Any = False, axis: Any = None
) -> tuple:
    remedy = "give the number of items in a batch"
    size = _validate.whole("buffer_size", buffer_size, 1, remedy)
    partial = _validate.truth("partial", partial, "give True to get the last, smaller batch too")
    if axis is not None:
        axis = _validate.whole("axis", axis, -_MOST_AXES, "give an axis of the arrays, or None")
    return _iterable(stream), size, partial, axis


_MOST_AXES = 64  # of an array, in NumPy


@_map(_check_buffer_stream)
def buffer_stream(
    stream: Iterable[Mapping],
    buffer_size: int,
    partial: bool = False,
    axis: int | None = None,
) -> Iterator[dict]:
    """Gather items into batches.

    Parameters
    ----------
    stream : iterable of dict
        Items with the same keys. A value is an array, a scalar or a string. Values of one key have
        the same shape (except along ``axis``). Their dtypes are promoted as in NumPy.
    buffer_size : int >= 1
        The number of items in a batch.
    partial : bool
        Whether to yield the smaller batch that may remain at the end.
    axis : int, optional
        None stacks the values along a new first axis. A number concatenates them along that axis.

    Yields
    ------
    dict
        For each key an array of shape (buffer_size, ...), or the concatenation. Batches share no
        memory with the items, so a source may reuse its buffers.

    Raises
    ------
    PescadorError
        At once, if an argument is wrong.
    DataError
        If an item is not a mapping, lacks a key, has an additional key, or does not fit the others.
        The error names the position of the item (from 0) and the key.

    Notes
    -----
    An item costs one copy of its values, and about half a microsecond.

    Examples
    --------
    >>> import pescador
    >>> items = ({"X": [i, i + 1], "Y": i % 2} for i in range(4))
    >>> for batch in pescador.buffer_stream(items, 2):
    ...     print(batch["X"].tolist(), batch["Y"].tolist())
    [[0, 1], [1, 2]] [0, 1]
    [[2, 3], [3, 4]] [0, 1]
    """
    yield from batches(stream, buffer_size, partial, axis, _warn_of_no_batch)


def batches(
    stream: Iterable[Mapping],
    size: int,
    partial: bool,
    axis: int | None,
    warn_of_no_batch: Callable[[int, int], None],
) -> Generator:
    """Do the work of `buffer_stream`; call a function if a few items are all, and lost."""
    reading = _reading(stream)
    with reading as items:
        batch = Batch(size, axis, reading.n_before)
        n_batches = reading.n_before // size
        while True:
            batch.fill(items)
            n_items = batch.n_items
            if n_items == size or (partial and n_items):
                yield batch.result()
                n_batches += 1
                if n_items == size:
                    reading.mark(n_batches)
            elif n_items and not batch.position:
                warn_of_no_batch(n_items, size)
            if n_items < size:
                return


def _warn_of_no_batch(n_items: int, size: int) -> None:
    few = f": the stream has {_repr.of_items(n_items)}, fewer than buffer_size={size}"
    rest = f"{few}; give partial=True to get them as one smaller batch"
    warn("buffer_stream gave no batch", rest)


def _check_tuples(stream: Any, *keys: Any) -> tuple:
    if not keys:
        rule, remedy = "there must be at least one key", "give the keys in the order of the tuples"
        raise _validate.refuse("keys", keys, rule, remedy)
    for index, key in enumerate(keys):
        if not isinstance(key, Hashable):
            remedy = 'give the keys one by one: tuples(stream, "X", "Y")'
            raise _validate.refuse(f"keys[{index}]", key, "cannot be a key: it has no hash", remedy)
    return (_iterable(stream), *keys)


@_map(_check_tuples)
def tuples(stream: Iterable[Mapping], *keys: Any) -> Iterator[tuple]:
    """Turn dicts into tuples.

    Parameters
    ----------
    stream : iterable of dict
        Items, or batches.
    *keys
        At least one key.

    Yields
    ------
    tuple
        The values of ``keys``, in their order.

    Raises
    ------
    PescadorError
        At once, if there are no keys.
    KeyError
        For an item that lacks a key; a note names the item's position (from 0).
    DataError
        For an item that is not a mapping; it names the item's position.

    Examples
    --------
    >>> import pescador
    >>> list(pescador.tuples([{"X": 1, "Y": 2}], "Y", "X"))
    [(2, 1)]
    """
    (key, *others) = keys
    yield from _got(stream, itemgetter(*keys) if others else lambda item: (item[key],))


def _got(stream: Iterable[Mapping], get: Callable[[Any], Any]) -> Generator:
    """Yield what ``get`` gives for each item, each of which must be a mapping."""
    reading = _reading(stream)
    with reading as items:
        numbered = enumerate(items)
        n_read, n_more = 0, 1
        while True:
            began = monotonic()
            position = -1
            for position, item in islice(numbered, n_more):
                if type(item) is not dict and not isinstance(item, Mapping):
                    raise not_a_mapping(item, position)
                try:
                    got = get(item)
                except KeyError as error:
                    keys = _validate.short(list(item))
                    add_note(error, f"item {position} of the stream has only the keys {keys}")
                    raise
                yield got
            n_read += n_more
            if position + 1 < n_read:
                return
            reading.mark(reading.n_before + n_read)
            n_more = min(2 * n_more, _MOST_UNMARKED) if monotonic() - began < _MARK_SOON else 1


def _check_keras_tuples(
    stream: Any, inputs: Any = None, outputs: Any = None, weights: Any = None
) -> tuple:
    if inputs is None and outputs is None:
        rule, remedy = "inputs and outputs must not both be None", "give the keys of one of them"
        raise _validate.refuse("inputs", inputs, rule, remedy)
    for name, keys in (("inputs", inputs), ("outputs", outputs), ("weights", weights)):
        if keys is None or isinstance(keys, str):
            continue
        is_sequence = isinstance(keys, Sequence) and not isinstance(keys, bytes)
        if not is_sequence or not all(isinstance(key, str) for key in keys):
            rule = "must be a string or a sequence of strings"
            raise _validate.refuse(name, keys, rule, "give keys of the batches")
    return _iterable(stream), inputs, outputs, weights


@_map(_check_keras_tuples)
def keras_tuples(
    stream: Iterable[Mapping],
    inputs: str | Sequence[str] | None = None,
    outputs: str | Sequence[str] | None = None,
    weights: str | Sequence[str] | None = None,
) -> Iterator[tuple]:
    """Turn batches into the tuples that Keras takes: ``(x, y)``, or ``(x, y, sample_weight)``.

    Parameters
    ----------
    stream : iterable of dict
        Batches: dicts of arrays.
    inputs, outputs : str or sequence of str, optional
        The keys of x and y. A string gives an array, a sequence of strings a list of arrays,
        None gives None. One of the two must be given.
    weights : str or sequence of str, optional
        The keys of the sample weights, in the same way. None: tuples have two members.

    Yields
    ------
    tuple
        What `keras.Model.fit` takes.

    Raises
    ------
    PescadorError
        At once, if an argument is wrong.
    KeyError
        For a batch that lacks a key.
    DataError
        For a batch that is not a mapping; it names its position (from 0).

    Examples
    --------
    >>> import pescador
    >>> list(pescador.keras_tuples([{"X": 1, "Y": 2}], inputs="X", outputs="Y"))
    [(1, 2)]
    >>> list(pescador.keras_tuples([{"X": 1, "Y": 2}], inputs=["X", "Y"]))
    [([1, 2], None)]
    """
    members = [inputs, outputs] if weights is None else [inputs, outputs, weights]
    if all(isinstance(keys, str) for keys in members):
        yield from _got(stream, itemgetter(*members))
    else:
        getters = [_getter(keys) for keys in members]
        yield from _got(stream, lambda batch: tuple([get(batch) for get in getters]))


def _getter(keys: str | Sequence[str] | None) -> Callable[[Mapping], Any]:
    """Return what picks the value of a key, or a list of those of several, out of a batch."""
    if keys is None:
        return lambda batch: None
    if isinstance(keys, str):
        return itemgetter(keys)
    if len(keys) < 2:
        return lambda batch: [batch[key] for key in keys]
    get = itemgetter(*keys)
    return lambda batch: list(get(batch))


def _check_cache(stream: Any, n_cache: Any, prob: Any = 0.5, random_state: Any = None) -> tuple:
    n_cache = _validate.whole("n_cache", n_cache, 1, "give the number of items to keep")
    prob = _validate.probability("prob", prob, "give how likely a new item is")
    return _iterable(stream), n_cache, prob, _validate.random_state(random_state)


@_map(_check_cache)
def cache(stream: Iterable, n_cache: int, prob: float = 0.5, random_state: Any = None) -> Iterator:
    """Reuse items: mix new ones with a random selection of past ones.

    The first ``n_cache`` items pass through and fill the cache. Then, with probability ``prob``,
    an item is a new one, and replaces a random cached item. Otherwise it is a random cached item.

    Parameters
    ----------
    stream : iterable
        Items of any kind that ``copy.deepcopy`` can copy.
    n_cache : int >= 1
        The number of items to keep.
    prob : float, 0 < prob <= 1
        The probability of a new item.
    random_state : None, int >= 0, RandomState, Generator or SeedSequence
        Where the seed comes from, once, at the first item.

    Yields
    ------
    object
        Items. An item from the cache is a copy: you can change it.

    Raises
    ------
    PescadorError
        At once, if an argument is wrong.

    Examples
    --------
    >>> import pescador
    >>> list(pescador.cache(range(10), 3, prob=1.0)) == list(range(10))
    True
    """
    yield from _cached(Seed.root(Session()), stream, n_cache, prob, random_state)


def _cached(
    seed: Seed, stream: Iterable, n_cache: int, prob: float, random_state: Any
) -> Generator:
    """Do the work of `cache`, as part of a run that has a seed."""
    rng = seed.owned_by(random_state).rng(b"cache")
    with _reading(stream) as items:
        cached = []
        for item in islice(items, n_cache):
            cached.append(_copy(item))
            yield item
        if len(cached) < n_cache:
            return
        while True:
            for is_new, draw in zip(*rng.random_sample((2, _DRAWS)).tolist()):
                index = int(draw * len(cached))
                if is_new >= prob:
                    yield _copy(cached[index])
                    continue
                item = next(items, NO_ITEM)
                if item is NO_ITEM:
                    return
                cached[index] = _copy(item)
                yield item


def _cache_in_run(seed: Seed, *args: Any, **kwargs: Any) -> Generator:
    return _cached(seed, *_check_cache(*args, **kwargs))


setattr(getattr(cache, GENERATOR), SEEDED, _cache_in_run)
for _each in (buffer_stream, tuples, keras_tuples):
    setattr(getattr(_each, GENERATOR), FOLLOWS, True)
for _each in (tuples, keras_tuples):
    setattr(getattr(_each, GENERATOR), ONE_TO_ONE, True)

_DRAWS = 256
_MOST_UNMARKED = 256  # items, after which a map looks at the clock
_MARK_SOON = 0.25  # seconds; it looks more often, if these took longer


def _copy(item: Any) -> Any:
    """Return a copy of an item; of arrays and scalars in a dict without deepcopy's detours."""
    if type(item) is not dict or not all(map(_is_simple, item.values())):
        return copying.deepcopy(item)
    return {
        key: value.copy(order="K") if type(value) is np.ndarray else value
        for key, value in item.items()
    }


def _is_simple(value: Any) -> bool:
    """Tell whether a value is an array without objects, or a scalar that nothing can change."""
    kind = type(value)
    if kind is np.ndarray:
        return not value.dtype.hasobject
    return kind in PLAIN or (issubclass(kind, (np.number, np.bool_)) and kind.__module__ == "numpy")
