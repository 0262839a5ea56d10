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
import time
import traceback
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import six

from .._streaming import leaving
from ..exceptions import WorkerError
from .inside import as_socket
from .orders import OTHER, POLL_SECONDS, SEND_ERROR, STOP
from .signals import HeldInterrupts
from .starting import start

leaving.before_others()  # those of multiprocessing, which end processes

_FACTS = b"{"  # what a report begins with: JSON
EXIT_SECONDS = 0.5  # of grace at the end of the interpreter
_UNKNOWN = 255  # the exit code that multiprocessing gives for one that it cannot learn
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
        self.process, self.link = start(main, task, method)
        self.pid: int = self.process.pid
        self._owner = os.getpid()
        self._is_closed = False
        self._pidfd = _pidfd_of(self.pid)
        self._room = _poll_of_room(self.link)
        self._report: list[bytes] = []  # of an error: facts and text, then the pickled error
        self._others: deque[bytes] = deque()  # messages that are no part of a report
        self._is_error_taken = False
        self._has_pipe_ended = False
        # At the end of the interpreter, close it before multiprocessing would join it.
        self._finalizer = multiprocessing.util.Finalize(
            None, _close_at_exit, args=(self,), exitpriority=10
        )

    @property
    def is_owned(self) -> bool:
        """Whether the calling process is the one that started it, not a fork of that one."""
        return os.getpid() == self._owner

    @property
    def is_closed(self) -> bool:
        """Whether it was closed from here."""
        return self._is_closed

    @property
    def pollable(self) -> list[int]:
        """The descriptors that become readable when it dies or reports an error."""
        if os.name != "posix":
            return []
        return [self.link.fileno(), *([] if self._pidfd is None else [self._pidfd])]

    @property
    def has_died(self) -> bool:
        """Whether the process has ended."""
        if self._pidfd is not None:
            return bool(multiprocessing.connection.wait([self._pidfd], 0))
        # Where the program reaps processes itself, multiprocessing learns nothing. And where a
        # forkserver dies, it takes that for the death of all its processes.
        code = self.process.exitcode
        if os.name != "posix":
            return code is not None
        return code not in (None, _UNKNOWN) or not _exists(self.pid)

    def send_first(self, message: bytes, descriptor: int | None) -> None:
        """Send the first order, and a file descriptor along with it."""
        self.send((b"-" if descriptor is None else b"+") + message)
        if descriptor is not None:
            with as_socket(self.link) as pipe, contextlib.suppress(OSError):
                socket.send_fds(pipe, [b"f"], [descriptor])

    def send(self, message: bytes, seconds: float = 0) -> bool:
        """Send an order of at most some kilobytes; False if the pipe is full or closed."""
        try:
            if self._room is not None and not self._room.poll(1000 * seconds):
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

    def heard(self) -> bytes | None:
        """Return the next message that is no part of a report, if there is one."""
        while not self._others and self._read(0):
            pass
        return self._others.popleft() if self._others else None

    @property
    def is_ending(self) -> bool:
        """Whether it has died, or is about to: it has reported an error, or closed the pipe."""
        return self._has_pipe_ended or bool(self._report) or self.has_died

    def stop(self) -> None:
        """Ask it to end; `close` waits for that."""
        self.send(STOP, _ROOM_SECONDS)

    def how_it_ended(self) -> str:
        """Say how it ended."""
        if not self._wait(EXIT_SECONDS):
            return f"the background process {self.pid} does not answer"
        code = self.process.exitcode
        if code is None:
            return f"the background process {self.pid} ended, and its exit code is not known"
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
        error = unpickled(self._report[1] if len(self._report) > 1 else b"", told)
        # (not by the class of the error, which may refuse attributes)
        BaseException.__setattr__(error, "__cause__", RemoteTraceback(told["text"]))
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
            message = self.link.recv_bytes()
            if self._report or message[:1] == _FACTS:
                self._report.append(message)
            elif message[:1] == OTHER:
                self._others.append(message)
            # (Else it belongs to facts that an interrupt has lost as they were read.)
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
            self.stop()
            if not self._wait(grace, held):
                self.kill()
                self._wait(_REAP_SECONDS)
            while True:
                if not self._read(0):
                    break
            if self._report and json.loads(self._report[0])["is_of_closing"]:
                return self._take_error()
            return None
        finally:
            has_died = self.has_died
            self.link.close()
            if self._pidfd is not None:
                os.close(self._pidfd)
                self._pidfd = None
            if has_died:  # else even SIGKILL has not ended it
                _forget(self.process)

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

    def kill(self) -> None:
        """Send SIGKILL to this process, and to no other that has its number by now."""
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            elif hasattr(signal, "SIGKILL"):
                os.kill(self.pid, signal.SIGKILL)
            else:
                self.process.kill()


def of_another_process() -> WorkerError:
    """Return the error for a fork that reads a stream of the process that it is a fork of."""
    return WorkerError(
        "this stream was started in another process, of which this one is a fork; start a new"
        " stream in this process: streamer.iterate()"
    )


class RemoteTraceback(Exception):
    """The traceback of an error in another process; the cause of that error here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n\n{self.text}"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _forget(process: Any) -> None:
    """Let multiprocessing forget a process that has ended.

    If something else has reaped it (a handler of SIGCHLD, or the system, where the program ignores
    SIGCHLD), multiprocessing takes it for alive.
    """
    if process.exitcode is None:
        process._popen.returncode = _UNKNOWN
    process.join()
    process.close()


def _pidfd_of(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends.

    (The sentinel of multiprocessing is not enough: it is a pipe, and stays open while a child of
    the process lives that has inherited its other end.)
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name} (perhaps because memory ran out)" if name == "SIGKILL" else name


def unpickled(pickled: bytes | None, told: dict) -> BaseException:
    """Return the error itself, or a WorkerError where it cannot cross."""
    if pickled:
        try:
            error = pickle.loads(pickled)
        except Exception:
            error = None
        if isinstance(error, BaseException):
            return error
    return WorkerError(told["summary"])


def _poll_of_room(link: Connection) -> Any:
    """Return what waits until some kilobytes can be sent; None where there is no such thing."""
    if not hasattr(select, "poll"):
        return None
    poll = select.poll()
    poll.register(link.fileno(), select.POLLOUT)
    return poll


def _close_at_exit(child: Child) -> None:
    error = child.close(EXIT_SECONDS)
    if error is not None:
        traceback.print_exception(type(error), error, error.__traceback__)
