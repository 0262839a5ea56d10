"""Streamers: recipes for iterators, which can be started any number of times."""

from __future__ import annotations

import copy
import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType, GeneratorType
from typing import Any, ClassVar

import numpy as np
from decorator import decorate

from . import _html, _repr, _validate
from ._callables import GENERATOR, SEEDED, callable_for, check_arguments, is_iterable
from ._streaming import positions, saving
from ._streaming.arguments import check_fresh_seeds, check_unfinished
from ._streaming.binding import Binding, call_bound, open_by_iterate
from ._streaming.closable import ClosableIterator
from ._streaming.entry import Entry
from ._streaming.opening import ACCEPTED, is_finished, iterator_of, lend, nested
from ._streaming.seeds import FRESH_SEED, GENERATORS, FreshSeed, Seed
from ._streaming.stateful import opened, protocol_of
from ._streaming.stream import Stream
from ._streaming.survey import with_others
from ._warning import warn
from .exceptions import PescadorError

__all__ = ["FRESH_SEED", "Stream", "Streamer", "streamable"]


# Names that people look for on a streamer, which belong to its streams.
_OF_STREAMS = "it belongs to a stream, one run of it: stream = streamer.iterate(), stream.{name}"

# How an activation of a streamer gets its iterator; decided once, at construction.
_CALL, _CALL_KWARGS, _CALL_CHECKED, _CALL_BOUND, _NESTED, _ITERATE = range(6)
_ONE_SHOT, _BY_ITERATE, OWN, _STALE = range(6, 10)
# (OWN: its class has an `_open_own`. STALE: it has been given other arguments since.)

# What belongs to the runs of a streamer, or follows from the rest: never copied, never pickled.
_NOT_STATE = {"__dict__", "__weakref__", "_blocks", "_binding", "_call", "_how", "_origin"}
_NOT_STATE |= {"active_count_", "stream_"}
_ASSIGNABLE = {"_args", "_kwargs", "_streamer"}  # in a state without the underscore


