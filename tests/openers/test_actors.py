"""Workers on Ray, with something in place of Ray that loses, delays and reorders."""

import contextlib
import itertools
import pickle
import signal
import sys
import threading
import types

import numpy as np
import pytest
from _cases import some
from _fake_ray import ray_in
from _parallel_sources import TREES, items, large, several
from _search import examples
from _trees import read, tree
from hypothesis import given
from hypothesis import strategies as st

from pescador import (
    ChainMux,
    ParallelStreamer,
    PescadorError,
    ShuffledMux,
    StochasticMux,
    Streamer,
    WorkerError,
    ZMQStreamer,
)
from pescador._openers.host import Host, _Arena

N = 200


def plain(item):
    return {key: np.asarray(value).tolist() for key, value in item.items()}


def take(streamer, n_items=N, **how):
    with streamer.iterate(n_items) if not how else streamer.cycle(n_items) as stream:
        return list(map(plain, stream))


def on_ray(streamer, n_workers=3, **options):
    return ParallelStreamer(streamer, n_workers, backend="ray", **options)


@pytest.mark.parametrize("n_workers", some([1, 3, 8], 2))
@pytest.mark.parametrize("name", some(list(TREES), 3))
def test_the_same_items_in_the_same_order(monkeypatch, name, n_workers):
    expected = take(TREES[name]())
    for n_ahead, n_threads in ((None, 1), (0, 2)):
        with ray_in(monkeypatch, delay=1e-3):
            made = on_ray(TREES[name](), n_workers, n_ahead=n_ahead, threads_per_worker=n_threads)
            assert take(made) == expected


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(
    number=st.integers(0, 2**32),
    seed=st.integers(0, 1000),
    death=st.sampled_from([0.0, 0.02, 0.1]),
)
@examples(15)
def test_random_trees_on_actors_that_are_lost(number, seed, death):
    expected = read(tree(number).cycle())
    with pytest.MonkeyPatch.context() as monkeypatch:
        # (It is no fault of an item that three actors are lost at it.)
        monkeypatch.setattr("pescador._openers.window._MOST_DEATHS", 100)
        with ray_in(monkeypatch, seed=seed, death=death, loss=death / 2, delay=1e-3):
            assert read(on_ray(tree(number), 3).cycle()) == expected


def test_what_is_lost_is_made_again_and_logged(monkeypatch, caplog):
    expected = take(TREES["stochastic"](), 400)
    monkeypatch.setattr("pescador._openers.window._MOST_DEATHS", 100)
    with ray_in(monkeypatch, seed=1, death=0.1, loss=0.05) as ray:
        assert take(on_ray(TREES["stochastic"]()), 400) == expected
    assert ray.n_deaths
    lost = [each.getMessage() for each in caplog.records if "opened again" in each.getMessage()]
    assert lost and all("the Ray actor" in each and "is lost" in each for each in lost)


def test_a_state_fits_every_other_way_of_running_the_tree(monkeypatch):
    make = TREES["stochastic"]
    expected = take(make())
    for n_first in (0, 1, 7, 50):
        with ray_in(monkeypatch), on_ray(make()).iterate(N) as stream:
            first = [plain(item) for item in itertools.islice(stream, n_first)]
            state = stream.state_dict()
        for other in (make(), ZMQStreamer(make(), start_method="fork")):
            with other.resume(state) as stream:
                assert first + list(map(plain, stream)) == expected
        with ray_in(monkeypatch), on_ray(make(), 2).resume(state) as stream:
            assert first + list(map(plain, stream)) == expected


def test_arrays_are_the_readers(monkeypatch):
    with ray_in(monkeypatch), on_ray(ChainMux(several(1, large, 5, 2**20))).iterate() as stream:
        for count, item in enumerate(stream):
            assert item["x"].flags.writeable and item["x"].flags.owndata
            assert (item["x"] == count).all()
            item["x"][:] = -1


def failing(n_items):
    yield from items(7, n_items)
    raise KeyError("broken", 3)


