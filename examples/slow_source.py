"""
Train while a slow source makes the next batch
==============================================

A source that takes 20 milliseconds for every batch, as one that reads from a network does, and a
training step that takes about as long. One after the other, they take 40; side by side, with the
source in a process of its own, 20.
"""

# %%
# The source. Where it sleeps, another would wait for a disk, decode a picture, or compute.

import argparse
import time
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

import pescador

CLASSES = np.arange(10)
SOURCE_SECONDS = 0.02
STEP_SECONDS = 0.02


@pescador.streamable
def slow_batches(x, y, batch_size, seed):
    """Yield random batches, each of them after a wait."""
    rng = np.random.default_rng(seed)
    while True:
        time.sleep(SOURCE_SECONDS)
        rows = rng.integers(len(x), size=batch_size)
        yield {"X": x[rows], "Y": y[rows]}


# %%
# Training: as many steps as fit into the time that one of a larger model would take.


class Result(NamedTuple):
    """How a training run went."""

    seconds: float
    n_batches: int
    accuracy: float
    waited: float  # seconds


def step(model, batch):
    """Learn from a batch, again and again, for as long as a step takes."""
    end = time.perf_counter() + STEP_SECONDS
    model.partial_fit(batch["X"], batch["Y"], classes=CLASSES)
    while time.perf_counter() < end:
        np.dot(batch["X"].T, batch["X"])


def train(streamer, x_test, y_test, n_batches, show_progress=True):
    """Train a classifier on the batches of a streamer, and time it."""
    model = SGDClassifier(random_state=0)
    start = time.perf_counter()
    n_done = 0
    monitor = pescador.Monitor(streamer(max_iter=n_batches), progress=show_progress)
    for batch in monitor:
        step(model, batch)
        n_done += 1
    seconds, waited = time.perf_counter() - start, monitor.report().waited
    return Result(seconds, n_done, model.score(x_test, y_test), waited)


# %%
# The same streamer, in this process and in another. The batches, and so the classifiers, are the
# same.


def compare(n_batches, show_progress=True):
    """Train without and with a background process; return both results."""
    x, y = load_digits(return_X_y=True)
    x = x / 16
    source = slow_batches(x[:1500], y[:1500], 64, seed=0)
    return [
        train(streamer, x[1500:], y[1500:], n_batches, show_progress)
        for streamer in (source, pescador.ZMQStreamer(source))
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train on fewer batches")
    options = parser.parse_args()
    alone, beside = compare(n_batches=20 if options.quick else 150)
    for name, result in (("in one process", alone), ("source in another process", beside)):
        print(f"{name + ':':26} {result.seconds:.2f} s, {result.waited:.2f} s of it in waiting,")
        print(f"{'':26} test accuracy {result.accuracy:.3f}")


if __name__ == "__main__":
    main()
