"""The adapter for Keras."""

import importlib.util
import itertools
import json
import os

import numpy as np
import pytest

from pescador import (
    ChainMux,
    DataError,
    PescadorError,
    StochasticMux,
    Streamer,
    buffer_stream,
)

if importlib.util.find_spec("keras") is None:
    pytest.skip("Keras is not installed", allow_module_level=True)
for name in ("torch", "jax"):
    if importlib.util.find_spec(name) is not None:
        os.environ.setdefault("KERAS_BACKEND", name)
        break
else:
    pytest.skip("no backend of Keras that will do is installed", allow_module_level=True)
if os.environ["KERAS_BACKEND"] == "tensorflow":
    pytest.skip("test_tensorflow.py is for it", allow_module_level=True)

import keras  # noqa: E402

from pescador.adapters.keras import StreamDataset  # noqa: E402

# Keras has its own way to make arrays of tensors.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

N_FILES, N_ROWS, BATCH = 6, 20, 8


def rows(number):
    """Yield rows with two inputs, two outputs and a weight."""
    for row in np.random.default_rng(number).permutation(N_ROWS):
        yield {
            "a": np.full(3, N_ROWS * number + row, np.float32),
            "b": np.ones(2, np.float32),
            "y": np.float32(row % 2),
            "z": np.float32(number % 2),
            "w": np.float32(row > 3),
        }


def batches():
    """Return a streamer of batches of all rows, each once."""
    files = [Streamer(rows, number) for number in range(N_FILES)]
    epoch = StochasticMux(files, 3, None, mode="exhaustive", random_state=0)
    return Streamer(buffer_stream, epoch, BATCH)


class Reading(StreamDataset):
    """Keeps which rows it has given in epochs."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.epochs = []

    def on_epoch_begin(self):
        super().on_epoch_begin()
        self.epochs.append([])

    def __getitem__(self, index):
        batch = super().__getitem__(index)
        self.epochs[-1].append(ids(batch))
        return batch


def ids(batch):
    """Return the rows of a batch."""
    x = batch[0][0] if isinstance(batch[0], tuple) else batch[0]
    return np.asarray(x)[:, 0].tolist()


def known(n_batches):
    """Return the rows of the first batches of the stream."""
    return [batch["a"][:, 0].tolist() for batch in batches().cycle(n_batches)]


def model():
    """Return a model of two inputs and outputs."""
    keras.utils.set_random_seed(0)
    inputs = [keras.Input((3,)), keras.Input((2,))]
    hidden = keras.layers.Concatenate()(inputs)
    outputs = [keras.layers.Dense(1)(hidden) for _ in range(2)]
    made = keras.Model(inputs, outputs)
    made.compile("sgd", ["mse", "mse"])
    return made


def small():
    """Return a model of one input that is not built yet."""
    keras.utils.set_random_seed(0)
    made = keras.Sequential([keras.layers.Dense(1)])
    made.compile("sgd", "mse", metrics=["mae"])
    return made


# In Keras.


@pytest.mark.parametrize("make", [model, small])
def test_epochs_have_the_next_batches(make):
    keys = ("a", "y") if make is small else (["a", "b"], ["y", "z"], ["w", "w"])
    dataset = Reading(batches(), *keys, steps=5)
    make().fit(dataset, epochs=3, verbose=0)
    epochs = [each for each in dataset.epochs if len(each) == 5]
    assert list(itertools.chain(*epochs)) == known(15)


def test_the_next_training_has_the_next_batches():
    dataset = Reading(batches(), "a", "y", steps=4)
    trained = small()
    for _ in range(2):
        trained.fit(dataset, epochs=1, verbose=0)
    epochs = [each for each in dataset.epochs if len(each) == 4]
    assert list(itertools.chain(*epochs)) == known(8)


@pytest.mark.parametrize("make", [model, small])
def test_epochs_of_one_batch(make):
    keys = ("a", "y") if make is small else (["a", "b"], ["y", "z"])
    dataset = StreamDataset(batches(), *keys, steps=1)
    trained = make()
    for _ in range(2):
        trained.fit(dataset, epochs=2, verbose=0)
    trained.evaluate(dataset, verbose=0)
    assert ids(dataset[0]) == known(6)[5]


class Stopping(keras.callbacks.Callback):
    """Stops after the first batch."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = True


def test_batches_of_an_epoch_that_was_left_do_not_come_again():
    dataset, trained = StreamDataset(batches(), "a", "y", steps=4), small()
    trained.fit(dataset, verbose=0, callbacks=[Stopping()])
    trained.fit(dataset, verbose=0)
    assert ids(dataset[0]) == known(6)[5]
    for batch in dataset:
        assert ids(batch) == known(6)[5]
        break
    assert ids(dataset[0]) == known(7)[6]


def test_shuffling_has_no_influence():
    dataset = Reading(batches(), "a", "y", steps=9)
    small().fit(dataset, epochs=1, shuffle=True, verbose=0)
    assert dataset.epochs[-1] == known(9)


