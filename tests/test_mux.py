"""The muxes, line by line of what they promise."""

import contextlib
import copy
import decimal
import fractions
import functools
import itertools
import pickle
import random
import sys
import time

import numpy as np
import pytest
from _cases import matrix, shown
from _sources import first_items, read_in_child

import pescador
from pescador import ChainMux, PescadorError, RoundRobinMux, ShuffledMux, StochasticMux, Streamer

MODES = ("with_replacement", "single_active", "exhaustive")
REPLACING = ("with_replacement", "single_active")
DISTS = ("poisson", "constant", "binomial")
SEEDS = range(20)

# Every mux in every mode, as a function of the streamers.
MUXES = {
    **{mode: functools.partial(StochasticMux, n_active=3, rate=4, mode=mode) for mode in MODES},
    "whole": functools.partial(StochasticMux, n_active=2, rate=None, mode="exhaustive"),
    "shuffled": ShuffledMux,
    "in turn": RoundRobinMux,
    "in turn, cycle": functools.partial(RoundRobinMux, mode="cycle"),
    "in turn, permuted": functools.partial(RoundRobinMux, mode="permuted_cycle"),
    "in turn, shortest": functools.partial(RoundRobinMux, mode="shortest"),
    "chain": ChainMux,
    "chain, cycle": functools.partial(ChainMux, mode="cycle"),
}
RANDOM = (*MODES, "whole", "shuffled", "in turn, permuted")
CHAINS = ("chain", "chain, cycle")
OPEN_ALL = ("shuffled", "in turn", "in turn, cycle", "in turn, permuted")
every_mux = pytest.mark.parametrize("make", MUXES.values(), ids=MUXES)
every_mode = pytest.mark.parametrize("mode", MODES)


def some(names):
    """Parametrise a test over some of the muxes."""
    return pytest.mark.parametrize("make", [MUXES[name] for name in names], ids=names)


# Sources.


class Recorder:
    """Makes sources, and notes what happens to them; a mux that spins gets an error."""

    def __init__(self, max_started=20_000):
        self.started = []
        self.open = []
        self.most_open = 0
        self.n_pulled = 0
        self._max_started = max_started

    def read(self, place, items):
        """Yield items."""
        self.started.append(place)
        assert len(self.started) <= self._max_started, "sources are started without end"
        self.open.append(place)
        self.most_open = max(self.most_open, len(self.open))
        try:
            for item in items:
                self.n_pulled += 1
                yield item
        finally:
            self.open.remove(place)

    def read_fewer(self, place, items):
        """Yield items the first time, and nothing from then on."""
        yield from self.read(place, () if place in self.started else items)

    def read_late(self, place, items):
        """Yield nothing the first time, and items from then on."""
        yield from self.read(place, items if place in self.started else ())

    def finite(self, n_streams, n_items):
        """Return streamers of ``n_items`` different items each."""
        return [
            Streamer(self.read, place, [(place, index) for index in range(n_items)])
            for place in range(n_streams)
        ]

    def endless(self, n_streams):
        """Return streamers that repeat the number of their place."""
        return [Streamer(self.read, place, itertools.repeat(place)) for place in range(n_streams)]

    def empty(self, n_streams):
        """Return streamers that give nothing."""
        return [Streamer(self.read, place, ()) for place in range(n_streams)]


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture(autouse=True)
def _fixed_seed():
    np.random.seed(0)


def forever(value):
    """Yield the same value for ever."""
    while True:
        yield value


def tagged(place, n_items):
    """Yield dicts that tell where they come from."""
    for index in range(n_items):
        yield {"x": 1000 * place + index}


def streams_of(n_streams, n_items):
    """Return streamers of tagged dicts."""
    return [Streamer(tagged, place, n_items) for place in range(n_streams)]


def epoch_mux(n_streams=8, random_state=None):
    """Return a mux that gives one item of every streamer, in random order, and ends."""
    return StochasticMux(
        streams_of(n_streams, 1), 3, None, mode="exhaustive", random_state=random_state
    )


# The working set.


@every_mode
@pytest.mark.parametrize("n_active", [1, 2, 7])
@pytest.mark.parametrize("dist", DISTS)
def test_no_more_than_n_active_streams_are_open(recorder, mode, n_active, dist):
    streamers = recorder.endless(40)
    mux = StochasticMux(streamers, n_active, 3, mode=mode, random_state=0, dist=dist)
    n_open = [sum(each.active for each in streamers) for _ in mux.iterate(400)]
    assert recorder.most_open == n_active
    assert max(n_open) == n_active


def test_a_shuffled_mux_shows_a_slot_of_no_weight_for_what_gave_nothing():
    streamers = [Streamer(each) for each in ["a", [], "b", [], [], "c"]]
    mux = ShuffledMux(streamers, random_state=1234)
    with mux as active:
        assert (mux.active, active.active) == (1, 0)
        assert len(active.streams_) == len(active.stream_weights_) == 6
        assert active.stream_counts_.tolist() == [0] * 6
        for _ in active.iterate(30):
            pass
        stream = active.iterate()
        items = [next(stream) for _ in range(60)]
        assert len(active.streams_) == 6
        assert active.stream_weights_.astype(bool).tolist() == [1, 0, 1, 0, 0, 1]
        assert [active.streams_[place] for place in (0, 2, 5)]
        assert [next(active.streams_[place], None) for place in (1, 3, 4)] == [None] * 3
        assert active.stream_counts_[[1, 3, 4]].tolist() == [0, 0, 0]
        assert set(items) == {"a", "b", "c"}
        stream.close()
        assert not active.streams_
    assert sum(each.active for each in streamers) == 0


@every_mux
def test_an_activated_copy_shows_the_run_that_it_started_last(make):
    mux = make(streams_of(4, 50))
    with mux as active:
        next(active.stream_)
        for number, _ in enumerate(active.iterate(10), start=1):
            n_shown = active.stream_counts_.sum()
            # (What was replaced is not shown any more.)
            assert n_shown == number or (
                number > 3 and n_shown < number and make is not ShuffledMux
            )
        for n_items in (1, 2):
            assert len(list(itertools.islice(active.stream_, n_items))) == n_items
    assert sum(each.active for each in mux.streamers) == 0
    assert mux.active == 0


@pytest.mark.parametrize("mode", REPLACING)
def test_the_working_set_stays_full(recorder, mode):
    streamers = recorder.endless(10)
    mux = StochasticMux(streamers, 4, 3, mode=mode, random_state=0)
    assert {sum(each.active for each in streamers) for _ in mux.iterate(300)} == {4}


def test_with_replacement_opens_a_streamer_several_times_at_once(recorder):
    mux = StochasticMux(recorder.endless(1), 3, 50, random_state=0)
    assert list(mux.iterate(40)) == [0] * 40
    assert recorder.most_open == 3


@pytest.mark.parametrize("mode", ["single_active", "exhaustive"])
@pytest.mark.parametrize("n_active", [1, 3, 5, 6, 100])
def test_a_streamer_is_open_once_at_a_time(recorder, mode, n_active):
    streamers = recorder.endless(6)
    mux = StochasticMux(streamers, n_active, 3, mode=mode, random_state=1)
    assert max(each.active for _ in mux.iterate(200) for each in streamers) == 1


@pytest.mark.parametrize("mode", ["single_active", "exhaustive"])
@pytest.mark.parametrize("n_active", [3, 4, 10**12])
def test_more_active_streams_than_streamers_means_all(recorder, mode, n_active):
    mux = StochasticMux(recorder.endless(3), n_active, None, mode=mode, random_state=0)
    assert set(mux.iterate(100)) == {0, 1, 2}
    assert recorder.most_open == 3


def test_more_active_streams_than_streamers_with_replacement(recorder):
    streamers = recorder.endless(3)
    mux = StochasticMux(streamers, 10, None, random_state=0)
    n_open = [sum(each.active for each in streamers) for _ in mux.iterate(100)]
    assert set(n_open) == {10}


@some(OPEN_ALL)
def test_muxes_that_open_everything(recorder, make):
    streamers = recorder.endless(5)
    with make(streamers).iterate() as stream:
        next(stream)
        assert [each.active for each in streamers] == [1] * 5


@some(CHAINS)
def test_a_chain_opens_one_stream_at_a_time(recorder, make):
    streamers = recorder.finite(4, 3)
    n_open = [sum(each.active for each in streamers) for _ in make(streamers).iterate(12)]
    assert set(n_open) == {1}
    assert recorder.most_open == 1
    assert recorder.started == [0, 1, 2, 3]


@every_mux
def test_nothing_is_opened_before_the_first_item(recorder, make):
    streamers = recorder.finite(4, 3)
    with make(streamers).iterate():
        assert [each.active for each in streamers] == [0] * 4
    assert recorder.started == []


@pytest.mark.parametrize(
    "make, n_open",
    [
        (functools.partial(StochasticMux, n_active=3, rate=9), 3),
        (ShuffledMux, 5),
        (RoundRobinMux, 5),
        (ChainMux, 1),
    ],
)
def test_the_first_item_makes_all_objects_and_begins_one_generator(make, n_open):
    made, begun = [], []

    class Source:
        def __init__(self, number):
            made.append(number)

        def __iter__(self):
            return itertools.count()

    def generate(number):
        begun.append(number)
        yield from itertools.count()

    for function in (Source, generate):
        with make([Streamer(function, number) for number in range(5)]).iterate() as stream:
            next(stream)
    assert (len(made), len(begun)) == (n_open, 1)


@every_mux
@pytest.mark.parametrize("n_items", [0, 1, 9, 12])
def test_as_many_items_are_pulled_as_are_yielded(recorder, make, n_items):
    if make is MUXES["exhaustive"]:
        make = functools.partial(make, dist="constant")  # 4 of 4 items
    assert len(list(make(recorder.finite(3, 4)).iterate(n_items))) == n_items
    assert recorder.n_pulled == n_items
    assert recorder.open == []


