"""
Go on after a crash, as if nothing had happened
===============================================

A training run dies in the middle of an epoch, and continues from its last checkpoint: one file with
the model and the state of its stream. You will see that its weights are the same in the end, bit
for bit, as those of a run without a crash.

For comparison, another run resumes only the model from this checkpoint. Its stream begins again: it
repeats batches that the model has seen, and never comes to the others. So all weights differ.
"""

# %%
# The stream: digits in 60 shards, 8 of them open at a time. Each start of a shard gets a new seed
# in place of ``FRESH_SEED``, so each epoch has another order of the rows, and other noise.

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
# Training. Every 25 batches, model and state go to a new file. Then this file replaces the last
# checkpoint in one step, so there is a complete checkpoint whenever the process dies.


def save(path, model, stream):
    """Write a checkpoint."""
    new = path.with_suffix(".new")
    new.write_bytes(pickle.dumps({"model": model, "state": stream.state_dict()}))
    new.replace(path)


def train(path, n_batches, dies_after=None, begins_anew=False, save_every=25):
    """Train, from the last checkpoint on if there is one; return the model."""
    batches = make_batches()
    model, stream = SGDClassifier(random_state=0), batches.cycle(max_iter=n_batches)
    if path.exists():
        checkpoint = pickle.loads(path.read_bytes())
        model, stream = checkpoint["model"], batches.resume(checkpoint["state"])
        if begins_anew:  # with as many batches as were left
            stream = batches.cycle(max_iter=n_batches - checkpoint["state"]["n_given"])
    # (The run that is killed has no progress bar: it could not end its line.)
    monitor = pescador.Monitor(stream, progress=dies_after is None)
    for number, batch in enumerate(monitor, start=1):
        model.partial_fit(batch["X"], batch["Y"], classes=CLASSES)
        if number == dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        if number % save_every == 0:
            save(path, model, stream)
    return model


# %%
# One run has no crash. Another one runs in its own process, and dies. Two runs continue from its
# checkpoint: one with the state of the stream, and one without.


def run(*arguments):
    """Run this script in a process of its own; return how it ended."""
    return subprocess.run([sys.executable, __file__, *map(str, arguments)], check=False).returncode


def compare(n_batches, dies_after):
    """Train without and with a crash; return the models, and one whose stream began again."""
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = train(Path(folder, "undisturbed"), n_batches)
        path, copy = Path(folder, "checkpoint"), Path(folder, "copy")
        code = run("--checkpoint", path, "--n-batches", n_batches, "--dies-after", dies_after)
        assert code == -signal.SIGKILL, "it was to be killed"
        copy.write_bytes(path.read_bytes())
        return undisturbed, train(path, n_batches), train(copy, n_batches, begins_anew=True)


# %%
# Weights are compared bit for bit.


def weights_of(model):
    """Return all weights of a model."""
    return np.concatenate([model.coef_.ravel(), model.intercept_])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train on fewer batches")
    parser.add_argument("--n-batches", type=int)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--dies-after", type=int)
    options = parser.parse_args()
    n_batches = options.n_batches or (150 if options.quick else 500)
    if options.checkpoint:
        train(options.checkpoint, n_batches, options.dies_after)
        return
    undisturbed, *continued = compare(n_batches, dies_after=n_batches * 2 // 3)
    expected = weights_of(undisturbed)
    print(f"{n_batches} batches, killed after {n_batches * 2 // 3}, beside a run without a crash:")
    for name, model in zip(("model and stream resumed", "stream begun again"), continued):
        n_differ = (weights_of(model) != expected).sum()
        print(f"{name:24} {n_differ:4} of {expected.size} weights differ")
    assert np.array_equal(weights_of(continued[0]), expected)


if __name__ == "__main__":
    main()

# sphinx_gallery_thumbnail_path = "_static/thumbnails/resume.svg"

# %%
# A full run prints::
#
#   500 batches, killed after 333, beside a run without a crash:
#   model and stream resumed    0 of 650 weights differ
#   stream begun again        650 of 650 weights differ

# %%
# For your own data
# -----------------
#
# Put ``stream.state_dict()`` into the checkpoints that your program already writes. After a crash,
# begin with ``batches.resume(state)``. Sources that draw random numbers must take their seed as an
# argument, as ``noisy_rows`` does.
