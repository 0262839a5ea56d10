"""
Train a classifier on several streams of noise
==============================================

One streamer for each noise level gives noisy samples of the breast-cancer data for ever. A
``StochasticMux`` mixes them, ``buffer_stream`` makes minibatches of the mixture, all of it in a
background process, and a linear classifier learns from one minibatch after the other.
"""

# %%
# The data: 569 samples of 30 features, split 90/10, with the features scaled.

import argparse

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

import pescador

NOISE_LEVELS = (0.0, 0.5, 1.0, 2.0, 4.0)
CLASSES = [0, 1]


def load(seed):
    """Return the training and the test set."""
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.1, stratify=y, random_state=seed
    )
    scaler = StandardScaler().fit(x_train)
    return scaler.transform(x_train), scaler.transform(x_test), y_train, y_test


# %%
# A source of samples: a generator function. The decorator makes every call of it a streamer.


@pescador.streamable
def noisy_samples(x, y, noise, seed):
    """Yield random samples with Gaussian noise of a given standard deviation."""
    rng = np.random.default_rng(seed)
    while True:
        i = rng.integers(len(x))
        yield {"X": x[i] + rng.normal(scale=noise, size=x.shape[1]), "Y": y[i]}


# %%
# The mixture: three streams are open at a time, each gives 64 samples on average. The process
# makes the next minibatches while the classifier learns from the last one.


def train(seed=0, n_batches=500, batch_size=32, show_progress=True):
    """Train a classifier, and return its accuracy on the test set."""
    x_train, x_test, y_train, y_test = load(seed)
    streams = [
        noisy_samples(x_train, y_train, noise, [seed, k]) for k, noise in enumerate(NOISE_LEVELS)
    ]
    mux = pescador.StochasticMux(streams, 3, rate=64, random_state=seed)
    batches = pescador.Streamer(pescador.buffer_stream, mux, batch_size)
    model = SGDClassifier(average=True, random_state=seed)
    stream = pescador.ZMQStreamer(batches).iterate(max_iter=n_batches)
    for batch in tqdm(stream, total=n_batches) if show_progress else stream:
        model.partial_fit(batch["X"], batch["Y"], classes=CLASSES)
    return model.score(x_test, y_test)


# %%
# Train it.


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="train on fewer batches")
    options = parser.parse_args()
    accuracy = train(options.seed, n_batches=50 if options.quick else 500)
    print(f"test accuracy: {accuracy:.3f}")


if __name__ == "__main__":
    main()
