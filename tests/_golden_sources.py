"""Streamers of every kind, for the golden files; and what is recorded of one.

Pickles in the golden files name this module and what it defines: nothing here may be renamed or
altered. What is added needs files made anew, by the release that they are to stand for.
"""

import functools
import hashlib
import itertools
import json
import pickle
import random
import time
import warnings

import numpy as np

import pescador
import pescador.legacy
from pescador import (
    FRESH_SEED,
    ChainMux,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    ZMQStreamer,
)

N_ITEMS = 48  # of a run, one by one
N_LONG = 3000  # of a run, as a digest
SIZES = (5, 0, 13, 40, 7, 100, 3)
WEIGHTS = (1, 2, 3, 0, 5, 1, 1)
SHARES = (3, 2, 3, 0, 4, 2, 1)  # of 15: no more than a third
# What is read of each streamer, with the positions at which a state is taken. -1: at the end.
RUNS = (
    {"max_iter": None, "cycle": False, "at": (0, 11, -1)},
    {"max_iter": 37, "cycle": False, "at": (24, -1)},
    {"max_iter": None, "cycle": True, "at": (33,)},
)


# Sources.


def count(label, n_items):
    """Yield numbers that tell where they come from."""
    yield from range(1000 * label, 1000 * label + n_items)


def noisy(label, n_items, random_state):
    """Yield numbers that depend on a seed."""
    rng = np.random.RandomState(random_state)
    for _ in range(n_items):
        yield 1000 * label + rng.randint(1000)


def failing(label, n_items):
    """Yield a few numbers, and fail."""
    yield from range(1000 * label, 1000 * label + n_items)
    raise OSError(f"source {label} is gone")


def doubled(*streams):
    """Yield the items of streams, doubled."""
    for stream in streams:
        for item in stream:
            yield 2 * item


def rows(label, n_items):
    """Yield dicts of arrays."""
    for index in range(n_items):
        yield {"X": np.array([label, index]), "y": label}


def uniform(n_items, random_state):
    """Yield dicts of numbers that depend on a seed."""
    rng = np.random.RandomState(random_state)
    for _ in range(n_items):
        yield {"u": rng.randint(10**6)}


def global_draws(n_items):
    """Yield dicts of numbers from the global generators."""
    for _ in range(n_items):
        yield {"numpy": np.random.randint(10**6), "random": random.randrange(10**6)}


def pools(n_pools):
    """Yield streamers."""
    for label in range(n_pools):
        yield Streamer(count, label, 2 * label)


def curriculum(n_items):
    """Return weights that depend on the number of items so far."""
    return [1, 2, 3, 0, 1 + n_items / 500, 1, 1]


def shares(n_items):
    """Return shares that depend on the number of items so far."""
    return [3, 2, 3, 0, 4 - min(n_items / 1000, 3), 2, 1]


def cached(stream, n_cache, random_state):
    """Yield the items of a stream in another order."""
    yield from pescador.cache(stream, n_cache, 0.5, random_state)


