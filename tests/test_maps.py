"""Maps: batches, tuples and caches made of the items of a stream."""

import collections
import copy
import datetime
import inspect
import itertools
import math
import pathlib
import re
import sys
import threading
import tracemalloc
import types
import warnings

import numpy as np
import pytest
from _cases import matrix, some
from _search import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse, stats

import pescador
from pescador import DataError, PescadorError, Streamer

RECORD = np.dtype([("when", "i2"), ("where", "f8", (2,)), ("who", "U3")])
PADDED = np.dtype([("flag", "?"), ("size", "f8")], align=True)
NUMBERS = ["?", "i1", "u2", "i8", ">i4", "f2", "f4", "f8", ">f8", "g", "c8", "c16"]
OTHERS = ["U5", "S4", "M8[s]", "m8[us]", "V3", RECORD, PADDED]
LAYOUTS = ["plain", "fortran", "strided", "reversed", "read-only", "unaligned", "repeated"]
SHAPES = [(), (3,), (0,), (3, 2), (2, 0), (0, 3), (1, 2, 3)]


# Values to put into items.


def filled(dtype, shape, seed):
    """Return an array of varied values."""
    dtype = np.dtype(dtype)
    if dtype.names:
        record = np.zeros(shape, dtype)
        for index, name in enumerate(dtype.names):
            field = dtype[name]
            record[name] = filled(field.base, (*shape, *field.shape), seed + index)
        return record
    rng = np.random.RandomState(seed)
    numbers = rng.randint(-100, 100, size=shape)
    if dtype.kind == "V":
        raw = rng.bytes(numbers.size * dtype.itemsize)
        return np.array(list(raw), dtype="u1").view(dtype).reshape(shape)
    if dtype.kind == "c":
        return np.asarray(numbers / 8 + 1j * numbers[..., ::-1] if shape else numbers / 8, dtype)
    if dtype.kind == "f":
        return np.where(numbers % 7 == 0, np.nan, numbers / 8).astype(dtype)
    if dtype.kind == "?":
        return np.asarray(numbers % 2, dtype)
    return np.asarray(abs(numbers) if dtype.kind == "u" else numbers).astype(dtype)


def laid_out(array, layout):
    """Return an array with the values of another, but not its place in memory."""
    if layout == "fortran":
        return np.array(array, order="F")
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
        return array
    if layout == "unaligned":
        room = np.zeros(array.nbytes + 1, "u1")[1:].view(array.dtype).reshape(array.shape)
        room[...] = array
        return room
    if layout == "strided" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if layout == "reversed" and array.ndim:
        return array[::-1].copy()[::-1]
    if layout == "repeated" and array.ndim:
        return np.broadcast_to(array[:1], array.shape)
    return array.copy()


# What batches should be.


def reference(items, size, partial=False, axis=None):
    """Make batches in the plainest way there is."""
    items = copy.deepcopy(items)
    groups = [items[start : start + size] for start in range(0, len(items), size)]
    if groups and len(groups[-1]) < size and not partial:
        groups.pop()
    return [
        {key: joined([item[key] for item in group], axis) for key in items[0]} for group in groups
    ]


def joined(values, axis):
    is_masked = any(isinstance(value, np.ma.MaskedArray) for value in values)
    arrays = [value if np.ma.isMA(value) else np.asarray(value) for value in values]
    module = np.ma if is_masked else np
    return module.stack(arrays) if axis is None else module.concatenate(arrays, axis=axis)


def native(dtype):
    return dtype.newbyteorder("=")


def assert_same(got, expected):
    """Compare two arrays in class, shape, dtype (but for byte order), values and mask."""
    assert type(got) is type(expected)
    assert (got.shape, native(got.dtype)) == (expected.shape, native(expected.dtype))
    if np.ma.isMA(expected):
        np.testing.assert_array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(expected))
        got, expected = got.filled(), expected.filled()
    for name in expected.dtype.names or ():
        assert_same(got[name], expected[name])
    if expected.dtype.names is None:
        np.testing.assert_array_equal(got, expected)


def assert_same_batches(got, expected):
    got = list(got)
    assert [list(batch) for batch in got] == [list(batch) for batch in expected]
    for batch, wanted in zip(got, expected):
        for key in wanted:
            assert_same(batch[key], wanted[key])


def assert_independent(batches, items):
    """Check that batches can be written to, and touch neither the items nor each other."""
    arrays = [array for batch in batches for array in batch.values()]
    others = [value for item in items for value in item.values()]
    for index, array in enumerate(arrays):
        assert array.flags.writeable
        for other in (*arrays[:index], *others):
            assert not (isinstance(other, np.ndarray) and np.may_share_memory(array, other))


def check_batches(items, size, partial, axis=None):
    expected = reference(items, size, partial, axis)
    before = copy.deepcopy(items)
    batches = list(pescador.buffer_stream(items, size, partial=partial, axis=axis))
    assert_same_batches(batches, expected)
    assert_independent(batches, items)
    for item, old in zip(items, before):
        assert repr(item) == repr(old)


# buffer_stream: values.


@matrix(
    cover=1,
    shape={str(each): each for each in SHAPES},
    dtype={str(np.dtype(each)): each for each in NUMBERS + OTHERS},
)
def test_batches_of_each_dtype(dtype, shape):
    items = [{"x": laid_out(filled(dtype, shape, 5 + n), LAYOUTS[n % 7])} for n in range(11)]
    check_batches(items, 4, True)


@pytest.mark.parametrize("dtype", NUMBERS + OTHERS, ids=lambda dtype: str(np.dtype(dtype)))
def test_batches_of_numpy_scalars(dtype):
    items = [{"x": filled(dtype, (), seed)[()]} for seed in range(7)]
    check_batches(items, 3, True)


@matrix(
    n_keys=[1, 2],
    excess=[-1, 0, 1],
    n_bytes=[2**10, 2**16],
    dtype={str(each): each for each in ["u1", "f8", ">f4", "M8[s]", RECORD]},
)
def test_batches_of_values_of_about_a_size(dtype, n_bytes, excess, n_keys):
    n_values = n_bytes // np.dtype(dtype).itemsize + excess
    items = [
        {key: filled(dtype, (n_values,), 10 * seed + key) for key in range(n_keys)}
        for seed in range(5)
    ]
    check_batches(items, 3, True)


# What makes the value of a key in item i, and one that is as large, but of another dtype.
OF_KEYS = {
    "flat": (lambda i: np.arange(i, i + 3.0), lambda i: np.arange(i, i + 3, dtype=np.int32)),
    "matrix": (lambda i: np.full((2, 3), i / 2), lambda i: np.full((2, 3), i, np.float32)),
    "number": (lambda i: np.float64(i / 3), lambda i: np.float32(i)),
    "float": (lambda i: i / 7, lambda i: np.float16(i)),
    "empty": (lambda i: np.zeros(0), lambda i: np.zeros(0, int)),
    "text": (lambda i: f"item {i}", lambda i: np.str_("another")),
}


@pytest.mark.parametrize("n_keys", range(1, len(OF_KEYS) + 1))
def test_an_item_unlike_the_others_is_copied_whole(n_keys):
    """Whichever of its values it is that differs: what was copied before it is not kept twice."""
    names = list(OF_KEYS)[:n_keys]
    for wrong in names:
        for at in (1, 4):
            items = [
                {name: OF_KEYS[name][name == wrong and i == at](i) for name in names}
                for i in range(8)
            ]
            (batch,) = pescador.buffer_stream(iter(items), 8)
            for name in names:
                expected = np.array([item[name] for item in items])
                np.testing.assert_array_equal(batch[name], expected, f"{wrong}, {at}, {name}")
                assert batch[name].dtype == expected.dtype


@pytest.mark.parametrize("length", [1, 100, 10**4])
def test_a_large_array_among_others_of_its_length_but_one(length):
    lengths = [length, length, length + 1, length]
    items = [{"x": np.full(n, place)} for place, n in enumerate(lengths)]
    check_batches(items, 4, True, axis=0)
    with pytest.raises(DataError, match="item 2"):
        next(pescador.buffer_stream(items, 4))


@pytest.mark.parametrize("n_bytes", [2**10, 2**16])
def test_a_batch_that_is_dropped_is_not_kept(n_bytes):
    """So that two of them are never there at a time."""
    items = itertools.repeat({"x": np.zeros(n_bytes, "u1")})
    batches = pescador.buffer_stream(items, 64)
    next(batches)
    tracemalloc.start()
    for _ in range(3):
        next(batches)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.6 * 64 * n_bytes


def test_no_memory_is_taken_for_a_batch_that_does_not_come():
    n_bytes = 2**16
    items = itertools.repeat({"x": np.zeros(n_bytes, "u1")}, 64)
    tracemalloc.start()
    (_,) = pescador.buffer_stream(items, 64)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.6 * 64 * n_bytes


def test_a_warning_of_a_map_below_names_the_line_of_the_user():
    def items(n):
        for _ in range(n):
            yield {"x": np.zeros(3)}

    too_few = Streamer(pescador.buffer_stream, Streamer(items, 2), 5)
    mux = pescador.ChainMux([Streamer(items, 3), too_few], mode="exhaustive")
    with pytest.warns(UserWarning, match="gave no batch") as caught:
        assert len(list(pescador.buffer_stream(mux, 3))) == 1
    assert [each.filename for each in caught] == [__file__]


def test_of_two_faults_in_a_batch_the_same_one_is_named():
    """Whether its items are alike or not."""
    first = {"a": np.bytes_(b"ab\0"), "b": "x\0"}
    for second in ({"a": np.bytes_(b"abc"), "b": "y"}, {"a": np.bytes_(b"abc"), "b": 1}):
        with pytest.raises(DataError, match="key 'b'"):
            next(pescador.buffer_stream([first, second], 2))


