"""The life of one background process: start, orders, errors, and every way to end it."""

import contextlib
import json
import multiprocessing
import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from _cases import some
from _sources import TIMEOUT, within

from pescador import PescadorError, WorkerError
from pescador._background.child import Child, HeldInterrupts, RemoteTraceback
from pescador._background.inside import Stopped
from pescador._background.orders import STOP
from pescador._background.signals import GROUP, STOP_SIGNAL

METHODS = [
    m for m in ("fork", "spawn", "forkserver") if m in multiprocessing.get_all_start_methods()
]
HAS_FORK_WARNING = sys.version_info >= (3, 12)
STUBBORN = 20  # seconds, in which a process that has to be killed is certainly dead

every_method = pytest.mark.parametrize("method", some(METHODS))


# Mains: what the process runs. They say what they do over the descriptor.


def say(descriptor, *words):
    os.write(descriptor, (json.dumps(words) + "\n").encode())


def introduce(parent, task, order, descriptor):
    say(descriptor, task, order.decode(), os.getpid())


def count_without_descriptor(parent, task, order, descriptor):
    raise ValueError(order, descriptor)


def echo(parent, task, order, descriptor):
    parent.hear(lambda order: say(descriptor, order.decode()))
    signal.signal(STOP_SIGNAL, lambda number, frame: say(descriptor, "interrupted"))
    say(descriptor, "ready")
    parent.wait_until_dismissed()
    say(descriptor, "ends")


def echo_order(parent, task, order, descriptor):
    """Echo, in the main thread, where handlers run."""
    orders = queue.SimpleQueue()
    parent.hear(orders.put)
    say(descriptor, "ready")
    while not parent.is_stopping:
        with contextlib.suppress(queue.Empty):
            say(descriptor, orders.get(timeout=0.01).decode())
    say(descriptor, "ends")


def polite(parent, task, order, descriptor):
    signal.signal(STOP_SIGNAL, lambda number, frame: say(descriptor, "interrupted"))
    say(descriptor, "ready")
    try:
        while True:
            parent.check()
            threading.Event().wait(0.001)
    except Stopped:
        say(descriptor, "ends")


def idle(parent, task, order, descriptor):
    try:
        say(descriptor, "ready")
        threading.Event().wait()
    except Stopped:
        say(descriptor, "stopped")
        raise
    finally:
        say(descriptor, "finally")


def busy(parent, task, order, descriptor):
    say(descriptor, "ready")
    while True:
        pass


def linger(parent, task, order, descriptor):
    """End only when told, over another pipe."""
    try:
        say(descriptor, "ready")
        threading.Event().wait()
    finally:
        say(descriptor, "lingers")
        os.read(task, 1)


def deaf(parent, task, order, descriptor):
    """Hear of no stop, and tell of every other signal."""
    signal.signal(STOP_SIGNAL, signal.SIG_IGN)
    for number in GROUP:
        signal.signal(number, lambda number, frame: say(descriptor, number))
    say(descriptor, "ready")
    while True:
        signal.pause()


def swallow(parent, task, order, descriptor):
    """Swallow the stop, and go on."""
    say(descriptor, "ready")
    while True:
        try:
            threading.Event().wait()
        except BaseException:
            say(descriptor, "swallowed")


def fork_and_terminate(parent, task, order, descriptor):
    """Start a process as a source may, and end it as such processes are ended."""
    process = multiprocessing.get_context("fork").Process(target=signal.pause)
    process.start()
    process.terminate()
    process.join()
    say(descriptor, process.exitcode)
    handlers = [signal.getsignal(number) == signal.SIG_DFL for number in GROUP]
    command = [sys.executable, "-c", "import signal; signal.raise_signal(signal.SIGTERM)"]
    say(descriptor, subprocess.run(command).returncode, any(handlers))


def fail(parent, task, order, descriptor):
    raise task


