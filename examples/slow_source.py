"""
Train while a slow source makes the next batch
==============================================

A source takes 20 milliseconds for a batch, as if it read from a network, and a training step takes
as long. You will see how long a batch takes if one process does both in turn, and how long if the
source runs in another process. A picture shows when the training waits.
"""

# %%
# The source. It sleeps where a real one would wait for a disk, decode a picture, or compute.

import argparse
import time
from typing import NamedTuple

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

import pescador

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CLASSES = np.arange(10)
SOURCE_SECONDS = 0.02
STEP_SECONDS = 0.02
N_DRAWN = 12  # steps in the picture


@pescador.streamable
def slow_batches(x, y, batch_size, seed):
    """Yield random batches, each of them after a wait."""
    rng = np.random.default_rng(seed)
    while True:
        time.sleep(SOURCE_SECONDS)
        rows = rng.integers(len(x), size=batch_size)
        yield {"X": x[rows], "Y": y[rows]}


# %%
# Training. The model is small, so a step repeats some work until 20 milliseconds are over, as long
# as a larger model would take.


class Result(NamedTuple):
    """How a training run went."""

    first: float  # seconds until the first batch
    each: float  # seconds from one batch to the next
    waiting: float  # of the time since the first batch
    n_batches: int
    accuracy: float
    steps: list  # when each began, and how long it took


def step(model, batch):
    """Learn from a batch, and then compute for as long as a step takes."""
    end = time.perf_counter() + STEP_SECONDS
    model.partial_fit(batch["X"], batch["Y"], classes=CLASSES)
    while time.perf_counter() < end:
        np.dot(batch["X"].T, batch["X"])


def train(streamer, x_test, y_test, n_batches, show_progress=True):
    """Train a classifier on the batches of a streamer, and time it."""
    model, steps = SGDClassifier(random_state=0), []
    start = time.perf_counter()
    for batch in pescador.Monitor(streamer(max_iter=n_batches), progress=show_progress):
        begin = time.perf_counter()
        step(model, batch)
        steps.append((begin, time.perf_counter() - begin))
    first, seconds = steps[0][0] - start, time.perf_counter() - steps[0][0]
    waiting = 1 - sum(duration for _, duration in steps) / seconds
    accuracy = model.score(x_test, y_test)
    return Result(first, seconds / len(steps), waiting, len(steps), accuracy, steps)


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


# %%
# A picture of the quickest twelve steps in a row of each run. Between two steps, the training
# waits.


def quickest(steps):
    """Return the steps in a row that took the least time, in milliseconds from the first."""
    starts = np.array([start for start, _ in steps])
    first = np.argmin(starts[N_DRAWN - 1 :] - starts[: len(starts) - N_DRAWN + 1])
    chosen = np.array(steps[first : first + N_DRAWN])
    return (chosen - [chosen[0, 0], 0]) * 1000


def draw(results, path):
    """Save a picture of when the runs trained."""
    figure, axes = plt.subplots(figsize=(6, 2.4), dpi=144, layout="constrained")
    for place, result in enumerate(results.values()):
        steps = quickest(result.steps)
        axes.barh(place, steps[:, 1], 0.6, left=steps[:, 0], edgecolor="white")
    axes.set_yticks(range(len(results)), results)
    axes.invert_yaxis()
    axes.set(title="When each run trains")
    axes.set(xlabel=f"{N_DRAWN} training steps, in milliseconds")
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train on fewer batches")
    parser.add_argument("--out", default="slow_source.png", help="where to save the picture")
    options = parser.parse_args()
    alone, beside = compare(n_batches=20 if options.quick else 100)
    results = {"in one process": alone, "source in another process": beside}
    print(f"{'':28}first batch  each other  waiting  accuracy")
    for name, each in results.items():
        print(f"{name:28}{each.first:9.2f} s {1000 * each.each:8.0f} ms", end="")
        print(f"{each.waiting:9.0%}{each.accuracy:10.3f}")
    gain = alone.each / beside.each
    at_best = (SOURCE_SECONDS + STEP_SECONDS) / max(SOURCE_SECONDS, STEP_SECONDS)
    print(f"after the first batch {gain:.1f} times as fast; at best {at_best:.1f} times")
    draw({name.replace(" in ", "\nin "): each for name, each in results.items()}, options.out)
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()

# %%
# For your own data
# -----------------
#
# Put ``ZMQStreamer`` around the streamer of batches that you train on. It helps most if reading and
# training take equally long. If one takes ten times as long as the other, it saves less than a
# tenth of the time. If reading takes longer, use a ``ParallelStreamer`` with many workers. A
# ``Monitor`` tells what part of the time your own loop waits.
