"""One contract, held by every kind of streamer in every mode.

The checks are functions of a case; ``test_contract`` runs each of them over each case.
"""

import copy
import functools
import itertools
import multiprocessing
import os
import pickle
import tempfile
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from _cases import some
from _sources import (
    READERS,
    TIMEOUT,
    WAYS_OUT,
    Recorder,
    each_of,
    first_items,
    plain,
    read_in_child,
    read_together,
    records,
    within,
)

import pescador
from pescador import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux, Streamer, ZMQStreamer

N_LEAVES = 4
N_ITEMS = 12  # of a leaf
SEED = 20180123
WEIGHTS = np.array([0.5, 0.0, 2.0, 1.5])
WEIGHTS.flags.writeable = False


class Case(NamedTuple):
    """A kind of streamer: ``make(leaf, seed)`` builds one over sources that ``leaf`` makes."""

    make: Callable
    is_endless: bool = False  # iterate() never ends
    is_complete: bool = True  # every pass that ends gives all that the sources have
    is_random: bool = True
    n_per_item: int = 1
    is_elsewhere: bool = False  # the sources run in background processes, ahead of the reader


class Leaves:
    """Makes sources, a place to each, and keeps them."""

    def __init__(self, source=records, n_items=N_ITEMS, **kwargs):
        self.source = source
        self.n_items = n_items
        self.kwargs = kwargs
        self.made = []

    def __call__(self, place):
        leaf = Streamer(self.source, 100 * place, self.n_items, **self.kwargs)
        self.made.append(leaf)
        return leaf


class SharedRecorder:
    """Counts as a Recorder does, in a file that it shares with processes forked from this one."""

    def __init__(self):
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it outlives this

    def __del__(self):
        self._file.close()

    def _n_told(self, event):
        return os.pread(self._file.fileno(), 2**20, 0).count(event)

    n_started = property(lambda self: self._n_told(b"s"))
    n_pulled = property(lambda self: self._n_told(b"p"))
    n_closed = property(lambda self: self._n_told(b"c"))
    n_open = Recorder.n_open

    def source(self, first=0, n_items=None, fails_after=None):
        """Yield what a Recorder's source yields."""
        self._file.write(b"s")
        try:
            for item in Recorder().source(first, n_items, fails_after):
                self._file.write(b"p")
                yield item
        finally:
            self._file.write(b"c")


def pool(leaf):
    """Return the sources of a mux."""
    return [leaf(place) for place in range(N_LEAVES)]


def old_mux(*args, **kwargs):
    """Return a mux of the oldest kind, which is deprecated."""
    with pytest.warns(DeprecationWarning, match="StochasticMux"):
        return pescador.mux.Mux(*args, **kwargs)


# The cases.


def _stochastic(mode, dist, **kwargs):
    def make(leaf, seed):
        leaves = pool(leaf)
        return StochasticMux(leaves, 2, 2.5, mode=mode, dist=dist, random_state=seed, **kwargs)

    return Case(make, is_endless=mode != "exhaustive", is_complete=False)


def _same_weights(n_items):
    return WEIGHTS


def _stochastic_cases():
    modes, dists = pescador.mux.STOCHASTIC_MODES, pescador.mux.DISTS
    for mode, dist in itertools.product(modes, dists):
        yield f"StochasticMux-{mode}-{dist}", _stochastic(mode, dist)
        yield f"StochasticMux-{mode}-{dist}-weights", _stochastic(mode, dist, weights=WEIGHTS)
    for mode, dist in itertools.product(modes[:2], dists):
        share = {"weights": WEIGHTS, "weighting": "share"}
        yield f"StochasticMux-{mode}-{dist}-share", _stochastic(mode, dist, **share)
    for mode in modes:
        yield (
            f"StochasticMux-{mode}-weights of a function",
            _stochastic(mode, "poisson", weights=_same_weights),
        )
        yield f"StochasticMux-{mode}-unlimited", _unlimited(mode)
        yield (
            f"StochasticMux-{mode}-unpruned",
            _stochastic(mode, "poisson", prune_empty_streams=False),
        )


def _unlimited(mode):
    def make(leaf, seed):
        return StochasticMux(pool(leaf), 9, None, mode=mode, random_state=seed)

    return Case(make, is_endless=mode != "exhaustive")


def _round_robin(mode):
    def make(leaf, seed):
        return RoundRobinMux(pool(leaf), mode=mode, random_state=seed)

    return Case(
        make,
        is_endless=mode not in ("exhaustive", "shortest"),
        is_complete=mode != "shortest",
        is_random=mode == "permuted_cycle",
    )


