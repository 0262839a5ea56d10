"""The life of one background process: start, watch, stop, reap. What it makes is not known here.

The two sides talk over a pipe that nobody else can open: orders one way, errors the other. The
inside of the process is in ``_host``.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import multiprocessing.util
import operator
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
from .orders import ASK, LOOK, STOP

_TERM = 0.5  # seconds between SIGTERM and SIGKILL
_ROOM = 0.1  # seconds to wait for room in the pipe, for the order to stop
_ANSWER = 10.0  # seconds for an error to be packed
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
        self.process = context.Process(
            target=_Shielded(run), args=(other, main, _Packed(task)), name="pescador", daemon=False
        )
        _workers.add(self)
        self._owner = os.getpid()
        self._is_closed = False
        self._death: int | None = None
        self._words: list[bytes] = []  # what it has said: a report, and the error itself
        self._is_told = False  # what it has said has been passed on
        self._is_silent = False  # it has closed its end of the pipe
        # Where the interpreter ends with this process running: before multiprocessing joins it.
        self._finalizer = multiprocessing.util.Finalize(
            None, _close_at_exit, args=(self,), exitpriority=10
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

    def order(self, message: bytes, seconds: float = 0) -> bool:
        """Send an order, of some kilobytes at most; False if it does not listen."""
        try:
            if not _has_room(self.link, seconds):
                return False
            self.link.send_bytes(message)
        except OSError:
            return False
        return True

    def listen(self) -> bool | None:
        """Look for a report: None if there is none, else whether a message announces it too.

        A process that has closed its end of the pipe has nothing to announce.
        """
        if not self._words:
            self._hear(0)
        if self._words:
            return bool(json.loads(self._words[0])["is_announced"])
        return False if self._is_silent else None

    def obituary(self) -> str:
        """Say how it ended."""
        if not self._wait(_TERM):
            return f"the background process {self.pid} does not answer"
        code = self.process.exitcode
        if code is None:
            return f"the background process {self.pid} died"
        if code < 0:
            return f"the background process {self.pid} was killed by {_signal_name(-code)}"
        return f"the background process {self.pid} ended by itself, with exit code {code}"

    def raise_error(self) -> None:
        """Raise the error that it reports; return if it has died without a report."""
        end = time.monotonic() + _ANSWER
        self._hear_until(end, 1)
        if self._words and self.order(ASK):
            self._hear_until(end, 2)
        error = self._take_error()
        try:
            if error is not None:
                six.raise_from(error, error.__cause__)
        finally:
            del error  # its traceback has this frame

    def _take_error(self) -> BaseException | None:
        """Return the error that it has reported, once."""
        if self._is_told or not self._words:
            return None
        self._is_told = True
        told = json.loads(self._words[0])
        error = _unpickled(self._words[1] if len(self._words) > 1 else b"", told)
        error.__cause__ = RemoteTraceback(told["text"])
        return error

    def _hear_until(self, end: float, n_words: int) -> None:
        while len(self._words) < n_words and not self._is_silent:
            left = end - time.monotonic()
            has_died = self.has_died  # before the last look at what it has said
            if not self._hear(0 if has_died else min(LOOK, left)) and (has_died or left <= 0):
                return

    def _hear(self, seconds: float) -> bool:
        """Take in what it says over the pipe, if it says anything in time."""
        try:
            if self._is_silent or not self.link.poll(max(0, seconds)):
                return False
            self._words.append(self.link.recv_bytes())
        except (EOFError, OSError):
            self._is_silent = True
            return False
        return True

    def close(
        self, grace: float | None, held: HeldInterrupts | None = None
    ) -> BaseException | None:
        """End the process: by an order, after ``grace`` seconds by force. Idempotent.

        An interrupt that is held back ends the grace.

        Return the error that the source raised as it was ended, if it did: one that it met
        earlier belongs to items that nobody has asked for.
        """
        if not self.is_owned or self._is_closed:
            return None
        self._is_closed = True
        self._finalizer.cancel()
        try:
            self.order(STOP, _ROOM)
            if self.process.pid is not None and not self._wait(grace, held):
                self.process.terminate()
                if not self._wait(_TERM):
                    self.process.kill()
                    self._wait(_REAP)
            while self._hear(0):
                pass
            if self._words and json.loads(self._words[0])["is_of_the_end"]:
                return self._take_error()
            return None
        finally:
            _workers.discard(self)
            self.link.close()
            if self._death is not None:
                os.close(self._death)
                self._death = None
            with contextlib.suppress(ValueError):  # it cannot be ended; nothing more can be done
                self.process.close()

    def _wait(self, seconds: float | None, held: HeldInterrupts | None = None) -> bool:
        """Wait until the process has ended; False if it has not, in time."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self.has_died:
            left = LOOK if end is None else min(LOOK, end - time.monotonic())
            if left <= 0 or (held is not None and held.has_come):
                return False
            signs: list[Any] = [self.process.sentinel if self._death is None else self._death]
            if not self._is_silent:
                signs.append(self.link)
            if self.link in multiprocessing.connection.wait(signs, left):
                self._hear(0)  # it must not have to wait for that
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
        rule = "does not exist on this platform"
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


class _Shielded:
    """A function that a new process loads only once Ctrl-C does not reach it any more.

    (What it loads takes a while, and an interrupted import leaves a mess on standard error.)
    """

    def __init__(self, function: Callable) -> None:
        self._function = function

    def __call__(self, *args: Any) -> None:
        self._function(*args)

    def __reduce__(self) -> tuple:
        return operator.getitem, ((_Ignoring(), self._function), 1)


class _Ignoring:
    """Something whose loading makes a process ignore SIGINT."""

    def __reduce__(self) -> tuple:
        return signal.signal, (signal.SIGINT, signal.SIG_IGN)


class HeldInterrupts:
    """Holds back Ctrl-C inside a ``with`` block, where it would leave things half made.

    Signals are handled in the main thread, whichever gets them; in others, this does nothing.
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
        """Whether there is one to deliver."""
        return self._came is not None

    def _note(self, *signal_and_frame: Any) -> None:
        self._came = signal_and_frame

    def __exit__(self, kind: Any, *exc: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
        if kind is not None:
            self.deliver()

    def deliver(self) -> None:
        """Let what came be handled."""
        came, self._came = self._came, None
        if came is not None:
            self._handler(*came)


def _has_room(link: Connection, seconds: float) -> bool:
    """Tell whether some kilobytes can be sent without waiting for longer than that."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(link.fileno(), select.POLLOUT)
    return bool(poll.poll(1000 * seconds))


def _close_at_exit(worker: Worker) -> None:
    error = worker.close(_TERM)
    if error is not None:
        traceback.print_exception(type(error), error, error.__traceback__)


# A forked process must not hold open the consumer's end of a pipe, its own or a sibling's: that
# end is how a process learns that its consumer has died. Nor are the processes its children.
_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


def _disown() -> None:
    children: set = getattr(multiprocessing.process, "_children", set())
    for worker in list(_workers):
        children.discard(worker.process)
        with contextlib.suppress(OSError):
            worker.link.close()
    _workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown)
