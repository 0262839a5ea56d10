"""
Fit a Keras model with several inputs and outputs
=================================================

`pescador.adapters.keras.StreamDataset` is what ``Model.fit`` takes: here two inputs, the halves of
a picture, two outputs, its digit and how much ink it has, and a weight for each sample. Training
data come for ever, from noisy sources, so many batches an epoch; validation data begin anew after
every epoch.
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
try:
    import keras
    from sklearn.datasets import load_digits

    from pescador.adapters.keras import StreamDataset
except (ImportError, ValueError):
    sys.exit('This needs Keras, and one of its backends: python -m pip install -e ".[keras]" jax')

N_TRAIN, N_SHARDS = 1400, 20
KEYS = {"inputs": ["left", "right"], "outputs": ["digit", "ink"], "weights": "weight"}

# %%
# Sources. The more noise, the less a sample counts.


@pescador.streamable
def rows_in_order(x, y):
    """Yield the rows as they are."""
    for picture, digit in zip(x, y):
        yield row_of(picture, digit, picture.mean(keepdims=True), noise=0)


@pescador.streamable
def noisy_rows(x, y, noise, seed):
    """Yield random rows with noise, for ever."""
    rng = np.random.default_rng(seed)
    while True:
        row = rng.integers(len(x))
        picture = x[row] + rng.normal(scale=noise, size=x[row].shape)
        yield row_of(picture, y[row], x[row].mean(keepdims=True), noise)


def row_of(picture, digit, ink, noise):
    """Return an item: everything that a sample has, by name."""
    halves = np.split(picture.astype("float32").reshape(8, 8), 2, axis=1)
    left, right = (half.ravel() for half in halves)
    weight = np.float32(1 / (1 + noise))
    return {"left": left, "right": right, "digit": digit, "ink": ink, "weight": weight}


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
# An endless stream needs a number of steps an epoch. Validation data end, and need none.


def fit(n_epochs, steps_per_epoch=40, batch_size=50, seed=0):
    """Train the model; return what Keras has recorded."""
    keras.utils.set_random_seed(seed)
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = x[:N_TRAIN] / 16, x[N_TRAIN:] / 16, y[:N_TRAIN], y[N_TRAIN:]
    shards = [
        noisy_rows(x[rows], y[rows], noise, pescador.FRESH_SEED)
        for rows in np.array_split(np.arange(N_TRAIN), N_SHARDS)
        for noise in (0, 0.1, 0.3)
    ]
    mux = pescador.StochasticMux(shards, 16, rate=32, random_state=seed)
    train = pescador.Streamer(pescador.buffer_stream, mux, batch_size)
    rows = rows_in_order(x_test, y_test)
    test = pescador.Streamer(pescador.buffer_stream, rows, batch_size, partial=True)
    history = make_model().fit(
        StreamDataset(train, **KEYS, steps=steps_per_epoch),
        validation_data=StreamDataset(test, **KEYS),
        epochs=n_epochs,
        verbose=0,
    )
    return history.history


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train for fewer epochs")
    n_epochs = 4 if parser.parse_args().quick else 15
    history = fit(n_epochs)
    print(f"{n_epochs} epochs on {keras.backend.backend()}")
    print(f"validation accuracy: {history['val_digit_accuracy'][-1]:.3f}")
    print(f"validation error of the ink: {history['val_ink_mae'][-1]:.3f}")


if __name__ == "__main__":
    main()
