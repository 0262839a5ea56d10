"""Parts of a tree: what each consumer gets, and that nothing is lost or read twice."""

import itertools
import json
import multiprocessing
from collections import Counter

import numpy as np
import pytest
from _cases import some
from _search import examples
from hypothesis import given
from hypothesis import strategies as st

from pescador import (
    FRESH_SEED,
    ChainMux,
    Monitor,
    ParallelStreamer,
    PescadorError,
    Report,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    ZMQStreamer,
    buffer_stream,
    shard,
)


def rows(source, n_rows):
    """Yield the rows of a source."""
    for row in range(n_rows):
        yield {"source": source, "row": row}


def endless(source):
    """Yield items of a source without end."""
    for row in itertools.count():
        yield {"source": source, "row": row}


def seeded(source, seed):
    """Yield the seed that a source was given."""
    yield {"source": source, "row": seed}


def read(stream):
    """Return items as pairs of numbers."""
    return [(int(item["source"]), int(item["row"])) for item in stream]


def epoch(n_sources=8, n_rows=4, first=0, **more):
    """Return a mux that reads every row once."""
    sources = [Streamer(rows, first + number, n_rows) for number in range(n_sources)]
    return StochasticMux(sources, 3, None, mode="exhaustive", random_state=0, **more)


# A partition.


@st.composite
def trees(draw, count, depth=2):
    """Draw a tree that ends, of which each mux has either muxes or ``count`` sources or more."""
    numbers = draw(st.shared(st.builds(itertools.count), key="numbers"))
    if depth and draw(st.booleans()):
        n_muxes = draw(st.integers(1, 3))
        below = [draw(trees(count, depth - 1)) for _ in range(n_muxes)]
        below = [Streamer(each) if draw(st.booleans()) else each for each in below]
    else:
        sizes = draw(st.lists(st.integers(0, 4), min_size=count, max_size=3 * count))
        below = [Streamer(rows, next(numbers), size) for size in sizes]
    kind = draw(st.sampled_from(["exhaustive", "round robin", "chain", "lazy"]))
    if kind == "exhaustive":
        n_active = draw(st.integers(1, 4))
        return StochasticMux(below, n_active, None, mode="exhaustive", random_state=1)
    if kind == "round robin":
        return RoundRobinMux(below)
    is_lazy = kind == "lazy" and depth == 0
    return ChainMux(Listed(below) if is_lazy else below)


class Listed:
    """Gives streamers one by one."""

    def __init__(self, streamers):
        self.streamers = streamers

    def __iter__(self):
        return iter(self.streamers)


@examples(200)
@given(st.data())
def test_together_the_parts_give_every_item_once(data):
    count = data.draw(st.integers(1, 5))
    tree = data.draw(trees(count))
    parts = [read(shard(tree, index, count)) for index in range(count)]
    assert sorted(itertools.chain(*parts)) == sorted(read(tree))


@pytest.mark.parametrize("n_rows", [3, 50])
def test_maps_are_followed(n_rows):
    whole = Streamer(buffer_stream, epoch(n_rows=n_rows), 4, partial=True)
    parts = [list(shard(whole, index, 2)) for index in range(2)]
    found = [row for part in parts for batch in part for row in zip(batch["source"], batch["row"])]
    assert sorted(found) == [(source, row) for source in range(8) for row in range(n_rows)]


def pairs(one, other):
    """Yield pairs of items."""
    yield from zip(one, other)


def test_every_mux_among_the_arguments_is_divided():
    both = Streamer(pairs, epoch(), other=epoch(first=10))
    parts = [list(shard(both, index, 2)) for index in range(2)]
    assert {one["source"] % 2 for one, _ in parts[1]} == {1}
    assert {other["source"] % 2 for _, other in parts[1]} == {1}
    assert sum(map(len, parts)) == 8 * 4


def test_a_mux_that_is_in_it_twice_is_divided_once():
    inner = epoch()
    part = shard(ShuffledMux([inner, inner]), 0, 2)
    one, other = part.streamer.streamers
    assert one is other


def test_a_part_of_a_part():
    mux = epoch(12)
    parts = [read(shard(shard(mux, i, 2), j, 3)) for i in range(2) for j in range(3)]
    assert sorted(itertools.chain(*parts)) == sorted(read(mux))
    assert {source for source, _ in parts[4]} == {3, 9}  # of those with 1, 3, 5, ... every third


def test_one_part_is_the_whole():
    assert read(shard(epoch(), 0, 1)) == read(epoch())
    assert list(shard(Streamer(range, 3), 0, 1)) == [0, 1, 2]


# Seeds.


def draws(index, count):
    """Return which sources a part of an endless mixture begins with, and with which seeds."""
    sources = [Streamer(seeded, 0, FRESH_SEED) for _ in range(6 * count)]
    mux = StochasticMux(sources, 2, 1, random_state=5)
    return read(shard(mux, index, count).iterate(50))


