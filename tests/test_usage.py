"""How people use the library: the patterns of training scripts, end to end."""

import collections
import collections.abc
import copy
import functools
import itertools
import pickle
import threading
import types

import numpy as np
import pytest
from _cases import shown
from sklearn.linear_model import SGDClassifier

import pescador
from pescador import PescadorError, Streamer

N_FILES, N_ROWS = 5, 12  # rows in a file: 12, 13, ... so that no two are equally long
N_TOTAL = sum(N_ROWS + number for number in range(N_FILES))


@pytest.fixture
def files(tmp_path):
    """Write some archives, whose rows are numbered through all of them."""
    paths, first = [], 0
    for number in range(N_FILES):
        rows = np.arange(first, first + N_ROWS + number)
        paths.append(tmp_path / f"{number}.npz")
        np.savez(paths[-1], X=np.outer(rows, [1.0, -1.0]), Y=rows)
        first += len(rows)
    return paths


def rows_of(path, log=None):
    """Yield the rows of an archive, which is open in the meantime."""
    with np.load(path) as data:
        try:
            if log is not None:
                log["open"] += 1
            x, y = data["X"], data["Y"]
            for i in range(len(y)):
                yield {"X": x[i], "Y": y[i]}
        finally:
            if log is not None:
                log["open"] -= 1


@pescador.streamable
def streamable_rows_of(path):
    """Yield the rows of an archive."""
    yield from rows_of(path)


def streamers_of(files, log=None):
    return [Streamer(rows_of, path, log) for path in files]


def epoch_of(files, n_active=3, random_state=None):
    return pescador.StochasticMux(
        streamers_of(files), n_active, rate=None, mode="exhaustive", random_state=random_state
    )


def all_rows(batches):
    return [int(row) for batch in batches for row in np.ravel(batch["Y"])]


@pytest.fixture(autouse=True)
def global_seed():
    """Seed NumPy's global generator, and put it back afterwards."""
    state = np.random.get_state()
    np.random.seed(0)
    yield
    np.random.set_state(state)


# One streamer for each file.


@pytest.mark.parametrize("n_active", [1, 3, N_FILES, 100])
def test_an_exhaustive_epoch_gives_every_row_once(files, n_active):
    mux = epoch_of(files, n_active)
    epochs = [all_rows(mux) for _ in range(3)]
    for rows in epochs:
        assert sorted(rows) == list(range(N_TOTAL))
    assert not epochs[0] == epochs[1] == epochs[2]


def test_epochs_in_batches_with_a_short_tail(files):
    mux = epoch_of(files, random_state=np.random.RandomState(0))
    batches = Streamer(pescador.buffer_stream, mux, 16, partial=True)
    epochs = [list(batches) for _ in range(3)]
    n_full, n_left = divmod(N_TOTAL, 16)
    for epoch in epochs:
        assert [batch["X"].shape for batch in epoch] == [(16, 2)] * n_full + [(n_left, 2)]
        assert sorted(all_rows(epoch)) == list(range(N_TOTAL))
        for batch in epoch:
            assert (batch["X"] == np.outer(batch["Y"], [1, -1])).all()
    assert all_rows(epochs[0]) != all_rows(epochs[1]) != all_rows(epochs[2])


def test_an_epoch_named_by_an_integer_comes_again(files):
    mux = epoch_of(files, random_state=20180123)
    assert all_rows(mux) == all_rows(mux) == all_rows(epoch_of(files, random_state=20180123))
    assert all_rows(mux) != all_rows(epoch_of(files, random_state=12345678))


@pytest.mark.parametrize("wrap", [list, tuple, iter, lambda made: (each for each in made)])
def test_streamers_come_in_any_collection(files, wrap):
    mux = pescador.StochasticMux(wrap(streamers_of(files)), 3, None, mode="exhaustive")
    assert mux.n_streams == N_FILES
    assert sorted(all_rows(mux)) == list(range(N_TOTAL))


def test_streamers_made_by_a_decorator(files):
    mux = pescador.ChainMux([streamable_rows_of(path) for path in files])
    assert all_rows(mux) == list(range(N_TOTAL))


def test_muxes_take_their_arguments_in_the_old_order(files):
    mux = pescador.StochasticMux(streamers_of(files), 3, 16, None, "single_active", True, 0)
    assert (mux.n_active, mux.rate, mux.mode, mux.random_state) == (3, 16, "single_active", 0)
    assert len(list(mux.iterate(100))) == 100