def plain_function(function):
    """Return a function that stands before another one, as decorators do."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@plain_function
def wrapped_count(label, n_items):
    """Yield what `count` yields."""
    yield from count(label, n_items)


@pescador.streamable
def streamed(label, n_items, random_state):
    """Yield what `noisy` yields."""
    yield from noisy(label, n_items, random_state)


class Source:
    """Makes iterators by a method, by a call and by itself."""

    def __init__(self, label, n_items):
        self.label = label
        self.n_items = n_items

    def method(self, first):
        yield from range(1000 * self.label + first, 1000 * self.label + self.n_items)

    def __call__(self, first):
        yield from self.method(first)

    def __iter__(self):
        return iter(range(1000 * self.label, 1000 * self.label + self.n_items))


class Sequence:
    """A sequence, by its length and its items."""

    def __init__(self, n_items):
        self.n_items = n_items

    def __len__(self):
        return self.n_items

    def __getitem__(self, index):
        if index >= self.n_items:
            raise IndexError(index)
        return 7 * index


class Squares(Streamer):
    """A streamer with an ``iterate`` of its own."""

    def iterate(self, max_iter=None):
        return (item**2 for item in super().iterate(max_iter))


class Limited(StochasticMux):
    """A mux with an ``iterate`` of its own."""

    def iterate(self, max_iter=None):
        return super().iterate(8 if max_iter is None else min(8, max_iter))


# Cases: by name, a function that returns a streamer.


def pool():
    return [Streamer(count, label, n_items) for label, n_items in enumerate(SIZES)]


def fresh(n_streamers=5, n_items=9):
    return [
        Streamer(noisy, label, n_items, random_state=FRESH_SEED) for label in range(n_streamers)
    ]


def faulty():
    broken = [Streamer(failing, 10 + label, n_items) for label, n_items in enumerate((4, 0, 9))]
    return [*pool()[2:], *broken]


def tree(random_state=0):
    """Return a tree of muxes with seeds."""
    inner = [
        StochasticMux(pool(), 3, 4, WEIGHTS),
        ShuffledMux(fresh()),
        RoundRobinMux(pool(), "permuted_cycle"),
        ChainMux([*fresh(2), StochasticMux(fresh(), 2, 3, random_state=11)]),
    ]
    return StochasticMux(inner, 3, 6, random_state=random_state)


def _streamers():
    return {
        "function": lambda: Streamer(count, 3, n_items=20),
        "function_without_arguments": lambda: Streamer(pools_of_numbers),
        "seeded": lambda: Streamer(noisy, 1, 60, random_state=FRESH_SEED),
        "list": lambda: Streamer([5, 3, 1, 4, 9]),
        "tuple": lambda: Streamer((5, 3, 1)),
        "range": lambda: Streamer(range(10, 90)),
        "text": lambda: Streamer("golden"),
        "array": lambda: Streamer(np.arange(12.0).reshape(6, 2)),
        "dict": lambda: Streamer({"a": 1, "b": 2}),
        "empty": lambda: Streamer([]),
        "class": lambda: Streamer(range, 3, 33),
        "list_iterator": lambda: Streamer(iter([1, 2, 3])),
        "iterable_object": lambda: Streamer(Source(2, 30)),
        "sequence_object": lambda: Streamer(Sequence(25)),
        "callable_object": lambda: Streamer(Source(2, 30), 4),
        "bound_method": lambda: Streamer(Source(4, 30).method, first=5),
        "partial": lambda: Streamer(functools.partial(count, 6), n_items=41),
        "partial_with_seed": lambda: Streamer(
            functools.partial(noisy, 2, random_state=FRESH_SEED), n_items=25
        ),
        "wrapped": lambda: Streamer(wrapped_count, 5, 15),
        "streamable": lambda: streamed(3, 25, random_state=FRESH_SEED),
        "streamable_in_a_streamer": lambda: Streamer(streamed, 3, 25, random_state=3),
        "nested": lambda: Streamer(Streamer(Streamer(count, 2, 21))),
        "mux_with_a_limit": lambda: Streamer(StochasticMux(fresh(), 2, 4), 15),
        "method_of_a_mux": lambda: Streamer(ShuffledMux(fresh()).cycle, 44),
        "streams_as_arguments": lambda: Streamer(
            doubled, Streamer(count, 1, 9), ShuffledMux(pool())
        ),
        "own_iterate": lambda: Streamer(Squares(range(50))),
        "legacy": lambda: pescador.legacy.Streamer(count, 1, 40),
    }


def pools_of_numbers():
    """Yield numbers, without any arguments."""
    yield from (3, 1, 4, 1, 5, 9)


def _stochastic():
    cases = {}
    for mode in ("with_replacement", "single_active", "exhaustive"):
        for dist in ("poisson", "constant", "binomial"):
            for name, weights in (("equal", None), ("weighted", WEIGHTS)):
                cases[f"{mode}_{dist}_{name}"] = functools.partial(
                    StochasticMux, pool(), 3, 4.5, weights, mode, random_state=0, dist=dist
                )
        for weights in (None, WEIGHTS):
            cases[f"{mode}_no_rate_{'equal' if weights is None else 'weighted'}"] = (
                functools.partial(StochasticMux, pool(), 3, None, weights, mode, random_state=0)
            )
        cases[f"{mode}_without_pruning"] = functools.partial(
            StochasticMux, pool(), 3, 5, None, mode, False, 0
        )
        cases[f"{mode}_function"] = functools.partial(
            StochasticMux, pool(), 3, 5, curriculum, mode, random_state=0
        )
        cases[f"{mode}_seeded"] = functools.partial(
            StochasticMux, fresh(), 9, 3, None, mode, random_state=0
        )
        cases[f"{mode}_replacing_failures"] = functools.partial(
            StochasticMux, faulty(), 3, 5, None, mode, random_state=0, on_error="replace"
        )
    cases["all_failing"] = functools.partial(
        StochasticMux, faulty()[-3:], 2, 3, random_state=0, on_error="replace", max_failures=2
    )
    cases["own_iterate"] = functools.partial(Limited, pool(), 3, 4, random_state=0)
    return cases


def _shares():
    cases = {}
    for mode in ("with_replacement", "single_active"):
        for dist in ("poisson", "constant", "binomial"):
            for name, weights in (("equal", None), ("unequal", SHARES)):
                cases[f"{mode}_{dist}_{name}"] = functools.partial(
                    _share_mux, pool(), 3, 4.5, weights, mode, random_state=0, dist=dist
                )
        cases[f"{mode}_without_pruning"] = functools.partial(
            _share_mux, pool(), 3, 5, SHARES, mode, False, 0
        )
        cases[f"{mode}_function"] = functools.partial(
            _share_mux, pool(), 3, 5, shares, mode, random_state=0
        )
        weights = (1, 2, 3, 2, 2, 2, 1, 1)
        cases[f"{mode}_replacing_failures"] = functools.partial(
            _share_mux, faulty(), 3, 5, weights, mode, random_state=0, on_error="replace"
        )
    cases["always_open"] = functools.partial(
        _share_mux, pool(), 3, 5, (0, 0, 5, 2, 3, 1, 4), "single_active", random_state=0
    )
    return cases


def _share_mux(*args, **kwargs):
    return StochasticMux(*args, weighting="share", **kwargs)


def _other_muxes():
    cases = {
        "shuffled_equal": lambda: ShuffledMux(pool(), random_state=0),
        "shuffled_weighted": lambda: ShuffledMux(pool(), WEIGHTS, 0),
        "shuffled_function": lambda: ShuffledMux(pool(), curriculum, 0),
        "shuffled_replacing_failures": lambda: ShuffledMux(
            faulty(), random_state=0, on_error="replace", max_failures=2
        ),
        "chain_of_a_function": lambda: ChainMux(pools_of_six, random_state=0),
        "chain_of_a_streamer": lambda: ChainMux(Streamer(pools, 5), "cycle", random_state=0),
        "stochastic_of_a_function": lambda: StochasticMux(pools_of_six, 2, 4, random_state=0),
        "tree": tree,
        "tree_without_a_seed": lambda: tree(None),
        "random_state": lambda: ShuffledMux(fresh(), random_state=np.random.RandomState(5)),
        "generator": lambda: ShuffledMux(fresh(), random_state=np.random.default_rng(5)),
        "seed_sequence": lambda: ShuffledMux(fresh(), random_state=np.random.SeedSequence(5)),
        "no_seed": lambda: StochasticMux(fresh(), 3, 4),
        "old_mux": lambda: _old_mux(fresh(), 2, 5, random_state=0),
        "old_mux_reviving": lambda: _old_mux(
            pool(), 3, 5, WEIGHTS, with_replacement=False, revive=True, random_state=0
        ),
        "legacy_mux": lambda: pescador.legacy.Mux(fresh(), 2, random_state=0, lam=4),
        "legacy_mux_exhaustive": lambda: pescador.legacy.Mux(
            pool(), 2, None, None, False, random_state=0
        ),
    }
    for mode in ("exhaustive", "cycle", "permuted_cycle"):
        for name, make, options in (("", pool, {}), ("_seeded", fresh, {})):
            cases[f"round_robin_{mode}{name}"] = functools.partial(
                RoundRobinMux, make(), mode, 0, **options
            )
        cases[f"round_robin_{mode}_replacing_failures"] = functools.partial(
            RoundRobinMux, faulty(), mode, 0, on_error="replace"
        )
    for mode in ("exhaustive", "cycle"):
        cases[f"chain_{mode}"] = functools.partial(ChainMux, pool(), mode, 0)
        cases[f"chain_{mode}_seeded"] = functools.partial(ChainMux, fresh(), mode, 0)
        cases[f"chain_{mode}_replacing_failures"] = functools.partial(
            ChainMux, faulty(), mode, 0, on_error="replace"
        )
    return cases


def _old_mux(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return pescador.Mux(*args, **kwargs)


def pools_of_six():
    """Yield six streamers."""
    yield from pools(6)


def row_pool():
    return [Streamer(rows, label, n_items) for label, n_items in enumerate(SIZES)]


def batches(label, n_items):
    """Yield dicts of arrays of several rows."""
    for index in range(n_items):
        yield {"X": np.full(1 + index % 3, 100 * label + index)}


def _maps():
    mux = functools.partial(StochasticMux, row_pool(), 3, 6)
    return {
        "buffer_stream": lambda: Streamer(
            pescador.buffer_stream, mux(random_state=0), 4, partial=True
        ),
        "buffer_stream_along_an_axis": lambda: Streamer(
            pescador.buffer_stream, Streamer(batches, 1, 20), 4, axis=0
        ),
        "tuples": lambda: Streamer(pescador.tuples, mux(random_state=0), "y", "X"),
        "keras_tuples": lambda: Streamer(
            pescador.keras_tuples, mux(random_state=0), inputs="X", outputs="y"
        ),
        "maps_of_maps": lambda: Streamer(
            pescador.tuples, Streamer(pescador.buffer_stream, mux(random_state=0), 3), "y"
        ),
        "cache": lambda: Streamer(pescador.cache, ShuffledMux(fresh(), random_state=0), 5, 0.5, 3),
        "cache_with_a_random_state": lambda: Streamer(
            pescador.cache, Streamer(count, 1, 50), 5, 0.5, np.random.RandomState(3)
        ),
        "cache_with_fresh_seed": lambda: Streamer(
            cached, Streamer(count, 1, 40), 4, random_state=FRESH_SEED
        ),
        "mux_of_maps": lambda: ShuffledMux(
            [
                Streamer(pescador.buffer_stream, mux(), 5),
                Streamer(pescador.buffer_stream, mux(), 3),
            ],
            random_state=0,
        ),
        "buffered_streamer": lambda: pescador.legacy.BufferedStreamer(
            Streamer(batches, 2, 30), 4, False
        ),
    }


def _processes():
    seeded = [Streamer(uniform, 9, random_state=FRESH_SEED) for _ in range(4)]
    slow = {"max_bytes": 1}  # item by item, so that notes tell positions in the middle
    return {
        "function": lambda: ZMQStreamer(Streamer(rows, 1, 30), **slow),
        "mux": lambda: ZMQStreamer(StochasticMux(seeded, 3, 4, random_state=0), **slow),
        "global_generators": lambda: ZMQStreamer(Streamer(global_draws, 60)),
        "in_a_mux": lambda: ShuffledMux(
            [ZMQStreamer(StochasticMux(seeded, 3, 4), **slow), seeded[0]], random_state=0
        ),
        "legacy": lambda: pescador.legacy.ZMQStreamer(Streamer(rows, 1, 40)),
    }


CASES = {
    "streamers": _streamers(),
    "stochastic": _stochastic(),
    "shares": _shares(),
    "muxes": _other_muxes(),
    "maps": _maps(),
    "processes": _processes(),
}


# What is recorded.


def plain(value):
    """Return an item as JSON can hold it."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value.tolist() if hasattr(value, "tolist") else value


