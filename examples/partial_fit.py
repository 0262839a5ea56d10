"""
Train scikit-learn models batch by batch
========================================

Three scikit-learn models are trained on minibatches from ten files, one for each digit: on a
mixture of the files, and file by file. You will see that the mixture teaches all digits. File by
file, a classifier forgets each digit while it learns the next ones.

The models are two classifiers and a clustering; the clustering loses less. Each holds only one
minibatch of the data at a time. The picture shows the accuracy of a classifier during both
trainings.
"""

# %%
# One streamer for each file. Each start of it gets a new seed in place of ``FRESH_SEED``, so its
# rows come in a new random order.

import argparse
import sys

import numpy as np

import pescador

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.datasets import load_digits
    from sklearn.linear_model import Perceptron, SGDClassifier
    from sklearn.metrics import v_measure_score
    from sklearn.model_selection import train_test_split
except ImportError:
    sys.exit('This needs scikit-learn, and more: python -m pip install -e ".[examples]"')

CLASSES = np.arange(10)
BATCH_SIZE = 50
SCORE_EVERY = 2  # batches


@pescador.streamable
def rows_of_class(x, y, label, seed):
    """Yield the rows of a class in a random order."""
    for row in np.random.default_rng(seed).permutation(np.flatnonzero(y == label)):
        yield {"X": x[row], "Y": y[row]}


def make_batches(x, y, seed, is_mixed=True):
    """Return a streamer of minibatches: of all classes, equally frequent, or file by file."""
    files = [rows_of_class(x, y, label, pescador.FRESH_SEED) for label in CLASSES]
    if is_mixed:
        mux = pescador.ShuffledMux(files, random_state=seed)
    else:
        mux = pescador.ChainMux(files, mode="cycle", random_state=seed)
    return pescador.Streamer(pescador.buffer_stream, mux, BATCH_SIZE)


# %%
# The models, and how each is scored on rows that it was not trained on. Clusters have no names, so
# theirs is the V-measure: 0 for random clusters, 1 for those of the digits.


def accuracy(model, x, y):
    """Return the share of the rows that are classified correctly."""
    return model.score(x, y)


def v_measure(model, x, y):
    """Return how much clusters have to do with classes."""
    return v_measure_score(y, model.predict(x))


def models(seed):
    """Return the models, each with the other arguments of ``partial_fit``, and its score."""
    every = {"classes": CLASSES}  # because the first batch may lack some
    return [
        (SGDClassifier(random_state=seed), every, accuracy),
        (Perceptron(random_state=seed), every, accuracy),
        (MiniBatchKMeans(20, n_init=3, random_state=seed), {}, v_measure),
    ]


def train(model, options, score, batches, n_batches, test):
    """Train a model; return its score after every few batches."""
    found = []
    stream = batches.iterate(n_batches)
    for batch in pescador.Monitor(stream, progress=True):
        model.partial_fit(batch["X"], batch["Y"], **options)
        if stream.n_given % SCORE_EVERY == 0:
            found.append(score(model, *test))
    return found


def curves(n_batches, is_mixed, seed=0):
    """Train the three models; return the scores of each, in the course of its training."""
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x / 16, y, test_size=0.25, random_state=seed)
    batches = make_batches(x, y, seed, is_mixed)
    return {
        type(model).__name__: train(model, options, score, batches, n_batches, (x_test, y_test))
        for model, options, score in models(seed)
    }


# %%
# A picture of one of the classifiers; that of the other one looks the same.


def draw(mixed, by_file, path):
    """Save a picture of the accuracy during both trainings."""
    figure, axes = plt.subplots(figsize=(6, 3.5), dpi=144, layout="constrained")
    n_batches = SCORE_EVERY * np.arange(1, len(mixed) + 1)
    axes.plot(n_batches, mixed, label="mixed")
    axes.plot(n_batches, by_file, color="0.6", label="file by file")
    axes.set(title="Accuracy during training", ylim=(0, 1))
    axes.set(xlabel="batches", ylabel="test accuracy")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train on fewer batches")
    parser.add_argument("--out", default="partial_fit.png", help="where to save the picture")
    options = parser.parse_args()
    n_batches = 80 if options.quick else 200
    mixed, by_file = curves(n_batches, is_mixed=True), curves(n_batches, is_mixed=False)
    print(f"after {n_batches} batches of {BATCH_SIZE} rows:")
    for name, curve in mixed.items():
        kind = "V-measure" if name == "MiniBatchKMeans" else "accuracy"
        print(f"{name}, mixed, test {kind}: {curve[-1]:.3f} (file by file {by_file[name][-1]:.3f})")
    draw(mixed["SGDClassifier"], by_file["SGDClassifier"], options.out)
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()

# %%
# For your own data
# -----------------
#
# Replace ``rows_of_class`` by a generator function that opens one of your files. If you cannot keep
# all files open, use ``StochasticMux(files, n_active=32, rate=64)``. If each file already has rows
# of all classes in random order, you can read one file after the other.
