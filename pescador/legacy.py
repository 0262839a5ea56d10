"""The interface of pescador 0.1, and what was left of it in 1.x.

A 0.1 or 1.x script runs with ``import pescador.legacy as pescador`` as its only change. New code
should use `pescador` itself: ``docs/migration.md`` says what to type instead. Nothing that is
defined here gives a DeprecationWarning, because whoever imports this module knows what it is.

``mux`` and ``zmq_stream`` were modules in 1.x, and are functions here: the classes of these modules
are their attributes (``pescador.mux.Mux``). ``core`` has the streamer of this module. ``util`` has
the functions of `pescador.util`, and those that it had in 0.1.
"""

from __future__ import annotations

import functools
import inspect
import re
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import (
    _validate,
    _values,
    checking,
    exceptions,
    maps,
    monitor,
    parallel,
    sharding,
    version,
)
from . import core as current
from . import mux as muxes
from . import util as helpers
from . import zmq_stream as processes
from ._callables import GENERATOR, is_iterable
from ._learner import StreamLearner
from ._repr import counted
from ._streaming import positions
from ._streaming.closable import read
from ._streaming.seeds import Seed
from ._warning import warn
from .checking import check
from .core import FRESH_SEED, Stream, streamable
from .exceptions import DataError, PescadorError, WorkerError
from .maps import buffer_stream, cache, keras_tuples, tuples
from .monitor import Monitor, Report
from .mux import BaseMux, ChainMux, RoundRobinMux, ShuffledMux, StochasticMux
from .parallel import ParallelStreamer
from .sharding import shard
from .util import batch_length

__all__ = [
    "FRESH_SEED",
    "BaseMux",
    "BufferedStreamer",
    "ChainMux",
    "DataError",
    "Monitor",
    "Mux",
    "ParallelStreamer",
    "PescadorError",
    "Report",
    "RoundRobinMux",
    "ShuffledMux",
    "StochasticMux",
    "Stream",
    "StreamLearner",
    "Streamer",
    "WorkerError",
    "ZMQStreamer",
    "__version__",
    "batch_length",
    "buffer_batch",
    "buffer_stream",
    "buffer_streamer",
    "buffered",
    "cache",
    "check",
    "checking",
    "core",
    "exceptions",
    "keras_tuples",
    "maps",
    "monitor",
    "mux",
    "parallel",
    "shard",
    "sharding",
    "streamable",
    "tuples",
    "util",
    "version",
    "zmq_stream",
]