@every_mode
def test_a_replaced_stream_is_not_read_ahead(recorder, mode):
    mux = StochasticMux(recorder.endless(40), 2, 2.5, mode=mode, random_state=0)
    for n_items, _ in enumerate(mux.iterate(80), start=1):
        assert recorder.n_pulled == n_items


@pytest.mark.parametrize("rate", [1, 1.0, 0.5, 1e-9, 1e-300])
@pytest.mark.parametrize("dist", DISTS)
def test_every_activation_may_give_one_item(recorder, rate, dist):
    mux = StochasticMux(recorder.endless(5), 2, rate, random_state=0, dist=dist)
    assert len(list(mux.iterate(100))) == 100
    assert len(recorder.started) >= 100


@every_mode
@pytest.mark.parametrize("dist", DISTS)
@pytest.mark.parametrize("rate", [2**31, 2.0**40, 1e18, 2.0**63, 1e19, 1e300, sys.float_info.max])
def test_a_huge_rate_replaces_nothing(recorder, mode, dist, rate):
    mux = StochasticMux(recorder.endless(5), 2, rate, mode=mode, random_state=0, dist=dist)
    assert len(list(mux.iterate(100))) == 100
    assert len(recorder.started) == 2


@pytest.mark.parametrize("tiny", [1e-18, 1e-25, 1e-60, 1e-300])
@pytest.mark.parametrize("rate", [2, 7.5, 71, 256])
def test_binomial_limits_of_slots_that_are_hardly_ever_drawn(recorder, tiny, rate):
    weights = [tiny, 1, 1]
    mux = StochasticMux(
        recorder.endless(3), 3, rate, weights, "single_active", random_state=0, dist="binomial"
    )
    assert set(mux.iterate(500)) == {1, 2}


# Modes.


@pytest.mark.parametrize("n_active", [1, 2, 5, 6, 50])
@pytest.mark.parametrize("random_state", [None, 0, 1])
def test_exhaustive_gives_every_item_once(recorder, n_active, random_state):
    streamers = [Streamer(recorder.read, n, [(n, i) for i in range(n)]) for n in range(7)]
    mux = StochasticMux(streamers, n_active, None, mode="exhaustive", random_state=random_state)
    wanted = [(n, i) for n in range(7) for i in range(n)]
    for _ in range(3):
        items = list(mux)
        assert sorted(items) == wanted
        assert sorted(recorder.started) == list(range(7))
        recorder.started.clear()


def test_exhaustive_keeps_the_order_of_each_source():
    mux = StochasticMux(["abcdefgh", "ABCDEFGH"], 2, None, mode="exhaustive", random_state=3)
    items = "".join(mux)
    assert "".join(filter(str.islower, items)) == "abcdefgh"
    assert "".join(filter(str.isupper, items)) == "ABCDEFGH"
    assert items not in ("abcdefghABCDEFGH", "ABCDEFGHabcdefgh")


def test_reading_an_exhaustive_mux_again_gives_the_next_epoch():
    mux = epoch_mux(20)
    epochs = [[item["x"] for item in mux] for _ in range(5)]
    assert {tuple(sorted(epoch)) for epoch in epochs} == {tuple(range(0, 20_000, 1000))}
    assert len(set(map(tuple, epochs))) == 5


@pytest.mark.parametrize("dist", DISTS)
def test_exhaustive_with_a_rate_opens_each_streamer_once(recorder, dist):
    mux = StochasticMux(recorder.endless(30), 4, 5, mode="exhaustive", random_state=0, dist=dist)
    items = list(mux)
    assert sorted(recorder.started) == list(range(30))
    assert set(items) == set(range(30))
    assert 60 < len(items) < 400


@pytest.mark.parametrize("mode", REPLACING)
def test_replacing_modes_go_on_for_ever(recorder, mode):
    mux = StochasticMux(recorder.finite(3, 2), 2, None, mode=mode, random_state=0)
    assert len(list(mux.iterate(3000))) == 3000
    assert set(recorder.started) == {0, 1, 2}


def test_constant_limits_of_a_whole_rate(recorder):
    mux = StochasticMux(recorder.endless(5), 1, 4, random_state=0, dist="constant")
    list(mux.iterate(400))
    assert len(recorder.started) == 100


# Streamers that give nothing.


@pytest.mark.parametrize("mode", REPLACING)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_pruned_streamer_is_activated_once(recorder, mode, seed):
    streamers = [*recorder.empty(1), Streamer(recorder.read, 1, "ab")]
    mux = StochasticMux(streamers, 1, None, mode=mode, random_state=seed)
    assert len(list(mux.iterate(200))) == 200
    assert recorder.started.count(0) == 1


@pytest.mark.parametrize("mode", REPLACING)
@pytest.mark.parametrize("prune", [True, 1, np.True_])
def test_a_streamer_empty_on_its_first_activation_stays_pruned(recorder, mode, prune):
    streamers = [Streamer(recorder.read_late, 0, "x"), Streamer(recorder.read, 1, "ab")]
    mux = StochasticMux(streamers, 1, None, mode=mode, prune_empty_streams=prune, random_state=0)
    assert set(mux.iterate(200)) == {"a", "b"}
    assert recorder.started.count(0) == 1


@pytest.mark.parametrize("mode", REPLACING)
@pytest.mark.parametrize("prune", [False, 0])
@pytest.mark.parametrize("n_active", [1, 2, 3])
def test_an_unpruned_streamer_gets_another_chance(recorder, mode, prune, n_active):
    streamers = [Streamer(recorder.read_late, 0, "x"), Streamer(recorder.read, 1, "ab")]
    mux = StochasticMux(
        streamers, n_active, None, mode=mode, prune_empty_streams=prune, random_state=0
    )
    assert set(mux.iterate(200)) == {"a", "b", "x"}
    assert recorder.started.count(0) > 10


@pytest.mark.parametrize("mode", REPLACING)
@pytest.mark.parametrize("n_active", [1, 2, 5])
def test_unpruned_empty_streamers_do_not_end_the_mux(recorder, mode, n_active):
    streamers = [*recorder.empty(4), Streamer(recorder.read, 4, "ab")]
    mux = StochasticMux(
        streamers, n_active, None, mode=mode, prune_empty_streams=False, random_state=0
    )
    assert len(list(mux.iterate(1000))) == 1000
    assert min(recorder.started.count(place) for place in range(4)) > 10


def test_an_unpruned_working_set_fills_up_again(recorder):
    streamers = [Streamer(recorder.read_late, place, range(5)) for place in range(6)]
    mux = StochasticMux(
        streamers, 4, None, mode="single_active", prune_empty_streams=False, random_state=0
    )
    # At first all are empty, so the mux ends; from then on none is.
    assert list(mux) == []
    n_open = [sum(each.active for each in streamers) for _ in mux.iterate(200)]
    assert set(n_open) == {4}


@pytest.mark.parametrize("mode", REPLACING)
def test_a_slot_lost_to_empty_streamers_comes_back(recorder, mode):
    streamers = [
        *(Streamer(recorder.read_late, place, itertools.repeat(place)) for place in range(3)),
        Streamer(recorder.read, 3, range(5)),
    ]
    mux = StochasticMux(streamers, 3, 4, mode=mode, prune_empty_streams=False, random_state=0)
    n_open = [sum(each.active for each in streamers) for _ in mux.iterate(400)]
    assert set(n_open[200:]) == {3}
    assert set(recorder.started[-100:]) == {0, 1, 2, 3}


@every_mode
@pytest.mark.parametrize("prune", [True, False])
def test_an_exhaustive_pass_is_the_same_with_and_without_pruning(recorder, mode, prune):
    streamers = [*recorder.empty(3), Streamer(recorder.read, 3, "abc")]
    mux = StochasticMux(
        streamers, 2, None, mode="exhaustive", prune_empty_streams=prune, random_state=0
    )
    assert "".join(mux) == "abc"
    assert sorted(recorder.started) == [0, 1, 2, 3]


@every_mux
@pytest.mark.parametrize("start", [Streamer.iterate, Streamer.cycle])
def test_a_mux_of_empty_streamers_ends(recorder, make, start):
    mux = make(recorder.empty(5))
    for _ in range(2):
        recorder.started.clear()
        assert list(start(mux)) == []
        n_tried = 1 if make is MUXES["in turn, shortest"] else 5
        assert set(recorder.started) == set(range(n_tried))


@every_mode
@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("n_active", [1, 2, 5, 9])
@pytest.mark.parametrize("weights", [None, [1, 2, 3, 4, 5]])
def test_all_candidates_are_tried_before_the_mux_ends(recorder, mode, prune, n_active, weights):
    mux = StochasticMux(recorder.empty(5), n_active, 3, weights, mode, prune, random_state=0)
    assert list(mux) == []
    assert set(recorder.started) == set(range(5))


@pytest.mark.parametrize(
    "make",
    [
        *(
            functools.partial(StochasticMux, n_active=n, rate=3, mode=mode, prune_empty_streams=p)
            for n in (1, 2, 4)
            for mode in REPLACING
            for p in (True, False)
        ),
        ShuffledMux,
        functools.partial(RoundRobinMux, mode="cycle"),
        functools.partial(RoundRobinMux, mode="permuted_cycle"),
        functools.partial(ChainMux, mode="cycle"),
    ],
)
def test_a_mux_ends_when_its_streamers_run_dry(recorder, make):
    streamers = [Streamer(recorder.read_fewer, place, [place] * 2) for place in range(4)]
    items = list(make(streamers))
    assert items
    assert max(map(items.count, range(4))) <= 2
    assert recorder.open == []


