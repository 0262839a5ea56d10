"""What an item looks like: its keys, and the dtype, shape and memory order of their values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from .. import _validate
from .._repr import is_streamer
from ..exceptions import DataError

_ALIGNMENT = 64  # of arrays in shared memory
_SCALARS = (np.generic, bool, int, float, complex, str, bytes)
MIX_FIRST = (
    "mix them first: ZMQStreamer(StochasticMux(streamers, n_active, rate)), or chain them:"
    " ZMQStreamer(ChainMux(streamers))"
)
_REMEDY = "give NumPy arrays, or scalars that NumPy can hold"
_MOST_BITS = 4096  # of a key: Python does not write down much larger numbers
_BUFFERS = "?biufcSU"  # kinds of dtypes
# Bytes that are copied while no other thread works, for a millisecond. (NumPy copies more than
# that, and lets others work meanwhile.)
_MOST_AT_ONCE = 2**22
_ENCODING = ("utf-8", "surrogatepass")  # any string can be a key
_SIMPLE = re.compile(r"[<>|][biufcmMSUV]\d+(\[\w+\])?")  # the dtypes that NumPy itself has


class Field(NamedTuple):
    """What is known of the values of one key."""

    key: str | int
    dtype: np.dtype
    shape: tuple[int, ...]  # as stored, in C order
    axes: tuple[int, ...] | None  # the transposition that makes the stored array of the given one
    back: tuple[int, ...] | None  # the one that undoes it
    n_bytes: int

    def stored(self, array: ndarray) -> ndarray:
        """Return the array with its axes in the order in which they are stored."""
        return array if self.axes is None else array.transpose(self.axes)

    def given(self, array: ndarray) -> ndarray:
        """Undo `stored`."""
        return array if self.back is None else array.transpose(self.back)


class Layout:
    """The keys of an item, and the form of their values."""

    def __init__(self, fields: Sequence[Field], header: bytes) -> None:
        self.fields = fields
        self.header = header
        self.keys = tuple(field.key for field in fields)
        self.n_bytes = sum(field.n_bytes for field in fields)
        # whether the arrays themselves can be written, as they lie in memory
        self.is_plain = all(field.axes is None and field.dtype.kind not in "Mm" for field in fields)
        types = [*map(type, self.keys)]
        self.types = types if int in types else None  # where 1 and True could be confused
        self.offsets = []  # of the values, in a block of shared memory
        self.block_size = 0
        for field in fields:
            self.offsets.append(self.block_size)
            self.block_size += -(-field.n_bytes // _ALIGNMENT) * _ALIGNMENT
        # Of each value in such a block: where it begins, its dtype and shape; if all are buffers,
        # that can be copied at once.
        self.places: list = []
        is_buffer = self.is_plain and all(field.dtype.kind in _BUFFERS for field in fields)
        if is_buffer and self.n_bytes <= _MOST_AT_ONCE:
            rows = zip(self.offsets, fields)
            self.places = [(start, field.dtype, field.shape) for start, field in rows]

    @classmethod
    def of(cls, forms: tuple) -> Layout:
        """Make a layout of (key, dtype, shape, axes) for each key.

        `NotPortable` is raised for a dtype that another process would not have.
        """
        fields = [_field(*form) for form in forms]
        described = [[each.key, _portable(each), each.shape, each.axes] for each in fields]
        return cls(fields, json.dumps(described, ensure_ascii=False).encode(*_ENCODING))

    @classmethod
    def parse(cls, header: bytes) -> Layout:
        """Read what the other side has written; whatever is wrong with it is a ValueError."""
        try:
            forms = json.loads(header.decode(*_ENCODING))
            fields = [
                _field(_key(key), _dtype(description), tuple(shape), axes)
                for key, description, shape, axes in forms
            ]
            layout = cls(fields, header)
            if len(set(layout.keys)) != len(fields):
                raise ValueError("a key comes twice")
        except Exception as error:  # of NumPy's or json's, of any type
            raise ValueError(f"a layout that cannot be read ({type(error).__name__})") from error
        return layout


class NotPortable(Exception):
    """A dtype cannot be told to another process. Its arguments: the key, and why."""


def _field(key: Any, dtype: np.dtype, shape: tuple, axes: Sequence | None) -> Field:
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"shape={shape}")
    n_bytes = math.prod(shape) * dtype.itemsize
    if axes is None:
        return Field(key, dtype, shape, None, None, n_bytes)
    if sorted(axes) != list(range(len(shape))):
        raise ValueError(f"axes={axes}")
    back = tuple(sorted(range(len(shape)), key=axes.__getitem__))
    return Field(key, dtype, shape, tuple(axes), back, n_bytes)


def _key(key: Any) -> str | int:
    if type(key) not in (str, int):
        raise TypeError(f"key={key!r}")
    return key


# A dtype as JSON: a string, or a list that begins with the word for what follows.


def _portable(field: Field) -> Any:
    """Return the description of a field's dtype, once it is known to give the dtype back."""
    description = _described(field.dtype)
    try:
        again = _dtype(json.loads(json.dumps(description)))
        if again != field.dtype:
            raise TypeError(f"dtype {field.dtype} would arrive as dtype {again}")
    except (TypeError, ValueError, RecursionError) as error:
        raise NotPortable(field.key, error) from error
    return description