def test_an_error_comes_as_itself_in_its_place(monkeypatch):
    with ray_in(monkeypatch), on_ray(ChainMux([Streamer(failing, 3)])).iterate() as stream:
        assert len(list(itertools.islice(stream, 3))) == 3
        with pytest.raises(KeyError) as caught:
            next(stream)
    assert caught.value.args == ("broken", 3)
    assert "in failing" in str(caught.value.__cause__)


def test_a_source_that_is_replaced(monkeypatch):
    def make():
        sources = [Streamer(failing, 4), *several(3)]
        return ShuffledMux(sources, random_state=1, on_error="replace", max_failures=2)

    expected = take(make(), 60)
    with ray_in(monkeypatch), on_ray(make()).iterate(60) as stream:
        assert list(map(plain, stream)) == expected
        assert [each.count for each in stream.failures] == [2]


IS_OVER = threading.Event()


def stuck(who):
    yield {"who": who}
    IS_OVER.wait(60)
    yield {"who": who}


def test_a_source_that_hangs_is_killed_and_at_last_an_error(monkeypatch):
    with ray_in(monkeypatch) as ray:
        made = on_ray(ChainMux([Streamer(stuck, 1)]), 1, item_timeout=0.7, timeout=0.1)
        with made.iterate() as stream:
            next(stream)
            with pytest.raises(WorkerError, match=r"no item came from it in 0\.7 s") as caught:
                next(stream)
        IS_OVER.set()
    assert isinstance(caught.value, TimeoutError)
    assert len(ray.handles) == 4


def test_actors_that_never_start(monkeypatch):
    with ray_in(monkeypatch, room=1):
        made = on_ray(TREES["stochastic"](), 3, start_timeout=0.2, ray_remote_args={"num_cpus": 4})
        with pytest.raises(WorkerError, match=r"'num_cpus': 4.*'CPU': 1\.0") as caught:
            take(made)
    assert isinstance(caught.value, TimeoutError)


def broken_init():
    raise OSError("no such database")


def test_an_error_of_worker_init(monkeypatch):
    with ray_in(monkeypatch), pytest.raises(OSError, match="no such database"):
        take(on_ray(TREES["stochastic"](), worker_init=broken_init))


def test_what_cannot_run_at_all_names_the_runtime_env(monkeypatch):
    def start(*_):
        raise ModuleNotFoundError("No module named 'mine'")

    with ray_in(monkeypatch):
        monkeypatch.setattr("pescador._openers.host.Host.start", start)
        with pytest.raises(WorkerError, match=r"No module named 'mine'.*runtime_env"):
            take(on_ray(TREES["stochastic"]()))


def test_ray_has_to_be_started(monkeypatch):
    down = types.SimpleNamespace(is_initialized=lambda: False)
    monkeypatch.setitem(sys.modules, "ray", down)
    with pytest.raises(PescadorError, match=r"ray\.init\(\)"):
        take(on_ray(TREES["stochastic"]()))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PescadorError, match=r"pip install .pescador\[ray\]"):
        take(on_ray(TREES["stochastic"]()))