class Fitful:
    """Makes sources that give a few items or none, and nothing once a number has been given."""

    def __init__(self, n_streams, n_items, seed):
        self.streamers = [Streamer(self.read, place) for place in range(n_streams)]
        self.fruitless = set()  # the places that gave nothing since the last item
        self._n_left = n_items
        self._rng = random.Random(seed)

    def read(self, place):
        n_items = self._rng.choice([0, 0, 0, 1, 2])
        has_given = False
        for _ in range(n_items):
            if not self._n_left:
                break
            self._n_left -= 1
            self.fruitless.clear()
            has_given = True
            yield place
        if not has_given:
            self.fruitless.add(place)


@matrix(
    mode=REPLACING,
    n_active=[1, 2, 3, 5],
    rate=[None, 1.5],
    weights={"equal": None, "unequal": [1, 2, 1, 4, 1]},
)
def test_a_mux_ends_when_every_candidate_has_given_nothing(mode, n_active, rate, weights):
    n_given = 0
    for seed in range(60):
        fitful = Fitful(5, 40, seed)
        mux = StochasticMux(
            fitful.streamers, n_active, rate, weights, mode, False, random_state=seed
        )
        n_given += len(list(mux))
        assert fitful.fruitless == set(range(5))
    assert n_given > 300


def test_shuffled_mux_drops_streams_that_give_nothing(recorder):
    streamers = [*recorder.empty(2), Streamer(recorder.read, 2, "ab")]
    assert len(list(ShuffledMux(streamers, random_state=0).iterate(500))) == 500
    assert [recorder.started.count(place) for place in range(3)] == [1, 1, 250]


# Weights.


@matrix(mode=MODES, n_active=[1, 2, 3, 10], rate=[None, 3])
def test_weight_zero_is_never_opened(mode, n_active, rate):
    for seed in SEEDS:
        check_weight_zero(Recorder(), mode, n_active, rate, seed)


def check_weight_zero(recorder, mode, n_active, rate, seed):
    streamers = recorder.finite(5, 6)
    weights = [0, 2, 0, 1, 1]
    mux = StochasticMux(streamers, n_active, rate, weights, mode, random_state=seed)
    n_open = [sum(each.active for each in streamers) for _ in mux.iterate(60)]
    assert set(recorder.started) <= {1, 3, 4}
    assert max(n_open) == (n_active if mode == "with_replacement" else min(n_active, 3))
    if mode != "exhaustive":
        assert len(n_open) == 60
        assert len(set(n_open)) == 1
    elif rate is None:
        assert len(n_open) == 18


@pytest.mark.parametrize("weights", [[0, 1, 0], [0, 2, 3], [1, 0, 0]])
def test_shuffled_mux_never_opens_weight_zero(recorder, weights):
    positive = {place for place, weight in enumerate(weights) if weight}
    assert set(ShuffledMux(recorder.endless(3), weights, random_state=0).iterate(200)) == positive
    assert set(recorder.started) == positive


@pytest.mark.parametrize(
    "weights",
    [
        [1, 2, 1],
        (1.0, 2.0, 1.0),
        np.array([1, 2, 1]),
        np.array([1, 2, 1], dtype=np.uint8),
        np.array([1, 2, 1], dtype=np.float16),
        np.array([1, 2, 1], dtype=np.float32),
        np.array([1, 2, 1], dtype=np.longdouble),
        np.array([1, 2, 1], dtype=">f8"),
        np.array([1, 9, 2, 9, 1])[::2],
        [1e300, 2e300, 1e300],
        [5e307, 1e308, 5e307],
        [1e-300, 2e-300, 1e-300],
        [5e-324, 1e-323, 5e-324],
        [np.float32(1), 2, np.int8(1)],
        [10**30, 2 * 10**30, 10**30],
        np.array([1, 2.0, np.int8(1)], dtype=object),
        [decimal.Decimal(1), fractions.Fraction(2), True],
        range(1, 4),
    ],
    ids=repr,
)
@pytest.mark.parametrize("make", [ShuffledMux, MUXES["with_replacement"]])
def test_forms_of_weights(make, weights):
    wanted = np.array([1, 2, 3 if isinstance(weights, range) else 1])
    mux = make(["a", "b", "c"], weights=weights, random_state=0)
    np.testing.assert_allclose(mux.weights, wanted / wanted.sum(), rtol=1e-12)
    assert len(list(mux.iterate(50))) == 50


@pytest.mark.parametrize("weights", [[True, False, True], np.array([1, 0, 1], bool)], ids=type)
def test_weights_may_be_truth_values(weights):
    assert ShuffledMux(["a", "b", "c"], weights).weights.tolist() == [0.5, 0, 0.5]


class Column:
    """What a table has of one: an array of objects, behind a class of its own."""

    def __init__(self, *values):
        self.values = np.array(values, dtype=object)

    def __array__(self, dtype=None, copy=None):
        return self.values


def test_weights_may_be_a_column_of_a_table():
    assert ShuffledMux(["a", "b"], Column(3, 1.0)).weights.tolist() == [0.75, 0.25]
    with pytest.raises(PescadorError, match=r"^weights\[1\]=None: must be a number"):
        ShuffledMux(["a", "b"], Column(3, None))


@pytest.mark.parametrize("weights", [None, [3, 1]])
def test_weights_cannot_be_written_to(weights):
    """Else a program would go on in the belief that it had changed them."""
    mux = ShuffledMux(["a", "b"], weights)
    with pytest.raises(ValueError, match="read-only"):
        mux.weights[:] = 1
    with pytest.raises(ValueError):
        mux.weights.flags.writeable = True
    with mux as active, pytest.raises(ValueError, match="read-only"):
        active.weights[0] = 1


@pytest.mark.parametrize("is_writeable", [True, False])
def test_weights_are_copied(is_writeable):
    weights = np.array([2.0, 1.0, 1.0])
    weights.flags.writeable = is_writeable
    mux = ShuffledMux(["a", "b", "c"], weights, random_state=0)
    before = list(mux.iterate(50))
    assert weights.tolist() == [2.0, 1.0, 1.0]
    weights.flags.writeable = True
    weights[:] = [0, 0, 1]
    assert mux.weights.tolist() == [0.5, 0.25, 0.25]
    assert list(mux.iterate(50)) == before


def test_a_list_of_weights_is_not_altered():
    weights = [3, 1]
    list(StochasticMux(["a", "b"], 2, 3, weights, random_state=0).iterate(20))
    assert weights == [3, 1]


def test_equal_weights_are_the_default():
    assert ShuffledMux(["a", "b", "c", "d"]).weights.tolist() == [0.25] * 4


def test_a_positive_weight_is_not_zero_however_small():
    mux = StochasticMux(["a", "b", "c"], 2, None, [1e-300, 1e300, 5e-324], "exhaustive")
    assert sorted(mux) == ["a", "b", "c"]


# Strict order.


def test_round_robin_takes_turns():
    assert "".join(RoundRobinMux(["abc", "x", "", "12"])) == "ax1b2c"


def test_round_robin_cycles():
    mux = RoundRobinMux(["abc", "x", "", "12"], mode="cycle")
    assert "".join(mux.iterate(21)) == 3 * "ax1b2c" + "ax1"


def permuted_passes(mux, n_passes, n_items):
    """Return the first passes of a mux, as strings."""
    items = "".join(mux.iterate(n_passes * n_items))
    return [items[start : start + n_items] for start in range(0, len(items), n_items)]


@pytest.mark.parametrize("random_state", [0, 1, np.random.default_rng(0)])
def test_permuted_cycle_has_a_new_order_in_every_pass(random_state):
    letters = "abcdefghijkl"
    mux = RoundRobinMux(list(letters), "permuted_cycle", random_state)
    passes = permuted_passes(mux, 10, len(letters))
    assert {"".join(sorted(each)) for each in passes} == {letters}
    assert len({letters, *passes}) == 11


def test_permuted_cycle_takes_turns_inside_a_pass():
    mux = RoundRobinMux(["aA1", "bB2", "cC3"], "permuted_cycle", 0)
    passes = permuted_passes(mux, 20, 9)
    for each in passes:
        assert each[:3].swapcase() == each[3:6]
        assert ["abc".index(letter) for letter in each[:3]] == [int(n) - 1 for n in each[6:]]
    assert len(set(passes)) > 3


def test_the_order_of_permuted_cycle_is_fixed_by_the_seed():
    first, second, other = (
        list(RoundRobinMux(list("abcdefgh"), "permuted_cycle", seed).iterate(40))
        for seed in (5, 5, 6)
    )
    assert first == second != other


SHORTEST = {
    ("abc", "de", "fghi"): "adfbegc",
    ("ab", "cd"): "acbd",
    ("ab", "c"): "acb",
    ("a", "bc"): "ab",
    ("", "ab"): "",
    ("ab", "", "cd"): "a",
    ("abc",): "abc",
}


@pytest.mark.parametrize("sources, expected", SHORTEST.items(), ids=SHORTEST.values())
def test_shortest_ends_at_the_turn_of_the_first_that_has_no_more(recorder, sources, expected):
    mux = RoundRobinMux([Streamer(recorder.read, each, each) for each in sources], "shortest")
    for stream in (mux.iterate(), Streamer(mux), mux.iterate(99)):
        assert "".join(stream) == expected
        assert not recorder.open
    for n_items in range(len(expected) + 1):
        stream = mux.iterate()
        assert "".join(itertools.islice(stream, n_items)) == expected[:n_items]
        state = stream.state_dict()
        stream.close()
        assert "".join(mux.resume(state)) == expected[n_items:]
    if expected:
        assert "".join(mux.cycle(3 * len(expected))) == 3 * expected