def _chain(mode, collect=list):
    def make(leaf, seed):
        return ChainMux(collect(pool(leaf)), mode=mode, random_state=seed)

    return Case(make, is_endless=mode == "cycle", is_random=False)


def _old(is_endless, rate=3.0, **kwargs):
    def make(leaf, seed):
        return old_mux(pool(leaf), 2, rate=rate, random_state=seed, **kwargs)

    return Case(make, is_endless)


def _mixed(leaf, seed=None):
    """Return a tree of muxes, three deep, in which only the root has a seed."""
    return ShuffledMux(
        [
            StochasticMux([leaf(0), RoundRobinMux([leaf(1), leaf(2)], "permuted_cycle")], 1, 4),
            ChainMux([leaf(3), StochasticMux([leaf(4), leaf(5)], 2, None, mode="exhaustive")]),
            leaf(6),
        ],
        weights=[3, 1, 2],
        random_state=seed,
    )


def _listed(leaf, seed):
    return Streamer([{"x": value} for value in range(30)])


def _limited_inside(leaf, seed):
    inner = StochasticMux(pool(leaf), 2, 3)
    return ShuffledMux([Streamer(inner, 5), Streamer(inner, max_iter=7)], random_state=seed)


def _buffered(leaf, seed):
    return Streamer(pescador.buffer_stream, _mixed(leaf, seed), 4)


def _buffered_inside(leaf, seed):
    mux = StochasticMux(pool(leaf), 2, 3)
    return ShuffledMux([Streamer(pescador.buffer_stream, mux, 4)], random_state=seed)


def _keyed(leaf, seed):
    return Streamer(pescador.tuples, Streamer(_mixed(leaf, seed)), "x")


# A recorder's counts cross to processes that are forked, and to no others. The limit is such that
# a source with all its items is not read ahead to its end.
_zmq = functools.partial(
    ZMQStreamer,
    max_bytes=2**10,
    item_timeout=TIMEOUT,
    start_method="fork" if "fork" in multiprocessing.get_all_start_methods() else None,
)


def _zmq_mux(leaf, seed):
    return _zmq(StochasticMux(pool(leaf), 2, 2.5, random_state=seed))


def _zmq_inside(leaf, seed):
    return ShuffledMux([_zmq(leaf(place)) for place in range(2)], random_state=seed)


def _zmq_inside_at_a_rate(leaf, seed):
    leaves = [_zmq(leaf(place)) for place in range(3)]
    return StochasticMux(leaves, 2, 20, mode="single_active", random_state=seed)


def _zmq_inside_and_around(leaf, seed):
    inner = [_zmq(leaf(0)), ChainMux([leaf(1), _zmq(RoundRobinMux([leaf(2), leaf(3)]))])]
    mux = StochasticMux(inner, 2, None, mode="exhaustive", random_state=seed)
    return _zmq(mux, transport="tcp")


CASES = {
    "Streamer-list": Case(_listed, is_random=False),
    "Streamer-generator": Case(lambda leaf, seed: leaf(0), is_random=False),
    "Streamer-streamer": Case(lambda leaf, seed: Streamer(leaf(0)), is_random=False),
    "Streamer-mux": Case(lambda leaf, seed: Streamer(_mixed(leaf, seed)), is_endless=True),
    "Streamer-mux-limit": Case(_limited_inside, is_endless=True),
    "Streamer-buffer_stream": Case(_buffered, is_endless=True, n_per_item=4),
    "Streamer-buffer_stream-inside": Case(_buffered_inside, is_endless=True, n_per_item=4),
    "Streamer-tuples": Case(_keyed, is_endless=True),
    **dict(_stochastic_cases()),
    "ShuffledMux": Case(lambda leaf, seed: ShuffledMux(pool(leaf), None, seed), is_endless=True),
    "ShuffledMux-weights": Case(
        lambda leaf, seed: ShuffledMux(pool(leaf), WEIGHTS, seed), is_endless=True
    ),
    **{f"RoundRobinMux-{mode}": _round_robin(mode) for mode in pescador.mux.ROUND_ROBIN_MODES},
    **{f"ChainMux-{mode}": _chain(mode) for mode in pescador.mux.CHAIN_MODES},
    **{
        f"ChainMux-{mode}-lazy": _chain(mode, lambda leaves: functools.partial(each_of, leaves))
        for mode in pescador.mux.CHAIN_MODES
    },
    "ChainMux-streamer": _chain("cycle", Streamer),
    "Mux": _old(True),
    "Mux-without-replacement": _old(False, None, with_replacement=False),
    "Mux-revive": _old(True, with_replacement=False, revive=True),
    "nested": Case(_mixed, is_endless=True),
    "nested-exhaustive": Case(
        lambda leaf, seed: StochasticMux(
            [
                RoundRobinMux(pool(leaf)),
                ChainMux(pool(leaf)),
                StochasticMux(pool(leaf), 2, None, mode="exhaustive"),
            ],
            2,
            None,
            mode="exhaustive",
            random_state=seed,
        )
    ),
    "ZMQStreamer": Case(lambda leaf, seed: _zmq(leaf(0)), is_random=False, is_elsewhere=True),
    "ZMQStreamer-mux": Case(_zmq_mux, is_endless=True, is_elsewhere=True),
    "ZMQStreamer-inside": Case(_zmq_inside, is_endless=True, is_elsewhere=True),
    "ZMQStreamer-inside-at-a-rate": Case(
        _zmq_inside_at_a_rate, is_endless=True, is_complete=False, is_elsewhere=True
    ),
    "ZMQStreamer-inside-and-around": Case(_zmq_inside_and_around, is_elsewhere=True),
}


