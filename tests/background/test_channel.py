"""The connection between two processes: who gets in, what is seen of it, what it leaves."""

import contextlib
import errno
import gc
import json
import os
import pickle
import random
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zmq
from _cases import some
from _sources import TIMEOUT, plain, records, within

import pescador
from pescador import PescadorError, WorkerError, ZMQStreamer
from pescador._background import channel
from pescador._background.channel import Caller, Listener

PORTS = (49152, 65535, 100)
TRANSPORTS = ["ipc", "tcp"]
NOBODY = 65534
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
LISTENS = "0A"  # a state, in /proc/net/tcp

# (of a process with threads: libzmq's, which the child does not touch)
may_fork = pytest.mark.filterwarnings("ignore:.*multi-?threaded.*fork:DeprecationWarning")
every_transport = pytest.mark.parametrize("transport", TRANSPORTS)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc of Linux")


# Helpers.


@contextlib.contextmanager
def listening(transport, ports=PORTS, pid=None):
    with contextlib.closing(Listener(transport, pid or os.getpid(), *ports)) as listener:
        yield listener


@contextlib.contextmanager
def connected(transport):
    """Give both sides, after the welcome."""
    with listening(transport) as listener:
        with contextlib.closing(Caller(listener.invitation())) as caller:
            listener.welcome(receive(listener))
            yield listener, caller


def receive(listener):
    """Return the next message, as bytes."""
    assert listener.socket.poll(1000 * TIMEOUT), "nothing arrives"
    return [bytes(frame) for frame in listener.receive()]


def hears_nothing(listener):
    return not listener.socket.poll(100) and listener.receive() is None


@contextlib.contextmanager
def stranger(endpoint, key="", server_key=None):
    """Connect as any program could, with a PAIR socket."""
    with zmq.Context() as context, context.socket(zmq.PAIR) as pair:
        pair.linger = 0
        if key:
            pair.curve_publickey, pair.curve_secretkey = zmq.curve_keypair()
            pair.curve_serverkey = server_key or key.encode()
        events = pair.get_monitor_socket()
        try:
            pair.connect(endpoint)
            yield pair, events
        finally:
            pair.disable_monitor()
            events.close(linger=0)


def folder_of(listener):
    return Path(listener.endpoint.partition("://")[2]).parent


def free_ports(n_ports):
    """Return the first of some adjacent ports that are free, as far as one can tell."""
    for first in range(20000, 30000, n_ports):
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                for port in range(first, first + n_ports):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                return first
    raise AssertionError("no port is free")


def arrays(n_items, size=2000):
    for value in range(n_items):
        yield {"x": np.full(size, value), "y": value}


def n_tasks():
    return len(os.listdir("/proc/self/task"))


# The greeting.


@every_transport
def test_a_connection(transport):
    with connected(transport) as (listener, caller):
        assert listener.receive() is None
        for n_frames in (1, 2, 70):
            frames = [b"%d" % number * 10_000 for number in range(n_frames)]
            caller.send(frames)
            assert receive(listener) == frames


@every_transport
def test_what_arrives_keeps_its_order_and_its_frames(transport):
    with connected(transport) as (listener, caller):
        messages = [[b"%d" % number, b"", b"x" * number] for number in range(1000)]
        for message in messages:
            caller.send(message)
        assert [receive(listener) for _ in messages] == messages


@every_transport
@pytest.mark.parametrize(
    "hello",
    [
        lambda token: [b"pescador-1:" + token[:-1] + b"~"],
        lambda token: [b"pescador-1:" + token[:-1]],
        lambda token: [b"pescador-1:" + token + b"0"],
        lambda token: [b"pescador-2:" + token],
        lambda token: [token],
        lambda token: [b""],
        lambda token: [b"\xff" * 100_000],
        lambda token: [b"pescador-1:" + token, b""],
        lambda token: [b"pescador-1:" + token, b"data"],
        lambda token: [b"pescador-1:" + token] * 2,
        lambda token: [b"", b"pescador-1:" + token],
    ],
    ids=[
        "other token",
        "shorter token",
        "longer token",
        "other version",
        "token alone",
        "nothing",
        "garbage",
        "empty frame more",
        "data along",
        "twice",
        "empty frame first",
    ],
)
def test_a_wrong_hello_is_refused(transport, hello):
    with listening(transport) as listener:
        with stranger(listener.endpoint, listener.key) as (pair, _):
            pair.send_multipart(hello(listener.token.encode()))
            frames = receive(listener)
            with pytest.raises(WorkerError, match="another program connected"):
                listener.welcome(frames)