def test_shortest_pulls_no_more_than_it_gives(recorder):
    mux = RoundRobinMux([Streamer(recorder.read, n, "ab") for n in range(3)], "shortest")
    stream = mux.iterate()
    for n_items in range(1, 7):
        next(stream)
        assert recorder.n_pulled == n_items
    assert next(stream, None) is None


def test_shortest_shows_its_streams():
    with RoundRobinMux(["abc", "de"], "shortest") as active:
        assert [next(active.stream_) for _ in range(3)] == ["a", "d", "b"]
        assert active.stream_counts_.tolist() == [2, 1]
    assert active.active == 0


def test_a_source_that_fails_is_not_the_shortest():
    def failing():
        yield "x"
        raise ValueError

    mux = RoundRobinMux(["abc", Streamer(failing), "de"], "shortest", on_error="replace")
    assert "".join(mux) == "axdbec"
    mux = RoundRobinMux([Streamer(failing)], "shortest", on_error="replace")
    with pytest.raises(ValueError):
        list(mux)


# One after the other.


def test_chain_reads_one_after_the_other():
    assert "".join(ChainMux(["abc", "", "x", "12"])) == "abcx12"


@pytest.mark.parametrize("streamers", [["ab", "", "x"], ["abx", ""], ["", "abx"]])
def test_chain_cycles(streamers):
    assert "".join(ChainMux(streamers, mode="cycle").iterate(8)) == "abxabxab"


@pytest.mark.parametrize("mode", ["exhaustive", "cycle"])
@pytest.mark.parametrize("nothing", [[], (), Streamer([]), iter(())], ids=shown)
def test_a_chain_of_no_streamers_is_empty(mode, nothing):
    assert list(ChainMux(nothing, mode)) == []


class Library:
    """Hands out streamers, one at a time, and counts how often it was asked."""

    def __init__(self):
        self.n_calls = 0
        self.n_read = 0
        self.n_open = 0

    def shelve(self, n_streamers=None):
        """Yield streamers of two items each, endlessly many if no number is given."""
        self.n_calls += 1
        self.n_open += 1
        try:
            for number in itertools.islice(itertools.count(), n_streamers):
                self.n_read += 1
                yield Streamer(tagged, number, 2)
        finally:
            self.n_open -= 1


@pytest.fixture
def library():
    return Library()


def lazily(function, *args):
    """Return the ways to name a source of streamers, by name."""
    return {
        "partial": functools.partial(function, *args),
        "streamer": Streamer(function, *args),
        "nested": Streamer(Streamer(function, *args)),
    }


LAZY = ("partial", "streamer", "nested")


@pytest.mark.parametrize("mode", ["exhaustive", "cycle"])
@pytest.mark.parametrize("form", LAZY)
def test_a_chain_reads_its_streamers_one_at_a_time(library, mode, form):
    mux = ChainMux(lazily(library.shelve)[form], mode)
    assert library.n_calls == 0
    with mux.iterate() as stream:
        for n_read in (1, 1, 2, 2, 3, 3, 4):
            next(stream)
            assert library.n_read == n_read
        assert library.n_open == 1
    assert library.n_calls == 1
    assert library.n_open == 0


def test_a_chain_of_a_bare_generator_function(library):
    assert len(list(ChainMux(library.shelve).iterate(1000))) == 1000
    assert library.n_read == 500
    assert library.n_open == 0


@pytest.mark.parametrize("form", LAZY)
def test_a_chain_asks_for_its_streamers_again_in_every_cycle(library, form):
    mux = ChainMux(lazily(library.shelve, 3)[form], "cycle")
    items = [item["x"] for item in mux.iterate(13)]
    assert items == 2 * [0, 1, 1000, 1001, 2000, 2001] + [0]
    assert library.n_calls == 3
    assert library.n_open == 0
    assert len(list(mux.iterate(2))) == 2
    assert library.n_calls == 4


def test_the_streamers_of_a_cycle_may_differ():
    passes = iter(["ab", "c", ""])

    def read():
        yield from next(passes)

    assert "".join(ChainMux(read, "cycle")) == "abc"


@pytest.mark.parametrize("form", LAZY)
def test_a_cycle_without_items_ends_a_lazy_chain(recorder, form):
    mux = ChainMux(lazily(recorder.read, 0, ["", ()])[form], "cycle")
    assert list(mux) == []
    assert recorder.started == [0]


@pytest.mark.parametrize("random_state", [None, 0])
def test_a_chain_of_streamers_that_another_mux_chooses(random_state):
    letters = [[Streamer(letter)] for letter in "abcdefgh"]
    order_of_streamers = StochasticMux(letters, 3, None, mode="exhaustive")
    mux = ChainMux(order_of_streamers, "cycle", random_state)
    passes = permuted_passes(mux, 10, 8)
    assert {"".join(sorted(each)) for each in passes} == {"abcdefgh"}
    assert len(set(passes)) == 10


def test_a_chain_of_one_pass_reads_an_iterator():
    mux = ChainMux(iter(["ab", "c"]))
    assert "".join(mux) == "abc"
    with pytest.raises(PescadorError, match="only once"):
        list(mux)
    with pytest.raises(PescadorError, match="only once"):
        list(ChainMux(iter(["ab", "c"]), "cycle"))


def test_a_lazy_chain_refuses_what_is_not_a_streamer():
    stream = ChainMux(iter(["a", 3])).iterate()
    assert next(stream) == "a"
    with pytest.raises(PescadorError, match=r"streamers\[1\]=3\b"):
        next(stream)


# Collections of streamers.


