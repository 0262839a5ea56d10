"""Random trees of streamers and processes under random actions; thousands of starts.

``python tests/test_stress.py COUNT SEED`` makes COUNT random actions, after which a wrong item, a
wrong count, or anything left behind is an error.
"""

import contextlib
import gc
import itertools
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from _cases import some
from _leaks import LeakGuard, descendants
from _sources import TIMEOUT, records

import pescador
from pescador import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux, WorkerError, ZMQStreamer

SEED = 20180123
LIMIT = 900  # seconds, for any test: only ever used up by one that fails
FOREVER = 10**9
SIZES = (1, 40, 2000, 60_000)  # the larger ones go through shared memory
LONGEST = 40  # items that are taken at once

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods() or not os.path.isdir("/proc/self/task"),
    reason="needs /proc, and processes that start within milliseconds",
)


@pytest.fixture(autouse=True)
def _bounded():
    def stop(number, frame):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# Sources. Every item says where it comes from, and every one of its values follows from that.


class LeafError(Exception):
    """Raised by a source, on purpose."""


_activations = itertools.count()


def leaf(number, n_items, size, fails_after=None):
    """Yield items that know their source, its activation, and their place in it."""
    activation = (os.getpid(), next(_activations))
    for index in range(n_items):
        if index == fails_after:
            raise LeafError(number, index)
        yield {
            "leaf": number,
            "index": index,
            "activation": np.array(activation),
            "values": np.full(size, _value(number, index)),
        }


def _value(number, index):
    return 1_000_003 * number + index


class Item:
    """What is compared of an item; checks what follows from itself."""

    def __init__(self, item):
        assert list(item) == ["leaf", "index", "activation", "values"]
        self.number = int(item["leaf"])
        self.index = int(item["index"])
        self.activation = tuple(item["activation"].tolist())
        self.values = item["values"]
        self.check()

    def check(self):
        """Whatever has happened since, the values are what they were."""
        assert (self.values == _value(self.number, self.index)).all()

    @property
    def name(self):
        return self.number, self.index, self.values.size


# Trees, as nested tuples: the same tree can be made with its processes, and without.


def random_tree(rng, depth=2, may_fail=True):
    """Return a tree whose root has a seed."""
    kinds = [StochasticMux, ShuffledMux, RoundRobinMux, ChainMux]
    return _in_process(rng, _random_mux(rng, kinds, depth, may_fail, int(rng.integers(1000))))


def _random_node(rng, depth, may_fail):
    if depth == 0 or rng.random() < 0.3:
        n_items = int(rng.choice([0, 1, 3, 12, 200, FOREVER]))
        fails_after = int(rng.integers(60)) if may_fail and rng.random() < 0.1 else None
        number = int(rng.integers(10_000))
        node = "leaf", (number, n_items, int(rng.choice(SIZES)), fails_after)
    else:
        seed = None if rng.random() < 0.7 else int(rng.integers(1000))
        kinds = [StochasticMux, ShuffledMux, RoundRobinMux, ChainMux]
        node = _random_mux(rng, kinds, depth, may_fail, seed)
    return _in_process(rng, node)


def _in_process(rng, node):
    if rng.random() >= 0.35:
        return node
    options = {
        "max_bytes": int(rng.choice([1, 4096, 10**6, 2**26])),
        "copy": bool(rng.integers(2)),
        "transport": "tcp" if rng.random() < 0.2 else "ipc",
    }
    return "process", options, node


def _random_mux(rng, kinds, depth, may_fail, seed):
    kind = kinds[rng.integers(len(kinds))]
    children = [_random_node(rng, depth - 1, may_fail) for _ in range(rng.integers(1, 5))]
    options = {"random_state": seed}
    if kind in (StochasticMux, ShuffledMux) and rng.random() < 0.5:
        weights = rng.random(len(children)) * (rng.random(len(children)) < 0.8)
        weights[rng.integers(len(children))] = 1
        options["weights"] = weights
    if kind is StochasticMux:
        options["n_active"] = int(rng.integers(1, 4))
        options["rate"] = None if rng.random() < 0.3 else float(rng.choice([1.0, 2.5, 8, 30]))
        options["mode"] = str(rng.choice(pescador.mux.STOCHASTIC_MODES))
        options["dist"] = str(rng.choice(pescador.mux.DISTS))
        options["weighting"] = "active"
        options["prune_empty_streams"] = bool(rng.integers(2))
    elif kind is RoundRobinMux:
        options["mode"] = str(rng.choice(pescador.mux.ROUND_ROBIN_MODES))
    elif kind is ChainMux:
        options["mode"] = str(rng.choice(pescador.mux.CHAIN_MODES))
    return "mux", kind, options, children


