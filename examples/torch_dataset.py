"""
Feed PyTorch from several workers
=================================

`pescador.adapters.torch.StreamDataset` gives every worker of a ``DataLoader``, on every rank, its
part of the sources, with seeds of its own: so every row comes exactly once an epoch, however many
workers there are, and no epoch has the order of another one.
"""

# %%
# The sources: digits in 40 shards, each with its rows in a random order.

import argparse
import sys

import numpy as np

import pescador

try:
    import torch
    from sklearn.datasets import load_digits

    from pescador.adapters.torch import StreamDataset
except ImportError:
    sys.exit('This needs PyTorch: python -m pip install -e ".[pytorch]"')

N_SHARDS = 40
N_TRAIN = 1400


@pescador.streamable
def shard(x, y, rows, seed):
    """Yield some of the rows in a random order."""
    for row in np.random.default_rng(seed).permutation(rows):
        yield {"X": x[row], "Y": y[row], "row": row}


# %%
# The tree: batches of a mixture of all shards, each of which is read once. Batches are made in the
# workers: it is faster to send one array than 32.


def batches_of(shards):
    """Return a streamer of batches."""
    mux = pescador.StochasticMux(shards, 8, rate=None, mode="exhaustive", random_state=0)
    return pescador.Streamer(pescador.buffer_stream, mux, 32, partial=True)


# %%
# Training. The loader passes batches on (``batch_size=None``), and makes tensors of their arrays.


def train(n_epochs, n_workers=2, seed=0):
    """Train a small network; return its accuracy on the rows that it has not seen."""
    torch.manual_seed(seed)
    data = load_digits()
    x, y = (data.data / 16).astype(np.float32), data.target
    shards = [
        shard(x, y, rows, pescador.FRESH_SEED)
        for rows in np.array_split(np.arange(N_TRAIN), N_SHARDS)
    ]
    dataset = StreamDataset(batches_of(shards))
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=n_workers)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(n_epochs):
        rows = []
        for batch in loader:
            loss = torch.nn.functional.cross_entropy(model(batch["X"]), batch["Y"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rows += batch["row"].tolist()
        assert sorted(rows) == list(range(N_TRAIN)), "each row once an epoch"
    with torch.no_grad():
        labels = model(torch.from_numpy(x[N_TRAIN:])).argmax(dim=1).numpy()
    return (labels == y[N_TRAIN:]).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train for fewer epochs")
    n_epochs = 3 if parser.parse_args().quick else 15
    accuracy = train(n_epochs)
    print(f"{n_epochs} epochs of {N_TRAIN} rows, each row once, from 2 workers")
    print(f"test accuracy: {accuracy:.3f}")


if __name__ == "__main__":
    main()
