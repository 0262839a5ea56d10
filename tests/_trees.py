"""Random trees of streamers, each known by a number. Other processes can import their parts."""

import itertools
import random

import numpy as np

import pescador
from pescador import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux, Streamer

OPEN = []  # the sources that are open in this process
MOST_ITEMS = 60  # that are looked at: more than any curve of a curriculum needs to show


class Broken(Exception):
    """What the sources here fail with."""


def numbered(who, n_items):
    """Yield which source this is, and a count."""
    OPEN.append(who)
    try:
        for count in range(n_items):
            yield {"who": who, "count": count}
    finally:
        OPEN.remove(who)


def seeded(who, n_items, random_state):
    """Yield the same, and numbers that follow from a seed."""
    rng = np.random.RandomState(random_state)
    for count in range(n_items):
        yield {"who": who, "count": count, "value": rng.rand(2)}


def failing(who, n_items):
    """Yield some items, and fail."""
    yield from numbered(who, n_items)
    raise Broken(f"source {who} after {n_items} items")


def ramp(n_items):
    """Return the weights of three streamers, which change with the number of items."""
    return [1, 1 + n_items, 2]


def members(n):
    """Yield sources, for a chain that is read lazily."""
    for who in range(n):
        yield Streamer(numbered, 900 + who, 3)


class Builder:
    """Makes a tree; the same number always makes the same one."""

    def __init__(self, number, may_fail=True):
        self.rng = random.Random(number)
        self.may_fail = may_fail
        self.n_sources = 0
        self.shared = np.random.RandomState(number % 2**32)

    def source(self):
        """Return a streamer that has no mux below it."""
        self.n_sources += 1
        who, n_items = self.n_sources, self.rng.choice([0, 1, 2, 5, 12, 40])
        kinds = [
            lambda: Streamer(numbered, who, n_items),
            lambda: Streamer(numbered, who, n_items),
            lambda: Streamer(seeded, who, n_items, random_state=pescador.FRESH_SEED),
            lambda: Streamer([{"who": who, "count": count} for count in range(n_items)]),
            lambda: Streamer(Streamer(numbered, who, n_items)),
            lambda: Streamer(pescador.buffer_stream, Streamer(numbered, who, n_items), 2, True),
        ]
        if self.may_fail:
            kinds.append(lambda: Streamer(failing, who, n_items % 6))
        return self.rng.choice(kinds)()

    def random_state(self):
        """Return one of the kinds of ``random_state``."""
        return self.rng.choice([None, None, self.rng.randrange(2**32), self.shared])

    def weights(self, n):
        """Return weights for ``n`` streamers, or None."""
        if n == 3 and self.rng.random() < 0.2:
            return ramp
        some = [self.rng.choice([0, 1, 1, 2, 5]) for _ in range(n)]
        return self.rng.choice([None, some if any(some) else None])

    def on_error(self):
        """Return keywords that say what an error does."""
        if self.may_fail and self.rng.random() < 0.7:
            return {"on_error": "replace", "max_failures": self.rng.choice([1, 3])}
        return {}

    def mux(self, depth):
        """Return a mux, of up to ``depth`` levels."""
        n = self.rng.randint(1, 5)
        below = [self.node(depth - 1) for _ in range(n)]
        kinds = [self.stochastic] * 4 + [self.shuffled, self.round_robin, self.chain]
        return self.rng.choice(kinds)(below, n)

    def stochastic(self, below, n):
        """Return a StochasticMux."""
        options = {
            "mode": self.rng.choice(["with_replacement", "single_active", "exhaustive"]),
            "dist": self.rng.choice(["poisson", "constant", "binomial"]),
            "prune_empty_streams": self.rng.choice([True, False]),
            "weighting": "active",
        }
        rate, weights = self.rng.choice([None, 1, 3, 8.5]), self.weights(n)
        if options["mode"] == "with_replacement" and rate is not None and self.rng.random() < 0.4:
            options["weighting"] = "share"
        n_active = self.rng.randint(1, 4)
        return StochasticMux(
            below,
            n_active,
            rate,
            weights,
            random_state=self.random_state(),
            **options,
            **self.on_error(),
        )

    def shuffled(self, below, n):
        """Return a ShuffledMux."""
        return ShuffledMux(below, self.weights(n), self.random_state(), **self.on_error())

    def round_robin(self, below, n):
        """Return a RoundRobinMux."""
        mode = self.rng.choice(["exhaustive", "cycle", "permuted_cycle", "shortest"])
        return RoundRobinMux(below, mode, self.random_state(), **self.on_error())

    def chain(self, below, n):
        """Return a ChainMux."""
        mode = self.rng.choice(["exhaustive", "cycle"])
        if self.rng.random() < 0.2:
            below = Streamer(members, n)
        return ChainMux(below, mode, self.random_state(), **self.on_error())

    def node(self, depth):
        """Return a source, a mux, or a map over a mux."""
        if not depth or self.rng.random() < 0.6:
            return self.source()
        mux = self.mux(depth)
        if self.rng.random() < 0.2:
            return Streamer(mux)
        return mux


def tree(number, may_fail=True):
    """Return the tree that has this number. Its root fixes all seeds."""
    builder = Builder(number, may_fail)
    below = [builder.node(2) for _ in range(builder.rng.randint(1, 6))]
    root = builder.stochastic(below, len(below))
    root.random_state = number % 2**32
    return root


def plain(item):
    """Return an item such that equal ones are equal."""
    return {key: np.asarray(value).tolist() for key, value in item.items()}


def read(stream, n_items=MOST_ITEMS):
    """Return the first items of a stream, and the error that comes after them, if one does."""
    items = []
    try:
        for item in itertools.islice(stream, n_items):
            items.append(plain(item))
    except Exception as error:
        items.append(f"{type(error).__name__}: {error}")
    finally:
        stream.close()
    return items