def test_what_cannot_be_sent(monkeypatch):
    def local():
        yield from items(1, 2)

    mux = ChainMux([Streamer(local)])
    with ray_in(monkeypatch), pytest.raises(PescadorError, match="cannot be sent"):
        take(on_ray(mux))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_method": "fork"}, "has no effect with backend='ray'.*'processes'"),
        ({"copy": True}, "has no effect with backend='ray'"),
        ({"ray_remote_args": 3}, "must be a dict"),
        ({"ray_remote_args": {"max_restarts": 3}}, "max_restarts"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(PescadorError, match=message):
        on_ray(TREES["stochastic"](), **options)


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_remote_args_are_for_ray(backend):
    with pytest.raises(PescadorError, match="'ray'"):
        ParallelStreamer(TREES["stochastic"](), 2, backend=backend, ray_remote_args={"num_cpus": 2})


def test_what_is_made_ahead_is_bounded(monkeypatch):
    n_bytes, max_bytes = 2**16, 2**20
    made = []

    def counting(who):
        for item in large(who, 1000, n_bytes):
            made.append(who)
            yield item

    with ray_in(monkeypatch, pickles=False):
        sources = [Streamer(counting, who) for who in range(8)]
        mux = StochasticMux(sources, 8, None, random_state=1)
        with on_ray(mux, 2, max_bytes=max_bytes).iterate() as stream:
            for n_given in range(1, 100):
                next(stream)
                assert (len(made) - n_given) * n_bytes <= max_bytes + 3 * n_bytes


def test_closing_runs_finally_blocks_everywhere(monkeypatch):
    closed = []

    def noting(who):
        try:
            yield from items(who, 1000)
        finally:
            closed.append(who)

    with ray_in(monkeypatch, pickles=False):
        mux = ShuffledMux([Streamer(noting, who) for who in range(6)], random_state=1)
        with on_ray(mux).iterate() as stream:
            for _ in range(50):
                next(stream)
    assert sorted(closed) == list(range(6))


def test_memory_of_messages_is_used_again_when_nobody_reads_it():
    arena = _Arena()
    assert arena.take() is None
    first = arena.allocate(100)
    second = arena.allocate(50)
    assert (first, second) == (0, 128)
    arena.view(second, 50)[:] = 7
    used = arena.take()
    assert len(used) == 178 and (used[second:] == 7).all()
    assert arena.allocate(10) == 0
    arena.view(0, 10)[:] = 9
    another = arena.take()
    assert (used[second:] == 7).all() and (another == 9).all()
    del used
    assert arena.allocate(2**30) is None
    arena.allocate(1)
    before = arena.view(0, 1)
    assert not np.shares_memory(before, another)


def test_memory_of_few_items_is_not_held():
    arena = _Arena()
    arena.allocate(2**20)
    block = arena._block
    assert not np.shares_memory(arena.take(), block)
    held = []
    for _ in range(20):
        arena.allocate(2**22)
        held.append(arena.take())
    held.clear()
    arena.allocate(2**22)
    arena.take()
    assert len(arena._lent) <= 1


def test_an_interrupt_as_an_answer_is_fetched_loses_nothing(monkeypatch):
    expected = take(TREES["stochastic"]())
    with ray_in(monkeypatch) as ray:
        found = []
        stream = on_ray(TREES["stochastic"](), 2, timeout=None).iterate(N)
        get, n_left = ray.get, [5]

        def interrupted(ref):
            n_left[0] -= 1
            if not n_left[0]:
                signal.raise_signal(signal.SIGINT)
            return get(ref)

        ray.get = interrupted
        with contextlib.suppress(KeyboardInterrupt), stream:
            for item in stream:
                found.append(plain(item))
        assert n_left[0] <= 0
        with on_ray(TREES["stochastic"](), 2).resume(stream.state_dict()) as rest:
            assert found + list(map(plain, rest)) == expected


def test_what_is_lost_as_it_starts_is_no_fault_of_a_source(monkeypatch):
    def die(self, *_):
        ray.handles[-1].die()

    with ray_in(monkeypatch) as ray:
        monkeypatch.setattr("pescador._openers.host.Host.start", die)
        with pytest.raises(WorkerError, match="runtime_env"):
            take(on_ray(TREES["stochastic"](), 1))
    assert len(ray.handles) == 4


def test_orders_that_fail_are_told():
    host = Host(1000, 1)
    host.hear(0, b"no pickle")
    with pytest.raises(pickle.UnpicklingError):
        host.pull(1, pickle.dumps([]), 0)


def test_ray_that_was_shut_down(monkeypatch):
    with ray_in(monkeypatch) as ray, on_ray(TREES["stochastic"]()).iterate() as stream:
        next(stream)
        ray.is_up = False
        with pytest.raises(WorkerError, match="shut down"):
            list(itertools.islice(stream, 1000))
        for each in ray.handles:  # they went with it
            each.die()