def test_validation_begins_anew():
    train = StreamDataset(batches(), ["a", "b"], ["y", "z"], steps=2)
    validation = Reading(batches(), ["a", "b"], ["y", "z"])
    history = model().fit(train, epochs=3, validation_data=validation, verbose=0).history
    assert [each for each in validation.epochs if len(each) > 1] == [known(15)] * 3
    assert len(history["val_loss"]) == 3


def test_two_evaluations_are_equal():
    dataset = StreamDataset(batches(), ["a", "b"], ["y", "z"], ["w", "w"])
    trained = model()
    assert trained.evaluate(dataset, verbose=0) == trained.evaluate(dataset, verbose=0)


def test_predictions_are_those_of_the_arrays():
    trained = model()
    found = trained.predict(StreamDataset(batches(), ["a", "b"]), verbose=0)
    whole = [[batch[key] for batch in batches()] for key in "ab"]
    wanted = trained.predict([np.concatenate(each) for each in whole], verbose=0)
    for one, other in zip(found, wanted):
        np.testing.assert_allclose(one, other, rtol=1e-5)


# The dataset itself.


def test_batches_are_tuples_of_arrays():
    dataset = StreamDataset(batches(), ["a", "b"], "y", "w")
    (a, b), y, w = dataset[0]
    assert [each.shape for each in (a, b, y, w)] == [(8, 3), (8, 2), (8,), (8,)]
    assert [len(each) for each in StreamDataset(batches(), "a")] == [1] * 15


def test_a_batch_that_was_looked_at_comes_again():
    dataset = StreamDataset(batches(), "a", "y", steps=3)
    looked_at = [ids(dataset[index]) for index in (0, 1, 0)]
    assert looked_at == [*known(2), known(1)[0]]
    assert [ids(each) for each in dataset] == known(3)
    assert [ids(each) for each in dataset] == known(6)[3:]


def test_batches_are_counted():
    dataset = StreamDataset(batches(), "a")
    assert (len(dataset), dataset.num_batches) == (15, 15)
    assert [ids(each) for each in dataset] == [ids(each) for each in dataset] == known(15)
    assert len(StreamDataset(batches(), "a", steps=3)) == 3


@pytest.mark.parametrize("looked_at", [0, 2])
@pytest.mark.parametrize("n_epochs", [0, 1, 4])
def test_a_dataset_goes_on_where_it_stood(n_epochs, looked_at):
    one, other = (StreamDataset(batches(), "a", "y", steps=5) for _ in range(2))
    for _ in range(n_epochs):
        list(one)
    for index in range(looked_at):
        one[index]
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for _ in range(2):
        assert [ids(each) for each in one] == [ids(each) for each in other]


def test_a_state_in_an_epoch_after_looking_ahead():
    """What was looked at and has come does not come again."""
    one, other = (StreamDataset(batches(), "a", "y", steps=5) for _ in range(2))
    one[2]
    one.on_epoch_begin()
    for n_given in range(1, 5):
        one[0]
        other.load_state_dict(json.loads(json.dumps(one.state_dict())))
        assert ids(other[0]) == known(n_given + 1)[n_given]


# Mistakes.


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: StreamDataset([1], "a"), "is not a streamer"),
        (lambda: StreamDataset(batches(), None), "inputs=None"),
        (lambda: StreamDataset(batches(), "a", None, "w"), "weights='w': are the weights of"),
        (lambda: StreamDataset(batches(), "a", 3), "outputs=3: must be a string or a sequence"),
        (lambda: StreamDataset(batches(), []), "inputs=.*must be a string or a sequence"),
        (lambda: StreamDataset(batches(), "a", steps=0), "steps=0"),
        (lambda: len(StreamDataset(ChainMux([]), "a")), "has no batches"),
        (lambda: len(StreamDataset(Streamer(itertools.count), "a")), "has more than 100,000 batch"),
        (lambda: StreamDataset(batches(), "a").load_state_dict({}), "is not a state of a Str"),
    ],
)
def test_mistakes_are_told_at_once(make, text):
    with pytest.raises(PescadorError, match=text):
        make()


def test_mistakes_in_batches_are_told():
    with pytest.raises(DataError, match=r"a batch has no key 'q', which is in outputs.*'a', 'b'"):
        StreamDataset(batches(), "a", "q")[0]
    with pytest.raises(DataError, match="batch=1: is not a mapping"):
        StreamDataset(Streamer([1, 2]), "a")[0]


def test_a_stream_that_ends_early_is_told():
    lengths = iter([3, 2])

    def fewer():
        for _ in range(next(lengths)):
            yield {"a": np.zeros(2)}

    with pytest.raises(PescadorError, match="ended after 2 batches, and an epoch has 3"):
        list(StreamDataset(Streamer(fewer), "a"))