def test_a_replayed_hello_is_refused():
    """The token of one stream is of no use for another."""
    with listening("ipc") as first, listening("ipc") as second:
        assert first.token != second.token
        assert len(first.token) >= 32
        with stranger(first.endpoint) as (pair, _):
            pair.send(b"pescador-1:" + second.token.encode())
            with pytest.raises(WorkerError):
                first.welcome(receive(first))


@every_transport
def test_a_wrong_hello_ends_the_stream_and_nothing_of_it_is_data(transport, monkeypatch):
    def impostor(self, invitation):
        endpoint, key, _ = json.loads(invitation)
        original(self, json.dumps([endpoint, key, "0" * 64]))

    original = Caller.__init__
    monkeypatch.setattr(Caller, "__init__", impostor)  # in the forked process, too
    streamer = ZMQStreamer(
        pescador.Streamer(records, 0, 5), transport=transport, start_method="fork"
    )
    got = []
    with pytest.raises(WorkerError, match="another program connected"):
        got.extend(streamer)
    assert got == []
    assert streamer.active == 0


# Strangers.


@on_linux
def test_over_ipc_another_process_that_comes_first_is_refused():
    """Even one that knows the token."""
    code = """if 1:
        import sys, zmq
        from zmq.utils.monitor import recv_monitor_message
        endpoint, token = sys.argv[1:]
        pair = zmq.Context().socket(zmq.PAIR)
        pair.linger = 0
        events = pair.get_monitor_socket()
        pair.connect(endpoint)
        pair.send(b"pescador-1:" + token.encode())
        while events.poll(20_000):
            event = recv_monitor_message(events)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                sys.exit("let in")
            if event == zmq.EVENT_DISCONNECTED:
                sys.exit(0)
        sys.exit("no answer")
    """
    with listening("ipc") as listener:
        command = [sys.executable, "-c", code, listener.endpoint, listener.token]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        assert (done.returncode, done.stderr) == (0, "")
        assert hears_nothing(listener)
        assert_serves(listener)


def assert_serves(listener):
    """Check that the real process gets in, and nobody else is heard."""
    with contextlib.closing(Caller(listener.invitation())) as caller:
        listener.welcome(receive(listener))
        caller.send([b"item"])
        assert receive(listener) == [b"item"]
        assert hears_nothing(listener)


@on_linux
def test_over_ipc_only_the_one_process_is_let_in():
    """The filter is what refuses: the same process is refused if another one is expected."""
    with listening("ipc", pid=os.getppid()) as listener:
        with contextlib.closing(Caller(listener.invitation())):
            assert hears_nothing(listener)


def test_over_tcp_those_that_say_nothing_do_not_matter():
    with listening("tcp") as listener, contextlib.ExitStack() as stack:
        address = ("127.0.0.1", int(listener.endpoint.rpartition(":")[2]))
        silent = [stack.enter_context(socket.create_connection(address)) for _ in range(100)]
        assert hears_nothing(listener)
        assert_serves(listener)
        assert len(silent) == 100


@pytest.mark.parametrize("text", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 1000, b"\0" * 64])
def test_over_tcp_other_protocols_do_not_matter(text):
    with listening("tcp") as listener:
        address = ("127.0.0.1", int(listener.endpoint.rpartition(":")[2]))
        with socket.create_connection(address) as other:
            other.sendall(text)
            assert hears_nothing(listener)
            assert_serves(listener)


@pytest.mark.parametrize("has_key", [False, True])
def test_over_tcp_those_without_the_key_are_refused(has_key):
    with listening("tcp") as listener:
        wrong = zmq.curve_keypair()[0] if has_key else None
        with stranger(listener.endpoint, "key" * has_key, wrong) as (pair, events):
            pair.send(b"pescador-1:" + listener.token.encode())
            refused = events.poll(1000 * TIMEOUT)
            assert refused
            assert hears_nothing(listener)
            assert_serves(listener)


@every_transport
def test_those_who_come_later_are_not_heard(transport):
    with listening(transport) as listener:
        endpoint, token = listener.endpoint, listener.token.encode()
        with contextlib.closing(Caller(listener.invitation())) as caller:
            listener.welcome(receive(listener))
            with stranger(endpoint, listener.key) as (pair, _):
                with contextlib.suppress(zmq.Again):
                    pair.send(b"pescador-1:" + token, zmq.DONTWAIT)
                assert hears_nothing(listener)
                caller.send([b"item"])
                assert receive(listener) == [b"item"]
                assert hears_nothing(listener)


