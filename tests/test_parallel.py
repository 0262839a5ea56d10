"""ParallelStreamer: any number of workers, anything dies, the same items."""

import contextlib
import gc
import itertools
import json
import logging
import mmap
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from _cases import some
from _parallel_sources import (
    TREES,
    Broken,
    deadly,
    drawing,
    fail_to_initialise,
    failing,
    failing_to_close,
    failing_to_open,
    hanging,
    initialise,
    initialised,
    items,
    large,
    lines,
    open_and_closed,
    several,
    slow,
)
from _search import examples
from _sources import TIMEOUT, within
from _trees import read, tree
from hypothesis import given
from hypothesis import strategies as st

import pescador
from pescador import (
    DataError,
    ParallelStreamer,
    PescadorError,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    WorkerError,
    ZMQStreamer,
)

N = 60
BACKENDS = ("threads", "processes")
every_backend = pytest.mark.parametrize("backend", BACKENDS)


def parallel(streamer, n_workers=2, backend="processes", **options):
    """Return the tree with workers; processes start quickly."""
    if backend == "processes":
        options.setdefault("start_method", "fork")
    return ParallelStreamer(streamer, n_workers, backend=backend, **options)


def plain(item):
    return {key: np.asarray(value).tolist() for key, value in item.items()}


def take(streamer, n_items=N, cycle=False):
    stream = streamer.cycle(n_items) if cycle else streamer.iterate(n_items)
    with stream:
        return [plain(item) for item in stream]


# The same items.


@every_backend
@pytest.mark.parametrize("n_workers", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("make", TREES.values(), ids=TREES)
def test_the_items_are_those_of_the_tree_alone(make, n_workers, backend):
    expected = take(make())
    for n_ahead in (None, 0):
        assert take(parallel(make(), n_workers, backend, n_ahead=n_ahead)) == expected


@every_backend
@pytest.mark.parametrize("make", TREES.values(), ids=TREES)
def test_passes_differ_as_they_do_alone(make, backend):
    assert take(parallel(make(), 2, backend), 300, True) == take(make(), 300, True)


# (Weights that decide little, and others that are warned of.)
@pytest.mark.filterwarnings("ignore::UserWarning")
@given(
    number=st.integers(0, 2**32), n_workers=st.sampled_from([1, 2, 3, 8, 16]), ahead=st.booleans()
)
@examples(60)
def test_random_trees_with_threads(number, n_workers, ahead):
    expected = read(tree(number).cycle())
    n_ahead = None if ahead else 0
    assert read(parallel(tree(number), n_workers, "threads", n_ahead=n_ahead).cycle()) == expected


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(number=st.integers(0, 2**32), n_workers=st.sampled_from([1, 2, 3, 8]), ahead=st.booleans())
@examples(25)
def test_random_trees_with_processes(number, n_workers, ahead):
    expected = read(tree(number).cycle())
    n_ahead = None if ahead else 0
    assert read(parallel(tree(number), n_workers, n_ahead=n_ahead).cycle()) == expected


@pytest.mark.parametrize("start_method", some(["fork", "spawn", "forkserver"]))
def test_every_start_method(start_method):
    make = TREES["stochastic"]
    assert take(parallel(make(), 2, start_method=start_method)) == take(make())


@pytest.mark.parametrize("n_threads", [2, 5])
def test_several_threads_a_process(n_threads):
    for make in TREES.values():
        assert take(parallel(make(), 2, threads_per_worker=n_threads)) == take(make())


def test_a_random_state_that_muxes_share_advances_as_it_does_alone():
    def make(rng):
        inner = [ShuffledMux(several(3), random_state=rng) for _ in range(3)]
        return StochasticMux(inner, 2, 4, random_state=rng)

    one, other = np.random.RandomState(7), np.random.RandomState(7)
    assert take(parallel(make(one), 2)) == take(make(other))
    assert one.randint(10**6) == other.randint(10**6)


def test_a_random_state_of_a_source_is_drawn_from_in_the_caller():
    def make(rng):
        below = [Streamer(pescador.cache, several(1)[0], 2, 0.5, rng) for _ in range(3)]
        return RoundRobinMux(below, mode="cycle")

    alone = np.random.RandomState(7)
    expected = take(make(alone), 20)
    after = alone.randint(10**6)
    for backend in BACKENDS:
        rng = np.random.RandomState(7)
        assert take(parallel(make(rng), 2, backend), 20) == expected
        assert rng.randint(10**6) == after


def test_global_generators_are_the_same_for_any_number_of_workers():
    def make():
        return StochasticMux([Streamer(drawing, 5) for _ in range(6)], 3, 3, random_state=1)

    expected = take(parallel(make(), 1))
    assert len({json.dumps(item) for item in expected}) == len(expected)
    for n_workers in (2, 5):
        assert take(parallel(make(), n_workers)) == expected


@every_backend
def test_what_can_be_read_only_once_runs_in_the_caller(backend):
    where = []

    def watched(iterator):
        where.append(threading.get_ident())
        yield from iterator

    def make():
        return RoundRobinMux([Streamer(watched, iter(list(items(1, 3)))), Streamer(items, 2, 3)])

    assert take(parallel(make(), 2, backend)) == take(make())
    assert set(where) == {threading.get_ident()}


class Unhashable:
    """An iterator without a hash."""

    __hash__ = None

    def __init__(self, iterator):
        self._iterator = iterator

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._iterator)


