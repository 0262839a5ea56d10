"""The inside of a background process: its orders, its errors, its end.

It knows its consumer by the pipe between them, and nothing of what it makes. No lock is shared,
so that either side may be killed at any moment.
"""

from __future__ import annotations

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

from .orders import ASK, LOOK, STOP

_PATIENCE = 0.2  # seconds for the source to come to its next item, before it is interrupted
_LAST_WORDS = 1.0  # seconds for the source's ``finally`` blocks, once the consumer is dead


def as_socket(link: Connection) -> socket.socket:
    """Return the pipe as a socket, which can carry file descriptors."""
    return socket.socket(fileno=os.dup(link.fileno()))


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
        while not self.link.poll(LOOK):
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

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Put off an interrupt until the `check` that has to follow this short block."""
        self._may_interrupt = False
        try:
            yield
        finally:
            self._may_interrupt = True

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
        if not self.link.poll(LOOK):
            return self._is_orphan()
        try:
            order = self.link.recv_bytes()
        except (EOFError, OSError):
            return True
        if order == STOP:
            self._stop()
        elif order == ASK:
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

    def report(self, error: BaseException, is_announced: bool) -> None:
        """Tell the consumer of an error: its text first, then itself, if it can cross.

        ``is_announced`` tells whether a message, which comes another way, says so too. Whether
        the error can cross is tried once the consumer has all that came before, since an error
        may be such that trying it ends the process.
        """
        facts = {"is_announced": is_announced, "is_of_the_end": _follows_stop(error)}
        told = {**_told(error), **facts}
        with contextlib.suppress(OSError):
            self.link.send_bytes(json.dumps(told).encode())
            self._is_asked.wait()
            self.link.send_bytes(_pickled(error))

    def wait_until_dismissed(self) -> None:
        """Wait until the consumer has read everything, or is gone."""
        self._is_dismissed.wait()
        self._notice()


def _follows_stop(error: BaseException | None) -> bool:
    """Tell whether an error was raised as the source was being ended early."""
    while error is not None and not isinstance(error, Stopped):
        error = error.__context__
    return error is not None


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
    return pickled if type(again) is type(error) and _has_same_args(again, error) else b""


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
    """Run the background process: ``main(host, task, order, descriptor)``."""
    host = Host(link)
    _settle_signals(host)
    with contextlib.suppress(Stopped):
        try:
            order, descriptor = host.first_order()
            problem = None
        except OSError as error:
            problem = error
        with host.watching():
            try:
                if problem is not None:
                    raise problem
                main(host, unpack(), order, descriptor)
            except Stopped:
                raise
            except BaseException as error:
                host.report(error, False)


def _settle_signals(host: Host) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, host.on_interrupt)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    if sys.__stderr__ is not None and not faulthandler.is_enabled():
        with contextlib.suppress(Exception):  # it may be closed
            faulthandler.enable(sys.__stderr__)
