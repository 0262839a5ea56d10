"""Streamers and streams: a recipe for an iterator, and one run of it."""

from __future__ import annotations

import copy
import functools
import inspect
import sys
import warnings
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping
from itertools import compress, count, islice, repeat
from operator import length_hint
from types import FrameType, GeneratorType
from typing import Any

from decorator import decorate

from . import _html, _positions, _repr, _validate
from ._callables import FOLLOWS, GENERATOR, SEEDED, callable_for, check_arguments, is_iterable
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
_NOT_STATE = {"__dict__", "__weakref__", "_blocks", "_binding", "_call", "_how", "_origin"}
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
        "_binding",
        "_blocks",
        "_call",
        "_how",
        "_origin",
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
        self._binding: _Binding | None = None
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

    __repr__, _repr_html_ = _repr.text_of, _html.html_of

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

    def _open_at(self, parent: Seed, place: int, number: int, position: Any) -> Iterator:
        """Start an activation, and move it to where one like it stood."""
        if isinstance(position, int):
            source = self._open_run(parent, place, number)
            return _positions.moved(source, position, self)
        bound = self._how == _CALL_BOUND and "streams" in position
        if not (bound or "inner" in position) or self._how in (_ITERATE, _ONE_SHOT):
            raise _positions.misfit(self, "was of another kind when the state was taken")
        if self._how == _NESTED:
            return _nested(self.streamer, parent, place, number, position["inner"])
        if bound:
            streams = position["streams"]
            made = _call_bound(self._call, self.args, self.kwargs, parent, place, number, streams)
            return _iterator_of(made, parent, place, number)
        if self._how == _CALL_BOUND:
            made = _call_bound(self._call, self.args, self.kwargs, parent, place, number)
        else:
            made = self._call(*self.args, **self.kwargs)
        if not isinstance(made, Streamer):
            what = "made a streamer when the state was taken, and does not now"
            raise _positions.misfit(self, what)
        return _nested(made, parent, place, number, position["inner"])

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

    def resume(self, state: Mapping, max_iter: int | None = None) -> Stream:
        """Continue a run from where it stood.

        Parameters
        ----------
        state : dict
            What `Stream.state_dict` returned, of a run of this streamer or one made alike; also
            in another process, and from JSON.
        max_iter : int >= 0, optional
            The largest number of items that are still to come; None for what was left of the
            limit that the run had.

        Returns
        -------
        Stream
            Gives what the run would have given next. What was open is open again.

        Raises
        ------
        PescadorError
            If ``state`` is not a state, is damaged, or does not fit this streamer or its data.

        Notes
        -----
        Every open source is started again and moved to where it stood: a list, a range or an
        array at once, anything else by reading again what its activation had given. Maps of this
        library (but for `cache`) and muxes are moved by moving what they read. A source that draws
        from the global generators of NumPy or Python draws other numbers than it had: give it
        `FRESH_SEED`, or a seed of its own.

        Examples
        --------
        >>> import pescador
        >>> mux = pescador.ShuffledMux([range(10), "abcdefghij"], random_state=0)
        >>> stream = mux.iterate(max_iter=8)
        >>> start = [next(stream) for _ in range(5)]
        >>> state = stream.state_dict()
        >>> list(mux.resume(state)) == list(stream)
        True
        """
        fields = _positions.unsealed(state)
        max_iter = _validate.whole_or_none(
            "max_iter", max_iter, 0, "give a number, or None for what was left"
        )
        if max_iter is None:
            max_iter = fields["max_iter"]
        else:
            max_iter += fields["n_given"]
        opener = self._open_run if fields["cycle"] else self._open_run_own
        stream = Stream(self, max_iter, fields["cycle"], opener)
        stream._restore(fields)
        return stream

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
        other._binding = self._binding
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
        "_has_ended",
        "_last",
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
        self._has_ended = False
        self._last: dict | None = None  # where it stood when it had given all it may

    def __repr__(self) -> str:
        return f"<Stream of {_repr.head(self._streamer)}, {self._n_given()} items given>"

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

    def state_dict(self) -> dict:
        """Return where this run stands, for `Streamer.resume`.

        Returns
        -------
        dict
            Of strings, integers, lists and dicts: ``json.dumps`` takes it. It grows with the
            number of streams that are open and of streamers that were left out in this run.

        Raises
        ------
        PescadorError
            If the stream has been closed before its end, or is in the middle of an item.

        Notes
        -----
        It may be taken between any two items, also inside a loop over the stream, and costs about
        a microsecond for an open stream. What has been drawn from random states is part of it;
        of those that nothing has been drawn from yet, it says nothing.

        Examples
        --------
        >>> import pescador
        >>> streamer = pescador.Streamer(range, 5)
        >>> stream = streamer.iterate()
        >>> next(stream)
        0
        >>> list(streamer.resume(stream.state_dict()))
        [1, 2, 3, 4]
        """
        with self._lock:
            fields = self._fields()
            if self._n_passes:
                fields["taken"] = self._seed.taken(functools.partial(survey, self._streamer))
                fields["failures"] = self._seed.shared(Failures).state()
            return _positions.sealed(fields)

    def _fields(self) -> dict:
        """Return where this run stands, but for where its seeds come from."""
        if self._last is not None:
            return self._last
        if self._is_closed and not self._has_ended:
            raise PescadorError(
                "the stream has been closed, and where it stood is gone;"
                " call state_dict() before that, in the loop over the stream for instance"
            )
        n_given = self._n_given()
        fields = {
            "n_given": n_given,
            "max_iter": self._max_iter,
            "cycle": self._cycle,
            "n_passes": self._n_passes,
            "given_before": self._given_before,
            "has_ended": self._has_ended,
        }
        if self._n_passes and not self._has_ended:
            front = self._front
            if self._source is None or (isinstance(front, GeneratorType) and front.gi_running):
                raise PescadorError(
                    "the stream is in the middle of an item; call state_dict() between two items"
                )
            position = _positions.position_of(self._source, n_given - self._given_before)
            fields["position"] = position
        return fields

    def _restore(self, fields: dict) -> None:
        """Go to where another run stood."""
        try:
            if fields["n_passes"]:
                self._begin(fields)
        except BaseException:
            self.close()
            raise

    def _begin(self, fields: dict | None = None) -> None:
        """Get the seed, and begin the first pass, or the one that another run was in."""
        binding = self._streamer._binding
        if binding is None:
            self._seed = Seed.root()
        else:
            self._seed = next(binding.seeds)
            binding.stream = weakref.ref(self)
            if fields is None:
                fields, binding.fields = binding.fields, None
        self._streamer._counted_by().active_count_ += 1
        if fields is None:
            self._begin_pass()
            return
        self._ticks = repeat(self._gate, sys.maxsize - fields["n_given"])
        self._n_passes, self._given_before = fields["n_passes"], fields["given_before"]
        self._has_ended = fields["has_ended"]
        self._seed.shared(Failures).restore(fields.get("failures", []))
        if not self._has_ended:
            self._seed.take(fields.get("taken", []), functools.partial(survey, self._streamer))
            self._open(self._n_passes - 1, fields["position"])

    def _advance(self, ended: Iterator) -> bool:
        with self._lock:
            if self._items is not ended:
                return True  # another thread has been here
            if not self._is_closed and not self._has_ended and self._has_next_pass():
                try:
                    if self._n_passes:
                        self._close_source()
                        self._begin_pass()
                    else:
                        self._begin()
                except BaseException:
                    self.close()
                    raise
                return True
        self.close()
        return False

    def _has_next_pass(self) -> bool:
        given = self._n_given()
        if self._max_iter is not None and given >= self._max_iter:
            if self._n_passes and self._streamer._binding is None:
                self._last = self._fields()
            return False
        self._has_ended = self._n_passes > 0 and not (self._cycle and given > self._given_before)
        return not self._has_ended

    def _begin_pass(self) -> None:
        number = self._n_passes
        self._n_passes += 1
        self._given_before = self._n_given()
        self._open(number, 0)

    def _open(self, number: int, position: Any) -> None:
        """Open the source of a pass."""
        try:
            if isinstance(position, int):
                source = self._open_run(self._seed, 0, number)
                source = _positions.moved(source, position, self._streamer)
            else:
                source = self._streamer._open_at(self._seed, 0, number, position)
        except StopIteration as error:  # here it would pass for the end of the data
            raise _validate.stopped(self._streamer) from error
        self._source = source
        if type(source) is not GeneratorType or self._max_iter is not None:
            limit = None if self._max_iter is None else self._max_iter - self._n_given()
            source = _bounded(source, limit)
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
        if callable(streamer) and not isinstance(streamer, type):
            rule = "is neither iterable nor known to make an iterator when it is called"
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
    return _validate.whole_or_none(
        "max_iter", max_iter, 0, "give a number of items, or None for no limit"
    )


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