def test_seeds_differ_between_parts_and_repeat_between_runs():
    known = [draws(index, 3) for index in range(3)]
    assert known == [draws(index, 3) for index in range(3)]
    seeds = [row for part in known for _, row in part]
    assert len(set(seeds)) == len(seeds)


def test_parts_choose_differently():
    """Also where the program was seeded alike everywhere."""
    chosen = []
    for index in range(2):
        np.random.seed(0)
        mux = ShuffledMux([Streamer(endless, number // 2) for number in range(8)])
        chosen.append([source for source, _ in read(shard(mux, index, 2).iterate(64))])
    assert chosen[0] != chosen[1]
    assert [set(each) for each in chosen] == [{0, 1, 2, 3}] * 2


def test_passes_differ():
    part = shard(epoch(), 1, 2)
    items = read(part.cycle(32))
    assert sorted(items[:16]) == sorted(items[16:])
    assert items[:16] != items[16:]


# Where items are made.

METHODS = [each for each in ("fork", "spawn") if each in multiprocessing.get_all_start_methods()]


@pytest.mark.parametrize("method", some(METHODS))
def test_processes_give_the_same(method):
    known = read(shard(epoch(), 1, 2))
    for tree in (ZMQStreamer(epoch(), start_method=method), ZMQStreamer(Streamer(epoch()))):
        assert read(shard(tree, 1, 2)) == known
    assert read(ZMQStreamer(shard(epoch(), 1, 2), start_method=method)) == known


@pytest.mark.parametrize("backend", some(["threads", "processes"]))
def test_workers_give_the_same(backend):
    known = read(shard(epoch(), 1, 2))
    assert read(shard(ParallelStreamer(epoch(), 2, backend=backend), 1, 2)) == known
    assert read(ParallelStreamer(shard(epoch(), 1, 2), 2, backend=backend)) == known


@pytest.mark.parametrize("n_items", [0, 1, 7, 15])
@pytest.mark.parametrize("steps", [None, 11])
def test_a_part_resumes(n_items, steps):
    stream = shard(epoch(), 1, 2, steps).cycle(40)
    for _ in range(n_items):
        next(stream)
    state = json.loads(json.dumps(stream.state_dict()))
    assert read(shard(epoch(), 1, 2, steps).resume(state)) == read(stream)


def test_a_state_of_another_part_does_not_fit():
    stream = shard(epoch(), 1, 2).iterate()
    next(stream)
    for other in (shard(epoch(), 0, 2), shard(epoch(), 1, 4), epoch()):
        with pytest.raises(PescadorError, match="does not fit"):
            other.resume(stream.state_dict())


# Shares.


def test_shares_hold_within_a_part():
    weights = [0.1, 0.4, 0.3, 0.1, 0.1]
    mux = ShuffledMux([Streamer(endless, number) for number in range(5)], weights, random_state=0)
    part = shard(mux, 0, 2)
    np.testing.assert_allclose(part.streamer.weights, [0.2, 0.6, 0.2])
    assert {source for source, _ in read(part.iterate(100))} == {0, 2, 4}


def curriculum(n_items):
    """Give only the first two of four streamers up to item 1000, then the others."""
    return [1, 1, 0, 0] if n_items < 1000 else [0, 0, 1, 1]


def test_a_function_of_weights_counts_the_items_of_the_part():
    mux = ShuffledMux([Streamer(endless, n) for n in range(4)], curriculum, random_state=0)
    sources = [source for source, _ in read(shard(mux, 1, 2).iterate(1100))]
    assert sources == [1] * 1000 + [3] * 100


# Steps.


@pytest.mark.parametrize("steps", [1, 7, 16, 40])
def test_all_parts_take_as_many_steps(steps):
    for index in range(3):
        part = shard(epoch(), index, 3, steps=steps)
        assert len(read(part)) == steps
        assert len(read(part.cycle(3 * steps))) == 3 * steps


def test_a_part_begins_again_for_its_steps():
    counted = Counter(read(shard(epoch(), 0, 2, steps=32)))
    assert set(counted.values()) == {2}
    assert len(counted) == 16


def test_a_part_that_gives_nothing_cannot_take_steps():
    empty = ShuffledMux([[], [], [1]])
    assert list(shard(empty, 0, 2, steps=3)) == [1, 1, 1]
    with pytest.raises(PescadorError, match=r"steps=3: .* no items, after 0 in all"):
        list(shard(empty, 1, 2, steps=3))


# Evidence.


def test_reports_of_parts_are_merged():
    """Rows and failures are named by where the whole tree has them."""
    inner = StochasticMux([Streamer(endless, n) for n in range(7)], 2, 4, random_state=0)
    tree = ShuffledMux([inner, ShuffledMux([Streamer(endless, 10 + n) for n in range(5)])])
    counted, reports = Counter(), []
    for index, process in enumerate((Streamer, ZMQStreamer, Streamer)):
        monitor = Monitor(process(shard(tree, index, 3)).iterate(300))
        counted.update(source for source, _ in read(monitor))
        reports.append(monitor.report())
    merged = Report.merge(reports)
    found = {10 * row.path[0] + row.path[1]: row for row in merged.sources}
    assert {number: row.n_items for number, row in found.items()} == counted
    assert all(row.streamer == f"Streamer(endless, {number})" for number, row in found.items())
    assert sum(row.expected for row in merged.sources) == pytest.approx(1)
    assert merged.n_unopened == 12 - len(counted)


def broken(source):
    """Fail at once."""
    raise OSError(source)
    yield


def test_a_failure_is_named_by_where_the_whole_tree_has_it(caplog):
    sources = [Streamer(endless, n) if n < 5 else Streamer(broken, n) for n in range(6)]
    stream = shard(ShuffledMux(sources, on_error="replace"), 1, 2).iterate(20)
    monitor = Monitor(stream)
    list(monitor)
    assert [failure.path for failure in stream.failures] == [(5,)]
    assert [row.path for row in monitor.report().sources if row.n_failures] == [(5,)]


# What cannot be divided.


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: shard(epoch(), 2, 2), "index=2: .* <= 1"),
        (lambda: shard(epoch(), -1, 2), "index=-1"),
        (lambda: shard(epoch(), 0, 0), "count=0: .* >= 1"),
        (lambda: shard(epoch(), 0, 2, steps=0), "steps=0: .* >= 1"),
        (lambda: shard([1, 2], 0, 2), "is not a streamer"),
        (lambda: shard(Streamer(rows, 0, 3), 0, 2), "has no mux"),
        (lambda: shard(ShuffledMux([epoch(), epoch(3)]), 0, 5), "has 3 streamers.*5 consumers"),
        (lambda: shard(ShuffledMux([epoch(), range(3)]), 0, 2), "mixes 1 streamer with"),
        (
            lambda: shard(ShuffledMux(["a", "b"], [1, 0]), 1, 2),
            "part 1 of 2 of ShuffledMux.*all are zero",
        ),
        (
            lambda: shard(
                StochasticMux(
                    ["a"] * 4,
                    2,
                    4,
                    [0.4, 0.4, 0.1, 0.1],
                    mode="single_active",
                    weighting="share",
                ),
                0,
                2,
            ),
            "part 0 of 2 of StochasticMux.*no share can be more than 1/2",
        ),
    ],
)
def test_what_cannot_be_divided(make, text):
    with pytest.raises(PescadorError, match=text):
        make()


