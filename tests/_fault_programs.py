"""Programs that come to grief, and the sources that bring it about; `test_faults` runs them.

Each runs in a process, a session, a working folder and a TMPDIR of its own: ``main()`` with the
name of a program, a start method and arguments. It prints one line: what it has seen, as JSON.
Files in the working folder tell how far a source has got.
"""

import collections
import contextlib
import ctypes
import gc
import itertools
import json
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
import warnings
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import numpy as np

from pescador import Streamer, WorkerError, ZMQStreamer
from pescador._background import consumer
from pescador._background.child import Child
from pescador._background.signals import GROUP

LIMIT = 60  # seconds, for what a program waits for; only ever used up by one that fails
ENTERED, LEFT, MADE, GHOST = map(Path, ("entered", "left", "made", "ghost"))

_STILL = 0.2  # seconds without a change after which a source counts as blocked
_LONG = 600  # seconds; nobody waits for it
_MB = 10**6
_LONGEST = 4000  # characters of a text that are told
_BEGAN = time.monotonic()  # after all that has been imported
_KEPT = []  # what lives until the interpreter ends


# What goes wrong in a source.


class TwoArguments(Exception):
    """Can be pickled, and not be loaded."""

    def __init__(self, left, right):
        super().__init__(f"{left} and {right}")


class Locked(Exception):
    """Cannot be pickled, for what it holds."""

    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


class Mute(Exception):
    """Has no text."""

    def __str__(self):
        raise RuntimeError("no text")


class BadReduce(Exception):
    """Refuses to be pickled."""

    def __reduce__(self):
        raise RuntimeError("not to be pickled")


class BadState(Exception):
    """Refuses its own state when it is loaded."""

    def __init__(self, text):
        super().__init__(text)
        self.state = "bad"

    def __setstate__(self, state):
        raise RuntimeError("not to be loaded")


class Deadly(Exception):
    """Ends the process that loads it."""

    def __reduce__(self):
        return os._exit, (5,)


class Impostor(Exception):
    """Turns into something else when it is loaded."""

    def __reduce__(self):
        return str, ("no error at all",)


def _raise(error):
    raise error


def _raise_chain():
    try:
        try:
            raise ZeroDivisionError("the cause of the cause")
        except ZeroDivisionError as error:
            raise KeyError("the cause") from error
    except KeyError as error:
        last = ValueError("the end of the chain")
        if sys.version_info >= (3, 11):
            last.add_note("a note")
        raise last from error


def _raise_context():
    try:
        raise KeyError("what was handled")
    except KeyError:
        raise ValueError("what came of it")  # noqa: B904 - implicitly chained, on purpose


def _raise_group():
    raise ExceptionGroup("a group", [ValueError("its first"), KeyError("its second")])  # noqa: F821


def _raise_local():
    class LocalError(Exception):
        pass

    raise LocalError("of a class that nobody else can find")


FAULTS = {
    "ValueError": lambda: _raise(ValueError("x", 7)),
    "KeyError": lambda: _raise(KeyError("k")),
    "UnicodeDecodeError": lambda: b"a\xff".decode(),
    "StopIteration": lambda: _raise(StopIteration("early")),
    "chain": _raise_chain,
    "context": _raise_context,
    "group": _raise_group,
    "mute": lambda: _raise(Mute(1)),
    "surrogate": lambda: _raise(ValueError("\udcff")),
    "huge": lambda: _raise(ValueError("x" * 5 * _MB)),
    "TwoArguments": lambda: _raise(TwoArguments("one", "two")),
    "Locked": lambda: _raise(Locked("in its hand")),
    "BadReduce": lambda: _raise(BadReduce("the text")),
    "BadState": lambda: _raise(BadState("the text")),
    "Deadly": lambda: _raise(Deadly("the text")),
    "Impostor": lambda: _raise(Impostor("the text")),
    "LocalError": _raise_local,
    "exit(0)": lambda: sys.exit(0),
    "exit(3)": lambda: sys.exit(3),
    "exit('bye')": lambda: _raise(SystemExit("bye")),
    "_exit(0)": lambda: os._exit(0),
    "_exit(7)": lambda: os._exit(7),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSEGV": lambda: ctypes.string_at(0),
    "SIGABRT": os.abort,
}


