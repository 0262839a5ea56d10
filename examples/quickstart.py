"""
Train a classifier on several streams of noise
==============================================

A linear classifier learns from noisy samples of the breast-cancer data. There is one streamer for
each level of noise, and a mux mixes them. You will see the accuracy at each level. A classifier
that is trained without noise is better on data without noise, and worse on very noisy data.

A ``StochasticMux`` mixes the streamers, and ``buffer_stream`` makes minibatches of the mixture. A
background process does both while the classifier learns.
"""

# %%
# The data: 569 samples of 30 features, split 50/50, with the features scaled. The test samples get
# noise too, at the same levels.

import argparse

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import pescador

try:
    import tqdm
except ImportError:  # then there is no progress bar
    tqdm = None

NOISE_LEVELS = (0.0, 0.5, 1.0, 2.0, 4.0)
N_COPIES = 4  # of the test samples, at each level
CLASSES = [0, 1]


def load(seed):
    """Return the training set, and a test set with noise of every level."""
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.5, stratify=y, random_state=seed
    )
    scaler = StandardScaler().fit(x_train)
    x_test, rng = scaler.transform(x_test), np.random.default_rng(seed)
    levels = N_COPIES * NOISE_LEVELS
    noisy = [x_test + rng.normal(scale=noise, size=x_test.shape) for noise in levels]
    return scaler.transform(x_train), np.concatenate(noisy), y_train, np.tile(y_test, len(noisy))


# %%
# A source of samples: a generator function. The decorator makes every call of it a streamer.


@pescador.streamable
def noisy_samples(x, y, noise, random_state):
    """Yield random samples with Gaussian noise of a given standard deviation."""
    rng = np.random.default_rng(random_state)
    while True:
        i = rng.integers(len(x))
        yield {"X": x[i] + rng.normal(scale=noise, size=x.shape[1]), "Y": y[i]}


# %%
# The mixture: three streams are open at a time. Each gives 64 samples on average, and then the mux
# replaces it. With ``FRESH_SEED``, every stream has a seed of its own. With a fixed seed, a
# streamer would begin with the same samples each time the mux opens it. The seed of the mux fixes
# all of them.


def batches_of(x, y, batch_size, seed):
    """Return a streamer of minibatches, made in a background process."""
    streams = [noisy_samples(x, y, noise, pescador.FRESH_SEED) for noise in NOISE_LEVELS]
    mux = pescador.StochasticMux(streams, 3, rate=64, random_state=seed)
    return pescador.ZMQStreamer(pescador.Streamer(pescador.buffer_stream, mux, batch_size))


def classifier(seed):
    """Return a new classifier."""
    return SGDClassifier(loss="log_loss", average=True, random_state=seed)


def accuracies(model, x_test, y_test):
    """Return the accuracy at each level of noise."""
    is_right = (model.predict(x_test) == y_test).reshape(N_COPIES, len(NOISE_LEVELS), -1)
    return is_right.mean(axis=(0, 2)).tolist()


def train(seed=0, n_batches=500, batch_size=32, show_progress=True):
    """Train a classifier; return its accuracies, and how many different samples it has seen."""
    x_train, x_test, y_train, y_test = load(seed)
    model, seen = classifier(seed), set()
    stream = batches_of(x_train, y_train, batch_size, seed).iterate(max_iter=n_batches)
    for batch in pescador.Monitor(stream, progress=show_progress and tqdm is not None):
        model.partial_fit(batch["X"], batch["Y"], classes=CLASSES)
        seen.update(sample.tobytes() for sample in batch["X"])
    return accuracies(model, x_test, y_test), len(seen)


# %%
# The baseline, without pescador: random minibatches of the samples as they are.


def train_plain(seed=0, n_batches=500, batch_size=32):
    """Train a classifier on the samples without noise, and return its accuracies."""
    x_train, x_test, y_train, y_test = load(seed)
    model, rng = classifier(seed), np.random.default_rng(seed)
    for _ in range(n_batches):
        chosen = rng.integers(len(x_train), size=batch_size)
        model.partial_fit(x_train[chosen], y_train[chosen], classes=CLASSES)
    return accuracies(model, x_test, y_test)


# %%
# Train both. No two samples with noise are the same.


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="train on fewer batches")
    options = parser.parse_args()
    n_batches = 50 if options.quick else 500
    of_mixture, n_different = train(options.seed, n_batches)
    print(f"{n_batches} batches: {n_different:,} different samples of {32 * n_batches:,}")
    print("accuracy at a noise of " + "".join(f"{noise:7}" for noise in NOISE_LEVELS) + "    mean")
    rows = {
        "trained on the mixture": of_mixture,
        "trained without noise": train_plain(options.seed, n_batches),
    }
    for name, row in rows.items():
        print(f"{name:23}" + "".join(f"{each:7.3f}" for each in [*row, np.mean(row)]))


if __name__ == "__main__":
    main()

# sphinx_gallery_thumbnail_path = "_static/thumbnails/quickstart.svg"

# %%
# For your own data
# -----------------
#
# Replace ``noisy_samples`` by a generator function that reads one of your sources: a file, a class,
# a corpus. Then choose three numbers: how many streams are open at a time (here 3), how many items
# each gives on average before the mux replaces it (``rate``), and the size of a batch.