class Streamer(current.Streamer):  # numpydoc ignore=PR02
    """A streamer that also has the methods and keywords of 0.1 and 1.x.

    Parameters
    ----------
    streamer : iterable, generator function, callable or class
        As for `pescador.Streamer`.
    *args, **kwargs
        What to call it with.

    Raises
    ------
    PescadorError
        As for `pescador.Streamer`.

    Examples
    --------
    >>> import pescador.legacy as pescador
    >>> streamer = pescador.Streamer(range, 5)
    >>> list(streamer.generate(max_batches=3))
    [0, 1, 2]
    """

    def iterate(  # type: ignore[override]
        self,
        max_iter: int | None = None,
        max_batches: int | None = None,
        max_items: int | None = None,
    ) -> Stream:
        """Start a fresh run.

        Parameters
        ----------
        max_iter : int >= 0, optional
            The largest number of batches; None for all.
        max_batches, max_items : int >= 0, optional
            The same, by its older names.

        Returns
        -------
        Stream
            An iterator over the batches.
        """
        return super().iterate(
            _limit(max_iter=max_iter, max_batches=max_batches, max_items=max_items)
        )

    # It differs in its keywords only.
    _iterate_of_the_house = iterate  # type: ignore[assignment]

    def generate(  # type: ignore[override]
        self,
        max_batches: int | None = None,
        max_iter: int | None = None,
        max_items: int | None = None,
    ) -> Stream:
        """Start a fresh run; the older name of `iterate`.

        Parameters
        ----------
        max_batches : int >= 0, optional
            The largest number of batches; None for all.
        max_iter, max_items : int >= 0, optional
            The same, by its later names.

        Returns
        -------
        Stream
            An iterator over the batches.
        """
        return self.iterate(_limit(max_batches=max_batches, max_iter=max_iter, max_items=max_items))

    def cycle(  # type: ignore[override]
        self,
        max_batches: int | None = None,
        max_iter: int | None = None,
        max_items: int | None = None,
    ) -> Stream:
        """Start a fresh run that begins again whenever the batches end.

        Parameters
        ----------
        max_batches : int >= 0, optional
            The largest number of batches; None for no limit.
        max_iter, max_items : int >= 0, optional
            The same, by its later names.

        Returns
        -------
        Stream
            An iterator over the batches.
        """
        return super().cycle(
            _limit(max_batches=max_batches, max_iter=max_iter, max_items=max_items)
        )

    def __call__(  # type: ignore[override]
        self,
        max_batches: int | None = None,
        cycle: bool = False,
        max_iter: int | None = None,
        max_items: int | None = None,
    ) -> Stream:
        """Start a fresh run: `cycle` if ``cycle`` is true, `generate` otherwise.

        Parameters
        ----------
        max_batches : int >= 0, optional
            The largest number of batches; None for no limit.
        cycle : bool
            Whether to begin again whenever the batches end.
        max_iter, max_items : int >= 0, optional
            The same as ``max_batches``, by its later names.

        Returns
        -------
        Stream
            An iterator over the batches.
        """
        limit = _limit(max_batches=max_batches, max_iter=max_iter, max_items=max_items)
        return super().__call__(limit, cycle)

    def tuples(
        self,
        *keys: Any,
        cycle: bool = False,
        max_batches: int | None = None,
        max_iter: int | None = None,
        max_items: int | None = None,
    ) -> Iterator[tuple]:
        """Start a fresh run that gives tuples in place of dicts; now `pescador.tuples`.

        Parameters
        ----------
        *keys
            At least one key of the batches.
        cycle : bool
            Whether to begin again whenever the batches end.
        max_batches : int >= 0, optional
            The largest number of tuples; None for no limit.
        max_iter, max_items : int >= 0, optional
            The same, by its later names.

        Yields
        ------
        tuple
            The values of ``keys``, in their order.

        Examples
        --------
        >>> import pescador.legacy as pescador
        >>> streamer = pescador.Streamer([{"X": 1, "Y": 2}])
        >>> list(streamer.tuples("Y", "X", cycle=True, max_batches=2))
        [(2, 1), (2, 1)]
        """
        limit = _limit(max_batches=max_batches, max_iter=max_iter, max_items=max_items)
        return maps.tuples(self(limit, cycle), *keys)


def _limit(**limits: int | None) -> int | None:
    """Return the limit that was given, by whichever of its names."""
    given = [name for name, value in limits.items() if value is not None]
    if len(given) > 1:
        rule = f"is the same as {given[0]}"
        raise _validate.refuse(given[1], limits[given[1]], rule, "give only one of them")
    if not given:
        return None
    return _validate.whole_or_none(given[0], limits[given[0]], 0, _LIMIT)


_LIMIT = "give a number of batches, or None for no limit"


# The functions that gave generators. Each is written as one that makes a streamer.


def _as_generator(recipe: Callable[..., current.Streamer]) -> Callable[..., Generator]:
    """Make a function that returns a streamer return a generator over one run of it.

    A Streamer of that function opens what ``recipe`` returns, so that the run gets its seed from
    the run around it, and can be resumed with it.
    """

    @functools.wraps(recipe)
    def start(*args: Any, **kwargs: Any) -> Generator:
        return _named(read(recipe(*args, **kwargs)), recipe)

    signature = inspect.signature(recipe).replace(return_annotation="Generator")
    setattr(start, "__signature__", signature)  # noqa: B010 - a function has no such attribute
    setattr(start, GENERATOR, recipe)
    return start


def _named(generator: Any, function: Callable) -> Generator:
    """Give a generator the name of the function that was called for it."""
    generator.__name__, generator.__qualname__ = function.__name__, function.__qualname__
    return generator


