"""Sources for the tests of workers; other processes can import them."""

import os
import random
import signal
import threading
import time

import numpy as np

import pescador
from pescador import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux, Streamer

OPEN = set()  # the sources that are open in this process


class Broken(Exception):
    """What the sources here fail with."""


def items(who, n_items):
    """Yield which source this is, and a count."""
    for count in range(n_items):
        yield {"x": np.array([who, count])}


def slow(who, n_items, seconds):
    """Yield the same, slowly."""
    for item in items(who, n_items):
        time.sleep(seconds)
        yield item


def large(who, n_items, n_bytes):
    """Yield items of so many bytes."""
    for count in range(n_items):
        yield {"x": np.full(n_bytes // 8, 1000 * who + count)}


def seeded(who, seed):
    """Yield numbers that follow from a seed."""
    rng = np.random.RandomState(seed)
    for _ in range(5):
        yield {"x": rng.randint(10**6, size=2)}


def drawing(n_items):
    """Yield what the global generators give."""
    for _ in range(n_items):
        yield {"x": np.array([np.random.rand(), random.random()])}


def open_and_closed(who, n_items, path):
    """Note in a file when the source is opened and closed, and by which process."""
    note(path, f"open {who}")
    try:
        yield from items(who, n_items)
    finally:
        note(path, f"closed {who}")


def note(path, line):
    """Write a line."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def lines(path):
    """Return the lines that were written."""
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def failing_to_open(who):
    """Fail as it is opened: this is no generator function."""
    raise Broken(f"{who} as it is opened")


def failing(who, n_items):
    """Fail after some items."""
    yield from items(who, n_items)
    raise Broken(f"{who} after {n_items}")


def failing_to_close(who, n_items):
    """Fail as it is closed."""
    try:
        yield from items(who, n_items)
    finally:
        raise Broken(f"{who} as it is closed")


class Listed:
    """Make all items as it is opened."""

    def __init__(self, who, n_items):
        self._items = list(items(who, n_items))

    def __iter__(self):
        return iter(self._items)


def deadly(who, n_items, at):
    """Kill the process at an item."""
    for count, item in enumerate(items(who, n_items)):
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        yield item


def hanging(who, n_items, at):
    """Never come to an item."""
    for count, item in enumerate(items(who, n_items)):
        if count == at:
            threading.Event().wait()
        yield item


def flaky(who, n_items, path, n_failures):
    """Fail now and then, and work afterwards: as a file system that times out."""
    for count, item in enumerate(items(who, n_items)):
        if count % 3 == 1:
            name = f"{who} {count}"
            if lines(path).count(name) < n_failures:
                note(path, name)
                raise OSError(f"{name} timed out")
        yield item


def initialised():
    """Yield what a worker's beginning has set."""
    yield {"x": np.array([int(os.environ.get("PESCADOR_TEST", 0))])}


def initialise():
    """Set it."""
    os.environ["PESCADOR_TEST"] = "5"


def fail_to_initialise():
    """Fail at a worker's beginning."""
    raise Broken("no connection")


def several(n, function=items, n_items=8, *args):
    """Return streamers."""
    return [Streamer(function, who, n_items, *args) for who in range(n)]


TREES = {
    "stochastic": lambda: StochasticMux(several(9), 3, 4, random_state=1),
    "weights": lambda: StochasticMux(
        several(4), 2, 3, [1, 2, 3, 4], random_state=1, weighting="active"
    ),
    "share": lambda: StochasticMux(
        several(4), 2, 3, [1, 2, 3, 4], random_state=1, weighting="share"
    ),
    "binomial": lambda: StochasticMux(
        several(4), 2, 5, [1, 2, 3, 4], random_state=1, dist="binomial", weighting="active"
    ),
    "single_active": lambda: StochasticMux(
        several(7), 3, 4, random_state=1, mode="single_active", dist="constant"
    ),
    "exhaustive": lambda: StochasticMux(several(9), 3, None, random_state=1, mode="exhaustive"),
    "shuffled": lambda: ShuffledMux(several(4), random_state=1),
    "round robin": lambda: RoundRobinMux(several(4), mode="permuted_cycle", random_state=1),
    "chain": lambda: ChainMux(several(4), mode="cycle"),
    "lists": lambda: StochasticMux(several(9, Listed), 3, 4, random_state=1),
    "seeds": lambda: StochasticMux(
        [Streamer(seeded, who, pescador.FRESH_SEED) for who in range(5)], 2, 3, random_state=1
    ),
    "batches below": lambda: ShuffledMux(
        [Streamer(pescador.buffer_stream, Streamer(items, who, 9), 2) for who in range(4)],
        random_state=1,
    ),
    "batches above": lambda: Streamer(
        pescador.buffer_stream, StochasticMux(several(9), 3, 4, random_state=1), 5
    ),
    "nested": lambda: StochasticMux(
        [ShuffledMux(several(3), random_state=who) for who in range(3)], 2, 6, random_state=1
    ),
    "empty ones": lambda: StochasticMux(
        [Streamer(items, who, who % 3) for who in range(9)],
        3,
        4,
        random_state=1,
        prune_empty_streams=False,
    ),
}