def made(node, has_processes):
    """Make the streamer that a tree describes."""
    if node[0] == "leaf":
        return pescador.Streamer(leaf, *node[1])
    if node[0] == "process":
        inner = made(node[2], has_processes)
        if not has_processes:
            return inner
        return ZMQStreamer(inner, start_method="fork", **node[1])
    _, kind, options, children = node
    return kind([made(child, has_processes) for child in children], **options)


def parts(streamer):
    """Yield a streamer and all below it."""
    yield streamer
    below = streamer.streamers if isinstance(streamer, pescador.BaseMux) else [streamer.streamer]
    for each in below:
        if isinstance(each, pescador.Streamer):
            yield from parts(each)


# Random actions.


class Open:
    """A stream that is open, and its twin without processes, which says what must come."""

    def __init__(self, tree, twin, way, limit):
        self.tree = tree
        self.is_started = False
        self.may_die = False
        self.stream = getattr(tree, way)(limit)
        self.twin = getattr(twin, way)(limit)
        self.next_index = {}  # by activation

    def take(self):
        """Return the next item; None if the stream has ended, in the right place."""
        self.is_started = True
        try:
            expected = Item(next(self.twin))
        except (StopIteration, LeafError) as error:
            expected = error
        try:
            item = Item(next(self.stream))
        except (StopIteration, LeafError) as error:
            assert type(error) is type(expected), f"{error!r} in place of {expected!r}"
            assert error.args == expected.args
            return None
        except WorkerError as error:
            assert self.may_die, error
            # (or killed between telling of an error and sending it)
            assert "SIGKILL" in str(error) or "LeafError" in str(error)
            return None
        assert not isinstance(expected, BaseException), f"an item in place of {expected!r}"
        assert item.name == expected.name
        assert item.index == self.next_index.get(item.activation, 0)
        self.next_index[item.activation] = item.index + 1
        return item


class Stress:
    """Does things at random, and checks after each that all is as it should be."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.trees = []  # pairs of a streamer and its twin
        self.open = []
        self.held = []  # items that the user keeps
        self.counts = dict.fromkeys(ACTIONS, 0)

    def act(self):
        """Do one thing."""
        names, weights = zip(*ACTIONS.items())
        action = str(self.rng.choice(names, p=np.array(weights) / sum(weights)))
        if not self.open and action != "kill_own":
            action = "start"
        self.counts[action] += 1
        getattr(self, action)()
        self.check()

    def check(self):
        for streamer, _ in self.trees:
            n_open = sum(each.tree is streamer and each.is_started for each in self.open)
            assert streamer.active == n_open
            if n_open == 0:
                assert all(each.active == 0 for each in parts(streamer))
        for item in self.held:
            item.check()

    def any_open(self):
        return self.open[self.rng.integers(len(self.open))]

    def forget(self, each):
        self.open.remove(each)

    def read(self, each, n_items):
        """Take items; return whether the stream is still open."""
        for _ in range(n_items):
            item = each.take()
            if item is None:
                self.forget(each)
                return False
            if self.rng.random() < 0.02:
                self.held.append(item)
        return True

    def start(self):
        if len(self.open) >= 6:
            return self.close()
        if len(self.trees) < 4 or self.rng.random() < 0.3:
            tree = random_tree(self.rng)
            self.trees.append((made(tree, True), made(tree, False)))
        pair = self.trees[self.rng.integers(len(self.trees))]
        way = "cycle" if self.rng.random() < 0.3 else "iterate"
        limit = None if self.rng.random() < 0.7 else int(self.rng.integers(60))
        self.open.append(Open(*pair, way, limit))
        return None

    def take(self):
        self.read(self.any_open(), int(self.rng.integers(1, LONGEST)))

    def take_in_turn(self):
        one, other = self.any_open(), self.any_open()
        for _ in range(self.rng.integers(1, LONGEST // 2)):
            if not self.read(one, 1) or (other in self.open and not self.read(other, 1)):
                break

    def close(self):
        each = self.any_open()
        each.stream.close()
        self.forget(each)
        each.twin.close()
        assert next(each.stream, None) is None

    def drop(self):
        each = self.any_open()
        self.forget(each)
        del each.stream

    def leave_loop(self):
        """Leave a loop, by an error of the consumer's own."""
        each = self.any_open()
        if self.read(each, 1):
            with contextlib.suppress(ZeroDivisionError), each.stream:
                1 / 0
            self.forget(each)

    def let_go(self):
        self.held = self.held[int(self.rng.integers(len(self.held) + 1)) :]

    def kill(self):
        """Kill any process: whose items it makes ends with an error, if it gets that far."""
        children = [each for each in multiprocessing.active_children() if each.name == "pescador"]
        if children:
            os.kill(children[self.rng.integers(len(children))].pid, signal.SIGKILL)
            for each in self.open:
                each.may_die = True

    def kill_own(self):
        """Kill the one process of a stream: it has no chance to go on for long."""
        before = set(multiprocessing.active_children())
        size = int(self.rng.choice(SIZES))
        streamer = ZMQStreamer(
            pescador.Streamer(leaf, 7, FOREVER, size), max_bytes=10**6, start_method="fork"
        )
        stream = streamer.iterate()
        for _ in range(self.rng.integers(1, 20)):
            Item(next(stream))
        (child,) = set(multiprocessing.active_children()) - before
        os.kill(child.pid, signal.SIGKILL)
        most = 10**6 // 128 + 1
        with pytest.raises(WorkerError, match="killed by SIGKILL"):
            for index, item in zip(range(most + 1), stream):
                Item(item)
                assert index < most
        assert streamer.active == 0

    def end(self):
        """Close everything."""
        while self.open:
            self.close()
        self.check()
        self.held.clear()
        for streamer, _ in self.trees:
            assert all(each.active == 0 for each in parts(streamer))