def fail_and_die_in_pickle(parent, task, order, descriptor):
    raise DeadlyToPickle("poison")


def fail_with_lock(parent, task, order, descriptor):
    error = ValueError("it holds a lock")
    error.lock = threading.Lock()
    raise error


def die(parent, task, order, descriptor):
    kind, number = task
    if kind == "exit":
        os._exit(number)
    # not faulthandler's report, which is for the user
    signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
    os.kill(os.getpid(), number)
    signal.pause()


def die_with_a_child(parent, task, order, descriptor):
    """Leave a child that holds all that was inherited until the consumer lets go."""
    if os.fork() == 0:
        parent.link.poll(TIMEOUT)
        os._exit(0)
    os._exit(3)


def meet_a_stop_after_the_end(parent, task, order, descriptor):
    def wait_for_it():
        say(descriptor, "ended")
        end = time.monotonic() + TIMEOUT
        while not parent.is_stopping and time.monotonic() < end:
            threading.Event().wait(0.01)
        for _ in range(100):  # bytecodes between which a signal would be handled
            pass
        say(descriptor, "calm", parent.is_stopping)

    multiprocessing.util.Finalize(None, wait_for_it, exitpriority=1)


def start_a_child(link):
    """Try it in a daemon, and tell what came of it."""
    try:
        Child(introduce, None, None)
    except BaseException as error:
        link.send((type(error).__name__, str(error)))
    link.close()


# Errors.


class TwoArguments(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class DeadlyToPickle(Exception):
    def __reduce__(self):
        os._exit(5)


class OtherWhenUnpickled(Exception):
    def __reduce__(self):
        return ValueError, ("not the same",)


class DeadlyToPrint(Exception):
    def __str__(self):
        raise RuntimeError("no text")


# Helpers.


class Line:
    """The end of a pipe at which the test hears what a main says."""

    def __init__(self, descriptor):
        self._descriptor = descriptor
        self._heard = b""

    def hear(self, seconds=TIMEOUT):
        """Return the next words; None if nobody can say any more."""
        while b"\n" not in self._heard:
            ready, _, _ = select.select([self._descriptor], [], [], seconds)
            assert ready, "nothing was said"
            more = os.read(self._descriptor, 1000)
            if not more:
                return None
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        return json.loads(line)


@contextlib.contextmanager
def running(main, task=None, method="fork", message=b"go"):
    """Run a main; give the child, and the line over which it speaks."""
    ours, theirs = os.pipe()
    try:
        child = Child(main, task, method)
        try:
            child.send_first(message, theirs)
            os.close(theirs)
            theirs = None
            yield child, Line(ours)
        finally:
            child.close(0)
    finally:
        os.close(ours)
        if theirs is not None:
            os.close(theirs)


def until(condition, seconds=TIMEOUT):
    """Poll until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        threading.Event().wait(0.005)


def is_gone(pid):
    """Tell whether a process has ended (as a zombie, it has)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def script(text, *args):
    """Run Python code in a process of its own, which can import this module."""
    command = [sys.executable, "-W", "error", "-c", text, *map(str, args)]
    return subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=TIMEOUT
    )


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def raise_reported(child):
    """Raise the error of a process, however long it takes to start and to fail."""
    assert select.select(child.pollable, [], [], TIMEOUT)[0]
    child.raise_error()


# Start, and orders.


@every_method
def test_start_gives_task_order_and_descriptor(method):
    with running(introduce, {"some": ["task"]}, method, b"first order") as (child, line):
        assert line.hear() == [{"some": ["task"]}, "first order", child.pid]
        assert line.hear() is None
    assert child.pid != os.getpid()


@every_method
def test_start_without_a_descriptor(method):
    child = Child(count_without_descriptor, None, method)
    try:
        child.send_first(b"", None)
        with pytest.raises(ValueError) as caught:
            raise_reported(child)
        assert caught.value.args == (b"", None)
    finally:
        child.close(5)


