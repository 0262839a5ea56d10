"""Starts a background process with multiprocessing, or says what is missing for that."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.process
import os
import pickle
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from .. import _validate
from ..exceptions import PescadorError, WorkerError
from . import limits
from .inside import run
from .signals import NAME, BlockingName, blocked
from .unpicklable import FUNCTIONS, refusal

_TRIES = 3  # to start a process, where the forkserver dies as it does


_DAEMON = (
    "this process is a daemon of multiprocessing (a worker of a DataLoader is one), which may not"
    " start other processes; in a DataLoader, give num_workers=0; start a process of your own with"
    ' daemon=False; or use threads: ParallelStreamer(streamer, n_workers, backend="threads"); or'
    " read the streamer without a ZMQStreamer"
)


def check_may_start() -> None:
    """Raise PescadorError if this process may start no others."""
    if multiprocessing.current_process().daemon:
        raise PescadorError(_DAEMON)


def start(main: Callable, task: Any, method: str | None) -> tuple[Any, Connection]:
    """Start a process; return it, and the consumer's end of the pipe to it.

    Raises
    ------
    PescadorError
        If this process may start no others, or the task cannot be pickled.
    OSError
        If the system lacks something; it says what.
    """
    context = _context(method)
    check_may_start()
    method = context.get_start_method()
    if method != "fork":
        _check_folder(method)
    try:
        limits.check_tasks()
        return _start(context, main, _Packed(task, method))
    except OSError as error:
        explained = limits.explained(error)
        if explained is error:
            raise
        raise explained from error


def _start(context: Any, main: Callable, task: _Packed) -> tuple[Any, Connection]:
    for _ in range(_TRIES):
        link, other = context.Pipe()
        process = context.Process(
            target=run, args=(other, main, task), name=BlockingName(NAME), daemon=False
        )
        _processes[link] = process
        try:
            with _no_thread_warning(), blocked(task.method):
                process.start()
            return process, link
        except (EOFError, ConnectionError) as error:
            link.close()
            if task.method != "forkserver":
                raise
            problem = error.with_traceback(None)  # which would hold on to the process
        except BaseException:
            link.close()
            _abandon(process)
            raise
        finally:
            other.close()
    raise WorkerError(
        "the forkserver of multiprocessing died while it started a background process; see what it"
        " wrote to stderr; raise the limit of processes (ulimit -u), or use start_method='spawn'"
    ) from problem


def _abandon(process: Any) -> None:
    """End a process whose start was cut short."""
    if process.pid is not None:
        process.kill()
        process.join()
        process.close()


def _check_folder(method: str) -> None:
    """Raise FileNotFoundError if the current folder is gone: the process is to begin there."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        text = f"the current folder was deleted; with start_method={method!r}, a process needs it"
        remedy = "change to a folder that exists (os.chdir), or use start_method='fork'"
        raise FileNotFoundError(error.errno, f"{text}; {remedy}") from error


def _context(method: str | None) -> Any:
    try:
        # (A worker of loky, joblib's, has a start method of its own, with other processes.)
        usual = multiprocessing.get_start_method()
        if usual in _validate.START_METHODS:
            return multiprocessing.get_context(method)
        method = method or multiprocessing.get_all_start_methods()[0]
        context = multiprocessing.get_context(method)
    except ValueError as error:
        known = ", ".join(map(repr, multiprocessing.get_all_start_methods()))
        rule = "does not exist on this platform"
        raise _validate.refuse("start_method", method, rule, f"choose one of {known}") from error
    if method != "fork":
        rule = f"does not work in a process that was itself started with the method {usual!r}"
        rule += " (a worker of joblib is one)"
        remedy = "use start_method='fork' (not on Windows), or another backend of joblib"
        raise _validate.refuse("start_method", method, rule, remedy)
    return context


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

    def __init__(self, value: Any, method: str) -> None:
        self.method = method
        self._value = value
        self._pickled: bytes | None = None

    def __getstate__(self) -> bytes:
        try:
            return bytes(ForkingPickler.dumps(self._value))
        except Exception as error:
            raise refusal(self._value, self.method, error) from error

    def __setstate__(self, state: bytes) -> None:
        self._pickled = state

    def __call__(self) -> Any:
        """Return the value."""
        if self._pickled is None:
            return self._value
        try:
            return pickle.loads(self._pickled)
        except AttributeError as error:
            if not str(error).startswith("Can't get attribute"):
                raise
            # The process has another __main__: that of a prompt, a zip file or a package.
            rule = "the background process cannot import a function or class that the streamer uses"
            raise PescadorError(f"{rule} ({error}); {FUNCTIONS}") from error


# A forked process closes its copies of the consumer's ends of all pipes: a background process
# learns that its consumer has died when the last copy is closed. And it forgets the processes,
# which are not its own children.
_processes: weakref.WeakKeyDictionary[Connection, Any] = weakref.WeakKeyDictionary()


def _disown() -> None:
    children: set = getattr(multiprocessing.process, "_children", set())
    for link, process in list(_processes.items()):
        children.discard(process)
        with contextlib.suppress(OSError):
            link.close()
    _processes.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown)
