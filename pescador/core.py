"""Streamers and streams: a recipe for an iterator, and one run of it."""

from __future__ import annotations

import copy
import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from itertools import compress, count, islice
from operator import length_hint
from types import FrameType, GeneratorType
from typing import Any

from decorator import decorate

from . import _validate
from ._callables import GENERATOR, SEEDED, callable_for, check_arguments, is_iterable
from ._failures import Failure, Failures
from ._iterator import ClosableIterator, close_iterator
from ._seeds import GENERATORS, Seed
from .exceptions import PescadorError

__all__ = ["FRESH_SEED", "Stream", "Streamer", "streamable"]

_ACCEPTED = (
    "give an iterable, a generator function (one that uses 'yield'), something that wraps one"
    " (functools.partial, a method, a callable object, a decorator that sets __wrapped__),"
    " or a class whose instances are iterable"
)

# How an activation of a streamer gets its iterator; decided once, at construction.
_CALL, _CALL_KWARGS, _CALL_BOUND, _NESTED, _ITERATE, _ONE_SHOT = range(6)

# What belongs to the runs of a streamer, or follows from the rest: never copied, never pickled.
_NOT_STATE = {"__dict__", "__weakref__", "_blocks", "_call", "_how", "_origin", "_seeds"}
_NOT_STATE |= {"active_count_", "stream_"}


class FreshSeed:
    """The type of `FRESH_SEED`, of which there is one object."""

    _only: FreshSeed | None = None

    def __new__(cls) -> FreshSeed:
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __repr__(self) -> str:
        return "FRESH_SEED"

    def __reduce__(self) -> str:
        return "FRESH_SEED"


#: Given as an argument of a streamer, it stands for a seed that every activation gets anew: an
#: integer from 0 to 2**32 - 1, which follows from the seed of the run and the activation.
FRESH_SEED = FreshSeed()