@every_mux
@pytest.mark.parametrize("form", [*LAZY, "generator", "list", "tuple", "map", "values", "array"])
def test_forms_of_collections(library, make, form):
    streamers = streams_of(3, 2)
    forms = {
        "generator": (each for each in streamers),
        "list": streamers,
        "tuple": tuple(streamers),
        "map": map(streamers.__getitem__, range(3)),
        "values": dict(enumerate(streamers)).values(),
        "array": np.array([*streamers, None], dtype=object)[:3],
        **lazily(library.shelve, 3),
    }
    mux = make(forms[form], random_state=0)
    # An iterator gives a chain one pass.
    items = {item["x"] for item in mux.iterate(6 if isinstance(mux, ChainMux) else 200)}
    assert items <= {0, 1, 1000, 1001, 2000, 2001}
    assert {item // 1000 for item in items} == {0, 1, 2}
    assert library.n_open == 0


def test_a_bare_generator_function_of_streamers(library):
    def shelve():
        yield from library.shelve(3)

    mux = ShuffledMux(shelve, random_state=0)
    assert mux.n_streams == 3
    assert library.n_calls == 1
    assert {item["x"] // 1000 for item in mux.iterate(100)} == {0, 1, 2}


def test_a_list_given_is_neither_kept_nor_altered():
    streamers = [Streamer("a"), "b"]
    mux = RoundRobinMux(streamers)
    assert streamers[1] == "b"
    streamers.append("c")
    assert list(mux) == ["a", "b"]


@every_mux
def test_plain_iterables_are_wrapped(make):
    mux = make([range(3), "ab", np.arange(2), Streamer(range, 2)])
    assert all(isinstance(each, Streamer) for each in mux.streamers)
    assert len(list(mux.iterate(4))) == 4


def failing_source():
    """Fail after one streamer, with the kind of error that is easily misread."""
    yield Streamer("ab")
    raise TypeError("inside the generator")


@every_mux
def test_an_error_in_a_source_of_streamers_arrives_as_itself(make):
    with pytest.raises(TypeError, match="inside the generator"):
        list(make(failing_source))


@every_mux
def test_the_same_streamer_may_be_given_twice(make):
    streamer = Streamer("a")
    assert set(make([streamer, streamer]).iterate(2)) == {"a"}


# Payload.


class Opaque:
    """An object that can do nothing, not even be compared."""

    __hash__ = None

    def __eq__(self, other):
        raise AssertionError("compared")

    def __bool__(self):
        raise AssertionError("asked for its truth")


PAYLOAD = (
    {"x": np.zeros(3)},
    (1, 2),
    "text",
    b"bytes",
    None,
    np.arange(3),
    np.array([]),
    np.float32(1),
    0,
    False,
    (),
    {},
    StopIteration(),
    StopIteration,
    NotImplemented,
    Opaque(),
    Opaque,
    {"ragged": [[1], [2, 3]]},
    Streamer("a"),
)


def each_alone(item):
    """Return a streamer of one item."""
    return Streamer([item])


@every_mux
def test_items_pass_through_as_the_same_objects(make):
    mux = make([PAYLOAD, PAYLOAD, *map(each_alone, PAYLOAD)], random_state=0)
    given = {id(item) for item in mux.iterate(5000)}
    assert given == {id(each) for each in PAYLOAD}


def test_none_counts_as_an_item():
    mux = StochasticMux([[None], [None, None]], 1, None, random_state=0)
    assert list(mux.iterate(100)) == [None] * 100


# Attributes.


@every_mux
def test_attributes(make):
    streamers = streams_of(4, 3)
    mux = make(streamers)
    assert mux.streamers == streamers
    assert mux.n_streams == 4
    assert mux.random_state is None
    assert mux.rng is np.random
    assert mux.active == 0
    assert mux.is_activated_copy is False
    if not isinstance(mux, ChainMux):
        assert mux.weights.tolist() == [0.25] * 4


def test_attributes_of_a_stochastic_mux():
    mux = StochasticMux(["a", "b", "c"], 2, 7, dist="constant")
    given = (mux.n_active, mux.rate, mux.mode, mux.prune_empty_streams, mux.dist)
    assert given == (2, 7, "with_replacement", True, "constant")


def test_positional_order_of_the_arguments():
    mux = StochasticMux(["a", "b"], 2, 7, [1, 3], "exhaustive", False, 5)
    assert mux.weights.tolist() == [0.25, 0.75]
    assert (mux.mode, mux.prune_empty_streams, mux.random_state) == ("exhaustive", False, 5)
    assert ShuffledMux(["a", "b"], [1, 3], 5).random_state == 5
    assert RoundRobinMux(["a", "b"], "cycle", 5).random_state == 5
    assert ChainMux(["a", "b"], "cycle", 5).random_state == 5


def test_attributes_of_a_lazy_chain(library):
    mux = ChainMux(library.shelve)
    assert mux.streamers == library.shelve
    assert mux.n_streams is None


@every_mux
def test_muxes_are_of_one_kind(make):
    mux = make(["a"])
    assert isinstance(mux, pescador.BaseMux)
    assert isinstance(mux, Streamer)


@every_mux
def test_active_counts_the_open_runs(make):
    mux = make(streams_of(3, 5))
    with mux.iterate() as first, mux.iterate() as second:
        assert mux.active == 0
        next(first)
        assert mux.active == 1
        next(second)
        assert mux.active == 2
        first.close()
        assert mux.active == 1
    assert mux.active == 0


@pytest.mark.parametrize("name", ["streams_", "stream_weights_", "stream_counts_"])
@every_mux
def test_a_recipe_has_no_streams(make, name):
    mux = make(streams_of(3, 5))
    with mux.iterate() as stream:
        next(stream)
        with pytest.raises(AttributeError, match=name):
            getattr(mux, name)
    assert not hasattr(mux, name)


@every_mux
def test_an_activated_copy_tells_about_its_streams(make):
    mux = make(streams_of(4, 50))
    with mux as active:
        items = [next(active.stream_) for _ in range(3)]
        assert len(items) == 3
        n_slots = len(active.streams_)
        n_open = 1 if isinstance(mux, ChainMux) else min(getattr(mux, "n_active", 4), 4)
        assert n_slots == n_open == sum(each.active for each in mux.streamers)
        assert isinstance(active.stream_weights_, np.ndarray)
        assert isinstance(active.stream_counts_, np.ndarray)
        assert active.stream_weights_.shape == active.stream_counts_.shape == (n_slots,)
        assert active.stream_counts_.dtype.kind == "i"
    assert sum(each.active for each in mux.streamers) == 0


@every_mux
def test_streams_opened_by_looking_at_them_are_closed(make):
    mux = make(streams_of(4, 3))
    with mux as active:
        n_open = len(active.streams_)
        assert n_open == sum(each.active for each in mux.streamers)
        assert n_open > 0 or isinstance(mux, ChainMux)
    assert [each.active for each in mux.streamers] == [0] * 4


def test_counts_of_the_open_streams():
    with ShuffledMux([forever(place) for place in range(4)], [4, 3, 2, 1], 0) as active:
        for n_items in range(300):
            assert active.stream_counts_.sum() == n_items
            before = active.stream_counts_
            place = next(active.stream_)
            assert np.flatnonzero(active.stream_counts_ - before).tolist() == [place]
        np.testing.assert_allclose(active.stream_weights_, [0.4, 0.3, 0.2, 0.1])


@pytest.mark.parametrize("mode", REPLACING)
def test_counts_restart_with_every_stream(mode):
    streamers = [Streamer(forever, place) for place in range(5)]
    mux = StochasticMux(streamers, 2, 4, mode=mode, random_state=0, dist="constant")
    largest = 0
    with mux as active:
        for _ in itertools.islice(active.stream_, 200):
            assert len(active.stream_counts_) == 2
            largest = max(largest, active.stream_counts_.max())
    assert largest == 4


@pytest.mark.parametrize("weights", [None, [1, 2, 3, 4, 5]])
def test_a_stream_is_replaced_before_the_next_item_once_it_gave_its_last(weights):
    streamers = [Streamer(forever, place) for place in range(5)]
    mux = StochasticMux(streamers, 4, 3, weights, random_state=0, dist="constant")
    with mux as active:
        n_full = {(active.stream_counts_ == 3).sum() for _ in itertools.islice(active.stream_, 200)}
    assert n_full == {0, 1}


def test_weights_of_the_open_streams():
    streamers = [Streamer(forever, place) for place in range(3)]
    mux = StochasticMux(streamers, 2, 3, [1, 2, 5], "single_active", random_state=0)
    pairs = set()
    with mux as active:
        for _ in itertools.islice(active.stream_, 200):
            pairs.add(tuple(sorted(np.round(8 * active.stream_weights_).astype(int).tolist())))
    assert pairs == {(1, 2), (1, 5), (2, 5)}


@some(RANDOM)
@pytest.mark.parametrize("random_state", [5, np.random.SeedSequence(5)])
def test_an_activated_copy_gives_the_items_of_the_seed(make, random_state):
    mux = make(streams_of(6, 7), random_state=random_state)
    wanted = [item["x"] for item in mux.iterate(40)]
    with mux as active:
        assert [item["x"] for item in itertools.islice(active.stream_, 40)] == wanted


@every_mux
def test_an_activated_copy_opens_nothing_once_its_block_has_ended(recorder, make):
    mux = make(recorder.endless(4))
    with mux as active:
        assert active.is_activated_copy
    with contextlib.suppress(AttributeError):
        assert len(active.streams_) == 0
    assert [each.active for each in mux.streamers] == [0] * 4


# Wrong arguments.


def build(mux, **changes):
    """Construct a mux with some arguments other than these."""
    arguments = {"streamers": ["a", "b", "c"]}
    if mux is StochasticMux:
        arguments.update(n_active=2, rate=3)
    if mux is pescador.Mux:
        arguments.update(k=2, rate=3)
    return mux(**{**arguments, **changes})


NAN, INF = float("nan"), float("inf")
NO_NUMBERS = (None, "2", b"2", True, False, np.True_, [2], (2,), {}, 1j, np.array([1, 2]), object)
NO_COUNTS = (*NO_NUMBERS, 0, -1, -(10**9), 0.5, 2.5, NAN, INF, -INF, np.float64(1.5), 10**400)
NO_RATES = (*NO_NUMBERS[1:], 0, 0.0, -0.0, -1, -1e-9, NAN, INF, -INF, np.float32("inf"))
NO_TRUTHS = (None, "yes", "", 2, -1, 0.5, NAN, [], [True], object)
NO_SEEDS = (True, False, np.True_, -1, np.int64(-5), 1.5, 3.0, NAN, "seed", [1, 2], {}, random, 1j)
STOCHASTIC_MODES = "'with_replacement', 'single_active', 'exhaustive'"
ROUND_ROBIN_MODES = "'exhaustive', 'cycle', 'permuted_cycle', 'shortest'"
MUX_CLASSES = (StochasticMux, ShuffledMux, RoundRobinMux, ChainMux)
WRONG = [
    *((StochasticMux, "n_active", value, "must be a whole number >= 1") for value in NO_COUNTS),
    *((StochasticMux, "rate", value, "must be a finite number > 0") for value in NO_RATES),
    *((StochasticMux, "prune_empty_streams", v, "must be True or False") for v in NO_TRUTHS),
    *(
        (StochasticMux, "mode", value, f"choose one of {STOCHASTIC_MODES}")
        for value in ("bogus", "cycle", "", "Exhaustive", None, 1, ["exhaustive"], b"exhaustive")
    ),
    *(
        (StochasticMux, "dist", value, "choose one of 'poisson', 'constant', 'binomial'")
        for value in ("normal", "", None, 0, ["poisson"])
    ),
    *(
        (RoundRobinMux, "mode", value, f"choose one of {ROUND_ROBIN_MODES}")
        for value in ("bogus", "single_active", None, True)
    ),
    *(
        (ChainMux, "mode", value, "choose one of 'exhaustive', 'cycle'")
        for value in ("bogus", "permuted_cycle", None, True)
    ),
    *(
        (mux, "random_state", value, "give None, an integer >= 0, or a NumPy RandomState")
        for mux in MUX_CLASSES
        for value in NO_SEEDS
    ),
]


def starts_as(value):
    """Return the beginning of what a message shows of a value."""
    return " ".join(repr(value).split())[:13]


@pytest.mark.parametrize(
    ("mux", "name", "value", "rule"),
    WRONG,
    ids=[f"{mux.__name__}-{name}-{repr(value)[:20]}" for mux, name, value, _ in WRONG],
)
def test_wrong_arguments_are_refused_at_once(mux, name, value, rule):
    with pytest.raises(PescadorError) as caught:
        build(mux, **{name: value})
    assert str(caught.value).startswith(f"{name}={starts_as(value)}")
    assert rule in str(caught.value)


def test_a_rate_too_large_for_a_float_is_refused():
    with pytest.raises(PescadorError, match=r"rate=1000.*must be a finite number"):
        build(StochasticMux, rate=10**400)


@pytest.mark.parametrize(
    ("n_active", "rate"),
    [(1, 1), (2.0, 0.25), (1e0, 3), (np.int8(2), np.float32(2)), (np.uint64(2), np.int16(4))],
)
def test_numbers_of_any_type_are_accepted(n_active, rate):
    mux = build(StochasticMux, n_active=n_active, rate=rate)
    assert (mux.n_active, mux.rate) == (n_active, rate)
    assert len(list(mux.iterate(5))) == 5


NO_STREAMERS = (None, 3, 2.5, object(), len, lambda: 3, int, NotImplemented)


@pytest.mark.parametrize("mux", MUX_CLASSES)
@pytest.mark.parametrize("value", NO_STREAMERS, ids=shown)
def test_what_is_no_collection_is_refused(mux, value):
    with pytest.raises(PescadorError) as caught:
        build(mux, streamers=value)
    assert starts_as(value) in str(caught.value)


@pytest.mark.parametrize("mux", MUX_CLASSES)
@pytest.mark.parametrize("value", [{}, {"a": "b"}, {0: Streamer("a")}, "ab", "", b"ab"], ids=repr)
def test_mappings_and_strings_are_refused(mux, value):
    with pytest.raises(PescadorError) as caught:
        build(mux, streamers=value)
    text = str(caught.value)
    assert text.startswith(f"streamers={starts_as(value)}")
    assert f"a {type(value).__name__} is not a collection of streamers" in text


@pytest.mark.parametrize("mux", MUX_CLASSES[:3])
@pytest.mark.parametrize(
    "value", [[], (), np.array([]), iter([]), Streamer([]), Streamer(tagged, 0, 0)], ids=shown
)
def test_an_empty_collection_is_refused(mux, value):
    with pytest.raises(PescadorError, match="at least one streamer"):
        build(mux, streamers=value)


@pytest.mark.parametrize("mux", MUX_CLASSES)
@pytest.mark.parametrize("wrong", NO_STREAMERS, ids=shown)
def test_a_member_that_is_no_streamer_is_refused(mux, wrong):
    with pytest.raises(PescadorError) as caught:
        build(mux, streamers=["a", "b", wrong, "c", None])
    assert str(caught.value).startswith(f"streamers[2]={starts_as(wrong)}")


WRONG_WEIGHTS = [
    ([1, -1, 1], "weights[1]=", "-1", "finite and >= 0"),
    ([1, 1, -0.5], "weights[2]=", "-0.5", "finite and >= 0"),
    ([NAN, 1, 1], "weights[0]=", "nan", "finite and >= 0"),
    ([1, INF, NAN], "weights[1]=", "inf", "finite and >= 0"),
    ([1, 1, -INF], "weights[2]=", "-inf", "finite and >= 0"),
    (np.float32([1, 1, np.inf]), "weights[2]=", "inf", "finite and >= 0"),
    (np.int8([1, 1, -3]), "weights[2]=", "-3", "finite and >= 0"),
    ([1, "2", 1], "weights[1]=", "'2'", "number"),
    ([1, 1, None], "weights[2]=", "None", "number"),
    ([1, [1], 1], "weights[1]=", "[1]", "number"),
    ([1, 1, 1j], "weights[2]=", "1j", "number"),
    ([10**400, 1, 1], "weights[0]=", "1000", "finite and >= 0"),
    ([0, 0, 0], "weights=", "[0, 0, 0]", "positive"),
    ([0.0, -0.0, 0.0], "weights=", "[0.0, -0.0, 0.0]", "positive"),
    ([], "weights=", "[]", "3 streamers"),
    ([1, 1], "weights=", "[1, 1]", "3 streamers"),
    ([1, 1, 1, 1], "weights=", "[1, 1, 1, 1]", "3 streamers"),
    (np.ones((3, 1)), "weights=", "array([[1.], [1.],", "3 streamers"),
    (np.ones((1, 3)), "weights=", "array([[1., 1., 1.]])", "3 streamers"),
    (1, "weights=", "1", "3 streamers"),
    ("abc", "weights=", "'abc'", "numbers"),
    (b"abc", "weights=", "b'abc'", "numbers"),
    ({0: 1, 1: 1, 2: 1}, "weights=", "{0: 1, 1: 1, 2: 1}", "numbers"),
    ({1, 2, 3}, "weights=", "{1, 2, 3}", "numbers"),
    (np.array(["1", "2", "3"]), "weights", "'1'", "number"),
    (iter([1, 1, 1]), "weights=", "<list_iterator", "numbers"),
]


@pytest.mark.parametrize("mux", [StochasticMux, ShuffledMux])
@pytest.mark.parametrize(
    ("weights", "name", "value", "rule"),
    WRONG_WEIGHTS,
    ids=[repr(each[0])[:20] for each in WRONG_WEIGHTS],
)
def test_wrong_weights_are_refused_at_once(mux, weights, name, value, rule):
    with pytest.raises(PescadorError) as caught:
        build(mux, weights=weights)
    text = str(caught.value)
    assert text.startswith(name)
    assert value in text
    assert rule in text


@pytest.mark.parametrize("mux", MUX_CLASSES)
def test_an_unknown_parameter_is_refused(mux):
    with pytest.raises(TypeError, match="bogus"):
        build(mux, bogus=1)


# Where randomness comes from.


def shuffled(random_state=None):
    """Return a mux whose items depend on its seed."""
    return ShuffledMux([Streamer(tagged, place, 9) for place in range(9)], None, random_state)


def order(mux, n_items=60):
    """Return the first items of a mux of tagged dicts, as numbers."""
    return [np.ravel(item["x"]).tolist() for item in mux.iterate(n_items)]


@some(MUXES)
def test_an_integer_names_one_sequence(make):
    mux = make(streams_of(6, 7), random_state=12345678)
    first = order(mux)
    assert first
    assert order(mux) == first
    assert order(make(streams_of(6, 7), random_state=12345678)) == first


@some(RANDOM)
@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32, np.uint64])
def test_integers_of_any_type_name_the_same_sequence(make, kind):
    streamers = streams_of(6, 7)
    assert order(make(streamers, random_state=kind(77))) == order(make(streamers, random_state=77))


