"""Sources for the tests of resuming; and a program that takes a state, or goes on from one."""

import json
import sys
from pathlib import Path

import numpy as np

import pescador
from pescador import FRESH_SEED, ShuffledMux, StochasticMux, Streamer, ZMQStreamer

SIZES = (5, 0, 13, 40, 7, 100, 3)


def pairs(label, n_items):
    """Yield dicts that tell where they come from."""
    for index in range(n_items):
        yield {"label": label, "index": index}


def seeded(label, n_items, random_state):
    """Yield dicts that depend on a seed."""
    rng = np.random.RandomState(random_state)
    for _ in range(n_items):
        yield {"label": label, "index": rng.randint(1000)}


def noted(path, n_items):
    """Yield whole numbers, and write a letter to a file for each of them."""
    for index in range(n_items):
        with open(path, "ab", buffering=0) as file:
            file.write(b"i")
        yield {"index": index}


def n_noted(path):
    """Return how many items have been made since the last call."""
    path = Path(path)
    n_made = path.stat().st_size if path.exists() else 0
    path.write_bytes(b"")
    return n_made


class Counted:
    """A sequence that counts how often it is read."""

    def __init__(self, n_items):
        self.n_items = n_items
        self.n_reads = 0

    def __len__(self):
        return self.n_items

    def __getitem__(self, index):
        if index >= self.n_items:
            raise IndexError(index)
        self.n_reads += 1
        return index


class Squares(Streamer):
    """A streamer that defines its own ``iterate``."""

    def iterate(self, max_iter=None):
        return ({"square": (item if isinstance(item, int) else 3) ** 2} for item in self.own())

    def own(self):
        """Return the items before they are squared."""
        return super().iterate()


class Limited(StochasticMux):
    """A mux that defines its own ``iterate``."""

    def iterate(self, max_iter=None):
        return super().iterate(8 if max_iter is None else min(8, max_iter))


class Hurried(ZMQStreamer):
    """A background process with an ``iterate`` of its own."""

    def iterate(self, max_iter=None):
        return super().iterate(5 if max_iter is None else min(5, max_iter))


def plain(value):
    """Return an item with lists in place of arrays, so that items can be compared."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value.tolist() if hasattr(value, "tolist") else value


def pool():
    """Return a few streamers of many lengths."""
    return [Streamer(pairs, label, n_items) for label, n_items in enumerate(SIZES)]


def tree(method=None):
    """Return a tree of muxes with seeds; in a background process, if there is a method for it."""
    noisy = [Streamer(seeded, label, 9, random_state=FRESH_SEED) for label in range(4)]
    weights = [1, 2, 3, 0, 5, 1, 1]
    inner = [StochasticMux(pool(), 3, 4, weights), ShuffledMux(noisy), *noisy]
    mux = StochasticMux(inner, 3, 6, random_state=7)
    return mux if method is None else ZMQStreamer(mux, start_method=method)


def main(method, task, path):
    """Write the state after some items, or what is left after a state."""
    streamer = tree(None if method == "none" else method)
    path = Path(path)
    if task == "take":
        with streamer.iterate(60) as stream:
            for _ in range(23):
                next(stream)
            path.write_text(json.dumps(stream.state_dict()))
    else:
        items = streamer.resume(json.loads(path.read_text()))
        path.write_text(json.dumps([plain(item) for item in items]))


if __name__ == "__main__":
    assert Path(pescador.__file__).parent.name == "pescador"
    main(*sys.argv[1:])