# Those of the default run: each mode with each dist, and each option somewhere.
DEFAULT_STOCHASTIC = (
    "with_replacement-poisson",
    "with_replacement-constant-weights",
    "with_replacement-binomial-share",
    "with_replacement-unpruned",
    "single_active-poisson-share",
    "single_active-constant",
    "single_active-binomial-weights",
    "single_active-weights of a function",
    "exhaustive-poisson-weights",
    "exhaustive-constant",
    "exhaustive-binomial",
    "exhaustive-unlimited",
)
DEFAULT = [f"StochasticMux-{name}" for name in DEFAULT_STOCHASTIC]
# The ends of the names of others that repeat what is in the default run.
REPEATING = ("mux-limit", "-inside", "exhaustive-lazy", "ChainMux-streamer", "without-replacement")
DEFAULT += ["ZMQStreamer-mux", "ZMQStreamer-inside-and-around"]
DEFAULT += [
    name
    for name in CASES
    if not name.startswith(("StochasticMux", "ZMQStreamer")) and not name.endswith(REPEATING)
]


# What the checks use.


def built(case, seed=SEED):
    """Return a streamer whose sources are functions of this module's, and can be pickled."""
    return case.make(Leaves(), seed)


def recorded(case, **kwargs):
    """Return a streamer, its sources, and what they report to."""
    recorder = SharedRecorder() if case.is_elsewhere else Recorder()
    leaves = Leaves(recorder.source, **kwargs)
    return case.make(leaves, SEED), leaves, recorder


def items_of(streamer, n_items=60):
    """Return the first items of a new run."""
    return first_items(streamer, n_items)


def tree(value):
    """Yield a streamer and all streamers that it is made of."""
    if isinstance(value, functools.partial):
        value = value.args
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from tree(each)
    elif isinstance(value, Streamer):
        yield value
        yield from tree([getattr(value, "streamers", None), value.streamer, value.args])


def active_counts(streamer):
    """Return the set of the numbers of open runs in a whole tree."""
    return {each.active for each in tree(streamer)}


def is_pulled(case, n_pulled, n_given):
    """Tell whether it fits that so many items were pulled from the sources for those given."""
    n_needed = n_given * case.n_per_item
    if case.is_elsewhere and n_given:
        return n_pulled >= n_needed
    return n_pulled == n_needed


def in_order(items):
    """Return items in an order of their own, to compare them whatever their order was."""
    return sorted(map(repr, items))


# The checks.


def check_pulls_exactly_as_many_as_asked_for(case):
    for start, n_items in itertools.product(("iterate", "cycle"), (0, 1, 2, 17)):
        streamer, leaves, recorder = recorded(case, n_items=None if case.is_endless else 20)
        n_given = len(list(getattr(streamer, start)(n_items)))
        assert n_given == n_items or (start == "iterate" and not case.is_complete)
        if leaves.made:
            assert is_pulled(case, recorder.n_pulled, n_given)


def check_runs_are_independent(case):
    alone = items_of(built(case))
    streamer = built(case)
    pairs = zip(streamer.iterate(), streamer.cycle())
    one, other = zip(*itertools.islice(pairs, min(len(alone), 30)))
    assert [plain(item) for item in one] == alone[:30]
    assert [plain(item) for item in other] == items_of(streamer.cycle(), 30)[: len(other)]


