"""
Go on after a crash, as if nothing had happened
===============================================

A training run is killed in the middle of an epoch, and another process continues it from the last
checkpoint: one file with the model, and with where its stream of batches stood. In the end the
weights are the same, bit for bit, as those of a run that nobody disturbed.
"""

# %%
# The stream: digits in 60 shards, 8 of them open at a time. Every reading of a shard has its rows
# in another order, with other noise: ``FRESH_SEED`` stands for a seed that each of them gets anew.

import argparse
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

import pescador

CLASSES = np.arange(10)
N_SHARDS = 60


def noisy_rows(x, y, seed):
    """Yield the rows of a shard in a random order, with noise."""
    rng = np.random.default_rng(seed)
    for row in rng.permutation(len(x)):
        yield {"X": x[row] + rng.normal(scale=2.0, size=x.shape[1]), "Y": y[row]}


def make_batches():
    """Return a streamer of minibatches."""
    x, y = load_digits(return_X_y=True)
    shards = [
        pescador.Streamer(noisy_rows, x[rows], y[rows], pescador.FRESH_SEED)
        for rows in np.array_split(np.arange(len(x)), N_SHARDS)
    ]
    mux = pescador.StochasticMux(shards, 8, rate=None, mode="exhaustive", random_state=0)
    return pescador.Streamer(pescador.buffer_stream, mux, 16)


# %%
# Training. Every few batches, model and state go to a file, which takes the place of the last one
# at once: whenever the process dies, there is a whole checkpoint.


def save(path, model, stream):
    """Write a checkpoint."""
    new = path.with_suffix(".new")
    new.write_bytes(pickle.dumps({"model": model, "state": stream.state_dict()}))
    new.replace(path)


def train(path, n_batches, dies_after=None, save_every=25):
    """Train, from the last checkpoint on if there is one; return the model."""
    batches = make_batches()
    if path.exists():
        checkpoint = pickle.loads(path.read_bytes())
        model, stream = checkpoint["model"], batches.resume(checkpoint["state"])
    else:
        model, stream = SGDClassifier(random_state=0), batches.cycle(max_iter=n_batches)
    for number, batch in enumerate(stream, start=1):
        model.partial_fit(batch["X"], batch["Y"], classes=CLASSES)
        if number == dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        if number % save_every == 0:
            save(path, model, stream)
    return model


# %%
# Three processes: one that is left alone, one that is killed, and one that goes on.


def run(*arguments):
    """Run this script in a process of its own; return how it ended."""
    return subprocess.run([sys.executable, __file__, *map(str, arguments)], check=False).returncode


def compare(n_batches, dies_after):
    """Train without and with a crash; return both models."""
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = train(Path(folder, "undisturbed"), n_batches)
        path = Path(folder, "checkpoint")
        code = run("--checkpoint", path, "--n-batches", n_batches, "--dies-after", dies_after)
        assert code == -signal.SIGKILL, "it was to be killed"
        return undisturbed, train(path, n_batches)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train on fewer batches")
    parser.add_argument("--n-batches", type=int)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--dies-after", type=int)
    options = parser.parse_args()
    n_batches = options.n_batches or (150 if options.quick else 1000)
    if options.checkpoint:
        train(options.checkpoint, n_batches, options.dies_after)
        return
    undisturbed, resumed = compare(n_batches, dies_after=n_batches * 2 // 3)
    assert np.array_equal(undisturbed.coef_, resumed.coef_)
    assert np.array_equal(undisturbed.intercept_, resumed.intercept_)
    print(f"killed after {n_batches * 2 // 3} of {n_batches} batches, and resumed:")
    print(f"the same {resumed.coef_.size + resumed.intercept_.size} weights, bit for bit")


if __name__ == "__main__":
    main()