def test_an_endless_mixture_keeps_few_files_open_and_closes_them_all(files):
    log = collections.Counter()
    mux = pescador.StochasticMux(streamers_of(files, log), 2, rate=4)
    batches = pescador.buffer_stream(mux, 8)
    n_open = []
    for _ in range(50):
        assert next(batches)["X"].shape == (8, 2)
        n_open.append(log["open"])
    assert max(n_open) == 2
    batches.close()
    assert log["open"] == 0


def test_breaking_out_of_training_closes_all_files(files):
    log = collections.Counter()
    mux = pescador.ShuffledMux(streamers_of(files, log))
    pipeline = pescador.tuples(pescador.buffer_stream(mux, 4), "X", "Y")
    for x, y in pipeline:
        assert (x[:, 0] == y).all()
        break
    assert log["open"] > 0
    del pipeline
    assert (log["open"], mux.active) == (0, 0)


@pytest.mark.parametrize("n_steps", [1, 7])
def test_a_fixed_number_of_steps_of_keras_tuples(files, n_steps):
    mux = pescador.StochasticMux(streamers_of(files), 3, rate=8)
    data = pescador.keras_tuples(pescador.buffer_stream(mux, 6), "X", ["Y"])
    for _ in range(n_steps):
        x, (y,) = next(data)
        assert (x.shape, y.shape) == ((6, 2), (6,))
        assert (x == np.outer(y, [1, -1])).all()
    data.close()
    assert mux.active == 0


def test_a_whole_pipeline_of_streamers_starts_again(files):
    batches = Streamer(pescador.buffer_stream, epoch_of(files), buffer_size=8, partial=True)
    data = Streamer(pescador.keras_tuples, batches, inputs="X", outputs="Y")
    for _ in range(2):
        assert sorted(row for _, y in data for row in y) == list(range(N_TOTAL))
    assert len(list(data.cycle(max_iter=30))) == 30
    assert batches.active == 0


def fit_generator(generator, steps_per_epoch, epochs=1):
    """Read a generator as ``fit_generator`` of Keras did before version 2.4, in a thread."""
    seen = []

    def work():
        for _ in range(steps_per_epoch * epochs):
            output = next(generator)
            if not hasattr(output, "__len__") or len(output) not in (2, 3):
                raise ValueError("(x, y) or (x, y, sample_weight)")
            x, y, sample_weight = output if len(output) == 3 else (*output, None)
            arrays = x if isinstance(x, list) else [x]
            seen.append((len(arrays), len(arrays[0]), y, sample_weight))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return seen


@pytest.mark.parametrize("weights", [None, "Y"])
@pytest.mark.parametrize("inputs", ["X", ["X", "Y"]])
def test_fit_generator_takes_keras_tuples(files, inputs, weights):
    batches = pescador.buffer_stream(pescador.ShuffledMux(streamers_of(files)), 6)
    with pescador.keras_tuples(batches, inputs, "Y", weights) as data:
        seen = fit_generator(data, steps_per_epoch=3, epochs=2)
    assert len(seen) == 6
    for n_inputs, n_rows, y, sample_weight in seen:
        assert (n_inputs, n_rows) == (len(inputs), 6)
        assert sample_weight is None if weights is None else (sample_weight == y).all()


def test_fit_of_keras_3_takes_streams_and_maps_for_generators(files):
    """It asks for nothing but the type, and takes no other iterators."""
    batches = Streamer(pescador.buffer_stream, epoch_of(files), 6)
    made = Streamer(pescador.keras_tuples, batches, "X", "Y")
    for data in (pescador.keras_tuples(batches, "X", "Y"), made.iterate(), made.cycle()):
        assert isinstance(data, types.GeneratorType)
        assert isinstance(data, type(data))
        assert type(data) is not types.GeneratorType
        x, y = next(itertools.chain([next(data)], data))
        assert len(x) == len(y) == 6
    assert isinstance(made.iterate(), pescador.Stream)


