"""What a dry run finds; each with a tree that has it, and one that looks like it and is right."""

import copy
import functools
import gc
import itertools
import json
import pickle
import random
import re
import threading
import time
import warnings

import numpy as np
import pytest
from _sources import Tenfold, each_of, nothing, numbers, records

import pescador
from pescador import (
    FRESH_SEED,
    ChainMux,
    ParallelStreamer,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    ZMQStreamer,
    buffer_stream,
    check,
)

# Sources.


def noisy(label, seed):
    """Yield random arrays, for ever."""
    rng = np.random.default_rng(seed)
    while True:
        yield {"X": rng.normal(size=3), "Y": label}


def shuffled(n_items, random_state=0):
    """Yield numbers in a random order."""
    yield from np.random.RandomState(random_state).permutation(n_items).tolist()


def shuffled_by_itself(n_items):
    """Do the same, always in the same order."""
    yield from np.random.default_rng(0).permutation(n_items).tolist()


def constant(value):
    """Yield one value, for ever."""
    while True:
        yield value


def drawn_from(rng, n_items=50):
    """Yield numbers from a generator of the program."""
    for _ in range(n_items):
        yield {"x": rng.random()}


def drawn_globally(n_items=50):
    """Yield numbers from the global generators."""
    for _ in range(n_items):
        yield {"x": np.random.random() + random.random()}


def items_of(*items):
    """Return a streamer that gives some items."""
    return Streamer(list(items))


def slow(n_items, seconds):
    """Yield dicts, each after a while."""
    for value in range(n_items):
        time.sleep(seconds)
        yield {"x": value}


def several(function, *args, n=4):
    """Return several streamers of one function."""
    return [Streamer(function, *args) for _ in range(n)]


def kinds(streamer, **options):
    """Return the kinds of what is found."""
    return [each.kind for each in check(streamer, **{"n_items": 150, **options})]


# Sources that begin alike.


@pytest.mark.parametrize("mode", ["with_replacement", "single_active"])
def test_a_fixed_seed_under_a_rate(mode):
    def mux(seed):
        return StochasticMux([Streamer(noisy, k, seed) for k in range(4)], 2, 8, mode=mode)

    (found,) = check(mux(7), 100)
    assert (found.severity, found.kind, found.place) == ("warning", "begins-alike", (0,))
    assert found.remedy == "give pescador.FRESH_SEED in place of seed=7"
    assert "the same items every time it is opened" in found.message
    assert [place for place, _ in found.others] == [(1,), (2,), (3,)]
    assert not check(mux(FRESH_SEED), 100)
    assert kinds(mux(np.random.default_rng(0))) == ["shared-generator"]


def test_a_fixed_order_of_a_source_that_is_opened_again():
    for source in (Streamer(shuffled, 20), Streamer(shuffled_by_itself, 20)):
        assert kinds(ShuffledMux([source, source])) == ["begins-alike"]
        assert kinds(ChainMux([source, source])) == []  # each of them once
    fresh = Streamer(shuffled, 20, random_state=FRESH_SEED)
    assert kinds(ShuffledMux([fresh, Streamer(numbers, 0, 20)])) == []


def test_a_fixed_seed_of_an_endless_source_that_is_never_closed():
    assert kinds(ShuffledMux([Streamer(noisy, 0, 7)])) == []


def test_the_rest_of_a_file_that_a_rate_never_reaches():
    def mux(n_items, rate=4, **options):
        return StochasticMux(several(records, 0, n_items), 2, rate, **options)

    (found,) = check(mux(500), 100)
    assert (found.severity, found.kind) == ("warning", "rest-unreached")
    assert "about 4 items" in found.message
    assert found.message.endswith("never reads the items after these")
    assert not check(mux(10), 100)  # is reached, at times
    assert not check(mux(500, None, mode="exhaustive"), 100)
    assert not check(StochasticMux(several(constant, {"x": 1}), 2, 4), 100)  # no rest to miss


def test_a_rate_counts_batches():
    def mux(n_items):
        batches = [Streamer(buffer_stream, each, 8) for each in several(records, 0, n_items)]
        return StochasticMux(batches, 2, 2)

    assert kinds(mux(24)) == []
    assert kinds(mux(900), n_items=500) == ["rest-unreached"]


