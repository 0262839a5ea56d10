"""The cases, for this library and for pescador 3.0.0 alike.

Each function returns an iterator that can be read for as long as a measurement takes. Sources
are generators of numbers: as close to free as a source can be.
"""

import functools
import itertools

import numpy as np

import pescador

BATCH = 128


def numbers(n=10**12):
    """Yield numbers: the bare generator."""
    for i in range(n):  # noqa: UP028 - 'yield from' would not be a bare generator
        yield i


def numbers_beside(array):
    """Yield numbers, and hold on to an array."""
    for i in range(10**12):  # noqa: UP028
        yield i


def arrays(size):
    """Yield dicts of one array of float64, a new one each time, as one that reads files does."""
    array = np.arange(float(size))
    while True:
        yield {"x": array.copy()}


def examples():
    """Yield what a classifier learns from: some numbers, a class, and which example it is."""
    array, label = np.arange(16.0), np.array([1])
    for index in itertools.count():
        yield {"X": array.copy(), "y": label.copy(), "index": index}


@functools.lru_cache(maxsize=2)
def streamers(n):
    return [pescador.Streamer(numbers) for _ in range(n)]


def iterate():
    return pescador.Streamer(numbers).iterate()


def counted(kind, is_bounded):
    """Return a function that counts items, as a program would: up to a limit, or sliced."""
    streamer = RECIPES[kind]()
    if is_bounded:
        return lambda n_items: sum(1 for _ in streamer.iterate(n_items))
    return lambda n_items: sum(1 for _ in itertools.islice(streamer.iterate(), n_items))


def looped(kind, is_bounded):
    """Return a function that reads items in a loop; without a limit, to their end."""
    if is_bounded:
        streamer = RECIPES[kind]()
        return lambda n_items: exhaust(streamer.iterate(n_items))
    return lambda n_items: exhaust(RECIPES[kind](n_items))


def exhaust(items):
    for _ in items:
        pass


def counted_by_hand():
    return lambda n_items: sum(1 for _ in numbers(n_items))


def looped_by_hand():
    return lambda n_items: exhaust(numbers(n_items))


def counted_slots_by_hand(n):
    return lambda n_items: sum(1 for _ in itertools.islice(slots_by_hand(n), n_items))


RECIPES = {
    "streamer": lambda n_items=10**12: pescador.Streamer(numbers, n_items),
    "stochastic_8": lambda: pescador.StochasticMux(streamers(8), 8, None),
    "stochastic_512": lambda: pescador.StochasticMux(streamers(512), 512, None),
}


def shuffled(n):
    return pescador.ShuffledMux(streamers(n)).iterate()


def shuffled_weighted(n):
    return pescador.ShuffledMux(streamers(n), weights=np.arange(1.0, n + 1)).iterate()


def stochastic(n):
    return pescador.StochasticMux(streamers(n), n, None).iterate()


def stochastic_weighted(n):
    return pescador.StochasticMux(streamers(n), n, None, np.arange(1.0, n + 1)).iterate()


def rate_16(n, mode):
    return pescador.StochasticMux(streamers(n), 64, 16, mode=mode).iterate()


def rate_16_weighted(n):
    return pescador.StochasticMux(streamers(n), 64, 16, np.arange(1.0, n + 1)).iterate()


def rate_16_share(n, mode):
    weights = np.arange(1.0, n + 1)
    return pescador.StochasticMux(
        streamers(n), 64, 16, weights, mode=mode, weighting="share"
    ).iterate()


def rate_4_weighted(n_open, n=100_000):
    pool = streamers(n)
    return pescador.StochasticMux(pool, n_open, 4, np.arange(1.0, len(pool) + 1)).iterate()


def round_robin(n):
    return pescador.RoundRobinMux(streamers(n)).iterate()


def chain():
    return pescador.ChainMux([pescador.Streamer(numbers, 1000)] * 20, mode="cycle").iterate()


def nested():
    inner = [[pescador.ShuffledMux(streamers(8)) for _ in range(32)] for _ in range(4)]
    middle = [pescador.StochasticMux(muxes, 8, 256) for muxes in inner]
    return pescador.ShuffledMux(middle).iterate()


def nested_often():
    inner = [pescador.RoundRobinMux(streamers(4)) for _ in range(64)]
    middle = [pescador.StochasticMux(inner, 8, 16) for _ in range(8)]
    return pescador.ShuffledMux(middle).iterate()


def arguments(n_values):
    pool = [pescador.Streamer(numbers_beside, np.zeros(n_values)) for _ in range(4)]
    return pescador.StochasticMux(pool, 2, 16).iterate()


def buffered(size):
    return pescador.buffer_stream(arrays(size), BATCH)


def gathered(n_items):
    return pescador.buffer_stream(examples(), n_items)


def one_by_hand():
    return numbers()


def slots_by_hand(n):
    """Draw from pre-drawn slots: one index, one next, one yield."""

    def loop():
        iterators = [numbers() for _ in range(n)]
        slots = np.random.randint(n, size=200_000).tolist()
        while True:
            for slot in slots:
                yield next(iterators[slot])

    return loop()


def concatenated_by_hand(size):
    """Concatenate the arrays of each batch, without a care for sources that reuse theirs."""

    def loop():
        items = arrays(size)
        while True:
            batch = [item["x"] for item in itertools.islice(items, BATCH)]
            yield {"x": np.concatenate(batch)}

    return loop()


def gathered_by_hand(n_items):
    """Stack the values of each batch, key by key."""

    def loop():
        items = examples()
        while True:
            batch = list(itertools.islice(items, n_items))
            stacked = {key: np.stack([item[key] for item in batch]) for key in ("X", "y")}
            yield {**stacked, "index": np.array([item["index"] for item in batch])}

    return loop()