# Sources.


def items(n_items, size=1):
    """Yield items that tell when and where they were made."""
    for number in range(n_items):
        yield _item(number, size)


def _item(number, size=1):
    data = np.full(size, number % 251, np.uint8)
    return {"x": number, "made": time.monotonic(), "pid": os.getpid(), "data": data}


def fails(fault, n_items=3, size=1):
    """Yield some items, and come to grief."""
    yield from items(n_items, size)
    FAULTS[fault]()  # it breaks here


def _not_started(text):
    raise ValueError(text)


class Unstartable:
    """A source whose very call fails."""

    def __init__(self, text):
        _not_started(text)

    def __iter__(self):
        return iter(())


class UnstartableByStop:
    """A source whose call raises what would pass for the end of the data."""

    def __init__(self):
        raise StopIteration

    def __iter__(self):
        return iter(())


def ticks():
    """Yield an item every few milliseconds, for ever."""
    number = 0
    while True:
        yield _item(number)
        time.sleep(0.005)
        number += 1


def flood(size):
    """Yield items as fast as it goes, for ever, and write down how many."""
    number = 0
    while True:
        yield _item(number, size)
        number += 1
        MADE.write_text(str(number))


def busy(state):
    """Yield an item, and be busy; tell when that begins, and when it is over."""
    yield _item(0)
    ENTERED.touch()
    try:
        _STATES[state]()
    finally:
        LEFT.touch()


def _be_stubborn():
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(_LONG)


_STATES = {
    "sleep": lambda: time.sleep(_LONG),
    "stubborn": _be_stubborn,
    "C": lambda: ctypes.PyDLL(None).sleep(3),  # holds the GIL
}


def heavy(n_items, size):
    """Yield an item that tells how much memory this takes; then some of a given size."""
    yield {"pid": os.getpid(), "memory": memory_of(os.getpid())}
    for number in range(n_items):
        if number % 10 == 0 or size >= _MB:  # (writing takes longer than making a small item)
            MADE.write_text(str(number + 1))
        yield _item(number, size)


def oversized(size):
    """Yield a large item, and some small ones."""
    yield _item(0, size)
    yield from (_item(number) for number in range(1, 100))


def tiny(n_items):
    """Yield items of 16 bytes."""
    for number in range(n_items):
        yield {"x": np.int64(number), "y": np.int64(-number)}


def haunted(how):
    """Start a process that inherits all it can and outlives this one; then die."""
    if how == "fork":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads
            pid = os.fork()
        if not pid:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.pause()
    else:
        ghost = subprocess.Popen(["sleep", str(LIMIT)], close_fds=False)
        pid = ghost.pid
    GHOST.write_text(str(pid))
    yield from items(3)
    os.kill(os.getpid(), signal.SIGKILL)


def around(method, state):
    """Read another background process, in this one."""
    for item in start(method, busy, state):
        yield {**item, "outer": os.getpid()}


def signalled(n_items):
    """Yield items, waiting for each of them in another way."""
    for number in range(n_items):
        yield _item(number)
        if number % 3 == 0:
            time.sleep(0.005)
        elif number % 3 == 1:
            threading.Event().wait(0.005)
        else:
            sum(range(10**5))


class BadLoad:
    """An argument that makes trouble in the process that loads it."""

    def __init__(self, fault):
        self.fault = fault

    def __setstate__(self, state):
        FAULTS[state["fault"]]()


# What a program can see.


