"""Streams from a background process: the same stream, without delay, bounded and reproducible."""

import contextlib
import copy
import functools
import gc
import inspect
import io
import itertools
import math
import mmap
import multiprocessing
import os
import pickle
import random
import re
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zmq
from _cases import matrix, some
from _sources import (
    TIMEOUT,
    by_next,
    first_items,
    nothing,
    read_together,
    records,
    within,
)

import pescador
from pescador import (
    ChainMux,
    DataError,
    PescadorError,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    WorkerError,
    ZMQStreamer,
)

METHODS = multiprocessing.get_all_start_methods()
QUICK = "fork" if "fork" in METHODS else METHODS[0]  # 10 ms a start, where others take 200
TRANSPORTS = ("ipc", "tcp")
MIB = 2**20

every_method = pytest.mark.parametrize(
    "method", some(sorted(METHODS, key=lambda each: each != QUICK))
)
every_transport = pytest.mark.parametrize("transport", some(TRANSPORTS))
# Each of both, in as few pairs as that needs.
every_link = pytest.mark.parametrize(
    ("method", "transport"),
    [(QUICK, "ipc"), (QUICK, "tcp")]
    + [(method, "ipc" if method == "spawn" else "tcp") for method in METHODS if method != QUICK],
)
forking = pytest.mark.skipif(QUICK != "fork", reason="there is no fork on this platform")
# The threads of ZeroMQ: nothing that they have in hand is used in the process that is forked.
of_forks = pytest.mark.filterwarnings("ignore:.*multi-?threaded.*fork:DeprecationWarning")


# Sources. Other processes import them from here.


def whoami(n_items):
    """Yield the number of the process."""
    for _ in range(n_items):
        yield {"pid": os.getpid()}


def samples():
    """Yield items of many forms."""
    grid = np.arange(24.0).reshape(2, 3, 4)
    large = np.arange(6000.0).reshape(20, 30, 10)
    for _ in range(2):
        yield {}
        yield {"C": large, "F": np.asfortranarray(large), "permuted": large.transpose(2, 0, 1)}
        yield {"strided": large[::2, 5:], "backwards": large[:, ::-1], 7: large.astype("M8[s]")}
        yield {"int": 3, "float": 2.5, "flag": True, "text": "größe", "bytes": b"ab", "complex": 1j}
        yield {"of NumPy": np.float32(1.5), "no dimensions": np.array(-7)}
        yield {"b": np.arange(3), 2: np.arange(4), "a": 1, -1: np.arange(5), "1": 0, 1: 2}
        yield {"C": grid, "F": np.asfortranarray(grid), "permuted": grid.transpose(2, 0, 1)}
        yield {
            "strided": grid[:, ::2],
            "backwards": grid[::-1],
            "one": np.broadcast_to(1.5, (3, 2)),
        }
        yield {"empty": np.empty((0, 3)), "flat": np.empty((3, 0)), "nan": np.full(3, math.nan)}
        yield {code: np.arange(6).astype(code) for code in ("?", "i1", "<u2", ">i4", "f2", ">f8")}
        yield {code: np.arange(6).astype(code) for code in ("c8", "M8[ns]", "m8[25s]", "S5", "U3")}
        yield {"raw": np.frombuffer(b"abcdef", "V3"), "U0": np.array(["", ""], "U0")}
        yield {
            "records": np.array([(1, [2, 3], "ab")], [("a", "i2"), ("b", ">f8", 2), ("c", "U4")])
        }
    for number in range(5):
        yield {"C": grid + number, "F": np.asfortranarray(grid - number), "number": number}
    yield {}
    yield {}