def _nested(
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


class _Binding:
    """What a copy of a streamer, made for one call, knows of the run around it."""

    def __init__(self, seeds: Iterator[Seed], fields: dict | None) -> None:
        self.seeds = seeds
        self.fields = fields  # where the first of its streams is to begin, if not at the start
        self.stream: weakref.ref | None = None  # the last that was started


class _Bound:
    """One call of a function that gives what the streamers among its arguments give."""

    def __init__(self, bindings: list[_Binding]) -> None:
        self._bindings = bindings

    def position(self, n_given: int) -> Any:
        """Return those of the streams that it reads."""
        streams = []
        for binding in self._bindings:
            stream = None if binding.stream is None else binding.stream()
            fields = binding.fields if stream is None else stream._fields()
            if fields is None:
                return n_given
            streams.append(fields)
        return {"streams": streams}


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
    other = _bound(self, _Binding(_seeds_below(parent.child(place, number), 0), None))
    other.__dict__ = vars(self)  # what iterate() sets, it sets on the original too
    counted.active_count_ -= 1  # the run that iterate() starts counts itself
    stream = other.iterate()
    try:
        yield from stream
    finally:
        close_iterator(stream)
        counted.active_count_ += 1


def _call_bound(
    call: Callable,
    args: tuple,
    kwargs: dict,
    parent: Seed,
    place: int,
    number: int,
    streams: list | None = None,
) -> Any:
    """Call a function, with seeds in place of FRESH_SEED, and with streamers that are bound.

    ``streams`` are where the streams of these are to begin.
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
    bindings: list[_Binding] = []
    given = iter(streams or ())
    for index, value in enumerate(values):
        if value is FRESH_SEED:
            values[index] = parent.fresh(place, number, index)
            continue
        streamer = _streamer_of(value)
        if streamer is not None:
            bindings.append(_Binding(_seeds_below(seed, -1 - index), next(given, None)))
            follows = follows and type(streamer)._open_run is not _open_by_iterate
            values[index] = _bound(value, bindings[-1])
    if streams is not None and (not follows or len(streams) != len(bindings)):
        raise _positions.misfit(_name(call), "reads other streamers than when the state was taken")
    function, *values = values
    made = function(*values[: len(args)], **dict(zip(kwargs, values[len(args) :])))
    if follows and isinstance(made, (GeneratorType, ClosableIterator)):
        _positions.records[made] = _Bound(bindings)
    return made


def _seeds_below(seed: Seed, place: int) -> Iterator[Seed]:
    return map(functools.partial(seed.above, place), count())


def _streamer_of(value: Any) -> Streamer | None:
    """Return a streamer, given it or a method of it."""
    if inspect.ismethod(value):
        value = value.__self__
    return value if isinstance(value, Streamer) else None


def _bound(value: Any, binding: _Binding) -> Any:
    """Return a copy of a streamer, or of the one whose method this is, that is part of a run."""
    if inspect.ismethod(value):
        return getattr(_bound(value.__self__, binding), value.__name__)
    other = value._counted_copy()
    other._binding = binding
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