def test_a_dataset_as_an_argument_is_handed_over_not_copied():
    data = np.arange(20.0).reshape(10, 2)

    def rows(x):
        for row in x:
            yield {"X": row, "is the very one": x is data}

    mux = pescador.StochasticMux([Streamer(rows, data), Streamer(rows, x=data)], 2, rate=3)
    batches = pescador.buffer_stream(mux.iterate(100), 50)
    assert all(batch["is the very one"].all() for batch in batches)


@pytest.mark.parametrize("n_active", [0, -1, None, 2.5])
def test_a_computed_number_of_streams_that_is_wrong_says_so(files, n_active):
    with pytest.raises(PescadorError, match=f"n_active={n_active}.*>= 1"):
        pescador.StochasticMux(streamers_of(files), n_active, rate=None)


def test_more_streams_than_files_with_replacement(files):
    mux = pescador.StochasticMux(streamers_of(files), 4 * N_FILES, rate=None)
    with mux as active:
        assert len(all_rows(itertools.islice(active.stream_, 200))) == 200
        assert len(active.streams_) == 4 * N_FILES


def test_one_streamer_twice_in_a_mux_is_read_twice(files):
    streamer = Streamer(rows_of, files[0])
    assert all_rows(pescador.RoundRobinMux([streamer, streamer])) == [
        row for row in range(N_ROWS) for _ in range(2)
    ]


# Validation.


def test_validation_in_order_with_a_short_tail(files):
    chain = pescador.ChainMux(streamers_of(files), mode="exhaustive")
    for _ in range(2):
        batches = list(pescador.buffer_stream(chain, 32, partial=True))
        assert all_rows(batches) == list(range(N_TOTAL))
        assert [len(batch["Y"]) for batch in batches] == [32, 32, N_TOTAL - 64]


def test_validation_in_turns(files):
    mux = pescador.RoundRobinMux(streamers_of(files), "exhaustive")
    for _ in range(2):
        rows = all_rows(pescador.buffer_stream(mux, 32, partial=True))
        assert rows[:N_FILES] == [0, 12, 25, 39, 54]
        assert sorted(rows) == list(range(N_TOTAL))


def test_an_endless_validation_set(files):
    chain = pescador.ChainMux(streamers_of(files), mode="cycle")
    rows = all_rows(pescador.buffer_stream(chain.iterate(2 * N_TOTAL), 8))
    assert rows == [*range(N_TOTAL), *range(N_TOTAL)][: len(rows)]
    assert len(rows) == 2 * N_TOTAL // 8 * 8


def test_more_streams_than_files_in_an_exhaustive_epoch():
    mux = pescador.StochasticMux([range(3), range(3), range(3)], 100, None, mode="exhaustive")
    assert sorted(mux) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_training_and_validation_in_the_same_loop(files):
    train = Streamer(pescador.buffer_stream, epoch_of(files[:3]), 8, partial=True)
    validate = Streamer(
        pescador.buffer_stream, pescador.ChainMux(streamers_of(files[3:])), 8, partial=True
    )
    n_train = 3 * N_ROWS + 3
    for _ in range(3):
        assert sorted(all_rows(train)) == list(range(n_train))
        assert all_rows(validate) == list(range(n_train, N_TOTAL))


# Maps alone.


def plain_generator(n_items):
    for n in range(n_items):
        yield {"X": np.full((1, 3), n), "Y": n, "name": f"item {n}"}


def test_maps_on_a_plain_generator():
    data = pescador.tuples(pescador.buffer_stream(plain_generator(10), 4), "name", "Y")
    assert [(names.tolist(), y.tolist()) for names, y in data] == [
        ([f"item {n}" for n in some], list(some)) for some in (range(4), range(4, 8))
    ]


def test_batches_that_are_there_already_are_joined():
    chunks = (
        {key: np.atleast_1d(value) for key, value in item.items()} for item in plain_generator(6)
    )
    batches = list(pescador.buffer_stream(chunks, 3, axis=0))
    assert [batch["X"].shape for batch in batches] == [(3, 3)] * 2
    assert all_rows(batches) == list(range(6))


def test_maps_give_iterators():
    for data in (
        pescador.buffer_stream(plain_generator(4), 2),
        pescador.tuples(plain_generator(4), "Y"),
        pescador.keras_tuples(plain_generator(4), "X", "Y"),
        pescador.cache(plain_generator(4), 2),
    ):
        assert isinstance(data, collections.abc.Iterator)
        next(data)


