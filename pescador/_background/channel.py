"""A ZeroMQ PAIR socket between this process and one that it has started.

Nobody else gets in: over ipc, the socket lies in a folder that only this user can enter, is open
to one process id, and loses its name as soon as that process is there; over tcp, it listens on
the loopback interface only, and asks for a key (CurveZMQ). Either way the other side shows a
token. Endpoint, key and token come to it over a private pipe.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import json
import os
import random
import secrets
import select
import socket
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

import zmq

from .. import _validate
from .._repr import counted
from .._streaming import leaving
from ..exceptions import WorkerError
from . import limits, signals

_VERSION = b"pescador-1:"
_PATH = "pair"  # of the socket, in a folder of its own
_LONGEST_PATH = 100  # bytes that a socket's path may have, on every platform
_MOST_SOCKETS = 2**15  # of one context
_LOOPBACK_SECONDS = 5.0  # for a connection to this machine, which takes no time
_READABLE = int(zmq.POLLIN)  # which is select.POLLIN too
_LARGE = 2**16  # bytes of a frame from which it is not copied on its way out
_NOW = int(zmq.DONTWAIT)  # (the flags of PyZMQ take long to join)
_MORE = _NOW | int(zmq.SNDMORE)


class _Context:
    """One ZeroMQ context for all streams of a process; it goes with the last of them."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        # (Reentrant: the garbage collector may close a stream while another one is started.)
        self._lock = threading.RLock()
        self._context: zmq.Context | None = None
        self._n_users = 0

    def acquire(self) -> zmq.Context:
        """Return the context; give it back with `release`."""
        limits.check_descriptors()
        with self._lock:
            self._n_users += 1  # first, so that nothing ends the context in the meantime
            try:
                if self._context is None:
                    limits.check_tasks()
                    self._context = zmq.Context()
                    self._context.set(zmq.MAX_SOCKETS, _MOST_SOCKETS)
            except BaseException:
                self._n_users -= 1
                raise
            return self._context

    def release(self) -> None:
        """Give it back."""
        with self._lock:
            self._n_users -= 1
            if not self._n_users and self._context is not None:
                context, self._context = self._context, None
                with signals.put_off():  # one that came would cut it short, and threads would stay
                    context.term()


_context = _Context()
_folders: set[str] = set()  # of sockets that no process has come to yet


def _remove_folders() -> None:
    while _folders:
        _remove(_folders.pop())


leaving.afterwards(_remove_folders)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_context._forget)
    os.register_at_fork(after_in_child=_folders.clear)


class Listener:
    """The side that waits for the other: binds, and knows who may connect.

    Parameters
    ----------
    transport : {"ipc", "tcp"}
        How to connect.
    pid : int
        The process that is expected.
    min_port, max_port, max_tries : int
        The ports to choose from, and how many of them to try; for tcp.
    """

    def __init__(
        self, transport: str, pid: int, min_port: int, max_port: int, max_tries: int
    ) -> None:
        self._folder: str | None = None
        self._is_closed = False
        self.token = secrets.token_hex(32)
        self._context = _context.acquire()
        try:
            self.socket = self._context.socket(zmq.PAIR)
        except Exception:  # (if interrupted, there may be a socket, for which it would wait)
            _context.release()
            raise
        try:
            for option, value in _OPTIONS.items():
                self.socket.set(option, value)
            if not zmq.has("ipc" if transport == "ipc" else "curve"):
                rule = "is not supported by this build of ZeroMQ"
                remedy = "use the other transport ('ipc' or 'tcp'), or another build of pyzmq"
                raise _validate.refuse("transport", transport, rule, remedy)
            if transport == "ipc":
                self.endpoint, self.key = self._bind_ipc(pid), ""
            else:
                self.endpoint, self.key = self._bind_tcp(min_port, max_port, max_tries)
        except BaseException:
            self.close()
            raise

    def _bind_ipc(self, pid: int) -> str:
        if hasattr(zmq, "IPC_FILTER_PID") and os.path.isdir("/proc/self"):
            self.socket.set(zmq.IPC_FILTER_PID, pid)
        try:
            self._folder = tempfile.mkdtemp(prefix="pescador-")
        except OSError as error:
            raise _no_ipc(error, _temporary_folder(), "cannot make a folder in it") from error
        _folders.add(self._folder)
        path = os.path.join(self._folder, _PATH)
        if len(os.fsencode(path)) > _LONGEST_PATH:
            rule = f"is too long: the path of a socket has at most {_LONGEST_PATH} bytes"
            remedy = "set the environment variable TMPDIR to a shorter path, or use transport='tcp'"
            raise _validate.refuse("folder", self._folder, rule, remedy)
        try:
            self.socket.bind(f"ipc://{path}")
        except zmq.ZMQError as error:
            raise _no_ipc(error, self._folder, "cannot make a socket in it") from error
        return f"ipc://{path}"

    def _bind_tcp(self, min_port: int, max_port: int, max_tries: int) -> tuple[str, str]:
        _check_loopback()
        public, self.socket.curve_secretkey = zmq.curve_keypair()
        self.socket.curve_server = True
        ports = range(min_port, max_port + 1)
        # (Not the generator of ``random``, whose sequence is the user's.)
        tries = random.SystemRandom().sample(ports, min(max_tries, len(ports)))
        for port in tries:
            try:
                self.socket.bind(f"tcp://127.0.0.1:{port}")
                return f"tcp://127.0.0.1:{port}", public.decode()
            except zmq.ZMQError as error:
                last_error = error.with_traceback(None)  # which would hold on to all of this
        rule = f"{counted(len(tries), 'port')} tried, and none is free"
        remedy = "allow more ports (min_port, max_port, max_tries), or use transport='ipc'"
        raise _validate.refuse("ports", (min_port, max_port), rule, remedy) from last_error

    def invitation(self) -> bytes:
        """Return what the other side needs in order to connect."""
        return json.dumps([self.endpoint, self.key, self.token]).encode()

    def welcome(self, frames: Sequence[bytes]) -> None:
        """Check the first message; from then on, nobody else can find the socket."""
        if len(frames) != 1 or not hmac.compare_digest(frames[0], _hello(self.token)):
            raise WorkerError(
                "another program connected to the socket of this stream, instead of the background"
                " process; the stream was closed, and took no data from it; read the stream again"
            )
        self._remove_folder()

    @property
    def has_message(self) -> bool:
        """Whether a message can be received now."""
        return bool(int(self.socket.get(zmq.EVENTS)) & _READABLE)

    def receive(self) -> list[bytes] | None:
        """Return the frames of the next message, or None if there is none now."""
        # PyZMQ loses Ctrl-C, and whatever else a signal handler raises, while it raises one
        # of its own (from Python 3.12 on), and while it frees a zmq.Frame. So there must be a
        # message, and it is received as bytes.
        if not self.has_message:
            return None
        return self.socket.recv_multipart(zmq.DONTWAIT)

    def _remove_folder(self) -> None:
        # (Not unbind(): that would end the connection too.)
        if self._folder is not None:
            _remove(self._folder)
            _folders.discard(self._folder)
            self._folder = None

    def close(self) -> None:
        """End the connection. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self.socket.close(linger=0)
            self._remove_folder()
            _context.release()


def _no_ipc(error: OSError | zmq.ZMQError, folder: str, what: str) -> OSError:
    """Return the error for a folder in which there can be no socket."""
    remedy = "set the environment variable TMPDIR to another folder, or use transport='tcp'"
    text = f"the socket of a background process needs a folder, and pescador {what}"
    return OSError(error.errno, f"{text} ({error.strerror}); {remedy}", folder)


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return os.environ.get("TMPDIR", "/tmp")


def _check_loopback() -> None:
    """Raise OSError if no connection can be made on the loopback interface: one would wait."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname(), timeout=_LOOPBACK_SECONDS):
                pass
    except OSError as error:
        remedy = "enable the loopback interface, allow it in the firewall, or use transport='ipc'"
        text = f"cannot connect to 127.0.0.1 ({error}); {remedy}"
        raise OSError(error.errno or errno.ETIMEDOUT, text) from error