@every_backend
def test_an_iterator_in_the_caller_may_have_no_hash(backend):
    def make():
        once = Streamer(Unhashable, iter(list(items(1, 3))))
        return RoundRobinMux([once, Streamer(Unhashable, iter([])), Streamer(items, 2, 3)])

    assert take(parallel(make(), 2, backend)) == take(make())


@every_backend
def test_streamers_that_are_made_in_the_meantime(backend):
    def lazily():
        for who in range(4):
            yield Streamer(items, who, 3)

    def make():
        return pescador.ChainMux(Streamer(lazily), mode="cycle")

    assert take(parallel(make(), 2, backend)) == take(make())


def test_what_is_read_lazily_inside_a_mux_is_not_looked_at_before():
    def lazily(first):
        for who in range(first, first + 3):
            yield Streamer(items, who, 3)

    def make():
        return pescador.ChainMux([pescador.ChainMux(lazily(10 * n)) for n in range(3)])

    assert take(parallel(make(), 2)) == take(make())


def test_a_function_of_weights_is_called_no_more_often():
    n_calls = []

    def weights(n_items):
        n_calls.append(n_items)
        return [1, 2]

    def make():
        inner = [
            StochasticMux(several(2), 2, 3, weights, random_state=n, weighting="active")
            for n in range(4)
        ]
        return StochasticMux(inner, 2, 9, random_state=1)

    expected = take(make())
    n_alone = len(n_calls)
    assert take(parallel(make(), 2)) == expected
    assert len(n_calls) <= 2 * n_alone + 1


def test_what_stays_in_the_caller_need_not_be_pickled():
    mux = RoundRobinMux([Streamer(iter(list(items(1, 3)))), Streamer(items, 2, 3)])
    assert len(take(parallel(mux, 1, start_method="spawn"))) == 6


def test_threads_of_different_processes_draw_different_numbers():
    mux = RoundRobinMux([Streamer(drawing, 20) for _ in range(4)])
    found = take(parallel(mux, 2, threads_per_worker=2), 80)
    assert len({json.dumps(item) for item in found}) == 80


# Resuming.