@pytest.mark.parametrize("values", [[1, 2], [1.5, 2.5], ["a", "bc"], [True, False], [b"a", b"b"]])
def test_values_without_dimensions_are_stacked(values):
    for wrap in (lambda value: value, np.array):
        (batch,) = pescador.buffer_stream([{"x": wrap(value)} for value in values], 2)
        assert batch["x"].shape == (2,)
        assert batch["x"].tolist() == values


def test_ragged_items_say_which_one_does_not_fit():
    items = [{"X": np.zeros(3)}, {"X": np.zeros(3)}, {"X": np.zeros(4)}]
    with pytest.raises(pescador.DataError, match=r"item 2 .*'X'.*\(4,\)"):
        list(pescador.buffer_stream(items, 3))


def test_maps_on_items_of_dictionary_comprehensions():
    items = [{name: index for index, name in enumerate(names)} for names in ("ab", "ba", "ab")]
    (batch,) = pescador.buffer_stream(items, 3)
    assert {key: value.tolist() for key, value in batch.items()} == {"a": [0, 1, 0], "b": [1, 0, 1]}


# Three ways to get batches.


@pescador.streamable
def samples(n_items):
    """Yield samples."""
    for n in range(n_items):
        yield {"X": np.full(2, n), "Y": n}


def batches_of_samples(n_items, size):
    """Yield batches of samples."""
    yield from pescador.buffer_stream(samples(n_items), size)


WAYS = {
    "a streamer of the map": lambda: Streamer(pescador.buffer_stream, samples(10), 3),
    "the same by keyword": lambda: Streamer(
        pescador.buffer_stream, samples(10), buffer_size=3, partial=False
    ),
    "a generator function": lambda: Streamer(batches_of_samples, 10, 3),
    "the map of a streamer": lambda: pescador.buffer_stream(samples(10), 3),
    "a streamer of the map of a streamer": lambda: Streamer(pescador.buffer_stream(samples(10), 3)),
    "the generator of the function": lambda: Streamer(batches_of_samples(10, 3)),
}


@pytest.mark.parametrize("make", WAYS.values(), ids=WAYS)
def test_three_ways_to_get_batches(make):
    assert [batch["Y"].tolist() for batch in make()] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize("name", list(WAYS)[:3])
def test_streamers_of_batches_start_again(name):
    streamer = WAYS[name]()
    for _ in range(2):
        assert [batch["Y"][0] for batch in streamer] == [0, 3, 6]
        assert [batch["Y"][0] for batch in streamer.iterate(2)] == [0, 3]
    assert [batch["Y"][0] for batch in streamer.cycle(5)] == [0, 3, 6, 0, 3]


@pytest.mark.parametrize("name", list(WAYS)[4:])
def test_what_can_be_read_once_says_so_the_second_time(name):
    streamer = WAYS[name]()
    assert len(list(streamer)) == 3
    with pytest.raises(PescadorError, match="only once"):
        list(streamer)


# Numbers as people write them.


@pytest.mark.parametrize("max_iter", [1e2, 100, 100.0, np.int32(100), np.float64(100)])
def test_a_hundred_items_written_in_many_ways(max_iter):
    streamer = Streamer(itertools.count)
    assert list(streamer.iterate(max_iter)) == list(range(100))
    assert len(list(streamer(max_iter=max_iter))) == 100
    assert len(list(streamer.cycle(max_iter=max_iter))) == 100
    assert len(list(Streamer("abc")(max_iter, cycle=True))) == 100


@pytest.mark.parametrize("rate", [0.5, 2.5, 1e1, 3, np.float32(2.5), np.int64(3), None])
@pytest.mark.parametrize("dist", ["poisson", "constant", "binomial"])
def test_rates_of_many_types(rate, dist):
    mux = pescador.StochasticMux(["a" * 50, "b" * 50], 2, rate, dist=dist, random_state=0)
    assert set(mux.iterate(2e2)) == set("ab")