@some(RANDOM)
def test_different_seeds_give_different_sequences(make):
    streamers = streams_of(6, 7)
    seeds = [0, 1, 2**32 - 1, 2**32, 2**64, 10**40]
    runs = [order(make(streamers, random_state=seed)) for seed in seeds]
    assert len(set(map(str, runs))) == len(seeds)


@some(RANDOM)
def test_none_follows_the_global_seed(make):
    mux = make(streams_of(6, 7))
    runs = []
    for seed in (3, 4, 3):
        np.random.seed(seed)
        runs.append([order(mux), order(mux)])
    assert runs[0] == runs[2]
    assert len({str(run) for pair in runs[:2] for run in pair}) == 4


def generators(seed):
    """Return the random generators that advance."""
    return [np.random.RandomState(seed), np.random.default_rng(seed)]


@some(RANDOM)
@pytest.mark.parametrize("index", [0, 1])
def test_a_generator_advances(make, index):
    streamers = streams_of(6, 7)
    mux = make(streamers, random_state=generators(9)[index])
    runs = [order(mux) for _ in range(3)]
    assert len(set(map(str, runs))) == 3
    again = make(streamers, random_state=generators(9)[index])
    assert [order(again) for _ in range(3)] == runs


@some(RANDOM)
@pytest.mark.parametrize("index", [0, 1])
def test_two_muxes_that_share_a_generator_differ(make, index):
    streamers, generator = streams_of(6, 7), generators(9)[index]
    assert order(make(streamers, random_state=generator)) != order(
        make(streamers, random_state=generator)
    )


def states(random_state):
    """Return what tells whether random generators have been used."""
    return repr(np.random.get_state()), pickle.dumps(random_state)


@every_mux
@pytest.mark.parametrize("index", [0, 1])
def test_a_generator_is_drawn_from_when_a_run_starts_and_never_later(make, index):
    random_state = generators(9)[index]
    before = states(random_state)
    mux = make([*streams_of(5, 7), shuffled()], random_state=random_state)
    stream = mux.iterate(50)
    assert states(random_state) == before
    next(stream)
    after = states(random_state)
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert list(stream)
    assert states(random_state) == after


@some(RANDOM)
def test_the_global_generator_is_drawn_from_once(make):
    with make(streams_of(6, 7)).iterate(50) as stream:
        next(stream)
        before = states(None)
        assert list(stream)
        assert states(None) == before


@every_mux
def test_a_seeded_mux_leaves_the_global_generator_alone(make):
    before = states(None)
    assert order(make([shuffled(), *streams_of(5, 7)], random_state=1))
    assert states(None) == before


@some(RANDOM)
def test_a_seed_sequence(make):
    streamers = streams_of(6, 7)
    sequences = [np.random.SeedSequence(5), np.random.SeedSequence(5), np.random.SeedSequence(6)]
    runs = [order(make(streamers, random_state=each)) for each in sequences]
    assert runs[0] == runs[1] != runs[2]
    children = np.random.SeedSequence(5).spawn(2)
    assert len({str(order(make(streamers, random_state=each))) for each in children}) == 2


@every_mux
def test_the_attribute_rng(make):
    assert make(["a"]).rng is np.random
    assert isinstance(make(["a"], random_state=7).rng, np.random.RandomState)
    assert make(["a"], random_state=7).rng.randint(10**9) == np.random.RandomState(7).randint(10**9)
    for generator in generators(0):
        assert make(["a"], random_state=generator).rng is generator


# Nothing repeats inside a run.


def epochs_of(stream, n_epochs, n_items=8):
    """Return the first epochs of a stream of tagged dicts."""
    items = [item["x"] for item in itertools.islice(stream, n_epochs * n_items)]
    return [tuple(items[start : start + n_items]) for start in range(0, len(items), n_items)]


@pytest.mark.parametrize("random_state", [None, 0, np.int64(1), np.random.SeedSequence(2)])
def test_the_passes_of_a_cycle_differ(random_state):
    epochs = epochs_of(epoch_mux(8, random_state).cycle(), 10)
    assert {tuple(sorted(epoch)) for epoch in epochs} == {tuple(range(0, 8000, 1000))}
    assert len(set(epochs)) == 10


@pytest.mark.parametrize(
    "outer",
    [
        MUXES["with_replacement"],
        MUXES["single_active"],
        MUXES["shuffled"],
        MUXES["in turn, cycle"],
        MUXES["in turn, permuted"],
        MUXES["chain, cycle"],
    ],
)
@pytest.mark.parametrize("seeds", [(0, 0), (0, None), (None, 0), (None, None)])
def test_the_activations_of_a_child_differ(outer, seeds):
    if outer in (MUXES["with_replacement"], MUXES["single_active"]):
        outer = functools.partial(outer, n_active=1, rate=None)
    mux = outer([epoch_mux(8, seeds[1])], random_state=seeds[0])
    epochs = epochs_of(mux, 10)
    assert {tuple(sorted(epoch)) for epoch in epochs} == {tuple(range(0, 8000, 1000))}
    assert len(set(epochs)) == 10


