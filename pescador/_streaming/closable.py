"""An iterator that can be closed and that several threads may read: the base of streams and maps.

Reading costs one Python frame an item and takes no lock. The source is a Python generator, which
CPython lets only one thread enter: a second one gets a ValueError before anything has happened.
That error is the signal to wait for one's turn, so that only a collision costs anything.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from itertools import compress, repeat
from types import FrameType, GeneratorType
from typing import Any, NoReturn, Protocol, TypeVar

from .. import _validate
from ..exceptions import PescadorError
from . import leaving


class NotPicklableError(PescadorError, TypeError):
    """An open stream cannot leave its process (a TypeError too, as from pickle)."""


class Timer(Protocol):
    """Times some of the items of a loop."""

    def portion(self, items: Iterator) -> Iterator:
        """Return what the loop is to read next, of these."""

    def goes_on(self) -> bool:
        """Tell whether there may be more items, after a portion."""

    def stop(self) -> None:
        """Know that there is no item any more."""


_Self = TypeVar("_Self", bound="ClosableIterator")
_COLLISION = ("generator already executing",)  # the arguments of CPython's error
_LONGEST_PAUSE = 1e-3  # seconds between two looks at whether the other thread is done


class ClosableIterator(Iterator):
    """An iterator over a generator, with ``close()`` and ``with``, safe to share among threads.

    ``iter()`` returns a fresh way in for a ``for`` loop, not the object itself: each thread needs
    a frame of its own to wait in. All ways in read the same items; dropping one closes nothing.
    """

    __slots__ = ("__weakref__", "_front", "_gate", "_is_closed", "_items", "_lock", "_ticks")

    def _class_for_isinstance(self) -> type:
        asks_for_names = sys._getframe(1).f_globals.get("__name__") == "rlcompleter"
        return type(self) if asks_for_names else GeneratorType

    # For isinstance() it is what it stands for, a generator: ``Model.fit`` of Keras 3 takes these,
    # and no other iterators. ``type()`` and ``dir()`` tell the truth; so does Tab at Python's
    # prompt, which also offers the names of what this says.
    __class__ = property(_class_for_isinstance)

    def __dir__(self) -> list[str]:
        return dir(type(self))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise NotPicklableError(_validate.explain("stream", self, *self._NOT_PICKLED))

    _NOT_PICKLED = (
        "an iterator over a stream can be neither pickled nor copied",
        "make a streamer of the map and its arguments, and save the state of its stream:"
        " Streamer(buffer_stream, streamer, 32).iterate().state_dict()",
    )

    def __init__(self, front: Generator | None) -> None:
        self._lock = threading.RLock()
        self._is_closed = False
        self._front = front
        # Each item takes one tick along, in C. Every tick is this memoryview; releasing it ends
        # all loops over the items, since a released one is neither true nor false. This costs the
        # readers nothing, and nothing else could reach them.
        self._gate = memoryview(b"open")
        self._ticks = repeat(self._gate, sys.maxsize)
        # What is read has no close() of its own, so that a loop that is left early does not
        # end the run for the others.
        self._items: Iterator = iter(()) if front is None else compress(front, self._ticks)
        leaving.add(self)

    def __repr__(self) -> str:
        return f"<iterator of {getattr(self._front, '__name__', 'items')}>"

    def __next__(self) -> Any:
        while True:
            items = self._items
            try:
                return next(items)
            except StopIteration:
                pass
            except BaseException as error:
                self._wait_or_fail(error)
                continue
            if not self._advance(items):
                raise StopIteration

    def __iter__(self) -> Iterator:
        return self._loop(None)

    def _loop(self, timer: Timer | None) -> Iterator:
        """Yield the items; a timer may say which are read next."""
        while True:
            items = self._items
            portion = items if timer is None else timer.portion(items)
            try:
                for item in portion:  # noqa: UP028 - 'yield from' takes longer
                    yield item
            except GeneratorExit as error:
                if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                    self.close()  # a source raised it; else this loop alone is over
                raise
            except BaseException as error:
                self._wait_or_fail(error, timer)
                continue
            if timer is not None and timer.goes_on():
                continue
            if not self._advance(items):
                break
        if timer is not None:
            timer.stop()

    def _advance(self, ended: Iterator) -> bool:
        """Put what follows ``ended`` in its place; False if nothing does."""
        self.close()
        return False

    def _wait_or_fail(self, error: BaseException, timer: Timer | None = None) -> None:
        """Wait, if another thread is inside the generator; else close, and raise the error."""
        try:
            if self._is_closed and (_is_raised_here(error) or leaving.has_begun()):
                return  # another thread has closed it
            if not self._is_collision(error):
                if timer is not None:
                    timer.stop()
                try:
                    self.close()
                except Exception as error_of_closing:
                    error.__context__ = error_of_closing
                raise error
            if not self._wait_until_idle():
                raise error  # a source that reads its own stream is told so, and may go on
        finally:
            del error  # its traceback has this frame: nobody should have to wait for the collector

    def _is_collision(self, error: BaseException) -> bool:
        return error.args == _COLLISION and _is_raised_here(error)

    def _wait_until_idle(self) -> bool:
        """Wait until no other thread is in the generator; False if it is this one that is."""
        front = self._front
        if not isinstance(front, GeneratorType):
            return True
        if _is_below(front):
            return False
        pause = 0.0
        while front.gi_running:
            time.sleep(pause)
            pause = min(2 * pause + 1e-6, _LONGEST_PAUSE)
        return True

    def _wait_for_turn(self) -> None:
        """Wait until no other thread is in the generator; it is an error if this one is."""
        if not self._wait_until_idle():
            raise ValueError(*_COLLISION)

    def close(self) -> None:
        """End the iteration, and run the ``finally`` blocks of everything underneath, now.

        Idempotent. If another thread is in the middle of an item, that item is finished first,
        but not given any more.
        """
        if self.stop_reading(iter(())):
            self._release()

    def stop_reading(self, rest: Iterator) -> bool:
        """Let nobody in any more, but to ``rest``; tell whether it was open."""
        with self._lock:
            if self._is_closed:
                return False
            if self._front is not None and _is_below(self._front):
                raise ValueError(
                    "a source cannot close the stream that is reading it;"
                    " let the source return instead"
                )
            self._is_closed = True
            self._items = rest
            self._gate.release()
        return True

    def release_by(self, end: float) -> None:
        """Close what is underneath, if no other thread is inside by then."""
        while self._is_inside() and time.monotonic() < end:
            time.sleep(_LONGEST_PAUSE)
        if not self._is_inside():
            self._release()

    def _is_inside(self) -> bool:
        return isinstance(self._front, GeneratorType) and self._front.gi_running

    def _release(self) -> None:
        """Close the generator underneath."""
        while self._front is not None:
            try:
                self._front.close()
                return
            except ValueError as error:
                if not (self._is_collision(error) and self._wait_until_idle()):
                    raise

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True):
            self.close()


def _is_raised_here(error: BaseException) -> bool:
    """Tell whether this is a ValueError that did not come out of a frame below the reader's."""
    is_ours = error.__traceback__ is not None and error.__traceback__.tb_next is None
    return type(error) is ValueError and is_ours


def close_iterator(source: Any) -> None:
    """Run the ``finally`` blocks of an iterator, if it can be closed."""
    close = getattr(source, "close", None)
    if close is not None:
        close()


def read(stream: Iterable) -> Generator:
    """Yield the items of a stream; close the iterator at the end, if it is not the caller's own."""
    iterator = iter(stream)
    try:
        for item in iterator:  # noqa: UP028 - 'yield from' would close that of the caller
            yield item
    finally:
        if iterator is not stream:
            close_iterator(iterator)


def _is_below(generator: Any) -> bool:
    """Tell whether ``generator`` is running, and its frame among those that led to this call."""
    if not generator.gi_running:
        return False
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame is not generator.gi_frame:
        frame = frame.f_back
    return frame is not None