@every_backend
@pytest.mark.parametrize("make", TREES.values(), ids=TREES)
def test_a_state_fits_any_number_of_workers_and_none(make, backend):
    expected = take(make())
    for n_items in (0, 1, 2, 7, 13, 24):
        with parallel(make(), 8, backend).iterate() as stream:
            start = [plain(item) for item in itertools.islice(stream, n_items)]
            state = json.loads(json.dumps(stream.state_dict()))
        n_left = len(expected) - n_items
        others = [make(), parallel(make(), 1, backend), parallel(make(), 3, "threads")]
        if n_items == 13:
            others.append(ZMQStreamer(make(), start_method="fork"))
            others.append(parallel(make(), 2))
        for other in others:
            with other.resume(state) as rest:
                assert start + [plain(each) for each in itertools.islice(rest, n_left)] == expected
        with make().iterate() as stream:
            list(itertools.islice(stream, n_items))
            state = stream.state_dict()
        with parallel(make(), 3, backend).resume(state) as rest:
            assert start + [plain(each) for each in itertools.islice(rest, n_left)] == expected


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(number=st.integers(0, 2**32), n_items=st.integers(0, 60))
@examples(25)
def test_resuming_random_trees(number, n_items):
    expected = read(tree(number, may_fail=False).cycle(), 80)
    with parallel(tree(number, may_fail=False), 3, "threads").cycle() as stream:
        start = [plain(item) for item in itertools.islice(stream, n_items)]
        state = json.loads(json.dumps(stream.state_dict()))
    stream = parallel(tree(number, may_fail=False), 2, "threads").resume(state)
    assert start + read(stream, 80 - len(start)) == expected


# Deaths.


class Killer:
    """Kills a worker now and then."""

    def __init__(self, rng, seconds):
        self.n_killed = 0
        self._rng, self._seconds = rng, seconds
        self._is_over = threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=self._kill)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._is_over.set()
        self._thread.join()

    def _kill(self):
        while self.n_killed < 10 and not self._is_over.wait(self._rng.random() * self._seconds):
            workers = sorted(child.pid for child in multiprocessing.active_children())
            if workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(workers[self._rng.integers(len(workers))], signal.SIGKILL)
                    self.n_killed += 1


def named_deaths(caplog):
    return [each.getMessage() for each in caplog.records if "opened again" in each.getMessage()]


@pytest.mark.parametrize("seed", some(range(6), 2))
def test_workers_that_are_killed_cost_no_item(seed, caplog):
    caplog.set_level(logging.WARNING, "pescador")

    def make():
        return StochasticMux(several(20, slow, 30, 0.0005), 8, 20, random_state=1)

    expected = take(make(), 1500)
    with Killer(np.random.default_rng(seed), 0.1) as killer:
        assert take(parallel(make(), 3), 1500) == expected
    assert killer.n_killed
    # (One that has nothing to do any more may die unnoticed.)
    assert 0 < len(set(named_deaths(caplog))) == len(named_deaths(caplog)) <= killer.n_killed


def with_deaths(stream, deaths):
    """Read a stream; at the items that are told, kill one of the workers first."""
    with stream:
        for number in itertools.count():
            for _, which in (each for each in deaths if each[0] == number):
                workers = sorted(child.pid for child in multiprocessing.active_children())
                if workers:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(workers[which % len(workers)], signal.SIGKILL)
            try:
                item = next(stream)
            except StopIteration:
                return
            yield item


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(
    number=st.integers(0, 2**32),
    deaths=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), min_size=10, max_size=10),
)
@examples(10)
def test_whichever_worker_is_killed_at_any_item_costs_none(number, deaths):
    expected = read(tree(number).cycle())
    assert read(with_deaths(parallel(tree(number), 3).cycle(), deaths)) == expected


def test_a_source_that_kills_its_worker_is_an_error_at_that_item(caplog):
    caplog.set_level(logging.WARNING, "pescador")
    mux = RoundRobinMux([Streamer(items, 1, 9), Streamer(deadly, 2, 9, 5)])
    found = []
    with parallel(mux, 2).iterate() as stream:
        with pytest.raises(
            WorkerError, match=r"SIGKILL.*3 workers in a row.*after 5 items of.*deadly"
        ):
            for item in stream:
                found.append(item["x"].tolist())
    assert found == [[who, count] for count in range(5) for who in (1, 2)] + [[1, 5]]
    assert len(named_deaths(caplog)) >= 3