def of_sizes(sizes):
    """Yield an array of each of the sizes, in bytes."""
    for number, size in enumerate(sizes):
        yield {"number": number, "x": np.arange(number, number + size // 8)}


def reusing(sizes):
    """Yield what ``of_sizes`` does, out of one array, which is overwritten at once."""
    array = np.empty(max(sizes) // 8, int)
    for item in of_sizes(sizes):
        given = array[: len(item["x"])]
        given[...] = item["x"]
        yield {"number": item["number"], "x": given}
        array[...] = -1


def is_of_sizes(number, item, sizes):
    """Tell whether an item is the one of that number that ``of_sizes`` gives."""
    expected = np.arange(number, number + sizes[number] // 8)
    return item["number"] == number and np.array_equal(item["x"], expected)


def are_of_sizes(items, sizes):
    """Tell whether items are the first ones that ``of_sizes`` gives."""
    return all(is_of_sizes(number, item, sizes) for number, item in enumerate(items))


def then(n_items, last):
    """Yield dicts of whole numbers, and then one more item."""
    yield from records(0, n_items)
    yield last


def failing(n_items, error):
    """Yield dicts of whole numbers, and then fail."""
    yield from records(0, n_items)
    raise error


def stuck(n_items, seconds=2 * TIMEOUT):
    """Yield dicts of whole numbers, and then take very long for another one."""
    yield from records(0, n_items)
    time.sleep(seconds)
    yield {"x": "late"}


def paced(n_bursts, n_items, seconds):
    """Yield the time, several times in a row, then wait."""
    for _ in range(n_bursts):
        for position in range(n_items):
            yield {"made": time.monotonic(), "position": position}
        time.sleep(seconds)


def send_word(link):
    """Send something."""
    link.send("word")


def halting(descriptor, n_bursts, n_items, n_bytes):
    """Yield items in bursts; after each, wait for a byte from a pipe."""
    for _ in range(n_bursts):
        for _ in range(n_items):
            yield {"x": np.zeros(n_bytes, np.uint8)}
        os.read(descriptor, 1)


def counted(path, n_items, n_bytes):
    """Yield arrays, or empty dicts if they have no bytes; write to a file how many there were."""
    item = {"x": np.zeros(n_bytes, np.uint8)} if n_bytes else {}
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 8) as counter:
        for number in range(n_items):
            counter[:] = (number + 1).to_bytes(8, "little")
            yield item


def noise(n_items):
    """Yield what the global generators give."""
    for _ in range(n_items):
        yield {"numpy": np.random.random(), "random": random.random()}


def leaving_word(path, n_items, error=None):
    """Write to a file when it is over, which takes some time."""
    try:
        yield from records(0, n_items)
        if error is not None:
            raise error
    finally:
        time.sleep(0.02)
        path.write_text(f"closed in {os.getpid()}")


class Refused(Exception):
    """An error of a user's own."""


class Labelled(ZMQStreamer):
    """A subclass that knows the arguments by their places."""

    def __init__(self, streamer, label):
        super().__init__(streamer, 49152, 65535, 100, False, 5)
        self.label = label


class Doubling(ZMQStreamer):
    """A subclass that changes the items on their way."""

    def iterate(self, max_iter=None):
        for item in super().iterate(max_iter):
            yield {key: 2 * value for key, value in item.items()}


# What the tests use.


def background(source, *args, **options):
    """Return a ZMQStreamer over a generator function."""
    return quick(Streamer(source, *args), **options)


def inline(streamer):
    """Return the streamer itself; stands in the place of ZMQStreamer."""
    return streamer


# (A test that would hang fails.)
quick = functools.partial(ZMQStreamer, start_method=QUICK, item_timeout=TIMEOUT)


def is_same(got, sent):
    """Tell whether an item equals the one that was sent, down to the memory order."""
    names = [[(type(key), key) for key in item] for item in (got, sent)]
    return names[0] == names[1] and all(_is_equal(got[key], sent[key]) for key in sent)


def _is_equal(got, sent):
    sent = np.asarray(sent)
    return (
        type(got) is np.ndarray
        and (got.dtype, got.shape) == (sent.dtype, sent.shape)
        and got.tobytes() == sent.tobytes()
        and (got.strides == sent.strides or not _is_dense(sent))
    )


def _is_dense(array):
    axes = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    return array.size > 0 and array.transpose(axes).flags.c_contiguous


def until(condition):
    """Wait until a condition holds."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "it never comes"
        time.sleep(0.002)


def numbers_of(items):
    """Return the whole numbers that ``records`` has given."""
    return [int(item["x"]) for item in items]


# The arguments.


def test_the_signature():
    parameters = inspect.signature(ZMQStreamer).parameters.values()
    by_place = [(each.name, each.default) for each in parameters if each.kind != each.KEYWORD_ONLY]
    assert by_place == [
        ("streamer", inspect.Parameter.empty),
        ("min_port", 49152),
        ("max_port", 65535),
        ("max_tries", 100),
        ("copy", False),
        ("timeout", 5),
    ]
    by_name = {each.name: each.default for each in parameters if each.kind == each.KEYWORD_ONLY}
    assert by_name == {
        "transport": None,
        "start_method": None,
        "max_bytes": 64 * MIB,
        "item_timeout": None,
    }


WRONG = {
    "min_port": (0, -1, 65536, 1.5, "80", None, True, math.nan),
    "max_port": (0, 49151, 65536, 1.5, "80", None, math.inf),
    "max_tries": (0, -1, 1.5, "x", None),
    "copy": ("x", None, 2, []),
    "timeout": (0, -1, "a", math.nan, math.inf, True),
    "transport": ("udp", 5, "", "inproc", b"ipc"),
    "start_method": ("x", 5, "", "FORK"),
    "max_bytes": (0, -1, 1.5, "1", None),
    "item_timeout": (0, -1, "a", math.nan, math.inf),
}
REMEDIES = {
    "min_port": "give a port number",
    "max_port": "give a port number",
    "max_tries": "give how many",
    "copy": "give True",
    "timeout": "or None",
    "transport": "choose one of 'ipc', 'tcp'",
    "start_method": "choose one of 'fork', 'spawn', 'forkserver'",
    "max_bytes": "give a number of bytes",
    "item_timeout": "or None",
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, each) for name in WRONG for each in WRONG[name]]
)
def test_a_wrong_argument_is_refused_at_construction(name, value):
    with pytest.raises(PescadorError, match=f"^{name}={re.escape(repr(value))}: ") as caught:
        ZMQStreamer([], **{name: value})
    assert REMEDIES[name] in str(caught.value)


def test_ports_in_the_wrong_order_are_refused():
    with pytest.raises(PescadorError, match=r"max_port=2000: .* >= 3000 .*; give a port number"):
        ZMQStreamer([], 3000, 2000)


@pytest.mark.parametrize("value", [5, None, len, object()])
def test_what_is_no_streamer_is_refused_at_construction(value):
    with pytest.raises(PescadorError, match=r"streamer=.*give an iterable"):
        ZMQStreamer(value)


def test_arguments_are_kept_under_their_names():
    given = {
        "min_port": np.uint16(50000),
        "max_port": 5e4,
        "max_tries": np.int8(3),
        "copy": 1,
        "timeout": None,
        "transport": "tcp",
        "start_method": "spawn",
        "max_bytes": 1e6,
        "item_timeout": np.float32(2),
    }
    streamer = ZMQStreamer([], **given)
    assert {name: getattr(streamer, name) for name in given} == {
        **given,
        "copy": True,
        "item_timeout": 2.0,
    }
    assert type(streamer.copy) is bool and type(streamer.max_bytes) is int


def test_a_port_that_is_taken_is_refused_when_a_run_starts():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        streamer = background(records, 0, 1, transport="tcp")
        streamer.min_port = streamer.max_port = port
        with pytest.raises(PescadorError, match=r"1 port tried, and none is free; allow more"):
            next(streamer.iterate())
    assert streamer.active == 0


def test_a_stream_is_over_when_it_is_dropped_even_if_a_port_was_taken(monkeypatch):
    monkeypatch.setattr(random.SystemRandom, "sample", lambda self, ports, n: [*ports][:n])
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        streamer = background(records, 0, 10**6, transport="tcp")
        streamer.min_port, streamer.max_port = port, min(port + 20, 65535)
        gc.disable()
        try:
            stream = streamer.iterate()
            next(stream)
            del stream
            assert streamer.active == 0
        finally:
            gc.enable()


# A streamer in every way.


@every_method
def test_every_way_to_start_it(method):
    streamer = background(records, 10, 3, start_method=method)
    assert numbers_of(streamer.iterate(max_iter=2)) == [10, 11]
    assert numbers_of(streamer.cycle(5)) == [10, 11, 12, 10, 11]
    assert streamer.active == 0


def test_the_other_ways_to_start_it():
    streamer = background(records, 10, 3)
    assert numbers_of(streamer(2)) == [10, 11]
    assert numbers_of(streamer(max_iter=4, cycle=True)) == [10, 11, 12, 10]
    assert numbers_of(streamer.generate(1)) == [10]
    assert numbers_of(itertools.islice(streamer.cycle(), 7)) == [10, 11, 12, 10, 11, 12, 10]
    for _ in range(2):
        assert numbers_of(item for item in streamer) == [10, 11, 12]


def test_a_limit_of_nothing_starts_no_process(leak_guard):
    streamer = background(records, 10, 3, transport="tcp")
    assert list(streamer.iterate(0)) == []
    assert leak_guard.leaked() == []


def test_the_process_starts_with_the_first_item():
    streamer = background(records, 10, 3)
    stream = streamer.iterate()
    assert (streamer.active, multiprocessing.active_children()) == (0, [])
    next(stream)
    assert (streamer.active, len(multiprocessing.active_children())) == (1, 1)
    assert numbers_of(stream) == [11, 12]
    assert (streamer.active, multiprocessing.active_children()) == (0, [])


def test_an_empty_source_ends_every_run():
    streamer = background(nothing)
    assert list(streamer) == []
    assert within(TIMEOUT, list, streamer.cycle()) == []


@every_method
def test_the_items_are_made_in_another_process(method):
    pids = {int(item["pid"]) for item in background(whoami, 3, start_method=method)}
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_an_activated_copy():
    streamer = background(records, 10, 3)
    with streamer as active:
        assert (active.is_activated_copy, streamer.is_activated_copy) == (True, False)
        assert (streamer.active, active.active) == (1, 0)
        assert numbers_of(active.stream_) == [10, 11, 12]
        assert type(active) is ZMQStreamer
    assert streamer.active == 0


def test_copies_and_pickles_keep_every_option():
    options = {"max_tries": 3, "copy": True, "timeout": 2.5, "transport": "tcp", "max_bytes": 999}
    streamer = background(records, 10, 3, item_timeout=30.0, **options)
    with streamer.iterate() as stream:
        next(stream)
        copies = copy.copy(streamer), copy.deepcopy(streamer), pickle.loads(pickle.dumps(streamer))
    for each in copies:
        assert vars(each) == vars(streamer)
        assert each.active == 0
        assert numbers_of(each) == [10, 11, 12]
    assert copies[0].streamer is streamer.streamer is not copies[1].streamer


def test_the_repr():
    streamer = background(records, 10, 3)
    assert repr(streamer).startswith("ZMQStreamer(Streamer(records, 10, 3), ")
    assert repr(streamer) in repr(streamer.iterate())
    assert repr(ZMQStreamer(streamer.streamer)) == "ZMQStreamer(Streamer(records, 10, 3))"


@forking
def test_a_one_shot_iterator_gives_its_pass():
    streamer = quick(pescador.buffer_stream(records(0, 6), 2))
    shared = copy.copy(streamer)
    assert first_items(streamer) == [{"x": [0, 1]}, {"x": [2, 3]}, {"x": [4, 5]}]
    for each in (streamer, shared):
        with pytest.raises(PescadorError, match=r"only once.*; give the generator function"):
            list(each)
        assert each.active == 0


@forking
@pytest.mark.parametrize(
    "wrap",
    [
        Streamer,
        lambda streamer: pescador.ChainMux([streamer, Streamer(records(3, 3))]),
        lambda streamer: Streamer(streamer.iterate, 3),
        quick,
    ],
)
def test_a_one_shot_iterator_below_it_gives_its_pass(wrap):
    streamer = quick(wrap(Streamer(records(0, 3))))
    assert first_items(streamer, 3) == [{"x": 0}, {"x": 1}, {"x": 2}]
    with pytest.raises(PescadorError, match="only once"):
        list(streamer)


@pytest.mark.parametrize("method", METHODS)
def test_an_iterator_below_it_that_can_be_pickled_gives_its_pass(method):
    streamer = quick(Streamer(Streamer(iter([{"x": 0}, {"x": 1}]))), start_method=method)
    assert first_items(streamer) == [{"x": 0}, {"x": 1}]
    with pytest.raises(PescadorError, match="only once"):
        list(streamer)


@pytest.mark.parametrize("method", sorted({"spawn", "forkserver"} & set(METHODS)))
@pytest.mark.parametrize(
    "made, shown, remedy",
    [
        (lambda: records(0, 3), "=<generator records>:", "give the generator function"),
        (lambda: [lambda: 0], "=[<lambda>]:", "defined in a module"),
        (
            lambda: buffered(io.TextIOWrapper(io.BytesIO())),
            "Streamer(records, 0, <_io.TextIO",
            "give the path",
        ),
        (
            lambda: buffered(functools.partial(max, threading.Lock())),
            "Streamer(records, ",
            "make locks",
        ),
        (lambda: ShuffledMux([[1], [1]], lambda n: [1, 1]), "weights=<lambda>):", "in a module"),
    ],
    ids=["generator", "lambda", "file", "lock", "weights"],
)
def test_what_cannot_be_pickled_is_refused(method, made, shown, remedy, leak_guard):
    streamer = ZMQStreamer(made(), start_method=method)
    with pytest.raises(PescadorError, match="cannot be pickled, which start_method=") as caught:
        next(streamer.iterate())
    assert shown in str(caught.value)
    assert "Streamer(Streamer" not in str(caught.value)
    assert remedy in str(caught.value)
    assert leak_guard.leaked() == []


def buffered(value):
    """Return batches of sources, one of which has an argument."""
    return Streamer(
        pescador.buffer_stream, ChainMux([Streamer(records, 0, 3), Streamer(records, 0, value)]), 2
    )


PLAIN = [{"x": 0}, {"x": 1}, {"x": 2}]


@pytest.mark.parametrize(
    "source",
    [
        PLAIN,
        tuple(PLAIN),
        functools.partial(records, 0, 3),
        Streamer(records, 0, 3),
        Streamer(PLAIN),
        ChainMux([PLAIN[:1], PLAIN[1:]]),
        RoundRobinMux([PLAIN[:2], [], PLAIN[2:]]).iterate,
        pescador.streamable(records)(0, 3),
    ],
    ids=[
        "list",
        "tuple",
        "partial",
        "Streamer",
        "Streamer of a list",
        "mux",
        "method",
        "streamable",
    ],
)
def test_what_can_be_streamed_is_wrapped(source):
    expected = first_items(Streamer(source))
    assert first_items(quick(source)) == expected
    assert sorted(map(repr, expected)) == sorted(map(repr, PLAIN))


@every_method
def test_a_subclass_that_gives_the_arguments_by_place(method):
    streamer = Labelled(Streamer(records, 0, 3), "mine")
    streamer.start_method = method
    assert numbers_of(streamer) == [0, 1, 2]
    assert pickle.loads(pickle.dumps(streamer)).label == "mine"


def test_a_subclass_that_changes_the_items():
    streamer = Doubling(Streamer(records, 0, 3), start_method=QUICK)
    assert numbers_of(streamer) == [0, 2, 4]
    assert numbers_of(streamer.cycle(4)) == [0, 2, 4, 0]
    assert numbers_of(ChainMux([streamer, streamer])) == [0, 2, 4, 0, 2, 4]
    assert streamer.active == 0


MUXES = {
    **{
        mode: functools.partial(StochasticMux, n_active=2, rate=4, mode=mode, random_state=5)
        for mode in ("with_replacement", "single_active", "exhaustive")
    },
    "shuffled": functools.partial(ShuffledMux, weights=[1, 2, 3], random_state=5),
    "in turn": RoundRobinMux,
    "in turn, permuted": functools.partial(RoundRobinMux, mode="permuted_cycle", random_state=5),
    "chain": ChainMux,
    "chain, cycle": functools.partial(ChainMux, mode="cycle"),
}


@pytest.mark.parametrize("make", MUXES.values(), ids=MUXES)
def test_it_is_a_member_of_every_mux(make):
    members = [background(records, 100 * place, 5) for place in range(3)]
    mux = make(members)
    expected = first_items(make([Streamer(records, 100 * place, 5) for place in range(3)]))
    assert first_items(mux) == expected
    assert [each.active for each in (mux, *members)] == [0] * 4


@every_transport
@pytest.mark.parametrize("n", some([10, 50]))
def test_many_at_once(transport, n):
    with contextlib.ExitStack() as stack:
        made = [background(whoami, 4, transport=transport).iterate() for _ in range(n)]
        streams = [stack.enter_context(each) for each in made]
        pids = [int(next(each)["pid"]) for each in streams]
        assert len({*pids, os.getpid()}) == n + 1
        for pid, stream in zip(pids, streams):
            assert [int(item["pid"]) for item in stream] == [pid] * 3


@every_method
def test_one_inside_another(method):
    inner = background(whoami, 2, start_method=method)
    outer = ZMQStreamer(RoundRobinMux([inner, Streamer(whoami, 2)]), start_method=method)
    one, other, *rest = [int(item["pid"]) for item in outer]
    assert len({one, other, os.getpid()}) == 3
    assert rest == [one, other]


def test_maps_over_it():
    streamer = background(then, 20, {"x": 20, "y": 0})
    buffered = Streamer(pescador.buffer_stream, background(records, 0, 20), 8)
    for _ in range(2):
        assert first_items(buffered) == [{"x": [*range(8)]}, {"x": [*range(8, 16)]}]
    assert [int(x) for (x,) in pescador.tuples(streamer, "x")] == [*range(21)]
    pairs = pescador.keras_tuples(background(records, 0, 3), inputs="x")
    assert [(int(x), y) for x, y in pairs] == [(0, None), (1, None), (2, None)]
    cached = first_items(pescador.cache(background(records, 0, 9), 3, random_state=5))
    assert cached == first_items(pescador.cache(records(0, 9), 3, random_state=5))


# What arrives is what was sent.


@every_link
def test_what_arrives_equals_what_was_sent(method, transport):
    got = list(background(samples, start_method=method, transport=transport))
    sent = list(samples())
    assert [index for index, pair in enumerate(zip(got, sent)) if not is_same(*pair)] == []
    assert len(got) == len(sent)


def test_copies_equal_what_was_sent():
    got = list(background(samples, copy=True))
    assert all(map(is_same, got, samples()))


def test_what_differs_is_seen():
    array = np.arange(6.0).reshape(2, 3)
    sent = {"a": array, "b": np.array(1)}
    assert is_same({"a": array.copy(), "b": np.array(1)}, sent)
    for other in (
        {"b": np.array(1), "a": array},
        {"a": np.asfortranarray(array), "b": np.array(1)},
        {"a": array.astype(">f8"), "b": np.array(1)},
        {"a": array, "b": 1},
        {"a": -array, "b": np.array(1)},
    ):
        assert not is_same(other, sent)


# Every transport, with and without copies; every start method.
every_way = pytest.mark.parametrize(
    ("method", "transport", "copy"),
    [
        (QUICK, "ipc", False),
        (QUICK, "tcp", True),
        *(
            pytest.param(*each, marks=pytest.mark.full)
            for each in (
                (QUICK, "ipc", True),
                (QUICK, "tcp", False),
                *((method, "ipc", False) for method in METHODS if method != QUICK),
            )
        ),
    ],
)


SIZES = (8, 8 * 2**10, 64 * 2**10, MIB, 70 * MIB, 0, 8184, 8, 16, 16)


@every_way
def test_arrays_of_every_size(method, transport, copy):
    options = {"start_method": method, "transport": transport, "copy": copy}
    n_items = 0
    for item in background(of_sizes, SIZES, **options):
        assert is_of_sizes(n_items, item, SIZES)
        assert not copy or [each.base for each in item.values()] == [None, None]
        assert all(each.flags.aligned and each.flags.writeable for each in item.values())
        n_items += 1
    assert n_items == len(SIZES)


@every_transport
def test_arrays_far_larger_than_the_limit(transport):
    sizes = (16 * MIB, 8, 16 * MIB, 2 * MIB, 2 * MIB)
    stream = background(of_sizes, sizes, max_bytes=MIB, transport=transport)
    items = list(stream)
    assert are_of_sizes(items, sizes) and len(items) == len(sizes)


@every_way
def test_sizes_mixed_at_random_from_a_source_that_reuses_its_array(method, transport, copy):
    rng = np.random.default_rng(20)
    sizes = rng.choice([0, 8, 80, 800, 8192, 20_000, 65_536, 300_000], 3000).tolist()
    options = {"start_method": method, "transport": transport, "copy": copy}
    kept = []
    for number, item in enumerate(background(reusing, sizes, max_bytes=2 * MIB, **options)):
        assert is_of_sizes(number, item, sizes)
        assert all(each.flags.aligned and each.flags.writeable for each in item.values())
        if rng.random() < 0.05:
            kept.append((number, item))
        if len(kept) > 20:
            kept.pop(rng.integers(20))
        # (Those that are kept keep their values, while others use the memory around them again.)
        assert not kept or is_of_sizes(*kept[rng.integers(len(kept))], sizes)
    assert number == len(sizes) - 1


@pytest.mark.parametrize("copy", [False, True])
@every_transport
def test_items_that_are_kept_outlast_the_shared_memory_and_the_stream(transport, copy):
    sizes = 400 * [256 * 2**10]
    items = list(background(of_sizes, sizes, max_bytes=4 * MIB, copy=copy, transport=transport))
    gc.collect()
    assert are_of_sizes(items, sizes) and len(items) == len(sizes)


def test_what_refers_to_a_part_of_an_array_keeps_it():
    sizes = 300 * [64 * 2**10]
    stream = background(of_sizes, sizes, max_bytes=MIB)
    parts = [
        (item["x"][:2], item["x"].reshape(2, -1).T[-1:], memoryview(item["x"])[5:7])
        for item in stream
    ]
    length = sizes[0] // 8
    for number, (first, last, middle) in enumerate(parts):
        assert first.tolist() == [number, number + 1]
        assert last.tolist() == [[number + length // 2 - 1, number + length - 1]]
        assert middle.tolist() == [number + 5, number + 6]


@pytest.mark.parametrize("size", [8, 80, 8192, 100_000])
@every_transport
def test_altering_an_array_changes_nothing_else(size, transport):
    sizes = 60 * [size]
    items = []
    for item in background(of_sizes, sizes, max_bytes=10 * size, transport=transport):
        items.append(item)
        if len(items) % 3 == 0:
            item["x"][...] = -7
            item["number"][...] = -7
    for number, item in enumerate(items):
        if number % 3 == 2:
            assert (item["x"] == -7).all() and item["number"] == -7
        else:
            assert is_of_sizes(number, item, sizes)


# Errors.


WRONG_ITEMS = {
    "list": ({"good": 1.0, "bad": [1, 2]}, "key 'bad': list"),
    "None": ({0: 1, 5: None}, "key 5: NoneType"),
    "objects": ({"bad": np.array([None, 1])}, r"key 'bad': numpy.ndarray .*dtype object"),
    "masked": ({"bad": np.ma.array([1])}, r"key 'bad': numpy.ma\S*.MaskedArray"),
    "key": ({2.5: 1.0}, "this key is of type float"),
    "tuple": ((1, 2), "is of type tuple, not a dict"),
    "number": (5, "is of type int, not a dict"),
}


def reads_then_fails(streamer, n_items, kind, match=None):
    """Read whole numbers and then an error, after which the stream is over."""
    stream = streamer.iterate()
    assert numbers_of(itertools.islice(stream, n_items)) == [*range(n_items)]
    with pytest.raises(kind, match=match) as caught:
        next(stream)
    assert list(stream) == []
    assert streamer.active == 0
    return caught.value


@pytest.mark.parametrize("n_items", some([1, 0, 3000]))
@pytest.mark.parametrize(("item", "match"), WRONG_ITEMS.values(), ids=WRONG_ITEMS)
def test_an_item_that_cannot_cross_is_refused_in_its_place(item, match, n_items):
    streamer = background(then, n_items, item)
    reads_then_fails(streamer, n_items, DataError, rf"item {n_items}\b.*{match}")


@every_link
def test_a_refusal_crosses(method, transport):
    streamer = background(then, 100, {"bad": [1]}, start_method=method, transport=transport)
    reads_then_fails(streamer, 100, DataError, r"item 100\b.*key 'bad': list.*; give NumPy arrays")


ERRORS = (
    ValueError("x", 7),
    KeyError("k"),
    FileNotFoundError(2, "no such file", "name"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    Refused("mine", 3),
    DataError("of the source"),
    TimeoutError(),
)


@pytest.mark.parametrize("error", ERRORS, ids=[type(error).__name__ for error in ERRORS])
def test_an_exception_keeps_its_type_and_arguments(error):
    got = reads_then_fails(background(failing, 50, error), 50, type(error))
    assert (type(got), got.args, str(got)) == (type(error), error.args, str(error))


@every_link
def test_an_exception_has_the_traceback_of_its_origin(method, transport):
    streamer = background(failing, 3, Refused("mine", 3), start_method=method, transport=transport)
    got = reads_then_fails(streamer, 3, Refused, "mine")
    assert got.args == ("mine", 3)
    text = str(got.__cause__)
    assert "in failing" in text and Path(__file__).name in text and "raise error" in text


def test_a_source_that_gives_nothing_for_too_long():
    streamer = background(stuck, 3, item_timeout=1.5)
    start = time.monotonic()
    error = reads_then_fails(streamer, 3, WorkerError, r"1\.5 s.*after 3 items.*item_timeout")
    assert isinstance(error, TimeoutError)
    assert 1.5 <= time.monotonic() - start < TIMEOUT


def test_the_time_that_the_reader_takes_is_no_time_out():
    stream = background(records, 0, 5000, item_timeout=1.5, max_bytes=2**12).iterate()
    next(stream)
    time.sleep(1.6)
    assert len(list(stream)) == 4999


# Nothing is held back.


def waits(stream, n_items, working=0.0):
    """Return how long each item lay about: since it was made, and asked for."""
    found = []
    with contextlib.closing(stream):
        for _ in range(n_items):
            asked = time.monotonic()
            made = float(next(stream)["made"])
            found.append(time.monotonic() - max(made, asked))
            time.sleep(working)
    return found


def send_paced(link, *args):
    """Send what ``paced`` gives over a bare pair of sockets, whose address the link tells."""
    with zmq.Context() as context, context.socket(zmq.PAIR) as pair:
        pair.bind("tcp://127.0.0.1:*")
        link.send(pair.last_endpoint.decode())
        for item in paced(*args):
            pair.send_pyobj(item)
        link.recv()


@contextlib.contextmanager
def process(target, *args):
    """Run a function in a process of its own; give a link to it."""
    context = multiprocessing.get_context(QUICK)
    ours, theirs = context.Pipe()
    child = context.Process(target=target, args=(theirs, *args))
    with contextlib.closing(ours):
        with contextlib.closing(theirs):
            child.start()
        try:
            yield ours
        finally:
            child.kill()
            child.join()
            child.close()


def by_hand(*args):
    """Yield what ``paced`` gives in another process, brought by nothing but a pair of sockets."""
    with process(send_paced, *args) as link:
        address = link.recv()
        with zmq.Context() as context, context.socket(zmq.PAIR) as pair:
            pair.rcvtimeo = 1000 * TIMEOUT
            pair.connect(address)
            while True:
                yield pair.recv_pyobj()


def are_short(measure, transport, *args, n_tries=40):
    """Tell whether the wait for each item of ``paced`` is short, in one try at least.

    Short is 5 milliseconds, or so much more than by hand at the same time. An item that is held
    back by design is so in every try; what else a machine does hits another one every time.
    """
    late = True
    for _ in range(n_tries):
        found = np.array(measure(background(paced, *args, transport=transport).iterate()))
        late &= found > 0.005
        if np.any(late):
            late &= found > 0.005 + np.median(measure(by_hand(*args)))
        if not np.any(late):
            return True
    return False


@of_forks
@pytest.mark.parametrize("working", [0.0, 0.01], ids=["waiting", "working"])
@every_transport
def test_an_item_arrives_as_soon_as_it_is_made(transport, working):
    # (The first item has to wait for the connection.)
    assert are_short(lambda stream: waits(stream, 15, working)[1:], transport, 15, 1, 0.03)


@of_forks
@every_transport
def test_the_last_item_of_a_burst_does_not_wait_for_the_next_burst(transport):
    assert are_short(lambda stream: waits(stream, 25)[9::5], transport, 5, 5, 0.1)


@forking
@pytest.mark.parametrize(
    ("n_items", "n_bytes"),
    [(1, 8), (2, 8), (50, 8), (2000, 8), (100, 1000), (1, 9000), (7, 9000), (200, 9000)],
)
@every_transport
def test_every_item_arrives_while_the_source_waits(n_items, n_bytes, transport):
    halt, resume = os.pipe()
    streamer = background(halting, halt, 3, n_items, n_bytes, transport=transport)
    try:
        with streamer.iterate() as stream:
            for _ in range(3):
                assert len(list(itertools.islice(stream, n_items))) == n_items
                os.write(resume, b" ")
            assert list(stream) == []
    finally:
        os.close(halt)
        os.close(resume)


@forking
@of_forks
@every_transport
def test_the_first_item_comes_soon(transport):
    def seconds_of(function):
        start = time.monotonic()
        function()
        return time.monotonic() - start

    def by_hand():
        with process(send_word) as link:
            link.recv()

    def first():
        with background(records, 0, 1, transport=transport).iterate() as stream:
            next(stream)

    # (Beside what any process takes to start, which may be more while the machine is busy.)
    assert any(seconds_of(first) < 0.05 + 5 * seconds_of(by_hand) for _ in range(40))


# How far ahead it runs.


class Counter:
    """Counts what ``counted`` has made."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(8))

    @property
    def n_made(self):
        return int.from_bytes(self.path.read_bytes(), "little")

    def wait_for(self, n_items):
        """Wait until so many have been made."""
        until(lambda: self.n_made >= n_items)

    def at_rest(self):
        """Return how many there are, once there has been no other one for a while."""
        last, since = -1, time.monotonic()

        def rests():
            nonlocal last, since
            if self.n_made != last:
                last, since = self.n_made, time.monotonic()
            return time.monotonic() - since > 0.08

        until(rests)
        return last


@pytest.mark.parametrize(
    ("n_bytes", "max_bytes"),
    [(10**6, 4 * 10**6), (10**5, 4 * 10**6), (16, 2**16), (0, 2**16), (10**6, 1)],
    ids=["1 MB", "100 kB", "16 B", "none", "one at a time"],
)
@every_transport
def test_what_is_made_ahead_is_bounded_in_bytes(n_bytes, max_bytes, transport, tmp_path):
    counter = Counter(tmp_path / "counter")
    cost = n_bytes + 128  # an item costs this much beyond what it holds
    n_ahead = max_bytes // cost + 1  # a single item goes, however large it is
    n_items = 12 * n_ahead
    args = counter.path, n_items, n_bytes
    stream = background(counted, *args, max_bytes=max_bytes, transport=transport).iterate()
    n_taken = 0
    with stream:
        for more in (1, 1, n_ahead // 3, 2 * n_ahead):
            n_taken += len(list(itertools.islice(stream, more)))
            counter.wait_for(n_taken + n_ahead // 4)
            assert counter.at_rest() - n_taken <= n_ahead
        assert len(list(stream)) == n_items - n_taken


@every_method
def test_the_bound_holds_by_every_method(method, tmp_path):
    counter = Counter(tmp_path / "counter")
    args = counter.path, 100, 10**5
    with background(counted, *args, max_bytes=10**6, start_method=method).iterate() as stream:
        next(stream)
        counter.wait_for(5)
        assert counter.at_rest() <= 11


# Seeds.


def _leaves(wrap):
    return [wrap(Streamer(records, 100 * place, 6)) for place in range(4)]


def _mux(wrap, seed):
    return wrap(StochasticMux(_leaves(inline), 2, 3, random_state=seed))


def _nested(wrap, seed):
    inner = StochasticMux(_leaves(inline), 2, 3)
    permuted = RoundRobinMux(_leaves(inline), "permuted_cycle")
    return wrap(ShuffledMux([inner, permuted, Streamer(inner, 5)], random_state=seed))


def _members(wrap, seed):
    inner = ShuffledMux(_leaves(inline)[:2])
    return StochasticMux([*map(wrap, [inner, *_leaves(inline)])], 2, 12, random_state=seed)


def _everywhere(wrap, seed):
    inner = wrap(ShuffledMux(_leaves(inline)))
    chain = ChainMux([Streamer(inner, 7), wrap(ShuffledMux(_leaves(inline)))])
    return wrap(ShuffledMux([inner, chain], random_state=seed))


def _seeds_of_their_own(wrap, seed):
    inner = [ShuffledMux(_leaves(inline), random_state=seed) for _ in range(2)]
    return RoundRobinMux([*map(wrap, inner)])


def _mapped(wrap, seed):
    buffered = Streamer(pescador.buffer_stream, _nested(inline, seed), 3)
    return wrap(Streamer(pescador.cache, buffered, 4, random_state=seed))


TREES = {
    "mux": _mux,
    "nested": _nested,
    "members": _members,
    "everywhere": _everywhere,
    "seeds of their own": _seeds_of_their_own,
    "mapped": _mapped,
}


def _global_seed():
    np.random.seed(7)


STATES = {
    "integer": lambda: 7,
    "SeedSequence": lambda: np.random.SeedSequence(7),
    "none": _global_seed,
    "RandomState": lambda: np.random.RandomState(7),
    "Generator": lambda: np.random.default_rng(7),
}
ADVANCES = ("none", "RandomState", "Generator")


def two_passes(make, wrap, kind):
    """Return the items of two runs, and what the source of randomness gives after them."""
    state = STATES[kind]()
    streamer = make(wrap, state)
    passes = first_items(streamer, 30), first_items(streamer, 30)
    if kind not in ADVANCES:
        return (*passes, None)
    return (*passes, (np.random if state is None else state).random())


@matrix(cover=1, kind=list(STATES), make=TREES)
def test_the_items_are_those_without_a_process(make, kind):
    np.random.seed(99)
    *expected, after = two_passes(make, inline, kind)
    np.random.seed(99)
    *got, after_got = two_passes(make, quick, kind)
    assert got == expected
    assert (got[0] != got[1]) is (kind in ADVANCES)
    assert after_got == after


@pytest.mark.parametrize("kind", ["none", "Generator"])
@every_method
def test_the_items_are_those_without_a_process_by_every_method(method, kind):
    wrap = functools.partial(ZMQStreamer, start_method=method)
    assert two_passes(_nested, wrap, kind) == two_passes(_nested, inline, kind)


@pytest.mark.parametrize("kind", STATES)
def test_the_passes_of_a_cycle_differ(kind):
    def two(wrap):
        leaves = _leaves(inline)
        mux = StochasticMux(leaves, 2, None, mode="exhaustive", random_state=STATES[kind]())
        return first_items(wrap(mux).cycle(), 48)

    items = two(quick)
    assert items == two(inline)
    assert items[:24] != items[24:]
    assert sorted(map(repr, items[:24])) == sorted(map(repr, items[24:]))


def _noises(method):
    """Return items of sources that draw from global generators, by the streams they are of."""
    streamer = background(noise, 3, start_method=method)
    np.random.seed(11)
    found = {"run": first_items(streamer)}
    passes = first_items(streamer.cycle(6))
    found |= {"first pass": passes[:3], "second pass": passes[3:]}
    members = first_items(RoundRobinMux([streamer, streamer]))
    return found | {"first member": members[::2], "second member": members[1::2]}


@pytest.fixture(scope="module")
def noises():
    """Return the items of a method, made once."""
    return functools.cache(_noises)


@every_method
def test_global_generators_are_seeded_alike_by_every_method(noises, method):
    assert noises(method) == noises(QUICK)


def test_global_generators_follow_the_seed_of_the_reader(noises):
    assert _noises(QUICK) == noises(QUICK)


@pytest.mark.parametrize("name", ["numpy", "random"])
def test_no_two_streams_draw_the_same(noises, name):
    drawn = [item[name] for items in noises(QUICK).values() for item in items]
    assert len(set(drawn)) == len(drawn) == 15


def test_sources_that_draw_follow_the_seed_of_a_mux():
    def items(seed):
        members = [background(noise, 4) for _ in range(2)]
        return first_items(StochasticMux(members, 2, 3, random_state=seed), 12)

    np.random.seed(1)
    first = items(5)
    np.random.seed(2)
    assert items(5) == first
    assert items(6) != first
    assert len({item["numpy"] for item in first}) == 12


@every_transport
def test_the_reader_keeps_its_own_random_numbers(transport):
    random.seed(3)
    before = random.getstate()
    assert first_items(background(noise, 3, transport=transport))
    assert random.getstate() == before


# Threads, and processes forked by the reader.


@pytest.mark.parametrize("n_bytes", [8, 9000])
@every_transport
@of_forks
def test_two_threads_read_one_stream(n_bytes, transport):
    sizes = 2000 * [n_bytes]
    stream = background(of_sizes, sizes, max_bytes=MIB, transport=transport).iterate()
    got = read_together(stream, [by_next] * 2)
    assert all(is_of_sizes(int(each["number"]), each, sizes) for each in itertools.chain(*got))
    numbers = [[int(item["number"]) for item in each] for each in got]
    assert sorted(itertools.chain(*numbers)) == [*range(2000)]
    assert all(each == sorted(each) for each in numbers)


@pytest.mark.parametrize("start", [by_next, list])
@every_transport
@of_forks
def test_another_thread_closes_the_stream(start, transport):
    streamer = background(paced, 10**6, 1, 0.001, transport=transport)
    stream = streamer.iterate()
    next(stream)
    mine, errors = [], []

    def read():
        try:
            start(stream, mine) if start is by_next else start(stream)
        except BaseException as error:
            errors.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    within(TIMEOUT, stream.close)
    reader.join(TIMEOUT)
    assert not reader.is_alive()
    assert errors == []
    assert next(stream, "over") == "over"
    assert streamer.active == 0


@every_transport
def test_a_stream_may_be_closed_again(transport):
    stream = background(records, 0, 10**6, transport=transport).iterate()
    next(stream)
    for _ in range(2):
        stream.close()
        with pytest.raises(StopIteration):
            next(stream)
        assert list(stream) == []


def test_a_stream_may_be_closed_before_it_starts():
    stream = background(records, 0, 10**6).iterate()
    stream.close()
    assert list(stream) == []


@contextlib.contextmanager
def forked(function):
    """Call a function in a process forked from this one; give what returns its answer, as text."""
    receiving, sending = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            try:
                text = str(function())
            except BaseException as error:
                text = f"{type(error).__name__}: {error}"
            os.write(sending, text.encode())
        finally:
            os._exit(0)
    os.close(sending)
    try:
        with open(receiving) as file:
            yield file.read
    finally:
        os.waitpid(pid, 0)


def _drop(streams):
    streams.clear()
    gc.collect()


USES = {
    "drop": (_drop, "None"),
    "close": (lambda streams: streams[0].close(), "None"),
    "next": (
        lambda streams: next(streams[0]),
        "WorkerError: .*in another process, .*; start a new",
    ),
    "for": (lambda streams: list(streams[0]), "WorkerError: .*in another process, .*; start a new"),
    "another": (lambda streams: numbers_of(background(records, 0, 3)), r"\[0, 1, 2\]"),
}


@forking
@pytest.mark.parametrize(("use", "match"), USES.values(), ids=USES)
@every_transport
@of_forks
def test_a_process_forked_by_the_reader_leaves_the_stream_alone(use, match, transport):
    streams = [background(records, 0, 3000, transport=transport).iterate()]
    assert numbers_of([next(streams[0])]) == [0]
    with forked(functools.partial(use, streams)) as answer:
        assert re.match(match, answer())
    assert numbers_of(streams[0]) == [*range(1, 3000)]


@forking
@of_forks
def test_arrays_stay_for_a_process_forked_by_the_reader_when_they_are_gone_here():
    sizes = 200 * [100_000]
    stream = background(of_sizes, sizes, max_bytes=MIB).iterate()
    kept = list(itertools.islice(stream, 5))
    wait, go = os.pipe()

    def look():
        os.close(go)
        os.read(wait, 1)  # or the end of this process
        return are_of_sizes(kept, sizes) and len(kept)

    with forked(look) as answer:
        os.close(wait)
        kept.clear()
        assert len(list(stream)) == 195
        os.close(go)
        assert answer() == "5"


# The source's own ends.


def _read_all(streamer):
    assert numbers_of(streamer) == [*range(5)]


def _read_one_and_close(streamer):
    with streamer.iterate() as stream:
        next(stream)


def _break(streamer):
    for _ in streamer:
        break


def _limit(streamer):
    assert numbers_of(streamer.iterate(2)) == [0, 1]


def _fail(streamer):
    with contextlib.suppress(ZeroDivisionError):
        for _ in streamer:
            1 / 0


def _drop_unread(streamer):
    stream = streamer.iterate()
    next(stream)
    del stream
    gc.collect()


def _meet_an_error(streamer):
    with pytest.raises(Refused):
        list(streamer)


ENDS = {
    "end": (_read_all, 5, None),
    "close": (_read_one_and_close, 10**9, None),
    "error": (_meet_an_error, 5, Refused()),
    "break": (_break, 10**9, None),
    "limit": (_limit, 10**9, None),
    "error of the reader": (_fail, 10**9, None),
    "drop": (_drop_unread, 10**9, None),
    "close, at its end": (_read_one_and_close, 5, None),
}


@pytest.mark.parametrize(
    ("method", "how"),
    [(QUICK, each) for each in ENDS]
    + [(method, each) for method in METHODS if method != QUICK for each in list(ENDS)[:3]],
)
def test_what_the_source_does_at_last_is_done(method, how, tmp_path):
    leave, n_items, error = ENDS[how]
    path = tmp_path / "word"
    leave(background(leaving_word, path, n_items, error, start_method=method))
    until(path.exists)
    until(path.read_text)
    assert re.fullmatch(r"closed in \d+", path.read_text())
    assert path.read_text() != f"closed in {os.getpid()}"


def test_what_nested_sources_do_at_last_is_done(tmp_path):
    paths = [tmp_path / str(number) for number in range(3)]
    sources = [Streamer(leaving_word, path, 10**9) for path in paths]
    inner = ChainMux([quick(ShuffledMux(sources[1:]))])
    with quick(RoundRobinMux([sources[0], inner])).iterate(8) as stream:
        assert len(list(stream)) == 8
    until(lambda: all(path.exists() and path.read_text() for path in paths))


# Several streamers.


def of_streamers(n_streamers):
    for _ in range(n_streamers):
        yield pescador.Streamer(records, 0, 3)


@pytest.mark.parametrize("make", [list, tuple])
def test_several_streamers_have_to_be_mixed_first(make):
    streamers = make(of_streamers(2))
    with pytest.raises(PescadorError, match=r"mix them first: ZMQStreamer\(StochasticMux"):
        ZMQStreamer(streamers)


@forking
def test_a_source_of_streamers_is_told_to_mix_them_first():
    with pytest.raises(DataError, match=r"item 0 .* is a streamer, .*mix them first"):
        list(quick(pescador.Streamer(of_streamers, 2)))