class _Assignable:
    """An attribute that says what a streamer opens: a run that starts later goes by the new one."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._slot = f"_{name}"

    def __get__(self, streamer: Any, owner: type | None = None) -> Any:
        return self if streamer is None else getattr(streamer, self._slot)

    def __set__(self, streamer: Any, value: Any) -> None:
        setattr(streamer, self._slot, value)
        if hasattr(streamer, "active_count_"):  # else it is being made
            streamer._how = _STALE


def _assignable() -> Any:
    return _Assignable()


class _Elsewhere:
    """A name that something else has; which, the error tells.

    (A ``__getattr__`` would know every name, and make every look at any attribute slower.)
    """

    def __init__(self, where: str) -> None:
        self._where = where

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, streamer: Any, owner: type | None = None) -> Any:
        value = owner if streamer is None else streamer
        where = self._where.format(name=self._name)
        raise _validate.missing(value, self._name, {self._name: where})


def _elsewhere(where: str = _OF_STREAMS) -> Any:
    return _Elsewhere(where)


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
        The arguments to call it with. They are handed over as they are, never copied, with two
        exceptions: a streamer is replaced by a copy that takes its seed from the run, and
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
        If ``streamer`` is none of the above, or if it has arguments and cannot be called. In a
        run, if an iterator that can only be read once is started a second time.

    See Also
    --------
    streamable : Make every call of a generator function a Streamer.

    Notes
    -----
    ``with streamer as active`` gives an activated copy: a copy that is one open run
    (``active.stream_``), counted by ``streamer.active`` and closed at the end of the block.

    ``Streamer(noisy, X, random_state=pescador.FRESH_SEED)`` gives every activation a seed of its
    own, from 0 to 2**32 - 1. In one run of a mux, no two activations get the same seed, nor do two
    passes of one ``cycle()``. Other pairs get the same seed with probability 1 / 2**32. One seed in
    the outermost mux fixes them all.

    An iterable or iterator may have methods for its state: ``state_dict()`` and
    ``load_state_dict(state)``, or ``get_state()`` and ``set_state(state)``. Then resuming uses
    these. The state must fit JSON, or be bytes. Every activation reads a deep copy of the object,
    or a new object if ``streamer`` is its class.

    An item costs the time of the source, and one Python frame. The cost of an activation does not
    depend on the size of the arguments.

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
        "_args",
        "_binding",
        "_blocks",
        "_call",
        "_how",
        "_kwargs",
        "_origin",
        "_streamer",
        "_ticket",
        "active_count_",
        "stream_",
    )

    save, n_given, failures, close = (_elsewhere() for _ in range(4))
    tuples = _elsewhere("give it to a map: pescador.tuples(streamer, 'X', 'Y')")

    streamer: Any = _assignable()
    args: Any = _assignable()
    kwargs: Any = _assignable()

    def __init__(self, streamer: Any, *args: Any, **kwargs: Any) -> None:
        self._streamer, self._args, self._kwargs = streamer, args, kwargs
        self._ticket: list | None = None
        self._prepare()
        self._take_ticket()
        if self._how in (_NESTED, _CALL_BOUND):
            _validate.depth("streamers", self, _levels_of(self))

    # What 2.x and 3.0 called, and nothing calls any more.
    _NOT_CALLED: ClassVar = frozenset(["_activate"])

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in sorted(cls._NOT_CALLED & vars(cls).keys()):
            rule = "older releases called this method, but nothing calls it now"
            remedy = "override iterate() instead; or rename it, if it is a method of your own"
            raise _validate.refuse(f"{cls.__qualname__}.{name}", vars(cls)[name], rule, remedy)

    def _prepare(self) -> None:
        self._decide_how()
        self._forget_runs()

    def _decide_how(self) -> None:
        """Decide how this streamer is opened."""
        self._how, self._call = self._classified()
        if self._has_own_iterate():
            self._how = _BY_ITERATE

    def _take_ticket(self) -> None:
        # Copies share the ticket, because they share the one pass that it stands for.
        has_arguments = self._args or self._kwargs
        has_one_pass = not has_arguments and _has_one_pass(self._streamer)
        self._ticket = [] if has_one_pass else None

    def _decide_again(self) -> None:
        """Do the same, once something has been assigned to `streamer`, `args` or `kwargs`."""
        self._decide_how()
        self._take_ticket()

    def _classified(self) -> tuple[int, Callable]:
        """Return how this streamer is opened, and what is called for it (if anything)."""
        return _classify(self._streamer, self._args, self._kwargs)

    def _forget_runs(self) -> None:
        self.active_count_ = 0
        self.stream_: Stream | None = None
        self._origin: Streamer | None = None
        self._binding: Binding | None = None
        self._blocks: list[tuple[FrameType, Streamer]] | None = None

    def __getstate__(self) -> tuple[dict, dict]:
        names = {name for cls in type(self).__mro__ for name in vars(cls).get("__slots__", ())}
        slots = {
            name.lstrip("_") if name in _ASSIGNABLE else name: getattr(self, name)
            for name in sorted(names - _NOT_STATE)
            if hasattr(self, name)
        }
        return vars(self).copy(), slots

    def __setstate__(self, state: tuple[dict, dict]) -> None:
        attributes, slots = state
        vars(self).update(attributes)
        for name, value in slots.items():
            setattr(self, f"_{name}" if f"_{name}" in _ASSIGNABLE else name, value)
        self._prepare()

    __repr__, _repr_html_ = _repr.text_of, _html.html_of

    @property
    def active(self) -> int:
        """The number of runs of this streamer that are open."""
        check_made(self)
        return self.active_count_

    @property
    def is_activated_copy(self) -> bool:
        """Whether this is the copy that a ``with`` block got."""
        return self.stream_ is not None

    # One activation: what `_streaming.recipe` describes.

    def _open_run(self, parent: Seed, place: int, number: int) -> Iterator:
        """Start activation ``number`` of the child at ``place`` of the run seeded ``parent``."""
        if self._how == _CALL:  # without keywords: by far the commonest, so first
            source = self._call(*self._args)
            if type(source) is GeneratorType:
                return source
            return iterator_of(source, self, parent, place, number, self._makes_new())
        if self._how == _CALL_KWARGS:
            made = self._call(*self._args, **self._kwargs)
            return iterator_of(made, self, parent, place, number, self._makes_new())
        if self._how == _STALE:
            self._decide_again()
        if self._how == _BY_ITERATE:
            return open_by_iterate(self, parent, place, number)
        return self._open_own(parent, place, number)

    def _open_own(self, parent: Seed, place: int, number: int) -> Iterator:
        """Do the same without regard to an ``iterate()`` of the user's, which may call this."""
        if self._how == _STALE:
            self._decide_again()
        how = self._how
        if how == _BY_ITERATE:
            how, _ = self._classified()
        if how == _ITERATE:
            return opened(self.streamer, True, self)
        if how == _NESTED:
            return nested(self.streamer, parent, place, number)
        if how == _ONE_SHOT:
            return self._open_once()
        made = self._made(how, parent, place, number)
        return iterator_of(made, self, parent, place, number, self._makes_new())

    def _made(self, how: int, parent: Seed, place: int, number: int) -> Any:
        """Return what the call of this streamer's function returns."""
        check_unfinished(self.args, self.kwargs)
        if isinstance(self._call, functools.partial):
            check_unfinished(self._call.args, self._call.keywords)
        if how == _CALL_BOUND:
            return call_bound(self._call, self.args, self.kwargs, parent, place, number)
        return self._call(*self.args, **self.kwargs)

    def _use_ticket(self) -> None:
        """Refuse to start a one-shot iterator for a second time."""
        if self._ticket is None:
            return
        self._ticket.append(True)
        if len(self._ticket) > 1 or is_finished(self.streamer):
            rule = "can be read only once, and it has been started before"
            remedy = "give the generator function and its arguments, or a list of the items"
            raise _validate.refuse("streamer", self.streamer, rule, remedy)

    def _open_at(self, parent: Seed, place: int, number: int, position: Any) -> Iterator:
        """Start an activation, and move it to where one like it stood."""
        if self._passes_on():
            at, n_skipped = positions.parts(position)
            if isinstance(at, dict) and "inner" in at:
                at = at["inner"]  # (a state of 2.2)
            position = positions.skipping(at, n_skipped)
            return nested(self.streamer, parent, place, number, position)
        if isinstance(position, int):
            source = self._open_run(parent, place, number)
            with parent.session.as_known():
                return positions.moved(source, position, self)
        if "object" in position:
            return self._open_stateful(parent, place, number, position)
        bound = self._how == _CALL_BOUND and "streams" in position
        has_made = positions.inner_of(position) is not None
        if not (bound or has_made) or self._how in (_ITERATE, _ONE_SHOT, _BY_ITERATE):
            raise positions.misfit(self, "was of another kind when the state was taken")
        if bound:
            made = call_bound(self._call, self.args, self.kwargs, parent, place, number, position)
            return iterator_of(made, self, parent, place, number, self._makes_new())
        made = self._made(self._how, parent, place, number)
        if not isinstance(made, Streamer):
            what = "had a function that returned a streamer when the state was taken"
            raise positions.misfit(self, what)
        return nested(made, parent, place, number, positions.inner_of(position), is_made=True)

    def _makes_new(self) -> bool:
        """Tell whether each call makes an object of its own: that of a class."""
        return isinstance(self._call, type)

    def _open_stateful(self, parent: Seed, place: int, number: int, position: dict) -> Iterator:
        """Start an activation of a source that has a state of its own."""
        how = self._how
        if how == _BY_ITERATE:  # (whose ``iterate()`` calls that of this class)
            how, _ = self._classified()
        if how == _ITERATE:
            return opened(self.streamer, True, self, position)
        if how in (_NESTED, _ONE_SHOT, OWN):
            raise positions.misfit(self, "was of another kind when the state was taken")
        made = self._made(how, parent, place, number)
        return opened(made, not self._makes_new(), self, position)

    def _open_once(self) -> Iterator:
        self._use_ticket()
        if isinstance(self.streamer, (GeneratorType, ClosableIterator)):
            return self.streamer
        return lend(self.streamer)

    def _passes_on(self) -> bool:
        if self._how == _STALE:
            self._decide_again()
        return self._how == _NESTED

    def _is_source(self) -> bool:
        return True

    def _chooses(self) -> bool:
        return self._passes_on() and self.streamer._chooses()

    def _starts_lazily(self) -> bool:
        if self._how not in (_CALL, _CALL_KWARGS, _CALL_BOUND):
            return False
        function: Any = self._call
        while isinstance(function, functools.partial):
            function = function.func
        return inspect.isgeneratorfunction(function)

    def _kind(self) -> str:
        return self.streamer._kind() if self._passes_on() else type(self).__name__

    def _parts(self) -> tuple[Any, ...]:
        """Return what this streamer is made of, where other streamers may be found."""
        return (self.streamer, *self.args, *self.kwargs.values())

    def _remade(self, replaced: Callable) -> Any:
        other = copy.copy(self)
        other.streamer = with_others(self.streamer, replaced)
        other.args = tuple(with_others(each, replaced) for each in self.args)
        other.kwargs = {name: with_others(each, replaced) for name, each in self.kwargs.items()}
        return other

    def _part(self, index: int, count: int) -> Any:
        return self  # (muxes alone have streamers that can be left out)

    def _generators(self) -> tuple[Any, ...]:
        """Return the random generators that runs of this streamer draw from."""
        function: Any = self._call
        values = [*self.args, *self.kwargs.values()]
        while isinstance(function, functools.partial):
            values += [*function.args, *function.keywords.values()]
            function = function.func
        if not hasattr(function, SEEDED):
            return ()
        return tuple(each for each in values if isinstance(each, GENERATORS))

    def _weights_to_show(self) -> tuple[Any, Any]:
        """Return what gives the weights of its streamers, and those of item 0; None for none."""
        return None, None

    def _counted_by(self) -> Streamer:
        """Return the streamer whose runs the runs of this one are."""
        return self if self._origin is None else self._origin

    # Runs, for the user.

    def iterate(self, max_iter: int | None = None, **older: Any) -> Stream:
        """Start a fresh run.

        Parameters
        ----------
        max_iter : int >= 0, optional
            The largest number of items; None for all. Integral floats (``1e2``) are
            accepted; inf is None.
        **older
            ``max_items`` and ``max_batches``, the older names of ``max_iter``; deprecated.

        Returns
        -------
        Stream
            An iterator over the items. It takes exactly as many items from the source as it
            yields, and opens nothing before the first ``next()``.

        Raises
        ------
        PescadorError
            If ``max_iter`` is not a whole number >= 0.
        """
        check_made(self)
        max_iter = _item_limit("iterate", max_iter, older)
        if self._binding is not None and self._binding.ready is not None and max_iter is None:
            ready = self._binding.take_ready()
            if ready is not None:
                return ready
        return Stream(self, max_iter, False, self._open_own)

    def cycle(self, max_iter: int | None = None, **older: Any) -> Stream:
        """Start a fresh run that begins again whenever the items end.

        Every pass gets a seed of its own, so muxes do not repeat themselves. A complete pass
        that yields nothing ends the run.

        Parameters
        ----------
        max_iter : int >= 0, optional
            The largest number of items; None for no limit. Integral floats are accepted; inf is
            None.
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
        check_made(self)
        return Stream(self, _item_limit("cycle", max_iter, older), True, self._open_run)

    def __call__(self, max_iter: int | None = None, cycle: bool = False, **older: Any) -> Stream:
        """Start a fresh run: `cycle` if ``cycle`` is true, `iterate` otherwise.

        Parameters
        ----------
        max_iter : int >= 0, optional
            The largest number of items; None for no limit.
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
            If ``max_iter`` is not a whole number >= 0, or ``cycle`` is not True or False.
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

    def resume(self, state: Any, max_iter: int | None = None) -> Stream:
        """Continue a run from where it stood.

        Parameters
        ----------
        state : dict, str or path-like
            The result of `Stream.state_dict`, for a run of this streamer or of one made in the same
            way; also from another process, or read from JSON. Or the path of a file that
            `Stream.save` wrote.
        max_iter : int >= 0, optional
            The largest number of items that are still to come. None for what was left of the limit
            of the run, inf for no limit.

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
        Every source that was open is started again, and moved to where it stood. A list, a range,
        an array, or an object with a state of its own (see `Streamer`) moves at once. Anything else
        reads again what its activation had given. Muxes, and maps of this library (except `cache`),
        move what they read. A source that draws from the global generators of NumPy or Python draws
        other numbers than before: give it `FRESH_SEED`, or a seed of its own.

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
        is_path = isinstance(state, (str, os.PathLike))
        fields = positions.unsealed(saving.load(state) if is_path else state)
        if max_iter is None:
            max_iter = fields["max_iter"]
        else:
            remedy = "give a number, None for what was left, or inf for no limit"
            max_iter = _validate.whole_or_none("max_iter", max_iter, 0, remedy)
            max_iter = None if max_iter is None else max_iter + fields["n_given"]
        open_pass = self._open_run if fields["cycle"] else self._open_own
        return Stream(self, max_iter, fields["cycle"], open_pass, fields)

    _iterate_of_the_house = iterate  # (a class of the house that overrides iterate() says so too)

    def _has_own_iterate(self) -> bool:
        """Tell whether the class of this streamer has an ``iterate()`` of the user's."""
        cls = type(self)
        return cls.iterate is not cls._iterate_of_the_house

    def __iter__(self) -> Stream:
        stream = self.iterate()
        entry: Any = Entry(stream) if type(stream) is Stream else stream
        return entry

    def __enter__(self) -> Streamer:
        check_made(self)
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
    _validate.ordered("streamer", streamer)
    if is_iterable(streamer) and not has_arguments:
        if isinstance(streamer, Streamer):
            return _NESTED, iter
        return (_ONE_SHOT if _has_one_pass(streamer) else _ITERATE), iter
    # As in 2.x, Streamer(mux, 10) is mux(max_iter=10), and mux.iterate is a source too.
    is_streamers = isinstance(getattr(streamer, "__self__", streamer), Streamer)
    call = streamer if is_streamers else callable_for(streamer)
    if call is None:
        rule, remedy = "is not iterable", ACCEPTED
        if has_arguments:
            rule = f"cannot be called with the arguments args={_validate.short(args)},"
            rule += f" kwargs={_validate.short(kwargs)} to make an iterator"
            remedy = "leave them out (a limit belongs to iterate()), or give a generator function"
        if callable(streamer) and not isinstance(streamer, type):
            rule = "is neither iterable nor known to make an iterator when it is called"
        raise _validate.refuse("streamer", streamer, rule, remedy)
    check_arguments(call, args, kwargs)
    special = [each for each in (*args, *kwargs.values()) if type(each) not in _PLAIN]
    if isinstance(call, functools.partial):
        check_fresh_seeds(call.args, call.keywords)
    elif not (special or is_streamers):
        return (_CALL_KWARGS if kwargs else _CALL), call
    check_fresh_seeds(args, kwargs)
    if (
        is_streamers
        or isinstance(call, functools.partial)
        or any(isinstance(each, (Streamer, FreshSeed)) for each in special)
    ):
        return _CALL_BOUND, call
    if any(isinstance(each, GeneratorType) for each in special):
        return _CALL_CHECKED, call
    return (_CALL_KWARGS if kwargs else _CALL), call