def test_seeded_muxes_that_are_opened_again_and_again_go_on():
    inner = ShuffledMux([Streamer(forever, place) for place in range(1000)], random_state=5)
    mux = StochasticMux([inner], 1, 6, random_state=0, dist="constant")
    items = list(mux.iterate(600))
    starts = {tuple(items[start : start + 6]) for start in range(0, 600, 6)}
    assert len(starts) == 100


@pytest.mark.parametrize("seed", [None, 4])
@pytest.mark.parametrize("is_same", [True, False])
def test_children_side_by_side_differ(seed, is_same):
    children = [epoch_mux(12, seed), epoch_mux(12, seed)]
    items = [item["x"] for item in RoundRobinMux([children[0], children[not is_same]])]
    assert sorted(items[::2]) == sorted(items[1::2])
    assert items[::2] != items[1::2]


def side_by_side(first, second):
    """Yield the items of two muxes, by turns."""
    for pair in zip(first, second):
        yield from pair


def twice(mux):
    """Yield the items of a mux, and then those of another run of it."""
    yield from mux
    yield from mux


@pytest.mark.parametrize("seed", [None, 4])
@pytest.mark.parametrize("root", [None, 0])
def test_muxes_that_are_arguments_differ(seed, root):
    child = epoch_mux(12, seed)
    mux = ChainMux([Streamer(side_by_side, child, second=child)], random_state=root)
    items = [item["x"] for item in mux]
    assert sorted(items[::2]) == sorted(items[1::2])
    assert items[::2] != items[1::2]


@pytest.mark.parametrize("seed", [None, 4])
@pytest.mark.parametrize("root", [None, 0])
def test_runs_of_an_argument_differ(seed, root):
    mux = ChainMux([Streamer(twice, epoch_mux(12, seed))], "cycle", root)
    epochs = epochs_of(mux, 6, 12)
    assert len({tuple(sorted(epoch)) for epoch in epochs}) == 1
    assert len(set(epochs)) == 6


# One seed at the root fixes the tree.


WRAPPERS = {
    "itself": lambda mux: mux,
    "a streamer": Streamer,
    "a streamer of a streamer": lambda mux: Streamer(Streamer(mux)),
    "a call": lambda mux: Streamer(mux, 13),
    "batches": lambda mux: Streamer(pescador.buffer_stream, mux, 4),
    "batches, by keyword": lambda mux: Streamer(pescador.buffer_stream, buffer_size=4, stream=mux),
    "a cache": lambda mux: Streamer(pescador.cache, mux, 4),
    "a partial": lambda mux: Streamer(functools.partial(pescador.buffer_stream, mux, 4)),
    "batches of batches": lambda mux: Streamer(
        pescador.buffer_stream, Streamer(pescador.buffer_stream, mux, 2), 2
    ),
    "a chain": lambda mux: ChainMux([mux]),
    "a lazy chain": lambda mux: ChainMux(Streamer([mux])),
    "turns": lambda mux: RoundRobinMux([mux, mux]),
    "a mux of muxes": lambda mux: ShuffledMux([mux, Streamer(mux)]),
    "a rate": lambda mux: StochasticMux([mux, mux], 1, 3),
}


@matrix(cover=1, make=MUXES, wrap=WRAPPERS)
def test_the_seed_of_the_root_fixes_the_tree(make, wrap):
    def run(seed, global_seed):
        np.random.seed(global_seed)
        return order(make([wrap(shuffled()), wrap(epoch_mux(12))], random_state=seed), 40)

    assert run(5, 0) == run(5, 1)
    assert run(5, 0) != run(6, 0)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_the_global_seed_fixes_a_tree_without_seeds(wrap):
    def run(global_seed):
        np.random.seed(global_seed)
        return order(ShuffledMux([wrap(shuffled()), wrap(epoch_mux(12))]), 40)

    assert run(0) == run(0)
    assert run(0) != run(1)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapped_child_differs_each_time_it_is_opened(wrap):
    mux = ChainMux([wrap(epoch_mux(12)), wrap(epoch_mux(12))], "cycle", 0)
    items = [str(item) for item in order(mux, 400)]
    starts = {tuple(items[start : start + 3]) for start in range(0, 399, 3)}
    assert len(starts) > 100


def test_a_seed_of_its_own_makes_a_child_independent_of_the_root():
    runs = [
        [item["x"] for item in ChainMux([shuffled(5)], random_state=seed).iterate(40)]
        for seed in (0, 1)
    ]
    assert runs[0] == runs[1]


# Runs are independent.


@every_mux
@pytest.mark.parametrize("seed", [0, 1])
def test_runs_read_in_turns_do_not_disturb_each_other(make, seed):
    inner = make(streams_of(4, 3), random_state=seed)
    mux = make([inner, shuffled(), *streams_of(3, 5)], random_state=seed + 1)
    wanted = [item["x"] for item in mux.iterate(40)]
    runs = [mux.iterate(40) for _ in range(3)]
    given = [[], [], []]
    turns = [index for index in range(3) for _ in wanted]
    random.Random(seed).shuffle(turns)
    for index in turns:
        given[index].append(next(runs[index])["x"])
    for run in runs:
        run.close()
    assert given == [wanted] * 3


@every_mux
def test_copies_give_the_same_items(make):
    mux = make([shuffled(), *streams_of(3, 5)], random_state=3)
    wanted = order(mux)
    assert order(copy.copy(mux)) == wanted
    assert order(copy.deepcopy(mux)) == wanted
    assert order(pickle.loads(pickle.dumps(mux))) == wanted


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=pytest.mark.full)])
def test_seeded_muxes_give_the_same_items_in_another_process(method):
    muxes = {
        name: make([epoch_mux(), shuffled(), *streams_of(3, 5)], random_state=7)
        for name, make in MUXES.items()
    }
    wanted = {name: first_items(mux) for name, mux in muxes.items()}
    pickles = {name: pickle.dumps(mux) for name, mux in muxes.items()}
    pickles["unseeded"] = pickle.dumps(epoch_mux())
    given = read_in_child(method, pickles)
    assert sorted(item["x"] for item in given.pop("unseeded")) == list(range(0, 8000, 1000))
    assert given == wanted


# The class of 1.x.


def deprecated_mux(*args, **kwargs):
    """Construct a Mux, and expect the warning."""
    with pytest.warns(DeprecationWarning, match="Mux is deprecated"):
        return pescador.Mux(*args, **kwargs)


def test_mux_warns_where_it_is_used():
    with pytest.warns(DeprecationWarning) as warnings:
        pescador.Mux(["a"], 1)
    assert [each.filename for each in warnings] == [__file__]


@pytest.mark.parametrize(
    ("with_replacement", "revive", "mode"),
    [
        (True, False, "with_replacement"),
        (True, True, "with_replacement"),
        (False, True, "single_active"),
        (False, False, "exhaustive"),
    ],
)
def test_mux_modes(recorder, with_replacement, revive, mode):
    streamers = recorder.endless(3)
    mux = deprecated_mux(
        streamers, 5, 4, with_replacement=with_replacement, revive=revive, random_state=0
    )
    items = list(mux.iterate(500))
    assert (len(items) == 500) == (mode != "exhaustive")
    assert recorder.most_open == (5 if mode == "with_replacement" else 3)
    assert (sorted(recorder.started) == [0, 1, 2]) == (mode == "exhaustive")


def test_mux_positional_order(recorder):
    mux = deprecated_mux(recorder.finite(3, 4), 2, None, [1, 0, 2], False, True, False, 5)
    assert sorted(mux) == [(place, index) for place in (0, 2) for index in range(4)]
    assert mux.random_state == 5


def test_mux_without_replacement_gives_every_item_once(recorder):
    mux = deprecated_mux(recorder.finite(5, 4), 2, None, with_replacement=False)
    assert sorted(mux) == [(place, index) for place in range(5) for index in range(4)]


def test_mux_allows_one_item_and_a_poisson_number(recorder):
    mux = deprecated_mux(recorder.endless(3), 1, 5, random_state=0)
    list(mux.iterate(12_000))
    # 2000 activations of 6 items; the standard deviation of their sum is 100.
    assert 1900 < len(recorder.started) < 2100


def test_mux_default_rate(recorder):
    list(deprecated_mux(recorder.endless(3), 1, random_state=0).iterate(25_700))
    assert 90 < len(recorder.started) < 110


@pytest.mark.parametrize("value", [8, None])
def test_mux_lam_is_rate(recorder, value):
    streamers = recorder.endless(3)
    with pytest.warns(DeprecationWarning) as warnings:
        older = pescador.Mux(streamers, 2, lam=value, random_state=0)
    assert any("'lam' was renamed 'rate'" in str(each.message) for each in warnings)
    newer = deprecated_mux(streamers, 2, rate=value, random_state=0)
    assert list(older.iterate(300)) == list(newer.iterate(300))
    assert older.rate == newer.rate == value


@pytest.mark.parametrize("prune", [True, False])
def test_mux_prunes(recorder, prune):
    streamers = [*recorder.empty(1), Streamer(recorder.read, 1, "ab")]
    mux = deprecated_mux(streamers, 1, None, prune_empty_streams=prune, random_state=0)
    assert len(list(mux.iterate(200))) == 200
    assert (recorder.started.count(0) == 1) == prune


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("k", value) for value in (None, 0, -1, 1.5, "2", True)),
        *(("rate", value) for value in (0, -1, NAN, INF, "2")),
        ("with_replacement", None),
        ("with_replacement", "no"),
        ("revive", 2),
        ("prune_empty_streams", None),
        ("weights", [1, -1, 1]),
        ("random_state", True),
        ("streamers", []),
        ("streamers", {"a": "b"}),
    ],
)
@pytest.mark.filterwarnings("ignore:Mux is deprecated:DeprecationWarning")
def test_mux_refuses_wrong_arguments(name, value):
    with pytest.raises(PescadorError, match=f"^{name}[=[]"):
        build(pescador.Mux, **{name: value})


