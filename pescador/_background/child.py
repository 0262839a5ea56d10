"""The parent's handle on a background process: start, watch, stop, reap.

Orders go to the process over a private pipe, and its errors come back over it. What the process
makes is not known here; its side of the pipe is in ``inside``.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import multiprocessing.util
import os
import pickle
import select
import signal
import socket
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import six

from .. import _validate
from ..exceptions import PescadorError, WorkerError
from .inside import as_socket, run
from .orders import POLL_SECONDS, SEND_ERROR, STOP
from .signals import HeldInterrupts, Shielded, no_interrupt

_TERM_SECONDS = 0.5  # between SIGTERM and SIGKILL
_ROOM_SECONDS = 0.1  # to wait until the pipe has room for the order to stop
_ERROR_SECONDS = 10.0  # for the process to pickle its error
_REAP_SECONDS = 10.0  # for the system to end a process that was killed


class Child:
    """A background process, as the process that started it sees it.

    Parameters
    ----------
    main : callable
        What the process runs: ``main(parent, task, order, descriptor)``, a function of a module.
    task : object
        What to run it with: handed over as it is under fork, pickled otherwise.
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
        self.process = context.Process(
            target=Shielded(run), args=(other, main, _Packed(task)), name="pescador", daemon=False
        )
        _children.add(self)
        self._owner = os.getpid()
        self._is_closed = False
        self._pidfd: int | None = None
        self._report: list[bytes] = []  # of an error: facts and text, then the pickled error
        self._is_error_taken = False
        self._has_pipe_ended = False
        # At the end of the interpreter, close it before multiprocessing would join it.
        self._finalizer = multiprocessing.util.Finalize(
            None, _close_at_exit, args=(self,), exitpriority=10
        )
        try:
            with _no_thread_warning(), no_interrupt(context):
                self.process.start()
            self._pidfd = _pidfd_of(self.process)
        except BaseException:
            self.close(0)
            raise
        finally:
            other.close()
        self.pid = self.process.pid

    @property
    def is_owned(self) -> bool:
        """Whether the calling process is the one that started it, not a fork of that one."""
        return os.getpid() == self._owner

    @property
    def pollable(self) -> list[int]:
        """The descriptors that become readable when it dies or reports an error."""
        if os.name != "posix":
            return []
        return [self.link.fileno(), *([] if self._pidfd is None else [self._pidfd])]

    @property
    def has_died(self) -> bool:
        """Whether the process has ended."""
        if self.process.exitcode is not None:
            return True
        return self._pidfd is not None and bool(multiprocessing.connection.wait([self._pidfd], 0))

    def send_first(self, message: bytes, descriptor: int | None) -> None:
        """Send the first order, and a file descriptor along with it."""
        self.send((b"-" if descriptor is None else b"+") + message)
        if descriptor is not None:
            with as_socket(self.link) as pipe, contextlib.suppress(OSError):
                socket.send_fds(pipe, [b"f"], [descriptor])

    def send(self, message: bytes, seconds: float = 0) -> bool:
        """Send an order of at most some kilobytes; False if the pipe is full or closed."""
        try:
            if not _has_room(self.link, seconds):
                return False
            self.link.send_bytes(message)
        except OSError:
            return False
        return True

    def look_for_report(self) -> bool | None:
        """Look for a report of an error.

        None: there is none. True: there is one, and a message over the socket marks its place.
        False: there is one without such a message, or the process has closed the pipe.
        """
        if not self._report:
            self._read(0)
        if self._report:
            return bool(json.loads(self._report[0])["is_marked"])
        return False if self._has_pipe_ended else None

    def how_it_ended(self) -> str:
        """Say how it ended."""
        if not self._wait(_TERM_SECONDS):
            return f"the background process {self.pid} does not answer"
        code = self.process.exitcode
        if code is None:
            return f"the background process {self.pid} died"
        if code < 0:
            return f"the background process {self.pid} was killed by {_signal_name(-code)}"
        return f"the background process {self.pid} ended by itself, with exit code {code}"

    def raise_error(self) -> None:
        """Raise the error that it has reported; return if it died without a report."""
        end = time.monotonic() + _ERROR_SECONDS
        self._read_until(end, 1)
        if self._report and self.send(SEND_ERROR):
            self._read_until(end, 2)
        error = self._take_error()
        try:
            if error is not None:
                six.raise_from(error, error.__cause__)
        finally:
            del error  # its traceback has this frame

    def _take_error(self) -> BaseException | None:
        """Return the error that it has reported, once."""
        if self._is_error_taken or not self._report:
            return None
        self._is_error_taken = True
        told = json.loads(self._report[0])
        error = _unpickled(self._report[1] if len(self._report) > 1 else b"", told)
        error.__cause__ = RemoteTraceback(told["text"])
        return error

    def _read_until(self, end: float, n_parts: int) -> None:
        while len(self._report) < n_parts and not self._has_pipe_ended:
            left = end - time.monotonic()
            has_died = self.has_died  # asked first: what it sent before it died is read below
            seconds = 0 if has_died else min(POLL_SECONDS, left)
            if not self._read(seconds) and (has_died or left <= 0):
                return

    def _read(self, seconds: float) -> bool:
        """Read the next part of a report, if it comes in time."""
        try:
            if self._has_pipe_ended or not self.link.poll(max(0, seconds)):
                return False
            self._report.append(self.link.recv_bytes())
        except (EOFError, OSError):
            self._has_pipe_ended = True
            return False
        return True

    def close(
        self, grace: float | None, held: HeldInterrupts | None = None
    ) -> BaseException | None:
        """End the process: by an order, and by force after ``grace`` seconds. Idempotent.

        An interrupt that ``held`` holds back ends the grace.

        Returns the error that the source raised because it was stopped, if any. An error from
        before belongs to an item that nobody has asked for.
        """
        if not self.is_owned or self._is_closed:
            return None
        self._is_closed = True
        self._finalizer.cancel()
        try:
            self.send(STOP, _ROOM_SECONDS)
            if self.process.pid is not None and not self._wait(grace, held):
                self.process.terminate()
                if not self._wait(_TERM_SECONDS):
                    self.process.kill()
                    self._wait(_REAP_SECONDS)
            while self._read(0):
                pass
            if self._report and json.loads(self._report[0])["is_of_closing"]:
                return self._take_error()
            return None
        finally:
            _children.discard(self)
            self.link.close()
            if self._pidfd is not None:
                os.close(self._pidfd)
                self._pidfd = None
            with contextlib.suppress(ValueError):  # it still runs: even SIGKILL has not ended it
                self.process.close()

    def _wait(self, seconds: float | None, held: HeldInterrupts | None = None) -> bool:
        """Wait until the process has ended; False if it has not, in time."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self.has_died:
            left = POLL_SECONDS if end is None else min(POLL_SECONDS, end - time.monotonic())
            if left <= 0 or (held is not None and held.has_come):
                return False
            watched: list[Any] = [self.process.sentinel if self._pidfd is None else self._pidfd]
            if not self._has_pipe_ended:
                watched.append(self.link)
            if self.link in multiprocessing.connection.wait(watched, left):
                self._read(0)  # drain the pipe, or the process blocks as it writes
        self.process.join(POLL_SECONDS)
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
        rule = "does not exist on this platform"
        raise _validate.refuse("start_method", method, rule, f"choose one of {known}") from error


def _pidfd_of(process: Any) -> int | None:
    """Return a descriptor that becomes readable when the process ends.

    (The sentinel of multiprocessing is not enough: it is a pipe, and stays open while a child of
    the process lives that has inherited its other end.)
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
def _no_thread_warning() -> Iterator[None]:
    """Silence Python's warning of forks with threads, if only ZeroMQ and NumPy have threads.

    The new process uses nothing that these threads may hold locked. A program with Python threads
    of its own gets the warning.
    """
    if threading.active_count() > 1:
        yield
        return
    with warnings.catch_warnings():
        message = ".*multi-?threaded.*fork"
        warnings.filterwarnings("ignore", message=message, category=DeprecationWarning)
        yield


class _Packed:
    """A value in a pickle of its own, so that an error in it can be told from other errors."""

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
        """Return the value."""
        return self._value if self._pickled is None else pickle.loads(self._pickled)


def _has_room(link: Connection, seconds: float) -> bool:
    """Tell whether some kilobytes can be sent, now or within so many seconds."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(link.fileno(), select.POLLOUT)
    return bool(poll.poll(1000 * seconds))


def _close_at_exit(child: Child) -> None:
    error = child.close(_TERM_SECONDS)
    if error is not None:
        traceback.print_exception(type(error), error, error.__traceback__)


# A forked process closes its copies of the consumer's ends of all pipes: a background process
# learns that its consumer has died when the last copy is closed. And it forgets the processes,
# which are not its own children.
_children: weakref.WeakSet[Child] = weakref.WeakSet()


def _disown() -> None:
    children: set = getattr(multiprocessing.process, "_children", set())
    for child in list(_children):
        children.discard(child.process)
        with contextlib.suppress(OSError):
            child.link.close()
    _children.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown)