def _has_one_pass(streamer: Any) -> bool:
    """Tell whether something can be read only once."""
    return isinstance(streamer, Iterator) and protocol_of(type(streamer)) is None


# Types of arguments that need no closer look.
_PLAIN = {int, float, str, bytes, bool, type(None), np.ndarray}


def _levels_of(streamer: Streamer) -> int:
    """Return how deep streamers are nested in streamers (a mux counts for itself)."""
    n_levels, level = 0, [streamer]
    while level:
        n_levels += 1
        below = [each for above in level if above._how != OWN for each in above._parts()]
        level = list({id(each): each for each in below if isinstance(each, Streamer)}.values())
    return n_levels


def _item_limit(method: str, max_iter: Any, older: dict[str, Any]) -> int | None:
    """Return the limit that a run was given, by its name or by one of the older ones."""
    for name, value in older.items():
        if name not in ("max_items", "max_batches"):
            raise TypeError(f"{method}() got an unexpected keyword argument {name!r}")
        if max_iter is not None:
            raise _validate.refuse(name, value, "is the same as max_iter", "give only max_iter")
        warn(name, " is now called max_iter", DeprecationWarning)
        max_iter = value
    return _validate.whole_or_none(
        "max_iter", max_iter, 0, "give a number of items, or None for no limit"
    )


def check_made(streamer: Streamer) -> None:
    """Refuse a streamer of a class whose ``__init__`` has not called that of its base."""
    if not hasattr(streamer, "active_count_"):
        raise AttributeError(
            f"this {type(streamer).__name__} is not initialised: its own __init__ has not called"
            " that of its base class; call super().__init__(...) in it"
        )


def as_streamer(value: Any, index: int) -> Streamer:
    """Return ``value`` if it is a streamer, else wrap it in one."""
    if isinstance(value, Streamer):
        check_made(value)
        return value
    if isinstance(value, Mapping):
        remedy = "give a list of streamers, even if it is only one: [streamer]"
        raise _validate.refuse(f"streamers[{index}]", value, "is a mapping, not a streamer", remedy)
    _validate.ordered(f"streamers[{index}]", value)
    try:
        return Streamer(value)
    except PescadorError as error:
        rule, remedy = "is not a streamer", "give streamers, or iterables to be made into them"
        raise _validate.refuse(f"streamers[{index}]", value, rule, remedy) from error
