"""The life of one background process: start, watch, stop, reap. What it makes is not known here.

The two sides talk over a pipe that nobody else can open: orders one way, errors the other. No
lock is shared, so that a process may be killed at any moment.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import json
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import pickle
import signal
import socket
import sys
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

from . import _validate
from .exceptions import PescadorError, WorkerError

_LOOK = 0.5  # seconds between two looks at whether the other side still lives
_PATIENCE = 0.05  # seconds for the source to come to its next item, before it is interrupted
_LAST_WORDS = 1.0  # seconds for the source's ``finally`` blocks, once the consumer is dead
_TERM = 0.5  # seconds between SIGTERM and SIGKILL
_REAP = 10.0  # seconds for the system to end a process that has been killed

_STOP, _ASK = b"stop", b"ask"  # orders; all others go to the receiver that `Host` was given


# The consumer's side.


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
            target=_run, args=(other, main, _Packed(task)), name="pescador", daemon=False
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
            with _as_socket(self.link) as pipe, contextlib.suppress(OSError):
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
        self.order(_ASK)
        error = _unpickled(self._receive(), told)
        six.raise_from(error, RemoteTraceback(told["text"]))

    def _receive(self) -> bytes | None:
        """Wait for what it says over the pipe; None if it dies first."""
        try:
            while not self.link.poll(_LOOK):
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
            self.order(_STOP)
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
            left = _LOOK if end is None else min(_LOOK, end - time.monotonic())
            if left <= 0:
                return False
            sign = self.process.sentinel if self._death is None else self._death
            multiprocessing.connection.wait([sign], left)
        self.process.join(_LOOK)
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


def _as_socket(link: Connection) -> socket.socket:
    return socket.socket(fileno=os.dup(link.fileno()))


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

    def value(self) -> Any:
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


# The background process's side.


class Stopped(BaseException):
    """The consumer wants no more: raised inside the source, so that its ``finally`` blocks run."""


class Host:
    """What the background process knows of its consumer.

    A thread reads the pipe and looks at whether the consumer lives. ``receive`` gets orders, in
    that thread; it may be set at any time before the first one is expected.
    """

    def __init__(self, link: Connection) -> None:
        self.link = link
        self.receive: Callable[[bytes], None] = lambda order: None
        self.on_end: Callable[[], None] = lambda: None  # wakes a producer that waits
        self.is_stopping = False
        self._may_interrupt = False
        self._is_dismissed = threading.Event()
        self._is_asked = threading.Event()
        self._has_noticed = threading.Event()  # that it is to stop
        self._parent = os.getppid()

    def first_order(self) -> tuple[bytes, int | None]:
        """Wait for the order that starts the work, and the file descriptor that comes along.

        `Stopped` is raised if the consumer goes instead.
        """
        while not self.link.poll(_LOOK):
            if self._is_orphan():
                raise Stopped
        try:
            order = self.link.recv_bytes()
        except (EOFError, OSError):
            raise Stopped from None
        if order == _STOP:
            raise Stopped
        if order[:1] == b"-":
            return order[1:], None
        with _as_socket(self.link) as pipe:
            _, descriptors, _, _ = socket.recv_fds(pipe, 1, 1)
        if not descriptors:
            raise OSError(errno.EMFILE, "no file descriptor is left in the background process")
        return order[1:], descriptors[0]

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the consumer; inside the block, `Stopped` may be raised anywhere."""
        watch = threading.Thread(target=self._watch, name="pescador-watch", daemon=True)
        self._may_interrupt = True
        watch.start()
        try:
            yield
        finally:
            self._notice()

    def _notice(self) -> None:
        self._may_interrupt = False
        self._has_noticed.set()

    def check(self) -> None:
        """Raise `Stopped` if the consumer wants no more: to be called now and then."""
        if self.is_stopping:
            self._notice()
            raise Stopped

    def _watch(self) -> None:
        try:
            while not self._look():
                pass
            # The consumer is gone: nobody waits for this process, so it must not wait either.
            self._stop()
            time.sleep(_LAST_WORDS)
        except BaseException:
            traceback.print_exc()
        os._exit(1)

    def _look(self) -> bool:
        """Obey the next order, if there is one; return whether the consumer is dead."""
        if not self.link.poll(_LOOK):
            return self._is_orphan()
        try:
            order = self.link.recv_bytes()
        except (EOFError, OSError):
            return True
        if order == _STOP:
            self._stop()
        elif order == _ASK:
            self._is_asked.set()
        else:
            self.receive(order)
        return False

    def _is_orphan(self) -> bool:
        if self._parent != os.getppid():
            return True
        parent = multiprocessing.parent_process()
        return parent is not None and not parent.is_alive()

    def _stop(self) -> None:
        self.is_stopping = True
        self._is_dismissed.set()
        self._is_asked.set()
        self.on_end()
        # An exception in the middle of the source may leave something open in the libraries that
        # it uses; so only a source that takes its time is interrupted.
        if self._has_noticed.wait(_PATIENCE):
            return
        main = threading.main_thread().ident
        if hasattr(signal, "pthread_kill") and main is not None:
            signal.pthread_kill(main, signal.SIGINT)  # cuts a wait of the source short
        else:
            import _thread

            _thread.interrupt_main()

    def on_interrupt(self, number: int, frame: Any) -> None:
        """Handle SIGINT: from the keyboard, it is the consumer's; else it is `_stop`'s."""
        if self._may_interrupt:
            self.check()

    def report(self, error: BaseException) -> None:
        """Tell the consumer of an error: its text first, then itself, if it can cross.

        Whether it can is tried once the consumer has all that came before, since an error may be
        such that trying it ends the process.
        """
        with contextlib.suppress(OSError):
            self.link.send_bytes(json.dumps(_told(error)).encode())
            self._is_asked.wait()
            self.link.send_bytes(_pickled(error))

    def wait_until_dismissed(self) -> None:
        """Wait until the consumer has read everything, or is gone."""
        self._is_dismissed.wait()
        self._notice()


def _told(error: BaseException) -> dict[str, str]:
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    if isinstance(error, SystemExit):
        summary = f"the source ended the background process by SystemExit({error.code!r})"
    else:
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        summary = f"the source raised {name}, which cannot be passed on: {_message(error)}"
    # Text that UTF-8 cannot hold must not stand in the way of the error.
    return {"text": _printable(text), "summary": _printable(summary)}


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be made)"


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _pickled(error: BaseException) -> bytes:
    """Return an error as bytes that are known to give it back; none if there are none such."""
    if isinstance(error, (SystemExit, GeneratorExit, Stopped)):
        return b""  # these would mean something else over there
    try:
        pickled = bytes(ForkingPickler.dumps(error))
        again = pickle.loads(pickled)
    except Exception:
        return b""
    return pickled if type(again) is type(error) else b""


def _run(link: Connection, main: Callable, packed: _Packed) -> None:
    """Run the background process."""
    host = Host(link)
    _settle_signals(host)
    with contextlib.suppress(Stopped):
        order, descriptor = host.first_order()
        with host.watching():
            try:
                main(host, packed.value(), order, descriptor)
            except Stopped:
                raise
            except BaseException as error:
                host.report(error)


def _settle_signals(host: Host) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, host.on_interrupt)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    if sys.__stderr__ is not None and not faulthandler.is_enabled():
        with contextlib.suppress(Exception):  # it may be closed
            faulthandler.enable(sys.__stderr__)