@pytest.mark.parametrize(
    "weights",
    [
        [1, 2, 1],
        (1.0, 2.0, 1.0),
        np.array([1, 2, 1]),
        np.array([1, 2, 1], "f4"),
        np.array([1, 2, 1], "u1"),
        np.array([9, 1, 9, 2, 9, 1])[1::2],
        [np.float64(0.25), 0.5, 0.25],
    ],
    ids=repr,
)
def test_weights_of_many_types(weights):
    before = copy.deepcopy(weights)
    if isinstance(weights, np.ndarray):
        weights.flags.writeable = False
    for mux in (
        pescador.ShuffledMux(["a", "b", "c"], weights, random_state=0),
        pescador.StochasticMux(["a", "b", "c"], 2, 1.5, weights, random_state=0),
    ):
        assert mux.weights.tolist() == [0.25, 0.5, 0.25]
        assert set(mux.iterate(200)) == set("abc")
    assert np.array_equal(weights, before)


# Reading and copying muxes.


def test_what_a_mux_tells_about_itself():
    streamers = [Streamer("abc"), Streamer("de"), "fg"]
    mux = pescador.StochasticMux(streamers, 2, 3.5, weights=[2, 1, 1], random_state=0)
    assert mux.streamers[:2] == streamers[:2]
    assert [list(each) for each in mux.streamers] == [list("abc"), list("de"), list("fg")]
    assert (mux.n_streams, mux.n_active, mux.rate) == (3, 2, 3.5)
    assert np.array_equal(mux.weights, [0.5, 0.25, 0.25])
    assert (mux.mode, mux.dist, mux.prune_empty_streams) == ("with_replacement", "poisson", True)
    assert mux.active == 0
    with mux as active:
        next(active.stream_)
        assert mux.active == 1
        assert len(active.streams_) == len(active.stream_weights_) == 2
        assert active.stream_counts_.sum() == 1
    assert mux.active == 0


def test_weights_are_equal_if_none_are_given():
    assert pescador.ShuffledMux(["a", "b"]).weights.tolist() == [0.5, 0.5]


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda mux: pickle.loads(pickle.dumps(mux)),
}


