"""``on_error="retry"``: a source that fails is opened again at the item at which it failed."""

import itertools
import logging
import signal
import threading

import pytest
from _parallel_sources import Broken, failing, flaky, items, lines
from _sources import TIMEOUT

from pescador import (
    ChainMux,
    ParallelStreamer,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
)
from pescador._streaming import retrying

N_ITEMS = 7


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Take the pauses without waiting, and note them."""
    taken = []
    monkeypatch.setattr(retrying, "sleep", taken.append)
    return taken


MUXES = {
    "shuffled": lambda streamers, **how: ShuffledMux(streamers, random_state=1, **how),
    "stochastic": lambda streamers, **how: StochasticMux(streamers, 2, 5, random_state=1, **how),
    "round robin": lambda streamers, **how: RoundRobinMux(streamers, **how),
    "chain": lambda streamers, **how: ChainMux(streamers, **how),
}


def plain(stream, n_items=60):
    return [item["x"].tolist() for item in itertools.islice(stream, n_items)]


def sources(function, *args):
    return [Streamer(function, who, N_ITEMS, *args) for who in range(3)]


@pytest.mark.parametrize("make", MUXES.values(), ids=MUXES)
def test_each_item_comes_once_and_in_order(make, tmp_path, pauses, caplog):
    caplog.set_level(logging.WARNING, "pescador")
    expected = plain(make(sources(items)))
    path = tmp_path / "failed"
    mux = make(sources(flaky, path, 2), on_error="retry")
    stream = mux.iterate()
    assert plain(stream) == expected
    assert stream.failures == ()
    assert len(lines(path)) == len(pauses) == len(caplog.records)
    assert set(pauses) == {0.1, 0.2}
    assert "timed out; it is opened again in 0.1 s" in caplog.text


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_workers_open_it_again_too(backend, tmp_path):
    make = MUXES["stochastic"]
    expected = plain(make(sources(items)))
    mux = make(sources(flaky, tmp_path / "failed", 2), on_error="retry")
    assert plain(ParallelStreamer(mux, 2, backend=backend)) == expected
    assert lines(tmp_path / "failed")


def test_at_last_it_is_as_with_replace(pauses):
    mux = RoundRobinMux([Streamer(failing, 1, 2), Streamer(items, 2, 4)], on_error="retry")
    stream = mux.iterate()
    assert plain(stream) == [[1, 0], [2, 0], [1, 1], [2, 1], [2, 2], [2, 3]]
    assert [(each.path, each.count, each.is_dropped) for each in stream.failures] == [
        ((0,), 1, True)
    ]
    assert pauses == [0.1, 0.2]


def test_pauses_become_longer_and_stay_at_half_a_minute(pauses):
    mux = RoundRobinMux([Streamer(failing, 1, 0)], on_error="retry", max_failures=12)
    with pytest.raises(Broken):
        list(mux)
    assert pauses == pytest.approx([0.1 * 2**n for n in range(9)] + [30, 30])


def test_an_item_in_between_begins_the_count_anew(tmp_path, pauses):
    """Twice at each of several items is never three times at one."""
    mux = RoundRobinMux(
        [Streamer(flaky, 1, 30, tmp_path / "failed", 2)], on_error="retry", max_failures=3
    )
    assert len(plain(mux)) == 30
    assert pauses == [0.1, 0.2] * 10


def test_an_opening_that_fails_is_tried_again(pauses):
    tries = itertools.count(1)

    def opens_at_last():
        if next(tries) < 3:
            raise OSError("not there yet")
        return iter([1, 2])

    class Opened:
        def __iter__(self):
            return opens_at_last()

    mux = ChainMux([Streamer(Opened())], on_error="retry")
    assert list(mux) == [1, 2]
    assert pauses == [0.1, 0.2]


@pytest.mark.parametrize("n_items", range(0, 15, 2))
def test_resuming(n_items, tmp_path):
    def make(name):
        return MUXES["stochastic"](sources(flaky, tmp_path / name, 1), on_error="retry")

    with make("a").iterate() as stream:
        expected = plain(stream, 30)
    with make("b").iterate() as stream:
        start = plain(stream, n_items)
        state = stream.state_dict()
    with make("c").resume(state) as stream:
        assert start + plain(stream, 30 - n_items) == expected


def test_a_muxes_own_failure_is_retried_where_it_stood(tmp_path):
    """The source that is opened again may be a mux."""
    inner = RoundRobinMux(sources(flaky, tmp_path / "failed", 1))
    expected = plain(ChainMux([RoundRobinMux(sources(items))]))
    assert plain(ChainMux([inner], on_error="retry", max_failures=5)) == expected


def test_an_interrupt_ends_the_pause(monkeypatch):
    """Ctrl-C while nothing happens."""
    monkeypatch.undo()
    monkeypatch.setattr(retrying, "_FIRST_PAUSE", TIMEOUT)
    monkeypatch.setattr(retrying, "_LONGEST_PAUSE", TIMEOUT)
    is_over = threading.Event()

    def interrupt():
        while not is_over.wait(0.05):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    mux = RoundRobinMux([Streamer(failing, 1, 2)], on_error="retry")
    stream = mux.iterate()
    assert plain(stream, 2) == [[1, 0], [1, 1]]
    thread = threading.Thread(target=interrupt)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            try:
                thread.start()
                next(stream)
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
    finally:
        is_over.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert stream.state_dict()["n_given"] == 2
