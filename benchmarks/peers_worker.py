"""Measure one mixer: ``python peers_worker.py NAME``. Prints nanoseconds an item, as JSON.

Every mixer draws from the same sources, generators that count, with the same unequal weights.
"""

import collections
import itertools
import json
import os
import sys
import time

N_SOURCES = 64
N_MANY, N_ITEMS = 1_000, 16  # sources, and items of each, where few are open at a time
SECONDS = 1.0  # of a measurement
N_TURNS = 5


def numbers():
    """Yield numbers without end."""
    yield from itertools.count()


def few():
    """Yield a few numbers."""
    yield from range(N_ITEMS)


def examples():
    """Yield what a mixer takes that has only dicts."""
    for number in itertools.count():
        yield {"x": number}


def weights():
    """Return unequal weights, which sum to one."""
    found = [1 + index % 7 for index in range(N_SOURCES)]
    return [each / sum(found) for each in found]


class Again:
    """An iterable of a generator function."""

    def __init__(self, function=numbers):
        self._function = function

    def __iter__(self):
        return self._function()


# Each returns an iterator of the mixture.


def pescador_all():
    import pescador

    return iter(pescador.ShuffledMux([pescador.Streamer(numbers)] * N_SOURCES, weights()))


def pescador_few_open():
    import pescador

    return iter(pescador.StochasticMux([pescador.Streamer(few)] * N_MANY, N_SOURCES, None))


def spdl():
    from spdl.source.utils import MergeIterator

    return iter(MergeIterator([Again() for _ in range(N_SOURCES)], weights=weights()))


def torchdata():
    from torchdata.nodes import IterableWrapper, Loader, MultiNodeWeightedSampler

    nodes = {str(index): IterableWrapper(Again()) for index in range(N_SOURCES)}
    shares = dict(zip(nodes, weights()))
    return iter(Loader(MultiNodeWeightedSampler(nodes, shares)))


def lhotse():
    from lhotse.lazy import LazyIteratorMultiplexer

    sources = [Again() for _ in range(N_SOURCES)]
    return iter(LazyIteratorMultiplexer(*sources, weights=weights(), seed=0))


def lhotse_few_open():
    from lhotse.lazy import LazyInfiniteApproximateMultiplexer

    sources = [Again(few) for _ in range(N_MANY)]
    return iter(LazyInfiniteApproximateMultiplexer(*sources, max_open_streams=N_SOURCES, seed=0))


def webdataset():
    from webdataset import RandomMix

    return iter(RandomMix([Again() for _ in range(N_SOURCES)], weights()))


def hugging_face():
    from datasets import IterableDataset, interleave_datasets

    sets = [IterableDataset.from_generator(examples) for _ in range(N_SOURCES)]
    return iter(interleave_datasets(sets, weights(), seed=0))


def grain():
    import grain

    class Numbers(grain.DatasetIterator):
        def __init__(self):
            super().__init__()
            self._n = 0

        def __next__(self):
            self._n += 1
            return self._n

        def get_state(self):
            return {"n": self._n}

        def set_state(self, state):
            self._n = state["n"]

    class Source(grain.IterDataset):
        def __iter__(self):
            return Numbers()

    return iter(grain.IterDataset.mix([Source() for _ in range(N_SOURCES)], weights()))


def tensorflow():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    sets = [tf.data.Dataset.counter() for _ in range(N_SOURCES)]
    return iter(tf.data.Dataset.sample_from_datasets(sets, weights(), seed=0).as_numpy_iterator())


MIXERS = {
    each.__name__: each
    for each in (
        pescador_all,
        pescador_few_open,
        spdl,
        torchdata,
        lhotse,
        lhotse_few_open,
        webdataset,
        hugging_face,
        grain,
        tensorflow,
    )
}


def measure(items):
    """Return nanoseconds an item: the least of several turns of about as long."""
    n_items, seconds = 64, 0.0
    while seconds < SECONDS / 4:
        n_items *= 2
        seconds = _seconds(items, n_items)
    n_items = max(1, int(n_items * SECONDS / seconds))
    return 1e9 * min(_seconds(items, n_items) for _ in range(N_TURNS)) / n_items


def _seconds(items, n_items):
    begin = time.perf_counter()
    collections.deque(itertools.islice(items, n_items), maxlen=0)
    return time.perf_counter() - begin


if __name__ == "__main__":
    print(json.dumps(measure(MIXERS[sys.argv[1]]())), flush=True)
    os._exit(0)  # (some leave threads that outlive the program)