# Closing.


class StopReading(Exception):
    """What a consumer raises in the tests."""


def read_and_break(mux):
    for _ in mux:
        break


def read_and_raise(mux):
    with contextlib.suppress(StopReading):
        for _ in mux:
            raise StopReading


def read_and_close(mux):
    stream = mux.iterate()
    next(stream)
    stream.close()
    stream.close()
    assert list(stream) == []


def read_in_a_block(mux):
    with mux.iterate() as stream:
        next(stream)


def read_an_activated_copy(mux):
    with mux as active:
        next(active.stream_)


def read_two_at_once(mux):
    with mux.iterate() as first, mux.cycle() as second:
        next(first), next(second)


def read_a_number(mux):
    assert len(list(mux.iterate(2))) == 2


WAYS_OUT = (
    read_and_break,
    read_and_raise,
    read_and_close,
    read_in_a_block,
    read_an_activated_copy,
    read_two_at_once,
    read_a_number,
)
KINDS = ("with_replacement", "shuffled", "in turn, permuted", "chain, cycle")


@pytest.mark.parametrize("kinds", [*itertools.product(KINDS, repeat=3)], ids="/".join)
def test_sources_three_muxes_deep_are_closed_on_every_way_out(recorder, kinds):
    outer, middle, inner = (MUXES[kind] for kind in kinds)
    for read in WAYS_OUT:
        streamers = recorder.endless(2)
        read(outer([middle([inner(streamers), "ab"]), middle([inner(streamers)])]))
        assert recorder.open == [], read
        assert sum(each.active for each in streamers) == 0, read


@every_mux
@pytest.mark.parametrize("read", WAYS_OUT)
def test_sources_behind_a_map_are_closed_on_every_way_out(recorder, make, read):
    source = Streamer(recorder.read, 0, itertools.repeat({"x": 1}))
    batches = Streamer(pescador.buffer_stream, Streamer(make([source, source])), 2)
    read(make([batches, batches]))
    assert recorder.open == []
    assert source.active == 0


def test_a_replaced_stream_is_closed_at_once(recorder):
    mux = StochasticMux(recorder.endless(5), 2, 1, random_state=0)
    for _ in mux.iterate(50):
        assert len(recorder.open) <= 2
    assert recorder.most_open <= 2


def hurt_on_closing(recorder, place):
    """Yield for ever; fail when closed."""
    try:
        yield from recorder.read(place, itertools.repeat(place))
    finally:
        raise ValueError(f"source {place} fails when closed")


@some(["with_replacement", "single_active", "exhaustive", *OPEN_ALL])
@pytest.mark.parametrize("wrong", [[0], [1], [2], [0, 2]])
def test_closing_goes_on_when_a_source_fails_to_close(recorder, make, wrong):
    streamers = recorder.endless(3)
    for place in wrong:
        streamers[place] = Streamer(hurt_on_closing, recorder, place)
    if make not in [MUXES[name] for name in OPEN_ALL]:
        make = functools.partial(make, n_active=30, rate=None)
    stream = make(streamers, random_state=0).iterate()
    while set(recorder.open) != {0, 1, 2}:
        next(stream)
    with pytest.raises(ValueError, match="fails when closed"):
        stream.close()
    assert recorder.open == []
    assert [each.active for each in streamers] == [0, 0, 0]


def test_closing_goes_on_through_the_levels(recorder):
    wrong = Streamer(hurt_on_closing, recorder, 9)
    inner = RoundRobinMux([*recorder.endless(2), wrong])
    stream = RoundRobinMux([recorder.endless(1)[0], inner, *recorder.endless(2)]).iterate()
    list(itertools.islice(stream, 20))
    assert len(recorder.open) == 6
    with pytest.raises(ValueError, match="source 9"):
        stream.close()
    assert recorder.open == []


def test_a_source_that_fails_when_it_is_replaced(recorder):
    streamers = [Streamer(hurt_on_closing, recorder, 0), *recorder.endless(4)[1:]]
    mux = StochasticMux(streamers, 3, 2, mode="exhaustive", random_state=0)
    with pytest.raises(ValueError, match="source 0"):
        list(mux)
    assert recorder.open == []
    assert sum(each.active for each in streamers) == 0


# Sources that fail.


def hurt(recorder, place, error, n_items=2):
    """Yield some items, then fail."""
    yield from recorder.read(place, [place] * n_items)
    raise error


@every_mux
@pytest.mark.parametrize("n_items", [0, 2])
@pytest.mark.parametrize("kind", [OSError, TypeError, ValueError, KeyboardInterrupt])
def test_an_error_of_a_source_arrives_as_itself(recorder, make, n_items, kind):
    error = kind("the source failed")
    streamers = recorder.endless(3)
    streamers[0] = Streamer(hurt, recorder, 0, error, n_items)
    if make is MUXES["exhaustive"]:
        make = functools.partial(make, rate=10**6)
    mux = make([make(streamers, random_state=0), *recorder.endless(2)], random_state=0)
    stream = mux.iterate(10_000)
    with pytest.raises(kind) as caught:
        list(stream)
    assert caught.value is error
    assert recorder.open == []
    assert sum(each.active for each in (*streamers, mux)) == 0
    assert list(stream) == []


class FailsToIterate:
    """An iterable that cannot be iterated at the moment."""

    def __init__(self, error):
        self.error = error

    def __iter__(self):
        raise self.error


@every_mux
def test_an_error_on_opening_arrives_as_itself(recorder, make):
    error = OSError("cannot be opened")
    streamers = [*recorder.finite(1, 3), Streamer(FailsToIterate(error)), *recorder.finite(1, 3)]
    with pytest.raises(OSError, match="cannot be opened") as caught:
        list(make(streamers, random_state=0).iterate(10_000))
    assert caught.value is error
    assert recorder.open == []
    assert [each.active for each in streamers] == [0, 0, 0]


def test_a_mux_can_be_read_again_after_an_error(recorder):
    errors = iter([OSError("once")])

    def source():
        for error in errors:
            raise error
        yield from "ab"

    mux = RoundRobinMux([source, "cd"])
    with pytest.raises(OSError, match="once"):
        list(mux)
    assert "".join(mux) == "acbd"


def test_a_one_shot_member_can_be_opened_once():
    mux = RoundRobinMux([iter("ab"), "cd"], mode="cycle")
    with mux.iterate() as stream:
        assert [next(stream) for _ in range(4)] == ["a", "c", "b", "d"]
        with pytest.raises(PescadorError, match="only once"):
            next(stream)


# Scale.


MANY = 10**6


@pytest.fixture(scope="module")
def million():
    return [Streamer(forever, 0)] * MANY


def assert_starts_soon(mux):
    """Check that a first item costs less work than ten short loops over the pool, in one try."""

    def start():
        with mux.iterate() as stream:
            next(stream)

    def loop():
        for each in mux.streamers:
            each.active

    assert any(seconds_of(start) < 10 * seconds_of(loop) for _ in range(5))


def seconds_of(function):
    """Return for how long this thread works on a function."""
    start = time.thread_time()
    function()
    return time.thread_time() - start


@matrix(cover=1, mode=MODES, is_weighted=[False, True])
def test_the_first_item_of_a_million_streamers_comes_soon(million, mode, is_weighted):
    weights = np.arange(MANY) if is_weighted else None
    assert_starts_soon(StochasticMux(million, 32, 16, weights, mode, random_state=0))


def test_the_first_item_of_a_chain_of_a_million_comes_soon(million):
    assert_starts_soon(ChainMux(million))


def count_calls(stream, n_items):
    """Return the number of calls, in Python and in C, that some items take."""
    n_calls = 0

    def note(frame, event, argument):
        nonlocal n_calls
        n_calls += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        for _ in range(n_items):
            next(stream)
    finally:
        sys.setprofile(None)
    return n_calls


@matrix(cover=1, mode=MODES, is_weighted=[False, True], dist=DISTS)
def test_the_cost_of_a_replacement_does_not_grow_with_the_pool(million, mode, is_weighted, dist):
    n_calls = []
    for n_streams in (2_000, 200_000):
        weights = 1 + np.arange(n_streams) % 3 if is_weighted else None
        streamers = million[:n_streams]
        mux = StochasticMux(streamers, 8, 1, weights, mode, random_state=0, dist=dist)
        with mux.iterate() as stream:
            next(stream)
            n_calls.append(count_calls(stream, 1500))
    assert n_calls[1] < 1.1 * n_calls[0]


def test_the_cost_of_leaving_out_empty_streams_does_not_grow_with_the_pool(million):
    n_calls = []
    for n_streams in (2_000, 200_000):
        streamers = [Streamer(())] * n_streams
        mux = StochasticMux([*streamers, *million[:n_streams]], 8, 1, random_state=0)
        with mux.iterate() as stream:
            next(stream)
            n_calls.append(count_calls(stream, 500))
    assert n_calls[1] < 1.2 * n_calls[0]


@pytest.mark.parametrize("n_active", [10, 1000])
def test_an_item_costs_the_same_for_any_number_of_open_streams(million, n_active):
    mux = StochasticMux(million[: 10**4], n_active, None, random_state=0)
    with mux.iterate() as stream:
        next(stream)
        assert count_calls(stream, 2000) < 2000 * 8
