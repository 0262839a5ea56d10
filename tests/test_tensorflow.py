"""Keras on TensorFlow, for which there are streams of tuples; in an environment of its own."""

import importlib.util
import os

import numpy as np
import pytest

import pescador
from pescador import ShuffledMux, Streamer, buffer_stream, keras_tuples

if importlib.util.find_spec("keras") is None or importlib.util.find_spec("tensorflow") is None:
    pytest.skip("Keras and TensorFlow are not installed", allow_module_level=True)
if os.environ.setdefault("KERAS_BACKEND", "tensorflow") != "tensorflow":
    pytest.skip("KERAS_BACKEND is not tensorflow", allow_module_level=True)

import keras

STEPS, EPOCHS = 7, 3


def rows(number):
    """Yield rows with two inputs, a target and a weight."""
    for row in range(30):
        x = np.float32(100 * number + row)
        yield {"a": np.full(3, x), "b": np.ones(2, np.float32), "y": x, "w": np.float32(row % 2)}


def batches():
    """Return a streamer of batches without end."""
    mux = ShuffledMux([Streamer(rows, number) for number in range(5)], random_state=0)
    return Streamer(buffer_stream, mux, 4)


class Recording(keras.Model):
    """Keeps the numbers of the rows that it is trained with."""

    def __init__(self):
        super().__init__()
        self.layer = keras.layers.Dense(1)
        self.seen = []

    def call(self, inputs):
        first, _ = inputs
        return self.layer(first)

    def train_step(self, data):
        (first, _), _, weights = data
        self.seen.append((first.numpy()[:, 0].tolist(), weights.numpy().tolist()))
        return super().train_step(data)


def test_every_batch_is_trained_with_in_its_turn():
    model = Recording()
    model.compile("sgd", "mse", run_eagerly=True)
    tuples = Streamer(keras_tuples, batches(), ["a", "b"], "y", weights="w")
    with tuples.cycle() as stream:
        pairs = ((tuple(x), y, w) for x, y, w in stream)
        model.fit(pairs, steps_per_epoch=STEPS, epochs=EPOCHS, shuffle=False, verbose=0)
    known = tuples.cycle(STEPS * EPOCHS)
    assert model.seen == [(first[:, 0].tolist(), w.tolist()) for (first, _), _, w in known]


def test_the_dataset_is_refused_with_its_remedy():
    from pescador.adapters.keras import StreamDataset

    with pytest.raises(pescador.PescadorError, match="KERAS_BACKEND to torch or jax"):
        StreamDataset(batches(), "a")
