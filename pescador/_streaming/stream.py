"""One run of a streamer."""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Iterator
from itertools import compress, islice, repeat
from operator import length_hint
from types import GeneratorType
from typing import Any

from .. import _repr, _validate
from ..exceptions import PescadorError
from . import positions, saving
from .closable import ClosableIterator, close_iterator
from .failures import Failure
from .opener import open_at
from .opening import lend
from .recipe import Recipe
from .seeds import Seed
from .session import Session
from .survey import generators_of


class Stream(ClosableIterator):
    """One run of a streamer: an iterator that can be closed.

    `Streamer.iterate`, `Streamer.cycle`, `Streamer.resume`, and calling a streamer make streams. A
    stream opens its sources at the first ``next()``. It closes them when it ends, fails, is closed,
    or is no longer referenced. It may be used in a ``with`` block.

    Notes
    -----
    Several threads may read one stream, with ``for`` or ``next()``; each item goes to one of
    them. ``iter(stream)`` returns an iterator of its own for each thread, over the same stream. If
    a loop ends early, the stream stays open for as long as something else refers to it.

    Examples
    --------
    >>> import pescador
    >>> with pescador.Streamer(range, 5).iterate() as stream:
    ...     print(next(stream), next(stream))
    0 1
    """

    __module__ = "pescador.core"  # where users find it
    __slots__ = (
        "_counted_by",
        "_cycle",
        "_given_before",
        "_has_ended",
        "_is_abandoned",
        "_last",
        "_max_iter",
        "_meter",
        "_n_passes",
        "_open_pass",
        "_seed",
        "_source",
        "_streamer",
    )

    def __init__(
        self,
        streamer: Recipe,
        max_iter: int | None,
        cycle: bool,
        open_pass: Callable[[Seed, int, int], Iterator],
        resume_from: dict | None = None,
    ) -> None:
        self._is_abandoned = False  # whoever had it has let go of it
        self._n_passes = 0  # (first: an interrupt may make this half of a stream, to be closed)
        super().__init__(None)
        self._streamer = streamer
        self._max_iter = max_iter
        self._cycle = cycle
        self._open_pass = open_pass
        self._source: Iterator | None = None
        self._given_before = 0
        self._meter: Any = None  # what is to count what it does
        self._has_ended = False
        # Where it stood, when it was closed or had given all it may; or why that is not known.
        self._last: dict | PescadorError | None = None
        if resume_from is not None:
            self._restore(resume_from)

    def __repr__(self) -> str:
        return f"<Stream of {_repr.head(self._streamer)}, {_repr.of_items(self.n_given)} given>"

    _NOT_PICKLED = (
        "an open stream can be neither pickled nor copied",
        "save its state, stream.state_dict(), and continue with streamer.resume(state)",
    )

    def __getattr__(self, name: str) -> Any:
        raise _validate.missing(self, name, _ELSEWHERE)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The sources that have failed so far, in the order of their first failures.

        These are the sources that a mux with ``on_error="replace"`` has replaced, also in
        background processes. An entry is a named tuple: ``path``, the index of the streamer in the
        outermost mux, then in the mux there, and so on; ``streamer``, as text; ``count``, how often
        it has failed; ``error``, the type and text of its last error; ``is_dropped``, whether its
        mux has left it out. The entries stay when the stream is over.
        """
        return self._seed.session.failures.entries() if self._n_passes else ()

    @property
    def n_given(self) -> int:
        """The number of items that have been handed out, in all passes (and before resuming)."""
        return sys.maxsize - length_hint(self._ticks)

    @property
    def max_iter(self) -> int | None:
        """The largest number of items that it may give; None: no limit."""
        return self._max_iter

    def start(self) -> None:
        """Open the sources now, if they are not open yet."""
        if not self._n_passes:
            self._advance(self._items)

    def state_dict(self) -> dict:
        """Return where this run stands, for `Streamer.resume`.

        Returns
        -------
        dict
            It has strings, numbers, lists and dicts: ``json.dumps`` takes it. Its size grows with
            the number of open streams, and of streamers that were left out in this run.

        Raises
        ------
        PescadorError
            If another thread is in the middle of an item, or was so when the stream was closed.

        Notes
        -----
        You can call it between any two items, also inside a loop over the stream. It takes about a
        microsecond for each open stream. If the stream was closed, interrupted (Ctrl-C in a source)
        or has failed, the state says where it stood after the last item that it handed out. If that
        cannot be said exactly, the state has an earlier position and a number of items, which
        resuming reads again. Seeds that were drawn from a ``random_state`` are part of the state;
        a ``random_state`` that was not drawn from yet is not.

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
                fields["taken"] = self._seed.taken(functools.partial(generators_of, self._streamer))
                fields["failures"] = self._seed.session.failures.state()
            return positions.sealed(fields)

    def save(self, path: Any) -> None:
        """Write where this run stands to a file, for `Streamer.resume`.

        Parameters
        ----------
        path : str or path-like
            The file. It is replaced as a whole: if the disk is full or the program is killed, it is
            unchanged.

        Raises
        ------
        PescadorError
            As for `state_dict`.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import os, tempfile
        >>> import pescador
        >>> streamer = pescador.Streamer(range, 5)
        >>> stream = streamer.iterate()
        >>> next(stream), next(stream)
        (0, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     stream.save(os.path.join(folder, "state.json"))
        ...     list(streamer.resume(os.path.join(folder, "state.json")))
        [2, 3, 4]
        """
        saving.save(self.state_dict(), path)

    def _fields(self) -> dict:
        """Return where this run stands, but for where its seeds come from."""
        if isinstance(self._last, PescadorError):
            raise self._last
        return self._fields_now() if self._last is None else self._last

    def _fields_now(self) -> dict:
        n_given = self.n_given
        fields = {
            "n_given": n_given,
            "max_iter": self._max_iter,
            "cycle": self._cycle,
            "n_passes": self._n_passes,
            "given_before": self._given_before,
            "has_ended": self._has_ended,
        }
        if self._n_passes and not self._has_ended:
            n_of_pass = n_given - self._given_before
            is_opening = self._source is None and (n_of_pass or not self._is_closed)
            if is_opening or self._is_in_an_item():
                raise _in_an_item()
            fields["position"] = positions.position_of(self._source, n_of_pass)
            if self._is_in_an_item() or self.n_given != n_given:
                raise _in_an_item()  # another thread has gone on in the meantime
        return fields

    def _start_again(self) -> None:
        """Close what is open, and go on where it stood; if that fails, it is known where."""
        fields = self._fields()
        try:
            self._close_source()
            self._open(self._n_passes - 1, fields["position"])
        except BaseException:
            self._last = fields
            self.close()
            raise

    def _is_in_an_item(self) -> bool:
        front = self._front
        return isinstance(front, GeneratorType) and front.gi_running

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
            self._seed = Seed.root(Session(meter=self._meter))
            self._seed.session.failures.n_items = _count_of(weakref.ref(self))
        else:
            self._seed = next(binding.seeds)
            binding.stream = weakref.ref(self)
            if fields is None:
                fields, binding.fields = binding.fields, None
                if fields is not None:
                    self._check_limits(fields)
        if fields is None or not fields["n_passes"]:  # (an interrupt came as it was started)
            self._begin_pass()
            return
        self._ticks = repeat(self._gate, sys.maxsize - fields["n_given"])
        self._given_before, self._has_ended = fields["given_before"], fields["has_ended"]
        self._count_pass(fields["n_passes"])
        self._seed.session.failures.restore(fields.get("failures", []))
        if not self._has_ended:
            self._seed.take(
                fields.get("taken", []), functools.partial(generators_of, self._streamer)
            )
            self._open(self._n_passes - 1, fields["position"])

    def _check_limits(self, fields: dict) -> None:
        """Compare what a call has asked for with what it had."""
        now = {"max_iter": self._max_iter, "cycle": self._cycle}
        positions.check_same(self._streamer, {name: fields[name] for name in now}, now)

    def _advance(self, ended: Iterator) -> bool:
        with self._lock:
            if self._items is not ended:
                return True  # another thread has been here
            is_cut_off = self._is_cut_off()
            if not is_cut_off and self._begin_next_pass():
                return True
            if is_cut_off and not self._is_in_an_item():
                self._read_front()
                return True
        if is_cut_off:
            self._wait_for_turn()
        else:
            self.close()
        return is_cut_off

    def _is_cut_off(self) -> bool:
        """Tell whether the readers have lost a source that is not over, by a collision.

        ``islice`` drops its source at any error, also at that of a second thread.
        """
        if self._is_closed or self._max_iter is None or not isinstance(self._front, GeneratorType):
            return False
        return self._front.gi_frame is not None and self.n_given < self._max_iter

    def _begin_next_pass(self) -> bool:
        """Begin the first pass, or the next one; tell whether there is one."""
        if self._is_closed or self._has_ended or not self._has_next_pass():
            return False
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

    def _has_next_pass(self) -> bool:
        given = self.n_given
        if self._max_iter is not None and given >= self._max_iter:
            if self._n_passes and self._streamer._binding is None:
                self._last = self._fields()
            return False
        self._has_ended = self._n_passes > 0 and not (self._cycle and given > self._given_before)
        return not self._has_ended

    def _begin_pass(self) -> None:
        number = self._n_passes
        self._given_before = self.n_given
        self._count_pass(number + 1)
        self._open(number, 0)

    def _count_pass(self, n_passes: int) -> None:
        counted = self._counted_by = self._streamer._counted_by()
        # No interrupt comes between these two: `_release` counts down what has begun a pass.
        counted.active_count_ += not self._n_passes
        self._n_passes = n_passes

    def _open(self, number: int, position: Any) -> None:
        """Open the source of a pass."""
        try:
            if position == 0:
                source = self._open_pass(self._seed, 0, number)
            elif isinstance(position, int) and self._streamer._has_own_iterate():
                source = self._open_pass(self._seed, 0, number)
                with self._seed.session.as_known():
                    source = positions.moved(source, position, self._streamer)
            else:
                source = open_at(self._streamer, self._seed, 0, number, position)
        except StopIteration as error:  # here it would pass for the end of the data
            raise _validate.stopped(self._streamer) from error
        self._source = source
        self._front = source if type(source) is GeneratorType else lend(source)
        self._read_front()

    def _read_front(self) -> None:
        """Let readers in, up to the limit. (The limit costs no frame.)"""
        items: Any = self._front
        if self._max_iter is not None:
            items = islice(items, min(self._max_iter - self.n_given, sys.maxsize))
        self._items = compress(items, self._ticks)

    def __del__(self) -> None:
        self._is_abandoned = True
        super().__del__()

    def _keep_position(self) -> None:
        """Keep where the stream stands, for a state that is asked for after it was closed."""
        session, binding = self._seed.session, self._streamer._binding
        if self._has_ended or self._is_abandoned or (binding is not None and session.is_closing):
            return
        if binding is None:
            session.begin_to_close()
        elif self._max_iter is not None and self.n_given >= self._max_iter:
            self._has_ended = True  # the call that reads it gets no more of it, wherever it goes on
            return
        try:
            self._last = self._fields()
        except PescadorError as refusal:  # for whoever asks for the state
            self._last = refusal.with_traceback(None)
        else:
            if binding is not None:
                binding.closed = self._last

    def _close_source(self) -> None:
        source, self._source = self._source, None
        super()._release()
        if source is not self._front:
            close_iterator(source)
        self._front = None

    def _release(self) -> None:
        if self._n_passes:
            try:
                self._keep_position()
            except BaseException:  # an interrupt as the position was read: it can be read again
                self._keep_position()
                raise
            finally:
                try:
                    self._close_source()
                finally:
                    self._counted_by.active_count_ -= 1
                    if self._streamer._binding is None:
                        self._seed.session.close()


def _count_of(known: weakref.ref) -> Callable[[], int]:
    """Return what tells how many items a stream has given."""

    def n_items() -> int:
        stream = known()
        return -1 if stream is None else stream.n_given

    return n_items


# Names that people look for on a stream, and where they are.
_ELSEWHERE = dict.fromkeys(
    ("load_state_dict", "resume"), "call its streamer: stream = streamer.resume(state)"
)
_ELSEWHERE |= dict.fromkeys(
    ("iterate", "cycle", "generate", "active", "streamers", "weights", "n_streams"),
    "its streamer has that; a stream is one run of a streamer",
)
_ELSEWHERE |= dict.fromkeys(("send", "throw"), "write a generator of your own around it")
_ELSEWHERE["tuples"] = "give it to a map: pescador.tuples(stream, 'X', 'Y')"


def _in_an_item() -> PescadorError:
    return PescadorError(
        "the stream is in the middle of an item; call state_dict() between two items, and before"
        " another thread closes it"
    )
