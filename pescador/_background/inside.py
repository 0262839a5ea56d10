"""The inside of a background process: it takes orders, reports errors, and ends in order.

What the process makes is not known here. The two sides share no lock, so that either may be
killed at any moment.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import faulthandler
import json
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from . import limits
from .orders import POLL_SECONDS, SEND_ERROR, STOP
from .signals import STOP_SIGNAL, settle

_PATIENCE_SECONDS = 0.2  # for the source to reach its next item, before it is interrupted
_ORPHAN_SECONDS = 1.0  # for the source's ``finally`` blocks, once the consumer is dead


def as_socket(link: Connection) -> socket.socket:
    """Return the pipe as a socket, which can carry file descriptors; close it after use."""
    return socket.socket(fileno=os.dup(link.fileno()))


class Stopped(BaseException):
    """Raised inside the source when the consumer wants no more, so that ``finally`` blocks run."""


class Parent:
    """The consumer, as its background process sees it.

    A thread reads the pipe and checks whether the consumer lives. In that thread, it hands on
    every order (`hear`), and calls ``on_stop`` when the process has to stop.
    """

    def __init__(self, link: Connection) -> None:
        self.link = link
        self._early: list[bytes] = []  # orders that came before anybody heard them
        self._receive: Callable[[bytes], None] = self._early.append
        self._lock = threading.Lock()
        self.on_stop: Callable[[], None] = lambda: None
        self.on_signal: Callable[[], None] = lambda: None
        self.is_stopping = False
        self._may_interrupt = False
        self._is_dismissed = threading.Event()
        self._is_error_wanted = threading.Event()
        self._has_seen_stop = threading.Event()
        self._parent_pid = os.getppid()
        process = multiprocessing.parent_process()
        # (A forkserver stands between the two, and its death is not that of the consumer.)
        self._is_direct = process is None or process.pid == self._parent_pid

    def hear(self, receive: Callable[[bytes], None]) -> None:
        """Call ``receive`` with every order, those that have come already included."""
        with self._lock:
            for order in self._early:
                receive(order)
            self._receive = receive

    def first_order(self) -> tuple[bytes, int | None]:
        """Wait for the order that starts the work, and for the file descriptor that it brings.

        `Stopped` is raised if the consumer closes or dies instead.
        """
        while not self.link.poll(POLL_SECONDS):
            if self._is_orphan():
                raise Stopped
        try:
            order = self.link.recv_bytes()
        except (EOFError, OSError):
            raise Stopped from None
        if order == STOP:
            raise Stopped
        if order[:1] == b"-":
            return order[1:], None
        with as_socket(self.link) as pipe:
            data, descriptors, _, _ = socket.recv_fds(pipe, 1, 1)
        if not data:
            raise Stopped
        if not descriptors:
            text = "no file descriptor is left in the background process"
            raise OSError(errno.EMFILE, f"{text}; open fewer files, or raise the limit (ulimit -n)")
        return order[1:], descriptors[0]

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the consumer in a thread; `Stopped` may be raised anywhere in the block."""
        watch = threading.Thread(target=self._watch, name="pescador-watch", daemon=True)
        try:
            watch.start()
        except RuntimeError as error:
            self._is_error_wanted.set()  # nothing reads the pipe: an error is sent at once
            raise limits.no_tasks() from error
        self._may_interrupt = True
        try:
            yield
        finally:
            self._see_stop()

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Raise no `Stopped` in a short block; the `check` that must follow it does."""
        self._may_interrupt = False
        try:
            yield
        finally:
            self._may_interrupt = True

    def _see_stop(self) -> None:
        self._may_interrupt = False
        self._has_seen_stop.set()

    def check(self) -> None:
        """Raise `Stopped` if the consumer wants no more; to be called now and then."""
        if self.is_stopping:
            self._see_stop()
            raise Stopped

    def _watch(self) -> None:
        try:
            while True:
                if self._look():
                    break
            # The consumer is dead: nobody will end this process, so it ends by itself.
            self._stop()
            time.sleep(_ORPHAN_SECONDS)
        except BaseException:
            traceback.print_exc()
        os._exit(1)

    def _look(self) -> bool:
        """Obey the next order, if one comes; return whether the consumer is dead."""
        if not self.link.poll(POLL_SECONDS):
            return self._is_orphan()
        try:
            order = self.link.recv_bytes()
        except (EOFError, OSError):
            return True
        if order == STOP:
            self._stop()
        elif order == SEND_ERROR:
            self._is_error_wanted.set()
        else:
            with self._lock:
                self._receive(order)
        return False

    def _is_orphan(self) -> bool:
        if self._is_direct and self._parent_pid != os.getppid():
            return True
        process = multiprocessing.parent_process()
        return process is not None and not process.is_alive()

    def _stop(self) -> None:
        self.is_stopping = True
        self._is_dismissed.set()
        self._is_error_wanted.set()
        self.on_stop()
        # An exception in the middle of a source may leave something open in the libraries that it
        # uses, so a source that reaches its next item in time is not interrupted.
        if self._has_seen_stop.wait(_PATIENCE_SECONDS):
            return
        main = threading.main_thread().ident
        if hasattr(signal, "pthread_kill") and main is not None:
            signal.pthread_kill(main, STOP_SIGNAL)  # cuts a wait of the source short
        else:
            _thread.interrupt_main()

    def on_stop_signal(self, number: int, frame: Any) -> None:
        """Raise `Stopped` in the main thread, if it was `_stop` that sent the signal.

        Else ``on_signal`` may raise it.
        """
        if self._may_interrupt:
            self.check()
            self.on_signal()

    def report(self, error: BaseException, is_marked: bool) -> None:
        """Send an error to the consumer: its text first, then itself, if it can be pickled.

        ``is_marked``: whether a message over the socket marks its place among the items. The
        error is pickled only when the consumer asks for it, after all items, since pickling it
        may end the process.
        """
        facts = {"is_marked": is_marked, "is_of_closing": _follows_stop(error)}
        with contextlib.suppress(OSError):
            self.link.send_bytes(json.dumps({**told(error), **facts}).encode())
            self._is_error_wanted.wait()
            self.link.send_bytes(pickled(error))

    def wait_until_dismissed(self) -> None:
        """Wait until the consumer has read everything, or is dead."""
        self._is_dismissed.wait()
        self._see_stop()


def _follows_stop(error: BaseException | None) -> bool:
    """Tell whether an error was raised because the source was stopped."""
    while error is not None and not isinstance(error, Stopped):
        error = error.__context__
    return error is not None


def told(error: BaseException) -> dict[str, str]:
    """Return the text of an error with its traceback, and a summary, should it not cross."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    if isinstance(error, SystemExit):
        summary = f"the source raised SystemExit({error.code!r}), which ended its process"
    else:
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        summary = f"the source raised {name}, which cannot be pickled: {_message(error)}"
    # Text that UTF-8 cannot hold must not hide the error.
    return {"text": _printable(text), "summary": _printable(summary)}


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(str() of it fails)"


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def pickled(error: BaseException) -> bytes:
    """Return the pickled error; no bytes if it does not come back the same."""
    if isinstance(error, (SystemExit, GeneratorExit, Stopped)):
        return b""  # raised in the consumer, these would mean something else
    try:
        data = bytes(ForkingPickler.dumps(error))
        again = pickle.loads(data)
    except Exception:
        return b""
    return data if type(again) is type(error) and _has_same_args(again, error) else b""


def _has_same_args(error: BaseException, other: BaseException) -> bool:
    try:
        if error.args == other.args:
            return True
        # Errors in a group, for instance, equal only themselves.
        first, second = (bytes(ForkingPickler.dumps(each.args)) for each in (error, other))
        return first == second
    except Exception:  # arrays, for instance, which cannot be compared like that
        return True


def run(link: Connection, main: Callable, unpack: Callable[[], Any]) -> None:
    """Run the background process: ``main(parent, task, order, descriptor)``."""
    parent = Parent(link)
    settle(parent.on_stop_signal)
    _show_crashes()
    with contextlib.suppress(Stopped):
        try:
            order, descriptor = parent.first_order()
            problem = None
        except OSError as error:
            problem = error
        try:
            with parent.watching():
                try:
                    if problem is not None:
                        raise problem
                    main(parent, unpack(), order, descriptor)
                except Stopped:
                    raise
                except BaseException as error:
                    parent.report(error, False)
        except OSError as error:
            parent.report(error, False)


def _show_crashes() -> None:
    if sys.__stderr__ is not None and not faulthandler.is_enabled():
        with contextlib.suppress(Exception):  # it may be closed
            faulthandler.enable(sys.__stderr__)