@_as_generator
def mux(
    seed_pool: Iterable,
    n_samples: int | None,
    k: int,
    lam: float | None = 256.0,
    pool_weights: Any = None,
    with_replacement: bool = True,
    prune_empty_seeds: bool = True,
    revive: bool = False,
) -> current.Streamer:
    """Mix the batches of streamers; now `pescador.StochasticMux`.

    ``k`` streams are open at a time. Each batch comes from one of them, drawn at random by
    weight; a stream that ends, or has given as many batches as it was allowed, is replaced by
    one of another seed, chosen uniformly.

    Parameters
    ----------
    seed_pool : iterable
        What to mix: streamers, iterables, and iterators that can be read only once (see Notes).
    n_samples : int >= 0 or None
        The largest number of batches; None for no limit.
    k : int >= 1
        The number of streams that are open at a time.
    lam : float >= 0 or None
        A stream gives at most 1 + Poisson(lam) batches; None for no limit.
    pool_weights : array_like of float, shape (n_seeds,), optional
        How likely each seed's stream is to be drawn from, relative to the others that are open.
        A seed of weight 0 is never opened.
    with_replacement : bool
        If true, any seed may be opened at any time, even twice at once. If false, each is
        opened once, and the mux ends when all have ended.
    prune_empty_seeds : bool
        If true, a seed that gave nothing is not opened again. If false it may be; when every
        candidate in turn gave nothing, the mux ends.
    revive : bool
        Without replacement: open each seed at most once at any time, but again later on.

    Yields
    ------
    object
        The batches, as they are.

    Raises
    ------
    PescadorError
        At once, if an argument is wrong, the pool is empty (a RuntimeError too, as in 0.1), or a
        generator in it has been used up already.

    Notes
    -----
    Each call is one run, which takes its seed from NumPy's global generator when its first batch
    is asked for: ``np.random.seed`` fixes it.

    The pool may have iterators that can be read only once (a generator, such as another
    ``mux(...)``; or a streamer of one). Such a seed goes on where it stood whenever it is opened
    again, so no batch is lost or repeated. Once the iterator has ended, the seed gives nothing.
    The mux does not close the iterator, and it cannot be resumed.

    Examples
    --------
    >>> import pescador.legacy as pescador
    >>> pool = [pescador.Streamer(range, 10 * i, 10 * i + 10) for i in range(4)]
    >>> len(list(pescador.mux(pool, 1000, 2, lam=16)))
    1000
    >>> sorted(pescador.mux(pool, None, 2, lam=None, with_replacement=False)) == list(range(40))
    True
    """
    pool = _list_of(seed_pool)
    remedy = "give True or False"
    with_replacement = _validate.truth("with_replacement", with_replacement, remedy)
    without = "single_active" if _validate.truth("revive", revive, remedy) else "exhaustive"
    if lam is not None:
        lam = _validate.not_negative("lam", lam, "give a mean number, or None for no limit")
    prunes = _validate.truth("prune_empty_seeds", prune_empty_seeds, remedy)
    n_active = _validate.whole("k", k, 1, "give the number of streams to keep open")
    n_samples = _validate.whole_or_none("n_samples", n_samples, 0, _LIMIT)
    weights = _validate.weights(pool_weights, len(pool), "pool_weights")
    mixed = muxes.StochasticMux(
        [_seed_of(each, index) for index, each in enumerate(pool)],
        n_active,
        None if lam is None else 1 + lam,
        weights,
        "with_replacement" if with_replacement else without,
        prunes,
        weighting="active",  # the only one that 0.1 had
    )
    return current.Streamer(mixed, max_iter=n_samples)


def buffer_batch(generator: Iterable[Mapping], buffer_size: int) -> Generator:
    """Cut batches anew, so that all have the same number of rows; now `pescador.buffer_stream`.

    Parameters
    ----------
    generator : iterable of dict
        Batches: dicts of arrays of equal length, with the same keys. A batch without rows
        is left out.
    buffer_size : int >= 1
        The number of rows of the new batches.

    Yields
    ------
    dict
        A batch of ``buffer_size`` rows; the last one may have fewer. All rows, in their order,
        in arrays that share memory with nothing.

    Raises
    ------
    PescadorError
        At once, if an argument is wrong.
    DataError
        For a batch that is malformed; where one row does not fit the others, it names the
        number of the row (from 0). It is a RuntimeError too if fields differ in length.

    Notes
    -----
    A row costs about a microsecond and one copy of its values.

    Examples
    --------
    >>> import numpy as np
    >>> import pescador.legacy as pescador
    >>> batches = [{"X": np.arange(3)}, {"X": np.arange(3, 5)}]
    >>> [batch["X"].tolist() for batch in pescador.buffer_batch(batches, 2)]
    [[0, 1], [2, 3], [4]]
    """
    size = _size(buffer_size)
    if isinstance(generator, (str, bytes, Mapping)) or not is_iterable(generator):
        remedy = "give a generator, a list, or a streamer"
        raise _validate.refuse("generator", generator, "must be an iterable of batches", remedy)
    return _named(_recut(generator, size, True), buffer_batch)