def start(method, source, *args, **options):
    """Return a stream of a source, run in a background process."""
    return ZMQStreamer(Streamer(source, *args), start_method=method, **options).iterate()


def read(stream, since=None):
    """Read a stream to its end; tell what came, and how long ago what ended it was.

    That is ``since``, or when the last item that came was made.
    """
    values, are_right, error = [], True, None
    event = time.monotonic()
    try:
        for item in stream:
            values.append(int(item["x"]))
            are_right &= bool((item["data"] == values[-1] % 251).all())
            event = float(item["made"])
    except BaseException as caught:
        error = described(caught)
    seconds = time.monotonic() - (since() if since else event)
    return {"values": values, "are_right": are_right, "error": error, "seconds": seconds}


def described(error):
    """Return what there is to know of an error."""
    return {
        "type": type(error).__name__,
        "kinds": [kind.__name__ for kind in type(error).__mro__],
        "args": [_told(each) for each in error.args],
        "text": _told(_text_of(error)),
        "cause": None if error.__cause__ is None else _told(str(error.__cause__)),
        "notes": getattr(error, "__notes__", []),
    }


def _text_of(error):
    try:
        return str(error)
    except Exception:
        return None


def _told(value):
    if isinstance(value, (list, tuple)):
        return [_told(each) for each in value]
    if isinstance(value, BaseException):
        return repr(value)
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str) and len(value) > _LONGEST:
        return {"length": len(value), "begin": value[:_LONGEST], "set": sorted(set(value))}
    return value


