"""Sources that have a state of their own."""

import copy
import functools
import importlib
import json
import logging
import threading

import numpy as np
import pytest
from _cases import some

from pescador import (
    ParallelStreamer,
    PescadorError,
    RoundRobinMux,
    StochasticMux,
    Streamer,
    ZMQStreamer,
    buffer_stream,
)

N_ROWS = 100
read = [0]  # how many items were read, in this process


class Rows:
    """An iterator with a state."""

    def __init__(self, who):
        self.who, self.row = who, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.row == N_ROWS:
            raise StopIteration
        self.row += 1
        read[0] += 1
        return {"who": self.who, "row": self.row - 1}

    def state_dict(self):
        return {"row": self.row, "more": (None, 1.5, [True, b"\0\xff"])}

    def load_state_dict(self, state):
        assert state["more"] == (None, 1.5, [True, b"\0\xff"])
        self.row = state["row"]


class Table:
    """An iterable whose iterators have a state: bytes, as Grain's may have."""

    def __init__(self, who):
        self.who = who

    def __iter__(self):
        return Cursor(self.who)


class Cursor(Rows):
    state_dict = load_state_dict = None

    def get_state(self):
        return b"%d" % self.row

    def set_state(self, state):
        self.row = int(state)


class Dataset:
    """An iterable with a state that it has in itself, as those of Hugging Face."""

    def __init__(self, who):
        self.who, self._begin, self._row = who, 0, 0

    def __iter__(self):
        for row in range(self._begin, N_ROWS):
            self._row = row + 1
            read[0] += 1
            yield {"who": self.who, "row": row}

    def state_dict(self):
        return {"row": self._row}

    def load_state_dict(self, state):
        self._begin = state["row"]


SOURCES = {
    "iterator": lambda who: Streamer(Rows(who)),
    "iterable": lambda who: Streamer(Dataset(who)),
    "its iterator": lambda who: Streamer(Table(who)),
    "class": lambda who: Streamer(Rows, who),
    "class of iterables": lambda who: Streamer(Dataset, who=who),
}


def mixed(make):
    """Return a mux of sources, some of which are open twice at a time."""
    sources = [make(who) for who in range(3)]
    return StochasticMux(sources, 4, 30, random_state=0)


WAYS = {
    "here": lambda mux: mux,
    "threads": lambda mux: ParallelStreamer(mux, 2, backend="threads"),
    "process": lambda mux: ZMQStreamer(mux),
    "processes": lambda mux: ParallelStreamer(mux, 2),
}


def pairs(items):
    """Return items as pairs of numbers."""
    return [(int(item["who"]), int(item["row"])) for item in items]


@pytest.mark.parametrize("way", some(WAYS, 2))
@pytest.mark.parametrize("make", some(SOURCES, 5))
def test_they_go_on_where_they_stood(make, way):
    stream = way(mixed(make)).iterate(400)
    for _ in range(150):
        next(stream)
    state = json.loads(json.dumps(stream.state_dict()))
    assert pairs(way(mixed(make)).resume(state)) == pairs(stream)


@pytest.mark.parametrize("make", some(SOURCES, 5))
def test_nothing_is_read_again(make):
    stream = mixed(make).iterate()
    for _ in range(150):
        next(stream)
    state, read[0] = stream.state_dict(), 0
    resumed = mixed(make).resume(state)
    next(resumed)
    assert read[0] == 1


@pytest.mark.parametrize("make", some(SOURCES, 5))
def test_every_activation_begins_at_the_beginning(make):
    streamer = make(0)
    for _ in range(2):
        assert pairs(streamer.iterate(3)) == [(0, 0), (0, 1), (0, 2)]
    assert len(pairs(streamer.cycle(2 * N_ROWS))) == 2 * N_ROWS


def test_an_activation_begins_where_the_object_stands():
    rows = Rows(0)
    next(rows)
    streamer = Streamer(rows)
    assert [pairs(streamer.iterate(1)) for _ in range(2)] == [[(0, 1)]] * 2
    assert rows.row == 1


class Late(Dataset):
    """Takes a state over with its first item only, as those of Hugging Face do."""

    def load_state_dict(self, state):
        self._loaded = state["row"]

    def __iter__(self):
        self._begin, self._row = getattr(self, "_loaded", 0), 0
        yield from super().__iter__()


@pytest.mark.parametrize("make", [Streamer, lambda made: Streamer(Late, 0)])
def test_a_state_right_after_resuming(make):
    streamer = make(Late(0))
    stream = streamer.iterate()
    for _ in range(4):
        next(stream)
    again = streamer.resume(streamer.resume(stream.state_dict()).state_dict())
    assert pairs(again)[0] == (0, 4)


def same(made):
    """Return what was given."""
    return made


