"""The life of one background process: start, watch, stop, reap. What it makes is not known here.

The two sides talk over a pipe that nobody else can open: orders one way, errors the other. The
inside of the process is in ``_host``.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import pickle
import signal
import socket
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import six

from . import _validate
from ._host import ASK, LOOK, STOP, as_socket, run
from .exceptions import PescadorError, WorkerError

_TERM = 0.5  # seconds between SIGTERM and SIGKILL
_REAP = 10.0  # seconds for the system to end a process that has been killed


class Worker:
    """A background process, from the side that started it.

    Parameters
    ----------
    main : callable
        What the process runs: ``main(host, task, order, descriptor)``, a function of a module.
    task : object
        Handed over as it is under fork, pickled otherwise.
    method : str or None
        The start method of multiprocessing; None for the platform's own.
    """

    def __init__(self, main: Callable, task: Any, method: str | None) -> None:
        context = _context(method)
        if multiprocessing.current_process().daemon:
            raise PescadorError(
                "this process is a daemon of multiprocessing, which may not start others;"
                " start it with daemon=False, or iterate the streamer itself instead of a"
                " ZMQStreamer"
            )
        self.link, other = context.Pipe()
        _links.add(self.link)
        self.process = context.Process(
            target=run, args=(other, main, _Packed(task)), name="pescador", daemon=False
        )
        self._owner = os.getpid()
        self._is_closed = False
        self._death: int | None = None
        # Where the interpreter ends with this process running: before multiprocessing joins it.
        self._finalizer = multiprocessing.util.Finalize(
            None, self.close, args=(_TERM,), exitpriority=10
        )
        try:
            with _no_warning_of_threads(), _no_interrupt(context):
                self.process.start()
            self._death = _death_of(self.process)
        except BaseException:
            self.close(0)
            raise
        finally:
            other.close()
        self.pid = self.process.pid

    @property
    def is_owned(self) -> bool:
        """Whether this is the process that started it, not a fork of it."""
        return os.getpid() == self._owner

    @property
    def signs_of_life(self) -> list[int]:
        """Return the descriptors that become readable when it dies or reports an error."""
        if os.name != "posix":
            return []
        return [self.link.fileno(), *([] if self._death is None else [self._death])]

    @property
    def has_died(self) -> bool:
        """Whether the process has ended."""
        if self.process.exitcode is not None:
            return True
        return self._death is not None and bool(multiprocessing.connection.wait([self._death], 0))

    def begin(self, message: bytes, descriptor: int | None) -> None:
        """Send the first order, and a file descriptor along with it."""
        self.order((b"-" if descriptor is None else b"+") + message)
        if descriptor is not None:
            with as_socket(self.link) as pipe, contextlib.suppress(OSError):
                socket.send_fds(pipe, [b"f"], [descriptor])

    def order(self, message: bytes) -> None:
        """Send an order, unless it is dead."""
        with contextlib.suppress(OSError):
            self.link.send_bytes(message)

    def obituary(self) -> str:
        """Say how it ended."""
        code = self.process.exitcode
        if code is None:
            return f"the background process {self.pid} died"
        if code < 0:
            return f"the background process {self.pid} was killed by {_signal_name(-code)}"
        return f"the background process {self.pid} ended by itself, with exit code {code}"

    def raise_error(self) -> None:
        """Raise the error that it reports; return if it has died without a report."""
        report = self._receive()
        if report is None:
            return
        told = json.loads(report)
        self.order(ASK)
        error = _unpickled(self._receive(), told)
        six.raise_from(error, RemoteTraceback(told["text"]))

    def _receive(self) -> bytes | None:
        """Wait for what it says over the pipe; None if it dies first."""
        try:
            while not self.link.poll(LOOK):
                if self.has_died and not self.link.poll():
                    return None
            return self.link.recv_bytes()
        except (EOFError, OSError):
            return None

    def close(self, grace: float | None) -> None:
        """End the process: by an order, after ``grace`` seconds by force. Idempotent."""
        if not self.is_owned or self._is_closed:
            return
        self._is_closed = True
        self._finalizer.cancel()
        try:
            self.order(STOP)
            if self.process.pid is not None and not self._wait(grace):
                self.process.terminate()
                if not self._wait(_TERM):
                    self.process.kill()
                    self._wait(_REAP)
        finally:
            self.link.close()
            if self._death is not None:
                os.close(self._death)
                self._death = None
            with contextlib.suppress(ValueError):  # it cannot be ended; nothing more can be done
                self.process.close()

    def _wait(self, seconds: float | None) -> bool:
        """Wait until the process has ended; False if it has not, in time."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self.has_died:
            left = LOOK if end is None else min(LOOK, end - time.monotonic())
            if left <= 0:
                return False
            sign = self.process.sentinel if self._death is None else self._death
            multiprocessing.connection.wait([sign], left)
        self.process.join(LOOK)
        return True


class RemoteTraceback(Exception):
    """The traceback of an error in another process; the cause of that error here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n\n{self.text}"


def _context(method: str | None) -> Any:
    try:
        return multiprocessing.get_context(method)
    except ValueError as error:
        known = ", ".join(map(repr, multiprocessing.get_all_start_methods()))
        rule = "is not to be had on this platform"
        raise _validate.refuse("start_method", method, rule, f"choose one of {known}") from error


def _death_of(process: Any) -> int | None:
    """Return a descriptor that becomes readable when the process ends, whoever else lives.

    (The sentinel of multiprocessing stays silent while a child of the process holds its other
    end.)
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(process.pid)
    except OSError:
        return None


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name} (perhaps because memory ran out)" if name == "SIGKILL" else name


def _unpickled(pickled: bytes | None, told: dict) -> BaseException:
    """Return the error itself, or a WorkerError where it cannot cross."""
    if pickled:
        try:
            error = pickle.loads(pickled)
        except Exception:
            error = None
        if isinstance(error, BaseException):
            return error
    return WorkerError(told["summary"])


@contextlib.contextmanager
def _no_warning_of_threads() -> Iterator[None]:
    """Be silent on forking with threads, if they are all ZeroMQ's or NumPy's.

    The new process uses nothing that these have in hand. A process that runs Python threads of
    its own is warned as ever.
    """
    if threading.active_count() > 1:
        yield
        return
    with warnings.catch_warnings():
        message = ".*multi-?threaded.*fork"
        warnings.filterwarnings("ignore", message=message, category=DeprecationWarning)
        yield


@contextlib.contextmanager
def _no_interrupt(context: Any) -> Iterator[None]:
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


class _Packed:
    """Something that is pickled in a pickle of its own, so that errors can be told apart."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self._pickled: bytes | None = None

    def __getstate__(self) -> bytes:
        try:
            return bytes(ForkingPickler.dumps(self._value))
        except Exception as error:
            rule = f"cannot be pickled, which this start method needs ({error})"
            remedy = (
                "use generator functions and classes that are defined in a module,"
                " or start_method='fork' where there is one"
            )
            raise _validate.refuse("streamer", self._value[0], rule, remedy) from error

    def __setstate__(self, state: bytes) -> None:
        self._pickled = state

    def __call__(self) -> Any:
        """Return the thing itself."""
        return self._value if self._pickled is None else pickle.loads(self._pickled)


# A forked process must not hold open the consumer's end of a pipe, its own or a sibling's: that
# end is how a process learns that its consumer has died.
_links: weakref.WeakSet[Connection] = weakref.WeakSet()


def _close_links(links: weakref.WeakSet) -> None:
    for link in list(links):
        with contextlib.suppress(OSError):
            link.close()
    links.clear()


multiprocessing.util.register_after_fork(_links, _close_links)