class Streamer:
    """A recipe for an iterator, which can be started any number of times.

    Starting a streamer gives a `Stream`, one run of it, and never changes the streamer. A
    streamer can be copied, pickled, nested in other streamers, and given to a mux.

    Parameters
    ----------
    streamer : iterable, generator function, callable or class
        What to draw from: any iterable (a list, a Streamer, an object with ``__getitem__`` and
        ``__len__``, ...); a generator function; something that wraps one (a
        ``functools.partial``, a bound method, a callable object, a decorator that sets
        ``__wrapped__``); or a class whose instances are iterable. An iterator that can only be
        read once (a generator object, an open file) is accepted, and can be started once.
    *args, **kwargs
        What to call it with. They are handed over as they are, never copied; but a streamer
        among them is replaced by a copy of itself that takes its seed from the run, and
        `FRESH_SEED` by an integer (see Notes).

    Attributes
    ----------
    streamer : object
        What was given.
    args : tuple
        Its positional arguments.
    kwargs : dict
        Its keyword arguments.
    active_count_ : int
        The number of runs that are open.
    stream_ : Stream or None
        The run of an activated copy (see Notes); None for any other streamer.

    Raises
    ------
    PescadorError
        If ``streamer`` is none of the above, or arguments are given for something that cannot
        be called. A run raises it when a one-shot iterator is started a second time.

    See Also
    --------
    streamable : Make every call of a generator function a Streamer.

    Notes
    -----
    ``with streamer as active`` gives an activated copy: a copy that is one open run
    (``active.stream_``), counted by ``streamer.active`` and closed at the end of the block.

    ``Streamer(noisy, X, random_state=pescador.FRESH_SEED)`` gives every activation a seed of its
    own, from 0 to 2**32 - 1. No two activations by one run of a mux, or passes of one ``cycle()``,
    get the same; others do by chance, once in 2**32 pairs. One seed at the root fixes them all.

    An item costs what the source takes for it plus the cost of a Python frame; an activation
    costs the same whatever the arguments hold.

    Examples
    --------
    >>> import pescador
    >>> def count_up(start, n):
    ...     for value in range(start, start + n):
    ...         yield value
    >>> streamer = pescador.Streamer(count_up, 10, 3)
    >>> list(streamer)
    [10, 11, 12]
    >>> list(streamer.iterate(max_iter=2))
    [10, 11]
    >>> list(streamer.cycle(max_iter=5))
    [10, 11, 12, 10, 11]
    """

    # Slots, because a pool may hold a million of them; __dict__ is only made if it is used.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_blocks",
        "_call",
        "_how",
        "_origin",
        "_seeds",
        "_ticket",
        "active_count_",
        "args",
        "kwargs",
        "stream_",
        "streamer",
    )

    def __init__(self, streamer: Any, *args: Any, **kwargs: Any) -> None:
        self.streamer = streamer
        self.args = args
        self.kwargs = kwargs
        self._prepare()
        # Copies share the ticket, because they share the one pass that it stands for.
        self._ticket: list | None = [] if self._how == _ONE_SHOT else None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        above = next(each for each in cls.__mro__[1:] if issubclass(each, Streamer))
        if "_open_run" in vars(cls):
            cls._open_run_own = cls._open_run
        elif cls.iterate is not above.iterate:
            cls._open_run = _open_by_iterate  # type: ignore[method-assign]

    def _prepare(self) -> None:
        self._how, self._call = _classify(self.streamer, self.args, self.kwargs)
        self._forget_runs()

    def _forget_runs(self) -> None:
        self.active_count_ = 0
        self.stream_: Stream | None = None
        self._origin: Streamer | None = None
        self._seeds: Iterator[Seed] | None = None
        self._blocks: list[tuple[FrameType, Streamer]] | None = None

    def __getstate__(self) -> tuple[dict, dict]:
        names = {name for cls in type(self).__mro__ for name in vars(cls).get("__slots__", ())}
        slots = {
            name: getattr(self, name) for name in sorted(names - _NOT_STATE) if hasattr(self, name)
        }
        return vars(self).copy(), slots

    def __setstate__(self, state: tuple[dict, dict]) -> None:
        attributes, slots = state
        vars(self).update(attributes)
        for name, value in slots.items():
            setattr(self, name, value)
        self._prepare()

    def __repr__(self) -> str:
        given = [_name(self.streamer), *map(_validate.short, self.args)]
        given += [f"{key}={_validate.short(value)}" for key, value in self.kwargs.items()]
        return f"{type(self).__name__}({', '.join(given)})"

    @property
    def active(self) -> int:
        """The number of runs of this streamer that are open."""
        return self.active_count_

    @property
    def is_activated_copy(self) -> bool:
        """Whether this is the copy that a ``with`` block got."""
        return self.stream_ is not None

    # One activation. Muxes and streams call these three, and nothing else, on a streamer.

    def _open_run(self, parent: Seed, place: int, number: int) -> Iterator:
        """Start activation ``number`` of the child at ``place`` of the run seeded ``parent``."""
        how = self._how
        if how == _CALL:  # without keywords: by far the commonest, so first
            source = self._call(*self.args)
            if type(source) is GeneratorType:
                return source
            return _iterator_of(source, parent, place, number)
        if how == _CALL_KWARGS:
            return _iterator_of(self._call(*self.args, **self.kwargs), parent, place, number)
        if how == _ITERATE:
            return iter(self.streamer)
        if how == _NESTED:
            return _nested(self.streamer, parent, place, number)
        if how == _CALL_BOUND:
            made = _call_bound(self._call, self.args, self.kwargs, parent, place, number)
            return _iterator_of(made, parent, place, number)
        return self._open_once()

    _open_run_own = (
        _open_run  # what a subclass that overrides iterate() reaches by super().iterate()
    )

    def _use_ticket(self) -> None:
        """Refuse to start a one-shot iterator for a second time."""
        if self._ticket is None:
            return
        self._ticket.append(True)
        if len(self._ticket) > 1 or _is_finished(self.streamer):
            rule = "can be read only once, and it has been started before"
            remedy = "give the generator function and its arguments, or a list of the items"
            raise _validate.refuse("streamer", self.streamer, rule, remedy)

    def _open_once(self) -> Iterator:
        self._use_ticket()
        if isinstance(self.streamer, (GeneratorType, ClosableIterator)):
            return self.streamer
        return _lend(self.streamer)

    def _parts(self) -> tuple[Any, ...]:
        """Return what this streamer is made of, where other streamers may be found."""
        return (self.streamer, *self.args, *self.kwargs.values())

    def _generators(self) -> tuple[Any, ...]:
        """Return the random generators that runs of this streamer draw from."""
        if not hasattr(self.streamer, SEEDED):
            return ()
        values = (*self.args, *self.kwargs.values())
        return tuple(each for each in values if isinstance(each, GENERATORS))

    def _counted_by(self) -> Streamer:
        """Return the streamer whose runs the runs of this one are."""
        return self if self._origin is None else self._origin

    def _next_seed(self) -> Seed:
        """Return the seed above the next root run of this streamer."""
        return Seed.root() if self._seeds is None else next(self._seeds)

    # Runs, for the user.

    def iterate(self, max_iter: int | None = None, **older: Any) -> Stream:
        """Start a fresh run.

        Parameters
        ----------
        max_iter : int >= 0, optional
            The largest number of items; None for all. Integral floats (``1e2``) are accepted.
        **older
            ``max_items`` and ``max_batches``, the older names of ``max_iter``; deprecated.

        Returns
        -------
        Stream
            An iterator over the items. It pulls exactly as many items as it yields, and opens
            nothing before the first ``next()``.

        Raises
        ------
        PescadorError
            If ``max_iter`` is not a whole number >= 0.
        """
        return Stream(self, _item_limit("iterate", max_iter, older), False, self._open_run_own)

    def cycle(self, max_iter: int | None = None, **older: Any) -> Stream:
        """Start a fresh run that begins again whenever the items end.

        Every pass gets a seed of its own, so muxes do not repeat themselves. A complete pass
        that yields nothing ends the run.

        Parameters
        ----------
        max_iter : int >= 0, optional
            The largest number of items; None for no limit. Integral floats are accepted.
        **older
            ``max_items`` and ``max_batches``, the older names of ``max_iter``; deprecated.

        Returns
        -------
        Stream
            An iterator over the items.

        Raises
        ------
        PescadorError
            If ``max_iter`` is not a whole number >= 0.
        """
        return Stream(self, _item_limit("cycle", max_iter, older), True, self._open_run)

    def __call__(self, max_iter: int | None = None, cycle: bool = False, **older: Any) -> Stream:
        """Start a fresh run: `cycle` if ``cycle`` is true, `iterate` otherwise.

        Parameters
        ----------
        max_iter : int >= 0, optional
            The largest number of items; None for no limit of its own.
        cycle : bool
            Whether to begin again whenever the items end.
        **older
            ``max_items`` and ``max_batches``, the older names of ``max_iter``; deprecated.

        Returns
        -------
        Stream
            An iterator over the items.

        Raises
        ------
        PescadorError
            If ``max_iter`` is not a whole number >= 0, or ``cycle`` not a truth value.
        """
        remedy = "give True to begin again whenever the items end"
        start = self.cycle if _validate.truth("cycle", cycle, remedy) else self.iterate
        return start(_item_limit("__call__", max_iter, older))

    def generate(self, max_iter: int | None = None, **older: Any) -> Stream:
        """Start a fresh run; the older name of `iterate`.

        Parameters
        ----------
        max_iter : int >= 0, optional
            The largest number of items; None for all.
        **older
            ``max_items`` and ``max_batches``, the older names of ``max_iter``; deprecated.

        Returns
        -------
        Stream
            An iterator over the items.
        """
        return self.iterate(_item_limit("generate", max_iter, older))

    def __iter__(self) -> Stream:
        return self.iterate()

    def __enter__(self) -> Streamer:
        if self.is_activated_copy:
            return self
        active = self._counted_copy()
        active.stream_ = Stream(active, None, False, active._open_run)
        active.stream_.start()
        if self._blocks is None:
            self._blocks = []
        self._blocks.append((sys._getframe(1), active))
        return active

    def __exit__(self, *exc: object) -> None:
        if self.is_activated_copy:
            return  # the block that made the copy ends it
        assert self._blocks
        # Blocks may end in any order, in any thread; a frame tells which one this is. (Where
        # contextlib stands between, no frame fits, and it is the last.)
        frame = sys._getframe(1)
        index = len(self._blocks) - 1
        for position, (each, _) in enumerate(self._blocks):
            if each is frame:
                index = position
        _, active = self._blocks.pop(index)
        active._deactivate()

    def _deactivate(self) -> None:
        """End the run of an activated copy."""
        assert self.stream_ is not None
        self.stream_.close()

    def _counted_copy(self) -> Streamer:
        """Return a copy whose runs count as runs of this streamer."""
        other = copy.copy(self)
        other._origin = self._counted_by()
        other._seeds = self._seeds
        return other


