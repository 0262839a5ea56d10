"""
Feed PyTorch from several workers
=================================

`pescador.adapters.torch.StreamDataset` gives each worker of a ``DataLoader`` its own part of the
sources, so every row comes exactly once an epoch. You will see the test accuracy after each epoch
of two trainings: with the shards mixed, and with the shards in order, sorted by digit.

With several ranks, each worker of each rank has its own part, with its own seeds. Each epoch has a
new order.
"""

# %%
# The sources: 40 shards, each with its rows in a random order. Most have one digit only, as when
# the files of a folder are sorted by class.

import argparse
import sys

import numpy as np

import pescador

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import torch
    import tqdm
    from sklearn.datasets import load_digits

    from pescador.adapters.torch import StreamDataset
except ImportError:
    sys.exit('This needs PyTorch, and more: python -m pip install -e ".[pytorch]" matplotlib tqdm')

N_SHARDS, N_TRAIN = 40, 1400


def load():
    """Return the rows: those to train on, sorted by digit, and then those of the test."""
    data = load_digits()
    order = np.r_[np.argsort(data.target[:N_TRAIN]), N_TRAIN : len(data.target)]
    return (data.data[order] / 16).astype(np.float32), data.target[order]


@pescador.streamable
def shard(x, y, rows, seed):
    """Yield some of the rows in a random order."""
    for row in np.random.default_rng(seed).permutation(rows):
        yield {"X": x[row], "Y": y[row], "row": row}


# %%
# Two muxes: one mixes all shards and reads each of them once; the other reads one shard after the
# other. The workers make the batches: it is faster to send one array than 32.


def mixed(shards):
    """Return a mixture of shards, 16 of them open at a time."""
    return pescador.StochasticMux(shards, 16, rate=None, mode="exhaustive", random_state=0)


def in_order(shards):
    """Return one shard after the other."""
    return pescador.ChainMux(shards, mode="exhaustive", random_state=0)


def batches_of(mux):
    """Return a streamer of batches."""
    return pescador.Streamer(pescador.buffer_stream, mux, 32, partial=True)


# %%
# Training. The loader passes batches on (``batch_size=None``), and makes tensors of their arrays.


def epoch(model, optimizer, loader):
    """Train for an epoch; return the rows that came."""
    rows = []
    for batch in loader:
        loss = torch.nn.functional.cross_entropy(model(batch["X"]), batch["Y"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rows += batch["row"].tolist()
    return rows


def train(make_mux, n_epochs, n_workers=2, seed=0):
    """Train a small network; return its accuracy on other rows, after every epoch."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # more would only wait for each other, with so small a network
    x, y = load()
    parts = np.array_split(np.arange(N_TRAIN), N_SHARDS)
    mux = make_mux([shard(x, y, rows, pescador.FRESH_SEED) for rows in parts])
    dataset = StreamDataset(batches_of(mux))
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=n_workers)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x_test, y_test = torch.from_numpy(x[N_TRAIN:]), torch.from_numpy(y[N_TRAIN:])
    accuracies = []
    for _ in tqdm.trange(n_epochs, unit=" epochs"):
        rows = epoch(model, optimizer, loader)
        assert sorted(rows) == list(range(N_TRAIN)), "each row once an epoch"
        with torch.no_grad():
            accuracies.append((model(x_test).argmax(dim=1) == y_test).float().mean().item())
    return accuracies


# %%
# The two trainings differ only in the mux.


def draw(results, path):
    """Save a picture of the accuracy after every epoch."""
    figure, axes = plt.subplots(figsize=(6, 3.5), dpi=144, layout="constrained")
    for color, (name, accuracies) in zip(("C0", "0.6"), results.items()):
        axes.plot(range(1, len(accuracies) + 1), accuracies, "o-", color=color, label=name)
    axes.set(title="Accuracy during training", ylim=(0, 1))
    axes.set(xlabel="epochs", ylabel="test accuracy")
    axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train for fewer epochs")
    parser.add_argument("--out", default="torch_dataset.png", help="where to save the picture")
    options = parser.parse_args()
    n_epochs = 4 if options.quick else 8
    results = {"mixed": train(mixed, n_epochs), "in order": train(in_order, n_epochs)}
    print(f"{n_epochs} epochs of {N_TRAIN} rows, each row once, from 2 workers")
    ours, other = (accuracies[-1] for accuracies in results.values())
    print(f"test accuracy: {ours:.3f} (in order {other:.3f})")
    draw(results, options.out)
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()

# %%
# For your own data
# -----------------
#
# Replace ``shard`` by a generator function that reads one of your files. You need at least as many
# files as workers. Give ``StreamDataset`` the streamer of batches; the rest of your loop stays as
# it is. On several ranks, see ``pescador.shard`` and its ``steps``.