def shared(dataset):
    """Return what makes streams of one object."""
    yield from ()


def test_a_function_that_returns_what_it_was_given():
    function = functools.wraps(shared)(same)
    streamer = Streamer(function, Dataset(0))
    stream = RoundRobinMux([streamer, streamer]).iterate(20)
    for _ in range(5):
        next(stream)
    state = stream.state_dict()
    assert pairs(RoundRobinMux([streamer, streamer]).resume(state)) == pairs(stream)


FILE_SYSTEMS = {}  # of this process, by thread, as those of fsspec


class FileSystem:
    """Is made once for each thread, whoever copies it there."""

    def __reduce__(self):
        return file_system, ()


def file_system():
    """Return that of this thread."""
    return FILE_SYSTEMS.setdefault(threading.get_ident(), FileSystem())


class Remote(Dataset):
    """Holds the table of all of them, as datasets of Hugging Face do."""

    def __init__(self, who):
        super().__init__(who)
        file_system()
        self.file_systems = FILE_SYSTEMS


@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_table_that_copying_adds_to(n_threads):
    FILE_SYSTEMS.clear()
    mux = mixed(lambda who: Streamer(Remote(who)))
    found = pairs(ParallelStreamer(mux, n_threads, backend="threads").iterate(400))
    assert found == pairs(mixed(lambda who: Streamer(Rows(who))).iterate(400))
    assert len(FILE_SYSTEMS) > 1


class Growing(Rows):
    """Adds to a table whenever it is copied."""

    def __init__(self, who):
        super().__init__(who)
        self.copies = {0: self}

    def __deepcopy__(self, memo):
        for number in self.copies:
            self.copies[number + 1] = self
        return self


def test_a_table_that_never_stays_the_same_is_told():
    with pytest.raises(PescadorError, match="changed size during iteration"):
        next(Streamer(Growing(0)).iterate())


class Sub(Streamer):
    """Has an ``iterate()`` of its own."""

    def iterate(self, max_iter=None):
        return super().iterate(max_iter)


def test_an_iterate_of_the_users():
    stream = Sub(Rows(0)).iterate()
    for _ in range(2):
        next(stream)
    assert pairs(Sub(Rows(0)).resume(stream.state_dict()))[0] == (0, 2)


def test_numbers_of_numpy_in_a_state():
    Odd.state = np.int64(3)
    stream = Streamer(Odd(0)).iterate()
    next(stream)
    assert "3" in json.dumps(stream.state_dict())


def test_an_error_of_a_state_is_its_own():
    class Broken(Rows):
        def state_dict(self):
            raise TypeError("broken")

    stream = Streamer(Broken(0)).iterate()
    next(stream)
    with pytest.raises(TypeError, match="broken"):
        stream.state_dict()


def test_below_a_map():
    streamer = Streamer(buffer_stream, mixed(Rows), 8)
    stream = streamer.iterate(20)
    for _ in range(5):
        next(stream)
    state, read[0] = json.loads(json.dumps(stream.state_dict())), 0
    resumed = streamer.resume(state)
    wanted = next(stream)
    read[0] = 0
    np.testing.assert_array_equal(next(resumed)["row"], wanted["row"])
    assert read[0] == 8


class Failing(Rows):
    """Fails once, in the middle."""

    has_failed = False

    def __next__(self):
        if self.row == 5 and not Failing.has_failed:
            Failing.has_failed = True
            raise OSError("a moment")
        return super().__next__()


def test_they_are_opened_again_where_they_fail(caplog):
    caplog.set_level(logging.ERROR)
    mux = StochasticMux([Streamer(Failing, 0)], 1, None, mode="exhaustive", on_error="retry")
    read[0] = 0
    assert pairs(mux) == [(0, row) for row in range(N_ROWS)]
    assert read[0] == N_ROWS


class Asking(Rows):
    """Has methods of these names, which ask for more."""

    def state_dict(self, num_samples, from_beginning):
        raise AssertionError("called")


class AskingToGo(Rows):
    def load_state_dict(self, state, strict):
        raise AssertionError("called")


class AskingCursor(Cursor):
    def get_state(self, rank):
        raise AssertionError("called")


class SettingNothing(Cursor):
    def set_state(self):
        raise AssertionError("called")


@pytest.mark.parametrize("cls", some([Asking, AskingToGo, AskingCursor, SettingNothing], 4))
def test_methods_that_ask_for_more_are_no_state(cls):
    mux = RoundRobinMux([Streamer(cls, who) for who in range(2)])
    stream = mux.iterate(20)
    for _ in range(5):
        next(stream)
    state, read[0] = json.loads(json.dumps(stream.state_dict())), 0
    resumed = mux.resume(state)
    next(resumed)
    assert read[0] == 6  # (those that had been given, again)
    assert pairs(resumed) == pairs(stream)[1:]