class Stream(ClosableIterator):
    """One run of a streamer: an iterator that can be closed.

    Streams are made by `Streamer.iterate`, `Streamer.cycle` and by calling a streamer. A stream
    opens its sources at the first ``next()``, and closes them when it ends, when it fails, when
    it is closed, and when it is no longer referenced. It may be used in a ``with`` block.

    Notes
    -----
    Several threads may read one stream, with ``for`` or ``next()``; each item goes to one of
    them. ``iter(stream)`` returns a way into the stream for the thread that asks: all of them
    read the same items, and leaving a loop early leaves the stream open for as long as something
    else refers to it.

    Examples
    --------
    >>> import pescador
    >>> with pescador.Streamer(range, 5).iterate() as stream:
    ...     print(next(stream), next(stream))
    0 1
    """

    __slots__ = (
        "_cycle",
        "_given_before",
        "_max_iter",
        "_n_passes",
        "_open_run",
        "_seed",
        "_source",
        "_streamer",
    )

    def __init__(
        self,
        streamer: Streamer,
        max_iter: int | None,
        cycle: bool,
        opener: Callable[[Seed, int, int], Iterator],
    ) -> None:
        super().__init__(None)
        self._streamer = streamer
        self._max_iter = max_iter
        self._cycle = cycle
        self._open_run = opener
        self._source: Iterator | None = None
        self._n_passes = 0
        self._given_before = 0

    def __repr__(self) -> str:
        return f"<Stream of {self._streamer!r}, {self._n_given()} items given>"

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The sources that have failed so far, by the order of their first failures.

        An entry is a named tuple: ``path``, the index of the streamer in the outermost mux, then
        in the mux there, and so on; ``streamer``, as text; ``count``, how often it has failed;
        ``error``, the type and text of its last error; ``is_dropped``, whether its mux has given
        it up. They are those that a mux with ``on_error="replace"`` has replaced, and stay when
        the stream is over. Those inside a background process are not among them.
        """
        return self._seed.shared(Failures).entries() if self._n_passes else ()

    def _n_given(self) -> int:
        """Return how many items have taken their tick."""
        return sys.maxsize - length_hint(self._ticks)

    def start(self) -> None:
        """Open the sources now, if they are not open yet."""
        if not self._n_passes:
            self._advance(self._items)

    def _advance(self, ended: Iterator) -> bool:
        with self._lock:
            if self._items is not ended:
                return True  # another thread has been here
            if not self._is_closed and self._has_next_pass():
                try:
                    self._begin_pass()
                except BaseException:
                    self.close()
                    raise
                return True
        self.close()
        return False

    def _has_next_pass(self) -> bool:
        given = self._n_given()
        if self._max_iter is not None and given >= self._max_iter:
            return False
        return not self._n_passes or (self._cycle and given > self._given_before)

    def _begin_pass(self) -> None:
        if self._n_passes:
            self._close_source()
        else:
            self._seed = self._streamer._next_seed()
            self._streamer._counted_by().active_count_ += 1
        number = self._n_passes
        self._n_passes += 1
        given = self._given_before = self._n_given()
        try:
            source = self._source = self._open_run(self._seed, 0, number)
        except StopIteration as error:  # here it would pass for the end of the data
            raise RuntimeError(f"{self._streamer!r} raised StopIteration as it started") from error
        if type(source) is not GeneratorType or self._max_iter is not None:
            source = _bounded(source, None if self._max_iter is None else self._max_iter - given)
        self._front = source
        self._items = compress(source, self._ticks)

    def _close_source(self) -> None:
        source, self._source = self._source, None
        super()._release()
        if source is not self._front:
            close_iterator(source)
        self._front = None

    def _release(self) -> None:
        if self._n_passes:
            try:
                self._close_source()
            finally:
                self._streamer._counted_by().active_count_ -= 1


def streamable(function: Callable[..., Iterator]) -> Callable[..., Streamer]:
    """Make a generator function return a `Streamer`.

    Parameters
    ----------
    function : generator function
        What makes the items. Its signature, name and docstring are kept.

    Returns
    -------
    callable
        A function that, given the arguments of ``function``, returns a Streamer. It may itself
        be given to `Streamer`.

    Raises
    ------
    PescadorError
        If ``function`` is not a generator function.

    Examples
    --------
    >>> import pescador
    >>> @pescador.streamable
    ... def squares(n):
    ...     for value in range(n):
    ...         yield value**2
    >>> list(squares(4))
    [0, 1, 4, 9]
    """
    if not inspect.isgeneratorfunction(function):
        remedy = "decorate a function that uses 'yield'"
        raise _validate.refuse("function", function, "must be a generator function", remedy)

    # The streamer holds the decorated function: pickle finds that one under the name.
    def make_streamer(_: Callable, *args: Any, **kwargs: Any) -> Streamer:
        return Streamer(decorated, *args, **kwargs)

    decorated: Any = decorate(function, make_streamer)
    setattr(decorated, GENERATOR, function)
    return decorated


# How a streamer is classified, once, at its construction.


def _classify(streamer: Any, args: tuple, kwargs: dict) -> tuple[int, Callable]:
    """Return how to open a streamer, and what to call for it (if anything)."""
    has_arguments = bool(args or kwargs)
    if is_iterable(streamer) and not has_arguments:
        if isinstance(streamer, Streamer):
            return _NESTED, iter
        return (_ONE_SHOT if isinstance(streamer, Iterator) else _ITERATE), iter
    # As in 2.x, Streamer(mux, 10) is mux(max_iter=10), and mux.iterate is a source too.
    is_streamers = isinstance(getattr(streamer, "__self__", streamer), Streamer)
    call = streamer if is_streamers else callable_for(streamer)
    if call is None:
        rule = "cannot be called to make an iterator" if has_arguments else "is not iterable"
        raise _validate.refuse("streamer", streamer, rule, _ACCEPTED)
    check_arguments(call, args, kwargs)
    if (
        is_streamers
        or isinstance(call, functools.partial)
        or any(isinstance(each, (Streamer, FreshSeed)) for each in (*args, *kwargs.values()))
    ):
        return _CALL_BOUND, call
    return (_CALL_KWARGS if kwargs else _CALL), call


def _item_limit(method: str, max_iter: Any, older: dict[str, Any]) -> int | None:
    """Return the limit that a run was given, by its name or by one of the older ones."""
    for name, value in older.items():
        if name not in ("max_items", "max_batches"):
            raise TypeError(f"{method}() got an unexpected keyword argument {name!r}")
        if max_iter is not None:
            raise _validate.refuse(name, value, "is the same as max_iter", "give only max_iter")
        warnings.warn(f"{name} is now called max_iter", DeprecationWarning, stacklevel=3)
        max_iter = value
    return _validate.whole_or_none("max_iter", max_iter, 0, "give None for no limit")


def as_streamer(value: Any, index: int) -> Streamer:
    """Return ``value`` if it is a streamer, else wrap it in one."""
    if isinstance(value, Streamer):
        return value
    try:
        return Streamer(value)
    except PescadorError as error:
        rule, remedy = "is not a streamer", "give streamers, or iterables to be made into them"
        raise _validate.refuse(f"streamers[{index}]", value, rule, remedy) from error


def survey(streamer: Streamer) -> tuple[list, list[Streamer]]:
    """Return what a run of ``streamer`` may use up, however deep.

    That is the random generators it draws from, and the streamers that can be started only once.
    """
    generators: dict[int, Any] = {}
    seen: dict[int, Streamer] = {}
    left: list[Any] = [streamer]
    while left:
        each = left.pop()
        if isinstance(each, functools.partial):
            left += (each.func, *each.args, *each.keywords.values())
        elif inspect.ismethod(each):
            left.append(each.__self__)
        elif isinstance(each, Streamer) and id(each) not in seen:
            seen[id(each)] = each
            generators |= {id(generator): generator for generator in each._generators()}
            left += each._parts()
    one_shots = [each for each in seen.values() if each._ticket is not None]
    return list(generators.values()), one_shots


# How an activation gets its iterator, where it is not simply a call.


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


def _nested(streamer: Streamer, parent: Seed, place: int, number: int) -> Generator:
    """Read one activation of another streamer, counting it there."""
    source = begin(streamer, parent, place, number)
    try:
        yield from source
    finally:
        end(streamer, source)


def _iterator_of(made: Any, parent: Seed, place: int, number: int) -> Iterator:
    """Return an iterator over what the call of a streamer's function returned."""
    if isinstance(made, (GeneratorType, ClosableIterator)):
        return made
    if isinstance(made, Streamer):
        return _nested(made, parent, place, number)
    try:
        return iter(made)
    except TypeError as error:
        rule = "is what the streamer's function returned, and it is not iterable"
        raise _validate.refuse("result", made, rule, _ACCEPTED) from error


