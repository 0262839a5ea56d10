"""What is open when the program ends is closed then, while all that closing needs is there.

Later, the interpreter clears its modules, in any order, and calls what is left in between.
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import NoReturn, Protocol

SECONDS = 0.5  # for another thread to come to the end of an item


class Reader(Protocol):
    """What is read, and may be closed."""

    def stop_reading(self, rest: Iterator) -> bool:
        """Let nobody in any more, but to what is the rest; tell whether it was open."""

    def release_by(self, end: float) -> None:
        """Close what is underneath, if no other thread is inside by then."""


class _Rest(Iterator):
    """What threads read that are still there: it ends them, for their data has not ended."""

    def __next__(self) -> NoReturn:
        if threading.current_thread() is threading.main_thread():
            raise StopIteration  # in another hook
        raise SystemExit("the program ends")  # which `threading` passes over in silence


_readers: dict[weakref.ref[Reader], None] = {}  # (a dict: those who read others come first)
_afterwards: list[Callable[[], object]] = []
_has_begun = False


def add(reader: Reader) -> None:
    """Close it when the program ends, if it is there and open."""
    # (Forgotten by C: a callback in Python could be interrupted, and nobody would hear of it.)
    _readers[weakref.ref(reader, _readers.pop)] = None


def afterwards(function: Callable[[], object]) -> None:
    """Call a function when these have been closed."""
    _afterwards.append(function)


def has_begun() -> bool:
    """Tell whether the program ends."""
    return _has_begun


def before_others() -> None:
    """Do it before the hooks that were registered up to now are called."""
    atexit.unregister(_leave)
    atexit.register(_leave)


def _leave() -> None:
    global _has_begun
    _has_begun = True
    found = [reader for each in list(_readers) if (reader := each()) is not None]
    found = [reader for reader in found if reader.stop_reading(_Rest())]
    end = time.monotonic() + SECONDS
    for reader in found:
        _call(functools.partial(reader.release_by, end))
    for function in _afterwards:
        _call(function)


def _call(function: Callable[[], object]) -> None:
    """Call a function; tell of its error as the interpreter does where nobody can catch it."""
    try:
        function()
    except Exception as error:
        traceback.print_exception(type(error), error, error.__traceback__)


before_others()
if hasattr(os, "register_at_fork"):  # those are of the program, which closes them itself
    os.register_at_fork(after_in_child=_readers.clear)
