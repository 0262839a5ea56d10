"""Which signals reach a background process, and when Ctrl-C may interrupt its parent."""

from __future__ import annotations

import contextlib
import operator
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def no_interrupt(context: Any) -> Iterator[None]:
    """Hold back SIGINT until the new process has its own way of handling it.

    (The server of "forkserver" must not inherit this: it would pass it on to others.)
    """
    if not hasattr(signal, "pthread_sigmask") or context.get_start_method() == "forkserver":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Shielded:
    """A function that a new process loads only after it has begun to ignore Ctrl-C.

    (Loading imports NumPy, and an import that is interrupted prints a traceback.)
    """

    def __init__(self, function: Callable) -> None:
        self._function = function

    def __call__(self, *args: Any) -> None:
        self._function(*args)

    def __reduce__(self) -> tuple:
        return operator.getitem, ((_Ignoring(), self._function), 1)


class _Ignoring:
    """An object whose unpickling makes the process ignore SIGINT."""

    def __reduce__(self) -> tuple:
        return signal.signal, (signal.SIGINT, signal.SIG_IGN)


class HeldInterrupts:
    """Holds back Ctrl-C in a ``with`` block, where it would leave things half made.

    Python handles signals in the main thread alone; in other threads this does nothing.
    """

    def __init__(self) -> None:
        self._handler: Any = None
        self._came: tuple | None = None

    def __enter__(self) -> HeldInterrupts:
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):
                self._handler = handler
                signal.signal(signal.SIGINT, self._note)
        return self

    @property
    def has_come(self) -> bool:
        """Whether an interrupt waits to be delivered."""
        return self._came is not None

    def _note(self, *signal_and_frame: Any) -> None:
        self._came = signal_and_frame

    def __exit__(self, kind: Any, *exc: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
        if kind is not None:
            self.deliver()

    def deliver(self) -> None:
        """Call the program's own handler, if an interrupt came."""
        came, self._came = self._came, None
        if came is not None:
            self._handler(*came)
