"""What a Monitor tells: exact counts, wherever items are made; shares, waits, failures."""

import gc
import json
import logging
import math
import pickle
import random
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from _cases import matrix
from _monitored import counted, outcome_of, take
from _trees import tree

import pescador
from pescador import (
    ChainMux,
    Monitor,
    ParallelStreamer,
    PescadorError,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    ZMQStreamer,
    buffer_stream,
)
from pescador._streaming.waits import Stretches
from pescador.monitor import Report

FAR = 5.5  # standard deviations: once in a million, two-sided, with room for what is not normal


def values(who, n_items=10**9):
    """Yield dicts that say whose they are."""
    for _ in range(n_items):
        yield {"who": np.array(who)}


def bad(who):
    """Yield some, and fail, if the number is odd."""
    yield from values(who, 4)
    if who % 2:
        raise ValueError(f"no more of {who}")


def inner_muxes(**options):
    return [
        StochasticMux(
            [Streamer(values, 10 * j + i, 5 + i) for i in range(4)],
            2,
            6,
            weighting="share",
            weights=[1, 2, 3, 4],
            **options,
        )
        for j in range(3)
    ]


def curriculum(n_items):
    return [1, 1, 1, 1 + n_items // 1000]


TREES = {
    "share": lambda: StochasticMux(
        [Streamer(values, i) for i in range(20)],
        5,
        8,
        random_state=1,
        weighting="share",
        weights=[1] * 10 + [2] * 10,
    ),
    "active": lambda: StochasticMux(
        [Streamer(values, i, 3 * i) for i in range(8)], 3, 8, random_state=1
    ),
    "nested": lambda: StochasticMux(
        inner_muxes(), 2, 12, random_state=3, weighting="share", weights=[1, 1, 2]
    ),
    "batches": lambda: Streamer(
        buffer_stream, StochasticMux(inner_muxes(), 2, 12, random_state=3), 7
    ),
    "passed on": lambda: Streamer(
        StochasticMux([Streamer(values, i) for i in range(8)], 3, 8, random_state=1)
    ),
    "shuffled": lambda: ShuffledMux(
        [Streamer(values, i, 7 * i) for i in range(8)], np.arange(1, 9) / 36, random_state=2
    ),
    "turns": lambda: RoundRobinMux([Streamer(values, i, 7 * i) for i in range(3)], "cycle", 4),
    "chain": lambda: ChainMux([Streamer(values, i, 7 * i) for i in range(8)], "cycle", 5),
    "curriculum": lambda: StochasticMux(
        [Streamer(values, i) for i in range(4)],
        2,
        8,
        random_state=1,
        weighting="share",
        weights=curriculum,
    ),
    "failing": lambda: StochasticMux(
        [
            StochasticMux(
                [Streamer(bad, 10 * j + i) for i in range(4)],
                2,
                6,
                on_error="replace",
                max_failures=2,
            )
            for j in range(2)
        ],
        2,
        12,
        random_state=3,
    ),
}
WAYS = {
    "process": lambda streamer: ZMQStreamer(streamer, start_method="fork"),
    "process in a process": lambda streamer: ZMQStreamer(
        ZMQStreamer(streamer, start_method="fork"), start_method="fork"
    ),
    "threads": lambda streamer: ParallelStreamer(streamer, 3, backend="threads"),
    "processes": lambda streamer: ParallelStreamer(streamer, 2, start_method="fork"),
    "threads in a process": lambda streamer: ZMQStreamer(
        ParallelStreamer(streamer, 2, backend="threads"), start_method="fork"
    ),
}


@matrix(name=TREES.keys(), way=WAYS.keys(), cover=1)
def test_counts_are_the_same_wherever_items_are_made(name, way, caplog):
    caplog.set_level(logging.CRITICAL)
    for n_items in (1, 10, 537):
        monitors = [Monitor(s.iterate()) for s in (TREES[name](), WAYS[way](TREES[name]()))]
        for each in monitors:
            take(each, n_items)
        here, elsewhere = map(counted, monitors)
        for each in monitors:
            each.close()
        assert elsewhere == here
        assert [counted(each) for each in monitors] == [here, here]  # closing adds nothing


@matrix(name=TREES.keys(), way=("resumed", *WAYS), cover=1)
def test_counts_begin_with_the_monitor(name, way, caplog):
    """The same in mid-run, resumed, and started again in another process."""
    caplog.set_level(logging.CRITICAL)
    for n_before, n_items in ((1, 10), (537, 300)):
        stream = TREES[name]().iterate()
        take(stream, n_before)
        state = json.loads(json.dumps(stream.state_dict()))
        monitor = Monitor(stream)
        take(monitor, n_items)
        if way == "resumed":
            other = TREES[name]().resume(state)
        else:
            other = WAYS[way](TREES[name]()).iterate()
            take(other, n_before)
        found = Monitor(other)
        take(found, n_items)
        assert counted(found) == counted(monitor)
        found.close(), monitor.close()


@pytest.mark.parametrize("number", range(12))
def test_counts_of_random_trees(number, caplog):
    check_random_trees(range(10 * number, 10 * number + 10), caplog)


@pytest.mark.parametrize("number", range(8))
def test_counts_that_are_added_up_all_the_time(number, caplog, monkeypatch):
    from pescador._streaming import meter

    monkeypatch.setattr(meter, "LEAST_KEPT", 1)
    monkeypatch.setattr(meter, "MOST_KEPT", 1 + number % 3)
    check_random_trees(range(1000 + 15 * number, 1015 + 15 * number), caplog)


@pytest.mark.parametrize(("n_places", "n_runs"), [(2, 2**35), (2**27, 3)])
def test_counts_where_not_every_opening_fits_into_a_number(n_places, n_runs, monkeypatch, caplog):
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr("pescador._streaming.recorder._N_PLACES", n_places)
    monkeypatch.setattr("pescador._streaming.recorder._N_RUNS", n_runs)
    for name in TREES:
        here, elsewhere = (
            Monitor(TREES[name]().iterate()),
            Monitor(WAYS["process"](TREES[name]()).iterate()),
        )
        take(here, 400), take(elsewhere, 400)
        assert counted(elsewhere) == counted(here), name
        here.close(), elsewhere.close()


def test_streams_are_counted_once_whenever_weights_change(monkeypatch):
    from pescador._streaming import meter

    monkeypatch.setattr(meter, "MOST_KEPT", 1)
    monkeypatch.setattr(meter, "LEAST_KEPT", 1)
    mux = ShuffledMux([Streamer(values, i) for i in range(3)], lambda n: [1, 1 + n // 1000, 2])
    with Monitor(mux.iterate(5000)) as monitor:
        for _ in range(5):
            take(monitor, 1000)
            assert sum(row.n_items for row in monitor.report().sources) == monitor.stream.n_given


def check_random_trees(numbers, caplog):
    caplog.set_level(logging.CRITICAL)
    for number in numbers:
        rng = random.Random(number)
        n_before, n_items = rng.choice([0, 0, 3, 17]), rng.choice([1, 5, 20, 60])
        ways = [lambda streamer: streamer, WAYS["threads"]]
        if number % 5 == 0:
            ways.append(WAYS["process"])
        found = [outcome_of(way(tree(number)), n_before, n_items) for way in ways]
        assert all(each == found[0] for each in found), number


def test_a_monitor_changes_nothing():
    for name, make in TREES.items():
        plain, stream = (make().iterate(200) for _ in range(2))
        monitor = Monitor(stream)
        for _ in range(100):
            assert str(next(monitor)) == str(next(plain)), name
        assert stream.state_dict() == plain.state_dict()
        assert [str(item) for item in monitor] == [str(item) for item in plain]
        assert monitor.report().n_items == 200


def test_several_loops_read_one_stream():
    monitor = Monitor(Streamer(range, 10_000).iterate())
    read = []
    for n_items in (1, 10, 500, 3):
        for item in monitor:
            read.append(item)
            if len(read) >= n_items:
                break
    read += monitor
    assert read == list(range(10_000))
    assert monitor.report().n_items == 10_000


def lone(stream):
    """Pass a stream on, in a way that nobody can look into."""
    yield from stream


def test_a_function_that_reads_streams_in_its_own_way():
    """What it reads is counted too, from the monitor on."""
    streamer = Streamer(lone, TREES["share"]())
    stream = streamer.iterate()
    take(stream, 100)
    monitor, whole = Monitor(stream), Monitor(streamer.iterate())
    take(whole, 100)
    before = whole.report()
    take(monitor, 50)
    take(whole, 50)
    after = whole.report()
    n_items = {row.path: row.n_items for row in after.sources}
    for row in before.sources:
        n_items[row.path] -= row.n_items
    found = {row.path: row.n_items for row in monitor.report().sources}
    assert found == {path: n for path, n in n_items.items() if n or path in found}
    assert sum(found.values()) == 50
    assert monitor.report().n_opened == after.n_opened - before.n_opened


def test_nothing_grows_while_nobody_asks():
    """What has been handed out is added up, also where muxes are opened again and again."""
    inner = [ShuffledMux([Streamer(values, i) for i in range(3)]) for _ in range(4)]
    mux = StochasticMux(inner, 2, 5)
    for streamer in (mux, WAYS["process"](mux)):
        with Monitor(streamer.iterate()) as monitor:
            sizes = []
            for _ in range(2):
                take(monitor, 30_000)
                sizes.append(size_of(monitor))
        assert sizes[1] < 1.5 * sizes[0]


def size_of(monitor):
    """Return how much a monitor has kept."""
    found = monitor._meter
    kept = sum(len(mux.kept) + len(mux.ended) + len(mux.periods) for mux in found.muxes.values())
    told = sum(len(part._told) + len(part._notes) + len(part._runs) for part in found.parts)
    return 20_000 + kept + told


def test_inner_workers_are_let_go():
    inner = [
        ParallelStreamer(ShuffledMux([Streamer(values, i)] * 2), 1, backend="threads")
        for i in range(2)
    ]
    with Monitor(StochasticMux(inner, 1, 3).iterate(60)) as monitor:
        list(monitor)
        assert len(monitor._meter.parts) <= 1


def test_what_was_opened_before_and_not_read_is_one_run():
    """Else it would seem that the mux was started twice, and no shares are promised then."""
    inner = StochasticMux([Streamer(range, 1000)] * 2, 2, None, random_state=0)
    stream = StochasticMux([inner], 2, 100, random_state=0).iterate()
    next(stream)
    with Monitor(stream) as monitor:
        assert monitor._meter.muxes[0,].n_runs == 1


def test_an_item_that_cannot_be_sent_is_not_counted():
    def odd():
        yield from values(0, 3)
        yield {"who": object()}

    mux = ChainMux([Streamer(odd)])
    monitor = Monitor(WAYS["process"](mux).iterate())
    with pytest.raises(pescador.DataError):
        list(monitor)
    report = monitor.report()
    assert (report.n_items, report.n_given) == (3, 3)
    monitor = Monitor(WAYS["process"](Streamer(mux)).iterate())
    with pytest.raises(pescador.DataError):
        list(monitor)
    assert monitor.report().n_items == 3


def test_an_inner_mux_is_no_source_before_it_is_read():
    monitor = Monitor(StochasticMux(inner_muxes(), 3, 12, random_state=0).iterate())
    next(monitor)
    assert all(len(row.path) == 2 for row in monitor.report().sources)
    other = Monitor(WAYS["process"](StochasticMux(inner_muxes(), 3, 12, random_state=0)).iterate())
    next(other)
    assert [r.path for r in other.report().sources] == [r.path for r in monitor.report().sources]
    other.close()


def test_another_thread_may_ask_for_reports(monkeypatch):
    """Also while sources are opened for the first time, and timed."""
    monkeypatch.setattr(Stretches, "weight", lambda *_: 1.0)  # all are timed
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    monitor = Monitor(StochasticMux([[0]] * 8000, 1, None, mode="exhaustive").iterate())
    caught, is_over = [], threading.Event()

    def ask():
        try:
            while not is_over.is_set():
                monitor.report()
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        n_items = sum(1 for _ in monitor)
    finally:
        is_over.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert not caught
    rows = monitor.report().sources
    assert n_items == sum(row.n_items for row in rows) == sum(row.n_opened for row in rows) == 8000


def test_threads_may_ask_for_the_next_item():
    monitor, read = Monitor(Streamer(range, 20_000).iterate()), []

    def work():
        for item in iter(lambda: next(monitor, None), None):
            read.append(item)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert sorted(read) == list(range(20_000))
    assert monitor.report().n_items == 20_000


def test_what_is_read_lazily_is_let_go():
    data = [weakref.ref(each) for each in ()]

    class Data:
        """Something large."""

    def members():
        for _ in range(5):
            held = Data()
            data.append(weakref.ref(held))
            yield RoundRobinMux([Streamer(of, held) for _ in range(2)])

    def of(held):
        yield from range(3)

    monitor = Monitor(ChainMux(Streamer(members)).iterate())
    list(monitor)
    gc.collect()
    assert sum(each() is not None for each in data) <= 1
    rows = monitor.report().sources
    assert len(rows) == 10 and all(row.streamer.startswith("Streamer(of") for row in rows)


def test_a_source_that_cannot_be_opened_has_a_row():
    class Broken:
        def __iter__(self):
            raise OSError("no such file")

    mux = ShuffledMux([Streamer(values, 0), Streamer(Broken())], on_error="replace", max_failures=1)
    monitor = Monitor(mux.iterate(10))
    list(monitor)
    rows = {row.path: row for row in monitor.report().sources}
    assert (rows[1,].n_failures, rows[1,].is_dropped, rows[1,].n_items) == (1, True, 0)


# Shares.


def far_from(monitor, n_items, expected=None):
    """Return the z of all sources; ``expected`` are the shares that they should have."""
    take(monitor, n_items)
    rows = monitor.report().sources
    if expected is not None:
        assert [row.expected for row in rows] == pytest.approx(list(expected))
    return [row.z for row in rows]


WEIGHTS = np.array([0.1, 0.2, 0.3, 0.4])


def sources(n=4):
    return [Streamer(values, i) for i in range(n)]


def promising(name, seed):
    """Return a mux that promises shares, and these."""
    own = {"random_state": seed}
    return {
        "share": lambda: (
            StochasticMux(sources(), 3, 8, WEIGHTS, weighting="share", **own),
            WEIGHTS,
        ),
        "share, constant": lambda: (
            StochasticMux(sources(), 2, 5, WEIGHTS, weighting="share", dist="constant", **own),
            WEIGHTS,
        ),
        "share, binomial": lambda: (
            StochasticMux(sources(), 2, 5, WEIGHTS, weighting="share", dist="binomial", **own),
            WEIGHTS,
        ),
        "share, of short ones": lambda: (
            StochasticMux(
                [Streamer(values, i, 3 + i) for i in range(4)],
                2,
                8,
                WEIGHTS,
                weighting="share",
                **own,
            ),
            WEIGHTS,
        ),
        "active, equal": lambda: (StochasticMux(sources(), 3, 8, **own), [0.25] * 4),
        "active, all open": lambda: (
            StochasticMux(
                sources(), 4, 8, WEIGHTS, mode="single_active", weighting="active", **own
            ),
            WEIGHTS,
        ),
        "no rate": lambda: (
            StochasticMux(sources(), 4, None, WEIGHTS, mode="single_active", **own),
            WEIGHTS,
        ),
        "no rate, some of them twice": lambda: (
            StochasticMux(sources(2), 3, None, [0.25, 0.75], weighting="active", **own),
            None,
        ),
        "shuffled": lambda: (ShuffledMux(sources(), WEIGHTS, **own), WEIGHTS),
        "nested": lambda: (
            StochasticMux(
                [ShuffledMux(sources(), WEIGHTS), StochasticMux(sources(), 2, 4)],
                2,
                16,
                [0.25, 0.75],
                weighting="share",
                **own,
            ),
            [*(0.25 * WEIGHTS), *[0.75 / 4] * 4],
        ),
        "in turn": lambda: (
            RoundRobinMux([ShuffledMux(sources(), WEIGHTS)] * 2, **own),
            [*(0.5 * WEIGHTS)] * 2,
        ),
    }[name]()


PROMISING = (
    "share",
    "share, constant",
    "share, binomial",
    "share, of short ones",
    "active, equal",
    "active, all open",
    "no rate",
    "no rate, some of them twice",
    "shuffled",
    "nested",
    "in turn",
)


@pytest.mark.parametrize("name", PROMISING)
def test_shares_are_as_promised(name):
    """False alarms: |z| > 5.5 once in a million; and the spread is neither too wide nor narrow.

    The mean square of z is that of the last sources of 60 runs, each chi-square of one degree:
    below 0.4 or above 2.2 less than once in a million.
    """
    squares = []
    for seed in range(60):
        mux, expected = promising(name, seed)
        found = far_from(Monitor(mux.iterate()), 6000, expected)
        found = [z for z in found if z is not None]  # (one may be all that is open)
        assert all(abs(z) < FAR for z in found)
        squares += [z**2 for z in found[-1:]]
    assert 0.4 < np.mean(squares) < 2.2


@pytest.mark.parametrize("name", ["shuffled", "share"])
def test_a_wrong_mux_is_seen(name, monkeypatch):
    from pescador._mixing.slots import EqualSlots, WeightedSlots

    kind = WeightedSlots if name == "shuffled" else EqualSlots
    draw = kind._draw
    monkeypatch.setattr(kind, "_draw", lambda *args: _rather_the_first(draw(*args)))
    if name == "share":
        from pescador._mixing.choosers import Shares

        choose = Shares.choose
        monkeypatch.setattr(Shares, "choose", lambda self, u: choose(self, u * 0.95))
    mux, _ = promising(name, 5)
    assert max(map(abs, far_from(Monitor(mux.iterate()), 60_000))) > FAR


def _rather_the_first(draws):
    draws = np.array(draws)
    draws[::20] = 0
    return draws


def test_a_curriculum_promises_the_mean_of_its_weights():
    mux = ShuffledMux(sources(), lambda n: WEIGHTS if n < 2000 else WEIGHTS[::-1], random_state=1)
    found = far_from(Monitor(mux.iterate()), 8000, 0.25 * WEIGHTS + 0.75 * WEIGHTS[::-1])
    assert max(map(abs, found)) < FAR


def test_shares_of_those_that_are_left():
    """One that gives nothing is left out, and the others share what it would have had."""
    streamers = [Streamer(values, 0, 0), *sources()[1:]]
    mux = ShuffledMux(streamers, WEIGHTS, random_state=1)
    monitor = Monitor(mux.iterate())
    take(monitor, 20_000)
    rows = {row.path: row for row in monitor.report().sources}
    assert (rows[0,].is_dropped, rows[0,].n_empty, rows[0,].n_items) == (True, 1, 0)
    for place in (1, 2, 3):
        assert rows[place,].expected == pytest.approx(WEIGHTS[place] / 0.9, abs=1e-3)
        assert abs(rows[place,].z) < FAR


NOT_PROMISING = {
    "a source that fails": lambda: StochasticMux(
        [Streamer(bad, i) for i in range(4)], 2, 3, on_error="replace", max_failures=1000
    ),
    "turns of one that fails": lambda: RoundRobinMux(
        [Streamer(bad, i) for i in range(1, 3)], "cycle", on_error="replace"
    ),
    "files of different lengths": lambda: StochasticMux(
        [Streamer(values, i, 2 + i) for i in range(4)], 2, None, mode="exhaustive"
    ),
    "short streams": lambda: StochasticMux([Streamer(values, i, 3 + i) for i in range(4)], 2, 8),
    "a chain": lambda: ChainMux(sources()),
    "turns of streams that end": lambda: RoundRobinMux(
        [Streamer(values, i, 1 + i) for i in range(4)], "cycle"
    ),
}


@pytest.mark.parametrize("name", NOT_PROMISING)
def test_where_nothing_is_promised(name):
    monitor = Monitor(NOT_PROMISING[name]().cycle())
    take(monitor, 300)
    rows = monitor.report().sources
    assert rows and all(row.expected is None and row.z is None for row in rows)
    assert sum(row.share for row in rows) == pytest.approx(1)


# Times.


def waits(who, seconds):
    """Yield after a pause, again and again."""
    while True:
        time.sleep(seconds)
        yield {"who": np.array(who)}


@pytest.mark.parametrize("way", ["here", "process", "threads"])
def test_waits_are_those_of_the_clock(way):
    slow, quick = 4e-3, 2e-4
    mux = StochasticMux(
        [Streamer(waits, i, slow if i == 2 else quick) for i in range(4)], 2, 16, random_state=2
    )
    streamer = mux if way == "here" else WAYS[way](mux)
    monitor, waited = Monitor(streamer.iterate(300)), 0.0
    while True:
        begin = time.perf_counter()
        item = next(monitor, None)
        waited += time.perf_counter() - begin  # (the end, which closes the process, too)
        if item is None:
            break
    report = monitor.report()
    assert report.waited == pytest.approx(waited, rel=0.1, abs=0.01)
    assert report.waited <= report.seconds
    if way == "process":
        assert all(row.waited is None for row in report.sources)
        return
    of_each = {row.path: row.waited for row in report.sources}
    assert of_each[2,] == max(of_each.values())
    # (On a busy machine the library itself takes part of the time.)
    assert 0.5 * waited < sum(of_each.values()) < 1.2 * waited + 0.05


def test_a_loop_that_is_slow_itself_waits_little():
    """Once in three times, at least: other programs may keep the worker from its core."""
    assert min(fraction_waited_by_a_slow_loop() for _ in range(3)) < 0.5


def fraction_waited_by_a_slow_loop():
    monitor = Monitor(ParallelStreamer(TREES["share"](), 1, backend="threads").iterate(200))
    end = time.perf_counter()
    for _ in monitor:
        end += 1e-3
        while time.perf_counter() < end:
            pass
    report = monitor.report()
    return report.waited / report.seconds


def test_opening_is_timed():
    def opened_slowly(who):
        time.sleep(5e-3)
        while True:
            yield who

    mux = StochasticMux([Streamer(opened_slowly, i) for i in range(4)], 2, 8, random_state=0)
    monitor = Monitor(mux.iterate(200))
    list(monitor)
    report = monitor.report()
    assert 5e-3 * (report.n_opened - 2) <= report.opening <= report.waited


def test_a_loop_waits_at_least_as_long_as_its_sources_take():
    """One that reads many items at a time is too quick in between for each to be timed."""

    def chunks(who):
        while True:
            time.sleep(0.15)
            yield from [who] * 600

    monitor = Monitor(ShuffledMux([Streamer(chunks, who) for who in "ab"]).iterate(3500))
    list(monitor)
    report = monitor.report()
    waited = sum(row.waited for row in report.sources)
    assert 6 * 0.15 <= waited <= 1.001 * report.waited <= 1.001 * report.seconds


def test_bytes_ahead():
    streamer = ZMQStreamer(Streamer(large), start_method="fork")
    with Monitor(streamer.iterate()) as monitor:
        next(monitor)
        assert monitor.report().bytes_ahead >= 0
    assert monitor.report().bytes_ahead == 0


def large():
    while True:
        yield {"x": np.zeros(1000)}


# What is shown.


def many(n):
    return [Streamer(values, i) for i in range(n)]


def test_the_table_shows_what_matters():
    streamers = [Streamer(bad, i) if i == 77 else Streamer(values, i) for i in range(200)]
    mux = StochasticMux(streamers, 150, 4, random_state=0, on_error="replace", max_failures=1)
    monitor = Monitor(mux.iterate(5000))
    list(monitor)
    report = monitor.report()
    text = str(report)
    assert "5,000 items" in text and "... and 180 more" in text
    assert "200 sources; opened" in text and "; 1 failure\n" in text
    table = text.splitlines()[3:]
    assert table[1].split()[0] == "77" and "left out" in table[1] and "1 failed" in table[1]
    assert len(table) == 22
    html = report._repr_html_()
    assert html.count("<tr>") == 21 and "Streamer(bad, 77)" in html
    assert repr(report) == "<Report of 5,000 items from 200 sources>"
    assert report.most_notable()[0].path == (77,)


def test_a_report_of_very_many_sources_is_quick():
    """As quick as thirty copies of a table of as many numbers, and 50 ms here."""
    n = 100_000
    mux = StochasticMux(many(n), 64, 1, mode="exhaustive")
    monitor = Monitor(mux.iterate(n))
    for _ in monitor:
        pass
    table = dict.fromkeys(range(n), 1)
    seconds = {"copy": math.inf, "report": math.inf}
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(30):
            table.copy()
        middle = time.perf_counter()
        report = monitor.report()
        seconds["copy"] = min(seconds["copy"], middle - begin)
        seconds["report"] = min(seconds["report"], time.perf_counter() - middle)
    assert seconds["report"] < seconds["copy"] + 0.05
    assert report.n_sources == n and report.n_items == n


def test_a_report_is_json():
    monitor = Monitor(TREES["nested"]().iterate(300))
    list(monitor)
    report = monitor.report()
    told = json.loads(json.dumps(report.to_dict()))
    assert told["n_items"] == 300
    assert told["sources"][0]["path"] == list(report.sources[0].path)
    assert {each["streamer"] for each in told["sources"]} == {r.streamer for r in report.sources}


def test_a_report_does_not_change():
    monitor = Monitor(TREES["share"]().iterate())
    take(monitor, 100)
    report = monitor.report()
    before = report.sources
    take(monitor, 100)
    assert report.sources == before and report.n_items == 100
    assert monitor.report().n_items == 200


def test_what_was_not_opened_yet():
    monitor = Monitor(StochasticMux(many(50), 5, 10, random_state=0).iterate(100))
    list(monitor)
    report = monitor.report()
    assert report.n_sources + report.n_unopened == 50
    assert f"{report.n_sources} sources, {report.n_unopened} not opened yet" in str(report)
    assert Monitor(ChainMux(iter([])).iterate()).report().n_unopened == 0
    lazy = Monitor(ChainMux(Streamer(given_lazily)).iterate(10))
    list(lazy)
    assert lazy.report().n_unopened is None


def given_lazily():
    while True:
        yield Streamer(values, 0, 3)


def test_a_report_can_be_sent_to_another_process():
    here = iter([1])  # which nobody can pickle
    mux = ShuffledMux([Streamer(range, 5), Streamer([here])], random_state=0)
    monitor = Monitor(mux.iterate(20))
    list(monitor)
    report = monitor.report()
    copy = pickle.loads(pickle.dumps(report))
    assert copy.sources == report.sources
    assert Report.merge([copy, report]).n_items == 40


def test_a_slow_source_is_found_among_quick_ones():
    """Also where its opening is what takes long, and a map is above."""

    def opened(seconds):
        time.sleep(seconds)
        yield from values(0)

    streamers = [Streamer(opened, 0.02 if i == 3 else 0) for i in range(20)]
    mux = StochasticMux(streamers, 8, 16, random_state=1, mode="single_active")
    monitor = Monitor(Streamer(buffer_stream, mux, 16).iterate(100))
    list(monitor)
    rows = {row.path: row for row in monitor.report().sources}
    assert rows[3,].waited == pytest.approx(0.02 * rows[3,].n_opened, rel=0.3)
    assert rows[3,].waited > 3 * max(row.waited for path, row in rows.items() if path != (3,))


def test_reports_are_merged():
    reports = []
    for seed in range(3):
        mux, _ = promising("nested", seed)
        monitor = Monitor(mux.iterate(3000))
        list(monitor)
        reports.append(monitor.report())
    merged = Report.merge(reports)
    assert merged.n_items == 9000
    for rows in zip(merged.sources, *(each.sources for each in reports)):
        assert rows[0].n_items == sum(row.n_items for row in rows[1:])
        assert rows[0].expected == pytest.approx(rows[1].expected)
        assert abs(rows[0].z) < FAR
    assert Report.merge(reports[:1]).sources == reports[0].sources
    with pytest.raises(PescadorError, match="one or more reports"):
        Report.merge([])


PICTURE = """
import io, sys
import matplotlib
matplotlib.use("Agg")
from pescador import Monitor, ShuffledMux, Streamer
n = int(sys.argv[1])
monitor = Monitor(ShuffledMux([Streamer(range, 1000)] * n, random_state=0).iterate(10 * n))
list(monitor)
axes = monitor.report().plot()
axes.figure.savefig(io.BytesIO())
realised = next(line for line in axes.lines if line.get_label() == "real")
assert len(realised.get_xdata()) == n
assert monitor.report().plot(axes) is axes
"""


@pytest.mark.parametrize("n", [5, 50, 5000])
def test_a_picture(n):
    pytest.importorskip("matplotlib")
    subprocess.run([sys.executable, "-W", "error", "-c", PICTURE, str(n)], check=True, timeout=60)


def test_a_picture_of_nothing():
    with pytest.raises(PescadorError, match="nothing to draw"):
        Monitor(ShuffledMux(many(2)).iterate()).report().plot()


def test_a_progress_bar(capfd):
    pytest.importorskip("tqdm")
    streamer = ShuffledMux([Streamer(range, 10**6)] * 3, random_state=0)
    stream = streamer.iterate(2000)
    take(stream, 500)
    resumed = streamer.resume(stream.state_dict())
    assert len(list(Monitor(resumed, progress=True))) == 1500
    shown = capfd.readouterr().err
    assert "2000/2000" in shown and "items/s" in shown and "waited" in shown
    assert len(list(Monitor(streamer.iterate(5), progress=True, total=7))) == 5
    assert "5/7" in capfd.readouterr().err
    with Monitor(streamer.iterate(), progress=True) as monitor:
        take(monitor, 3)
    assert "3 items" in capfd.readouterr().err.replace("3it", "3 items")


# Wrong use.


def test_what_is_no_stream():
    mux = TREES["share"]()
    with pytest.raises(PescadorError, match=r"is a streamer, not a stream.*iterate\(\)"):
        Monitor(mux)
    with pytest.raises(PescadorError, match=r"a map over a stream.*Streamer\(buffer_stream"):
        Monitor(buffer_stream(mux.iterate(), 3))
    with pytest.raises(PescadorError, match="is not a stream"):
        Monitor([1, 2])
    with pytest.raises(PescadorError, match="total"):
        Monitor(mux.iterate(), total=-1)
    with pytest.raises(PescadorError, match="progress"):
        Monitor(mux.iterate(), progress="yes")
    with pytest.raises(PescadorError, match="depth"):
        Monitor(mux.iterate()).report().at(0)


@pytest.mark.parametrize("n_items", [0, 1])
def test_a_stream_has_one_monitor(n_items):
    stream = TREES["share"]().iterate()
    take(stream, n_items)
    Monitor(stream)
    with pytest.raises(PescadorError, match="has a Monitor already"):
        Monitor(stream)


def test_a_stream_that_cannot_be_started_again():
    """Its state is known all the same."""
    openings = []

    def once(stream):
        openings.append(1)
        if len(openings) > 1:
            raise OSError("no second time")
        yield from stream

    stream = Streamer(once, TREES["share"]()).iterate()
    take(stream, 7)
    state = stream.state_dict()
    with pytest.raises(OSError, match="no second time"):
        Monitor(stream)
    assert stream.state_dict() == state
    assert next(stream, None) is None


def test_a_stream_that_is_over():
    stream = TREES["share"]().iterate(3)
    list(stream)
    monitor = Monitor(stream)
    assert list(monitor) == []
    assert monitor.report().n_items == 0 and monitor.report().sources == ()


def test_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(PescadorError, match="pip install tqdm"):
        Monitor(TREES["share"]().iterate(), progress=True)


def test_for_loops_of_a_streamer_may_be_monitored():
    """What ``iter(streamer)`` returns stands for a stream."""
    entry = iter(TREES["share"]())
    monitor = Monitor(entry)
    take(monitor, 5)
    assert monitor.report().n_items == 5
    assert pescador.Monitor is Monitor


def test_an_error_is_counted_as_a_wait():
    def broken():
        time.sleep(0.01)
        raise ValueError("broken")
        yield

    monitor = Monitor(Streamer(broken).iterate())
    with pytest.raises(ValueError, match="broken"):
        next(monitor)
    assert monitor.report().waited >= 0.01