def test_batches_of_values_of_many_megabytes():
    n_bytes = 2**25 + 1
    items = [{"x": np.broadcast_to(np.uint8(n), (n_bytes,))} for n in range(3)]
    (batch,) = pescador.buffer_stream(items, 100, partial=True)
    assert batch["x"].shape == (3, n_bytes)
    assert all((row == n).all() for n, row in enumerate(batch["x"]))


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, 3, 4, 5],
        [True, False, True],
        [True, 2, 3.5, 4j],
        [0.5, float("nan"), float("inf")],
        ["a", "", "a longer text", "é"],
        [b"a", b"", b"longer"],
        [np.str_(""), np.str_("abc"), np.str_("de")],
        [np.bytes_(b"ab"), np.bytes_(b""), np.bytes_(b"cde")],
        ["a", np.str_("bcd"), np.array("ef")],
        [1, np.int8(2), np.float32(0.5), np.array(3.0), True],
        [np.float64(1), 2, np.array(3, "f4"), np.complex64(1j)],
        [np.array([1, 2]), [3, 4], (5, 6), np.array([0.5, 1])],
        [[1, 2], [3.5, 4], np.array([5, 6], "i1"), (True, False)],
        [[[1], [2]], np.ones((2, 1)), ([3], (4,))],
        [np.array([1, 2], "u1"), np.array([-300, 2], "i2"), np.array([1, 2], "f4")],
        [np.array([1, 2], ">i4"), np.array([1, 2], "<i4"), np.array([1, 2], "i4")],
        [np.array(["a", "bc"]), np.array(["defg", "h"]), ["ij", "k"]],
        [np.array([b"a"]), np.array([b"bcd"]), [b"e"]],
        [np.datetime64("2020-01-01", "D"), np.datetime64("2021-01-01T01", "h")],
        [np.array(["2020"], "M8[Y]"), np.array(["2021-02"], "M8[M]")],
        [np.array([], "i4"), [], np.array([], "f4")],
        [2**62, 2**63 - 1],
        [2**63, 2**64 - 1],
        [2**53, 0.5],
        [range(3), np.arange(3), [4, 5, 6]],
    ],
    ids=lambda values: repr(values[:3])[:60],
)
@pytest.mark.parametrize(
    "others",
    some({"alone": [], "one": [1], "array": [np.zeros(3)], "large": [0.5, np.zeros(9000)]}, 1),
)
def test_batches_of_values_that_change_in_kind(values, others):
    before, after = ({f"{place} {n}": x for n, x in enumerate(others)} for place in "<>")
    items = [{**before, "x": value, **after} for value in values]
    check_batches(items, len(items), False)
    check_batches(items[::-1], 2, True)
    check_batches(items * 3, len(items) + 1, True)


@pytest.mark.parametrize("beside", [{}, {"y": [1]}, {"y": 1}], ids=["alone", "list", "number"])
@pytest.mark.parametrize("dtype", [">i4", "<i4", ">f8", ">U3", np.dtype([("a", ">i2")])], ids=str)
def test_batches_have_the_byte_order_of_the_machine(dtype, beside):
    values = [np.zeros(3, dtype), np.zeros(3, dtype)]
    (batch,) = pescador.buffer_stream([{"x": value, **beside} for value in values], 2)
    assert batch["x"].dtype == np.stack(values).dtype


class Duck:
    """What can be made into an array, of a buffer of its own."""

    def __init__(self, buffer):
        self.buffer = buffer
        self.shape, self.dtype = buffer.shape, buffer.dtype

    def __array__(self, dtype=None, copy=None):
        return self.buffer.copy() if copy else self.buffer


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("beside", [{}, {"y": np.zeros(2)}], ids=["alone", "two keys"])
@pytest.mark.parametrize("n_arrays", [0, 2])
def test_values_that_can_be_made_into_arrays(axis, beside, n_arrays):
    buffer = np.zeros(3)

    def source():
        for n in range(4):
            buffer[:] = n
            yield {"x": buffer if n < n_arrays else Duck(buffer), **beside}

    (batch,) = pescador.buffer_stream(source(), 4, axis=axis)
    assert batch["x"].ravel().tolist() == np.repeat([0.0, 1, 2, 3], 3).tolist()


def test_rows_of_a_memory_mapped_file(tmp_path):
    expected = filled("f4", (7, 5), 0)
    np.save(tmp_path / "rows.npy", expected)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    batches = list(pescador.buffer_stream(({"x": row} for row in rows), 3, partial=True))
    assert_same(np.concatenate([batch["x"] for batch in batches]), expected)
    assert_independent(batches, [{"x": rows}])


# buffer_stream: items with several keys, at random.

SEEDS = st.integers(0, 10**6)
SMALL_SHAPES = st.one_of(st.sampled_from(SHAPES), st.sampled_from([(130,), (50, 3), (8200,)]))


@st.composite
def arrays_alike(draw, n_items):
    dtype, shape = draw(st.sampled_from(NUMBERS + OTHERS)), draw(SMALL_SHAPES)
    return [
        laid_out(filled(dtype, shape, draw(SEEDS)), draw(st.sampled_from(LAYOUTS)))
        for _ in range(n_items)
    ]


@st.composite
def arrays_of_numbers(draw, n_items):
    shape = draw(SMALL_SHAPES)
    return [filled(draw(st.sampled_from(NUMBERS)), shape, draw(SEEDS)) for _ in range(n_items)]


def columns(values):
    return lambda n_items: st.lists(values, min_size=n_items, max_size=n_items)


PYTHON_NUMBERS = st.one_of(
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(width=32),
    st.complex_numbers(allow_nan=False, max_magnitude=1e6),
)
NUMPY_NUMBERS = st.builds(
    lambda kind, seed: filled(kind, (), seed)[()], st.sampled_from(NUMBERS), SEEDS
)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=900), max_size=6)


@st.composite
def changing_kinds(draw, n_items):
    """The same shape as an array, a list, a tuple or (where it has no axes) a scalar."""
    shape = draw(st.sampled_from([(), (2,), (2, 3)]))
    kinds = [np.asarray, lambda array: array.tolist()]
    kinds += [tuple] if shape else [lambda array: array[()]]
    values = []
    for _ in range(n_items):
        array = filled(draw(st.sampled_from(["i2", "f4", "?", "f8"])), shape, draw(SEEDS))
        values.append(draw(st.sampled_from(kinds))(array))
    return values


@st.composite
def partly_masked(draw, n_items):
    shape = draw(st.sampled_from([(3,), (2, 2), (0,), (300,)]))
    values = []
    for _ in range(n_items):
        array = filled(draw(st.sampled_from(["i4", "f8"])), shape, draw(SEEDS))
        how = draw(st.sampled_from(["no mask", "masked", "plain", "list"]))
        if how == "masked":
            array = np.ma.array(array, mask=filled("?", shape, draw(SEEDS)))
        elif how == "no mask":
            array = np.ma.array(array)
        values.append(array.tolist() if how == "list" and 0 not in shape else array)
    return values


COLUMNS = [
    arrays_alike,
    arrays_of_numbers,
    changing_kinds,
    partly_masked,
    columns(PYTHON_NUMBERS),
    columns(st.integers(-5, 5)),
    columns(st.one_of(PYTHON_NUMBERS, NUMPY_NUMBERS)),
    columns(TEXT),
    columns(TEXT.map(lambda text: np.array([text, ""]))),
    columns(st.binary(max_size=4).map(lambda value: value.rstrip(b"\0"))),
]


@st.composite
def dicts_alike(draw):
    n_items = draw(st.integers(1, 9))
    table = {
        f"key {index}": draw(draw(st.sampled_from(COLUMNS))(n_items))
        for index in range(draw(st.integers(1, 4)))
    }
    return [{key: values[n] for key, values in table.items()} for n in range(n_items)]


@pytest.mark.filterwarnings("ignore:buffer_stream gave no batch")
@examples(200)
@given(dicts_alike(), st.integers(1, 6), st.booleans())
def test_batches_of_any_dicts(items, size, partial):
    check_batches(items, size, partial)


@st.composite
def arrays_to_concatenate(draw):
    """Dicts of arrays that agree in all axes but one, and that axis."""
    n_dims = draw(st.integers(1, 3))
    axis = draw(st.integers(-n_dims, n_dims - 1))
    lengths = st.just(draw(st.integers(1, 3))) if draw(st.booleans()) else st.integers(0, 4)
    keys = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True))
    sides = {key: draw(st.sampled_from([1, 2, 35])) for key in keys}
    kinds = {key: draw(st.sampled_from([["f8"], ["i2"], NUMBERS, ["U2", "U9"]])) for key in keys}
    items = []
    for _ in range(draw(st.integers(1, 7))):
        item = {}
        for key in keys:
            shape = [sides[key]] * n_dims
            shape[axis] = draw(lengths)
            array = filled(draw(st.sampled_from(kinds[key])), tuple(shape), draw(SEEDS))
            item[key] = laid_out(array, draw(st.sampled_from(LAYOUTS)))
        items.append(item)
    return items, axis


@pytest.mark.filterwarnings("ignore:buffer_stream gave no batch")
@examples(200)
@given(arrays_to_concatenate(), st.integers(1, 5), st.booleans())
def test_batches_concatenated_along_any_axis(items_and_axis, size, partial):
    items, axis = items_and_axis
    check_batches(items, size, partial, axis)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(2, 0), (0, 3), (0, 0), (3, 0, 2)], ids=str)
def test_arrays_without_elements_are_concatenated(shape, axis):
    check_batches([{"x": np.zeros(shape)} for _ in range(5)], 2, True, axis)


@pytest.mark.parametrize("axis", [0, 0.0, np.int64(0), -1])
def test_axis_zero_joins_batches(axis):
    items = [{"x": np.arange(n), "y": [n] * n} for n in (2, 2, 3)]
    (batch,) = pescador.buffer_stream(items, 3, axis=axis)
    assert batch["x"].tolist() == [0, 1, 0, 1, 0, 1, 2]
    assert batch["y"].tolist() == [2, 2, 2, 2, 3, 3, 3]