setattr(buffer_batch, GENERATOR, buffer_batch)  # so that a Streamer takes it


@_as_generator
def buffer_streamer(streamer: Any, buffer_size: int, *args: Any, **kwargs: Any) -> current.Streamer:
    """Do what `buffer_batch` does with the batches of a streamer.

    Parameters
    ----------
    streamer : Streamer or iterable
        What gives the batches.
    buffer_size : int >= 1
        The number of rows of the new batches.
    *args, **kwargs
        What to call ``streamer.generate`` with.

    Yields
    ------
    dict
        A batch of ``buffer_size`` rows; the last one may have fewer.

    Raises
    ------
    PescadorError
        At once, if ``streamer`` or ``buffer_size`` is wrong; when the first batch is asked for, if
        a value in ``args`` or ``kwargs`` is.

    Examples
    --------
    >>> import numpy as np
    >>> import pescador.legacy as pescador
    >>> streamer = pescador.Streamer([{"X": np.arange(3)}, {"X": np.arange(3, 6)}])
    >>> [batch["X"].tolist() for batch in pescador.buffer_streamer(streamer, 4)]
    [[0, 1, 2, 3], [4, 5]]
    """
    source = _streamer_of(streamer)
    if type(source).generate is current.Streamer.generate:
        source = Streamer(source)  # which takes the older keywords, and no others
    limited = current.Streamer(source.generate, *args, **kwargs)
    return current.Streamer(buffer_batch, limited, _size(buffer_size))


@_as_generator
def zmq_stream(
    streamer: Any,
    max_batches: int | None = None,
    min_port: int = 49152,
    max_port: int = 65535,
    max_tries: int = 100,
    copy: bool = False,
    timeout: float | None = None,
) -> current.Streamer:
    """Make the batches of a streamer in a background process; now `pescador.ZMQStreamer`.

    Parameters
    ----------
    streamer : Streamer or iterable
        What gives the batches: dicts of arrays.
    max_batches : int >= 0, optional
        The largest number of batches; None for all. The process makes no more than that.
    min_port, max_port, max_tries : int
        As for `pescador.ZMQStreamer`.
    copy : bool
        As for `pescador.ZMQStreamer`.
    timeout : float > 0 or None
        How many seconds the process has to end once the generator is closed; then it is killed.
        None to wait for as long as it takes.

    Yields
    ------
    dict
        The batches.

    Raises
    ------
    PescadorError
        At once, if an argument is wrong.

    Notes
    -----
    The process starts when the first batch is asked for, and ends when the generator ends, is
    closed, or is no longer referenced.

    Examples
    --------
    >>> import numpy as np
    >>> import pescador.legacy as pescador
    >>> streamer = pescador.Streamer([{"X": np.arange(3)}, {"X": np.arange(3, 6)}])
    >>> [batch["X"].tolist() for batch in pescador.zmq_stream(streamer, max_batches=1)]
    [[0, 1, 2]]
    """
    max_batches = _validate.whole_or_none("max_batches", max_batches, 0, _LIMIT)
    limited = current.Streamer(_streamer_of(streamer).generate, max_batches)
    return processes.ZMQStreamer(limited, min_port, max_port, max_tries, copy, timeout)


def _size(buffer_size: Any) -> int:
    return _validate.whole("buffer_size", buffer_size, 1, "give the number of rows in a batch")


def _streamer_of(value: Any) -> current.Streamer:
    return value if isinstance(value, current.Streamer) else Streamer(value)


def _generating(streamer: current.Streamer) -> current.Streamer:
    """Return a streamer that calls ``generate``, the only method that 0.1 called, if it has to."""
    if type(streamer).generate in (current.Streamer.generate, Streamer.generate):
        return streamer
    return current.Streamer(streamer.generate)


# The members of a mux.


class EmptyPoolError(PescadorError, RuntimeError):
    """There is nothing to mix (a RuntimeError as well, as in 0.1)."""


def _list_of(seed_pool: Any) -> list:
    remedy = "give a list of streamers"
    if isinstance(seed_pool, (str, bytes, Mapping)) or not is_iterable(seed_pool):
        raise _validate.refuse("seed_pool", seed_pool, "is not a collection of streamers", remedy)
    _validate.ordered("seed_pool", seed_pool)
    pool = list(seed_pool)
    if not pool:
        rule = "there is nothing to mix"
        raise EmptyPoolError(_validate.explain("seed_pool", seed_pool, rule, remedy))
    return pool


