"""`FRESH_SEED`: a seed for every activation, fixed by the one at the root."""

import copy
import dataclasses
import functools
import multiprocessing
import operator
import pickle
import re

import numpy as np
import pytest
from _cases import some

import pescador
from pescador import FRESH_SEED, ChainMux, RoundRobinMux, ShuffledMux, StochasticMux, Streamer
from pescador._streaming.seeds import Seed
from pescador._streaming.session import Session

METHODS = multiprocessing.get_all_start_methods()
N_SAMPLERS = 10
RATE = 4


def draws(label, random_state):
    """Yield what a sampler draws, for ever."""
    rng = np.random.RandomState(random_state)
    while True:
        yield {"label": label, "seed": random_state, "value": rng.random_sample()}


def seeds(*args, **kwargs):
    """Yield the arguments, once."""
    yield {**{str(index): value for index, value in enumerate(args)}, **kwargs}


streamed = pescador.streamable(seeds)


def samplers(n_samplers=N_SAMPLERS):
    """Return samplers that differ by their label alone."""
    return [Streamer(draws, label, random_state=FRESH_SEED) for label in range(n_samplers)]


def mixture(seed):
    """Return samplers that are activated again and again."""
    return StochasticMux(samplers(), 3, RATE, random_state=seed)


def values(streamer, n_items=200):
    """Return the values of the first items."""
    return [float(item["value"]) for item in streamer.iterate(n_items)]


# The object.


def test_there_is_one_object():
    assert type(FRESH_SEED)() is FRESH_SEED
    assert copy.copy(FRESH_SEED) is copy.deepcopy(FRESH_SEED) is FRESH_SEED
    assert pickle.loads(pickle.dumps(FRESH_SEED)) is FRESH_SEED
    assert repr(FRESH_SEED) == "FRESH_SEED"


def test_it_is_shown_as_an_argument_of_the_streamer():
    streamer = Streamer(seeds, FRESH_SEED, x=FRESH_SEED)
    assert repr(streamer) == "Streamer(seeds, FRESH_SEED, x=FRESH_SEED)"
    assert streamer.args == (FRESH_SEED,)
    list(streamer)
    assert streamer.kwargs == {"x": FRESH_SEED}


def test_a_mux_does_not_take_it():
    """It needs none: without a ``random_state``, it has its parent's."""
    with pytest.raises(pescador.PescadorError, match="random_state=FRESH_SEED"):
        ShuffledMux(["ab"], random_state=FRESH_SEED)


# What it is replaced by.


@pytest.mark.parametrize(
    "streamer",
    [
        Streamer(seeds, FRESH_SEED),
        Streamer(seeds, x=FRESH_SEED),
        Streamer(functools.partial(seeds, FRESH_SEED)),
        Streamer(functools.partial(seeds, x=FRESH_SEED)),
        streamed(FRESH_SEED),
        Streamer(Streamer(seeds, FRESH_SEED)),
    ],
)
def test_it_becomes_an_integer_that_numpy_takes(streamer):
    found = [each for item in streamer.cycle(200) for each in item.values()]
    assert all(type(each) is int for each in found)
    assert 0 <= min(found) < 2**31 < max(found) < 2**32
    assert len(set(found)) == 200


def test_two_of_them_differ():
    (item,) = Streamer(seeds, FRESH_SEED, FRESH_SEED, x=FRESH_SEED)
    assert len(set(item.values())) == 3


def test_other_arguments_are_handed_over_as_they_are():
    thing = object()
    (item,) = Streamer(seeds, thing, FRESH_SEED, x=thing)
    assert item["0"] is item["x"] is thing


@pytest.mark.parametrize("number", some([0, 10**6, 2**32 - 50_000]))
def test_no_two_activations_of_a_run_share_a_seed(number):
    """Certain, not likely: 100,000 random numbers of 32 bits would."""
    seed = Seed.root(Session()).owned_by(0)
    found = {seed.fresh(0, each, 1) for each in range(number, number + 100_000)}
    assert len(found) == 100_000


def test_seeds_of_a_long_run_are_distinct_and_uniform():
    """False alarm: less than 1e-6, by Hoeffding's inequality for each of 32 bits."""
    seed = Seed.root(Session()).owned_by(1)
    n = 5_000
    found = np.array([seed.fresh(3, number, 2) for number in range(n)], dtype=np.uint64)
    assert len(np.unique(found)) == n
    ones = np.array([(found >> np.uint64(bit) & np.uint64(1)).mean() for bit in range(32)])
    assert np.abs(ones - 0.5).max() < np.sqrt(np.log(2 * 32 / 1e-6) / (2 * n))


# In a tree.


def test_reactivated_samplers_repeat_nothing():
    found = values(mixture(0), 2_000)
    assert len(set(found)) == 2_000