def test_rebuffering_batches_gives_the_larger_batches():
    items = [{"x": np.array([n, -n]), "y": n} for n in range(12)]
    twice = pescador.buffer_stream(pescador.buffer_stream(items, 3), 2, axis=0)
    assert_same_batches(twice, reference(items, 6))


# buffer_stream: masks.

HIDDEN = [np.ma.array(2.0, mask=True), np.ma.masked]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("kind", [float, np.float64, np.array])
@pytest.mark.parametrize("hidden", HIDDEN, ids=["0-d", "constant"])
def test_a_masked_scalar_stays_masked_among_scalars(hidden, kind, place):
    values = [kind(1.5), kind(2.5)]
    values.insert(place, hidden)
    (batch,) = pescador.buffer_stream([{"x": value} for value in values], 3)
    assert np.ma.getmaskarray(batch["x"]).tolist() == [n == place for n in range(3)]
    assert batch["x"].compressed().tolist() == [1.5, 2.5]


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("beside", [{}, {"y": np.zeros((1, 1))}], ids=["alone", "two keys"])
@pytest.mark.parametrize("place", [0, 1, 3, 4, 6])
@pytest.mark.parametrize("length", [2, 9000])
def test_one_masked_array_among_plain_ones(length, place, beside, axis):
    values = [np.full((1, length), float(n)) for n in range(7)]
    values[place] = np.ma.array(values[place], mask=np.arange(length)[np.newaxis] == 1)
    check_batches([{"x": value, **beside} for value in values], 4, True, axis)


@pytest.mark.parametrize("axis", [None, 0])
def test_masks_are_copied_from_a_reused_buffer(axis):
    def source():
        buffer = np.ma.array(np.zeros(2), mask=[False, False])
        for n in range(4):
            buffer.mask[:] = [n % 2, False]
            buffer.data[:] = n
            yield {"x": buffer}

    (batch,) = pescador.buffer_stream(source(), 4, axis=axis)
    masks = [[False, False], [True, False]] * 2
    assert np.ma.getmaskarray(batch["x"]).reshape(4, 2).tolist() == masks
    assert batch["x"].data.reshape(4, 2)[:, 1].tolist() == [0, 1, 2, 3]


def test_masks_of_structured_arrays():
    dtype = [("a", int), ("b", float)]
    value = np.ma.array([(1, 2.5)], dtype=dtype, mask=[(True, False)])
    (batch,) = pescador.buffer_stream([{"x": value}] * 2, 2)
    assert batch["x"].mask.tolist() == [[(True, False)]] * 2


# buffer_stream: how many batches, of how many items.


@pytest.mark.filterwarnings("ignore:buffer_stream gave no batch")
@pytest.mark.parametrize("n_items", range(10))
@pytest.mark.parametrize("size", [1, 2, 3, 9, 10])
@pytest.mark.parametrize("partial", [False, True])
def test_batch_sizes(n_items, size, partial):
    n_full, n_left = divmod(n_items, size)
    expected = [size] * n_full + [n_left] * (partial and n_left > 0)
    batches = pescador.buffer_stream([{"x": 0}] * n_items, size, partial=partial)
    assert [len(batch["x"]) for batch in batches] == expected


@pytest.mark.parametrize("size", [4, 4.0, np.int8(4), np.uint64(4), np.float32(4)])
@pytest.mark.parametrize("partial", [True, 1, np.True_])
def test_whole_numbers_of_any_type_are_sizes(size, partial):
    batches = pescador.buffer_stream([{"x": 0}] * 6, size, partial)
    assert [len(batch["x"]) for batch in batches] == [4, 2]


@pytest.mark.parametrize("size", [10**9, 10**12, 1e30], ids=str)
@pytest.mark.parametrize("n_values", [0, 1, 2000])
def test_a_size_beyond_all_bounds_gathers_the_whole_stream(size, n_values):
    items = [{"x": np.full(n_values, n)} for n in range(3)]
    batches = list(pescador.buffer_stream(items, size, partial=True))
    assert_same_batches(batches, reference(items, 3))


def test_dicts_without_keys_are_counted_too():
    assert list(pescador.buffer_stream([{}] * 5, 2, partial=True)) == [{}, {}, {}]


def test_keys_may_be_anything_that_hashes():
    items = [{0: n, ("a", 1): -n, None: 2 * n} for n in range(2)]
    check_batches(items, 2, False)


def test_values_are_found_by_key_not_by_order():
    items = [{"x": 1, "y": 2}, {"y": 4, "x": 3}, {"y": 6, "x": 5}, {"x": 7, "y": 8}]
    (batch,) = pescador.buffer_stream(items, 4)
    assert batch["x"].tolist() == [1, 3, 5, 7]
    assert batch["y"].tolist() == [2, 4, 6, 8]


@pytest.mark.parametrize(
    "mapping",
    [collections.OrderedDict, collections.UserDict, types.MappingProxyType, dict],
)
def test_any_mapping_is_an_item(mapping):
    items = [mapping({"x": [n, n], "y": n}) for n in range(3)]
    plain = [{"x": [n, n], "y": n} for n in range(3)]
    assert_same_batches(pescador.buffer_stream(items, 3), reference(plain, 3))
    assert list(pescador.tuples(items, "y")) == [(0,), (1,), (2,)]


# buffer_stream: the source may reuse what it yields.

REUSED = {
    "0-d": lambda: {"x": np.zeros(())},
    "small": lambda: {"x": np.zeros(3)},
    "large": lambda: {"x": np.zeros(400)},
    "larger": lambda: {"x": np.zeros(9000)},
    "byte order": lambda: {"x": np.zeros(2, ">i4")},
    "list": lambda: {"x": [0, 0]},
    "nested list": lambda: {"x": [[0], [0]]},
    "Fortran order": lambda: {"x": np.zeros((3, 2), order="F")},
    "several": lambda: {"x": np.zeros(2), "y": np.zeros(400), "z": [0]},
    "with a number": lambda: {"x": np.zeros(2), "n": 7},
    "with a list": lambda: {"x": np.zeros(400), "z": [0]},
}


def refill(value, number):
    if isinstance(value, np.ndarray):
        value[...] = number
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            if isinstance(inner, list):
                refill(inner, number)
            else:
                value[index] = number


def refilled(make, n_items):
    """Yield one and the same dict again and again, with its arrays and lists filled anew."""
    item = make()
    for number in range(n_items):
        for value in item.values():
            refill(value, number)
        yield item


def each_afresh(make, n_items):
    return [copy.deepcopy(item) for item in refilled(make, n_items)]


WITH_AXES = [kind for kind in REUSED if kind not in ("0-d", "with a number")]


@pytest.mark.parametrize(
    "kind, axis", [*((kind, None) for kind in REUSED), *((kind, 0) for kind in WITH_AXES)]
)
def test_reused_buffers(kind, axis):
    make = REUSED[kind]
    batches = pescador.buffer_stream(refilled(make, 10), 4, partial=True, axis=axis)
    assert_same_batches(batches, reference(each_afresh(make, 10), 4, True, axis))


def test_reused_buffers_in_a_mux():
    streamers = [Streamer(refilled, REUSED["several"], n) for n in (5, 6, 7)]
    mux = pescador.RoundRobinMux(streamers)
    expected = reference([copy.deepcopy(item) for item in mux], 4, True)
    assert_same_batches(pescador.buffer_stream(mux, 4, partial=True), expected)


@pytest.mark.parametrize("kind", REUSED)
def test_writing_into_a_batch_changes_nothing_else(kind):
    items = each_afresh(REUSED[kind], 9)
    before = copy.deepcopy(items)
    batches = pescador.buffer_stream(items, 3)
    for index, (batch, expected) in enumerate(zip(batches, reference(before, 3))):
        assert_same_batches([batch], [expected])
        for array in batch.values():
            array[...] = -1 - index
    assert repr(items) == repr(before)


# buffer_stream: malformed items.

GOOD_ITEMS = {
    "array": lambda n: {"x": np.full(2, n)},
    "large array": lambda n: {"x": np.full(400, n)},
    "arrays": lambda n: {"x": np.full(2, n), "y": np.full(400, n)},
    "numbers": lambda n: {"x": n, "y": n + 0.5},
    "number and array": lambda n: {"x": n, "y": np.full(2, n)},
    "lists": lambda n: {"x": [n], "y": [n, n]},
    "changing": lambda n: {"x": n if n % 2 else np.array(n), "y": [n]},
}
POSITIONS = [1, 3, 4, 6, 8, 9]  # of ten items in batches of four
N_ITEMS, SIZE = 10, 4


def with_fault(good, bad, position, n_items=N_ITEMS):
    return [bad if n == position else good(n) for n in range(n_items)]


