"""What Keras reads of a streamer: batches of epochs, some of them ahead of their turn."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import _validate
from .._repr import counted
from ..exceptions import PescadorError

MOST_COUNTED = 100_000  # batches: a stream that has more may be endless
_LOGGER = logging.getLogger("pescador")


class Read(NamedTuple):
    """A batch, and where the stream stood before it; or the error that said it is not known."""

    batch: Any
    state: Any
    error: PescadorError | None


class Epochs:
    """The batches of a streamer, epoch by epoch.

    Keras reads batches to build a model before an epoch begins; with TensorFlow also in threads,
    by iterators that it makes at the end of an epoch, and drops as the next one begins. So whoever
    reads, a *reader*, gets the batches of its epoch in their order, whatever others have read.
    Batches have numbers: the first one of an epoch begins where all of the one before were read.

    Parameters
    ----------
    streamer : Streamer
        Gives batches.
    steps : int, optional
        How many batches an epoch has. None: those of a pass, which begins anew each time.
    convert : callable
        Makes of a batch what Keras gets.
    n_kept : int
        How many batches of an epoch a reader may have read that is going to be dropped: they are
        kept for another one. With 0 there is only one reader of an epoch.
    """

    def __init__(self, streamer: Any, steps: int | None, convert: Callable, n_kept: int) -> None:
        self.streamer, self.steps = streamer, steps
        self._convert, self._n_kept = convert, n_kept
        self._lock = threading.Lock()
        self._size = steps
        self._restart(None)

    def _restart(self, state: dict | None) -> None:
        self._stream: Any = None if state is None else self.streamer.resume(state)
        self._ahead: list[Read] = []
        self._base = 0  # the number of the first one of those
        self._first = 0  # the number of the first batch of the epoch
        self._next: dict[Any, int] = {}  # by reader: the number of the batch it reads next
        self._is_begun = self._is_over = False  # whether any, or all, were read in an epoch
        self._is_looking = False  # whether the epoch is there to build a model
        # Who was reading as an epoch was left before its end, if somebody was.
        self._left_by: set[Any] = set()
        self.is_in_epoch = False

    # Counting.

    @property
    def size(self) -> int:
        """How many batches an epoch has."""
        if self._size is None:
            self._size = self._count()
        return self._size

    def _count(self) -> int:
        with self.streamer.iterate() as stream:
            n_batches = sum(1 for _ in itertools.islice(stream, MOST_COUNTED + 1))
        if n_batches > MOST_COUNTED:
            rule = f"has more than {MOST_COUNTED:,} batches, if it ends at all"
            raise _validate.refuse("streamer", self.streamer, rule, "give steps")
        if not n_batches:
            rule, remedy = "has no batches", "check whether its sources are empty"
            raise _validate.refuse("streamer", self.streamer, rule, remedy)
        return n_batches

    # Reading.

    def look(self, index: int) -> Any:
        """Return a batch that is to come, which comes again."""
        with self._lock:
            return self._at(self._upcoming() + index, True).batch

    def _upcoming(self) -> int:
        """Return the number of the batch that comes next."""
        if self._is_over:
            return self._first + self.size
        return max(self._next.values()) if self._is_begun else self._first

    def take(self, reader: Any) -> Any:
        """Return the next batch of a reader's epoch."""
        with self._lock:
            if reader not in self._next:
                self._next[reader] = self._first_of_new(reader)
            number = self._next[reader]
            if number < self._base:
                raise PescadorError(
                    "Keras reads the epoch in a way that StreamDataset does not know, and batches"
                    " would be lost; give fit() a stream of pescador.keras_tuples instead"
                )
            # (A state is dear: it is taken where it may be wanted, not before every batch.)
            is_start = self._n_kept > 0 and (number - self._first) % self.size == 0
            batch = self._at(number, is_start).batch
            self._next[reader] = number + 1
            self._note_taken(number)
            return batch

    def _first_of_new(self, reader: Any) -> int:
        """Return where a new reader begins.

        It is dropped unread if it comes after all has been read. (Or so it seems: one of those may
        have read a short epoch before its true reader comes.)
        """
        if self._left_by and reader not in self._left_by:
            _LOGGER.warning(
                "an epoch was stopped before its end: Keras had read batches ahead, and the model"
                " will not train on them"
            )
        self._left_by = set()
        is_late = self._is_over and self.size > self._n_kept
        return self._first + self.size if is_late else self._first

    def _note_taken(self, number: int) -> None:
        """Know that a batch has been read, and forget what nobody reads again."""
        n_read = number + 1 - self._first
        if n_read > self.size:
            return
        if self.is_in_epoch and not self._is_looking:
            self._is_begun = True
            self._is_over = self._is_over or n_read == self.size
        if n_read > self._n_kept:
            self._forget(number + 1)

    def _at(self, number: int, with_state: bool) -> Read:
        while self._base + len(self._ahead) <= number:
            state, error = None, None
            if with_state:
                try:
                    state = self._state_of_stream()
                except PescadorError as why:  # for whoever asks for it
                    error = why
            self._ahead.append(Read(self._convert(self._read()), state, error))
        return self._ahead[number - self._base]

    def _read(self) -> Any:
        """Read a batch of the stream."""
        is_pass = self.steps is None
        if is_pass and self._stream is not None and self._stream.n_given == self.size:
            self._stream.close()
            self._stream = None
        if self._stream is None:
            self._stream = self.streamer.iterate() if is_pass else self.streamer.cycle()
        batch = next(self._stream, None)
        if batch is None:
            raise PescadorError(
                f"{_validate.short(self.streamer)} ended"
                f" after {counted(self._stream.n_given, 'batch')}, and an epoch has {self._size};"
                " give steps, or a streamer that gives as many batches in every pass"
            )
        return batch

    def _forget(self, number: int) -> None:
        """Forget the batches before a number."""
        n_forgotten = max(0, number - self._base)
        del self._ahead[:n_forgotten]
        self._base += n_forgotten

    # Epochs.

    def begin(self, is_looking: bool = False) -> None:
        """Begin an epoch; perhaps one in which batches are only looked at."""
        with self._lock:
            if self.steps is None and self._is_begun and not self._is_over:
                self.close()
                self._restart(None)
            elif self._is_begun:
                if self._n_kept and not self._is_over:
                    self._left_by = set(self._next)
                self._first = self._upcoming()
            self._is_begun = self._is_over = False
            self._is_looking, self.is_in_epoch = is_looking, True
            self._forget(self._first)
            self._next = {each: n for each, n in self._next.items() if n > self._first}

    def end(self) -> None:
        """End an epoch."""
        with self._lock:
            self.is_in_epoch = False

    def close(self) -> None:
        """Close the stream."""
        if self._stream is not None:
            self._stream.close()

    # Where it stands.

    def state(self) -> Any:
        """Return where the stream stood before the batch that comes next."""
        with self._lock:
            if self._n_kept and self._is_begun and (self.is_in_epoch or not self._is_over):
                raise PescadorError(
                    "during an epoch, Keras on TensorFlow reads batches ahead, and it is not known"
                    " how many; call state_dict() between two epochs, in on_epoch_end of a"
                    " callback; give steps to the dataset, not steps_per_epoch to fit()"
                )
            n_before = self._upcoming() - self._base
            ahead = self._ahead[n_before : n_before + 1]
            if not ahead:
                return self._state_of_stream()
            if ahead[0].error is not None:
                raise ahead[0].error
            return ahead[0].state

    def _state_of_stream(self) -> Any:
        return None if self._stream is None else self._stream.state_dict()

    def resume(self, state: dict | None) -> None:
        """Go to where a stream stood."""
        with self._lock:
            self.close()
            self._restart(state)