def test_under_fork_the_task_is_not_pickled():
    task = threading.Lock()  # cannot be
    with running(idle, task) as (_, line):
        assert line.hear() == ["ready"]


@pytest.mark.parametrize("method", some([m for m in METHODS if m != "fork"]))
def test_a_task_that_cannot_be_pickled_is_refused_and_leaves_no_process(method):
    with pytest.raises(PescadorError, match="cannot be pickled") as caught:
        Child(idle, (threading.Lock(),), method)
    assert isinstance(caught.value.__cause__, TypeError)
    assert multiprocessing.active_children() == []


def test_an_unknown_start_method_is_refused():
    with pytest.raises(PescadorError, match=r"start_method='vfork'.*'spawn'"):
        Child(idle, None, "vfork")


@every_method
def test_orders_arrive_in_order(method):
    with running(echo, None, method) as (child, line):
        assert line.hear() == ["ready"]
        for number in range(100):
            assert child.send(b"order %d" % number, TIMEOUT)
        assert [line.hear() for _ in range(100)] == [[f"order {n}"] for n in range(100)]


def test_orders_to_a_dead_process_are_lost_in_silence():
    with running(die, ("exit", 0)) as (child, _):
        until(lambda: child.has_died)
        for _ in range(3):
            child.send(b"anybody there?")
        child.send_first(b"", 0)


def test_descriptors_stay_with_their_owners():
    """The process gets a copy; the consumer's is as it was."""
    ours, theirs = os.pipe()
    try:
        child = Child(introduce, 1, "fork")
        child.send_first(b"", theirs)
        assert Line(ours).hear()[0] == 1
        os.write(theirs, b"still open")
        child.close(5)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("main", [echo, polite])
def test_a_main_that_looks_by_itself_whether_to_stop_is_not_interrupted(main):
    with running(main) as (child, line):
        assert line.hear() == ["ready"]
        child.close(TIMEOUT)
        assert line.hear() == ["ends"]
        assert line.hear() is None


# Errors.