def _seed_of(value: Any, index: int) -> current.Streamer:
    """Return a streamer that may be opened again and again."""
    _validate.ordered(f"seed_pool[{index}]", value)
    try:
        seed = value if isinstance(value, current.Streamer) else current.Streamer(value)
    except PescadorError as error:
        rule, remedy = "is not a streamer", "give streamers, or iterables to be made into them"
        raise _validate.refuse(f"seed_pool[{index}]", value, rule, remedy) from error
    if seed._ticket is not None:
        seed._use_ticket()
        return current.Streamer(_Remainder(seed.streamer))
    return _generating(seed)


class _Remainder:
    """What is left of an iterator: every reader goes on where the last one stopped."""

    def __init__(self, iterator: Iterator) -> None:
        self._iterator = iterator

    def __iter__(self) -> Generator:
        items = read(self._iterator)
        positions.records[items] = self
        return items

    def reads(self) -> list:
        """Return nothing that a mux reads."""
        return []

    def position(self, n_given: int) -> Any:
        """Refuse: how often it was read before, and how far, is known to nobody."""
        rule = "can be read only once, so a state of the stream could not be resumed"
        remedy = "give the generator function and its arguments to a Streamer"
        raise _validate.refuse("seed_pool", self._iterator, rule, remedy)


# Batches cut anew.


def _recut(batches: Iterable, size: int, has_tail: bool) -> Generator:
    with closing(_rows(batches)) as rows:
        try:
            yield from maps.batches(rows, size, has_tail, 0, _warn_of_no_batch)
        except DataError as error:
            frames = traceback.walk_tb(error.__traceback__)
            if not any(frame.f_code is _rows.__code__ for frame, _ in frames):
                # To the buffer, a row is an item.
                text = re.sub(r"\bitem (?=\d+ of the stream)", "row ", str(error), count=1)
                error.args = (text,)
            raise


def _warn_of_no_batch(n_rows: int, size: int) -> None:
    few = f": its streamer has {counted(n_rows, 'row')} in all, fewer than"
    rest = f" buffer_size={size}; give strict_batch_size=False to get one smaller batch"
    warn("BufferedStreamer gave no batch", few + rest)


def _rows(batches: Iterable) -> Generator:
    """Yield the rows of batches, as batches of one row, which share the memory of theirs."""
    with closing(read(batches)) as given:
        for number, batch in enumerate(given):
            try:
                n_rows = batch_length(batch) or 0
                fields = [(key, _array(key, value)) for key, value in batch.items()]
            except DataError as error:
                samples = "or, for single samples: Streamer(buffer_stream, streamer, size)"
                text = f"batch {number} of the stream: {error}, {samples}"
                raise type(error)(text) from error
            for row in range(n_rows):
                yield {key: array[row : row + 1] for key, array in fields}


def _array(key: Any, value: Any) -> np.ndarray:
    cause, rule = None, "a field of a batch must be an array"
    try:
        array = value if isinstance(value, np.ndarray) else _values.array_of(value)
        if array.ndim:
            return array
    except Exception as error:  # of the value's own class, perhaps
        cause, rule = error, f"{rule} ({error})"
    remedy = "give an array of shape (n_rows, ...)"
    raise DataError(_validate.explain(f"batch[{key!r}]", value, rule, remedy)) from cause


# The classes of 1.x.


class BufferedStreamer(Streamer):
    """A streamer of batches that have all the same number of rows; the 1.x class.

    Parameters
    ----------
    streamer : Streamer, iterable, generator function or the like
        What gives the batches: dicts of arrays of equal length.
    buffer_size : int >= 1
        The number of rows of the new batches.
    strict_batch_size : bool
        With True, the rows that do not fill a batch at the end are left out. With False, they
        make a last, smaller batch.

    Raises
    ------
    PescadorError
        If an argument is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> import pescador.legacy as pescador
    >>> source = [{"X": np.arange(3)}, {"X": np.arange(3, 5)}]
    >>> streamer = pescador.BufferedStreamer(source, 2)
    >>> [x.tolist() for x, in streamer.tuples("X")]
    [[0, 1], [2, 3]]
    """

    def __init__(self, streamer: Any, buffer_size: int, strict_batch_size: bool = True) -> None:
        super().__init__(_streamer_of(streamer))
        self.buffer_size = _size(buffer_size)
        remedy = "give False to get the short batch at the end"
        self.strict_batch_size = _validate.truth("strict_batch_size", strict_batch_size, remedy)

    def _open_own(self, parent: Seed, place: int, number: int) -> Iterator:
        has_tail = not self.strict_batch_size
        source = _generating(self.streamer)
        buffered = current.Streamer(_recut, source, self.buffer_size, has_tail)
        return buffered._open_run(parent, place, number)

    def _classified(self) -> tuple[int, Callable]:
        _, call = super()._classified()
        return current.OWN, call

    def _open_at(self, parent: Seed, place: int, number: int, position: Any) -> Iterator:
        if not isinstance(position, int):
            raise positions.misfit(self, "was of another kind when the state was taken")
        return super()._open_at(parent, place, number, position)


