"""
Let rare classes be seen
========================

Three of the ten digits are rare: each has 12 rows, and every other digit has more than a hundred.
You will see the recall of each class after two trainings: with the shares of the data, and with
equal shares. With equal shares, the recall of the rare classes rises, and that of the others hardly
changes.

Equal shares come from a mux of the classes. Each class is a mux of its sources.
"""

# %%
# The data: each class is spread over a few sources of unequal size.

import argparse
import sys

import numpy as np

import pescador

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import tqdm
    from sklearn.datasets import load_digits
    from sklearn.linear_model import SGDClassifier
    from sklearn.metrics import recall_score
    from sklearn.model_selection import train_test_split
except ImportError:
    sys.exit('This needs scikit-learn, and more: python -m pip install -e ".[examples]"')

CLASSES = np.arange(10)
RARE = [3, 8, 9]
N_RARE = 12  # rows of a rare class


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
# The baseline has one level: one mux mixes all sources, and a source with more rows comes more
# often. The other mixture has two levels: the outer mux chooses the class, and an inner mux the
# source.


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


MIXTURES = {"as in the data": flat, "equal shares": hierarchical}

# %%
# Both get the same classifier and the same number of batches. Only the mixture differs.


def recalls(make_mux, n_batches, seed=0):
    """Train on a mixture; return the recall of each class on the test set."""
    sources, x_test, y_test = load(seed)
    model = SGDClassifier(loss="log_loss", random_state=seed)
    batches = pescador.Streamer(pescador.buffer_stream, make_mux(sources, seed), 50)
    for batch in batches(max_iter=n_batches):
        model.partial_fit(batch["X"], batch["Y"], classes=CLASSES)
    return recall_score(y_test, model.predict(x_test), average=None)


def mean_recalls(n_runs, n_batches):
    """Return the recall of each class, the mean of some runs, by the name of the mixture."""
    return {
        name: np.mean(
            [recalls(make_mux, n_batches, seed) for seed in tqdm.trange(n_runs, desc=name)], axis=0
        )
        for name, make_mux in MIXTURES.items()
    }


# %%
# A picture of the result, and a table.


def draw(means, path):
    """Save a picture of the recall of each class, under both mixtures."""
    figure, axes = plt.subplots(figsize=(6, 3.5), dpi=144, layout="constrained")
    for (name, of_classes), offset, color in zip(means.items(), (-0.2, 0.2), ("0.6", "C0")):
        axes.bar(CLASSES + offset, of_classes, 0.4, label=name, color=color)
    names = [f"{label}\nrare" if label in RARE else label for label in CLASSES]
    axes.set_xticks(CLASSES, names)
    axes.set(title="Recall of each class", xlabel="class", ylabel="recall", ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs of fewer batches")
    parser.add_argument("--out", default="imbalance.png", help="where to save the picture")
    options = parser.parse_args()
    n_runs, n_batches = (3, 30) if options.quick else (10, 80)
    means = mean_recalls(n_runs, n_batches)
    print(f"recall, mean of {n_runs} runs of {n_batches} batches")
    print("class " + "".join(f"{name:>16}" for name in means))
    rows = {label: [each[label] for each in means.values()] for label in CLASSES}
    is_rare = np.isin(CLASSES, RARE)
    rows["rare"] = [each[is_rare].mean() for each in means.values()]
    rows["other"] = [each[~is_rare].mean() for each in means.values()]
    for label, row in rows.items():
        print(f"{label:6}" + "".join(f"{each:16.2f}" for each in row) + "  rare" * (label in RARE))
    draw(means, options.out)
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()

# %%
# For your own data
# -----------------
#
# Replace ``random_rows`` by a generator function that reads one of your files, and make a list of
# streamers for each class. For unequal shares, give weights to the outer mux:
# ``ShuffledMux(classes, weights)``. If you cannot keep all files open, use a ``StochasticMux`` for
# each class.