ACTIONS = {
    "start": 4,
    "take": 8,
    "take_in_turn": 4,
    "close": 1,
    "drop": 1,
    "leave_loop": 0.5,
    "let_go": 1,
    "kill": 0.3,
    "kill_own": 0.3,
}


def stress(n_actions, seed, n_at_once=60):
    """Make random actions, in sequences, after each of which nothing may be left."""
    counts = dict.fromkeys(ACTIONS, 0)
    before = Left()
    for first in range(0, n_actions, n_at_once):
        run = Stress((seed, first))
        try:
            for _ in range(min(n_at_once, n_actions - first)):
                run.act()
            run.end()
        except BaseException as error:
            raise AssertionError(f"with seed {(seed, first)}, after {run.counts}") from error
        finally:
            for each in run.open:
                each.stream.close()
        counts = {name: counts[name] + n for name, n in run.counts.items()}
        del run
        before.check()
    return counts


class Left:
    """What there was, and what is left of what came later."""

    def __init__(self):
        self._guard = LeakGuard()
        self._n_tasks = _n_tasks()
        self._family = _family()

    def check(self):
        assert self._guard.leaked() == []
        # Processes of a process that was killed are not children of this one, and threads that
        # have ended are listed for a while. (The pool of a BLAS ends at a fork.)
        end = time.monotonic() + TIMEOUT
        while (left := _family() - self._family) or _n_tasks() > self._n_tasks:
            assert time.monotonic() < end, f"processes {left} or threads are left"
            time.sleep(0.01)


def _n_tasks():
    return len(os.listdir("/proc/self/task"))


def _family():
    """Return the ids of all processes that this one has started.

    In a session of its own, those whose parent was killed are seen as well.
    """
    session, found = os.getpid(), set()
    if os.getsid(0) != session:
        return descendants(session)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(int(process.name)) == session:
                found.add(int(process.name))
    return found - {session}