@pytest.mark.parametrize("make_copy", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("random_state", [0, None, np.random.RandomState(0)], ids=shown)
def test_copies_of_muxes_work_alike(files, make_copy, random_state):
    mux = epoch_of(files, random_state=copy.deepcopy(random_state))
    twin = make_copy(mux)
    assert (twin.n_active, twin.n_streams, twin.rate) == (mux.n_active, mux.n_streams, mux.rate)
    assert np.array_equal(twin.weights, mux.weights)
    assert sorted(all_rows(twin)) == list(range(N_TOTAL))
    if random_state == 0:
        assert all_rows(twin) == all_rows(mux)


def test_a_copy_of_a_running_mux_is_not_running():
    mux = pescador.RoundRobinMux(["abc", "de"])
    with mux.iterate() as stream:
        next(stream)
        twins = [make_copy(mux) for make_copy in COPIES.values()]
        assert mux.active == 1
        for twin in twins:
            assert twin.active == 0
            assert list(twin) == list("adbec")


# Items of every kind.


class Tensor:
    """An object of another library: whatever is done to it is an error."""

    __hash__ = None

    def _refuse(self, *args):
        raise TypeError("not an operation for a tensor")

    __bool__ = __len__ = __iter__ = __eq__ = __copy__ = __deepcopy__ = __array__ = _refuse
    __next__ = __getitem__ = __index__ = __float__ = __contains__ = __call__ = _refuse


PAYLOADS = {
    "strings": ["a", "", "text"],
    "tuples": [(1, np.zeros(2)), (), ("a",)],
    "lists": [[1, 2], [], [np.zeros(2)]],
    "ragged dicts": [{"X": np.zeros(2)}, {}, {"Y": 1, "Z": None}],
    "arrays": [np.zeros(2), np.ones((3, 1)), np.array(1)],
    "none": [None, None, None],
    "objects": [object(), object(), object()],
    "falsy": [0, False, ""],
    "exceptions": [ValueError("an item"), StopIteration(), KeyError],
    "tensors": [Tensor(), Tensor(), Tensor()],
    "dicts of tensors": [{"X": Tensor()}, {"X": Tensor(), "Y": [Tensor()]}, {}],
    "streamers": [Streamer("ab"), Streamer([]), pescador.ShuffledMux(["ab"])],
    "generators": [plain_generator(1), plain_generator(0), iter("ab")],
}
MUXES = {
    "stochastic": functools.partial(
        pescador.StochasticMux, n_active=2, rate=None, mode="exhaustive"
    ),
    "single active": functools.partial(
        pescador.StochasticMux, n_active=1, rate=None, mode="single_active"
    ),
    "limited": functools.partial(pescador.StochasticMux, n_active=1, rate=100),
    "shuffled": pescador.ShuffledMux,
    "round robin": pescador.RoundRobinMux,
    "chain": pescador.ChainMux,
}
each_mux = pytest.mark.parametrize("make", MUXES.values(), ids=MUXES)


@each_mux
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_items_pass_through_as_the_same_objects(make, payload):
    mux = make([Streamer(payload)])
    for stream in (mux.iterate(3), pescador.ChainMux([mux]).iterate(3), Streamer(mux).iterate(3)):
        items = list(stream)
        assert len(items) == 3
        assert all(item is expected for item, expected in zip(items, payload))


# Background processes: batches before, and nothing after.


def in_the_background(files, **kwargs):
    """Return the end of the usual chain: one epoch in batches, made in a background process."""
    batches = Streamer(
        pescador.buffer_stream, epoch_of(files, **kwargs), buffer_size=16, partial=True
    )
    return pescador.ZMQStreamer(batches)


def test_an_epoch_in_the_background_starts_again(files):
    streamer = in_the_background(files)
    epochs = [list(streamer) for _ in range(3)]
    n_full, n_left = divmod(N_TOTAL, 16)
    for epoch in epochs:
        assert [batch["X"].shape for batch in epoch] == [(16, 2)] * n_full + [(n_left, 2)]
        assert sorted(all_rows(epoch)) == list(range(N_TOTAL))
        for batch in epoch:
            assert (batch["X"] == np.outer(batch["Y"], [1, -1])).all()
    assert not all_rows(epochs[0]) == all_rows(epochs[1]) == all_rows(epochs[2])


def test_an_epoch_in_the_background_is_that_without_it(files):
    streamer = in_the_background(files, random_state=20180123)
    assert all_rows(streamer) == all_rows(streamer.streamer) == all_rows(streamer)


def test_steps_of_an_endless_mixture_in_the_background(files):
    mux = pescador.StochasticMux(streamers_of(files), 3, rate=8)
    batches = Streamer(pescador.buffer_stream, mux, 6)
    data = pescador.keras_tuples(pescador.ZMQStreamer(batches), "X", "Y")
    for _ in range(20):
        x, y = next(data)
        assert (x == np.outer(y, [1, -1])).all()
    data.close()


def test_validation_in_the_background(files):
    chain = pescador.ChainMux(streamers_of(files), mode="exhaustive")
    batches = Streamer(pescador.buffer_stream, chain, 32, partial=True)
    validation = pescador.ZMQStreamer(batches)
    for _ in range(2):
        assert all_rows(validation) == list(range(N_TOTAL))


class Epoch(pescador.ZMQStreamer):
    """Has the length that a progress bar or ``Model.fit`` asks for; gives arguments by place."""

    def __init__(
        self,
        streamer,
        n_batches,
        min_port=49152,
        max_port=65535,
        max_tries=100,
        copy=False,
        timeout=5,
    ):
        super().__init__(streamer, min_port, max_port, max_tries, copy, timeout)
        self.n_batches = n_batches

    def __len__(self):
        return self.n_batches


@pytest.mark.parametrize("n_batches", [0, 5])
def test_a_background_process_with_a_length(files, n_batches):
    batches = Streamer(pescador.buffer_stream, epoch_of(files), 16, partial=True)
    epoch = Epoch(batches, n_batches, 50000, 60000, 10, True, 60)
    assert (len(epoch), epoch.min_port, epoch.copy, epoch.timeout) == (n_batches, 50000, True, 60)
    for _ in range(2):
        assert sorted(all_rows(epoch)) == list(range(N_TOTAL))
    assert sorted(all_rows(pescador.ChainMux([epoch]))) == list(range(N_TOTAL))
    assert epoch.active == 0


@pytest.mark.parametrize("make", [pescador.ShuffledMux, pescador.RoundRobinMux])
def test_a_mux_of_background_processes_of_muxes(files, make):
    halves = [files[:2], files[2:]]
    processes = [pescador.ZMQStreamer(epoch_of(some, n_active=2)) for some in halves]
    n_items = 4 * N_TOTAL if make is pescador.ShuffledMux else N_TOTAL
    rows = all_rows(make([*processes, Streamer([])]).iterate(n_items))
    assert len(rows) == n_items
    assert set(rows) == set(range(N_TOTAL))
    assert [each.active for each in processes] == [0, 0]


def test_samples_of_scalars_cross_as_arrays():
    ((x, y, name),) = pescador.tuples(
        pescador.ZMQStreamer([{"X": 1, "Y": 2.5, "name": "a"}]), "X", "Y", "name"
    )
    assert (x.shape, x[()], y[()], name[()]) == ((), 1, 2.5, "a")


@pytest.mark.parametrize("value", [None, [1, [2]], {"a": 1}, object(), np.array([None])])
def test_what_cannot_cross_says_so(value):
    stream = pescador.ZMQStreamer([{"X": 1}, {"X": 1, "Y": value}]).iterate()
    assert next(stream)["X"] == 1
    with pytest.raises(pescador.DataError, match="'Y'"):
        next(stream)


# Randomness of the user's own.


def noise(scale):
    while True:
        yield scale * np.random.random_sample()


@each_mux
def test_one_global_seed_fixes_everything(make):
    mux = make([Streamer(noise, 1), Streamer(noise, -1)])
    runs = []
    for seed in (7, 7, 8):
        np.random.seed(seed)
        runs.append([list(mux.iterate(50)) for _ in range(2)])
    assert runs[0] == runs[1] != runs[2]
    assert runs[0][0] != runs[0][1]


@each_mux
def test_a_seeded_mux_leaves_the_global_generator_to_its_sources(make):
    if make in (pescador.RoundRobinMux, pescador.ChainMux, pescador.ShuffledMux):
        mux = make([Streamer(noise, 1)] * 3, random_state=0)
    else:
        mux = make([Streamer(noise, 1)] * 3, random_state=0, weights=[1, 2, 3])
    np.random.seed(9)
    expected = np.random.RandomState(9).random_sample(500).tolist()
    assert list(mux.iterate(500)) == expected


# scikit-learn.


def clusters(label, seed):
    rng = np.random.RandomState(seed)
    while True:
        yield {"X": rng.normal(3 * label, 1, size=2), "Y": label}


def test_partial_fit():
    streamers = [Streamer(clusters, label, seed) for seed, label in enumerate([0, 1, 0, 1])]
    mux = pescador.StochasticMux(streamers, 3, rate=32, random_state=0)
    model = SGDClassifier(random_state=0)
    for batch in pescador.buffer_stream(mux.iterate(max_iter=5e3), 50):
        model.partial_fit(batch["X"], batch["Y"], classes=[0, 1])
    test_set = pescador.ChainMux([Streamer(clusters, label, 99).iterate(200) for label in (0, 1)])
    ((x, y),) = pescador.tuples(pescador.buffer_stream(test_set, 400), "X", "Y")
    assert model.score(x, y) > 0.9


# Streamers of the user's own.


class Doubling(Streamer):
    """Doubles the items of its source."""

    def iterate(self, max_iter=None):
        for item in super().iterate(max_iter):
            yield 2 * item


class Numbered(Streamer):
    """Has a parameter of its own, and calls ``super().iterate`` by keyword."""

    def __init__(self, *args, first=0, **kwargs):
        super().__init__(*args, **kwargs)
        self.first = first

    def iterate(self, max_iter=None):
        yield from zip(itertools.count(self.first), super().iterate(max_iter=max_iter))


def test_a_subclass_with_its_own_iterate():
    streamer = Doubling(range, 5)
    assert list(streamer) == [0, 2, 4, 6, 8]
    assert list(streamer(max_iter=3)) == list(streamer.iterate(3)) == [0, 2, 4]
    assert list(streamer.cycle(7)) == [0, 2, 4, 6, 8, 0, 2]
    assert list(Streamer(streamer)) == [0, 2, 4, 6, 8]
    assert list(pickle.loads(pickle.dumps(streamer))) == [0, 2, 4, 6, 8]
    with streamer as active:
        assert list(active.stream_) == [0, 2, 4, 6, 8]


@each_mux
def test_a_subclass_with_its_own_iterate_in_a_mux(make):
    streamer = Doubling(range, 5)
    mux = make([streamer])
    for _ in range(2):
        assert list(mux.iterate(5)) == [0, 2, 4, 6, 8]
    with mux.iterate() as stream:
        next(stream)
        assert streamer.active == 1
    assert streamer.active == 0


def test_a_subclass_with_parameters_of_its_own_in_a_mux():
    mux = pescador.RoundRobinMux([Numbered("ab", first=10), Numbered("cd", first=20)])
    assert list(mux) == [(10, "a"), (20, "c"), (11, "b"), (21, "d")]


def test_closing_a_mux_closes_the_source_of_a_subclass(files):
    class Halving(Streamer):
        def iterate(self, max_iter=None):
            for item in super().iterate(max_iter):
                yield {"X": item["X"] / 2}

    log = collections.Counter()
    mux = pescador.RoundRobinMux([Halving(rows_of, path, log) for path in files])
    stream = mux.iterate()
    for _ in range(N_FILES):
        next(stream)
    assert log["open"] == N_FILES
    stream.close()
    assert log["open"] == 0


class Sized(Streamer):
    """Has a length, which is 0, so that it is false."""

    def __len__(self):
        return 0


def test_a_streamer_that_is_false():
    streamer = Sized(range, 5)
    assert not streamer
    for stream in (streamer.iterate(), streamer(), streamer.cycle(), Streamer(streamer).iterate()):
        with stream:
            assert next(stream) == 0
            assert streamer.active == 1
        assert streamer.active == 0
    with streamer as active:
        assert (streamer.active, active.active) == (1, 0)
        assert list(active.stream_) == list(range(5))
    assert streamer.active == 0


@each_mux
def test_a_streamer_that_is_false_in_a_mux(make):
    streamer = Sized(range, 5)
    with make([streamer]).iterate() as stream:
        assert [next(stream) for _ in range(5)] == list(range(5))
        assert streamer.active == 1
    assert streamer.active == 0


def test_a_streamer_that_is_false_in_a_map():
    streamer = Sized(plain_generator, 5)
    batches = Streamer(pescador.buffer_stream, streamer, 2, partial=True)
    with batches.iterate() as stream:
        assert next(stream)["Y"].tolist() == [0, 1]
        assert streamer.active == 1
    assert all_rows(batches) == list(range(5))
    assert streamer.active == 0


def test_a_collection_of_streamers_that_is_false():
    class Pool(list):
        def __bool__(self):
            return False

    for make in (pescador.ShuffledMux, pescador.RoundRobinMux, pescador.ChainMux):
        assert set(make(Pool(["ab", "cd"])).iterate(40)) == set("abcd")


@pytest.mark.parametrize("name", ["BufferedStreamer", "StreamLearner", "buffer_batch"])
def test_names_of_older_versions_are_pointed_at(name):
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'; .*pescador.legacy"):
        getattr(pescador, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'stream_learner'$"):
        _ = pescador.stream_learner
    assert hasattr(pescador.legacy, name)


@pytest.mark.parametrize("make", [pescador.ShuffledMux, pescador.RoundRobinMux])
def test_a_streamer_in_place_of_a_list_of_them_is_refused_at_once(make):
    """Also if it is endless."""

    def samples():
        while True:
            yield {"X": 1}

    with pytest.raises(PescadorError, match=r"streamers\[0\]=.*is a mapping.*: \[streamer\]"):
        make(Streamer(samples))
    with pytest.raises(PescadorError, match="streamers=3: is not a collection of streamers"):
        make(3)


def test_a_list_of_keys_for_tuples_is_refused_at_once(files):
    with pytest.raises(
        PescadorError,
        match=r"keys\[0\]=\['X', 'Y'\]: cannot be a key: it has no hash; .*one by one",
    ):
        pescador.tuples(Streamer(rows_of, files[0]), ["X", "Y"])


def test_a_key_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(KeyError) as caught:
        list(pescador.tuples([{"X": 1, "Y": 2}, {"X": 1}], "X", "Y"))
    assert caught.value.args == ("Y",)
    assert caught.value.__notes__ == ["item 1 of the stream has only the keys ['X']"]


def test_a_name_that_is_misspelt_gets_a_suggestion():
    with pytest.raises(AttributeError, match="no attribute 'Streamr'") as caught:
        _ = pescador.Streamr
    assert (caught.value.name, caught.value.obj) == ("Streamr", pescador)