def until(condition):
    """Wait until something holds."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it never comes"
        time.sleep(0.005)


def until_blocked():
    """Wait until the source has made items, and makes no more."""
    until(MADE.exists)
    last, since = None, time.monotonic()

    def is_still():
        nonlocal last, since
        now = MADE.read_text()
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > _STILL

    until(is_still)


def relatives(session):
    """Return the state of each other process of a session, by pid.

    Zombies are told if their parent is of the session too: others are for init to reap.
    """
    states, parents = {}, {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended
            stat = Path("/proc", name, "stat").read_text()
            state, parent, _, its_session = stat.rpartition(")")[2].split()[:4]
            if int(its_session) == session:
                states[int(name)], parents[int(name)] = state, int(parent)
    return {
        pid: state
        for pid, state in states.items()
        if pid != os.getpid() and (state != "Z" or parents[pid] in states)
    }


def memory_of(pid):
    """Return how many bytes of memory a process takes up, shared memory included."""
    status = Path(f"/proc/{pid}/status").read_text().split("\n")
    of = dict(line.split(":") for line in status if line)
    return sum(1024 * int(of[key].split()[0]) for key in ("RssAnon", "RssShmem"))


def holdings():
    """Return what this process has: processes, descriptors, threads, temporary files."""
    descriptors = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that listed them
            descriptors[f"descriptor {name}"] = os.readlink(f"/proc/self/fd/{name}")
    return {
        **{f"process {pid}": state for pid, state in relatives(os.getsid(0)).items()},
        **descriptors,
        **{f"thread {name}": "" for name in os.listdir("/proc/self/task")},
        **{f"file {name}": "" for name in os.listdir(tempfile.gettempdir())},
    }


def added(before):
    """Return what this process has, and did not have before."""
    return [f"{key} {value}" for key, value in holdings().items() if key not in before]


def until_restored(before):
    """Wait until this process has no more than before."""

    def is_restored():
        gc.collect()
        return not added(before)

    until(is_restored)


def tell(**facts):
    """Print facts, the time, and when the program had been loaded."""
    print(json.dumps({**facts, "began": _BEGAN, "now": time.monotonic()}), flush=True)


def at_start(function):
    """Call ``function(child)`` when the next process has been started, not yet spoken to."""
    send_first = Child.send_first

    def send_after(child, *args):
        Child.send_first = send_first
        function(child)
        send_first(child, *args)

    Child.send_first = send_after


def after(seconds, function):
    """Call a function in a while, from a signal handler."""
    signal.signal(signal.SIGALRM, lambda number, frame: function())
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))


def interrupt_all():
    """Do what Ctrl-C does."""
    os.killpg(os.getpgrp(), signal.SIGINT)


# Programs: errors.


def failing(method, spec):
    """The source fails: as it is said, after so many items, of such a size."""
    fault, _, sizes = spec.partition(":")
    return read(start(method, fails, fault, *map(int, sizes.split(":")[: 2 * bool(sizes)])))


def hurried(method, n_times):
    """Sources fail at once, and what they sent takes longer than the consumer likes to wait."""
    consumer._DRAIN_SECONDS = 0
    each = [read(start(method, fails, "ValueError")) for _ in range(int(n_times))]
    return {"ends": [[one["values"], one["error"]["type"]] for one in each]}


def uncollected(method, fault):
    """The same, with nobody to collect garbage."""
    gc.disable()
    before = holdings()
    read(start(method, fails, fault))
    return {"left": [], "uncollected": added(before)}


def unstartable(method, how):
    source = {"ValueError": (Unstartable, "not today"), "StopIteration": (UnstartableByStop,)}
    return read(start(method, *source[how]))


def unloadable(method, fault):
    return read(start(method, fails, BadLoad(fault)))


def only_here(method):
    """The source is of a module that the other process cannot import."""
    module = types.ModuleType("only_here")
    exec("def source():\n    yield {}", module.__dict__)
    sys.modules["only_here"] = module
    return read(start(method, module.source))


def interactive(method):
    """The source was typed in, as it were: the other process has no such thing."""
    main = sys.modules["__main__"]
    exec("def typed():\n    yield {}", main.__dict__)
    return read(start(method, main.typed))


def unpicklable(method):
    return read(start(method, lambda: (yield {})))


def daemonic(method):
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(target=_in_daemon, args=(theirs, method), daemon=True)
    process.start()
    theirs.close()
    facts = ours.recv() if ours.poll(LIMIT) else {}
    process.join(LIMIT)
    process.close()
    ours.close()
    return facts


def _in_daemon(link, method):
    link.send(read(start(method, items, 3)))


# Programs: the background process is killed.


def killed(method, moment):
    """The process is killed by somebody else."""
    when = []

    def kill(pid):
        when.append(time.monotonic())
        os.kill(pid, signal.SIGKILL)

    if moment == "sleep":
        stream = start(method, busy, "sleep")
        pid = int(next(stream)["pid"])
        until(ENTERED.exists)
        kill(pid)
    elif moment == "credit":
        stream = start(method, flood, _MB, max_bytes=5 * _MB)
        pid = int(next(stream)["pid"])
        until_blocked()
        kill(pid)
        MADE.unlink()
    else:
        stream = start(method, ticks)
        if moment == "uninvited":
            at_start(lambda child: kill(child.pid))
        else:
            at_start(lambda child: after(float(moment), lambda: kill(child.pid)))
    return read(stream, since=when.pop)


def sibling_killed(method):
    """Of two processes, the first one is killed; it may have left descriptors to the second."""
    first, second = start(method, busy, "sleep"), start(method, items, 100)
    pid = int(next(first)["pid"])
    next(second)
    os.kill(pid, signal.SIGKILL)
    now = time.monotonic()
    facts = read(first, since=lambda: now)
    facts["others"] = read(second)["values"]
    return facts


def haunting(method, how):
    """The process is killed, while a process of its own holds on to what it has inherited."""
    facts = read(start(method, haunted, how))
    ghost = int(GHOST.read_text())
    facts["was_haunted"] = ghost in relatives(os.getsid(0))
    os.kill(ghost, signal.SIGKILL)
    until(lambda: ghost not in relatives(os.getsid(0)))
    return facts


def nested_killed(method):
    """The process has a process of its own, and is killed."""
    before = holdings()
    stream = start(method, around, method, "sleep")
    item = next(stream)
    until(ENTERED.exists)
    there = relatives(os.getsid(0))
    os.kill(int(item["outer"]), signal.SIGKILL)
    now = time.monotonic()
    facts = read(stream, since=lambda: now)
    facts["were_there"] = {int(item["pid"]), int(item["outer"])} <= set(there)
    del stream
    until_restored(before)
    return {**facts, "seconds_of_inner": time.monotonic() - now}


def timed_out(method, how):
    """The process gives nothing for longer than it is allowed to."""
    stream = start(method, busy, "sleep", item_timeout=1)
    pid = int(next(stream)["pid"])
    until(ENTERED.exists)
    if how == "SIGSTOP":
        os.kill(pid, signal.SIGSTOP)
    now = time.monotonic()
    return read(stream, since=lambda: now)


def signalled_process(method):
    """What is for the consumer reaches the process alone."""
    values = []
    numbers = itertools.cycle(sorted(GROUP))
    for item in start(method, signalled, 100):
        values.append(int(item["x"]))
        with contextlib.suppress(ProcessLookupError):  # it has ended before
            os.kill(int(item["pid"]), next(numbers))
    return {"values": values}


SENDER = """
import os, random, signal, sys, time
numbers = [int(each) for each in sys.argv[2:]]
for number in numbers:
    signal.signal(number, signal.SIG_IGN)