def test_an_iterator_without_a_state_has_one_pass():
    streamer = Streamer(Asking(0))
    assert pairs(streamer.iterate(2)) == [(0, 0), (0, 1)]
    with pytest.raises(PescadorError, match="can be read only once"):
        list(streamer)


class Both(Cursor):
    """Has one pair that asks for more, and one that does not."""

    def state_dict(self, n_items):
        raise AssertionError("called")

    def load_state_dict(self, state):
        raise AssertionError("called")


class Lenient(Rows):
    """Has methods that may be given more, and one that has no use for the object."""

    def state_dict(self, n_items=None, **more):
        return super().state_dict()

    def load_state_dict(self, *args):
        super().load_state_dict(*args)


class Counted(Rows):
    """Has its state elsewhere."""

    rows = 0

    @staticmethod
    def state_dict():
        return Counted.rows

    def __next__(self):
        item = super().__next__()
        Counted.rows = self.row
        return item

    def load_state_dict(self, state):
        self.row = state


@pytest.mark.parametrize("cls", some([Both, Lenient, Counted], 3))
def test_methods_that_can_be_called_are_a_state(cls):
    stream = Streamer(cls, 0).iterate()
    for _ in range(5):
        next(stream)
    state, read[0] = json.loads(json.dumps(stream.state_dict())), 0
    assert pairs([next(Streamer(cls, 0).resume(state))]) == [(0, 5)]
    assert read[0] == 1


# What cannot be.


class Odd(Rows):
    """Has a state that JSON cannot hold."""

    state = None

    def state_dict(self):
        return {"a": [Odd.state]}


@pytest.mark.parametrize(
    "state", [{1, 2}, {1: 2}, {"pescador:bytes": "a"}, float("nan"), np.zeros(2), object()]
)
def test_a_state_that_is_no_json_is_told(state):
    Odd.state = state
    stream = Streamer(Odd(0)).iterate()
    next(stream)
    with pytest.raises(
        PescadorError, match=r"state_dict\(\) returned what JSON cannot hold: state\['a'\]\[0"
    ):
        stream.state_dict()
    assert len(list(stream)) == N_ROWS - 1


def test_what_cannot_be_copied_is_told():
    rows = Rows(0)
    rows.lock = threading.Lock()
    with pytest.raises(PescadorError, match="each activation needs a copy of it, which failed"):
        list(Streamer(rows))


def test_a_state_does_not_fit_other_sources():
    stream = Streamer(Rows(0)).iterate()
    next(stream)
    for other in (Streamer(range(9)), Streamer(iter(range(9))), Streamer(Streamer, range(9))):
        with pytest.raises(PescadorError, match="does not fit the streamer"):
            next(other.resume(stream.state_dict()))


def test_an_older_state_is_read():
    """Of a release that read sources again."""
    plain = Streamer([{"who": 0, "row": row} for row in range(N_ROWS)]).iterate()
    for _ in range(5):
        next(plain)
    assert pairs(Streamer(Rows, 0).resume(plain.state_dict()))[0] == (0, 5)


# Those of other packages.


def of_hugging_face(who):
    """Return a dataset, made here."""
    datasets = pytest.importorskip("datasets")
    columns = {"who": [who] * N_ROWS, "row": list(range(N_ROWS))}
    made = datasets.Dataset.from_dict(columns).to_iterable_dataset(num_shards=4)
    return Streamer(made.map(lambda row: {"row": row["row"]}))


def of_torchdata(who):
    """Return nodes of torchdata."""
    pytest.importorskip("torch")
    nodes = pytest.importorskip("torchdata.nodes")
    items = nodes.IterableWrapper([{"who": who, "row": row} for row in range(N_ROWS)])
    return Streamer(nodes.Loader(nodes.Mapper(items, copy.copy)))


def of_grain(who):
    """Return a dataset of Grain."""
    pytest.importorskip("grain")
    items = [{"who": who, "row": row} for row in range(N_ROWS)]
    grain = importlib.import_module("grain")
    return Streamer(grain.MapDataset.source(items).shuffle(seed=who).to_iter_dataset())


@pytest.mark.parametrize("way", ["here", "threads"])
@pytest.mark.parametrize("make", [of_hugging_face, of_torchdata, of_grain])
@pytest.mark.filterwarnings("default")
def test_those_of_other_packages_go_on(make, way):
    stream = WAYS[way](mixed(make)).iterate(400)
    for _ in range(150):
        next(stream)
    state = json.loads(json.dumps(stream.state_dict()))
    assert "object" in json.dumps(state) or way != "here"
    assert pairs(mixed(make).resume(state)) == pairs(stream)