class Waiter:
    """Waits for a message, or until one of some descriptors is readable.

    Where the system has poll(), ZeroMQ's own waiting is not used: see `Listener.receive`.
    """

    def __init__(self, listener: Listener, descriptors: Sequence[int]) -> None:
        self._listener = listener
        self._poll: Any = select.poll() if hasattr(select, "poll") else zmq.Poller()
        has_poll = not isinstance(self._poll, zmq.Poller)
        # (This descriptor tells that something has happened to the socket, not what.)
        self._poll.register(listener.socket.get(zmq.FD) if has_poll else listener.socket, _READABLE)
        for each in descriptors:
            self._poll.register(each, _READABLE)

    def wait(self, milliseconds: int) -> None:
        """Wait for so long at most; it may also return early without a reason."""
        if not self._listener.has_message:
            self._poll.poll(milliseconds)


_OPTIONS = {
    zmq.LINGER: 0,
    zmq.SNDHWM: 0,  # what may be on its way is bounded in bytes, by those who use the socket
    zmq.RCVHWM: 0,
    zmq.RECONNECT_IVL: -1,  # one connection for life
    zmq.HANDSHAKE_IVL: 5000,  # milliseconds for strangers who say nothing
}


def _remove(folder: str) -> None:
    # (Not shutil.rmtree(), which an interrupt can bring to close a descriptor twice.)
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(folder, _PATH))
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def _hello(token: str) -> bytes:
    return _VERSION + token.encode()


class Caller:
    """The side that connects."""

    def __init__(self, invitation: bytes) -> None:
        endpoint, key, token = json.loads(invitation)
        limits.check_descriptors()
        limits.check_tasks()
        self._context = zmq.Context()
        self._endpoint = endpoint
        try:
            self._connect(key)
            self.send([_hello(token)])
        except BaseException:
            self.close()
            raise

    def _connect(self, key: str) -> None:
        self._socket = self._context.socket(zmq.PAIR)
        for option, value in _OPTIONS.items():
            self._socket.set(option, value)
        if key:
            self._socket.curve_publickey, self._socket.curve_secretkey = zmq.curve_keypair()
            self._socket.curve_serverkey = key.encode()
        self._socket.connect(self._endpoint)

    def send(self, frames: Sequence[bytes]) -> None:
        """Send a message; to nobody, if the other side has gone."""
        send = self._socket.send
        with contextlib.suppress(zmq.Again):
            for frame in frames[:-1]:
                send(frame, _MORE, copy=len(frame) < _LARGE)
            send(frames[-1], _NOW, copy=len(frames[-1]) < _LARGE)

    def close(self) -> None:
        """End the connection; what the other side has not read by now is lost."""
        self._context.destroy(linger=0)
        scheme, _, path = self._endpoint.partition("://")
        if scheme == "ipc":  # should the other side have died before it could
            _remove(os.path.dirname(path))