def check_seeded_runs_repeat(case):
    streamer = built(case)
    np.random.seed(1)
    first = items_of(streamer)
    np.random.seed(2)
    assert items_of(streamer) == first
    assert items_of(built(case)) == first


def check_the_seed_decides(case):
    if case.is_random:
        assert items_of(built(case, 1)) != items_of(built(case, 2))


def check_the_global_seed_decides_where_there_is_no_other(case):
    def items(global_seed):
        np.random.seed(global_seed)
        return items_of(built(case, None))

    assert items(5) == items(5)
    assert (items(5) == items(6)) is not case.is_random


def check_leaving_a_stream_closes_its_sources(case):
    for leave in WAYS_OUT.values():
        streamer, leaves, recorder = recorded(case)
        leave(streamer)
        assert recorder.n_open == 0
        assert bool(recorder.n_started) == bool(leaves.made)
        assert active_counts(streamer) == {0}


def check_the_count_of_open_runs(case):
    streamer, leaves, _ = recorded(case)
    assert active_counts(streamer) == {0}
    with streamer.iterate() as one, streamer.cycle() as other:
        next(one), next(other)
        assert streamer.active == 2
        if not case.is_elsewhere:
            assert sum(leaf.active for leaf in leaves.made) >= 2 * bool(leaves.made)
    assert active_counts(streamer) == {0}


def check_an_end_leaves_nothing_open(case):
    streamer, _, recorder = recorded(case)
    stream = streamer.iterate(None if not case.is_endless else 50)
    assert list(stream)
    assert [next(stream, None) for _ in range(3)] == [None] * 3
    assert recorder.n_open == 0
    assert active_counts(streamer) == {0}


def check_an_error_arrives_as_itself(case):
    streamer, leaves, recorder = recorded(case, fails_after=1)
    stream = streamer.iterate(1000)
    if leaves.made:
        with pytest.raises(KeyError, match="the source failed"):
            list(stream)
        assert next(stream, "over") == "over"
    assert recorder.n_open == 0
    assert active_counts(streamer) == {0}


def check_empty_sources_end_every_run(case):
    streamer, leaves, _ = recorded(case, n_items=0)
    if leaves.made:
        assert within(TIMEOUT, list, streamer) == []
        assert within(TIMEOUT, list, streamer.cycle()) == []
        assert within(TIMEOUT, list, streamer.cycle(5)) == []


def check_a_cycle_goes_on_in_complete_passes(case):
    streamer = built(case)
    assert len(list(streamer.cycle(200))) == 200
    if case.is_endless or not case.is_complete:
        return
    one_pass = items_of(streamer, None)
    twice = items_of(streamer.cycle(), 2 * len(one_pass))
    assert in_order(twice[: len(one_pass)]) == in_order(one_pass)
    assert in_order(twice[len(one_pass) :]) == in_order(one_pass)
    assert (twice == 2 * one_pass) is not case.is_random


def check_every_start_gives_the_same_items(case):
    streamer = built(case)
    expected = items_of(streamer, 20)
    assert items_of(streamer.iterate(), 20) == expected
    assert items_of(streamer.iterate(max_iter=2e1), 99) == expected
    assert items_of(streamer.generate(20), 99) == expected
    assert items_of(streamer(20), 99) == expected
    assert items_of(streamer.cycle(), 20) == items_of(streamer(20, cycle=True), 99)


def check_an_activated_copy(case):
    streamer, _, recorder = recorded(case)
    expected = items_of(streamer, 20)
    with streamer as active:
        assert active.is_activated_copy and not streamer.is_activated_copy
        assert type(active) is type(streamer)
        assert (streamer.active, active.active) == (1, 0)
        with active as same:
            assert same is active
        assert items_of(active.stream_, 20) == expected
        assert items_of(active, 20) == expected
    assert recorder.n_open == 0
    assert active_counts(streamer) == {0}
    assert next(active.stream_, "over") == "over"


def check_a_copy_of_an_activated_copy(case):
    streamer = built(case)
    with streamer as active:
        next(active.stream_)
        for other in (copy.copy(active), copy.deepcopy(active), pickle.loads(pickle.dumps(active))):
            assert not other.is_activated_copy
            assert items_of(other, 10) == items_of(streamer, 10)
            assert other.active == 0
        assert streamer.active == 1