@every_method
@pytest.mark.parametrize(
    "error",
    [ValueError("x", 7), KeyError("k"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why")],
    ids=lambda error: type(error).__name__,
)
def test_errors_arrive_as_themselves(method, error):
    with running(fail, error, method) as (child, _):
        with pytest.raises(type(error)) as caught:
            raise_reported(child)
    assert caught.value.args == error.args
    assert type(caught.value.__cause__) is RemoteTraceback
    assert "test_child.py" in str(caught.value.__cause__)
    assert "in fail" in str(caught.value.__cause__)


def test_interrupts_that_the_source_raises_arrive():
    with running(fail, KeyboardInterrupt("its own")) as (child, _):
        with pytest.raises(KeyboardInterrupt, match="its own"):
            raise_reported(child)


@pytest.mark.parametrize(
    "main, task, name",
    [
        (fail, TwoArguments(1, 2), "test_child.TwoArguments, which cannot.*1 and 2"),
        (fail, OtherWhenUnpickled("a"), "test_child.OtherWhenUnpickled"),
        (fail, DeadlyToPrint(), "test_child.DeadlyToPrint|no text"),
        (fail, GeneratorExit("why"), "builtins.GeneratorExit.*why"),
        (fail_with_lock, None, "builtins.ValueError, which cannot.*holds a lock"),
        (fail_and_die_in_pickle, None, "test_child.DeadlyToPickle.*poison"),
        (fail, SystemExit(3), r"SystemExit\(3\)"),
        (fail, SystemExit("bye"), r"SystemExit\('bye'\)"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or type(value).__name__,
)
def test_errors_that_cannot_cross_are_told(main, task, name):
    with running(main, task) as (child, _):
        expected = DeadlyToPrint if isinstance(task, DeadlyToPrint) else WorkerError
        with pytest.raises(expected) as caught:
            raise_reported(child)
    if expected is WorkerError:
        assert caught.match(name)
    assert "Traceback" in str(caught.value.__cause__)


def test_text_that_utf8_cannot_hold_does_not_hide_an_error():
    with running(fail, ValueError("\ud800")) as (child, _):
        with pytest.raises(ValueError) as caught:
            raise_reported(child)
    assert caught.value.args == ("\ud800",)
    assert "\\ud800" in str(caught.value.__cause__)


def test_a_large_error_arrives():
    """Larger than the pipe's buffer."""
    with running(fail, ValueError("x" * 10**7)) as (child, _):
        with pytest.raises(ValueError) as caught:
            raise_reported(child)
    assert caught.value.args == ("x" * 10**7,)


def test_without_a_report_there_is_no_error_to_raise():
    with running(die, ("exit", 0)) as (child, _):
        within(TIMEOUT, child.raise_error)


# How it is told that it has died.


@every_method
@pytest.mark.parametrize(
    "death, text",
    [
        (("exit", 0), "ended by itself, with exit code 0"),
        (("exit", 7), "ended by itself, with exit code 7"),
        (("signal", signal.SIGKILL), "was killed by SIGKILL (perhaps because memory ran out)"),
        (("signal", signal.SIGTERM), "was killed by SIGTERM"),
        (("signal", signal.SIGSEGV), "was killed by SIGSEGV"),
        (("signal", signal.SIGRTMIN + 5), f"was killed by signal {signal.SIGRTMIN + 5}"),
    ],
)
def test_obituary(method, death, text):
    with running(die, death, method) as (child, _):
        until(lambda: child.has_died)
        assert child.how_it_ended() == f"the background process {child.pid} {text}"


@every_method
def test_obituary_of_one_that_has_just_died(method):
    """Told as soon as a sign of life says so, which may be before anybody has reaped it."""
    for _ in range(5):
        with running(idle, None, method) as (child, line):
            assert line.hear() == ["ready"]
            os.kill(child.pid, signal.SIGKILL)
            within(TIMEOUT, child.raise_error)
            assert "SIGKILL" in child.how_it_ended()


@every_method
def test_signs_of_life_of_a_death(method):
    with running(idle, None, method) as (child, line):
        assert line.hear() == ["ready"]
        assert not child.has_died
        assert select.select(child.pollable, [], [], 0)[0] == []
        os.kill(child.pid, signal.SIGKILL)
        assert select.select(child.pollable, [], [], TIMEOUT)[0]
        until(lambda: child.has_died)


def test_signs_of_life_of_an_error():
    with running(fail, ValueError()) as (child, _):
        assert select.select(child.pollable, [], [], TIMEOUT)[0] == [child.link.fileno()]
        assert not child.has_died  # it waits to be asked for the error itself
        with pytest.raises(ValueError):
            raise_reported(child)


@pytest.mark.parametrize("has_pidfd", [True, False])
def test_death_is_seen_although_a_grandchild_holds_everything_open(has_pidfd, monkeypatch):
    if not has_pidfd:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    with running(die_with_a_child) as (child, _):
        until(lambda: child.has_died)
        within(TIMEOUT, child.raise_error)
        assert child.how_it_ended().endswith("exit code 3")
        within(TIMEOUT, child.close, None)


# Ends.


@every_method
def test_close_interrupts_the_source_and_runs_its_finally_blocks(method):
    with running(idle, None, method) as (child, line):
        assert line.hear() == ["ready"]
        child.close(TIMEOUT)
        assert [line.hear() for _ in range(3)] == [["stopped"], ["finally"], None]
    assert is_gone(child.pid)


def test_close_interrupts_a_source_that_computes():
    with running(busy) as (child, line):
        assert line.hear() == ["ready"]
        start = time.monotonic()
        child.close(None)
        assert time.monotonic() - start < STUBBORN


@every_method
def test_close_before_the_first_order(method):
    child = Child(idle, None, method)
    child.close(TIMEOUT)
    assert is_gone(child.pid)


@every_method
@pytest.mark.parametrize("grace", [0, 0.5])
def test_a_source_that_ignores_the_stop_is_killed_and_gets_no_other_signal(method, grace):
    with running(deaf, None, method) as (child, line):
        assert line.hear() == ["ready"]
        start = time.monotonic()
        child.close(grace)
        assert grace <= time.monotonic() - start < STUBBORN
        assert line.hear() is None
    assert is_gone(child.pid)


def test_a_source_that_swallows_the_stop_is_killed():
    with running(swallow) as (child, line):
        assert line.hear() == ["ready"]
        child.close(1)
        assert [line.hear(), line.hear()] == [["swallowed"], None]
    assert is_gone(child.pid)


def test_an_interrupt_that_is_held_back_ends_the_grace():
    with running(deaf) as (child, line):
        assert line.hear() == ["ready"]
        start = time.monotonic()
        with HeldInterrupts() as held:
            interrupt_myself()
            child.close(TIMEOUT, held)
        assert time.monotonic() - start < STUBBORN
        with pytest.raises(KeyboardInterrupt):
            held.deliver()
    assert is_gone(child.pid)


def test_a_stopped_process_is_killed():
    """SIGSTOP: no order gets through."""
    with running(idle) as (child, line):
        assert line.hear() == ["ready"]
        os.kill(child.pid, signal.SIGSTOP)
        child.close(0.1)
        assert is_gone(child.pid)


def test_without_a_limit_close_waits_for_as_long_as_it_takes():
    theirs, ours = os.pipe()
    try:
        with running(linger, theirs) as (child, line):
            assert line.hear() == ["ready"]
            closer = threading.Thread(target=child.close, args=(None,), daemon=True)
            closer.start()
            assert line.hear() == ["lingers"]
            assert closer.is_alive()
            assert not is_gone(child.pid)
            os.write(ours, b".")
            closer.join(TIMEOUT)
            assert not closer.is_alive()
            assert is_gone(child.pid)
    finally:
        os.close(theirs)
        os.close(ours)


def test_the_grace_is_for_what_the_source_has_left_to_do():
    theirs, ours = os.pipe()
    try:
        with running(linger, theirs) as (child, line):
            assert line.hear() == ["ready"]
            child.close(1)
            assert [line.hear(), line.hear()] == [["lingers"], None]
            assert is_gone(child.pid)
    finally:
        os.close(theirs)
        os.close(ours)


def test_close_twice():
    with running(idle) as (child, line):
        assert line.hear() == ["ready"]
        for _ in range(3):
            child.close(5)


def test_close_in_a_forked_child_does_nothing():
    with running(echo) as (child, line):
        assert line.hear() == ["ready"]
        pid = os.fork()
        if pid == 0:
            try:
                child.close(0)
                os._exit(int(child.is_owned))
            finally:
                os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert child.is_owned
        child.send(b"are you there?")
        assert line.hear() == ["are you there?"]


@every_method
def test_a_stop_after_the_end_interrupts_nothing(method, capfd):
    with running(meet_a_stop_after_the_end, None, method) as (child, line):
        assert line.hear() == ["ended"]
        child.send(STOP)
        assert line.hear() == ["calm", True]
        until(lambda: child.process.exitcode is not None)
        assert child.process.exitcode == 0
    assert capfd.readouterr().err == ""


@every_method
def test_what_a_terminal_or_a_scheduler_sends_is_the_consumers(method):
    """The signal that stops a source included, when somebody else sends it."""
    with running(echo_order, None, method) as (child, line):
        assert line.hear() == ["ready"]
        for number in (*GROUP, STOP_SIGNAL) * 2:
            os.kill(child.pid, number)
            child.send(b"are you there?")
            assert line.hear() == ["are you there?"]
        child.close(TIMEOUT)
        assert line.hear() == ["ends"]


@contextlib.contextmanager
def handlers(numbers, handler):
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


INHERITED = [
    *(each for each in GROUP if each != signal.SIGINT),
    signal.SIGWINCH,
    signal.SIGCHLD,
    signal.SIGURG,
    signal.SIGRTMIN + 3,
]


def test_handlers_of_the_consumer_do_not_run_in_the_process():
    """(Only a fork has them.)"""
    ours, theirs = os.pipe()
    line = Line(ours)
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    before = signal.set_wakeup_fd(wakes)
    try:
        with handlers(INHERITED, lambda number, frame: say(theirs, number)):
            with running(echo_order) as (child, said):
                assert said.hear() == ["ready"]
                for number in INHERITED:
                    os.kill(child.pid, number)
                    child.send(b"go on")
                    assert said.hear() == ["go on"]
                assert not select.select([woken], [], [], 0)[0]
                child.close(TIMEOUT)
        os.close(theirs)
        assert line.hear() in ([signal.SIGCHLD], None)
    finally:
        signal.set_wakeup_fd(before)
        for each in (ours, woken, wakes):
            os.close(each)


@every_method
def test_what_a_source_starts_itself_can_be_ended_as_ever(method):
    with running(fork_and_terminate, None, method) as (_, line):
        assert line.hear() == [-signal.SIGTERM]
        assert line.hear() == [-signal.SIGTERM, False]


@every_method
def test_interpreter_exit_ends_the_process(method):
    """Though it is not a daemon, and multiprocessing would wait for it for ever."""
    text = """if 1:
        import sys, test_child
        context = test_child.running(test_child.idle, None, sys.argv[1])
        child, line = context.__enter__()
        line.hear()
        print(child.pid, flush=True)
    """
    done = script(text, method)
    assert (done.returncode, done.stderr) == (0, "")
    until(lambda: is_gone(int(done.stdout)))


@every_method
@pytest.mark.parametrize("has_child", [False, True])
def test_death_of_the_consumer_ends_the_process(method, has_child, tmp_path):
    """Even if a child by os.fork() lives on, with the pipes by which the death would be told."""
    text = """if 1:
        import os, signal, sys, test_child
        context = test_child.running(test_child.idle, None, sys.argv[1])
        child, line = context.__enter__()
        line.hear()
        print(child.pid, flush=True)
        if sys.argv[2] == "True" and os.fork() == 0:
            sys.stdin.read()
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    # (What the child holds open would keep communicate() waiting, and the forkserver of a process
    # that is killed leaves a folder.)
    with subprocess.Popen(
        [sys.executable, "-c", text, method, str(has_child)],
        env={**environment(), "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as consumer:
        pid = int(consumer.stdout.readline())
        assert consumer.wait(TIMEOUT) == -signal.SIGKILL
        until(lambda: is_gone(pid))


# What the consumer must not notice.


@every_method
@pytest.mark.parametrize("signals", [set(), {signal.SIGINT}, {signal.SIGUSR1}])
def test_start_leaves_the_signal_mask_as_it_was(method, signals):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        with running(idle, None, method) as (_, line):
            assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == blocked
            assert line.hear() == ["ready"]  # a stop reaches it, or else it could not end
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


held_back = []  # interrupts that did not raise at once


def interrupt_myself():
    if threading.active_count() == 1:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    else:  # as the keyboard does it: the system chooses a thread that lets it through
        os.kill(os.getpid(), signal.SIGINT)
    held_back.append(signal.SIGINT)


class Interrupting:
    """A task that is interrupted from the keyboard as it is pickled."""

    def __reduce__(self):
        interrupt_myself()
        return int, ()


@pytest.mark.filterwarnings("ignore:.*multi-?threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("has_threads", [False, True])
@every_method
def test_an_interrupt_during_the_start_waits_and_leaves_no_process(
    method, has_threads, monkeypatch
):
    task = None
    if method == "fork":  # which flushes what it would write twice, and does not pickle
        consumer, flush = os.getpid(), multiprocessing.util._flush_std_streams

        def interrupt():
            flush()
            if os.getpid() == consumer:
                interrupt_myself()

        monkeypatch.setattr(multiprocessing.util, "_flush_std_streams", interrupt)
    else:
        task = (Interrupting(),)
    held_back.clear()
    end = threading.Event()
    thread = threading.Thread(target=end.wait, args=(TIMEOUT,))
    if has_threads:
        thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            with HeldInterrupts() as held:
                child = Child(idle, task, method)
            try:
                held.deliver()
            finally:
                child.close(0)
    finally:
        end.set()
        if has_threads:
            thread.join()
    assert len(held_back) == 1
    assert multiprocessing.active_children() == []
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_no_signal_handler_of_the_consumer_is_changed():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in numbers]
    with running(idle) as (_, line):
        assert line.hear() == ["ready"]
        assert [signal.getsignal(number) for number in numbers] == before


def _fork_warnings():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        with running(idle):
            pass
        assert list(warnings.filters) == before
    return [each.category for each in caught]


def test_forking_with_threads_of_zeromq_alone_is_silent():
    import zmq

    with zmq.Context() as context, context.socket(zmq.PAIR):
        assert _fork_warnings() == []


def test_forking_with_threads_of_python_is_warned_of_as_ever():
    end = threading.Event()
    thread = threading.Thread(target=end.wait, args=(TIMEOUT,))
    thread.start()
    try:
        assert _fork_warnings() == [DeprecationWarning] * HAS_FORK_WARNING
    finally:
        end.set()
        thread.join()


def test_a_daemon_may_not_start_one():
    ours, theirs = multiprocessing.Pipe()
    daemon = multiprocessing.get_context("fork").Process(
        target=start_a_child, args=(theirs,), daemon=True
    )
    daemon.start()
    try:
        theirs.close()
        assert ours.poll(TIMEOUT)
        name, text = ours.recv()
    finally:
        daemon.join(TIMEOUT)
        daemon.close()
        ours.close()
    assert name == "PescadorError"
    for each in ('backend="threads"', "in a DataLoader, give num_workers=0", "daemon=False"):
        assert each in text


def test_many_at_once():
    """Each ends by itself, though the later ones inherit descriptors of the earlier ones."""
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(running(idle)) for _ in range(20)]
        for child, line in children:
            assert line.hear() == ["ready"]
            child.close(TIMEOUT)
            assert line.hear() == ["stopped"]


def test_what_is_unpickled_comes_by_the_private_pipe_alone(monkeypatch):
    """An error is not unpickled by its consumer before it was asked for."""
    monkeypatch.setattr(pickle, "loads", lambda data: pytest.fail("unpickled too early"))
    with running(fail, ValueError("x")) as (child, _):
        assert select.select(child.pollable, [], [], TIMEOUT)[0]


def test_handlers_come_back_though_one_of_them_is_called_as_they_do(monkeypatch):
    def terminate(number, frame):
        raise SystemExit

    def set_and_interrupt(number, handler):
        set_handler(number, handler)
        if signal.getsignal(signal.SIGINT) is not hear:
            return
        signal.raise_signal(signal.SIGINT)

    def hear(number, frame):
        raise KeyboardInterrupt

    set_handler = signal.signal
    handlers = {signal.SIGINT: hear, signal.SIGTERM: terminate, signal.SIGUSR1: terminate}
    before = {number: signal.signal(number, each) for number, each in handlers.items()}
    try:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            with HeldInterrupts():
                patch.setattr(signal, "signal", set_and_interrupt)
        assert {number: signal.getsignal(number) for number in handlers} == handlers
    finally:
        for number, each in before.items():
            signal.signal(number, each)