def test_it_can_be_replaced():
    mux = RoundRobinMux([Streamer(items, 1, 9), Streamer(deadly, 2, 9, 5)], on_error="replace")
    with parallel(mux, 2).iterate() as stream:
        assert len(list(stream)) == 14
        (failure,) = stream.failures
    assert failure.path == (1,)
    assert failure.is_dropped
    assert "WorkerError" in failure.error


def test_one_that_kills_its_worker_as_it_is_opened():
    def opening(who):
        os.kill(os.getpid(), signal.SIGKILL)

    class Opened:
        def __iter__(self):
            return opening(1)

    mux = RoundRobinMux([Streamer(items, 1, 2), Streamer(Opened())], on_error="replace")
    assert take(parallel(mux, 2)) == [{"x": [1, 0]}, {"x": [1, 1]}]


def test_a_guess_that_kills_its_worker_costs_nothing():
    """It is opened ahead, and never asked for."""
    streamers = [Streamer(slow, 1, 9, 0.05), Streamer(deadly, 2, 9, 0)]
    chain = pescador.ChainMux(streamers)
    assert take(parallel(chain, 2), 9) == [{"x": [1, count]} for count in range(9)]


def test_one_that_hangs_is_killed_and_at_last_an_error():
    mux = RoundRobinMux([Streamer(items, 1, 9), Streamer(hanging, 2, 9, 5)])
    found = []
    with parallel(mux, 2, item_timeout=0.3).iterate() as stream:
        with pytest.raises(WorkerError, match="after 5 items of") as caught:
            for item in stream:
                found.append(item)
    assert isinstance(caught.value, TimeoutError)
    assert len(found) == 11


def test_a_thread_that_hangs_is_an_error_at_once():
    may_go_on = threading.Event()

    def waits():
        may_go_on.wait(TIMEOUT)
        yield {"x": 1}

    mux = RoundRobinMux([Streamer(items, 1, 9), Streamer(waits)])
    with parallel(mux, 2, "threads", item_timeout=0.2, timeout=0.1).iterate() as stream:
        next(stream)
        with pytest.raises(TimeoutError, match="no item came"):
            next(stream)
    may_go_on.set()


def test_workers_that_die_as_they_start_are_an_error():
    mux = RoundRobinMux(several(2))
    with pytest.raises(Broken, match="no connection"):
        take(parallel(mux, 2, worker_init=fail_to_initialise))