draw = random.Random(0)
while os.getppid() == int(sys.argv[1]):
    os.killpg(os.getpgrp(), draw.choice(numbers))
    time.sleep(draw.random() * 2e-3)
"""


def bombarded(method, n_streams):
    """A scheduler sends signals to all of the program, which handles them, again and again."""
    list(start(method, items, 1))  # with what is kept from then on
    before, counts, ends = holdings(), collections.Counter(), []
    for number in GROUP:
        signal.signal(number, lambda number, frame: counts.update([number]))
    command = [sys.executable, "-c", SENDER, str(os.getpid()), *map(str, GROUP)]
    with subprocess.Popen(command) as sender:
        until(lambda: len(counts) == len(GROUP))
        for _ in range(int(n_streams)):
            ends.append(read(start(method, signalled, 20)))
        sender.kill()
    return {"ends": [[each["values"], each["error"]] for each in ends], "left": added(before)}


def server_killed(method):
    """The server that has forked the process is killed, and the process lives on."""
    stream = start(method, signalled, 100)
    first = next(stream)
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
    until(
        lambda: os.waitid(os.P_PID, forkserver._forkserver._forkserver_pid, os.WEXITED | os.WNOWAIT)
    )
    rest = read(stream)
    again = read(start(method, items, 3))
    forkserver._forkserver._stop()
    return {
        **rest,
        "values": [int(first["x"]), *rest["values"]],
        "again": again["values"],
        "left": [],
    }


# Programs: the consumer dies. They print before they do.


def dies(method, state):
    """The consumer is killed, in different states of its process."""

    def die():
        tell()
        os.kill(os.getpid(), signal.SIGKILL)

    if state == "uninvited":
        at_start(lambda child: die())
        next(start(method, ticks))
    if state == "half invited":  # the invitation has gone out, and not the shared memory
        at_start(lambda child: setattr(socket, "send_fds", lambda *args: die()))
        next(start(method, ticks))
    if state.startswith("0."):
        after(float(state), die)
        next(start(method, busy, "sleep"))
        signal.pause()
    if state in ("fast", "credit"):
        stream = start(method, flood, 1 if state == "fast" else _MB, max_bytes=5 * _MB)
        next(stream)
        if state == "credit":
            until_blocked()
        else:
            for _ in range(1000):
                next(stream)
    else:
        stream = start(method, busy, state)
        next(stream)
        until(ENTERED.exists)
    if state == "sleep":  # two of them, which may have inherited from each other
        other = start(method, ticks)
        next(other)
    die()


def ends(method, how, state="sleep"):
    """The consumer ends, in different ways, with a stream open and arrays kept."""
    stream = start(method, busy, state)
    other = start(method, flood, _MB, max_bytes=5 * _MB)
    _KEPT.extend([stream, other, next(stream), next(other), next(other)])
    until(ENTERED.exists)
    tell()
    _ENDS[how]()


_ENDS = {
    "return": lambda: None,
    "sys.exit": lambda: sys.exit(3),
    "error": lambda: _raise(ValueError("not caught")),
    "_exit": lambda: os._exit(4),
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "SIGINT": lambda: os.kill(os.getpid(), signal.SIGINT),
    "SIGHUP": lambda: os.kill(os.getpid(), signal.SIGHUP),
}


class _Closer:
    """Closes a stream when it is collected, which may be as the interpreter ends."""

    def __init__(self, stream):
        self.stream = stream

    def __del__(self):
        self.stream.close()


def ends_in_del(method):
    """The stream is closed by the interpreter's end, in ``__del__``."""
    stream = start(method, busy, "sleep")
    next(stream)
    until(ENTERED.exists)
    _KEPT.append(_Closer(stream))
    tell()