def _described(dtype: np.dtype) -> Any:
    """Return ``dtype`` as lists and strings; metadata are left out."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["array", _described(base), shape]
    if dtype.names is None:
        return dtype.str
    assert dtype.fields is not None
    fields = [dtype.fields[name] for name in dtype.names]
    formats = [_described(field[0]) for field in fields]
    titles = [field[2] if len(field) > 2 else None for field in fields]
    offsets = [field[1] for field in fields]
    return ["fields", dtype.names, formats, offsets, titles, dtype.itemsize, dtype.isalignedstruct]


def _dtype(description: Any) -> np.dtype:
    if isinstance(description, str):
        if not _SIMPLE.fullmatch(description):
            raise ValueError(f"dtype={description}")
        dtype = np.dtype(description)
    elif description[0] == "array":
        _, base, shape = description
        dtype = np.dtype((_dtype(base), tuple(shape)))
    else:
        _, names, formats, offsets, titles, itemsize, align = description
        if type(align) is not bool:
            raise TypeError(f"align={align}")
        formats = [_dtype(each) for each in formats]
        spec: Any = {"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize}
        if any(title is not None for title in titles):
            spec["titles"] = titles
        dtype = np.dtype(spec, align=align)
    if dtype.hasobject:
        raise TypeError("Python objects cannot be sent")
    return dtype


# What can cross.


def order_of(array: ndarray) -> tuple[tuple, tuple | None]:
    """Return the shape in which to store an array, and the order of its axes (None for C)."""
    lengths_and_strides = zip(array.shape, array.strides)
    if array.flags.c_contiguous or any(n > 1 and not stride for n, stride in lengths_and_strides):
        return array.shape, None
    axes = tuple(sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis])))
    if array.flags.f_contiguous:
        axes = tuple(reversed(range(array.ndim)))
    if axes == tuple(range(array.ndim)):
        return array.shape, None
    return tuple(array.shape[axis] for axis in axes), axes


def arrays_of(item: Any, position: int) -> dict[str | int, ndarray]:
    """Return the item with arrays for values, or raise the DataError that says why not."""
    if is_streamer(item):
        rule = f"item {position} of the stream is a streamer, not a dict"
        raise DataError(_validate.explain("item", item, rule, MIX_FIRST))
    if not isinstance(item, dict):
        rule = f"item {position} of the stream is of type {type(item).__name__}, not a dict"
        raise DataError(_validate.explain("item", item, rule, "yield dicts of arrays"))
    arrays = {}
    for key, value in item.items():
        if isinstance(key, np.integer):
            key = int(key)
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            rule = f"item {position} of the stream: this key is of type {type(key).__name__}"
            raise DataError(_validate.explain("key", key, rule, "give strings or integers"))
        if isinstance(key, int) and key.bit_length() > _MOST_BITS:
            rule = f"item {position} of the stream: this key has more than {_MOST_BITS} bits"
            raise DataError(_validate.explain("key", key, rule, "give a smaller one, or a string"))
        try:
            array = as_array(value)
            if array.dtype.hasobject:
                raise TypeError(f"dtype {array.dtype} holds Python objects")
        except (TypeError, ValueError, OverflowError) as error:
            raise refused(position, key, value, error) from error
        arrays[_plain(key) if isinstance(key, str) else int(key)] = array
    return arrays


def refused(position: int, key: Any, value: Any, why: Exception) -> DataError:
    """Return the error for a value that cannot cross."""
    rule = f"item {position} of the stream, key {_validate.short(key)}: {_type_name(value)}"
    rule += f" cannot be sent to another process ({why})"
    return DataError(_validate.explain("value", value, rule, _REMEDY))


def _plain(text: str) -> str:
    """Return the string that an object of a subclass is (an Enum may show another)."""
    return str.__str__(text)


def as_array(value: Any) -> ndarray:
    """Return an array equal to ``value``; raise TypeError or ValueError if there is none."""
    kind = type(value)
    if kind is ndarray:
        return value
    if isinstance(value, ndarray):
        if kind is not np.memmap:
            raise TypeError("it would arrive as a plain array, without what its class adds")
        return np.asarray(value)
    if not isinstance(value, _SCALARS):
        raise TypeError("it is neither an array nor a scalar")
    if isinstance(value, (str, bytes)):
        value = _plain(value) if isinstance(value, str) else bytes(value)
        array = np.asarray(value)
        if array.item() != value:
            raise ValueError("NumPy drops null characters at the end")
        return array
    return np.asarray(value)


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