def test_the_death_of_the_caller_leaves_no_worker(tmp_path):
    program = f"""
        import sys, os, multiprocessing
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from _parallel_sources import several, slow
        import pescador
        mux = pescador.ShuffledMux(several(4, slow, 10**6, 0.01))
        stream = pescador.ParallelStreamer(mux, 3, start_method="fork").iterate()
        for _ in range(50):
            next(stream)
        print(*[each.pid for each in multiprocessing.active_children()], flush=True)
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    pids = list(map(int, done.stdout.split()))
    assert len(pids) == 3
    end = time.monotonic() + 2
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(map(is_alive, pids))


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# Errors.


@every_backend
@pytest.mark.parametrize(
    "streamer",
    [
        Streamer(failing, 2, 3),
        Streamer(failing, 2, 0),
        Streamer(pescador.buffer_stream, Streamer(failing, 2, 3), 2),
    ],
    ids=["item", "first", "batch"],
)
def test_an_error_comes_in_its_place(streamer, backend):
    def make():
        return RoundRobinMux([Streamer(items, 1, 9), streamer])

    assert read(parallel(make(), 2, backend).iterate()) == read(make().iterate())
    with pytest.raises(Broken, match="2 after") as caught:
        list(parallel(make(), 2, backend))
    if backend == "processes":
        assert "Broken" in str(caught.value.__cause__)  # the traceback of the worker


@every_backend
@pytest.mark.parametrize("n_ahead", [0, None])
def test_an_opening_that_fails(backend, n_ahead):
    class Opened:
        def __iter__(self):
            return failing_to_open(3)

    def make(**how):
        streamers = [*several(3), Streamer(Opened())]
        return StochasticMux(streamers, 2, 3, random_state=1, **how)

    how = {"on_error": "replace", "max_failures": 2}
    workers = parallel(make(**how), 2, backend, n_ahead=n_ahead)
    assert take(workers) == take(make(**how))
    with pytest.raises(Broken, match="as it is opened"):
        take(parallel(make(), 2, backend, n_ahead=n_ahead), 1000)


@every_backend
def test_a_closing_that_fails(backend):
    def make(**how):
        streamers = [*several(3), Streamer(failing_to_close, 3, 9)]
        return StochasticMux(streamers, 2, 3, random_state=1, dist="constant", **how)

    how = {"on_error": "replace", "max_failures": 2}
    assert take(parallel(make(**how), 2, backend)) == take(make(**how))
    with pytest.raises(Broken, match="as it is closed"):
        take(parallel(make(), 2, backend), 1000)


@every_backend
def test_an_early_close_raises_what_the_source_raises(backend):
    mux = ShuffledMux([Streamer(failing_to_close, 3, 10**6)])
    stream = parallel(mux, 2, backend, max_bytes=2**12).iterate()
    next(stream)
    with pytest.raises(Broken, match="as it is closed"):
        stream.close()


@every_backend
def test_an_error_that_nobody_has_come_to_vanishes(backend):
    mux = ShuffledMux([Streamer(failing, 3, 3)])
    with parallel(mux, 2, backend).iterate(2) as stream:
        assert len(list(stream)) == 2


def test_an_item_that_cannot_cross_names_its_number():
    def strange():
        yield {"x": 1}
        yield {"x": object()}

    mux = RoundRobinMux([Streamer(items, 1, 5), Streamer(strange)])
    with pytest.raises(DataError, match="item 1 of the stream, key 'x'"):
        list(parallel(mux, 2))


def test_threads_hand_over_any_object():
    def any_objects():
        array = np.zeros(2)
        for count in range(4):
            array[:] = count  # a source may use its arrays again
            yield {"x": array}
            yield (array, "text")
            yield object

    mux = RoundRobinMux([Streamer(any_objects)])
    found = list(parallel(mux, 2, "threads"))
    assert [item["x"].tolist() for item in found[::3]] == [[n, n] for n in range(4)]
    assert [item[0].tolist() for item in found[1::3]] == [[n, n] for n in range(4)]
    assert found[2::3] == [object] * 4


def test_what_cannot_be_pickled_is_told_where_it_has_to_be():
    def local():
        yield {"x": 1}

    mux = RoundRobinMux([Streamer(local), Streamer(items, 1, 2)])
    with pytest.raises(PescadorError, match=r"=Streamer\(local\): cannot be pickled.*spawn"):
        take(parallel(mux, 2, start_method="spawn"))


def test_what_every_worker_begins_with_cannot_be_pickled():
    mux = RoundRobinMux([Streamer(items, 1, 2)])
    with pytest.raises(PescadorError, match=r"worker_init=<function.*: cannot be pickled.*module"):
        take(parallel(mux, 2, start_method="spawn", worker_init=lambda: None))


def test_a_daemon_is_told_of_threads():
    def child(pipe):
        try:
            take(parallel(RoundRobinMux(several(2)), 2))
        except PescadorError as error:
            pipe.send(str(error))
        pipe.send(len(take(parallel(RoundRobinMux(several(2)), 2, "threads"))))

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=child, args=(theirs,), daemon=True)
    process.start()
    assert 'backend="threads"' in ours.recv()
    assert ours.recv() == 16
    process.join()


REFUSED = {
    "n_workers": [0, -1, 1.5, "2"],
    "backend": ["cluster", "process", None],
    "threads_per_worker": [0, 1.5],
    "n_ahead": [-1, 0.5],
    "max_bytes": [0],
    "item_timeout": [0, -1, float("nan")],
    "start_timeout": [0, None],
    "timeout": [0, "long"],
    "start_method": ["thread"],
    "copy": ["yes"],
    "worker_init": [5],
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_arguments(name):
    for value in REFUSED[name]:
        options = {"n_workers": 2, name: value}
        with pytest.raises(PescadorError, match=f"{name}="):
            ParallelStreamer(RoundRobinMux(several(2)), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"start_method": "fork"},
        {"copy": True},
        {"threads_per_worker": 2},
        {"start_timeout": 5},
        {"worker_init": initialise},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_of_processes_are_not_for_threads(options):
    with pytest.raises(PescadorError, match="has no effect with backend='threads'"):
        ParallelStreamer(RoundRobinMux(several(2)), 2, backend="threads", **options)


def test_a_tree_of_one_source_is_refused():
    for streamer in (
        Streamer(items, 1, 2),
        [1, 2],
        Streamer(pescador.buffer_stream, several(1)[0], 2),
    ):
        with pytest.raises(PescadorError, match="a single source"):
            ParallelStreamer(streamer, 2)


def test_worker_init():
    mux = RoundRobinMux([Streamer(initialised), Streamer(initialised)])
    assert take(parallel(mux, 2, worker_init=initialise)) == [{"x": [5]}] * 2
    assert "PESCADOR_TEST" not in os.environ


# Bounds.


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_made_ahead_is_bounded(backend):
    """The consumer stops; the sources are stopped too, soon."""
    made = np.frombuffer(mmap.mmap(-1, 4096), np.int64)

    def counted(who):
        for count in itertools.count():
            made[who] += 1
            yield {"x": np.full(1000, count)}

    max_bytes, n_bytes = 2**18, 8128
    mux = ShuffledMux([Streamer(counted, who) for who in range(6)], random_state=1)
    with parallel(mux, 3, backend, max_bytes=max_bytes).iterate() as stream:
        for n_taken in (1, 50, 100):
            list(itertools.islice(stream, n_taken))
            before = -1
            while before != made.sum():  # until nothing more is made
                before = int(made.sum())
                time.sleep(0.2)
            # (An item beyond that for each worker; and what is being handed out.)
            n_ahead = before - stream.n_given
            assert n_ahead * n_bytes <= max_bytes + 4 * n_bytes + max_bytes // 4


@every_backend
@pytest.mark.parametrize("n_ahead", [0, 3])
def test_how_many_are_open_is_bounded(backend, n_ahead, tmp_path):
    path = tmp_path / "log"
    mux = StochasticMux(
        several(30, open_and_closed, 6, path), 4, 3, random_state=1, dist="constant"
    )
    take(parallel(mux, 3, backend, n_ahead=n_ahead), 200)
    n_open, most = 0, 0
    for line in lines(path):
        n_open += 1 if line.startswith("open") else -1
        most = max(most, n_open)
    assert n_open == 0
    # (A slot's next one may be opened before the last one has noticed that it is closed.)
    assert 1 <= most <= 4 + n_ahead + 1


def test_large_items_come_whole():
    def make():
        return StochasticMux(several(5, large, 4, 300_000), 3, 3, random_state=1)

    with make().iterate(40) as stream:
        expected = [int(item["x"][7]) for item in stream]
    with parallel(make(), 3, max_bytes=2**20).iterate(40) as stream:
        kept = list(stream)
    assert [int(item["x"][7]) for item in kept] == expected
    assert all((item["x"] == item["x"][0]).all() for item in kept)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such memory")
def test_items_larger_than_all_that_may_be_ahead_are_shared():
    mux = RoundRobinMux(several(5, large, 4, 300_000), mode="cycle")
    with parallel(mux, 3, max_bytes=2**12).iterate(40) as stream:
        for item in stream:
            assert isinstance(memory_of(item["x"]), mmap.mmap)


def memory_of(array):
    """Return what an array lies in."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