def assert_refused(items, position, key=None, partial=True, axis=None, size=SIZE):
    """Check that the batches before the faulty item come, and then an error that names it."""
    batches = pescador.buffer_stream(items, size, partial=partial, axis=axis)
    for _ in range(position // size):
        next(batches)
    with pytest.raises(DataError, match=rf"\bitem {position}\b") as caught:
        next(batches)
    assert isinstance(caught.value.__cause__, Exception)
    assert key is None or repr(key) in str(caught.value)
    with pytest.raises(StopIteration):
        next(batches)


@pytest.mark.parametrize("good", GOOD_ITEMS)
@pytest.mark.parametrize("bad", [None, 3, "xy", (1, 2), [("x", 1)], np.zeros(2), {"x"}], ids=repr)
def test_an_item_that_is_not_a_mapping(bad, good):
    for position, partial in itertools.product([0, *POSITIONS], [False, True]):
        assert_refused(with_fault(GOOD_ITEMS[good], bad, position), position, partial=partial)


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("good", GOOD_ITEMS)
def test_a_missing_key(good, position, partial):
    bad = GOOD_ITEMS[good](position)
    key, _ = bad.popitem()
    items = with_fault(GOOD_ITEMS[good], bad, position)
    assert_refused(items, position, key, partial)


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("good", GOOD_ITEMS)
def test_an_additional_key(good, position, partial):
    bad = {"more": 1, **GOOD_ITEMS[good](position)}
    items = with_fault(GOOD_ITEMS[good], bad, position)
    assert_refused(items, position, "more", partial)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("good", GOOD_ITEMS)
def test_a_renamed_key(good, position):
    bad = GOOD_ITEMS[good](position)
    bad["x renamed"] = bad.pop("x")
    assert_refused(with_fault(GOOD_ITEMS[good], bad, position), position, "x")


def test_the_first_item_says_what_the_keys_are():
    items = [{"x": 1}, {"x": 1, "y": 2}, {"x": 1, "y": 2}]
    assert_refused(items, 1, "y")


def test_a_missing_key_is_not_conjured_up_by_a_defaultdict():
    bad = collections.defaultdict(int, x=1)
    assert_refused([{"x": 1, "y": 2}, bad], 1, "y")
    assert list(bad) == ["x"]


MISFITS = {
    "length": (np.zeros(3), np.zeros(2)),
    "length of large arrays": (np.zeros(300), np.zeros(301)),
    "large and small": (np.zeros(300), np.zeros(3)),
    "axes": (np.zeros(3), np.zeros((3, 1))),
    "same size": (np.zeros((2, 3)), np.zeros((3, 2))),
    "would broadcast": (np.zeros((400, 1)), np.zeros((1, 1))),
    "number among arrays": (np.zeros(3), 0.0),
    "array among numbers": (1.5, np.zeros(1)),
    "list among numbers": (1.5, [1.5]),
    "empty list": ([1.5], []),
    "list of another length": ([1, 2], [1, 2, 3]),
    "list of another depth": ([1, 2], [[1], [2]]),
    "text among numbers": (1.5, "a"),
    "number among texts": ("a", 1.5),
    "text among arrays": (np.array(1.5), np.array("a")),
    "texts among arrays of numbers": (np.zeros(2), np.array(["a", "b"])),
    "list of text among numbers": (np.zeros(2), ["a", "b"]),
    "bytes among numbers": (1, b"a"),
    "NumPy text among numbers": (np.float32(1), np.str_("a")),
    "dates among arrays of numbers": (np.zeros(1), np.zeros(1, "M8[s]")),
    "records among arrays": (np.zeros(2), np.zeros(2, PADDED)),
}


@pytest.mark.parametrize("beside", [{}, {"y": 1}, {"y": [1]}], ids=["alone", "number", "list"])
@pytest.mark.parametrize("name", MISFITS)
def test_a_value_that_does_not_fit_the_others(name, beside):
    good, bad = MISFITS[name]
    for position in [0, *POSITIONS]:
        items = with_fault(lambda n: {**beside, "key": good}, {**beside, "key": bad}, position)
        # Whatever comes first in a batch is what the others have to fit to.
        named = position + 1 if position % SIZE == 0 else position
        assert_refused(items, named, "key")


SCALAR_MISFITS = {
    "bytes that are not ASCII among texts": ("a", b"\xff"),
    "dates among numbers": (1.5, np.datetime64("2020-01-01")),
    "numbers among dates": (np.datetime64("2020-01-01"), 1.5),
    "records among numbers": (1.5, np.zeros((), PADDED)[()]),
    "numbers among records": (np.zeros((), PADDED)[()], 1.5),
}


@pytest.mark.parametrize("position", [0, 3, 6, 9])
@pytest.mark.parametrize("name", SCALAR_MISFITS)
def test_scalars_that_have_no_common_type(name, position):
    good, bad = SCALAR_MISFITS[name]
    items = with_fault(lambda n: {"key": good}, {"key": bad}, position)
    assert_refused(items, position or 1, "key")


@pytest.mark.parametrize("position", [0, *POSITIONS])
@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("good", [np.zeros((2, 1)), [[1], [2]], np.zeros((400, 1))], ids=np.size)
def test_a_ragged_list(good, axis, position):
    items = with_fault(lambda n: {"key": good}, {"key": [[1], [2, 3]]}, position)
    assert_refused(items, position, "key", axis=axis)


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("ragged", [[[1], [2, 3]], [[1], 2], [np.zeros(1), np.zeros(2)]], ids=repr)
def test_lists_that_are_all_ragged_alike(ragged, axis):
    assert_refused([{"key": ragged}] * 4, 0, "key", axis=axis)


@pytest.mark.parametrize("position", [0, *POSITIONS])
@pytest.mark.parametrize("bad", [1.5, np.float64(1), np.array(2), "text"], ids=repr)
@pytest.mark.parametrize("axis", [0, -1])
def test_a_value_without_axes_among_arrays_to_concatenate(axis, bad, position):
    items = with_fault(lambda n: {"key": np.zeros(2)}, {"key": bad}, position)
    assert_refused(items, position, "key", axis=axis)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("axis, shape", [(0, (3, 3)), (1, (3, 2)), (-1, (3, 2)), (-2, (1, 1))])
def test_shapes_that_differ_off_the_axis(axis, shape, position):
    items = with_fault(lambda n: {"key": np.zeros((2, 2))}, {"key": np.zeros(shape)}, position)
    named = position + 1 if position % SIZE == 0 else position
    assert_refused(items, named, "key", axis=axis)


@pytest.mark.parametrize("axis", [1, 2, -2, 30, -64])
@pytest.mark.parametrize("value", [np.zeros(2), [1, 2], np.zeros(400)], ids=np.size)
@pytest.mark.parametrize("n_items", [1, 4])
def test_an_axis_that_the_values_do_not_have(axis, value, n_items):
    assert_refused([{"key": value}] * n_items, 0, "key", axis=axis)


@pytest.mark.parametrize("n_items, position", [(8, 4), (5, 4), (10, 8)])
def test_values_that_come_to_lack_the_axis(n_items, position):
    items = [{"key": np.zeros(2 if n >= position else (2, 2))} for n in range(n_items)]
    assert_refused(items, position, "key", axis=1)


def test_shapes_may_differ_from_batch_to_batch():
    items = [{"x": np.zeros(n // 2)} for n in range(6)]
    check_batches(items, 2, False)


def test_an_error_names_the_value_the_rule_and_the_remedy():
    with pytest.raises(DataError, match=r"^value=array\(.*\): .*; give .*shape$"):
        list(pescador.buffer_stream([{"x": np.zeros(2)}, {"x": np.zeros(3)}], 2))


# buffer_stream: streams that are shorter than a batch.


def few(n_items=20):
    return [{"x": n} for n in range(n_items)]


FEW = {
    "a list": lambda: pescador.buffer_stream(few(), 32),
    "a streamer": lambda: pescador.buffer_stream(Streamer(few()), 32),
    "in a streamer": lambda: Streamer(pescador.buffer_stream, Streamer(few()), 32),
    "in passes": lambda: Streamer(pescador.buffer_stream, Streamer(few()), 32).cycle(),
    "in a mux": lambda: pescador.ShuffledMux([Streamer(pescador.buffer_stream, few(), 32)] * 9),
    "in a mux of lengths": lambda: pescador.ChainMux(
        [Streamer(pescador.buffer_stream, few(20 + n), 32) for n in (0, 3, 1, 2)]
    ),
    "before others": lambda: pescador.tuples(pescador.buffer_stream(few(), 32), "x"),
    "joined": lambda: pescador.buffer_stream([{"x": [n]} for n in range(20)], 32, axis=0),
}


def loop(stream):
    number = 0
    for number, _ in enumerate(stream):  # noqa: B007
        pass
    return number


@pytest.mark.parametrize("loop", [list, loop, lambda stream: next(stream, None)])
@pytest.mark.parametrize("make", FEW.values(), ids=FEW)
def test_a_stream_without_a_full_batch_is_told_once_at_the_line_of_the_user(make, loop):
    stream = iter(make())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert not loop(stream)
    (warning,) = caught
    assert warning.category is UserWarning
    assert warning.filename == __file__
    text = "buffer_stream gave no batch: the stream has 20 items, fewer than buffer_size=32; give"
    assert str(warning.message).startswith(
        f"{text} partial=True to get them as one smaller batch ("
    )


def test_a_stream_without_a_full_batch_is_told_with_its_number_of_items():
    with pytest.warns(UserWarning, match="the stream has 1 item, fewer than buffer_size=2"):
        assert not list(pescador.buffer_stream(few(1), 2))


def test_it_is_told_once_however_many_passes_and_how_long_they_are():
    with pytest.warns(UserWarning) as caught:
        for n_items in (3, 3, 4):
            assert not list(pescador.buffer_stream(few(n_items), 5))
    assert len(caught) == 1


def test_the_warning_tells_how_to_silence_it():
    with pytest.warns(UserWarning) as caught:
        list(pescador.buffer_stream(few(), 32))
    (call,) = re.findall(r"to silence this: (.*)\)$", str(caught[0].message))
    with warnings.catch_warnings():
        eval(call)
        assert not list(pescador.buffer_stream(few(), 32))


def test_a_warning_that_is_an_error_is_one_every_time():
    for _ in range(2):
        with pytest.raises(UserWarning, match="gave no batch"):
            list(pescador.buffer_stream(few(), 32))


@pytest.mark.parametrize("n_items, size, partial", [(0, 3, False), (3, 3, False), (2, 3, True)])
def test_no_warning_where_nothing_is_lost(n_items, size, partial):
    list(pescador.buffer_stream(few(n_items), size, partial))
    Streamer(pescador.buffer_stream, Streamer(few()), 32).iterate().close()


def test_a_tail_that_is_left_out_is_no_warning():
    assert len(list(pescador.buffer_stream(few(5), 3))) == 1


@pytest.mark.parametrize("n_before, n_items", [(1, 7), (2, 9)])
def test_a_stream_that_goes_on_is_not_taken_for_a_short_one(n_before, n_items):
    streamer = Streamer(pescador.buffer_stream, Streamer(few(n_items)), 4)
    stream = streamer.iterate()
    for _ in range(n_before):
        next(stream)
    assert not list(streamer.resume(stream.state_dict()))


def test_a_stream_that_begins_again_from_a_state_is_told_as_any_other():
    streamer = Streamer(pescador.buffer_stream, Streamer(few()), 32)
    with pytest.warns(UserWarning, match="the stream has 20 items"):
        assert not list(streamer.resume(streamer.iterate().state_dict()))


def test_a_stream_of_which_a_part_has_been_read_is_told_by_what_is_left():
    stream = Streamer(few(40)).iterate()
    assert len(list(itertools.islice(stream, 35))) == 35
    with pytest.warns(UserWarning, match="the stream has 5 items"):
        assert not list(pescador.buffer_stream(stream, 32))


def test_an_item_that_does_not_fit_has_its_number_after_resuming_too():
    items = [*few(5), {"x": "text"}, *few(2)]
    streamer = Streamer(pescador.buffer_stream, Streamer(items), 4)
    stream = streamer.iterate()
    next(stream)
    with pytest.raises(DataError, match="item 5 of the stream"):
        list(streamer.resume(stream.state_dict()))


# buffer_stream: values that no batch holds as they are.

NOT_HELD = {
    "bytes": (b"\1\1\0\0", "bytes", "NumPy drops null characters at the end"),
    "zero bytes": (b"\0", "bytes", "NumPy drops null characters at the end"),
    "text": ("a\0", "str", "NumPy drops null characters at the end"),
    "NumPy bytes": (np.bytes_(b"a\0"), "bytes_", "NumPy drops null characters at the end"),
    "NumPy text": (np.str_("a\0"), "str_", "NumPy drops null characters at the end"),
    "bytes in a list": ([b"ab", b"a\0"], "list", "NumPy drops null characters at the end"),
    "text in a nested list": ([["ab"], ("a\0",)], "list", "NumPy drops null characters at the end"),
    "text and numbers in a list": (["a", 1], "list", "text and numbers cannot be in one array"),
    "text and bytes in a list": (["a", b"b"], "list", "text and bytes cannot be in one array"),
    "a large number in a list": ([2**62 + 1, 0.5], "list", "int64 .* float64, which changes"),
    "both sides of 2**63 in a list": ([2**63, 1], "list", "uint64 and int64 become float64"),
    "both sides of 2**63 in two lists": ([[1], [2**63]], "list", "int64 and uint64 become float64"),
    "too large": (2**64, "int", "NumPy has no integers of more than 64 bits"),
    "too low": (-(2**63) - 1, "int", "NumPy has no integers of more than 64 bits"),
    "None": (None, "NoneType", "dtype object holds Python objects"),
    "dict": ({"a": 1}, "dict", "dtype object holds Python objects"),
    "set": ({1, 2}, "set", "dtype object holds Python objects"),
    "path": (pathlib.PurePosixPath("a"), r"pathlib\S*PurePosixPath", "holds Python objects"),
    "datetime": (datetime.datetime(2020, 1, 1), "datetime.datetime", "holds Python objects"),
    "sparse row": (sparse.csr_matrix([[0, 1]]), "scipy.sparse.*csr_matrix of shape", "Python obj"),
    "generator": ((n for n in "ab"), "generator", "dtype object holds Python objects"),
    "list with None": ([1, None], "list", "dtype object holds Python objects"),
    "objects": (np.array([1, "a"], dtype=object), "ndarray of shape", "holds Python objects"),
    "records of objects": (np.zeros(2, [("a", object)]), "ndarray of shape", "Python objects"),
}


# What may come before those, if not a number.
NOT_HELD_BEFORE = dict.fromkeys(NOT_HELD, 5) | {
    "bytes": b"a",
    "zero bytes": b"",
    "text": "a",
    "NumPy bytes": np.bytes_(b"ab"),
    "NumPy text": np.str_("ab"),
}


@pytest.mark.parametrize("beside", [{}, {"y": 1}, {"y": [1]}], ids=["alone", "number", "list"])
@pytest.mark.parametrize("name", NOT_HELD)
def test_a_value_that_no_batch_holds(name, beside):
    value, kind, why = NOT_HELD[name]
    rule = rf"item 3 of the stream, key 'key': {kind}.* cannot be part of a batch \(.*{why}.*\);"
    for before, n_after in itertools.product([NOT_HELD_BEFORE.get(name), value], [0, 2]):
        items = [{"key": before, **beside}] * 3 + [{"key": value, **beside}] * (1 + n_after)
        number = 0 if before is value else 3
        with pytest.raises(DataError, match=rule.replace("3", str(number), 1)):
            list(pescador.buffer_stream(items, 4, partial=True))


@pytest.mark.parametrize("name", ["bytes in a list", "list with None", "objects", "sparse row"])
def test_a_value_that_no_batch_holds_is_not_joined_either(name):
    with pytest.raises(DataError, match=r"item 0 .* cannot be part of a batch"):
        list(pescador.buffer_stream([{"key": NOT_HELD[name][0]}], 1, axis=0))


# buffer_stream: values that joining would alter.

TOGETHER = {
    "ids": (np.int64(5), np.uint64(6), "int64 and uint64 become float64, which rounds"),
    "arrays of ids": (np.ones(3, "u8"), np.ones(3, "i1"), "uint64 and int8 become float64"),
    "Python's integers": (1, 2**63, "int64 and uint64 become float64"),
    "negative ones": (2**63, -1, "uint64 and int64 become float64"),
    "Python's and NumPy's": (1, np.uint64(1), "int64 and uint64 become float64"),
    "lists of ids": ([1, 2], [2**63, 2**63], "int64 and uint64 become float64"),
    "fields of records": (
        np.zeros(3, [("id", "i8"), ("x", "f4")]),
        np.zeros(3, [("id", "u8"), ("x", "f4")]),
        "int64 and uint64 become float64",
    ),
    "text and bytes": ("a", b"a", "text and bytes cannot be in one array"),
    "text and numbers": (1, "a", "text and numbers cannot be in one array"),
    "truth and text": (np.array([True]), np.array(["a"]), "text and numbers cannot be"),
    "durations and numbers": (np.timedelta64(5, "s"), 5, "numbers and durations cannot be in one"),
    "times and durations": (np.datetime64(5, "s"), np.timedelta64(5, "s"), "times and durations"),
}


@pytest.mark.parametrize("beside", [{}, {"y": 1}, {"y": [1]}], ids=["alone", "number", "list"])
@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("name", TOGETHER)
def test_values_that_joining_would_alter(name, axis, beside):
    first, other, why = TOGETHER[name]
    if axis is not None:
        first, other = np.atleast_1d(first), np.atleast_1d(other)
        beside = {key: np.atleast_1d(value) for key, value in beside.items()}
    for position in (1, 3, 5):
        items = [{"key": other if n == position else first, **beside} for n in range(7)]
        with pytest.raises(DataError, match=rf"item {position} .* 'key': .*\({why}.*same dtype"):
            list(pescador.buffer_stream(items, 4, partial=True, axis=axis))


INTEGERS = [name for name, values in TOGETHER.items() if np.asarray(values[0]).dtype.kind in "iu"]


@pytest.mark.parametrize("name", [name for name in INTEGERS if "uint64" in TOGETHER[name][2]])
def test_integers_of_two_kinds_are_refused_in_whichever_batch_they_come(name):
    """Else chance decides which dtypes come, and whether any values are altered."""
    first, other, why = TOGETHER[name]
    items = [{"key": first}] * 4 + [{"key": other}] * 4
    batches = pescador.buffer_stream(items, 4)
    next(batches)
    with pytest.raises(DataError, match=rf"item 4 .* 'key': .*\({why}"):
        next(batches)


@pytest.mark.parametrize(
    "values, wrong",
    [
        ([0.5, 2**53 + 1], 1),
        ([2**53 + 1, 1j], 0),
        ([np.array([0.5]), np.array([2**62 + 1])], 1),
        ([[2**53, 2**53 + 1], [0.5, 0.5]], 0),
        ([np.array(["2000"], "M8[ns]"), np.array(["3000"], "M8[Y]")], 1),
    ],
    ids=repr,
)
def test_a_value_that_another_dtype_would_alter(values, wrong):
    for items in ([{"x": value} for value in values], [{"x": v, "y": [1]} for v in values]):
        with pytest.raises(
            DataError, match=rf"item {wrong} .* which changes its values.*same dtype"
        ):
            list(pescador.buffer_stream(items, 2))


def test_what_a_mask_hides_is_not_altered():
    hidden = np.ma.array([1, 2**62 + 1], mask=[False, True])
    (batch,) = pescador.buffer_stream([{"x": hidden}, {"x": np.array([0.5, 1.5])}], 2)
    assert batch["x"].tolist() == [[1, None], [0.5, 1.5]]


BEHIND = {
    "keras_tuples": lambda s: pescador.keras_tuples(pescador.buffer_stream(s, 2), "x"),
    "a cache": lambda s: pescador.cache(pescador.buffer_stream(s, 2), 1),
    "a streamer": lambda s: Streamer(pescador.buffer_stream, Streamer(s), 2),
    "a mux": lambda s: pescador.ShuffledMux([Streamer(pescador.buffer_stream, Streamer(s), 2)]),
    "a buffer of a cache": lambda s: pescador.buffer_stream(pescador.cache(s, 2), 2),
    "a process": lambda s: pescador.ZMQStreamer(Streamer(pescador.buffer_stream, Streamer(s), 2)),
}


@pytest.mark.parametrize("make", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("values", [[b"a", b"a\0"], [np.int64(1), np.uint64(1)], [1, {}]], ids=repr)
def test_a_value_that_no_batch_holds_is_refused_behind_others_too(make, values):
    with pytest.raises(DataError, match="item 1 of the stream, key 'x'"):
        list(itertools.islice(make([{"x": value} for value in values]), 2))


def test_an_error_of_a_value_s_own_class_is_told_with_its_place():
    class Tensor:
        def __array__(self, *args, **kwargs):
            raise RuntimeError("it is on another device")

    with pytest.raises(DataError, match=r"item 1 .*Tensor cannot be .*on another device") as caught:
        list(pescador.buffer_stream([{"x": 1}, {"x": Tensor()}], 2))
    assert type(caught.value.__cause__) is RuntimeError


# Errors that are not about the items stay what they are.

FOREIGN = [TypeError, ValueError, AttributeError, KeyError, IndexError, ZeroDivisionError]
FOREIGN += [KeyboardInterrupt, DataError]


def failing(position, error, good):
    for n in range(position):
        yield good(n)
    raise error


def on(*args, **kwargs):
    """Return a maker of maps with these arguments."""
    name, *args = args
    return lambda stream: getattr(pescador, name)(stream, *args, **kwargs)


MAPS = {
    "buffer_stream": on("buffer_stream", 1),
    "buffer_stream of 2": on("buffer_stream", 2, partial=True),
    "buffer_stream, axis": on("buffer_stream", 2, partial=True, axis=0),
    "tuples": on("tuples", "x"),
    "tuples of 2": on("tuples", "x", "x"),
    "keras_tuples": on("keras_tuples", "x"),
    "cache": on("cache", 2, prob=1.0),
    "two maps": lambda stream: pescador.tuples(pescador.buffer_stream(stream, 2), "x"),
}
each_map = pytest.mark.parametrize("make", MAPS.values(), ids=MAPS)


@each_map
@pytest.mark.parametrize("error", FOREIGN)
def test_errors_of_the_source_pass_through(make, error):
    goods = (lambda n: {"x": np.zeros(2)}, lambda n: {"x": [n]})
    for position, good in itertools.product([0, 1, 4], goods):
        raised = error("of the source")
        with pytest.raises(error) as caught:
            list(make(failing(position, raised, good)))
        assert caught.value is raised


@each_map
@pytest.mark.parametrize("error", FOREIGN)
def test_errors_thrown_by_the_reader_come_back(make, error):
    def passing_on():
        yield from make([{"x": [0]}] * 10)

    stream = passing_on()
    next(stream)
    thrown = error("of the reader")
    with pytest.raises(error) as caught:
        stream.throw(thrown)
    assert caught.value is thrown


# Arguments are checked when a map is called.

BAD_SIZES = [None, 0, -1, 2.5, math.nan, math.inf, "3", True, [3], 3 + 0j, np.array([3])]
BAD_STREAMS = [None, 3, 2.5, "text", b"bytes", {"x": 1}, object(), len, np.array(1)]


@pytest.mark.parametrize("size", BAD_SIZES, ids=repr)
def test_sizes_that_are_not_whole_positive_numbers(size):
    with pytest.raises(PescadorError, match=r"^buffer_size="):
        pescador.buffer_stream([], size)
    with pytest.raises(PescadorError, match=r"^n_cache="):
        pescador.cache([], size)


@pytest.mark.parametrize("partial", [None, "yes", 2, 0.5, math.nan, []], ids=repr)
def test_partial_must_be_true_or_false(partial):
    with pytest.raises(PescadorError, match=r"^partial="):
        pescador.buffer_stream([], 2, partial)


@pytest.mark.parametrize("axis", [0.5, "0", True, math.nan, math.inf, (0,), -1000], ids=repr)
def test_axis_must_be_a_whole_number(axis):
    with pytest.raises(PescadorError, match=r"^axis="):
        pescador.buffer_stream([], 2, axis=axis)


@each_map
@pytest.mark.parametrize("stream", BAD_STREAMS, ids=lambda stream: type(stream).__name__)
def test_what_cannot_be_a_stream_of_items(make, stream):
    with pytest.raises(PescadorError, match=r"^stream="):
        make(stream)


@each_map
def test_a_generator_function_must_be_called_first(make):
    with pytest.raises(PescadorError, match=r"^stream="):
        make(refilled)


def test_tuples_need_keys():
    with pytest.raises(PescadorError, match="keys"):
        pescador.tuples([{"x": 1}])


def test_keras_tuples_need_inputs_or_outputs():
    for arguments in [(), (None,), (None, None), (None, None, "w")]:
        with pytest.raises(PescadorError, match="inputs and outputs"):
            pescador.keras_tuples([], *arguments)


@pytest.mark.parametrize("keys", [3, b"x", [1], ["x", None], {"x"}, {"x": 1}, True, 0], ids=repr)
@pytest.mark.parametrize("name", ["inputs", "outputs", "weights"])
def test_keras_tuples_need_strings_as_keys(name, keys):
    arguments = {"inputs": "x", "outputs": "y", name: keys}
    with pytest.raises(PescadorError, match=rf"^{name}="):
        pescador.keras_tuples([], **arguments)


@pytest.mark.parametrize(
    "prob", [0, 0.0, np.int8(0), -0.1, 1.1, None, "0.5", math.nan, math.inf, True, [0.5]], ids=repr
)
def test_cache_needs_a_probability(prob):
    with pytest.raises(PescadorError, match=r"^prob="):
        pescador.cache([], 2, prob)


@pytest.mark.parametrize("random_state", [-1, 0.5, "seed", True, [1, 2], np.random], ids=str)
def test_cache_needs_a_source_of_randomness(random_state):
    with pytest.raises(PescadorError, match=r"^random_state="):
        pescador.cache([], 2, random_state=random_state)


@pytest.mark.parametrize("name", ["buffer_stream", "tuples", "keras_tuples", "cache"])
def test_arguments_that_a_map_does_not_have(name):
    with pytest.raises(TypeError, match=f"{name}\\(\\)"):
        getattr(pescador, name)()
    with pytest.raises(TypeError, match="unexpected"):
        getattr(pescador, name)([], "x", unexpected=1)


@pytest.mark.parametrize(
    "make, arguments",
    [
        (pescador.buffer_stream, {"buffer_size": 0}),
        (pescador.tuples, {}),
        (pescador.keras_tuples, {}),
        (pescador.cache, {"n_cache": 0}),
    ],
)
def test_a_streamer_of_a_map_checks_its_arguments_too(make, arguments):
    with pytest.raises(PescadorError):
        list(Streamer(make, Streamer("ab"), **arguments))


@pytest.mark.parametrize(
    "name, expected",
    [
        ("buffer_stream", "(stream, buffer_size, partial=False, axis=None)"),
        ("tuples", "(stream, *keys)"),
        ("keras_tuples", "(stream, inputs=None, outputs=None, weights=None)"),
        ("cache", "(stream, n_cache, prob=0.5, random_state=None)"),
    ],
)
def test_signatures(name, expected):
    signature = inspect.signature(getattr(pescador, name))
    plain = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    assert str(inspect.Signature(plain)) == expected


# Maps are iterators.


def taken(stream, n_items):
    return list(itertools.islice(stream, n_items))


def numbered(n_items, log=None):
    log = [] if log is None else log
    log.append("open")
    try:
        for n in range(n_items):
            log.append(n)
            yield {"x": np.full(2, n)}
    finally:
        log.append("closed")


@each_map
def test_maps_return_iterators(make):
    mapped = make(numbered(6))
    assert isinstance(mapped, collections.abc.Iterator)
    first = next(mapped)
    assert 2 <= len([first, *mapped]) <= 6
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(mapped)


@each_map
def test_loops_over_one_map_share_its_items(make):
    mapped, whole = make(numbered(6)), list(make(numbered(6)))
    firsts = taken(mapped, 1)
    assert repr([*firsts, *mapped]) == repr(whole)


@each_map
def test_an_empty_stream_gives_nothing(make):
    assert list(make([])) == []
    assert list(make(iter(()))) == []


@each_map
def test_nothing_is_read_before_the_first_item(make):
    log = []
    streamer = Streamer(numbered, 6, log)
    mapped = make(streamer)
    assert (log, streamer.active) == ([], 0)
    next(mapped)
    assert log[:2] == ["open", 0]
    assert streamer.active == 1


@each_map
@pytest.mark.parametrize("n_read", [0, 1, 2])
def test_closing_a_map_closes_the_streamer_it_started(make, n_read):
    log = []
    streamer = Streamer(numbered, 6, log)
    mapped = make(streamer)
    for _ in range(n_read):
        next(mapped)
    mapped.close()
    assert log[-1:] == ["closed"] * bool(n_read)
    assert streamer.active == 0
    mapped.close()
    with pytest.raises(StopIteration):
        next(mapped)
    assert log.count("open") == log.count("closed") == bool(n_read)


@each_map
def test_a_with_block_closes_a_map(make):
    log = []
    with pytest.raises(ZeroDivisionError):
        with make(Streamer(numbered, 6, log)) as mapped:
            next(mapped)
            raise ZeroDivisionError
    assert log[-1] == "closed"
    assert list(mapped) == []


@each_map
def test_breaking_out_of_a_loop_closes_the_streamer(make):
    log = []
    for _ in make(Streamer(numbered, 6, log)):
        break
    assert log[-1] == "closed"


@each_map
def test_a_failure_closes_the_streamer(make):
    log = []

    def source():
        yield from numbered(3, log)
        raise ZeroDivisionError

    streamer = Streamer(source)
    with pytest.raises(ZeroDivisionError) as caught:
        list(make(streamer))
    assert caught.tb is not None
    assert (log[-1], streamer.active) == ("closed", 0)


@pytest.mark.parametrize(
    "make", [on("buffer_stream", 2), on("tuples", "x"), on("keras_tuples", "x")]
)
def test_a_malformed_item_closes_the_streamer(make):
    log = []

    def source():
        with numbered_log(log):
            yield {"x": 1}
            yield "malformed"
            yield {"x": 2}

    with pytest.raises(DataError) as caught:
        list(make(Streamer(source)))
    assert caught.tb is not None
    assert log == ["open", "closed"]


class numbered_log:  # noqa: N801 - a function in all but syntax
    def __init__(self, log):
        self.log = log

    def __enter__(self):
        self.log.append("open")

    def __exit__(self, *exc):
        self.log.append("closed")


@each_map
def test_a_generator_of_the_caller_stays_open(make):
    source = numbered(12)
    mapped = make(source)
    next(mapped)
    n_read = (
        2
        if make in (MAPS["two maps"], MAPS["buffer_stream of 2"], MAPS["buffer_stream, axis"])
        else 1
    )
    mapped.close()
    assert next(source)["x"].tolist() == [n_read, n_read]


@each_map
def test_a_stream_of_the_caller_stays_open(make):
    streamer = Streamer(numbered, 12)
    with streamer.iterate() as stream:
        mapped = make(stream)
        next(mapped)
        mapped.close()
        assert streamer.active == 1
        assert next(stream)["x"][0] in (1, 2)
    assert streamer.active == 0


def test_a_map_of_the_caller_stays_open():
    batches = pescador.buffer_stream(Streamer(numbered, 12), 2)
    with pescador.tuples(batches, "x") as mapped:
        assert next(mapped)[0].tolist() == [[0, 0], [1, 1]]
    assert next(batches)["x"].tolist() == [[2, 2], [3, 3]]


class Counting:
    """An iterator that counts what is taken from it."""

    def __init__(self, n_items=10**6):
        self.n_items = n_items
        self.n_pulled = 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.n_pulled == self.n_items:
            raise StopIteration
        self.n_pulled += 1
        return {"x": self.n_pulled - 1, "y": [self.n_pulled]}


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("partial", [False, True])
def test_a_batch_takes_exactly_its_items(size, partial):
    source = Counting()
    batches = pescador.buffer_stream(source, size, partial=partial)
    assert source.n_pulled == 0
    for n_batches in range(1, 5):
        next(batches)
        assert source.n_pulled == n_batches * size


@pytest.mark.parametrize(
    "make", [on("tuples", "x"), on("keras_tuples", "x"), on("cache", 3, prob=1)]
)
def test_other_maps_take_an_item_for_an_item(make):
    source = Counting()
    mapped = make(source)
    for n_items in range(1, 8):
        next(mapped)
        assert source.n_pulled == n_items


# What maps can read.


class Sequence:
    """An old-style sequence: no ``__iter__``."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(index)
        return {"x": index}


def five():
    return [{"x": n} for n in range(5)]


SOURCES = {
    "list": five,
    "tuple": lambda: tuple(five()),
    "deque": lambda: collections.deque(five()),
    "object array": lambda: np.array(five()),
    "sequence": Sequence,
    "generator": lambda: (item for item in five()),
    "streamer": lambda: Streamer(five()),
    "stream": lambda: Streamer(five()).iterate(),
    "limited stream": lambda: Streamer(five()).cycle(5),
    "map": lambda: pescador.cache(five(), 2, prob=1),
    "stochastic": lambda: pescador.StochasticMux([five()], 1, None, mode="exhaustive"),
    "shuffled": lambda: pescador.ShuffledMux([five()]).iterate(5),
    "round robin": lambda: pescador.RoundRobinMux([five()[::2], five()[1::2]]),
    "chain": lambda: pescador.ChainMux([five()[:2], [], five()[2:]]),
    "mux of muxes": lambda: pescador.ChainMux([pescador.RoundRobinMux([five()])]),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_maps_read_any_iterable(source):
    batches = pescador.buffer_stream(source(), 2, partial=True)
    assert [batch["x"].tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
    assert list(pescador.tuples(source(), "x")) == [(n,) for n in range(5)]
    assert list(pescador.keras_tuples(source(), "x")) == [(n, None) for n in range(5)]
    assert list(pescador.cache(source(), 3, prob=1)) == five()


def test_a_streamer_of_a_map_starts_again():
    mux = pescador.ChainMux([Streamer(numbered, 6), Streamer(numbered, 4)])
    streamer = Streamer(pescador.buffer_stream, mux, buffer_size=4, partial=True)
    for _ in range(3):
        assert [batch["x"][0, 0] for batch in streamer] == [0, 4, 2]
        assert (mux.active, streamer.active) == (0, 0)
    assert [len(batch["x"]) for batch in streamer.cycle(5)] == [4, 4, 2, 4, 4]


def test_a_streamer_of_each_map_starts_again():
    source = Streamer(numbered, 6)
    for make, arguments in [
        (pescador.tuples, ["x"]),
        (pescador.keras_tuples, ["x"]),
        (pescador.cache, [3, 1.0]),
    ]:
        streamer = Streamer(make, source, *arguments)
        assert len(list(streamer)) == len(list(streamer)) == 6
        assert source.active == 0


def test_streamers_of_maps_go_into_muxes():
    sources = [Streamer(numbered, n) for n in (4, 6)]
    batched = [Streamer(pescador.buffer_stream, source, 2) for source in sources]
    mux = pescador.StochasticMux(batched, 2, rate=None, mode="exhaustive", random_state=4)
    firsts = sorted(batch["x"][0, 0] for batch in mux)
    assert firsts == [0, 0, 2, 2, 4]


# Several threads.


@pytest.fixture
def hasty_threads():
    """Switch threads as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def run_threads(target, n_threads=4):
    errors = []

    def guarded():
        try:
            target()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert errors == []


def items_for_training(n_items):
    for n in range(n_items):
        yield {"x": np.full(3, n), "y": sum([n] * 3) // 3}


@pytest.mark.parametrize("how", ["next", "for"])
def test_threads_share_one_map(hasty_threads, how):
    n_items = 6000
    mux = pescador.RoundRobinMux([Streamer(items_for_training, n_items // 3)] * 3)
    batches = pescador.buffer_stream(mux, 2)
    shared = pescador.keras_tuples(batches, inputs="x", outputs="y")
    seen = []

    def read():
        items = iter(lambda: next(shared, None), None) if how == "next" else shared
        for x, y in items:
            assert (x == y[:, np.newaxis]).all()
            seen.extend(y.tolist())

    run_threads(read)
    assert sorted(seen) == sorted(list(range(n_items // 3)) * 3)
    assert mux.active == 0


@each_map
def test_closing_in_one_thread_ends_the_map_in_the_others(hasty_threads, make):
    mapped = make(itertools.repeat({"x": np.zeros(1)}))
    started = threading.Barrier(4)

    def read():
        next(mapped)
        if started.wait(timeout=30) == 0:
            mapped.close()
        for _ in mapped:
            pass

    run_threads(read)
    with pytest.raises(StopIteration):
        next(mapped)


@each_map
def test_an_error_reaches_one_of_the_threads(hasty_threads, make):
    def source():
        yield from [{"x": np.zeros(1)}] * 2000
        raise ValueError("of the source")

    mapped, caught = make(source()), []

    def read():
        try:
            while next(mapped, None) is not None:
                pass
        except ValueError as error:
            caught.append(str(error))

    run_threads(read)
    assert caught == ["of the source"]


@each_map
def test_a_source_that_reads_its_own_map(make):
    def source():
        yield {"x": np.zeros(1)}
        yield next(mapped)

    mapped = make(source())
    with pytest.raises(ValueError, match="already executing"):
        list(mapped)


# tuples and keras_tuples.


def test_tuples_follow_the_order_of_the_keys():
    items = [{"a": 1, "b": 2, "c": 3}, {"c": 6, "b": 5, "a": 4}]
    assert list(pescador.tuples(items, "c", "a")) == [(3, 1), (6, 4)]
    assert list(pescador.tuples(items, "b")) == [(2,), (5,)]
    assert list(pescador.tuples(items, "b", "b", "a")) == [(2, 2, 1), (5, 5, 4)]


def test_tuples_hold_the_values_themselves():
    value = np.zeros(3)
    assert next(pescador.tuples([{"x": value}], "x"))[0] is value


@pytest.mark.parametrize("keys", [(0,), (0, ("a", 1)), (None, 0)])
def test_tuples_take_keys_of_any_type(keys):
    item = {0: "zero", ("a", 1): "pair", None: "none"}
    assert list(pescador.tuples([item], *keys)) == [tuple(item[key] for key in keys)]


PICKERS = {
    "tuples": on("tuples", "x"),
    "tuples of 2": on("tuples", "y", "x"),
    "keras_tuples": on("keras_tuples", "x"),
    "keras_tuples of 2": on("keras_tuples", ["y", "x"], "y"),
    "keras_tuples, outputs": on("keras_tuples", outputs=["x"]),
    "keras_tuples, weights": on("keras_tuples", "y", weights="x"),
}
each_picker = pytest.mark.parametrize("make", PICKERS.values(), ids=PICKERS)


@each_picker
@pytest.mark.parametrize("position", [0, 2])
def test_an_absent_key_is_a_key_error(make, position):
    items = [{"x": 1, "y": 2}] * position + [{"y": 2}]
    mapped = make(items)
    for _ in range(position):
        next(mapped)
    with pytest.raises(KeyError, match="'x'"):
        next(mapped)


@each_picker
@pytest.mark.parametrize("bad", ["xy", (1, 2), [1, 2], None, 3, np.zeros(3)], ids=repr)
@pytest.mark.parametrize("position", [0, 2])
def test_picking_from_what_is_not_a_mapping(make, bad, position):
    mapped = make([{"x": 1, "y": 2}] * position + [bad])
    for _ in range(position):
        next(mapped)
    with pytest.raises(DataError, match=rf"\bitem {position}\b") as caught:
        next(mapped)
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({"inputs": "x"}, (1, None)),
        ({"outputs": "y"}, (None, 2)),
        ({"inputs": "x", "outputs": "y"}, (1, 2)),
        ({"inputs": ["x"], "outputs": "y"}, ([1], 2)),
        ({"inputs": ("x",), "outputs": "y"}, ([1], 2)),
        ({"inputs": "x", "outputs": ("y",)}, (1, [2])),
        ({"inputs": ("x", "y"), "outputs": ["z"]}, ([1, 2], [3])),
        ({"inputs": ["x", "y"]}, ([1, 2], None)),
        ({"outputs": ["z", "x"]}, (None, [3, 1])),
        ({"inputs": "x", "outputs": "y", "weights": "z"}, (1, 2, 3)),
        ({"inputs": "x", "outputs": "y", "weights": ("z", "x")}, (1, 2, [3, 1])),
        ({"inputs": "x", "weights": "z"}, (1, None, 3)),
        ({"inputs": "long"}, (4, None)),
        ({"inputs": [], "outputs": "y"}, ([], 2)),
        ({"inputs": "x", "outputs": (), "weights": []}, (1, [], [])),
        ({"inputs": []}, ([], None)),
    ],
    ids=str,
)
def test_keras_tuples(arguments, expected):
    batch = {"x": 1, "y": 2, "z": 3, "long": 4}
    assert list(pescador.keras_tuples([batch] * 2, **arguments)) == [expected] * 2


def test_keras_tuples_take_their_arguments_in_order():
    batch = {"x": 1, "y": 2, "w": 3}
    assert list(pescador.keras_tuples([batch], "x", "y", "w")) == [(1, 2, 3)]


# cache.


@pytest.mark.parametrize("n_cache", [1, 3, 10, 3.0, np.int16(3)])
@pytest.mark.parametrize("prob", [1e-300, 0.3, 1])
def test_the_first_items_pass_through_the_cache(n_cache, prob):
    source = iter(range(100))
    cached = pescador.cache(source, n_cache, prob, random_state=0)
    assert taken(cached, int(n_cache)) == list(range(int(n_cache)))
    assert next(source) == n_cache


@pytest.mark.parametrize("n_items", [0, 1, 3, 4, 50])
@pytest.mark.parametrize("prob", [1, 1.0, np.float32(1)])
def test_with_probability_one_all_items_are_new(n_items, prob):
    assert list(pescador.cache(range(n_items), 3, prob)) == list(range(n_items))


@pytest.mark.parametrize("n_items", [0, 1, 4])
@pytest.mark.parametrize("prob", [1e-300, 0.1, 0.9, 1])
@pytest.mark.parametrize("seed", range(3))
def test_a_stream_too_short_to_fill_the_cache_just_passes_through(n_items, prob, seed):
    cached = pescador.cache(range(n_items), 5, prob, random_state=seed)
    assert taken(cached, n_items + 10) == list(range(n_items))


def test_with_hardly_any_probability_the_source_is_read_no_further():
    source = Counting()
    cached = pescador.cache(source, 4, 1e-300, random_state=1)
    places = [item["x"] for item in taken(cached, 2000)]
    assert source.n_pulled == 4
    assert stats.chisquare(np.bincount(places[4:], minlength=4)).pvalue > 1e-6


@pytest.mark.parametrize("prob", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("n_cache", [1, 20])
def test_the_fraction_of_new_items(prob, n_cache):
    n_items = 5000
    source = Counting()
    taken(pescador.cache(source, n_cache, prob, random_state=2), n_cache + n_items)
    n_new = source.n_pulled - n_cache
    assert stats.binomtest(n_new, n_items, prob).pvalue > 1e-6


def test_every_new_item_comes_once_as_such_and_in_order():
    seen = taken(pescador.cache(itertools.count(), 5, random_state=3), 500)
    assert list(dict.fromkeys(seen)) == list(range(max(seen) + 1))
    assert max(seen) > 100


@pytest.mark.parametrize("n_cache", some([1, 2, 8]))
def test_no_more_items_are_kept_than_asked_for(n_cache):
    seen = taken(pescador.cache(itertools.count(), n_cache, 0.2, random_state=4), 2000)
    last = {value: index for index, value in enumerate(seen)}
    first = {value: seen.index(value) for value in last}
    repeated = [value for value in last if last[value] > first[value]]
    # An item is kept from its first to its last appearance, at least.
    n_kept = [sum(first[v] <= index < last[v] for v in repeated) for index in range(len(seen))]
    assert max(n_kept) == n_cache


def test_a_new_item_replaces_a_random_one():
    n_cache = 5
    seen = taken(pescador.cache(itertools.count(), n_cache, 0.3, random_state=5), 4000)
    newest, ages = -1, []
    for value in seen:
        newest = max(newest, value)
        ages.append(newest - value)
    assert max(ages) > 2 * n_cache  # not always the oldest
    assert min(seen[2000:]) >= n_cache  # none for ever
    # The age of a cached item, in new items since, is geometric with ratio 1 - 1 / n_cache.
    again = [age for new, age in zip(np.diff(np.maximum.accumulate(seen)), ages[1:]) if not new]
    late = np.array(again[len(again) // 10 :])
    assert abs(late.mean() - (n_cache - 1)) < 1


def test_the_cache_ends_when_a_new_item_is_due_and_there_is_none():
    lengths = [len(list(pescador.cache(range(10), 3, 0.5, random_state=s))) for s in range(20)]
    assert min(lengths) >= 10
    assert len(set(lengths)) > 3


MUTABLE = {
    "arrays": lambda n: {"x": np.full(2, n), "y": np.full((2, 2), n)},
    "lists": lambda n: {"x": [n, n], "y": [[n], [n]]},
    "objects": lambda n: {"x": np.array([n, [n]], dtype=object)},
    "masked": lambda n: {"x": np.ma.array([n, n], mask=[False, False])},
    "mapping in a mapping": lambda n: {"deep": {"x": np.full(2, n)}},
    "tuple": lambda n: (np.full(2, n), [n]),
    "array": lambda n: np.full(2, n),
    "list": lambda n: [n, n],
}


def spoil(value):
    """Overwrite all that can be overwritten."""
    if isinstance(value, dict):
        for inner in value.values():
            spoil(inner)
        value["spoilt"] = True
    elif isinstance(value, tuple):
        for inner in value:
            spoil(inner)
    elif isinstance(value, np.ndarray):
        for inner in value.ravel() if value.dtype == object else ():
            spoil(inner)
        value[...] = -99
    elif isinstance(value, list):
        for inner in value:
            spoil(inner)
        value[:] = [-99]


@pytest.mark.parametrize("make", MUTABLE.values(), ids=MUTABLE)
def test_spoiling_what_came_spoils_nothing_to_come(make):
    def source():
        return (make(n) for n in range(30))

    plain = list(map(repr, pescador.cache(source(), 4, 0.3, random_state=6)))
    assert len(plain) > len(set(plain))  # some come from the cache
    spoilt = []
    for item in pescador.cache(source(), 4, 0.3, random_state=6):
        spoilt.append(repr(item))
        spoil(item)
    assert spoilt == plain


def test_two_items_from_the_cache_share_no_memory():
    items = taken(pescador.cache([{"x": np.zeros(3)}], 1, 1e-300), 5)
    for one, other in itertools.combinations(items, 2):
        assert one is not other
        assert not np.shares_memory(one["x"], other["x"])


@pytest.mark.parametrize("kind", REUSED)
def test_the_cache_keeps_what_a_reused_buffer_held(kind):
    make = REUSED[kind]
    reused = pescador.cache(refilled(make, 40), 4, 0.3, random_state=7)
    fresh = list(map(repr, pescador.cache(each_afresh(make, 40), 4, 0.3, random_state=7)))
    assert [repr(item) for item in reused] == fresh
    assert len(fresh) > len(set(fresh))


@pytest.mark.parametrize("make", [list, iter, Streamer, np.array, lambda items: (n for n in items)])
def test_the_cache_reads_any_iterable(make):
    expected = list(pescador.cache(range(50), 5, random_state=8))
    assert list(pescador.cache(make(range(50)), 5, random_state=8)) == expected


def test_a_streamer_of_a_cache():
    source = Streamer(range, 50)
    streamer = Streamer(pescador.cache, source, 5)
    for _ in range(2):
        seen = list(streamer)
        assert list(dict.fromkeys(seen)) == list(range(50))
        assert len(seen) > 50
    assert taken(streamer.iterate(5), 9) == list(range(5))


def cached_numbers(random_state):
    return list(pescador.cache(range(100), 5, random_state=random_state))


@pytest.mark.parametrize("seed", [9, np.int64(9), np.uint8(9), np.random.SeedSequence(9)], ids=repr)
def test_a_seed_names_one_sequence(seed):
    assert cached_numbers(seed) == cached_numbers(seed)


def test_a_seed_is_the_same_in_any_integer_type():
    assert cached_numbers(9) == cached_numbers(np.int64(9)) != cached_numbers(10)


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_a_generator_of_random_numbers_advances(make):
    rng, twin = make(10), make(10)
    runs = [cached_numbers(rng) for _ in range(3)]
    assert runs == [cached_numbers(twin) for _ in range(3)]
    assert runs[0] != runs[1] != runs[2] != runs[0]


@pytest.fixture
def global_state():
    """Put back the state of NumPy's global generator."""
    state = np.random.get_state()
    yield
    np.random.set_state(state)


def test_without_a_seed_the_global_one_counts(global_state):
    np.random.seed(11)
    runs = [cached_numbers(None) for _ in range(2)]
    np.random.seed(11)
    assert [cached_numbers(None) for _ in range(2)] == runs
    assert runs[0] != runs[1]
    np.random.seed(12)
    assert cached_numbers(None) != runs[0]


def test_a_seeded_cache_leaves_the_global_generator_alone(global_state):
    np.random.seed(13)
    expected = np.random.RandomState(13).random_sample(3).tolist()
    cached_numbers(0)
    cached_numbers(np.random.RandomState(0))
    assert np.random.random_sample(3).tolist() == expected