def in_a_small_program(code):
    """Run code with this module; a large program, such as this one, takes longer to fork."""
    path = os.pathsep.join(filter(None, sys.path))
    # (A child that ends at once may leave its copies of the parent's sockets to the system.)
    warnings = ["-W", "error", "-W", "ignore::ResourceWarning"]
    done = subprocess.run(
        [sys.executable, *warnings, "-c", f"import test_stress as here\n{code}"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        start_new_session=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("n_actions", some([60, 300]))
def test_random_actions_on_random_trees(n_actions):
    """Each action is taken; of the two rare ones that kill, one is enough."""
    code = f"counts = here.stress({n_actions}, {SEED})\n"
    code += "counts['kill'] += counts['kill_own']\nassert min(counts.values()) > 0, counts"
    in_a_small_program(code)


@pytest.mark.parametrize("seed", some(range(10), 2))
def test_a_tree_gives_the_same_items_with_processes_and_without(seed):
    tree = random_tree(np.random.default_rng((SEED, seed)), depth=3)
    if tree[0] != "process":
        tree = "process", {}, tree
    both = Open(made(tree, True), made(tree, False), "cycle", 150)
    with both.stream:
        while both.take() is not None:
            pass


# Many starts.


def _full(streamer):
    assert len(list(streamer)) == 3


def _early(streamer):
    for _ in streamer:
        break


def _error(streamer):
    failing = ZMQStreamer(pescador.Streamer(leaf, 1, 3, 1, 2), start_method=streamer.start_method)
    with pytest.raises(LeafError):
        list(failing)


def _killed(streamer):
    before = set(multiprocessing.active_children())
    endless = ZMQStreamer(
        pescador.Streamer(records, 0, FOREVER), start_method=streamer.start_method
    )
    stream = endless.iterate()
    next(stream)
    (child,) = set(multiprocessing.active_children()) - before
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="SIGKILL"):
        for _ in stream:
            pass


def _dropped(streamer):
    stream = streamer.iterate()
    next(stream)
    del stream


def _never_read(streamer):
    streamer.iterate()


WAYS = (_full, _early, _error, _dropped, _full, _early, _killed, _never_read)


def _resident():
    """Return the memory of this process, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.parametrize("n_starts", some([15, 50, 1000]))
def test_many_starts_leave_nothing(n_starts):
    in_a_small_program(f"here.start_many_times({n_starts})")


def start_many_times(n_starts):
    streamer = ZMQStreamer(pescador.Streamer(leaf, 5, 3, 2000), start_method="fork")
    ways = itertools.cycle(WAYS)
    left = Left()
    for _ in range(n_starts // 5):
        next(ways)(streamer)
    left.check()
    before = _resident()
    for _ in range(n_starts - n_starts // 5):
        next(ways)(streamer)
    left.check()
    assert streamer.active == 0
    assert _resident() - before < 5


@pytest.mark.parametrize("method", some(["spawn", "forkserver"]))
@pytest.mark.parametrize("n_at_once", some([2, 5]))
def test_starts_by_the_other_methods_leave_nothing(method, n_at_once):
    if method == "spawn":
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # which stays
    left = Left()
    for n_items, is_killed, n_read in [
        (20, False, 101),  # and so to the end
        (FOREVER, False, 7),
        (FOREVER, True, 7),
    ]:
        # A mux, because it starts all of them before it waits for the first.
        streamer = ZMQStreamer(pescador.Streamer(records, 0, n_items), start_method=method)
        with RoundRobinMux([streamer] * n_at_once).iterate() as stream:
            got = [int(item["x"]) for item in itertools.islice(stream, n_read)]
            assert got == [index // n_at_once for index in range(n_read)][: 20 * n_at_once]
            assert streamer.active == n_at_once * (n_items == FOREVER)
            if is_killed:
                os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
                with pytest.raises(WorkerError, match="SIGKILL"):
                    for _ in stream:
                        pass
        assert streamer.active == 0
    left.check()


@pytest.mark.parametrize("n_rounds", some([2, 5]))
def test_what_an_error_holds_goes_with_it(n_rounds):
    """At once, not when the garbage collector happens to come by."""
    streamer = ZMQStreamer(pescador.Streamer(leaf, 5, 3, 2000), start_method="fork")
    for way in WAYS:
        way(streamer)
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    gc.disable()
    try:
        for _ in range(n_rounds):
            for way in WAYS:
                way(streamer)
        assert set(os.listdir("/proc/self/fd")) <= before
    finally:
        gc.enable()


def test_fifty_streams_at_once():
    streamers = [
        ZMQStreamer(pescador.Streamer(leaf, number, 20, 500 * number), start_method="fork")
        for number in range(50)
    ]
    left = Left()
    streams = [streamer.iterate() for streamer in streamers]
    for index in range(20):
        for number, stream in enumerate(streams):
            item = Item(next(stream))
            assert item.name == (number, index, 500 * number)
    assert len(multiprocessing.active_children()) == 50
    assert [next(stream, None) for stream in streams] == [None] * 50
    del streams, stream, item
    left.check()


def main(n_actions, seed):
    folder = tempfile.mkdtemp()
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    start = time.monotonic()
    try:
        counts = stress(n_actions, seed)
        assert os.listdir(folder) == []
    finally:
        shutil.rmtree(folder)
    print(f"{counts}, in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