@pytest.mark.parametrize("n_times", [3, pytest.param(100, marks=pytest.mark.full)])
def test_starts_and_stops_leave_nothing(n_times):
    """(The guard of leaks looks at what is left.)"""
    mux = StochasticMux(several(9), 3, 4, random_state=1)
    for backend in BACKENDS:
        streamer = parallel(mux, 3, backend)
        for n_items in itertools.islice(itertools.cycle([0, 1, 7, 30]), n_times):
            with streamer.iterate() as stream:
                assert len(list(itertools.islice(stream, n_items))) == n_items
        assert streamer.active == mux.active == 0
        assert all(each.active == 0 for each in mux.streamers)
        assert not multiprocessing.active_children()


# Closing.


@every_backend
def test_finally_blocks_run_when_it_is_closed(backend, tmp_path):
    path = tmp_path / "log"
    mux = ShuffledMux(several(4, open_and_closed, 10**6, path), random_state=1)
    with parallel(mux, 2, backend).iterate() as stream:
        list(itertools.islice(stream, 10))
    done = lines(path)
    assert sorted(done) == sorted(
        [f"open {n}" for n in range(4)] + [f"closed {n}" for n in range(4)]
    )


def test_a_source_that_waits_is_interrupted_as_it_is_closed(tmp_path):
    path = tmp_path / "log"

    def waits(who):
        note = open_and_closed(who, 10, path)
        try:
            yield next(note)
            time.sleep(TIMEOUT)
            yield next(note)
        finally:
            note.close()

    stream = parallel(ShuffledMux([Streamer(waits, 1)]), 1, timeout=TIMEOUT).iterate()
    next(stream)
    begin = time.monotonic()
    stream.close()
    assert time.monotonic() - begin < TIMEOUT / 4
    assert lines(path) == ["open 1", "closed 1"]


