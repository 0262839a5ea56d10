"""
Fit a Keras model with several inputs and outputs
=================================================

`pescador.adapters.keras.StreamDataset` turns a stream into a dataset for ``Model.fit``. You will
see the validation accuracy after each epoch of two trainings: with the sources mixed, and with the
sources in order, sorted by digit.

The model has two inputs, which are the halves of a picture, and two outputs: the digit, and the
amount of ink. Each sample has a weight. The training stream is endless and noisy, and an epoch is
40 batches of it. The validation data begin again after each epoch.
"""

# %%
# Keras 3 needs a library below it: PyTorch, JAX or TensorFlow.

import argparse
import importlib.util
import os
import sys

import numpy as np

import pescador

BACKENDS = [each for each in ("torch", "jax", "tensorflow") if importlib.util.find_spec(each)]
os.environ.setdefault("KERAS_BACKEND", BACKENDS[0] if BACKENDS else "none")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # more would only wait: the model is small
try:
    import keras
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import tqdm
    from sklearn.datasets import load_digits

    from pescador.adapters.keras import StreamDataset
except (ImportError, ValueError):
    sys.exit(
        "This needs Keras, one of its backends, and more:"
        ' python -m pip install -e ".[keras]" jax matplotlib tqdm'
    )

N_TRAIN, N_SHARDS, BATCH_SIZE = 1400, 20, 50
NOISE_LEVELS = (0, 0.1, 0.3)
KEYS = {"inputs": ["left", "right"], "outputs": ["digit", "ink"], "weights": "weight"}

# %%
# A source gives the rows of a shard with noise. The more noise, the less a sample counts.


@pescador.streamable
def noisy_rows(x, y, noise, seed):
    """Yield the rows in a random order, with noise."""
    rng = np.random.default_rng(seed)
    for row in rng.permutation(len(x)):
        picture = x[row] + rng.normal(scale=noise, size=x[row].shape)
        yield row_of(picture, y[row], x[row].mean(keepdims=True), noise)


def row_of(picture, digit, ink, noise):
    """Return an item: everything that a sample has, by name."""
    halves = np.split(picture.astype("float32").reshape(8, 8), 2, axis=1)
    left, right = (half.ravel() for half in halves)
    weight = np.float32(1 / (1 + noise))
    return {"left": left, "right": right, "digit": digit, "ink": ink, "weight": weight}


def make_data(is_mixed, seed=0):
    """Return streamers of batches, to train on and to validate with."""
    x, y = load_digits(return_X_y=True)
    x = x / 16
    by_digit = np.argsort(y[:N_TRAIN])
    shards = [
        noisy_rows(x[rows], y[rows], noise, pescador.FRESH_SEED)
        for rows in np.array_split(by_digit, N_SHARDS)
        for noise in NOISE_LEVELS
    ]
    if is_mixed:
        mux = pescador.StochasticMux(shards, 16, rate=32, random_state=seed)
    else:
        mux = pescador.ChainMux(shards, mode="cycle", random_state=seed)
    train = pescador.Streamer(pescador.buffer_stream, mux, BATCH_SIZE)
    rows = noisy_rows(x[N_TRAIN:], y[N_TRAIN:], 0, seed)
    return train, pescador.Streamer(pescador.buffer_stream, rows, BATCH_SIZE, partial=True)


# %%
# A model with two inputs and two outputs.


def make_model():
    """Return a small network."""
    inputs = [keras.Input((32,)), keras.Input((32,))]
    hidden = keras.layers.Dense(64, activation="relu")(keras.layers.Concatenate()(inputs))
    digit = keras.layers.Dense(10, activation="softmax", name="digit")(hidden)
    model = keras.Model(inputs, [digit, keras.layers.Dense(1, name="ink")(hidden)])
    losses = ["sparse_categorical_crossentropy", "mse"]
    model.compile(keras.optimizers.Adam(0.005), losses, weighted_metrics=[["accuracy"], ["mae"]])
    return model


# %%
# An endless stream needs ``steps``, the number of batches in an epoch. Validation data end by
# themselves.


def fit(is_mixed, n_epochs, steps_per_epoch=40, seed=0):
    """Train the model; return what Keras has recorded."""
    keras.utils.set_random_seed(seed)
    train, test = make_data(is_mixed, seed)
    with tqdm.tqdm(total=n_epochs, unit=" epochs") as bar:
        history = make_model().fit(
            StreamDataset(train, **KEYS, steps=steps_per_epoch),
            validation_data=StreamDataset(test, **KEYS),
            epochs=n_epochs,
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: bar.update())],
        )
    return history.history


def draw(histories, path):
    """Save a picture of the validation accuracy after every epoch."""
    figure, axes = plt.subplots(figsize=(6, 3.5), dpi=144, layout="constrained")
    for color, (name, history) in zip(("C0", "0.6"), histories.items()):
        accuracies = history["val_digit_accuracy"]
        axes.plot(range(1, len(accuracies) + 1), accuracies, "o-", color=color, label=name)
    axes.set(title="Accuracy during training", ylim=(0, 1))
    axes.set(xlabel="epochs", ylabel="validation accuracy")
    axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train for fewer epochs")
    parser.add_argument("--out", default="keras_fit.png", help="where to save the picture")
    options = parser.parse_args()
    n_epochs = 4 if options.quick else 8
    histories = {"mixed": fit(True, n_epochs), "in order": fit(False, n_epochs)}
    print(f"{n_epochs} epochs on {keras.backend.backend()}")
    for key, name in (("digit_accuracy", "accuracy"), ("ink_mae", "error of the ink")):
        ours, other = (history[f"val_{key}"][-1] for history in histories.values())
        print(f"validation {name}: {ours:.3f} (in order {other:.3f})")
    draw(histories, options.out)
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()

# %%
# For your own data
# -----------------
#
# Let ``noisy_rows`` read one of your files, and yield a dict of all that the model gets. ``KEYS``
# names the inputs, outputs and weights in it: one name, or a list of names. If each file already
# has samples of all kinds in random order, you can read one file after the other.
