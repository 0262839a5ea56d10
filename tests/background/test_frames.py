"""Items to messages and back, in one process: what arrives, what is refused, what is garbage."""

import collections
import datetime
import decimal
import enum
import importlib
import itertools
import json
import mmap
import struct
import subprocess
import sys
import tracemalloc
import types
import warnings
import weakref

import numpy as np
import pytest
from _cases import matrix, shown, some
from _search import examples
from _sources import TIMEOUT
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pescador import DataError
from pescador._background import packing
from pescador._background.frames import LARGE, Kind, Unpacker
from pescador._background.layouts import Layout
from pescador._background.packing import Packer
from pescador.exceptions import WorkerError

PADDED = np.dtype([("flag", "?"), ("size", "f8")], align=True)
NESTED = np.dtype([("at", [("x", ">i2"), ("when", "M8[us]")]), ("padded", PADDED)])
WITH_ARRAYS = np.dtype([("matrix", "f4", (2, 3)), ("points", PADDED, (2,)), ("name", "U2")])
WITH_TITLES = np.dtype([(("a title", "x"), "i4"), ("y", "f8"), ((7, "z"), "S3")])
OUT_OF_ORDER = np.dtype(
    {"names": ["b", "a"], "formats": ["f4", "i2"], "offsets": [8, 1], "itemsize": 15}
)
OVERLAPPING = np.dtype({"names": ["all", "low"], "formats": ["u4", "u2"], "offsets": [0, 0]})
EMPTY_PARTS = np.dtype([("nothing", "U0"), ("x", "i1"), ("empty", "S0")])
DTYPES = [
    *["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "g"],
    *["c8", "c16", "G", ">f8", ">i4", ">c8", "S5", "U5", ">U2", "S0", "U0", "V0", "V3"],
    *["M8[ns]", "M8", ">M8[D]", "m8[25s]", "m8"],
    *[PADDED, NESTED, WITH_ARRAYS, WITH_TITLES, OUT_OF_ORDER, OVERLAPPING, EMPTY_PARTS],
    np.dtype([]),
]


def dtype_name(dtype):
    names = {name: value for name, value in globals().items() if isinstance(value, np.dtype)}
    return next((name for name, each in names.items() if each is dtype), str(dtype))


# Arrays of every kind.


def filled(dtype, shape, seed=0):
    """Return an array whose values have varied bits, NaNs with payloads and NaT among them."""
    dtype = np.dtype(dtype)
    rng = np.random.RandomState(seed)
    if dtype.names is not None:
        array = np.zeros(shape, dtype)
        for number, name in enumerate(dtype.names):
            if dtype is OVERLAPPING and number:
                continue
            field = dtype[name]
            if field.itemsize:
                array[name] = filled(field.base, (*shape, *field.shape), seed + number)
        return array
    size = int(np.prod(shape, dtype=int))
    if dtype.kind == "U":
        numbers = rng.randint(1, 0xD800, size * dtype.itemsize // 4)
        data = numbers.astype(dtype.byteorder.replace("|", "=") + "u4").tobytes()
    elif dtype.kind == "?":
        data = bytes(rng.randint(0, 2, size).astype("u1"))
    else:
        data = rng.bytes(size * dtype.itemsize)
    array = np.ndarray(shape, dtype, bytearray(data))
    if dtype.kind in "mM" and size:
        array.reshape(-1).view(f"{dtype.byteorder}i8")[::3] = np.iinfo("i8").min  # NaT
    if dtype.kind in "fc" and size:
        array.reshape(-1)[::3] = np.nan  # the other NaNs, made of random bits, have payloads
    return array


def fortran(array):
    return np.ndarray(array.shape, array.dtype, bytearray(array.tobytes()), order="F")


def unaligned(array):
    room = bytearray(b"." + array.tobytes())
    return np.ndarray(array.shape, array.dtype, room, offset=1)


def read_only(array):
    array.flags.writeable = False
    return array


LAYOUTS = {
    "C": lambda dtype, seed: filled(dtype, (3, 4), seed),
    "F": lambda dtype, seed: fortran(filled(dtype, (3, 4), seed)),
    "F, 3-D": lambda dtype, seed: fortran(filled(dtype, (2, 3, 4), seed)),
    "F with a new axis": lambda dtype, seed: fortran(filled(dtype, (3, 4), seed))[:, :, None],
    "strided": lambda dtype, seed: filled(dtype, (3, 8), seed)[:, ::2],
    "strided, F": lambda dtype, seed: fortran(filled(dtype, (6, 4), seed))[::2],
    "reversed": lambda dtype, seed: filled(dtype, (3, 4), seed)[::-1, ::-1],
    "reversed, F": lambda dtype, seed: fortran(filled(dtype, (3, 4), seed))[::-1, ::-2],
    "repeated": lambda dtype, seed: np.broadcast_to(filled(dtype, (1, 4), seed), (3, 4)),
    # an order of axes that undoes itself, and one that does not
    "axes 1 0 2": lambda dtype, seed: filled(dtype, (2, 3, 4), seed).transpose(1, 0, 2),
    "axes 2 0 1": lambda dtype, seed: filled(dtype, (2, 3, 4), seed).transpose(2, 0, 1),
    "axes, strided": lambda dtype, seed: filled(dtype, (2, 3, 8), seed).transpose(2, 0, 1)[::2],
    "0-d": lambda dtype, seed: filled(dtype, (), seed),
    "(0, 3)": lambda dtype, seed: filled(dtype, (0, 3), seed),
    "(3, 0)": lambda dtype, seed: filled(dtype, (3, 0), seed),
    "(0,)": lambda dtype, seed: filled(dtype, (0,), seed),
    "(1, 1)": lambda dtype, seed: filled(dtype, (1, 1), seed),
    "read-only": lambda dtype, seed: read_only(filled(dtype, (5,), seed)),
    "unaligned": lambda dtype, seed: unaligned(filled(dtype, (5,), seed)),
}


def bits(array):
    """Return all values of an array as bytes, without the padding between and in them."""
    if array.dtype.names is not None:
        return [bits(array[name]) for name in array.dtype.names]
    data = array.tobytes()
    if array.dtype.char in "gG" and np.finfo("g").nmant == 63:  # 10 bytes of 12 or 16
        width = np.dtype("g").itemsize
        return np.frombuffer(data, "u1").reshape(-1, width)[:, :10].tobytes()
    return data


def axes_order(array):
    """Return the strides of a copy that keeps the order of the axes."""
    strides = np.empty_like(array, "u1", subok=False).strides
    return [stride for stride, length in zip(strides, array.shape) if length > 1]


class Form:
    """What has to arrive: everything that can be told of an array, copied."""

    def __init__(self, array):
        self.dtype = array.dtype
        self.shape = array.shape
        self.bits = bits(array)
        self.order = array.flags.c_contiguous, array.flags.f_contiguous
        # an array that repeats itself has no order of its own
        repeats = any(
            stride == 0 and length > 1 for stride, length in zip(array.strides, array.shape)
        )
        self.axes = None
        if array.size and not repeats:
            self.axes = axes_order(array)

    def check(self, array):
        assert type(array) is np.ndarray
        assert array.dtype == self.dtype
        assert array.dtype.isalignedstruct == self.dtype.isalignedstruct
        assert array.shape == self.shape
        assert bits(array) == self.bits
        assert array.flags.aligned
        assert array.flags.writeable
        if self.axes is not None:
            assert axes_order(array) == self.axes
            is_c, is_f = self.order
            assert array.flags.c_contiguous or not is_c
            assert array.flags.f_contiguous or not is_f


# Messages.


class Blocks:
    """Shared memory without a second process: both of its sides."""

    def __init__(self, n_bytes=2**24):
        self._map = mmap.mmap(-1, n_bytes)
        self._next = 0
        self._held = {}

    def allocate(self, n_bytes):
        offset, end = self._next, self._next + max(n_bytes, 1)
        if end > len(self._map):
            return None
        self._next = -(-end // mmap.PAGESIZE) * mmap.PAGESIZE
        return offset

    def view(self, offset, n_bytes):
        return np.frombuffer(self._map, np.uint8, n_bytes, offset)

    def write(self, offset, array):
        self._map[offset : offset + array.nbytes] = array

    def hold(self, offset, n_bytes):
        if offset % mmap.PAGESIZE or offset + n_bytes > len(self._map) or offset in self._held:
            raise ValueError("no such block")
        block = self.view(offset, n_bytes)
        self._held[offset] = weakref.ref(block, lambda _: self._held.pop(offset))
        return block

    @property
    def n_held(self):
        return len(self._held)


def received(frames, shift=0):
    """Return frames as a socket gives them: writable, at any address."""
    return [memoryview(bytearray(shift) + bytearray(frame))[shift:] for frame in frames]


class Way:
    """A way for items to go: with or without shared memory, and so on."""

    def __init__(self, large=LARGE, is_shared=False, copy=False, shift=0):
        self.large = large
        self.is_shared = is_shared
        self.copy = copy
        self.shift = shift

    def start(self, monkeypatch):
        monkeypatch.setattr(packing, "LARGE", self.large)
        memory = Blocks() if self.is_shared else None
        self.packer = Packer(memory)
        self.unpacker = Unpacker(memory, self.copy)

    def message(self, counts=b""):
        return self.unpacker.message(received(self.packer.take(counts), self.shift))


WAYS = {
    "message": lambda: Way(),
    "message, copy": lambda: Way(copy=True),
    "frames as they are": lambda: Way(large=0),
    "frames at odd addresses": lambda: Way(large=0, shift=1),
    "shared memory": lambda: Way(large=0, is_shared=True),
    "shared memory, copy": lambda: Way(large=0, is_shared=True, copy=True),
}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    way = WAYS[request.param]()
    way.start(monkeypatch)
    return way


two_ways = pytest.mark.parametrize("way", ["message", "shared memory"], indirect=True)


def through(*items):
    """Return what arrives of items that go in one message, without shared memory."""
    packer = Packer()
    for item in items:
        packer.add(item)
    return list(Unpacker().message(received(packer.take())).items)


def overwrite(array):
    """Set all bytes of a source's array, as a source does that uses it again."""
    if array.flags.writeable:
        array[...] = np.zeros((), array.dtype)


# What arrives.


@matrix(cover=1, layout=list(LAYOUTS), dtype={dtype_name(each): each for each in DTYPES})
def test_an_array_arrives_as_it_was(dtype, layout, monkeypatch):
    for make_way, n_items in itertools.product(WAYS.values(), [1, 3]):
        way = make_way()
        way.start(monkeypatch)
        forms = []
        for seed in range(n_items):
            array = LAYOUTS[layout](dtype, seed)
            forms.append(Form(array))
            way.packer.add({"x": array})
            overwrite(array)
        got = [item["x"] for item in way.message().items]
        assert len(got) == n_items
        for array, form in zip(got, forms):
            form.check(array)
            overwrite(array)  # is of no concern to the others


@pytest.mark.parametrize("dtype", ["i1", "f8", ">c16", "U5", "M8[ns]", NESTED], ids=dtype_name)
def test_a_large_array_arrives_as_it_was(dtype, way):
    array = filled(dtype, (1000, 100))
    forms = {"C": Form(array), "F": Form(array.T), "strided": Form(array[:, ::3])}
    for _ in range(2):
        way.packer.add({"C": array, "F": array.T, "strided": array[:, ::3]})
    for item in way.message().items:
        for key, form in forms.items():
            form.check(item[key])


def test_values_of_all_dtypes_go_side_by_side(way):
    arrays = {str(n): filled(dtype, (n % 4, 3), n) for n, dtype in enumerate(DTYPES)}
    arrays = {
        key: array for key, array in arrays.items() if array.dtype.str[1:] not in ("S0", "U0")
    }
    forms = {key: Form(array) for key, array in arrays.items()}
    for _ in range(3):
        way.packer.add(arrays)
    for item in way.message().items:
        assert list(item) == list(arrays)
        for key, form in forms.items():
            form.check(item[key])


@pytest.mark.parametrize("n_bytes", [34, 35, 1000, 8191, 8192, 8200])
@pytest.mark.parametrize("shift", range(0, 16, 3))
def test_arrays_are_aligned_wherever_a_frame_lies(n_bytes, shift):
    for dtype in map(np.dtype, ["i1", "f8", "g", "G"]):
        packer = Packer()
        array = filled(dtype, (n_bytes // dtype.itemsize,))
        packer.add({"x": array})
        (item,) = Unpacker().message(received(packer.take(), shift)).items
        Form(array).check(item["x"])


def test_dtypes_that_differ_in_their_titles_are_not_mixed_up():
    plain = np.dtype([("x", "i4"), ("y", "f8"), ("z", "S3")])
    got = through({"a": np.zeros(2, plain)}, {"a": np.zeros(2, WITH_TITLES)})
    assert [item["a"].dtype.fields.keys() for item in got] == [
        plain.fields.keys(),
        WITH_TITLES.fields.keys(),
    ]


@pytest.mark.parametrize("title", [("a", "b"), b"bytes", frozenset([1])], ids=repr)
def test_a_title_that_is_no_string_arrives_or_is_refused(title):
    dtype = np.dtype({"names": ["x"], "formats": ["i4"], "titles": [title]})
    try:
        (item,) = through({"a": np.zeros(2, dtype)})
    except DataError as error:
        assert "'a'" in str(error)
    else:
        assert item["a"].dtype == dtype


def test_metadata_of_a_dtype_are_left_out():
    dtype = np.dtype("f8", metadata={"unit": "m"})
    (item,) = through({"a": np.ones(2, dtype)})
    Form(np.ones(2)).check(item["a"])


class Number(enum.IntEnum):
    ONE = 1


class Word(str, enum.Enum):
    YES = "yes"


class Metres(float):
    pass


RECORD = np.array([(True, 0.5)], PADDED)
SCALARS = [
    *[True, 0, -1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, Number.ONE],
    *[0.5, -0.0, float("nan"), float("inf"), Metres(2.5), 1 - 2j],
    *["", "word", "añ\U0001f600", "a\0b", "\udcff", b"", b"bytes", b"\0b"],
    *[np.bool_(True), np.int8(-1), np.uint16(7), np.int32(9), np.int64(-9), np.uint64(2**63)],
    *[np.longlong(5), np.float16(0.5), np.float32(0.1), np.float64("nan"), np.longdouble("0.1")],
    *[np.complex64(1j), np.complex128(1j), np.clongdouble(1j)],
    *[
        np.str_("word"),
        np.bytes_(b"bytes"),
        np.void(b"\0\1\2"),
        RECORD[0],
        RECORD.view(np.recarray)[0],
    ],
    *[
        np.datetime64("2020-01-01"),
        np.datetime64("2020-01-01T00:00", "25s"),
        np.datetime64("NaT", "D"),
    ],
    *[np.timedelta64(3, "ms"), np.timedelta64("NaT", "s")],
]


@pytest.mark.parametrize("value", SCALARS, ids=lambda value: f"{type(value).__name__} {value!r}")
def test_a_scalar_arrives_as_an_array_without_dimensions(value, way):
    for _ in range(3):  # the first of a run, and those that follow, go different ways
        way.packer.add({"x": value})
    for item in way.message().items:
        Form(np.asarray(value)).check(item["x"])
        assert item["x"].shape == ()
        assert item["x"][()] == value or value != value


@pytest.mark.parametrize("first", SCALARS, ids=lambda value: f"{type(value).__name__} {value!r}")
def test_a_scalar_arrives_after_any_other(first, way):
    for value in SCALARS:
        way.packer.add({"x": first})
        way.packer.add({"x": value})
        way.packer.add({"x": first})
        for item, sent in zip(way.message().items, (first, value, first), strict=True):
            Form(np.asarray(sent)).check(item["x"])
            assert item["x"][()] == sent or sent != sent


def test_a_string_with_a_text_of_its_own_arrives_or_is_refused():
    # (Its str() is not its value.)
    try:
        (item,) = through({"x": Word.YES})
    except DataError as error:
        assert "'x'" in str(error)
    else:
        assert item["x"].item() == "yes"


def test_an_array_that_lies_in_a_file_arrives(tmp_path, way):
    array = np.memmap(tmp_path / "values", "f8", "w+", shape=(3, 4))
    array[...] = np.arange(12).reshape(3, 4)
    for _ in range(3):
        way.packer.add({"x": array})
    for item in way.message().items:
        Form(np.arange(12.0).reshape(3, 4)).check(item["x"])


def test_items_without_a_key_arrive(way):
    for item in [{}, {}, {"x": 1}, {}]:
        way.packer.add(item)
    message = way.message()
    assert message.n_items == 4
    assert list(message.items) == [{}, {}, {"x": 1}, {}]


def test_a_message_without_items():
    message = Unpacker().message(received(Packer().take()))
    assert message[:4] == (Kind.DATA, 0, 0, 0)
    assert list(message.items) == []


@two_ways
def test_items_travel_with_what_has_been_counted(way):
    for item in [{"x": 1}, {"x": 2}, {"y": np.zeros(9000)}]:
        way.packer.add(item)
    message = way.message(b"counts")
    assert (message.kind, message.n_items, message.text) == (Kind.COUNTED, 3, b"counts")
    assert [list(item) for item in message.items] == [["x"], ["x"], ["y"]]


def test_items_whose_counts_are_missing_are_garbage():
    with pytest.raises(WorkerError, match="without their counts"):
        Unpacker().message([head(kind=Kind.COUNTED)])


# Keys.

KEYS = [
    *["", " ", "x", "é", "\U0001f600", "a\0b", "\0", '"', "\\", "\n", "\ud800", "\udcff"],
    "\ud83d\ude00",  # two characters, which JSON takes for one
    *["1", "null", "x" * 2**20, 0, 1, -1, 2**63, 2**64, -(10**100)],
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: ascii(key)[:20])
@two_ways
def test_a_key_arrives(key, way):
    for value in range(3):
        way.packer.add({key: value})
    assert list(way.message().items) == [{key: 0}, {key: 1}, {key: 2}]


def test_keys_that_look_alike_are_told_apart(way):
    item = {1: 0, "1": 1, -1: 2, "-1": 3, "": 4, " ": 5, "é": 6, "e\u0301": 7, "a": 8, "a\0": 9}
    item.update({"\ud83d\ude00": 10, "\U0001f600": 11})
    for _ in range(2):
        way.packer.add(item)
    got = list(way.message().items)
    assert got == [item, item]
    assert [list(each) for each in got] == [list(item)] * 2


@pytest.mark.parametrize(
    ("key", "plain"),
    [(np.str_("x"), "x"), (np.int8(-3), -3), (np.uint64(2**63), 2**63), (Number.ONE, 1)],
    ids=repr,
)
@two_ways
def test_keys_arrive_as_plain_strings_and_integers(key, plain, way):
    for _ in range(3):
        way.packer.add({key: 0})
    for item in way.message().items:
        assert item == {plain: 0}
        assert type(next(iter(item))) is type(plain)


def test_a_key_with_a_text_of_its_own_is_equal_to_what_arrives(way):
    item = {Word.YES: 1, "Word.YES": 2}
    way.packer.add(item)
    (got,) = way.message().items
    assert got == item


@two_ways
def test_an_item_has_many_keys(way):
    item = {f"key {number}": number for number in range(10_000)}
    for _ in range(2):
        way.packer.add(item)
    for got in way.message().items:
        assert got == item
        assert list(got) == list(item)


def test_keys_in_another_order_arrive_in_that_order(way):
    items = [{"a": 1, "b": 2}, {"b": 3, "a": 4}, {"a": 5, "b": 6}]
    for item in items:
        way.packer.add(item)
    assert [list(item.items()) for item in way.message().items] == [
        list(item.items()) for item in items
    ]


def test_dicts_of_other_classes_arrive_as_dicts(way):
    for kind in (collections.OrderedDict, collections.Counter, dict):
        way.packer.add(kind({"x": 1, 2: 3}))
    got = list(way.message().items)
    assert got == [{"x": 1, 2: 3}] * 3
    assert {type(item) for item in got} == {dict}


# Any items, in any order.

any_dtype = st.one_of(hnp.scalar_dtypes(), hnp.array_dtypes(allow_subarrays=True, max_size=3))
any_shape = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
any_key = st.one_of(st.text(max_size=3), st.integers(), st.integers(-128, 127).map(np.int8))


@st.composite
def any_array(draw):
    """Draw an array whose axes lie in memory in any order, some reversed."""
    shape = draw(any_shape)
    array = filled(draw(any_dtype), shape, draw(st.integers(0, 2**16)))
    array = array.transpose(draw(st.permutations(range(len(shape)))))
    steps = [slice(None, None, draw(st.sampled_from([1, 1, 2, -1]))) for _ in shape]
    return array[tuple(steps)] if steps else array


any_item = st.dictionaries(any_key, any_array(), max_size=3)


@st.composite
def any_sequence(draw):
    """Draw items of a few layouts, those of one layout mostly in a row."""
    kinds = draw(st.lists(any_item, min_size=1, max_size=3))
    places = draw(st.lists(st.tuples(st.sampled_from(kinds), st.integers(1, 4)), max_size=6))
    return [item for item, n_times in places for _ in range(n_times)]


@given(any_sequence(), st.sampled_from(sorted(WAYS)), st.sets(st.integers(0, 24)))
@examples(300)
def test_any_items_arrive_in_order(items, way, ends):
    with pytest.MonkeyPatch.context() as patch:
        way = WAYS[way]()
        way.start(patch)
        n_arrived = 0
        for position, item in enumerate(items):
            assert way.packer.n_items == position
            way.packer.add(item)
            if position not in ends and position + 1 < len(items):
                continue
            message = way.message()
            assert (message.kind, message.first) == (Kind.DATA, n_arrived)
            got = list(message.items)
            assert len(got) == message.n_items
            for theirs, ours in zip(got, items[n_arrived:]):
                assert list(theirs) == list(ours)
                for key, array in ours.items():
                    Form(array).check(theirs[key])
            n_arrived += len(got)
        assert n_arrived == len(items)


def test_more_layouts_than_are_remembered(way):
    shapes = [(1 + number % 300,) for number in range(1000)]
    got = []
    for shape in shapes:
        way.packer.add({"x": np.ones(shape, "i1")})
        if way.packer.n_items % 7 == 0:
            got += way.message().items
    got += way.message().items
    assert [item["x"].shape for item in got] == shapes


@two_ways
def test_a_large_item_unlike_the_one_before_it_arrives_as_it_is(way):
    """Those that are alike are copied at once."""
    usual = {"x": np.arange(12.0).reshape(3, 4), 1: np.array(5)}
    others = [
        {"x": np.arange(12.0).reshape(4, 3).T, 1: np.array(6)},
        {"x": np.arange(24.0).reshape(3, 8)[:, ::2], 1: np.array(7)},
        {"x": np.arange(12.0).reshape(3, 4).astype(">f8"), 1: np.array(8)},
        {"x": np.arange(12.0).reshape(4, 3), 1: np.array(9)},
        {"x": np.arange(12).reshape(3, 4), 1: np.array(10)},
        {1: np.array(11), "x": np.arange(12.0).reshape(3, 4)},
        {"x": np.arange(12.0).reshape(3, 4), 1: 12},
        {"x": np.arange(12.0).reshape(3, 4), 1: np.array("2026-01", "M8[M]")},
        {"x": np.zeros((0, 4)), 1: np.array(13)},
        {"x": np.zeros(12, [("at", "f8")]).reshape(3, 4), 1: np.array(14)},
    ]
    items = [each for other in others for each in (usual, usual, other, other)]
    for item in items:
        way.packer.add(item)
    for item, got in zip(items, way.message().items, strict=True):
        assert list(got) == list(item)
        for key, value in item.items():
            assert got[key].dtype == np.asarray(value).dtype
            np.testing.assert_array_equal(got[key], value)


# Sizes, costs and numbers.


@pytest.mark.parametrize("n_bytes", [0, 1, 100, 1000, 8000])
def test_a_message_is_full_in_time(n_bytes):
    packer, item = Packer(Blocks()), {"x": np.zeros(n_bytes, "u1")}
    assert packer.fullness == 0
    while packer.fullness < 1:
        before = packer.fullness
        packer.add(item)
        assert packer.fullness > before
    assert packer.n_items * n_bytes >= 2**15 or 256 <= packer.n_items <= 1024
    assert sum(map(len, packer.take())) < 2**16 + n_bytes + 500
    assert packer.fullness == 0


def test_a_message_of_empty_items_is_full_in_time():
    packer = Packer()
    while packer.fullness < 1:
        packer.add({})
    assert 256 <= packer.n_items <= 1024


@pytest.mark.parametrize("n_bytes", [2**13, 2**16, 2**20, 2**24])
def test_a_message_about_shared_memory_is_full_in_time(n_bytes):
    packer, item = Packer(Blocks(2**25)), {"x": np.zeros(n_bytes, "u1")}
    while packer.fullness < 1:
        packer.add(item)
    assert 2**23 - 2**18 <= packer.n_items * n_bytes <= max(2**23, n_bytes)
    assert sum(map(len, packer.take())) < 2**16


def test_costs_of_items_add_up():
    packer = Packer(Blocks(2**15))
    total = 0
    for n_bytes in [0, 0, 10, 10, 5000, 9000, 9000, 2**15, 10]:
        cost = packer.add({"x": np.zeros(n_bytes, "u1")})
        assert n_bytes < cost <= n_bytes + 1000
        total += cost
    message = Unpacker(Blocks(2**15)).message(received(packer.take()))
    assert message.cost == total
    assert message.n_items == 9


def test_items_are_counted_across_messages():
    packer, unpacker = Packer(), Unpacker()
    firsts = []
    for n_items in [1, 5, 0, 2]:
        for _ in range(n_items):
            packer.add({"x": 0})
        message = unpacker.message(received(packer.take()))
        assert message.n_items == n_items
        firsts.append(message.first)
    assert firsts == [0, 1, 6, 6]
    assert packer.n_items == 8


def test_a_position_belongs_between_two_items():
    packer = Packer()
    for value in range(3):
        packer.add({"x": value})
    packer.take()
    message = Unpacker().message(packer.note(Kind.POSITION, b"here"))
    assert message[:4] == (Kind.POSITION, 3, 0, 0)
    assert (message.text, list(message.items)) == (b"here", [])
    for frames in (
        packer.note(Kind.POSITION, b"here")[:1],
        [*packer.note(Kind.POSITION, b"here"), b"more"],
    ):
        with pytest.raises(WorkerError, match="a text of"):
            Unpacker().message(frames)


@pytest.mark.parametrize("kind", [Kind.ENDED, Kind.FAILED])
def test_a_mark_tells_how_many_items_there_were(kind):
    packer = Packer()
    packer.add({"x": 0})
    packer.take()
    packer.add({"x": 0})
    message = Unpacker().message(received(packer.mark(kind)))
    assert message[:4] == (kind, 2, 0, 0)
    assert list(message.items) == []


# Shared memory.


def test_only_large_items_go_through_shared_memory():
    memory = Blocks()
    packer = Packer(memory)
    for n_bytes in [2**13 - 1, 2**13]:
        packer.add({"x": np.zeros(n_bytes, "u1")})
    message = Unpacker(memory).message(received(packer.take()))
    assert memory.n_held == 1
    assert [item["x"].size for item in message.items] == [2**13 - 1, 2**13]


def test_items_go_into_the_message_when_the_memory_is_full():
    memory = Blocks(2**16)
    packer, unpacker = Packer(memory), Unpacker(memory)
    for value in range(10):
        packer.add({"x": np.full(2**14, value, "u1")})
    frames = packer.take()
    assert 6 * 2**14 < sum(map(len, frames)) < 6 * 2**14 + 2**10
    got = [item["x"] for item in unpacker.message(received(frames)).items]
    assert memory.n_held == 4
    assert [(array[0], array[-1]) for array in got] == [(value, value) for value in range(10)]


def test_a_block_is_let_go_with_the_last_array_of_its_item():
    memory = Blocks()
    packer = Packer(memory)
    for _ in range(3):
        packer.add({"x": np.zeros(2**13), "y": np.zeros((2**6, 2**6), order="F")})
    items = Unpacker(memory).message(received(packer.take())).items
    assert memory.n_held == 3
    item = next(items)
    del item["x"]
    assert memory.n_held == 3
    del item
    assert memory.n_held == 2
    next(items)
    assert memory.n_held == 1
    del items
    assert memory.n_held == 0


def test_copies_let_the_blocks_go_at_once():
    memory = Blocks()
    packer = Packer(memory)
    for _ in range(3):
        packer.add({"x": np.zeros(2**13), "y": np.zeros((3, 4), order="F")})
    message = Unpacker(memory, copy=True).message(received(packer.take()))
    assert memory.n_held == 0
    assert len(list(message.items)) == 3


def test_copies_share_no_memory_with_the_frames():
    packer = Packer()
    packer.add({"x": np.ones(2**13)})
    frames = received(packer.take())
    (item,) = Unpacker(copy=True).message(frames).items
    assert not any(np.shares_memory(item["x"], np.frombuffer(frame, "u1")) for frame in frames)


# What is refused.


class Subclass(np.ndarray):
    pass


REFUSED = {
    "list": [1, 2],
    "empty list": [],
    "None": None,
    "tuple": (1, 2),
    "dict": {"a": 1},
    "set": {1},
    "object": object(),
    "objects": np.array([1, None], object),
    "0-d object": np.array(None),
    "struct with object": np.zeros(2, [("x", "i4"), ("y", "O")]),
    "nested objects": np.zeros(2, [("x", [("y", "O", (2,))])]),
    "masked": np.ma.masked_array([1, 2], [True, False]),
    "masked constant": np.ma.masked,
    "matrix": np.zeros((2, 2)).view(np.matrix),
    "recarray": np.rec.array([(1, 2.0)]),
    "subclass": np.zeros(2).view(Subclass),
    "datetime": datetime.datetime(2020, 1, 1),
    "date": datetime.date(2020, 1, 1),
    "timedelta": datetime.timedelta(1),
    "decimal": decimal.Decimal(1),
    "bytearray": bytearray(b"a"),
    "memoryview": memoryview(b"a"),
    "range": range(2),
    "type": float,
    "dtype": np.dtype("f8"),
    "int beyond 64 bits": 2**64,
    "negative int beyond 64 bits": -(2**63) - 1,
    "int too long to print": 10**5000,
    "str with NUL": "a\0",
    "NUL": "\0",
    "bytes with NUL": b"a\0",
    "np.str_ with NUL": np.str_("a\0"),
    "np.bytes_ with NUL": np.bytes_(b"a\0"),
}
if hasattr(np, "dtypes") and hasattr(np.dtypes, "StringDType"):
    REFUSED["StringDType"] = np.array(["a"], np.dtypes.StringDType())


def type_names(value):
    kind = type(value)
    return {kind.__name__, f"{kind.__module__}.{kind.__name__}"}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
@two_ways
def test_a_value_that_cannot_cross_is_refused(value, way):
    expected = [{"good": 1, "other": 2}] * 2
    for item in expected:
        way.packer.add(item)
    for key in ("other", 5):
        with pytest.raises(DataError) as caught:
            way.packer.add({"good": 1, key: value})
        text = str(caught.value)
        assert "item 2 " in text
        assert repr(key) in text
        assert any(name in text for name in type_names(value))
        assert "'good'" not in text
    assert way.packer.n_items == 2
    way.packer.add({"good": 3})
    message = way.message()
    assert (message.first, message.n_items) == (0, 3)
    assert list(message.items) == [*expected, {"good": 3}]


def test_a_dtype_of_a_users_own_is_refused():
    # NumPy cannot make it of its name: it must not arrive as raw bytes.
    core = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
    rational = importlib.import_module(f"{core}._rational_tests").rational
    for value in (np.array([rational(1, 2)]), rational(1, 2)):
        with pytest.raises(DataError, match=r"item 0 .*'x'"):
            Packer().add({"x": value})


@pytest.mark.parametrize(
    "key", [True, np.True_, 1.5, np.float64(2), None, b"a", (1,), frozenset()], ids=shown
)
@two_ways
def test_a_key_of_another_type_is_refused(key, way):
    way.packer.add({"good": 1})
    with pytest.raises(DataError) as caught:
        way.packer.add({"good": 1, key: 2})
    assert "item 1 " in str(caught.value)
    assert repr(key) in str(caught.value)
    assert type(key).__name__ in str(caught.value)
    way.packer.add({"good": 2})
    assert list(way.message().items) == [{"good": 1}, {"good": 2}]


def test_a_key_too_long_to_print_arrives_or_is_refused():
    try:
        (item,) = through({10**5000: 1})
    except DataError as error:
        assert "item 0 " in str(error)
    else:
        assert list(item) == [10**5000]


@pytest.mark.parametrize(
    "item",
    [
        *[None, 1, "text", [1], (1,), np.zeros(3), np.zeros(2, [("x", "i4")])],
        *[types.MappingProxyType({"x": 1}), collections.UserDict(x=1)],
    ],
    ids=lambda item: type(item).__name__,
)
@two_ways
def test_an_item_that_is_no_dict_is_refused(item, way):
    way.packer.add({"x": 1})
    with pytest.raises(DataError, match="item 1 ") as caught:
        way.packer.add(item)
    assert type(item).__name__ in str(caught.value)
    way.packer.add({"x": 2})
    assert list(way.message().items) == [{"x": 1}, {"x": 2}]


# A run of like items that meets one that is not like them, in its second value.

MISFITS = {
    "dtype": np.arange(3, dtype="i8"),
    "byte order": np.arange(3, dtype=">f8"),
    "shape": np.arange(4.0),
    "dimensions": np.array([[0.0, 1, 2]]),
    "strides": np.arange(6.0)[::2],
    "reversed": np.arange(3.0)[::-1],
    "scalar": 1.0,
    "string": "text",
    "memmap": None,
    "refused: list": [1.0, 2.0, 3.0],
    "refused: objects": np.array([None] * 3),
    "refused: masked": np.ma.masked_array([1.0, 2, 3]),
    "refused: huge": 10**30,
    "refused: NUL": "a\0",
}


@pytest.mark.parametrize("n_before", some([1, 2, 3]))
@pytest.mark.parametrize("misfit", MISFITS)
@two_ways
def test_a_run_meets_a_value_that_does_not_fit(misfit, n_before, tmp_path, way):
    value = MISFITS[misfit]
    if misfit == "memmap":
        value = np.memmap(tmp_path / "values", "f8", "w+", shape=(3,))
    items = [{"a": np.full(2, n), "b": np.arange(3.0) + n, "c": n} for n in range(n_before + 2)]
    odd = {"a": np.full(2, 99), "b": value, "c": 99}
    for item in items[:n_before]:
        way.packer.add(item)
    expected = list(items)
    if misfit.startswith("refused"):
        with pytest.raises(DataError, match=f"item {n_before} .*'b'"):
            way.packer.add(odd)
    else:
        way.packer.add(odd)
        expected.insert(n_before, odd)
    for item in items[n_before:]:
        way.packer.add(item)
    message = way.message()
    assert message.n_items == len(expected)
    for got, item in zip(message.items, expected):
        assert list(got) == list(item)
        for key in item:
            Form(np.asarray(item[key])).check(got[key])


@pytest.mark.parametrize("is_fortran_first", [True, False])
def test_a_run_meets_an_array_in_the_other_order(is_fortran_first, way):
    array = np.arange(12.0).reshape(3, 4)
    arrays = [array.copy("C"), array.copy("C"), array.copy("F"), array.copy("F")]
    for value in arrays[::-1] if is_fortran_first else arrays:
        way.packer.add({"a": 0, "x": value})
    flags = [item["x"].flags.f_contiguous for item in way.message().items]
    assert flags == [is_fortran_first] * 2 + [not is_fortran_first] * 2


# Garbage.

MOST_MEMORY = 2**23  # bytes, for reading what has less than a hundredth of that


def read_whatever(frames, memory=None, copy=False):
    """Read what may not be a message; return whether it was one."""
    frames = received(frames)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tracemalloc.start()
        try:
            is_message = _read(frames, memory, copy)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < MOST_MEMORY
    assert [str(each.message) for each in caught] == []
    return is_message


def _read(frames, memory, copy):
    try:
        message = Unpacker(memory, copy).message(frames)
    except WorkerError:
        return False
    assert message.kind in set(Kind)
    n_items = 0
    for item in message.items:
        n_items += 1
        for key, array in item.items():
            assert type(key) in (str, int)
            assert not array.dtype.hasobject
            assert array.nbytes < MOST_MEMORY
            array.tobytes()  # a crash if it is not what it seems to be
    assert n_items == message.n_items
    return True


def head(*runs, kind=Kind.DATA, first=0, cost=0):
    """Return the first frame of a message of ``runs`` of (number of items, offsets or None)."""
    parts = [struct.pack("<BQQI", kind, first, cost, len(runs))]
    for n_items, offsets in runs:
        parts.append(struct.pack("<IB", n_items, offsets is not None))
        parts += [struct.pack("<Q", offset) for offset in offsets or ()]
    return b"".join(parts)


@given(st.lists(st.binary(max_size=60), max_size=5))
@examples(500)
@example([])
@example([b""])
@example([struct.pack("<BQQI", Kind.DATA, 0, 0, 2**32 - 1)])
def test_random_frames_are_garbage(frames):
    read_whatever(frames)


@given(
    st.integers(0, 9),
    st.integers(0, 2**64 - 1),
    st.lists(
        st.tuples(st.integers(0, 2**32 - 1) | st.integers(0, 3), st.integers(0, 2)), max_size=3
    ),
    st.lists(
        st.sampled_from([b"[]", b"{}", b'[["x","i1",[],null]]', b"a", b"ab", b""]), max_size=6
    ),
    st.binary(max_size=20),
)
@examples(1000)
def test_heads_of_any_numbers(kind, number, runs, frames, rest):
    first = struct.pack("<BQQI", kind, number, number, len(runs))
    first += b"".join(struct.pack("<IB", *run) for run in runs)
    read_whatever([first + rest, *frames], Blocks(2**14))


def _valid_messages():
    """Return a message of each kind: its frames, and the memory that belongs to it."""
    small = {"x": np.arange(3.0), "y": np.zeros((2, 3), "i2", order="F"), 7: "text"}
    large = {"x": np.arange(2000.0), "z": np.zeros(2, NESTED)}
    for items in [
        [small],
        [small] * 3,
        [{}] * 3,
        [small, {}, {"x": 1}],
        [large, small],
        [large] * 2,
    ]:
        for memory in (None, Blocks(2**17)):
            packer = Packer(memory)
            for item in items:
                packer.add(item)
            yield packer.take(), memory
            packer.add(small)
            yield packer.take(b"counts"), memory
    yield Packer().mark(Kind.ENDED), None


MESSAGES = list(_valid_messages())
HUGE = [0, 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]

mutation = st.tuples(
    st.sampled_from(["flip", "cut", "extend", "drop", "repeat", "swap", "number", "empty"]),
    st.integers(0, 7),  # which frame
    st.integers(0, 200),  # where in it
    st.integers(1, 255),
)


def mutated(frames, how, which, where, value):
    """Return frames of which something has been altered."""
    if not frames:
        return frames
    frames, which = list(frames), which % len(frames)
    frame = bytearray(frames[which])
    if how == "flip" and frame:
        frame[where % len(frame)] ^= value
    elif how == "cut":
        del frame[where % (len(frame) + 1) :]
    elif how == "extend":
        frame += bytes([value]) * (where + 1)
    elif how == "empty":
        frame.clear()
    elif how == "number":
        number = struct.pack("<Q", HUGE[value % len(HUGE)])[: 1 << value % 4]
        where %= len(frame) + 1
        frame[where : where + len(number)] = number
    frames[which] = bytes(frame)
    if how == "drop":
        del frames[which]
    elif how == "repeat":
        frames.insert(where % (len(frames) + 1), frames[which])
    elif how == "swap":
        other = where % len(frames)
        frames[which], frames[other] = frames[other], frames[which]
    return frames


@given(st.lists(mutation, min_size=1, max_size=3), st.booleans())
@examples(700)
def test_messages_that_were_altered(mutations, copy):
    for frames, memory in MESSAGES:
        for each in mutations:
            frames = mutated(frames, *each)
        read_whatever(frames, memory, copy)
        assert memory is None or memory.n_held == 0


def test_messages_that_were_not_altered_are_read():
    assert all(read_whatever(frames, memory) for frames, memory in MESSAGES)


@pytest.mark.parametrize("rest", [b"", b"more"], ids=repr)
def test_a_message_with_a_frame_too_many_is_garbage(rest):
    for frames, memory in MESSAGES:
        assert not read_whatever([*frames, rest], memory)


def test_a_message_with_a_byte_too_many_or_too_few_is_garbage():
    for frames, memory in MESSAGES:
        for which, frame in enumerate(frames):
            if frame == b"counts":
                continue  # a text of any length
            is_layout = which and frame.startswith(b"[")  # JSON may end in a space
            for altered in (frame + (b"]" if is_layout else b" "), frame[:-1] if frame else b" "):
                changed = [*frames[:which], altered, *frames[which + 1 :]]
                assert not read_whatever(changed, memory)


# Layouts that no packer has written.

number = st.sampled_from([0, 1, 2, 3, -1, 100, 2**31, 2**63, 10**30, 1.5, True, None, "1", []])
key = st.sampled_from(["x", "y", "", 1, -1, True, None, 1.5, ["x"], {"x": 1}])
shape = st.one_of(
    st.lists(st.integers(0, 3), max_size=3),
    st.lists(number, max_size=3),
    st.sampled_from([None, 3, "", "3", {}, {"3": 1}, [1] * 32, [1] * 64, [1] * 100, [0, 2**62]]),
)
axes = st.one_of(
    st.none(),
    st.permutations(range(2)),
    st.permutations(range(3)),
    st.lists(number, max_size=3),
    st.sampled_from(["", {}, "01", [0, 0], [1, 2], [False, True], [1.0, 0.0], [True, False]]),
)
TYPE_CODES = [
    *["<f8", "|b1", ">i4", "<U2", "|S3", "|V4", "<M8[s]", "<m8", "<c16", "<f2"],
    *["|O", "O8", "object", "|O8", "b1,O", "(2,)O", "V2147483647", "S2147483648", "U536870911"],
    *["S999999999999", "S-5", "V-1", "f99", "a5", "1f8", "f8,f8", "(1000000,1000000)f8", "(" * 300],
    *[
        "",
        "T",
        "StringDType",
        "M8[foo]",
        "M8[999999999999s]",
        "M8[-1s]",
        "\0",
        "<f8\0",
        "f8;import os",
    ],
    *["__import__('os').abort()", "numpy.float64", "float64", "p", "é", "1" * 5000],
]
align = st.sampled_from([False, True, None, 1, "x"])
description = st.recursive(
    st.sampled_from(TYPE_CODES) | st.sampled_from([None, 1, {}, [], ["array"], ["fields"], True]),
    lambda inner: st.one_of(
        st.tuples(st.just("array"), inner, shape),
        st.integers(0, 3).flatmap(
            lambda n: st.tuples(
                st.just("fields"),
                st.just(list("abc"[:n])) | st.lists(key, min_size=n, max_size=n),
                st.lists(inner, min_size=n, max_size=n),
                st.just([16 * place for place in range(n)]) | st.lists(number, max_size=3),
                st.just([None] * n) | st.lists(key, max_size=3),
                st.integers(0, 64) | number,
                align,
            )
        ),
        st.tuples(inner, inner),
    ),
    max_leaves=4,
)
form = st.one_of(
    st.tuples(key, description, shape, axes),
    st.tuples(st.just("x"), description, st.just([1]), st.none()),
    st.tuples(key, st.just("<f8"), shape, axes),
    st.lists(st.integers(0, 2) | key, max_size=5),
)


@given(
    st.lists(form, max_size=3) | form | key,
    st.integers(1, 3),
    st.sampled_from([0, 1, 8, 16, 24, 72]) | st.integers(0, 100),
    st.booleans(),
)
@examples(1500)
def test_layouts_that_no_packer_has_written(layout, n_items, n_bytes, is_shared):
    header = json.dumps(layout).encode()
    n_columns = len(layout) if isinstance(layout, (list, tuple)) else 1
    if is_shared:
        frames = [head((n_items, [4096 * n for n in range(n_items)])), header]
    else:
        frames = [head((n_items, None)), header, *[bytes(n_items * n_bytes)] * n_columns]
    read_whatever(frames, Blocks(2**14) if is_shared else None)


LAYOUT = b'[["x",%s,%s,%s]]'
HEADERS = {
    "plain": LAYOUT % (b'"<f8"', b"[]", b"null"),
    "not JSON": b"[[",
    "not UTF-8": b"\xff\xfe",
    "not a list": b"5",
    "negative length": LAYOUT % (b'"<f8"', b"[-1]", b"null"),
    "two negative lengths": LAYOUT % (b'"<f8"', b"[-1,-1]", b"null"),
    "huge length": LAYOUT % (b'"<f8"', b"[4611686018427387904]", b"null"),
    "product beyond 64 bits": LAYOUT % (b'"<f8"', b"[4294967296,4294967296]", b"null"),
    "product beyond 64 bits, and nothing": LAYOUT % (b'"<f8"', b"[0,9223372036854775808]", b"null"),
    "length that is a float": LAYOUT % (b'"<f8"', b"[1.0]", b"null"),
    "length that is NaN": LAYOUT % (b'"<f8"', b"[NaN]", b"null"),
    "100 dimensions": LAYOUT % (b'"<f8"', json.dumps([1] * 100).encode(), b"null"),
    "100 axes": LAYOUT
    % (b'"<f8"', json.dumps([1] * 100).encode(), json.dumps(list(range(100))).encode()),
    "object": LAYOUT % (b'"|O"', b"[]", b"null"),
    "object by name": LAYOUT % (b'"object"', b"[]", b"null"),
    "struct with object": LAYOUT % (b'["fields",["a"],["|O"],[0],[null],8,false]', b"[]", b"null"),
    "array of objects": LAYOUT % (b'["array","|O",[1]]', b"[]", b"null"),
    "objects in a string": LAYOUT % (b'"i4,O"', b"[]", b"null"),
    "negative offset": LAYOUT % (b'["fields",["a"],["<f8"],[-8],[null],8,false]', b"[]", b"null"),
    "offset beyond the end": LAYOUT
    % (b'["fields",["a"],["<f8"],[8],[null],8,false]', b"[]", b"null"),
    "huge itemsize": LAYOUT % (b'"V2147483647"', b"[1]", b"null"),
    "itemsize beyond all": LAYOUT % (b'"S999999999999"', b"[]", b"null"),
    "same key twice": b'[["x","<f4",[],null],["x","<f4",[],null]]',
    "axes of another array": LAYOUT % (b'"<f8"', b"[1]", b"[0,1]"),
    "axes twice": LAYOUT % (b'"<f8"', b"[1,1]", b"[0,0]"),
}


@pytest.mark.parametrize("n_items", [1, 2])
@pytest.mark.parametrize("name", HEADERS)
def test_layouts_that_make_no_sense(name, n_items):
    frames = [head((n_items, None)), HEADERS[name], bytes(8 * n_items)]
    frames += [bytes(4 * n_items)] * (name == "same key twice")
    assert read_whatever(frames) == (name == "plain")
    if name != "product beyond 64 bits, and nothing":
        offsets = [4096 * n for n in range(n_items)]
        shared = [head((n_items, offsets)), HEADERS[name]]
        assert read_whatever(shared, Blocks(2**14)) == (name == "plain")


@pytest.mark.parametrize("depth", [10, 100, 300, 400, 450, 1000, 20_000])
@pytest.mark.parametrize("n_bytes", [8, 1])
@pytest.mark.parametrize(
    ("before", "after"),
    [("[", "]"), ('["array",', ",[1]]"), ('["fields",["a"],[', "],[0],[null],8,false]")],
    ids=["lists", "arrays", "fields"],
)
def test_layouts_that_are_nested_deeply(before, after, n_bytes, depth):
    nested = before * depth + '"<f8"' + after * depth
    header = LAYOUT % (nested.encode(), b"[]", b"null")
    read_whatever([head((1, None)), header, bytes(n_bytes)])


def test_a_great_many_values_without_a_byte_take_no_time():
    frames = [head((1, None)), LAYOUT % (b'"|V0"', b"[1125899906842624]", b"null"), b""]
    code = f"""
from pescador._background.frames import Unpacker
from pescador.exceptions import WorkerError
try:
    list(Unpacker().message([memoryview(frame) for frame in {frames}]).items)
except WorkerError:
    pass
"""
    # (A process of its own: nothing can interrupt such a loop.)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=TIMEOUT)


def test_offsets_outside_of_the_shared_memory_are_garbage():
    header = LAYOUT % (b'"<f8"', b"[2000]", b"null")
    for offset in [1, 100, 2**14, 2**14 - 4096, 2**31, 2**63, 2**64 - 4096, 2**64 - 1]:
        assert not read_whatever([head((1, [offset])), header], Blocks(2**14))


def test_a_block_that_is_sent_twice_is_garbage_and_nothing_is_held():
    memory = Blocks(2**15)
    header = LAYOUT % (b'"<f8"', b"[2000]", b"null")
    assert not read_whatever([head((2, [0, 0])), header], memory)
    assert memory.n_held == 0
    assert read_whatever([head((2, [0, 2**14])), header], memory)


def test_a_place_in_shared_memory_where_there_is_none_is_garbage():
    header = LAYOUT % (b'"<f8"', b"[2000]", b"null")
    assert not read_whatever([head((1, [0])), header])


def test_what_garbage_is_said_to_be():
    with pytest.raises(WorkerError, match="not a message of this library"):
        Unpacker().message([memoryview(b"GET / HTTP/1.1")])


def test_a_layout_that_was_refused_is_not_remembered():
    unpacker = Unpacker()
    for _ in range(2):
        with pytest.raises(WorkerError):
            unpacker.message(received([head((1, None)), b'[["x","|O",[],null]]', bytes(8)]))


def test_layouts_keep_apart_what_json_takes_for_the_same():
    assert Layout.parse(b'[["1","<f8",[],null],[1,"<f8",[],null]]').keys == ("1", 1)


def test_a_small_array_does_not_hold_on_to_the_large_one_beside_it():
    memory = Blocks()
    packer = Packer(memory)
    packer.add({"x": np.arange(2**13), "y": np.array(7)})
    (item,) = Unpacker(memory).message(received(packer.take())).items
    assert memory.n_held == 1
    del item["x"]
    assert memory.n_held == 0
    assert item["y"] == 7


@pytest.mark.parametrize("other", [True, 1.0])
def test_a_key_that_equals_the_last_one_is_looked_at_all_the_same(other):
    packer = Packer()
    packer.add({1: np.array(0)})
    with pytest.raises(DataError, match="item 1 of the stream: this key is of type"):
        packer.add({other: np.array(0)})
    assert Unpacker().message(received(packer.take())).n_items == 1