def both(one, others):
    """Yield the items of several streams."""
    yield from one
    for other in others:
        yield from other


class Reader:
    """Holds a mux, and can be called."""

    def __init__(self, mux):
        self.mux = mux

    def __call__(self, one):
        yield from both(one, [self.mux])


class Own(Streamer):
    """Reads a mux by an ``iterate()`` of its own."""

    def __init__(self, streamer, mux):
        super().__init__(streamer)
        self.mux = mux

    def iterate(self, max_iter=None):
        yield from both(self.streamer, [self.mux])


@pytest.mark.parametrize(
    "make",
    [
        lambda one, other: Streamer(both, one, [other]),
        lambda one, other: Streamer(both, one, others={"a": other}),
        lambda one, other: Streamer(Reader(other), one),
        lambda one, other: Own(one, other),
    ],
)
def test_muxes_that_would_be_missed_are_told(make):
    tree = make(ChainMux([[1], [2]]), ChainMux([[3], [4]]))
    with pytest.raises(PescadorError, match=r"has ChainMux\(.*give it as an argument of its own"):
        shard(tree, 0, 2)


def ordered(seed):
    """Yield streamers in a random order."""
    for number in np.random.default_rng(seed).permutation(8):
        yield Streamer([int(number)])


def test_a_lazy_chain_must_have_the_same_order_for_all():
    chain = ChainMux(Streamer(ordered, 5))
    parts = [list(shard(chain, index, 2)) for index in range(2)]
    assert sorted(itertools.chain(*parts)) == list(range(8))
    mux = StochasticMux([Streamer([Streamer([1])])], 1, None, random_state=0)
    for source in (Streamer(ordered, FRESH_SEED), mux, Streamer(Streamer(ordered, FRESH_SEED))):
        with pytest.raises(PescadorError, match="each part has another seed"):
            shard(ChainMux(source), 0, 2)


def test_the_tree_stays_as_it_is():
    mux = epoch(weights=None)
    known = read(mux)
    shard(Streamer(buffer_stream, mux, 2), 1, 2)
    assert (mux.n_streams, read(mux)) == (8, known)