# What is seen of it from outside.


def test_the_folder_is_private_and_goes_with_the_welcome():
    with listening("ipc") as listener:
        folder = folder_of(listener)
        assert folder.parent == Path(tempfile.gettempdir())
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_ISSOCK((folder / "pair").stat().st_mode)
        with contextlib.closing(Caller(listener.invitation())) as caller:
            listener.welcome(receive(listener))
            assert not folder.exists()
            for number in range(100):
                caller.send([b"%d" % number])
                assert receive(listener) == [b"%d" % number]


def test_the_umask_does_not_matter():
    before = os.umask(0)
    try:
        with listening("ipc") as listener:
            assert stat.S_IMODE(folder_of(listener).stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_the_folder_goes_with_the_listener():
    with listening("ipc") as listener:
        folder = folder_of(listener)
        assert folder.exists()
        listener.close()
        assert not folder.exists()
        listener.close()


def test_the_folder_goes_with_the_caller_should_the_listener_have_been_killed():
    with listening("ipc") as listener:
        Caller(listener.invitation()).close()
        assert not folder_of(listener).exists()


def test_after_the_welcome_the_folder_belongs_to_whoever_takes_its_name():
    with connected("ipc") as (listener, caller):
        folder = folder_of(listener)
        folder.mkdir()
        listener.close()
        assert folder.exists()
        folder.rmdir()
        caller.close()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs another user")
@may_fork
def test_another_user_cannot_enter():
    public = tempfile.mkdtemp(dir="/tmp")
    os.chmod(public, 0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", public)
        try:
            with listening("ipc") as listener:
                folder = folder_of(listener)
                assert folder.parent == Path(public)
                assert _as_nobody(_enter, public, folder) == 0
                assert_serves(listener)
        finally:
            os.rmdir(public)


def _as_nobody(function, *args):
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os._exit(function(*args))
        finally:
            os._exit(100)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _enter(public, folder):
    """Return 0 if everything is refused, else the number of what is not."""
    os.listdir(public)  # that much is allowed
    with socket.socket(socket.AF_UNIX) as pair:
        attempts = [
            lambda: os.listdir(folder),
            lambda: os.stat(folder / "pair"),
            lambda: pair.connect(str(folder / "pair")),
            lambda: os.rename(folder, f"{public}/other"),
        ]
        for number, attempt in enumerate(attempts):
            with contextlib.suppress(PermissionError):
                attempt()
                return 1 + number
    return 0


def _family():
    """Return the ids of this process and of those that it has started."""
    found = [os.getpid()]
    for task in Path("/proc/self/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def _sockets(family):
    """Return the inodes of the sockets of some processes."""
    found = set()
    for pid in family:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                kind, _, inode = os.readlink(descriptor).partition(":")
                if kind == "socket":
                    found.add(inode[1:-1])
    return found


def _listeners(family):
    """Return the addresses on which some processes listen: of TCP, and names of Unix sockets."""
    inodes = _sockets(family)
    tcp, names = [], []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENS and fields[9] in inodes:
                tcp.append(fields[1].partition(":")[0])
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and fields[6] in inodes:
            names.append(fields[7])
    return tcp, names


@on_linux
@pytest.mark.parametrize("method", some(["fork", "spawn"]))
@every_transport
def test_what_listens_during_a_stream(transport, method):
    before = _listeners(_family())
    streamer = ZMQStreamer(
        pescador.Streamer(records, 0, 10**9), transport=transport, start_method=method
    )
    with streamer.iterate() as stream:
        next(stream)
        tcp, names = _listeners(_family())
    assert not any(name.startswith("@") for name in names)
    added = tcp[len(before[0]) :]
    if transport == "ipc":
        assert added == []
    else:
        assert added
        assert set(added) <= LOOPBACK


@on_linux
def test_what_listens_before_the_process_has_come():
    with listening("ipc") as listener:
        tcp, names = _listeners([os.getpid()])
        assert tcp == []
        # (libzmq's own pairs have no names)
        assert [name for name in names if name] == [str(folder_of(listener) / "pair")]
    with listening("tcp"):
        tcp, names = _listeners([os.getpid()])
        assert tcp == ["0100007F"]
        assert names == []


@on_linux
@pytest.mark.parametrize("method", some(["fork", "spawn", "forkserver"]))
@every_transport
def test_the_token_is_told_to_nobody(transport, method, monkeypatch):
    tokens = []
    original = channel.secrets.token_hex
    monkeypatch.setattr(
        channel.secrets, "token_hex", lambda n: tokens.append(original(n)) or tokens[-1]
    )
    streamer = ZMQStreamer(
        pescador.Streamer(records, 0, 10**9), transport=transport, start_method=method
    )
    with streamer.iterate() as stream:
        next(stream)
        assert len(tokens) == 1
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        assert tokens[0].encode() not in (process / name).read_bytes()
        assert tokens[0] not in " ".join(_listeners(_family())[1])


# Ports.


def test_the_port_is_one_of_those_given():
    first = free_ports(3)
    with contextlib.ExitStack() as stack:
        found = {
            stack.enter_context(listening("tcp", (first, first + 2, 3))).endpoint for _ in range(3)
        }
    assert found == {f"tcp://127.0.0.1:{port}" for port in range(first, first + 3)}


@pytest.mark.parametrize("n_ports, max_tries, n_tried", [(1, 1, 1), (3, 100, 3), (3, 2, 2)])
def test_no_port_is_free(n_ports, max_tries, n_tried, leak_guard):
    first = free_ports(n_ports)
    last = first + n_ports - 1
    with contextlib.ExitStack() as stack:
        for port in range(first, last + 1):
            stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
        streamer = ZMQStreamer(
            pescador.Streamer(records, 0, 3), first, last, max_tries, transport="tcp"
        )
        with pytest.raises(PescadorError, match=f"{n_tried} ports? tried, and none") as caught:
            list(streamer)
    assert caught.match(rf"\({first}, {last}\).*max_tries.*'ipc'")
    assert type(caught.value.__cause__) is zmq.ZMQError
    assert caught.value.__cause__.errno == errno.EADDRINUSE
    del caught
    assert streamer.active == 0
    assert channel._context._context is None
    assert leak_guard.leaked() == []


@every_transport
def test_the_users_random_numbers_are_left_alone(transport):
    state, numpy_state = random.getstate(), np.random.get_state()
    with connected(transport):
        pass
    assert random.getstate() == state
    assert all(map(np.array_equal, np.random.get_state(), numpy_state))


# Folders.


@pytest.mark.parametrize("name", ["a b", "ä✓", "a*b?[c]", "@a", "a%20b", "a:1"])
def test_any_name_of_a_folder_will_do(name, monkeypatch):
    folder = Path(tempfile.gettempdir()) / name
    folder.mkdir()
    try:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        with connected("ipc") as (listener, caller):
            caller.send([b"item"])
            assert receive(listener) == [b"item"]
        assert list(folder.iterdir()) == []
    finally:
        folder.rmdir()


@pytest.mark.parametrize("letter", ["x", "ä"])
def test_a_folder_whose_name_is_too_long(letter, leak_guard):
    """In bytes."""
    folder = Path(tempfile.gettempdir()) / (letter * 80)
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        with pytest.raises(PescadorError, match=r"too long.*TMPDIR.*transport='tcp'"):
            list(ZMQStreamer(pescador.Streamer(records, 0, 3), transport="ipc"))
    assert list(folder.iterdir()) == []
    folder.rmdir()
    assert channel._context._context is None
    assert leak_guard.leaked() == []


# No pickle.


@pytest.mark.parametrize("copy", [False, True])
@every_transport
def test_no_pickle_is_read_from_the_socket(transport, copy, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("unpickled")

    for module, name in [(pickle, "loads"), (pickle, "load"), (pickle, "Unpickler")]:
        monkeypatch.setattr(module, name, refuse)
    for name in ("recv_pyobj", "recv_serialized", "send_pyobj"):
        monkeypatch.setattr(zmq.Socket, name, refuse)
    streamer = ZMQStreamer(
        pescador.Streamer(arrays, 30), copy=copy, transport=transport, start_method="fork"
    )
    got = [plain(item) for item in streamer]
    assert got == [plain(item) for item in arrays(30)]


# The context that all streams share.


@on_linux
def test_the_context_goes_with_the_last_stream():
    before = n_tasks()
    with listening("ipc") as first:
        with_one = n_tasks()
        with contextlib.ExitStack() as stack:
            for transport in TRANSPORTS * 100:
                stack.enter_context(listening(transport))
            # (A thread of the suite that has just ended may have been counted.)
            assert before < n_tasks() <= with_one
            assert len({id(first._context)}) == 1
        assert n_tasks() <= with_one
        assert_serves(first)
    assert channel._context._context is None
    end = time.monotonic() + TIMEOUT
    while n_tasks() != before and time.monotonic() < end:  # one that has ended is listed a while
        time.sleep(0.001)
    assert n_tasks() == before


def test_many_connections_at_once():
    with contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(connected(each)) for each in TRANSPORTS * 15]
        for number, (_, caller) in enumerate(pairs):
            caller.send([b"%d" % number])
        for number, (listener, _) in reversed(list(enumerate(pairs))):
            assert receive(listener) == [b"%d" % number]


@may_fork
@every_transport
def test_a_fork_in_between(transport):
    """The child has a context of its own, and touches nothing of its parent's."""
    with connected(transport) as (listener, caller):
        child = os.fork()
        if child == 0:
            try:
                with connected(transport) as (other, theirs):
                    theirs.send([b"child"])
                    is_heard = receive(other) == [b"child"]
                    is_own = other._context is not listener._context
                is_gone = channel._context._context is None
                os._exit(0 if is_heard and is_own and is_gone else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        caller.send([b"parent"])
        assert receive(listener) == [b"parent"]
    assert channel._context._context is None


def test_a_context_is_made_and_ended_by_many_threads_at_once():
    errors = []

    def work():
        try:
            for _ in range(30):
                with listening("ipc"):
                    pass
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert not any(thread.is_alive() for thread in threads)
    assert errors == []
    assert channel._context._context is None


def test_a_stream_that_is_collected_while_another_one_starts(monkeypatch):
    """The garbage collector may run anywhere, and closes what it finds."""

    class Stream:
        def __del__(self):
            self.listener.close()

    def check_and_collect():
        check()
        gc.collect()

    check = channel.limits.check_descriptors
    context = channel._Context()
    monkeypatch.setattr(channel, "_context", context)  # a deadlock hurts this test alone
    dropped = Stream()
    dropped.listener = Listener("ipc", os.getpid(), *PORTS)
    dropped.cycle = dropped
    monkeypatch.setattr(channel.limits, "check_descriptors", check_and_collect)
    gc.disable()
    try:
        del dropped
        listener = within(TIMEOUT, Listener, "ipc", os.getpid(), *PORTS)
    finally:
        gc.enable()
    assert_serves(listener)
    listener.close()
    assert context._context is None


# Descriptors.


@contextlib.contextmanager
def few_descriptors(n_left):
    """Leave only so many file descriptors."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(each) for each in os.listdir("/proc/self/fd")}
    free = (number for number in range(len(used) + n_left + 1) if number not in used)
    limit = [number for number, _ in zip(free, range(n_left + 1))][-1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@on_linux
@pytest.mark.parametrize("n_left", [0, 1, 10, 25])
def test_too_few_descriptors_are_told_before_anything_is_opened(n_left, leak_guard):
    with few_descriptors(n_left):
        for attempt in (
            channel.limits.check_descriptors,
            lambda: Listener("ipc", os.getpid(), *PORTS),
            lambda: Caller(json.dumps(["ipc:///nowhere", "", "token"]).encode()),
        ):
            with pytest.raises(OSError, match=r"file descriptors are left.*ulimit -n") as caught:
                attempt()
            assert caught.value.errno == errno.EMFILE
            assert isinstance(caught.value.__cause__, OSError)
    assert channel._context._context is None
    assert leak_guard.leaked() == []


def test_enough_descriptors():
    with few_descriptors(60):
        channel.limits.check_descriptors()
        with listening("ipc") as listener:
            assert_serves(listener)


# In a process of its own, since libzmq aborts where it gets no descriptor.
SHORT = """
import errno, gc, json, os, signal, sys, traceback
from test_channel import few_descriptors, ZMQStreamer, records, pescador
import multiprocessing
import pescador._background.consumer  # loads all that is needed

method, transport, numbers = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])

def run(n_left):
    if method != "fork":
        from multiprocessing import resource_tracker
        resource_tracker.ensure_running()
    descriptors = set(os.listdir("/proc/self/fd"))
    streamer = ZMQStreamer(pescador.Streamer(records, 0, 20), transport=transport,
                           start_method=method)
    is_theirs = False  # multiprocessing's own error, which may leave a pipe open
    with few_descriptors(n_left):
        try:
            result = [int(item["x"]) for item in streamer]
        except OSError as error:
            result = error.errno
            is_theirs = "popen_" in traceback.format_exc()
        except BaseException:
            result = traceback.format_exc()
    gc.collect()
    left = is_theirs or sorted(set(os.listdir("/proc/self/fd")) - descriptors)
    children = [child.pid for child in multiprocessing.active_children()]
    return [result, left, children, streamer.active]

results = []
for n_left in numbers:
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os.write(theirs, json.dumps(run(n_left)).encode())
        os._exit(0)
    os.close(theirs)
    with open(ours) as pipe:
        told = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    results.append([n_left, code, json.loads(told) if told else None])
print(json.dumps(results))
"""


@on_linux
@pytest.mark.parametrize(
    "method, transport, numbers",
    [
        ("fork", "ipc", range(0, 61, 2)),
        pytest.param("fork", "tcp", range(0, 61, 5), marks=pytest.mark.full),
        pytest.param("spawn", "ipc", [0, 8, 25, 45], marks=pytest.mark.full),
    ],
)
def test_without_descriptors_there_is_an_error_or_the_whole_stream(method, transport, numbers):
    done = _run(SHORT, method, transport, json.dumps(list(numbers)))
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [n_left for n_left, _, _ in results] == list(numbers)
    for n_left, code, told in results:
        assert code == 0, f"with {n_left} descriptors left, it ended with {code}: {done.stderr}"
        result, descriptors, children, active = told
        assert result in (list(range(20)), errno.EMFILE), f"{n_left}: {result}"
        assert descriptors in ([], True), n_left
        assert (children, active) == ([], 0), n_left
    assert results[0][2][0] == errno.EMFILE
    assert results[-1][2][0] == list(range(20))


def _run(code, *args):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        env=environment,
        capture_output=True,
        text=True,
        timeout=4 * TIMEOUT,
    )


MANY = """
import errno, os
from test_channel import few_descriptors, ZMQStreamer, records, pescador
import pescador._background.consumer

before = set(os.listdir("/proc/self/fd"))
streamer = ZMQStreamer(pescador.Streamer(records, 0, 5), start_method="fork")
streams = []
with few_descriptors(200):
    try:
        while len(streams) < 1000:
            streams.append(streamer.iterate())
            next(streams[-1])
    except OSError as error:
        assert error.errno == errno.EMFILE, error
    n_open = streamer.active
    assert 0 < n_open < len(streams) < 1000
    for stream in streams[:n_open]:
        assert [int(item["x"]) for item in stream] == [1, 2, 3, 4]
    assert [int(item["x"]) for item in streamer] == [0, 1, 2, 3, 4]
assert streamer.active == 0
assert set(os.listdir("/proc/self/fd")) == before
print("done")
"""


@on_linux
def test_streams_until_no_descriptor_is_left():
    """The others go on, and when they have ended there is room again."""
    done = _run(MANY)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "done", "")


# Interrupts. From Python 3.12 on, PyZMQ runs a line of Python whenever it raises an exception: if
# a signal handler raises there, what it raises is lost.


class Struck(BaseException):
    """What a signal handler raises."""


@contextlib.contextmanager
def alarms():
    """Let SIGALRM raise `Struck`; give a list that tells how often it did."""
    strikes = []

    def strike(number, frame):
        strikes.append(number)
        raise Struck

    before = signal.signal(signal.SIGALRM, strike)
    try:
        yield strikes
    finally:
        signal.signal(signal.SIGALRM, before)


def n_lost(call, n_times):
    """Raise an exception from a signal handler during calls, again and again; count the lost."""
    lost = 0
    with alarms() as strikes:

        def call_until_struck(seconds):
            strikes.clear()
            signal.setitimer(signal.ITIMER_REAL, seconds)
            while not strikes:
                call()

        for number in range(n_times):
            try:
                call_until_struck(1e-6 * (1 + number))
                lost += 1
            except Struck:
                pass
    return lost


def test_what_a_signal_handler_raises_is_not_lost_as_messages_are_received():
    with connected("ipc") as (listener, caller):
        assert n_lost(listener.receive, 300) == 0

        def send_and_receive():
            caller.send([b"x"])
            listener.receive()

        assert n_lost(send_and_receive, 100) == 0


def test_what_a_signal_handler_raises_is_not_lost_as_messages_are_awaited():
    with connected("ipc") as (listener, _):
        waiter = channel.Waiter(listener, [])
        assert n_lost(lambda: waiter.wait(0), 300) == 0
        assert n_lost(lambda: waiter.wait(1), 100) == 0