def test_generators_that_are_copied_into_processes():
    def is_found(tree):
        return "begins-alike" in kinds(tree)

    source = Streamer(drawn_from, np.random.default_rng(0))
    mux = ShuffledMux([source, source])
    assert is_found(ZMQStreamer(source)) and is_found(ParallelStreamer(mux, 2))
    assert not is_found(source) and not is_found(ParallelStreamer(mux, 2, backend="threads"))
    seeded = ShuffledMux([Streamer(noisy, 0, FRESH_SEED)], random_state=np.random.RandomState(0))
    assert not is_found(ZMQStreamer(seeded))  # the seed of a mux is taken in the program


# Parameters of muxes.


def test_weights_that_decide_little():
    def mux(n_active, weights, rate=8, source=noisy, arguments=(0, FRESH_SEED), **options):
        streamers = several(source, *arguments)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the mux tells some of it itself
            return StochasticMux(streamers, n_active, rate, weights, **options)

    unequal = [8, 1, 1, 1]
    assert kinds(mux(2, unequal)) == ["weights-decide-little"]
    assert kinds(mux(4, unequal)) == ["weights-decide-little"]  # each slot is given to any
    assert kinds(mux(4, unequal, mode="single_active")) == []  # each is replaced by itself
    assert kinds(mux(2, [1, 1, 1, 1])) == []
    assert kinds(mux(4, unequal, None)) == []  # nothing is ever replaced
    assert kinds(mux(4, unequal, None, records, (0, 9))) == ["weights-decide-little"]
    for each in (mux(2, unequal), pickle.loads(pickle.dumps(mux(2, unequal)))):
        assert kinds(copy.copy(each), n_items=30) == ["weights-decide-little"]
    meant = mux(2, unequal, weighting="active")
    for each in (meant, copy.copy(meant), pickle.loads(pickle.dumps(meant))):
        assert kinds(each, n_items=30) == []
    share = mux(2, unequal, weighting="share")
    assert kinds(share) == kinds(ShuffledMux(several(noisy, 0, FRESH_SEED), unequal)) == []


def test_n_active_above_the_pool():
    def mux(n_active, mode="with_replacement"):
        return StochasticMux(several(noisy, 0, FRESH_SEED), n_active, 8, mode=mode)

    (found,) = check(mux(9), 50)
    assert (found.severity, found.kind) == ("note", "n-active")
    assert "n_active=4" in found.remedy
    assert kinds(mux(4)) == kinds(mux(9, "single_active")) == []


def test_weights_of_zero():
    (found,) = check(ShuffledMux(several(numbers, 0, 9), [1, 0, 1, 0]))
    assert (found.severity, found.kind) == ("note", "never-read")
    assert found.message.startswith("weights[1]=0: ")
    assert kinds(ShuffledMux(several(numbers, 0, 9), lambda n: [1, min(n, 1), 1, 1])) == []


