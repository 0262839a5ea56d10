"""
Train scikit-learn models bit by bit
====================================

Three models of scikit-learn with ``partial_fit``: two classifiers, and a clustering that sees no
labels. Each learns from one stream of minibatches, and never holds more of the data than one of
them.
"""

# %%
# One streamer for each digit. Its rows come in a new random order whenever it is started:
# ``FRESH_SEED`` stands for a seed that every start gets anew.

import argparse
import sys

import numpy as np

import pescador

try:
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.datasets import load_digits
    from sklearn.linear_model import Perceptron, SGDClassifier
    from sklearn.metrics import v_measure_score
    from sklearn.model_selection import train_test_split
except ImportError:
    sys.exit('This needs scikit-learn: python -m pip install -e ".[sklearn]"')

CLASSES = np.arange(10)


@pescador.streamable
def rows_of_class(x, y, label, seed):
    """Yield the rows of a class in a random order."""
    for row in np.random.default_rng(seed).permutation(np.flatnonzero(y == label)):
        yield {"X": x[row], "Y": y[row]}


def make_batches(x, y, seed):
    """Return a streamer of minibatches, in which all the classes are equally frequent."""
    classes = [rows_of_class(x, y, label, pescador.FRESH_SEED) for label in CLASSES]
    mux = pescador.ShuffledMux(classes, random_state=seed)
    return pescador.Streamer(pescador.buffer_stream, mux, 50)


# %%
# A classifier has to know all the classes at its first batch, for some may not be in it.


def train_classifier(model, batches, n_batches):
    """Train a classifier."""
    for batch in batches(max_iter=n_batches):
        model.partial_fit(batch["X"], batch["Y"], classes=CLASSES)
    return model


def train_clusters(model, batches, n_batches):
    """Train a model that takes no labels."""
    for batch in batches(max_iter=n_batches):
        model.partial_fit(batch["X"])
    return model


# %%
# Accuracy on rows that were not trained on; for the clusters, how much they have to do with the
# digits: the V-measure, which is 0 for random clusters and 1 for perfect ones.


def scores(n_batches, seed=0):
    """Train the three models; return the score of each."""
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x / 16, y, test_size=0.25, random_state=seed)
    batches = make_batches(x, y, seed)
    found = {
        type(model).__name__: train_classifier(model, batches, n_batches).score(x_test, y_test)
        for model in (SGDClassifier(random_state=seed), Perceptron(random_state=seed))
    }
    clusters = MiniBatchKMeans(20, n_init=3, random_state=seed)
    labels = train_clusters(clusters, batches, n_batches).predict(x_test)
    found["MiniBatchKMeans"] = v_measure_score(y_test, labels)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train on fewer batches")
    found = scores(n_batches=100 if parser.parse_args().quick else 500)
    for name in ("SGDClassifier", "Perceptron"):
        print(f"{name}, test accuracy: {found[name]:.3f}")
    print(f"MiniBatchKMeans, V-measure: {found['MiniBatchKMeans']:.3f}")


if __name__ == "__main__":
    main()
