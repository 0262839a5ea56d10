"""The adapter for PyTorch."""

import itertools
import json
import multiprocessing
import pickle
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from _cases import some
from _torch_programs import BATCH, N_FILES, N_ROWS, batches, read

from pescador import PescadorError, ShuffledMux, Streamer, shard
from pescador.sharding import Shard

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch.utils.data import DataLoader  # noqa: E402

from pescador.adapters.torch import StreamDataset, tensors  # noqa: E402

# Torch has its own opinion of how many workers two cores need.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
]

PROGRAMS = Path(__file__).with_name("_torch_programs.py")
N_ALL = N_FILES * N_ROWS
METHODS = [each for each in ("fork", "spawn") if each in multiprocessing.get_all_start_methods()]


def loader(n_workers=0, method=None, **more):
    """Return a loader of all rows."""
    dataset = StreamDataset(batches())
    method = method if n_workers else None
    return DataLoader(
        dataset, batch_size=None, num_workers=n_workers, multiprocessing_context=method, **more
    )


def rows_of(epoch):
    """Return the rows of an epoch in their order."""
    return list(itertools.chain(*epoch))


@pytest.mark.parametrize("method", some(METHODS))
@pytest.mark.parametrize("is_persistent", some([False, True]))
@pytest.mark.parametrize("n_workers", some([0, 3, 1], n=2))
def test_each_row_once_an_epoch(n_workers, is_persistent, method):
    """And in another order in each; the chance that 120 come in the same is small."""
    loaded = loader(n_workers, method, persistent_workers=is_persistent and n_workers > 0)
    epochs = [rows_of(read(loaded)) for _ in range(3)]
    assert [sorted(each) for each in epochs] == [list(range(N_ALL))] * 3
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_the_seed_of_torch_does_not_matter():
    torch.manual_seed(0)
    known = read(loader())
    torch.manual_seed(1)
    assert read(loader()) == known


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("n_workers", [0, 2])
def test_batches_are_pinned(n_workers):
    known = loader(n_workers, METHODS[0])
    command = [sys.executable, str(PROGRAMS), "pinned", str(n_workers), METHODS[0]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout) == [read(known), read(known)]


def test_an_epoch_is_a_pass():
    loaded = loader()
    epochs = [read(loaded) for _ in range(3)]
    passes = [item["row"].tolist() for item in batches().cycle(3 * len(epochs[0]))]
    assert list(itertools.chain(*epochs)) == passes


def test_a_worker_has_its_part():
    known = [item["row"].tolist() for item in shard(batches(), 0, 2)]
    found = read(loader(2, METHODS[0]))
    assert [each for each in found if each in known] == known


def test_a_loop_that_is_left_counts_as_an_epoch():
    loaded = loader()
    next(iter(loaded))
    assert read(loaded) == [item["row"].tolist() for item in batches().cycle(60)][30:]