def check_a_shallow_copy_shares(case):
    streamer, leaves, recorder = recorded(case)
    other = copy.copy(streamer)
    assert items_of(other) == items_of(streamer)
    with other.iterate() as stream:
        next(stream)
        assert (streamer.active, other.active) == (0, 1)
        assert not leaves.made or recorder.n_open
    assert list(map(id, tree(other)))[1:] == list(map(id, tree(streamer)))[1:]


def check_a_deep_copy_shares_nothing(case):
    streamer = built(case)
    with streamer.iterate() as stream:
        next(stream)
        other = copy.deepcopy(streamer)
    assert not set(map(id, tree(other))) & set(map(id, tree(streamer)))
    assert active_counts(other) == {0}
    assert items_of(other) == items_of(streamer)


def check_a_pickle_gives_the_same_items(case):
    streamer = built(case)
    with streamer.iterate() as stream:
        next(stream)
        other = pickle.loads(pickle.dumps(streamer))
    assert type(other) is type(streamer)
    assert active_counts(other) == {0}
    assert items_of(other) == items_of(streamer)


def check_a_pickle_without_a_seed_works(case):
    other = pickle.loads(pickle.dumps(built(case, None)))
    assert len(list(other.cycle(10))) == 10


def check_runs_change_nothing(case):
    streamer, leaves, _ = recorded(case)
    parts = list(tree(streamer))
    before = [(each.streamer, each.args, each.kwargs) for each in parts]
    weights = WEIGHTS.copy()
    items_of(streamer), items_of(streamer.cycle())
    assert list(map(id, tree(streamer))) == list(map(id, parts))
    assert [(each.streamer, each.args, each.kwargs) for each in parts] == before
    assert np.array_equal(WEIGHTS, weights)
    assert all(any(leaf is part for part in parts) for leaf in leaves.made)


def check_runs_leave_the_pickle_as_it_was(case):
    streamer = built(case)
    before = pickle.dumps(streamer)
    items_of(streamer), items_of(streamer.cycle())
    assert pickle.dumps(streamer) == before


def check_threads_may_share_a_stream(case):
    streamer, leaves, recorder = recorded(case)
    expected = items_of(streamer.cycle(), 100)
    n_before = recorder.n_pulled
    got = read_together(streamer.cycle(100), READERS["mixed"])
    assert in_order(map(plain, itertools.chain(*got))) == in_order(expected)
    assert is_pulled(case, recorder.n_pulled - n_before, 100 * bool(leaves.made))
    assert active_counts(streamer) == {0}


def check_the_repr(case):
    streamer, _, recorder = recorded(case)
    name, text = type(streamer).__name__, repr(streamer)
    assert text.startswith(name + "(")
    assert text.count("\n") < 30 and max(map(len, text.splitlines())) <= 88
    of_stream = repr(streamer.iterate())
    assert of_stream.startswith(f"<Stream of {name}(") and of_stream.endswith(", 0 items given>")
    assert "\n" not in of_stream and len(of_stream) < 300
    assert recorder.n_started == 0


def check_a_run_gives_no_warning(case):
    streamer = built_quietly(case)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        items_of(streamer)
    assert [str(each.message) for each in caught] == []


def built_quietly(case):
    """Return a streamer that has been through a pickle, which repeats no warning."""
    return pickle.loads(pickle.dumps(built(case)))


CHECKS = {
    name.removeprefix("check_"): check
    for name, check in list(globals().items())
    if name.startswith("check_")
}


@pytest.mark.parametrize("case", some(CASES, 0, DEFAULT))
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_contract(check, case):
    check(case)


# In another process: one for all cases.


@pytest.fixture(scope="module", params=some(["spawn", "forkserver"]))
def items_elsewhere(request):
    """Return what the pickled streamers give in another process, case by case."""
    pickles = {name: pickle.dumps(built(case)) for name, case in CASES.items()}
    return read_in_child(request.param, pickles)


@pytest.mark.parametrize("name", some(dict(zip(CASES, CASES)), 0, DEFAULT))
def test_a_pickle_gives_the_same_items_in_another_process(name, items_elsewhere):
    assert items_elsewhere[name] == first_items(built(CASES[name]))


def test_every_class_has_a_case():
    made = {type(built(case)) for case in CASES.values()}
    public = {getattr(pescador.mux, name) for name in pescador.mux.__all__}
    assert made == (public | {Streamer, ZMQStreamer}) - {pescador.BaseMux}