def seeded_anew():
    """Let what has no seed begin as it did when the files were made."""
    np.random.seed(3)
    random.seed(3)


def rest_of(stream, n_items):
    """Return the next items of a stream, and how it ended, if it did."""
    items, end = [], None
    try:
        for item in itertools.islice(stream, n_items):
            items.append(plain(item))
        if len(items) < n_items:
            end = "end"
    except Exception as error:
        end = type(error).__name__
    return items, end


def failures_of(stream):
    """Return what a stream tells of the sources that have failed."""
    return [[list(each.path), each.count, each.is_dropped] for each in stream.failures]


def digest(streamer):
    """Return a few letters that stand for many items."""
    seeded_anew()
    with streamer.cycle(N_LONG) as stream:
        text = json.dumps(rest_of(stream, N_LONG))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def state_after(streamer, run, n_items, pause):
    """Return the state of a fresh run after some items, through JSON."""
    seeded_anew()
    with streamer(run["max_iter"], run["cycle"]) as stream:
        for index in range(n_items):
            if index == n_items - 2:
                time.sleep(pause)
            next(stream)
        if run["at_end"]:
            assert not list(stream)
        return json.loads(json.dumps(stream.state_dict()))


def record_run(make, run, pause):
    """Return what one run gives, and states of it."""
    seeded_anew()
    with make()(run["max_iter"], run["cycle"]) as stream:
        items, end = rest_of(stream, N_ITEMS)
        failures = failures_of(stream)
    states = []
    for position in run["at"]:
        if position < 0 and end != "end":
            continue
        n_items = len(items) if position < 0 else min(position, len(items))
        taken = {**run, "at_end": position < 0}
        states.append([n_items, state_after(make(), taken, n_items, pause)])
    about = {key: run[key] for key in ("max_iter", "cycle")}
    return {**about, "items": items, "end": end, "failures": failures, "states": states}


def record(make, room):
    """Return what there is to know of a streamer."""
    pause = 1.3 if room == "processes" else 0  # so that a process has told its position
    found = {
        "pickle": pickle.dumps(make(), protocol=4).hex(),
        "runs": [record_run(make, run, pause) for run in RUNS],
    }
    if room != "processes":
        found["long"] = digest(make())
    return found


def loaded(recorded):
    """Return the streamer of a pickle."""
    return pickle.loads(bytes.fromhex(recorded["pickle"]))