@pytest.mark.parametrize(
    "make",
    [
        mixture,
        lambda seed: ShuffledMux([Streamer(seeds, value=FRESH_SEED)] * 5, random_state=seed),
        lambda seed: RoundRobinMux(
            [Streamer(seeds, value=FRESH_SEED)] * 5, "cycle", random_state=seed
        ),
        lambda seed: ChainMux([Streamer(seeds, value=FRESH_SEED)] * 5, "cycle", random_state=seed),
        lambda seed: ShuffledMux([mixture(None), mixture(None)], random_state=seed),
    ],
)
def test_one_seed_at_the_root_fixes_them_all(make):
    found = values(make(7))
    assert found == values(make(7))
    assert len(set(found)) == len(found)
    assert not set(found) & set(values(make(8)))


def test_without_a_seed_numpy_decides():
    np.random.seed(3)
    once, next_pass = values(mixture(None)), values(mixture(None))
    np.random.seed(3)
    assert once == values(mixture(None))
    assert not set(once) & set(next_pass)


def test_siblings_that_are_alike_differ():
    twin = Streamer(seeds, value=FRESH_SEED)
    assert len(set(values(RoundRobinMux([twin] * 50, random_state=0)))) == 50


def test_passes_of_a_cycle_differ_and_follow_from_the_seed():
    once, again = ([item["0"] for item in mixed.cycle(30)] for mixed in [_of_seeds(), _of_seeds()])
    assert once == again
    assert len(set(once)) == 30


def _of_seeds():
    return ChainMux([Streamer(seeds, FRESH_SEED)] * 3, random_state=5)


def test_streamers_among_arguments_get_their_own():
    batches = Streamer(pescador.buffer_stream, Streamer(seeds, x=FRESH_SEED), 1)
    mux = ChainMux([batches] * 3, "cycle", random_state=0)
    found = [int(batch["x"][0]) for batch in mux.iterate(30)]
    assert len(set(found)) == 30


@pytest.mark.parametrize("method", some(METHODS))
def test_a_background_process_gets_the_same(method):
    there = pescador.ZMQStreamer(mixture(11), start_method=method)
    assert values(there) == values(mixture(11))


@pytest.mark.parametrize("method", some(METHODS))
def test_processes_differ(method):
    there = pescador.ZMQStreamer(Streamer(seeds, value=FRESH_SEED), start_method=method)
    mux = ChainMux([there] * 3, random_state=0)
    inline = ChainMux([Streamer(seeds, value=FRESH_SEED)] * 3, random_state=0)
    found = values(mux)
    assert len(set(found)) == 3
    assert found == values(inline)


# Where it is not replaced.

INSIDE = {
    "a list": lambda: Streamer(seeds, [3, FRESH_SEED]),
    "a tuple": lambda: Streamer(seeds, x=(3, FRESH_SEED)),
    "a dict": lambda: Streamer(seeds, {"seed": FRESH_SEED}),
    "a set": lambda: Streamer(seeds, x={FRESH_SEED}),
    "a nested one": lambda: Streamer(seeds, {"model": [{"seed": FRESH_SEED}]}),
    "a partial": lambda: Streamer(functools.partial(seeds, [FRESH_SEED])),
    "keywords of a partial": lambda: Streamer(functools.partial(seeds, x=[FRESH_SEED])),
    "what is streamed": lambda: streamed([FRESH_SEED]),
}
PLACES = {"a tuple": "x", "a set": "x", "keywords of a partial": "x"}


@pytest.mark.parametrize("name", INSIDE)
def test_one_inside_an_argument_is_refused_at_construction(name):
    place = re.escape(PLACES.get(name, "args[0]"))
    with pytest.raises(pescador.PescadorError, match=rf"^{place}=.*FRESH_SEED.*; give it as"):
        INSIDE[name]()


@dataclasses.dataclass
class Options:
    seed: object = FRESH_SEED


def by_options(options, use):
    yield use(options.seed)


USES = {
    "RandomState": np.random.RandomState,
    "int": int,
    "index": operator.index,
    "float": float,
    "bool": bool,
    "len": len,
}
if np.lib.NumpyVersion(np.__version__) < "2.5.0":  # which itself refuses what has a length
    USES["default_rng"] = lambda seed: np.random.default_rng([3, seed])


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_one_that_nobody_has_replaced_says_so_where_it_is_used(use):
    streamer = Streamer(by_options, Options(), use)
    with pytest.raises(pescador.PescadorError, match="itself an argument of a Streamer; give it"):
        next(streamer.iterate())


def test_large_arguments_are_not_searched():
    class Data(list):
        def __iter__(self):
            for value in range(200):
                assert value <= 100
                yield value

    Streamer(seeds, Data([1]))
