"""Signals: those to a whole group of processes, which are the consumer's, and how it holds them.

A terminal and a scheduler send signals to all processes of a job. What they mean is for the
consumer to decide, so a background process is not to notice them, from its first instruction on.
They are blocked while it starts, and their handlers do nothing before they are let through.
"""

from __future__ import annotations

import contextlib
import operator
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

NAME = "pescador"  # of the background processes, for multiprocessing


def _existing(*names: str) -> frozenset[int]:
    return frozenset(int(getattr(signal, name)) for name in names if hasattr(signal, name))


# With which others end or inform a program.
_SENT = _existing("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_ENDING = _existing("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
GROUP = _SENT | _existing("SIGALRM", "SIGXCPU")
# With which the process stops a source. By default it is ignored, so one that somebody else
# sends does no harm; terminals and schedulers do not send it.
STOP_SIGNAL = getattr(signal, "SIGURG", signal.SIGINT)
# Of a process that has done something wrong: these it must not ignore.
_FAULTS = _existing("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS")
_HAS_MASK = hasattr(signal, "pthread_sigmask")


# In the consumer.


@contextlib.contextmanager
def blocked(method: str) -> Iterator[None]:
    """Start a process in this block: it begins with its signals blocked."""
    if not _HAS_MASK:
        yield
        return
    numbers = GROUP | _with_handlers() if method == "fork" else GROUP
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        if method != "fork":
            _start_helpers(method)
        if method == "forkserver":
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _with_handlers() -> frozenset[int]:
    """Return the signals for which there are handlers in Python, which a fork inherits."""
    numbers = (number for number in signal.valid_signals() if callable(signal.getsignal(number)))
    return frozenset(map(int, numbers)) - _FAULTS


def _start_helpers(method: str) -> None:
    """Start what multiprocessing starts at its first use and keeps, with signals blocked."""
    from multiprocessing import forkserver, resource_tracker

    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, GROUP)  # it lets some of them through
    if method == "forkserver":
        server: Any = getattr(forkserver, "_forkserver", None)
        modules = getattr(server, "_preload_modules", None)
        if modules is not None:
            server._preload_modules = _Preloaded(modules)
        try:
            forkserver.ensure_running()
        finally:
            if modules is not None:
                server._preload_modules = modules


class _Preloaded(list):
    """The modules that a forkserver imports first, written so that it runs `_IN_SERVER` as well.

    (It must not import this package for that, which it might not find.)
    """

    def __repr__(self) -> str:
        return f"(exec({_IN_SERVER!r}), {list(self)!r})[1]"


# The forkserver has its signals blocked, and so have all processes that it forks. Other programs'
# processes must not: theirs are let through before they begin to work.
_IN_SERVER = f"""
import multiprocessing.process, multiprocessing.util, signal
def let_signals_through(_):
    if multiprocessing.process.current_process().name != {NAME!r}:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {sorted(GROUP)!r})
multiprocessing.util.register_after_fork(let_signals_through, let_signals_through)
"""


class BlockingName(str):
    """A name for a process which blocks signals as it is unpickled.

    The name is the first thing that a process of multiprocessing gets from its parent. A
    forkserver that the program has started itself forks it with signals let through.
    """

    def __reduce__(self) -> tuple:
        return operator.getitem, ((_Blocking(), str(self)), 1)


class _Blocking:
    """An object whose unpickling blocks the signals, or, without masks, makes Ctrl-C ignored."""

    def __reduce__(self) -> tuple:
        if _HAS_MASK:
            return signal.pthread_sigmask, (int(signal.SIG_BLOCK), sorted(GROUP))
        return signal.signal, (signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """Let no signal interrupt a system call of this thread in a short block."""
    if not _HAS_MASK:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class HeldInterrupts:
    """Holds back signals in a ``with`` block, where a handler could leave things half made.

    These are Ctrl-C and others that have a handler of the program's. Python calls handlers in the
    main thread alone; in other threads this does nothing.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}
        self._came: list[tuple[int, Any]] = []
        self._has_come = False

    def __enter__(self) -> HeldInterrupts:
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in _SENT}
            self._handlers = {
                number: handler for number, handler in handlers.items() if callable(handler)
            }
            _exchange(dict.fromkeys(self._handlers, self._note))
        return self

    @property
    def has_come(self) -> bool:
        """Whether a signal waits to be delivered that asks the program to end."""
        return self._has_come

    def _note(self, number: int, frame: Any) -> None:
        # (Here, not in a loop over them: one that came in that loop would hold on to its frame.)
        self._has_come = self._has_come or number in _ENDING
        self._came.append((number, frame))

    def __exit__(self, kind: Any, *exc: object) -> None:
        _exchange(self._handlers)
        if kind is not None:
            self.deliver()

    def deliver(self) -> None:
        """Call the program's own handlers of the signals that came, once for each signal."""
        came, self._came, self._has_come = dict(self._came), [], False
        with contextlib.ExitStack() as calls:
            for number, frame in reversed(came.items()):
                calls.callback(self._handlers[number], number, frame)


def _exchange(handlers: dict[int, Any]) -> None:
    """Set several handlers, of which one that is called must not keep the rest from being set."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, handlers) if _HAS_MASK else None
    try:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In the background process.


# Most are ignored. The programs that a source starts inherit that, and some of those are ended by
# these two, which therefore have a handler that does nothing instead. (Not all have: the handlers
# of signals that come together share a small stack, once faulthandler is enabled.)
_HANDLED = _existing("SIGINT", "SIGTERM")
_IGNORED_BY_DEFAULT = _existing("SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH")
_forking = threading.local()
_settled: dict[int, Any] = {}  # the signals that `settle` has changed, and how


def settle(on_stop: Callable[[int, Any], None]) -> None:
    """Ignore what is the consumer's, run no handler of its own, and let signals through again.

    ``on_stop`` becomes the handler of the signal that stops a source.
    """
    signal.set_wakeup_fd(-1)
    numbers = GROUP | _with_handlers()
    for number in numbers:
        if signal.getsignal(number) != signal.SIG_IGN:
            _settled[number] = _harmless(number)
            signal.signal(number, _settled[number])
            if hasattr(signal, "siginterrupt"):
                signal.siginterrupt(number, False)
    signal.signal(STOP_SIGNAL, on_stop)
    if _HAS_MASK:
        if not hasattr(_forking, "mask"):  # else this is a fork of a process that has done it
            _forking.mask = []
            os.register_at_fork(
                before=_hold_for_fork, after_in_parent=_let_through, after_in_child=_unsettle
            )
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers | {STOP_SIGNAL})


def _harmless(number: int) -> Any:
    """Return how to handle a signal so that it does nothing."""
    if number in _HANDLED:
        return _do_nothing
    return signal.SIG_DFL if number in _IGNORED_BY_DEFAULT else signal.SIG_IGN


def _do_nothing(number: int, frame: Any) -> None:
    pass


# A process that a source forks itself gets its signals back, since such processes are ended by
# SIGTERM; and it must not lose one that comes before it has them.


def _hold_for_fork() -> None:
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP)


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _unsettle() -> None:
    for number, handler in _settled.items():
        if number != signal.SIGINT and signal.getsignal(number) == handler:
            signal.signal(number, signal.SIG_DFL)
    _settled.clear()
    signal.signal(STOP_SIGNAL, signal.SIG_DFL)
    _let_through()
