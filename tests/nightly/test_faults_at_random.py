"""Faults at random moments: a process is killed, the user interrupts, many things at a time."""

import contextlib
import itertools
import json
import multiprocessing
import os
import signal
import threading

import pytest
from _trees import MOST_ITEMS, OPEN, Broken, plain, read, tree
from test_stress import stress

from pescador import ZMQStreamer

pytestmark = pytest.mark.nightly

LONGEST = 0.05  # seconds until it happens, a start included
N_ACTIONS = 60


@contextlib.contextmanager
def soon(seconds, function, *args):
    """Call a function in another thread soon, and no later than the block ends.

    Once more each second, if the block goes on: Python drops what a handler raises in a finalizer.
    """
    is_over = threading.Event()

    def wait():
        is_over.wait(seconds)
        function(*args)
        while not is_over.wait(1):
            function(*args)

    thread = threading.Thread(target=wait)
    try:
        thread.start()  # (what it does may come before this returns)
        yield
    finally:
        is_over.set()
        thread.join()


@contextlib.contextmanager
def interrupted(seconds):
    """Interrupt the block, as `soon` says, and nothing after it."""
    is_over = False

    def hear(number, frame):
        if not is_over:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, hear)
    try:
        with soon(seconds, os.kill, os.getpid(), signal.SIGINT):
            try:
                yield
            finally:
                is_over = True
    finally:
        signal.signal(signal.SIGINT, before)


def kill(others):
    """Kill the background processes of this one, but for some."""
    for child in set(multiprocessing.active_children()) - others:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)


def items_and_states(stream, rng):
    """Return what a stream gives, and the last state that was taken, with how many came before."""
    items, last = [], None
    with stream:
        try:
            for item in itertools.islice(stream, MOST_ITEMS):
                items.append(plain(item))
                if rng.random() < 0.1:
                    last = len(items), json.loads(json.dumps(stream.state_dict()))
        except Exception as error:
            items.append(f"{type(error).__name__}: {error}")
    return items, last


def test_a_process_that_is_killed_costs_no_item(search):
    """What came before is right, what comes is an error, and the last state leads to the rest."""

    def check(rng):
        number = int(rng.integers(2**32))
        expected = read(tree(number).cycle())
        streamer = ZMQStreamer(
            tree(number), start_method="fork", max_bytes=int(rng.integers(2**12))
        )
        with soon(rng.random() * LONGEST, kill, set(multiprocessing.active_children())):
            found, last = items_and_states(streamer.cycle(), rng)
        if found != expected:
            assert found[:-1] == expected[: len(found) - 1]
            assert found[-1].startswith("WorkerError") and "SIGKILL" in found[-1]
        assert streamer.active == 0
        if last:
            n_items, state = last
            again = ZMQStreamer(tree(number), start_method="fork").resume(state)
            assert read(again, MOST_ITEMS - n_items) == expected[n_items:]

    search(check)


# (Python drops what a signal handler raises in a finalizer, or as a weak reference ends.)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("has_process", [False, True])
def test_an_interrupt_at_any_moment_leaves_nothing_open(has_process, search):
    def check(rng):
        number = int(rng.integers(2**32))
        streamer = tree(number)
        if has_process:
            streamer = ZMQStreamer(streamer, start_method="fork")
        seconds = rng.random() * LONGEST
        with pytest.raises(KeyboardInterrupt) as caught, interrupted(seconds):
            while True:
                with contextlib.suppress(Broken):
                    for _ in streamer.cycle():
                        pass
        assert streamer.active == 0
        if caught.traceback[-2].name == "numbered":
            OPEN.clear()  # it came as the source itself noted that it is open, or is not
        assert not OPEN

    search(check)


def test_random_actions(search):
    search(lambda rng: stress(N_ACTIONS, int(rng.integers(2**32))))