@pytest.mark.parametrize("method", some(METHODS))
def test_ranks_have_parts_of_their_own(method, tmp_path):
    running = [
        subprocess.Popen(
            [sys.executable, str(PROGRAMS), "one_rank", str(rank), "2", str(tmp_path), method],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    epochs = [json.loads(each.communicate(timeout=120)[0]) for each in running]
    assert [each.returncode for each in running] == [0, 0]
    for both in zip(*epochs):
        assert sorted(rows_of(itertools.chain(*both))) == list(range(N_ALL))


# Going on.


@pytest.mark.parametrize("n_workers", [0, 2])
@pytest.mark.parametrize("n_steps", [0, 7, 30])
def test_a_loader_goes_on_where_it_stood(n_workers, n_steps):
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def made():
        return stateful(StreamDataset(batches()), batch_size=None, num_workers=n_workers)

    one, other = made(), made()
    read(one)  # an epoch before
    steps = iter(one)
    for _ in range(n_steps):
        next(steps)
    other.load_state_dict(pickle.loads(pickle.dumps(one.state_dict())))
    assert read(other) == read(steps)
    assert read(other) == read(one)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_training_goes_on_after_a_crash(n_workers, tmp_path):
    pytest.importorskip("torchdata.stateful_dataloader")
    steps = []
    for _ in range(2):
        command = [sys.executable, str(PROGRAMS), "crashing", str(tmp_path), str(n_workers)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        steps += [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    loaded = loader(n_workers, METHODS[0])
    assert steps == read(loaded) + read(loaded)


def test_another_number_of_workers_has_the_next_epoch():
    dataset = StreamDataset(batches())
    read(DataLoader(dataset, batch_size=None, num_workers=2))
    for epoch, n_workers in enumerate([3, 0, 2], 1):
        n_parts = max(1, n_workers)
        wanted = [read(Shard(batches(), i, n_parts, epoch)) for i in range(n_parts)]
        found = read(DataLoader(dataset, batch_size=None, num_workers=n_workers))
        assert sorted(found) == sorted(itertools.chain(*wanted))


def test_the_state_of_a_dataset_is_json():
    dataset = StreamDataset(batches())
    assert dataset.state_dict() == {"epoch": 0, "stream": None}
    items = iter(dataset)
    for _ in range(3):
        next(items)
    state = json.loads(json.dumps(dataset.state_dict()))
    other = StreamDataset(batches())
    other.load_state_dict(state)
    assert other.state_dict() == state
    assert read(other) == read(items)
    with pytest.raises(PescadorError, match="is not a state of a StreamDataset"):
        other.load_state_dict({"epoch": 0})
    with pytest.raises(PescadorError, match="epoch='x'"):
        other.load_state_dict({"epoch": "x", "stream": None})
    with pytest.raises(PescadorError, match="is not the state of a stream"):
        other.load_state_dict({"epoch": 0, "stream": 3})


def test_a_dataset_can_be_pickled():
    dataset = StreamDataset(batches())
    next(iter(dataset))
    assert len(read(pickle.loads(pickle.dumps(dataset)))) == N_ALL // BATCH


# Tensors.

Pair = namedtuple("Pair", "one other")


DTYPES = "bool int8 int16 int32 int64 uint8 float16 float32 float64 complex64 complex128"


@pytest.mark.parametrize("dtype", DTYPES.split())
def test_tensors_share_the_memory_of_arrays(dtype):
    array = np.zeros((2, 3), dtype)
    found = tensors({"a": [array], "b": (array, Pair(array, 1))})
    for tensor in (found["a"][0], found["b"][0], found["b"][1].one):
        assert tensor.data_ptr() == array.ctypes.data
        assert tensor.numpy().dtype == array.dtype


def test_batches_are_shared_too():
    arrays = []

    def kept():
        for _ in range(2):
            arrays.append(np.zeros(1000))
            yield {"x": arrays[-1]}

    dataset = StreamDataset(ShuffledMux([Streamer(kept)]))
    found = [item["x"].data_ptr() for item in itertools.islice(dataset, 2)]
    assert found == [each.ctypes.data for each in arrays]


def test_arrays_that_cannot_be_shared_are_copied():
    array = np.arange(4.0)
    assert tensors(array[::-1]).tolist() == [3, 2, 1, 0]
    packed = np.zeros(4, [("c", "i1"), ("v", "f4")])
    assert tensors(packed["v"]).tolist() == [0, 0, 0, 0]
    array.setflags(write=False)
    found = tensors(array)
    found[0] = 7
    assert array[0] == 0


def test_other_things_stay_what_they_are():
    names = np.array(["a", "b"])
    found = tensors({"name": "a", "names": names, "none": None, "n": 3, "s": np.float32(2)})
    assert found["names"] is names
    assert (found["name"], found["none"], found["n"]) == ("a", None, 3)
    assert found["s"].dtype == torch.float32


@pytest.mark.parametrize(
    ("dtype", "remedy"), [(">f4", "np.float32"), ("<M8[s]", "np.int64"), ("g", "np.float64")]
)
def test_a_type_that_torch_lacks_is_told_with_its_key(dtype, remedy):
    with pytest.raises(
        PescadorError, match=rf"item\['a'\]\[1\] has the dtype .*astype\({remedy}\)"
    ):
        tensors({"a": [1, np.zeros(2, dtype)]})


def test_what_is_no_streamer():
    with pytest.raises(PescadorError, match="is not a streamer"):
        StreamDataset([1, 2])


def test_what_cannot_be_divided_is_told_in_the_loop():
    dataset = StreamDataset(ShuffledMux([[{"x": 1}]]))
    with pytest.raises(PescadorError, match="too few for 2 consumers"):
        list(DataLoader(dataset, batch_size=None, num_workers=2))