def test_several_that_wait_are_all_interrupted(tmp_path):
    """They are on one worker, which is at one of them only."""
    path, flag = tmp_path / "log", tmp_path / "flag"

    def waits(who):
        note = open_and_closed(who, 10**9, path)
        try:
            for item in note:
                if flag.exists():
                    time.sleep(TIMEOUT)
                yield item
        finally:
            note.close()

    mux = RoundRobinMux([Streamer(waits, who) for who in range(3)])
    stream = parallel(mux, 1, max_bytes=2**40).iterate()
    list(itertools.islice(stream, 3))
    flag.touch()
    begin = time.monotonic()
    stream.close()
    assert time.monotonic() - begin < TIMEOUT / 2
    assert set(lines(path)) == {f"{what} {who}" for who in range(3) for what in ("open", "closed")}


def test_a_thread_that_outlives_its_stream_closes_its_source_in_the_end(tmp_path):
    path = tmp_path / "log"
    may_go_on = threading.Event()

    def waits():
        note = open_and_closed(1, 10, path)
        try:
            yield next(note)
            may_go_on.wait(TIMEOUT)
            yield next(note)
        finally:
            note.close()

    stream = parallel(ShuffledMux([Streamer(waits)]), 1, "threads", timeout=0.1).iterate()
    next(stream)
    stream.close()
    assert lines(path) == ["open 1"]
    may_go_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("pescador-source"):
            thread.join(TIMEOUT)
    assert lines(path) == ["open 1", "closed 1"]


def test_one_that_does_not_stop_is_killed():
    def stubborn():
        yield {"x": 1}
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(TIMEOUT)

    stream = parallel(ShuffledMux([Streamer(stubborn)]), 1, timeout=0.5).iterate()
    next(stream)
    stream.close()
    assert not multiprocessing.active_children()


@every_backend
def test_a_stream_that_is_forgotten_leaves_nothing(backend):
    stream = parallel(ShuffledMux(several(3, items, 100)), 2, backend).iterate()
    next(stream)
    del stream
    gc.collect()
    assert not multiprocessing.active_children()


@every_backend
def test_an_interrupt_while_it_waits_loses_no_item(backend, monkeypatch):
    def make():
        return StochasticMux(several(9, slow, 6, 0.01), 3, 4, random_state=1)

    expected = take(make())
    for seconds in (0.05, 0.1, 0.2):
        found = []
        stream = parallel(make(), 2, backend).iterate()
        timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt), stream:
            timer.start()
            for item in stream:
                found.append(plain(item))
        timer.join()
        assert len(found) <= stream.n_given <= len(found) + 1
        with parallel(make(), 3, backend).resume(stream.state_dict()) as rest:
            n_left = N - stream.n_given
            found += [plain(item) for item in itertools.islice(rest, n_left)]
        assert [each for each in expected if each in found] == expected or len(found) >= N - 1