def _open_by_iterate(self: Streamer, parent: Seed, place: int, number: int) -> Generator:
    """Read a streamer whose class defines its own ``iterate``."""
    counted = self._counted_by()
    other = _bound(self, parent.child(place, number), 0)
    other.__dict__ = vars(self)  # what iterate() sets, it sets on the original too
    counted.active_count_ -= 1  # the run that iterate() starts counts itself
    stream = other.iterate()
    try:
        yield from stream
    finally:
        close_iterator(stream)
        counted.active_count_ += 1


def _call_bound(
    call: Callable, args: tuple, kwargs: dict, parent: Seed, place: int, number: int
) -> Any:
    """Call a function, with seeds in place of FRESH_SEED, and for the streamers among (and under)
    its arguments.
    """
    seed = parent.child(place, number)
    function: Any = call
    while isinstance(function, functools.partial):
        args, kwargs = function.args + args, {**function.keywords, **kwargs}
        function = function.func
    # By position, then by name: an argument's number says where in the tree it is.
    if hasattr(function, SEEDED):
        function, args = getattr(function, SEEDED), (seed.child(-1, 0), *args)
    values = [function, *args, *kwargs.values()]
    for index, value in enumerate(values):
        if value is FRESH_SEED:
            values[index] = parent.fresh(place, number, index)
        else:
            values[index] = _bound(value, seed, -1 - index)
    function, *values = values
    return function(*values[: len(args)], **dict(zip(kwargs, values[len(args) :])))


def _bound(value: Any, seed: Seed, place: int) -> Any:
    """Return a streamer that takes its seeds from the run; anything else as it is."""
    if inspect.ismethod(value) and isinstance(value.__self__, Streamer):
        return getattr(_bound(value.__self__, seed, place), value.__name__)
    if not isinstance(value, Streamer):
        return value
    other = value._counted_copy()
    other._seeds = map(functools.partial(seed.above, place), count())
    return other


def _is_finished(iterator: Any) -> bool:
    if isinstance(iterator, ClosableIterator):
        return iterator._is_closed
    return isinstance(iterator, GeneratorType) and iterator.gi_frame is None


def _lend(iterator: Iterator) -> Generator:
    """Read an iterator that belongs to the user: closing the reader does not close it."""
    for item in iterator:  # noqa: UP028 - 'yield from' would close it
        yield item


def _bounded(source: Iterator, n_items: int | None) -> Generator:
    """Read at most ``n_items``; a generator, so that only one thread at a time is in it."""
    yield from islice(source, n_items)


def _name(value: Any) -> str:
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else _validate.short(value)