def ends_with_arrays(method):
    """The stream is closed; arrays of it are kept to the end."""
    stream = start(method, flood, _MB)
    _KEPT.extend(next(stream) for _ in range(5))
    stream.close()
    tell()


# Programs: the consumer has had enough.


def leaves(method, way):
    """The stream is left after the first item, or before; all is as it was at once."""
    before = holdings()
    stream = start(method, flood, _MB)
    facts = {"is_started": way != "never started"}
    if facts["is_started"]:
        item = next(stream)
        facts["was_there"] = int(item["pid"]) in relatives(os.getsid(0))
        facts["value"] = int(item["data"].sum())
        del item
    since = time.monotonic()
    if way == "close":
        stream.close()
        stream.close()
        facts["after"] = list(stream)
    elif way == "break":
        for item in stream:
            del item
            break
        del stream
    elif way == "error":
        with contextlib.suppress(ZeroDivisionError), stream:
            for item in stream:
                del item
                1 / 0
    elif way == "close in a thread":
        thread = threading.Thread(target=stream.close)
        thread.start()
        thread.join(LIMIT)
        until(lambda: str(thread.native_id) not in os.listdir("/proc/self/task"))
    else:
        del stream
    facts["left"] = added(before)
    facts["seconds"] = time.monotonic() - since
    return facts


def closes(method, state, timeout):
    """The stream is closed while its source is busy."""
    stream = start(method, busy, state, timeout=float(timeout))
    pid = int(next(stream)["pid"])
    until(ENTERED.exists)
    since = time.monotonic()
    stream.close()
    return {
        "seconds": time.monotonic() - since,
        "is_left": LEFT.exists(),
        "is_there": pid in relatives(os.getsid(0)),
    }


# Programs: Ctrl-C. They print before it comes, and do not handle it.


def _interrupt():
    tell()
    interrupt_all()


def interrupted(method, moment):
    """Ctrl-C while the consumer waits for an item, or does something else, or at the start."""
    stream = start(method, busy, "sleep")
    if moment.startswith("0."):
        after(float(moment), _interrupt)
        for _ in stream:
            pass
    next(stream)
    until(ENTERED.exists)
    if moment == "next":
        after(0.1, _interrupt)
        next(stream)
    else:
        _interrupt()
        time.sleep(_LONG)


def interrupted_again(method, n_times, step):
    """Ctrl-C again and again, each time a little later after the start."""
    before, n_interrupts, left = holdings(), 0, []
    for number in range(int(n_times)):
        stream = start(method, ticks)
        try:
            after(number * float(step), interrupt_all)
            for _ in stream:
                pass
        except KeyboardInterrupt:
            n_interrupts += 1
        del stream
        gc.collect()
        left += added(before)
    return {"n_interrupts": n_interrupts, "left": left}