def test_a_weight_function_that_fails_later():
    (found,) = check(ShuffledMux(several(numbers, 0, 9), lambda n: [1] * (4 - n // 1000)), 1000)
    assert (found.severity, found.kind) == ("error", "fails")
    assert "for n_items=1000" in found.message


def test_behind_an_endless_stream():
    endless, finite = Streamer(constant, 0), Streamer(numbers, 0, 900)
    (found,) = check(ChainMux([finite, endless, finite, finite]))
    assert (found.kind, found.place) == ("never-read", (2,))
    assert kinds(ChainMux([finite, finite, endless])) == []
    shuffled = ShuffledMux([finite, finite])
    for first in (shuffled, Streamer(shuffled), ZMQStreamer(ShuffledMux(several(records, 0, 200)))):
        assert "never-read" in kinds(ChainMux([first, finite]))
    limited = Streamer(shuffled.iterate, 200)
    assert kinds(ChainMux([limited, finite])) == []
    assert kinds(ChainMux([StochasticMux([endless], 1, 8, mode="exhaustive"), finite])) == []


def test_endless_streams_that_are_never_replaced():
    def mux(rate, n_active=2, source=noisy, arguments=(0, FRESH_SEED)):
        return StochasticMux(several(source, *arguments), n_active, rate)

    (found,) = check(mux(None), 50)
    assert (found.severity, found.kind) == ("warning", "never-read")
    assert kinds(mux(8)) == kinds(mux(None, 4)) == kinds(mux(None, 2, records, (0, 200))) == []


# What sources give.


def test_sources_that_are_empty():
    (found,) = check(ChainMux([Streamer(numbers, 0, 3), Streamer(nothing)]))
    assert (found.severity, found.kind, found.place) == ("warning", "empty", (1,))
    assert kinds(ChainMux([Streamer(numbers, 0, 1)])) == []
    assert kinds(ChainMux([])) == []


def fails(after, error=ValueError):
    """Raise an error after some items."""
    yield from range(after)
    raise error("broken")


def test_sources_that_fail():
    def mux(source, **options):
        return RoundRobinMux([Streamer(numbers, 0, 3), source], **options)

    broken = Streamer(fails, 2)
    (found,) = check(mux(broken))
    assert (found.severity, found.kind, found.place) == ("error", "fails", (1,))
    assert "after 2 items: ValueError: broken" in found.message
    (found,) = check(mux(broken, on_error="replace"))
    assert (found.severity, found.kind) == ("warning", "fails")


def test_a_source_that_fails_at_times_under_a_mux_that_stands_it():
    n_started = itertools.count()

    def at_times():
        if not next(n_started) % 2:
            raise OSError("busy")
        yield 1

    assert kinds(ShuffledMux([Streamer(at_times)], on_error="retry")) == []
    assert kinds(ShuffledMux([Streamer(at_times)])) == ["fails"]


def test_maps_that_fail():
    def mapped(stream):
        for item in stream:
            yield item["y"]

    mux = ShuffledMux(several(records, 0, 9))
    (found,) = check(Streamer(mapped, mux))
    assert (found.severity, found.kind, found.place) == ("error", "fails", ())
    assert "KeyError" in found.message
    assert kinds(Streamer(pescador.tuples, mux, "x")) == []
    broken = ShuffledMux([Streamer(fails, 2)])
    assert kinds(Streamer(mapped, broken)) == ["fails"]  # told once, where it comes from


def test_what_needs_its_workers_may_fail_here():
    mux = ShuffledMux([Streamer(fails, 0)])
    assert kinds(ParallelStreamer(mux, 1, worker_init=print)) == []
    assert kinds(ParallelStreamer(mux, 1)) == ["fails"]


ODD = {
    "lacks the key 'Y'": {"X": np.ones(3)},
    "has the key 'Z'": {"X": np.ones(3), "Y": 1, "Z": 1},
    "has dtype float32, but float64": {"X": np.ones(3, np.float32), "Y": 1},
    "has shape (4,), but (3,)": {"X": np.ones(4), "Y": 1},
    "is a sequence, but a dict": (np.ones(3), 1),
}


@pytest.mark.parametrize("text", ODD)
def test_items_that_differ_between_sources(text):
    usual = {"X": np.ones(3), "Y": 1}
    (found,) = check(ShuffledMux([items_of(usual), items_of(ODD[text]), items_of(usual)]), 9)
    assert (found.severity, found.kind, found.place) == ("warning", "items-differ", (1,))
    assert text in found.message
    nested = ShuffledMux([ShuffledMux([items_of(usual)] * 3), ShuffledMux([items_of(ODD[text])])])
    assert [each.place for each in check(nested, 9)] == [(1, 0)]


def test_items_that_may_differ():
    assert kinds(ShuffledMux(["abc", range(3), [None]])) == []  # no data for a model
    ragged = [items_of(*({"X": np.ones(n)} for n in lengths)) for lengths in [(1, 2), (3, 4)]]
    assert kinds(ShuffledMux(ragged)) == []
    labels = [items_of({"Y": 1, "name": "a"}), items_of({"Y": np.int64(2), "name": "abc"})]
    assert kinds(ShuffledMux(labels)) == []
    by_itself = [items_of({"Y": 1}, {"Y": 1, "Z": 1}), items_of({"Y": 1})]
    assert kinds(ShuffledMux(by_itself)) == []


def test_batches_larger_than_the_data():
    def batches(n_items, size, **options):
        return Streamer(buffer_stream, ChainMux(several(records, 0, n_items)), size, **options)

    (found,) = check(batches(4, 17))
    assert (found.severity, found.kind) == ("error", "few-for-a-batch")
    assert "16 items" in found.message and "buffer_size=17" in found.message
    assert kinds(batches(4, 16)) == kinds(batches(4, 17, partial=True)) == []
    assert kinds(batches(400, 1601), n_items=5) == ["few-for-a-batch"]  # however few are asked for
    assert kinds(Streamer(buffer_stream, ShuffledMux(several(records, 0, 4)), 17)) == []
    inside = [Streamer(buffer_stream, each, 8) for each in several(records, 0, 4)]
    assert kinds(ShuffledMux(inside)) == ["few-for-a-batch"]


def test_a_sample_is_not_all_data():
    many = ChainMux(several(records, 0, 1, n=600))
    findings = check(Streamer(buffer_stream, many, 500))
    assert not findings
    assert (findings.n_sources, findings.n_left_out) == (256, 344)
    assert "344 streamers were not looked at" in repr(findings)


# What can be read only once.


def test_one_shot_iterators_are_told_and_not_read():
    once = iter(range(5))
    (found,) = check(Streamer(once))
    assert (found.severity, found.kind) == ("warning", "one-shot")
    assert "no source was read" in found.message
    (found,) = check(ChainMux([Streamer(once), Streamer(numbers, 0, 3)]))
    assert (found.severity, found.kind) == ("note", "one-shot")
    argument = iter(range(5))
    source = Streamer(map, str, argument)
    assert kinds(ChainMux([source, Streamer(numbers, 0, 3)])) == ["one-shot"]
    assert kinds(Streamer(zip, argument, ShuffledMux([range(3)]))) == ["one-shot"]
    assert kinds(Streamer(functools.partial(each_of, argument))) == ["one-shot"]
    (found,) = check(ShuffledMux([Streamer(once), Streamer(numbers, 0, 3)]))
    assert (found.severity, found.kind) == ("error", "one-shot")  # it is opened again
    assert kinds(ZMQStreamer(once)) == ["one-shot"]
    assert list(once) == list(argument) == list(range(5))
    assert kinds(Streamer(list(range(5)))) == []


def test_a_lazy_chain_that_can_be_read_once():
    streamers = iter([Streamer(numbers, 0, 3)])
    assert kinds(ChainMux(streamers)) == ["one-shot"]
    assert len(list(streamers)) == 1


# Background processes.


def heavy(n_items, size=8):
    """Yield arrays that take some time to make."""
    for number in range(n_items):
        yield {"x": np.sort(np.cos(np.arange(20_000) + number))[:size]}


def test_items_that_cannot_cross():
    def bad(tree):
        return [each for each in check(tree, 5) if each.kind == "cannot-cross"]

    class Iterates:
        def __init__(self, value):
            self.value = value

        def __iter__(self):
            return iter([{"x": self.value}])

    for value in ([1], None, np.array([None]), "a\0"):
        mux = ShuffledMux([Iterates(value)])
        (found,) = bad(ZMQStreamer(mux))
        assert (found.severity, found.place) == ("error", (0,))
        assert "cannot be sent" in found.message
        assert bad(ParallelStreamer(mux, 1))
        assert not bad(ParallelStreamer(mux, 1, backend="threads"))
        assert not bad(mux)
    (found,) = bad(ZMQStreamer(Streamer(constant, 3)))
    assert "not a dict" in found.message
    assert not bad(ZMQStreamer(ShuffledMux([Iterates(1), Iterates("text")])))
    assert not bad(Streamer(pescador.tuples, ZMQStreamer(ShuffledMux([Iterates(1)])), "x"))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_cannot_be_pickled(method):
    lock = threading.Lock()

    def local(lock=None):
        yield from heavy(3)

    def found(tree):
        return [each for each in check(tree, 5) if each.kind == "not-picklable"]

    severity = "note" if method == "fork" else "error"
    for source in (Streamer(local), Streamer(heavy, 3, lock)):
        (one,) = found(ZMQStreamer(source, start_method=method))
        assert (one.severity, one.kind) == (severity, "not-picklable")
        mux = ShuffledMux([source, source])
        assert found(ParallelStreamer(mux, 2, start_method=method))
        assert not found(ParallelStreamer(mux, 2, backend="threads")) + found(source)
    assert not found(ZMQStreamer(Streamer(heavy, 3), start_method=method))
    weights = ShuffledMux([Streamer(heavy, 3)], lambda n: [1])
    assert found(ZMQStreamer(weights, start_method=method))
    assert not found(ZMQStreamer(Streamer(iter([{"x": 1}])), start_method=method))


def test_processes_for_items_that_cost_nothing():
    dear = ShuffledMux(several(heavy, 9))
    cheap = ShuffledMux([items_of(*[{"x": 1}] * 50)])
    assert kinds(ZMQStreamer(cheap)) == ["costs-more"]
    assert kinds(ParallelStreamer(cheap, 2)) == ["costs-more"]
    assert kinds(ZMQStreamer(dear)) == kinds(ParallelStreamer(dear, 2)) == []
    large = ShuffledMux([items_of(*[{"x": np.zeros(10_000)}] * 50)])
    assert kinds(ZMQStreamer(large)) == kinds(cheap) == []


def test_slow_sources_without_a_process():
    sources = [Streamer(slow, 3, 0.005)] * 2
    mux = ShuffledMux(sources)
    (found,) = check(mux, 3)
    assert (found.severity, found.kind) == ("note", "would-save")
    assert "ParallelStreamer" in found.remedy
    assert "ParallelStreamer" not in check(sources[0], 3)[0].remedy
    (found,) = check(ShuffledMux([Streamer(slow, 3, 0.0), Streamer(slow, 3, 0.006)]), 3)
    assert found.place == (1,)
    own, mean = re.search(
        r"an item takes (.*) ms \((.*) ms on average over all sources\)", found[4]
    ).groups()
    assert float(own) >= 6 and float(own) > float(mean) >= 3
    for workers in (ZMQStreamer(mux), ParallelStreamer(mux, 2, backend="threads")):
        assert kinds(workers, n_items=3) == []
    assert kinds(ShuffledMux(several(records, 0, 9))) == []


def test_processes_that_are_started_for_few_items():
    def processes(n_items=40, seconds=0.0):
        source = Streamer(slow, n_items, seconds) if seconds else Streamer(heavy, n_items)
        return [ZMQStreamer(source, start_method="fork")] * 3

    assert kinds(StochasticMux(processes(), 2, 16), n_items=5) == ["starts-often"]
    assert kinds(ShuffledMux(processes(4)), n_items=5) == ["starts-often"]
    assert kinds(StochasticMux(processes(), 2, 50_000), n_items=5) == []
    assert kinds(StochasticMux(processes(9, 0.02), 2, 16), n_items=5) == []  # it works for long
    for mode, expected in (("exhaustive", []), ("cycle", ["starts-often"])):
        assert kinds(RoundRobinMux(processes(4), mode), n_items=5) == expected
    around = ZMQStreamer(StochasticMux(several(heavy, 9), 2, 4))
    assert kinds(around, n_items=5) == []


# It leaves no trace.


def tree_of(generator):
    """Return a tree that draws from everything that there is to draw from."""
    sources = [Streamer(drawn_from, generator), Streamer(drawn_globally), Streamer(records, 0, 9)]
    inner = StochasticMux(sources, 2, 8, random_state=np.random.RandomState(1))
    mux = ShuffledMux([inner, Streamer(drawn_from, generator)])
    return Streamer(buffer_stream, mux, 4)


GENERATORS = {
    "RandomState": np.random.RandomState,
    "Generator": np.random.default_rng,
    "Random": random.Random,
}


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_a_checked_streamer_gives_what_it_would_have_given(make):
    def items(is_checked):
        np.random.seed(3)
        random.seed(3)
        tree = tree_of(make(5))
        if is_checked:
            check(tree, 30)
            assert [each.active for each in (tree, *tree.args[:1])] == [0, 0]
        return [batch["x"].tolist() for batch in tree.iterate(30)]

    assert items(True) == items(False)


class Reader:
    """An object that has a generator."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def rows(self):
        yield from drawn_from(self.rng, 5)

    def __iter__(self):
        return self.rows()


OF_THE_MODULE = np.random.RandomState(0)


def from_a_global():
    yield from (OF_THE_MODULE.random_sample() for _ in range(5))


def test_generators_wherever_functions_have_them():
    local = np.random.default_rng(0)

    def from_a_closure(default=local):
        yield from (local.random() for _ in range(5))

    reader = Reader()
    partial = functools.partial(drawn_from, reader.rng)
    trees = [Streamer(each) for each in (reader.rows, reader, partial, from_a_closure)]
    trees += [Streamer(from_a_global), Streamer(drawn_from, {"a": [reader.rng]}["a"][0])]
    before = reader.rng.bit_generator.state, local.bit_generator.state, OF_THE_MODULE.get_state()
    for tree in (*trees, ChainMux(Streamer(each_of, trees))):
        check(tree, 5)
        after = reader.rng.bit_generator.state, local.bit_generator.state
        assert after == before[:2]
        assert np.array_equal(OF_THE_MODULE.get_state()[1], before[2][1])


def test_an_interrupt_leaves_no_trace_and_says_where():
    closed = []

    def interrupted(rng):
        try:
            yield rng.random()
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    rng = np.random.default_rng(0)
    mux = ShuffledMux([Streamer(numbers, 0, 9), Streamer(interrupted, rng)])
    before = rng.bit_generator.state, np.random.get_state()[1].tolist(), random.getstate()
    with pytest.raises(KeyboardInterrupt) as caught:
        check(mux)
    after = rng.bit_generator.state, np.random.get_state()[1].tolist(), random.getstate()
    assert after == before
    assert closed == [True, True]  # of the first item, and of those after it
    assert mux.active == mux.streamers[1].active == 0
    notes = getattr(caught.value, "__notes__", None) or [str(caught.value)]
    assert any("(1,)" in note for note in notes)


def test_no_process_is_started_and_no_warning_given(monkeypatch):
    monkeypatch.setattr("multiprocessing.context.Process.start", None)
    lazy = ChainMux(Streamer(each_of, [ZMQStreamer(Streamer(heavy, 3))]))
    parallel = ParallelStreamer(ShuffledMux(several(heavy, 3)), 2)
    inside = Streamer(pescador.tuples, ZMQStreamer(parallel), "x")
    for tree in (lazy, parallel, inside, RoundRobinMux([inside, inside])):
        assert kinds(tree, n_items=5) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(Streamer(buffer_stream, Streamer(records, 0, 3), 5))


def test_an_activated_copy_and_a_streamer_that_runs():
    mux = ShuffledMux([Streamer(numbers, 0, 9)])
    with mux as active:
        next(active.stream_)
        assert not check(active) and not check(mux)
        assert mux.active == 1
        next(active.stream_)


def test_the_same_is_found_again():
    tree = ChainMux(several(nothing, n=400))
    assert check(tree, 5, seed=4) == check(tree, 5, seed=4)


# Large trees, and slow ones.


def test_a_large_pool_is_sampled():
    one = Streamer(noisy, 0, FRESH_SEED)
    findings = check(StochasticMux([one] * 200_000, 32, 16), 50)
    assert not findings
    assert findings.n_left_out == 200_000 - 256
    few = check(StochasticMux(several(noisy, 0, FRESH_SEED, n=30), 4, 16), 9, n_sources=20)
    assert (few.n_sources, few.n_left_out) == (20, 10)
    levels = [StochasticMux([one] * 300, 4, 16) for _ in range(300)]
    assert check(ShuffledMux(levels), 50).n_sources <= 512


def test_a_check_ends_in_time():
    sources = [Streamer(slow, 10**6, 0.002) for _ in range(50)]
    began = time.monotonic()
    findings = check(Streamer(buffer_stream, ShuffledMux(sources), 10**6), max_seconds=0.2)
    assert time.monotonic() - began < 5
    assert not findings.is_complete
    assert "no time to read more" in repr(findings)


def test_a_lazy_chain_without_end():
    def days():
        for day in itertools.count():
            yield items_of(day)

    assert kinds(ChainMux(days)) == []

    def broken():
        yield items_of(1)
        raise OSError("gone")

    assert kinds(ChainMux(broken)) == ["fails"]


def test_large_items_are_not_kept():
    class Large(np.ndarray):
        n_alive = 0

    alive, most = set(), []

    def source():
        for number in range(50):
            item = np.full(1000, number).view(Large)
            alive.add(number)
            most.append(len(alive))
            import weakref

            weakref.finalize(item, alive.discard, number)
            yield item
            del item

    assert not check(Streamer(source))
    gc.collect()
    assert max(most) <= 3


def test_a_class_with_its_own_iterate():
    assert kinds(Tenfold(Streamer(numbers, 0, 9))) == []
    assert kinds(ShuffledMux([Tenfold(Streamer(fails, 2))])) == ["fails"]


# What is returned.


def test_findings_are_a_report():
    findings = check(ChainMux([Streamer(nothing), Streamer(fails, 0), range(3)]))
    assert [each.severity for each in findings] == ["error", "warning"]
    text = repr(findings)
    assert text == str(findings)
    assert "error (fails) at (1,), Streamer(fails, 0):" in text
    assert text.endswith("2 findings; 3 sources read")
    assert "<table>" in findings._repr_html_()
    data = json.loads(json.dumps(findings.to_dict()))
    assert data["findings"][0]["place"] == [1]
    assert pickle.loads(pickle.dumps(findings)).to_dict() == findings.to_dict()
    assert not findings.without(["fails", "empty"])
    assert "<table>" not in findings.without(["fails", "empty"])._repr_html_()


WRONG = {
    "streamer": {"streamer": [1, 2]},
    "n_items": {"n_items": 0},
    "seed": {"seed": -1},
    "n_sources": {"n_sources": 0},
    "max_seconds": {"max_seconds": 0},
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name):
    with pytest.raises(pescador.PescadorError, match=f"{name}="):
        check(**{"streamer": Streamer([1]), **WRONG[name]})