# Together.


def test_it_is_part_of_other_things():
    make = TREES["stochastic"]
    expected = take(Streamer(pescador.buffer_stream, make(), 4), 10)
    inside = Streamer(pescador.buffer_stream, parallel(make(), 2), 4)
    assert take(ZMQStreamer(inside, start_method="fork"), 10) == expected
    assert take(inside, 10) == expected

    def mixed(wrap):
        return RoundRobinMux([wrap(make()), wrap(TREES["share"]())], mode="cycle")

    expected = take(mixed(lambda streamer: streamer))
    assert take(mixed(lambda streamer: parallel(streamer, 2))) == expected
    assert take(mixed(lambda streamer: parallel(streamer, 2, "threads"))) == expected
    outer = parallel(mixed(lambda streamer: parallel(streamer, 2)), 2)
    assert take(outer) == expected


def test_several_at_once():
    make = TREES["stochastic"]
    expected = take(make())
    streams = [parallel(make(), 2, backend).iterate(N) for backend in BACKENDS * 2]
    with contextlib.ExitStack() as stack:
        for stream in streams:
            stack.enter_context(stream)
        found = [[plain(item) for item in several_items] for several_items in zip(*streams)]
    assert [list(each) for each in zip(*found)] == [expected] * 4


def test_a_fork_of_the_caller_cannot_read_the_stream():
    def child(pipe):
        try:
            within(TIMEOUT, list, stream)
        except BaseException as error:
            pipe.send(f"{type(error).__name__}: {error}")

    stream = parallel(ShuffledMux(several(3, items, 10**6)), 2).iterate()
    with stream:
        next(stream)
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        process = context.Process(target=child, args=(theirs,))
        process.start()
        assert "WorkerError: this stream was started in another process" in ours.recv()
        process.join()
        next(stream)


def test_warnings_of_a_worker_appear_here():
    def warns():
        import warnings

        warnings.warn("this is old", UserWarning, stacklevel=1)
        yield {"x": 1}

    mux = RoundRobinMux([Streamer(warns), Streamer(items, 1, 1)])
    with pytest.warns(UserWarning, match="this is old"):
        take(parallel(mux, 1))


def test_it_is_shown_with_its_options():
    mux = RoundRobinMux(several(2))
    assert "n_workers=3" in repr(ParallelStreamer(mux, 3, backend="threads"))


def curriculum(later):
    def weights(n_items):
        return [1, 1, 1] if n_items < 1000 else later

    return weights


ENDING = {
    "all weights gone": lambda: ShuffledMux(
        [Streamer(items, 0, 0), Streamer(items, 1, 5000), Streamer(items, 2, 5000)],
        weights=curriculum([1, 0, 0]),
        random_state=1,
    ),
    "those of weight pruned": lambda: StochasticMux(
        [Streamer(items, 0, 0), Streamer(items, 1, 5000), Streamer(items, 2, 5000)],
        2,
        30,
        weights=curriculum([1, 0, 0]),
        weighting="active",
        random_state=1,
    ),
}


@pytest.mark.parametrize("n_workers", [0, 2])
@pytest.mark.parametrize("name", ENDING)
def test_weights_that_go_end_the_run(name, n_workers):
    mux = ENDING[name]()
    streamer = parallel(mux, n_workers, "threads") if n_workers else mux
    assert 1000 <= len(take(streamer, 4000)) < 1100


def test_a_state_from_after_the_last_item_has_no_more():
    def make():
        return StochasticMux(
            several(3, items, 2), 2, 5, [1, 2, 3], mode="exhaustive", random_state=1
        )

    with make().iterate() as stream:
        n_items = len(list(stream))
    with make().iterate(n_items) as stream:
        list(stream)
        state = stream.state_dict()
    assert list(parallel(make(), 2, "threads").resume(state)) == []
