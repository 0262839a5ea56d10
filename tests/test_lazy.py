"""Millions of streamers, made by a sequence as they are opened."""

import collections
import itertools
import json
import pickle
import tracemalloc

import numpy as np
import pytest
from _cases import matrix

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
    shard,
)

N = 50
MODES = ("with_replacement", "single_active", "exhaustive")
VERY_MANY = 10**7


def rows(number):
    """Yield rows of a file, which know where they are from."""
    for row in range(7):
        yield {"file": number, "row": row}


class Files:
    """A sequence that makes streamers, and knows how many it has made."""

    def __init__(self, n=N, make=rows):
        self._n, self._make = n, make
        self.n_made = 0

    def __len__(self):
        return self._n

    def __getitem__(self, index):
        self.n_made += 1
        if self._make is None:
            return index
        return Streamer(self._make, index)


class Declared(Files, collections.abc.Sequence):
    """The same, which says that it is a sequence."""


def lazily(make=Files, **options):
    return StochasticMux(make(), 8, 4, random_state=0, **options)


def listed(**options):
    return StochasticMux([Streamer(rows, n) for n in range(N)], 8, 4, random_state=0, **options)


WAYS = {
    "here": lambda streamer: streamer,
    "process": lambda streamer: ZMQStreamer(streamer, start_method="fork"),
    "threads": lambda streamer: ParallelStreamer(streamer, 2, backend="threads"),
    "processes": lambda streamer: ParallelStreamer(streamer, 2, start_method="fork"),
    "pickled": lambda streamer: pickle.loads(pickle.dumps(streamer)),
}
OPTIONS = {
    **{mode: {"mode": mode} for mode in MODES},
    "weights": {"weights": np.arange(N) % 3, "weighting": "active"},
    "shares": {"weights": 1 + np.arange(N) % 3, "weighting": "share"},
    "function": {"weights": lambda n_items: 1 + (n_items // 1000 + np.arange(N)) % 3},
}


@matrix(name=OPTIONS.keys(), way=WAYS.keys(), cover=1)
def test_the_items_are_those_of_a_list(name, way):
    options, sort = OPTIONS[name], WAYS[way]
    if way == "pickled" and name == "function":
        pytest.skip("a lambda")
    n_items = 2500 if name == "function" else 300
    for make in (Files, Declared):
        assert list(sort(lazily(make, **options)).iterate(n_items)) == list(
            listed(**options).iterate(n_items)
        )


@pytest.mark.parametrize("name", OPTIONS)
def test_a_state_fits_the_list_and_back(name):
    options = OPTIONS[name]
    wanted = list(listed(**options).iterate(200))
    for before, after in itertools.permutations([lazily(**options), listed(**options)]):
        stream = before.iterate(200)
        begun = list(itertools.islice(stream, 90))
        state = json.loads(json.dumps(stream.state_dict()))
        assert begun + list(after.resume(state)) == wanted


@pytest.mark.parametrize("mode", MODES)
def test_very_many_are_not_made_or_listed(mode):
    """An order in which each comes once takes four bytes of each."""
    files = Files(VERY_MANY)
    tracemalloc.start()
    try:
        mux = StochasticMux(files, 64, 16, mode=mode, random_state=0)
        assert len(list(mux.iterate(1000))) == 1000
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert files.n_made < 1000
    assert most < (45 if mode == "exhaustive" else 2) * 2**20
    assert "10,000,000 streamers" in repr(mux) and mux.n_streams == VERY_MANY


def test_a_chain_of_very_many_is_read_one_by_one():
    files = Files(VERY_MANY)
    stream = ChainMux(files).iterate()
    assert next(stream)["file"] == 0
    assert files.n_made <= 2
    list(itertools.islice(stream, 7 * 1000))
    state = stream.state_dict()
    files.n_made = 0
    assert next(ChainMux(files).resume(state)) == next(stream)
    assert files.n_made <= 5


@pytest.mark.parametrize("make", [ShuffledMux, RoundRobinMux])
def test_muxes_that_open_all_list_them(make):
    mux = make(Files(5), random_state=0)
    assert isinstance(mux.streamers, list)
    assert len({item["file"] for item in mux.iterate(100)}) == 5


@pytest.mark.parametrize("kind", [list, tuple, collections.deque, iter])
def test_other_collections_are_listed(kind):
    mux = StochasticMux(kind([Streamer(rows, n) for n in range(4)]), 2, 4)
    assert isinstance(mux.streamers, list)


def test_a_streamer_that_is_open_stays_the_same():
    mux = lazily(mode="single_active")
    with mux as active:
        stream = active.iterate(100)
        for _ in range(100):
            next(stream)
            held = active._run.streamers
            assert all(held[place] is held[place] for place in active._run.places)
            assert len(held._open) == 8


# Mistakes, and failures.


def test_an_empty_one_is_refused():
    with pytest.raises(PescadorError, match="there is nothing to mix"):
        StochasticMux(Files(0), 1, None)


def test_a_member_that_is_no_streamer_is_told_as_it_is_opened():
    mux = StochasticMux(Files(5, None), 2, 4, random_state=0)
    with pytest.raises(PescadorError, match=r"streamers\[\d\]=\d: is not a streamer"):
        next(mux.iterate())


class Broken(Files):
    """Fails to make every fifth one."""

    def __getitem__(self, index):
        if index % 5 == 0:
            raise OSError(f"no file {index}")
        return super().__getitem__(index)


@pytest.mark.parametrize("mode", MODES)
def test_one_that_cannot_be_made_is_a_source_that_fails(mode):
    mux = StochasticMux(Broken(), 8, 4, mode=mode, random_state=0)
    with pytest.raises(OSError, match="no file"):
        list(mux.iterate(1000))
    mux = StochasticMux(
        Broken(), 8, 4, mode=mode, random_state=0, on_error="replace", max_failures=1
    )
    stream = mux.iterate(1500)
    found = {item["file"] for item in stream}
    assert found == {n for n in range(N) if n % 5}
    assert {each.path[0] for each in stream.failures} == set(range(0, N, 5))
    assert all("no file" in each.error for each in stream.failures)


class Flaky(Files):
    """Cannot make the streamer that is asked for at one moment."""

    def __init__(self, number, n=N, make=rows):
        super().__init__(n, make)
        self._number = number

    def __getitem__(self, index):
        made = super().__getitem__(index)
        if self.n_made == self._number:
            raise OSError("not now")
        return made


def drawing(number, seed):
    rng = np.random.RandomState(seed)
    while True:
        yield {"file": number, "x": rng.rand()}


class Drawing(Flaky):
    def __getitem__(self, index):
        super().__getitem__(index)
        return Streamer(drawing, index, pescador.FRESH_SEED)


class OfMuxes(Flaky):
    def __getitem__(self, index):
        super().__getitem__(index)
        return ShuffledMux([Streamer(drawing, index, pescador.FRESH_SEED) for _ in range(2)])


@pytest.mark.parametrize("make", [Drawing, OfMuxes])
@pytest.mark.parametrize("number", [2, 5, 17])
def test_one_that_cannot_be_made_at_once(make, number):
    """It is a failure, as any other; with "retry" the items are those without it."""

    def mux(number, **options):
        return StochasticMux(make(number), 3, 5, random_state=0, **options)

    with pytest.raises(OSError, match="not now"):
        list(mux(number).iterate(300))
    stream = mux(number, on_error="replace").iterate(300)
    assert len(list(stream)) == 300 and stream.failures[0].count == 1
    wanted = list(mux(0).iterate(300))
    assert list(mux(number, on_error="retry").iterate(300)) == wanted
    stream = mux(number, on_error="retry").iterate(300)
    begun = list(itertools.islice(stream, 150))
    assert begun + list(mux(0).resume(stream.state_dict())) == wanted


# What else reads a tree.


def test_parts_are_read_lazily_too():
    parts = [shard(lazily(mode="exhaustive"), index, 3) for index in range(3)]
    found = [{item["file"] for item in part} for part in parts]
    assert found == [set(range(index, N, 3)) for index in range(3)]
    files = Files(VERY_MANY)
    part = shard(StochasticMux(files, 8, 4, random_state=0), 1, 4)
    assert all(item["file"] % 4 == 1 for item in part.iterate(500))
    assert files.n_made < 500


def test_parts_that_cannot_be():
    with pytest.raises(PescadorError, match="has 2 streamers, too few for 3"):
        shard(StochasticMux(Files(2), 5, 4), 2, 3)
    with pytest.raises(PescadorError, match="so the muxes in them cannot be divided"):
        shard(StochasticMux(OfMuxes(0), 3, 4), 0, 2)


def test_a_chain_reads_what_there_is():
    class Growing(Files):
        def grow(self):
            self._n += 1

    files = Growing(2)
    chain = ChainMux(files)
    assert [item["file"] for item in chain] == [0] * 7 + [1] * 7
    stream = chain.iterate()
    next(stream)
    files.grow()
    assert {item["file"] for item in stream} == {0, 1, 2}


def test_a_list_of_another_kind_is_a_list():
    given = collections.UserList([Streamer(rows, 0)])
    mux = StochasticMux(given, 1, 4)
    given[0] = None
    assert next(mux.iterate())["file"] == 0


def test_nothing_is_held_by_a_stream_that_is_over():
    mux = lazily()
    with mux as active:
        stream = active.iterate(20)
        next(stream)
        held = active._run.streamers
        assert held._open
        stream.close()
        assert not held._open


@pytest.mark.parametrize("sort", [WAYS["here"], WAYS["process"]])
def test_a_report_of_muxes_that_are_made_is_that_of_a_list(sort):
    def inner(number):
        files = [Streamer(rows, 3 * number + n) for n in range(3)]
        return StochasticMux(files, 2, 5)

    class Inner(Files):
        def __getitem__(self, index):
            return inner(index)

    reports = []
    for members in (Inner(4), [inner(n) for n in range(4)]):
        mux = StochasticMux(members, 2, 12, random_state=0)
        monitor = Monitor(sort(mux).iterate(4000))
        list(monitor)
        reports.append([row[:9] for row in monitor.report().sources])
    assert [row[0] for row in reports[0]] == [row[0] for row in reports[1]]
    assert [row[2:9] for row in reports[0]] == [row[2:9] for row in reports[1]]


def test_a_monitor_keeps_no_mux_that_is_over():
    class Inner(Files):
        def __getitem__(self, index):
            return StochasticMux([Streamer(rows, n) for n in range(3)], 2, 5)

    monitor = Monitor(StochasticMux(Inner(100_000), 2, 12, random_state=0).iterate(20_000))
    list(itertools.islice(monitor, 19_000))
    found = monitor._meter
    assert sum(mux._setup is not None for mux in found.muxes.values()) < 10
    assert all(len(mux.periods) <= 1 for mux in found.muxes.values())


def test_a_monitor_knows_them_by_number():
    monitor = Monitor(lazily(mode="single_active").iterate(700))
    items = collections.Counter(item["file"] for item in monitor)
    rows_of = {row.path[-1]: row for row in monitor.report().sources}
    assert {place: row.n_items for place, row in rows_of.items() if row.n_items} == items


def test_a_check_reads_some_of_them():
    files = Files(VERY_MANY)
    findings = pescador.check(StochasticMux(files, 8, 4, random_state=0))
    assert not [each for each in findings if each.severity != "note"]
    assert 0 < files.n_made < 5000
