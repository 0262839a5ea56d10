"""
Mix three Hugging Face datasets by tokens
=========================================

Three collections of texts whose documents are unequally long: notes, letters, and reports. Half of
the *tokens* shall come from the notes, which are short, so their documents come the more often.
Batches have documents of about the same length, with little padding, and a tiny language model of
PyTorch learns from them.
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
        ' python -m pip install -e ".[pytorch]" datasets'
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
# The weights of a ``ShuffledMux`` are shares of the *items*. An item is a document, so each weight
# is the share of the tokens, divided by the mean length of a document. A dataset that ends begins
# again.


def mixture(datasets):
    """Return a mux of datasets, by shares of their tokens."""
    lengths = {
        name: np.mean([len(row["tokens"]) for row in data]) for name, data in datasets.items()
    }
    weights = [SHARES[name] / lengths[name] for name in datasets]
    sources = [pescador.Streamer(data) for data in datasets.values()]
    return pescador.ShuffledMux(sources, weights, random_state=0)


# %%
# A map gathers some hundred documents, and gives batches of those of similar length, in random
# order. It is a generator function like any other.


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
# A model that guesses the next word from the last one, and the length of the step from all of them.


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
    """Train; return what share of the tokens came from each source, padding, and the accuracy."""
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    counts, n_padding, scores = np.zeros(len(SHARES)), 0, []
    for batch in map(tensors, batches.iterate(n_batches)):
        tokens, is_word = batch["tokens"], batch["tokens"] >= 0
        np.add.at(counts, batch["source"].numpy(), is_word.sum(dim=1).numpy())
        n_padding += int((~is_word).sum())
        inputs, targets = tokens[:, :-1].clamp(min=0), tokens[:, 1:]
        guesses = model(inputs)
        loss = torch.nn.functional.cross_entropy(guesses.transpose(1, 2), targets, ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = (guesses.argmax(dim=2) == targets)[targets >= 0]
        scores.append(right.float().mean().item())
    return counts / counts.sum(), n_padding / (n_padding + counts.sum()), np.mean(scores[-20:])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train on fewer batches")
    n_batches = 96 if parser.parse_args().quick else 240
    datasets = {name: made(name, 400, seed) for seed, name in enumerate(LENGTHS)}
    batches = pescador.Streamer(by_length, mixture(datasets), 16, pescador.FRESH_SEED)
    shares, padding, accuracy = train(batches, n_batches)
    print("share of the tokens   asked for   came")
    for name, came in zip(SHARES, shares):
        print(f"{name:19} {SHARES[name]:11.2f} {came:6.2f}")
    print(f"padding: {padding:.1%} of a batch")
    print(f"accuracy: {accuracy:.3f}")


if __name__ == "__main__":
    main()
