"""Keras on TensorFlow, in an environment of its own."""

import importlib.util
import itertools
import json
import os
import time

import numpy as np
import pytest

import pescador
from pescador import ShuffledMux, Streamer, buffer_stream, keras_tuples

if importlib.util.find_spec("keras") is None or importlib.util.find_spec("tensorflow") is None:
    pytest.skip("Keras and TensorFlow are not installed", allow_module_level=True)
if os.environ.setdefault("KERAS_BACKEND", "tensorflow") != "tensorflow":
    pytest.skip("KERAS_BACKEND is not tensorflow", allow_module_level=True)

import keras

from pescador.adapters.keras import StreamDataset

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
        self.seen, self.tested = [], []

    def call(self, inputs):
        first, _ = inputs
        return self.layer(first)

    def train_step(self, data):
        (first, _), _, weights = data
        self.seen.append((first.numpy()[:, 0].tolist(), weights.numpy().tolist()))
        return super().train_step(data)

    def test_step(self, data):
        (first, _), _, _ = data
        self.tested.append(first.numpy()[:, 0].tolist())
        return super().test_step(data)


def test_every_batch_is_trained_with_in_its_turn():
    model = Recording()
    model.compile(keras.optimizers.SGD(1e-9), "mse", run_eagerly=True)
    tuples = Streamer(keras_tuples, batches(), ["a", "b"], "y", weights="w")
    with tuples.cycle() as stream:
        pairs = ((tuple(x), y, w) for x, y, w in stream)
        model.fit(pairs, steps_per_epoch=STEPS, epochs=EPOCHS, shuffle=False, verbose=0)
    known = tuples.cycle(STEPS * EPOCHS)
    assert model.seen == [(first[:, 0].tolist(), w.tolist()) for (first, _), _, w in known]


# The dataset. Keras reads it in threads, by iterators that it makes and drops.


def trained(dataset, known, n_fits=1, **options):
    """Return the rows of the batches that a new model is trained with."""
    model = Recording()
    model.compile(keras.optimizers.SGD(1e-9), "mse", run_eagerly=True)
    for _ in range(n_fits):
        model.fit(dataset, verbose=0, **options)
    assert len(model.seen) == known
    return [first for first, _ in model.seen]


def dataset(streamer=None, **options):
    return StreamDataset(streamer or batches(), ["a", "b"], "y", "w", **options)


def known(n_batches, n_before=0):
    """Return the rows of some batches of the stream."""
    stream = itertools.islice(batches().cycle(), n_before, n_before + n_batches)
    return [batch["a"][:, 0].tolist() for batch in stream]


@pytest.mark.parametrize("steps", [1, 2, 5, 16, 17, 40])
def test_epochs_have_the_next_batches(steps):
    assert trained(dataset(steps=steps), 6 * steps, n_fits=2, epochs=3) == known(6 * steps)


class Slow(keras.callbacks.Callback):
    """Lets Keras read ahead as far as it does."""

    def on_epoch_end(self, epoch, logs=None):
        time.sleep(0.05)

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.01)


def test_a_slow_training_has_the_same():
    options = {"epochs": 3, "callbacks": [Slow()]}
    assert trained(dataset(steps=25), 75, **options) == known(75)


class Saving(keras.callbacks.Callback):
    """Saves the state of a dataset after each epoch, and tries to in between."""

    def __init__(self, dataset):
        super().__init__()
        self.dataset, self.states, self.errors = dataset, [], []

    def on_epoch_end(self, epoch, logs=None):
        self.states.append(json.dumps(self.dataset.state_dict()))

    def on_train_batch_end(self, batch, logs=None):
        with pytest.raises(pescador.PescadorError, match="between two epochs"):
            self.dataset.state_dict()


@pytest.mark.parametrize("steps", [1, 3, 20])
def test_a_state_between_epochs(steps):
    one = dataset(steps=steps)
    saving = Saving(one)
    trained(one, 3 * steps, epochs=3, callbacks=[saving])
    for n_epochs, state in enumerate(saving.states, 1):
        other = dataset(steps=steps)
        other.load_state_dict(json.loads(state))
        assert trained(other, steps) == known(steps, n_epochs * steps)


def finite():
    mux = pescador.StochasticMux(
        [Streamer(rows, number) for number in range(5)], 2, None, mode="exhaustive", random_state=0
    )
    return Streamer(buffer_stream, mux, 4, partial=True)


def test_validation_begins_anew():
    model = Recording()
    model.compile(keras.optimizers.SGD(1e-9), "mse", run_eagerly=True, weighted_metrics=["mae"])
    validation = dataset(finite())
    model.fit(dataset(steps=3), epochs=3, validation_data=validation, verbose=0)
    assert [first for first, _ in model.seen] == known(9)
    whole = [batch["a"][:, 0].tolist() for batch in finite()]
    assert model.tested == 3 * whole
    found = [model.evaluate(validation, verbose=0) for _ in range(3)]
    assert model.tested == 6 * whole
    assert found[0] == found[1] == found[2]


def test_predictions_are_those_of_the_arrays():
    model = Recording()
    model.compile(keras.optimizers.SGD(1e-9), "mse")
    found = model.predict(StreamDataset(finite(), ["a", "b"]), verbose=0)
    whole = [np.concatenate([batch[key] for batch in finite()]) for key in "ab"]
    np.testing.assert_allclose(found, model.predict(tuple(whole), verbose=0), rtol=1e-5)


class Stopping(keras.callbacks.Callback):
    """Stops after the third batch."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = batch == 2


def test_an_epoch_that_is_left_is_told(caplog):
    left = dataset(steps=40)
    first = trained(left, 3, callbacks=[Stopping()])
    assert not caplog.records
    rest = trained(left, 40)
    assert [first, rest[0] in known(80)] == [known(3), True]
    start = known(80).index(rest[0])
    assert 3 <= start < 20 and rest == known(40, start)
    assert "stopped before its end" in caplog.text


def test_what_is_looked_at_comes_again():
    looked_at = dataset(steps=3)
    assert [looked_at[i][0][0][:, 0].tolist() for i in (1, 0)] == [known(2)[1], known(1)[0]]
    assert [x[0][:, 0].tolist() for x, _, _ in looked_at] == known(3)
    assert trained(looked_at, 3) == known(3, 3)
    assert looked_at[0][0][0][:, 0].tolist() == known(1, 6)[0]
