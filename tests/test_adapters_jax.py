"""The adapter for JAX."""

import importlib.util
import itertools
import json
import os

import numpy as np
import pytest

from pescador import PescadorError, StochasticMux, Streamer, ZMQStreamer, buffer_stream

if importlib.util.find_spec("jax") is None:
    pytest.skip("JAX is not installed", allow_module_level=True)
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pescador.adapters.jax import device_iterator


def rows(number):
    """Yield the rows of a file."""
    for row in np.random.default_rng(number).permutation(20):
        yield {"x": np.full(3, row, np.float32), "row": np.int32(20 * number + row)}


def batches():
    """Return a streamer of batches of all rows, each once."""
    files = [Streamer(rows, number) for number in range(6)]
    epoch = StochasticMux(files, 3, None, mode="exhaustive", random_state=0)
    return Streamer(buffer_stream, epoch, 8)


def read(stream):
    """Return the rows of each batch."""
    return [np.asarray(batch["row"]).tolist() for batch in stream]


@pytest.mark.parametrize("size", [1, 2, 20])
def test_batches_are_those_of_the_stream(size):
    assert read(device_iterator(batches().iterate(), size)) == read(batches())


def test_batches_are_on_the_device():
    batch = next(device_iterator(batches().iterate()))
    assert all(isinstance(each, jax.Array) for each in batch.values())
    assert batch["x"].shape == (8, 3)


@pytest.mark.parametrize("size", [1, 3])
def test_so_many_batches_are_ahead(size):
    stream = batches().iterate()
    on_device = device_iterator(stream, size)
    assert stream.n_given == 0
    next(on_device)
    assert stream.n_given == 1 + size
    next(on_device)
    assert stream.n_given == 2 + size


def test_batches_are_divided_over_a_mesh():
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    sharding = NamedSharding(mesh, PartitionSpec("batch"))
    batch = next(device_iterator(batches().iterate(), sharding=sharding))
    assert len(batch["x"].sharding.device_set) == 4
    assert {each.data.shape for each in batch["x"].addressable_shards} == {(2, 3)}


@pytest.mark.parametrize("n_batches", [0, 1, 7, 15])
def test_a_state_counts_what_was_handed_out(n_batches):
    on_device = device_iterator(batches().iterate(), 3)
    for _ in range(n_batches):
        next(on_device)
    state = json.loads(json.dumps(on_device.state_dict()))
    assert state["n_given"] == n_batches
    assert read(batches().resume(state)) == read(on_device)


def aligned(n_items):
    """Return an array that JAX could use as it is."""
    raw = np.zeros(4 * n_items + 64, np.uint8)
    begin = -raw.ctypes.data % 64
    return raw[begin : begin + 4 * n_items].view(np.float32)


def test_a_source_may_use_its_arrays_again():
    array = aligned(256)

    def reusing():
        for number in range(5):
            array[:] = number
            yield {"x": array}

    on_device = device_iterator(Streamer(reusing).iterate())
    assert [float(batch["x"][0]) for batch in on_device] == [0, 1, 2, 3, 4]


def failing(n_items):
    """Fail after some items."""
    for number in range(n_items):
        yield {"x": np.full(2, number)}
    raise OSError("broken")


@pytest.mark.parametrize("size", [1, 2, 9])
def test_an_error_comes_in_its_turn(size):
    on_device, found = device_iterator(Streamer(failing, 3).iterate(), size), []
    with pytest.raises(OSError, match="broken"):
        for batch in on_device:
            found.append(int(batch["x"][0]))
    assert found == [0, 1, 2]
    assert list(on_device) == []


def test_batches_of_a_process():
    process = ZMQStreamer(batches(), start_method="spawn")  # (JAX warns of forks)
    with device_iterator(process.iterate()) as on_device:
        assert read(itertools.islice(on_device, 3)) == read(batches().iterate(3))


def test_other_things_stay_what_they_are():
    names = np.array(["a", "b"])
    streamer = Streamer([{"names": names, "pair": ([np.zeros(2)], "a")}])
    batch = next(device_iterator(streamer.iterate()))
    assert batch["names"] is names
    assert isinstance(batch["pair"][0][0], jax.Array)
    assert batch["pair"][1] == "a"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: device_iterator(batches()), "is a streamer, not a stream"),
        (lambda: device_iterator([1]), "is not a stream"),
        (lambda: device_iterator(batches().iterate(), 0), "size=0"),
        (lambda: device_iterator(batches().iterate(), sharding="gpu"), "is not a sharding"),
        (
            lambda: next(device_iterator(Streamer([{"t": np.zeros(2, "M8[s]")}]).iterate())),
            r"batch\['t'\], of dtype '<M8\[s\]' and shape \(2,\), cannot be put",
        ),
    ],
)
def test_mistakes(make, text):
    with pytest.raises(PescadorError, match=text):
        make()
