"""
Mix three Hugging Face datasets by tokens
=========================================

A mux mixes three collections of texts: short notes, letters, and long reports. Half of the *tokens*
should come from the notes. You will see the shares of the tokens that came, for weights by tokens
and for weights by documents. You will also see how much of a batch is padding, with and without a
map that gathers documents of similar length.

A small language model in PyTorch learns from the mixture.
"""

# %%
# The datasets are made here; ``load_dataset(name, split="train", streaming=True)`` gives others.

import argparse
import sys

import numpy as np

import pescador

try:
    import torch
    from datasets import Dataset

    from pescador.adapters.torch import tensors
except ImportError:
    sys.exit(
        "This needs PyTorch and the datasets of Hugging Face:"
        ' python -m pip install -e ".[pytorch]" datasets tqdm'
    )

N_WORDS = 50
LENGTHS = {"notes": 8, "letters": 24, "reports": 64}  # tokens, on average
SHARES = {"notes": 0.5, "letters": 0.3, "reports": 0.2}  # of the tokens


def made(name, n_documents, seed):
    """Return a dataset of Hugging Face, of documents in which words follow each other by a rule."""
    rng = np.random.default_rng(seed)
    step = 1 + list(LENGTHS).index(name)
    lengths = rng.poisson(LENGTHS[name] - 1, n_documents) + 1
    starts = rng.integers(N_WORDS, size=n_documents)
    documents = [(start + step * np.arange(n)) % N_WORDS for start, n in zip(starts, lengths)]
    data = Dataset.from_dict({"tokens": documents, "source": [step - 1] * n_documents})
    return data.to_iterable_dataset(num_shards=4)


# %%
# The weights of a ``ShuffledMux`` are shares of the *items*, and an item is a document. So each
# weight is the share of the tokens, divided by the mean length of a document. When a dataset ends,
# the mux starts it again.


def mixture(datasets, by_tokens=True):
    """Return a mux of datasets, by shares of their tokens; or with these shares of documents."""
    weights = list(SHARES.values())
    if by_tokens:
        lengths = [np.mean([len(row["tokens"]) for row in data]) for data in datasets.values()]
        weights = np.divide(weights, lengths)
    sources = [pescador.Streamer(data) for data in datasets.values()]
    return pescador.ShuffledMux(sources, weights, random_state=0)


# %%
# This map gathers 256 documents, and makes batches of documents of similar length. The batches come
# in random order. A map is a generator function like any other.


def by_length(documents, batch_size, seed, n_batches=16):
    """Yield batches of documents of similar length, padded with -1."""
    rng, waiting = np.random.default_rng(seed), []
    for document in documents:
        waiting.append(document)
        if len(waiting) == n_batches * batch_size:
            waiting.sort(key=lambda each: len(each["tokens"]))
            for number in rng.permutation(n_batches):
                yield padded(waiting[number * batch_size : (number + 1) * batch_size])
            waiting = []


def padded(documents):
    """Return a batch of documents."""
    tokens = np.full((len(documents), max(len(each["tokens"]) for each in documents)), -1)
    for row, each in zip(tokens, documents):
        row[: len(each["tokens"])] = each["tokens"]
    return {"tokens": tokens, "source": np.array([each["source"] for each in documents])}


# %%
# A model that predicts the next word from all words before it.


class Model(torch.nn.Module):
    """Guesses the next word."""

    def __init__(self, size=32):
        super().__init__()
        self.words = torch.nn.Embedding(N_WORDS, size)
        self.memory = torch.nn.GRU(size, size, batch_first=True)
        self.guess = torch.nn.Linear(size, N_WORDS)

    def forward(self, tokens):
        return self.guess(self.memory(self.words(tokens))[0])


def train(batches, n_batches):
    """Train a model; return the accuracy in the last 20 batches."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # more would only wait for each other, with so small a model
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scores = []
    stream = pescador.Monitor(batches.iterate(n_batches), progress=True)
    for batch in map(tensors, stream):
        inputs, targets = batch["tokens"][:, :-1].clamp(min=0), batch["tokens"][:, 1:]
        guesses = model(inputs)
        loss = torch.nn.functional.cross_entropy(guesses.transpose(1, 2), targets, ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = (guesses.argmax(dim=2) == targets)[targets >= 0]
        scores.append(right.float().mean().item())
    return np.mean(scores[-20:])


# %%
# Look into the batches, without training. (With ``n_batches=1``, the map gathers one batch at a
# time, so it cannot choose, and gives documents as they come.)


def contents(batches, n_batches):
    """Return the share of the tokens from each source, and how much of the batches is padding."""
    counts, n_places = np.zeros(len(SHARES)), 0
    for batch in batches.iterate(n_batches):
        np.add.at(counts, batch["source"], (batch["tokens"] >= 0).sum(axis=1))
        n_places += batch["tokens"].size
    return counts / counts.sum(), 1 - counts.sum() / n_places


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train on fewer batches")
    n_batches = 96 if parser.parse_args().quick else 240
    datasets = {name: made(name, 400, seed) for seed, name in enumerate(LENGTHS)}
    muxes = {"by documents": mixture(datasets, by_tokens=False), "by tokens": mixture(datasets)}
    ways = {
        name: pescador.Streamer(by_length, mux, 16, pescador.FRESH_SEED, 1)
        for name, mux in muxes.items()
    }
    ways["of similar length"] = pescador.Streamer(
        by_length, muxes["by tokens"], 16, pescador.FRESH_SEED
    )
    print(f"{'share of the tokens':20}" + "".join(f"{name:>9}" for name in SHARES) + "   padding")
    print(f"{'expected':20}" + "".join(f"{share:9.2f}" for share in SHARES.values()))
    for name, batches in ways.items():
        shares, padding = contents(batches, n_batches)
        print(f"{name:20}" + "".join(f"{share:9.2f}" for share in shares) + f"{padding:10.0%}")
    print(f"accuracy: {train(ways['of similar length'], n_batches):.3f}")


if __name__ == "__main__":
    main()

# sphinx_gallery_thumbnail_path = "_static/thumbnails/texts.svg"

# %%
# For your own data
# -----------------
#
# Give ``mixture`` your own datasets, with a column of tokens. For long datasets, estimate the mean
# length from the first thousand rows. Other sources, such as your own files of tokens, can be in
# the same mux, each as a streamer.