# Programs: how much, and how many.


def slow(method, n_items, size, max_bytes, pause):
    """The consumer is slower than the source; how much piles up?"""
    n_items, size, max_bytes, pause = int(n_items), int(size), int(max_bytes), float(pause)
    own = memory_of(os.getpid())
    stream = start(method, heavy, n_items, size, max_bytes=max_bytes)
    first = next(stream)
    pid, others = int(first["pid"]), int(first["memory"])
    n_ahead = own_growth = others_growth = 0
    values = []
    for item in stream:
        values.append(int(item["x"]))
        time.sleep(pause)
        n_ahead = max(n_ahead, int(MADE.read_text() or 0) - len(values))
        if len(values) % 10:
            continue
        own_growth = max(own_growth, memory_of(os.getpid()) - own)
        with contextlib.suppress(OSError, KeyError):  # it has ended
            others_growth = max(others_growth, memory_of(pid) - others)
    return {
        "values": values,
        "n_ahead": n_ahead,
        "own_growth": own_growth,
        "others_growth": others_growth,
    }


def oversize(method):
    return read(start(method, oversized, 300 * _MB, max_bytes=8 * 2**20))


def many(method, n_items):
    """Many small items; the first that is not in its place is told."""
    wrong, number = None, -1
    for number, item in enumerate(start(method, tiny, int(n_items), max_bytes=2**18)):
        if wrong is None and not (item["x"] == number and item["y"] == -number):
            wrong = [number, int(item["x"]), int(item["y"])]
    return {"n_items": number + 1, "wrong": wrong}


# Programs: forks.


def forked(method, what):
    """The consumer forks, and its child does something with the stream, or just ends."""
    stream = start(method, items, 3000, 1)
    values = [int(next(stream)["x"])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads
        pid = os.fork()
    if not pid:
        code = 0
        # (PyZMQ has no way to let go of a socket that was inherited.)
        warnings.simplefilter("ignore", ResourceWarning)
        if what == "exit":
            sys.exit(0)
        if what == "close":
            stream.close()
        elif what == "next":
            try:
                list(stream)
                code = 1
            except WorkerError:
                pass
        del stream
        gc.collect()
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    rest = read(stream)
    return {**rest, "values": values + rest["values"], "code": os.waitstatus_to_exitcode(status)}


def together(method):
    """Several streams at once; a process is forked while threads of ZeroMQ run."""
    streams = [start(method, items, 50) for _ in range(3)]
    rounds = [[int(item["x"]) for item in each] for each in zip(*streams)]
    for stream in streams:
        stream.close()
    return {"rounds": rounds}


def group(method, *calls):
    """Run programs in turn, each called as its name and its arguments say, with slashes between."""
    facts = {}
    for call in calls:
        name, *args = call.split("/")
        for path in (ENTERED, LEFT, MADE, GHOST):
            path.unlink(missing_ok=True)
        before = holdings()
        facts[call] = globals()[name](method, *args)
        gc.enable()
        gc.collect()
        facts[call].setdefault("left", added(before))
    return {"each": facts}


def main():
    """Run the program that the arguments name, and tell what it has returned, and left."""
    name, method, *args = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Whatever has started the tests may ignore these, as nohup and a shell's "&" do.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # What multiprocessing starts at its first use, and keeps: the program's own would not survive.
    if method != "fork" and name != "bombarded":
        resource_tracker.ensure_running()
    if method == "forkserver" and name != "bombarded":
        forkserver.ensure_running()
        if "interrupted" in name:  # its start is none of ours: wait until it is over
            list(start(method, items, 1))
    before = holdings()
    facts = globals()[name](method, *args)
    if facts is not None:
        gc.collect()
        tell(**{"left": added(before), **facts})