class ZMQStreamer(Streamer, processes.ZMQStreamer):  # numpydoc ignore=PR02
    """A `pescador.ZMQStreamer` with the methods and keywords of 1.x.

    Parameters
    ----------
    streamer : Streamer, iterable or generator function
        What gives the batches.
    min_port, max_port, max_tries : int
        As for `pescador.ZMQStreamer`.
    copy : bool
        As for `pescador.ZMQStreamer`.
    timeout : float > 0 or None
        As for `pescador.ZMQStreamer`.
    transport, start_method : str, optional
        As for `pescador.ZMQStreamer`.
    max_bytes : int
        As for `pescador.ZMQStreamer`.
    item_timeout : float > 0, optional
        As for `pescador.ZMQStreamer`.

    Raises
    ------
    PescadorError
        As for `pescador.ZMQStreamer`.

    Examples
    --------
    >>> import pescador.legacy as pescador
    >>> streamer = pescador.ZMQStreamer([{"x": 1}, {"x": 2}, {"x": 3}])
    >>> [int(batch["x"]) for batch in streamer.generate(max_batches=2)]
    [1, 2]
    """

    __init__ = processes.ZMQStreamer.__init__  # (for its signature)


class Mux(Streamer, muxes.Mux):  # numpydoc ignore=PR02
    """The mux of 1.x, which is `pescador.Mux` without its DeprecationWarning.

    Parameters
    ----------
    streamers : iterable
        What to mix.
    k : int >= 1
        The number of streams that are open at a time.
    rate : float > 0 or None
        A stream may give 1 + Poisson(rate) items; None for no limit.
    weights : array_like of float, shape (n_streams,), or callable, optional
        As for `pescador.StochasticMux`.
    with_replacement : bool
        If true, any streamer may be opened at any time.
    prune_empty_streams : bool
        As for `pescador.StochasticMux`.
    revive : bool
        Without replacement: whether a streamer may be opened again once its stream has ended.
    random_state : None, int >= 0, RandomState, Generator or SeedSequence
        Where a run gets its seed, once, when it starts.
    lam, pool_weights, prune_empty_seeds, seed_pool : object
        The older names of ``rate``, ``weights``, ``prune_empty_streams`` and ``streamers``.

    Raises
    ------
    PescadorError
        If an argument is wrong, or ``streamers`` is empty.

    Examples
    --------
    >>> import pescador.legacy as pescador
    >>> mux = pescador.Mux(["ab", "cd"], k=2, lam=None, with_replacement=False)
    >>> sorted(mux.generate())
    ['a', 'b', 'c', 'd']
    """

    def _tell(self, start: str, rest: str) -> None:
        """Say nothing: whoever imports this module knows what it is."""


# What 0.1 and 1.x had in modules that are functions here, or have something else in them.

for _each in (BaseMux, ChainMux, Mux, RoundRobinMux, ShuffledMux, StochasticMux):
    setattr(mux, _each.__name__, _each)
zmq_stream.ZMQStreamer = ZMQStreamer  # type: ignore[attr-defined]

__version__ = version.version
buffered = SimpleNamespace(BufferedStreamer=BufferedStreamer)
core = SimpleNamespace(
    FRESH_SEED=FRESH_SEED, Stream=Stream, Streamer=Streamer, streamable=streamable
)
util = SimpleNamespace(
    **{name: getattr(helpers, name) for name in helpers.__all__},
    buffer_batch=buffer_batch,
    buffer_streamer=buffer_streamer,
    mux=mux,
)
