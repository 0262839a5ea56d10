"""
Train on two ranks, and go on after a crash
===========================================

Two processes (ranks) train one model with PyTorch. Both die in the middle of an epoch, and start
again. You will see that the weights are the same in the end, bit for bit, as those of a training
without a crash.

Each rank reads its own part of the data, takes as many steps as the other one, and saves the state
of its stream.
"""

# %%
# The sources: digits in 40 shards, each with its rows in a random order.

import argparse
import functools
import multiprocessing
import os
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np

import pescador

try:
    import torch
    import torch.distributed as dist
    from sklearn.datasets import load_digits

    from pescador.adapters.torch import tensors
except ImportError:
    sys.exit('This needs PyTorch: python -m pip install -e ".[pytorch]"')

N_RANKS = 2
STEPS = 20  # an epoch, on each rank


@pescador.streamable
def shard_of_rows(x, y, rows, seed):
    """Yield some of the rows in a random order."""
    for row in np.random.default_rng(seed).permutation(rows):
        yield {"X": x[row], "Y": y[row]}


def part(rank):
    """Return the batches of a rank: every epoch has ``STEPS`` of them."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    shards = [
        shard_of_rows(x, y, rows, pescador.FRESH_SEED)
        for rows in np.array_split(np.arange(len(x)), 40)
    ]
    epoch = pescador.StochasticMux(shards, 8, rate=None, mode="exhaustive", random_state=0)
    batches = pescador.Streamer(pescador.buffer_stream, epoch, 32)
    return pescador.shard(batches, rank, N_RANKS, steps=STEPS)


# %%
# The checkpoint of a rank holds the model and the state of its stream. It replaces the last
# checkpoint in one step, so there is always a complete one.


def save(path, model, stream):
    """Save where a rank stands."""
    new = path.with_suffix(".new")
    torch.save({"model": model.state_dict(), "stream": stream.state_dict()}, new)
    new.replace(path)


def train(rank, folder, name, n_epochs, crash_at):
    """Train on one rank, from its checkpoint on, if there is one."""
    where = f"file://{folder}/{name}-{crash_at}"
    dist.init_process_group("gloo", init_method=where, rank=rank, world_size=N_RANKS)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, path = torch.nn.Linear(64, 10), Path(folder, f"{name}{rank}.pt")
    stream = part(rank).cycle(n_epochs * STEPS)
    if path.exists():
        checkpoint = torch.load(path)
        model.load_state_dict(checkpoint["model"])
        stream = part(rank).resume(checkpoint["stream"])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for batch in map(tensors, stream):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch["X"]), batch["Y"]).backward()
        for parameter in model.parameters():  # what DistributedDataParallel does
            dist.all_reduce(parameter.grad)
            parameter.grad /= N_RANKS
        optimizer.step()
        save(path, model, stream)
        dist.barrier()
        if stream.n_given == crash_at:
            os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()
    dist.destroy_process_group()


# %%
# Ranks are processes. Where the system can do it, they are forked from a process that has already
# imported PyTorch.

METHODS = multiprocessing.get_all_start_methods()
START = multiprocessing.get_context("forkserver" if "forkserver" in METHODS else "spawn")
START.set_forkserver_preload(["torch.distributed", "pescador.adapters.torch", "sklearn.datasets"])

# %%
# Run it without a crash, and with one: in the middle of the second epoch, both ranks are killed.


def run(folder, name, n_epochs, crash_at=None):
    """Train on all ranks; tell whether they have come to the end."""
    ranks = [
        START.Process(target=train, args=(rank, folder, name, n_epochs, crash_at))
        for rank in range(N_RANKS)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    return all(rank.exitcode == 0 for rank in ranks)


say = functools.partial(print, flush=True)


def accuracy(weights):
    """Return how many digits a model gets right."""
    x, y = load_digits(return_X_y=True)
    scores = x / 16 @ weights["weight"].numpy().T + weights["bias"].numpy()
    return (scores.argmax(axis=1) == y).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train for fewer epochs")
    n_epochs = 2 if parser.parse_args().quick else 4
    with tempfile.TemporaryDirectory(prefix="pescador-") as folder:
        say(f"{n_epochs} epochs of {STEPS} steps on {N_RANKS} ranks: without a crash ...")
        assert run(folder, "whole", n_epochs)
        say(f"... with one, after {STEPS + 5} steps ...")
        assert not run(folder, "cut", n_epochs, crash_at=STEPS + 5)
        say("... and resumed.")
        assert run(folder, "cut", n_epochs)
        models = [torch.load(Path(folder, f"{name}0.pt"))["model"] for name in ("whole", "cut")]
    n_weights = sum(each.numel() for each in models[0].values())
    n_differ = sum(int((models[0][key] != models[1][key]).sum()) for key in models[0])
    print(f"{n_differ} of {n_weights} weights differ between the two models")
    whole, cut = (accuracy(model) for model in models)
    print(f"accuracy: {whole:.3f} without a crash, {cut:.3f} with one")
    assert n_differ == 0


if __name__ == "__main__":
    main()

# sphinx_gallery_thumbnail_path = "_static/thumbnails/ranks.svg"

# %%
# A full run prints::
#
#   4 epochs of 20 steps on 2 ranks: without a crash ...
#   ... with one, after 25 steps ...
#   ... and resumed.
#   0 of 650 weights differ between the two models
#   accuracy: 0.932 without a crash, 0.932 with one

# %%
# For your own data
# -----------------
#
# Replace ``shard_of_rows`` by a generator function that reads one of your files. You need at least
# as many files as ranks. ``torchrun`` starts the ranks for you, and ``DistributedDataParallel``
# replaces the loop over gradients. Each rank saves its own state, and resumes from it; the number
# of ranks must stay the same.
