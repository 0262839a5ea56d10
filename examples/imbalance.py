"""
Let rare classes be seen
========================

Three of the ten digits are rare: a dozen rows of each, against more than a hundred of the others.
A classifier that sees rows as often as they are there learns little about the rare ones. One mux
over the classes, each of which is a mux over its sources, shows it all of them equally often.
"""

# %%
# The data: each class is spread over a few sources of unequal size.

import argparse
import sys

import numpy as np

import pescador

try:
    from sklearn.datasets import load_digits
    from sklearn.linear_model import SGDClassifier
    from sklearn.metrics import recall_score
    from sklearn.model_selection import train_test_split
except ImportError:
    sys.exit('This needs scikit-learn: python -m pip install -e ".[sklearn]"')

CLASSES = np.arange(10)
RARE = [3, 8, 9]
N_RARE = 12  # rows of a rare class
N_SOURCES = 3  # of a class


def load(seed):
    """Return the sources of each class, and a test set."""
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x / 16, y, test_size=0.4, stratify=y, random_state=seed)
    sources = []
    for label in CLASSES:
        rows = np.flatnonzero(y == label)[: N_RARE if label in RARE else None]
        cuts = [len(rows) // 6, len(rows) // 2]
        sources.append([(x[part], y[part]) for part in np.split(rows, cuts)])
    return sources, x_test, y_test


@pescador.streamable
def random_rows(x, y, seed):
    """Yield random rows of a source, for ever."""
    rng = np.random.default_rng(seed)
    while True:
        row = rng.integers(len(x))
        yield {"X": x[row], "Y": y[row]}


# %%
# Without the hierarchy: all sources side by side, each as frequent as it has rows. With it: two
# levels. The mux at the top decides how often a class is seen, those below where it comes from.


def flat(sources, seed):
    """Return a mixture in which classes are as frequent as they are in the data."""
    each = [source for of_class in sources for source in of_class]
    streamers = [random_rows(*source, pescador.FRESH_SEED) for source in each]
    sizes = [len(y) for _, y in each]
    return pescador.ShuffledMux(streamers, weights=sizes, random_state=seed)


def hierarchical(sources, seed):
    """Return a mixture in which all classes are equally frequent."""
    classes = []
    for of_class in sources:
        streamers = [random_rows(*source, pescador.FRESH_SEED) for source in of_class]
        sizes = [len(y) for _, y in of_class]
        classes.append(pescador.ShuffledMux(streamers, weights=sizes))
    return pescador.ShuffledMux(classes, random_state=seed)


# %%
# The same classifier and number of batches for both: what differs is what it is shown.


def recalls(make_mux, n_batches, seed=0):
    """Train on a mixture; return the recall of each class on the test set."""
    sources, x_test, y_test = load(seed)
    model = SGDClassifier(loss="log_loss", random_state=seed)
    batches = pescador.Streamer(pescador.buffer_stream, make_mux(sources, seed), 50)
    for batch in batches(max_iter=n_batches):
        model.partial_fit(batch["X"], batch["Y"], classes=CLASSES)
    return recall_score(y_test, model.predict(x_test), average=None)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs of fewer batches")
    n_runs, n_batches = (3, 30) if parser.parse_args().quick else (10, 100)
    means = [
        np.mean([recalls(make_mux, n_batches, seed) for seed in range(n_runs)], axis=0)
        for make_mux in (flat, hierarchical)
    ]
    print(f"recall, mean of {n_runs} runs\nclass    flat  hierarchical")
    for label, *row in zip(CLASSES, *means):
        print("{:5} {:7.2f} {:13.2f}".format(label, *row) + "  rare" * (label in RARE))


if __name__ == "__main__":
    main()
