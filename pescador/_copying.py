"""The fast way to a batch: items that are alike are copied by a loop written out for their keys.

A loop over the keys inside the loop over the items takes half as long again as this one, in which
each key has lines and variables of its own.
"""

from __future__ import annotations

import functools
import linecache
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import numpy as np

# Bytes of an array, or of a batch of them, up to which they are written one after the other. The
# larger ones are copied into rows made ahead: growing a large buffer may take as long as that.
_SMALL_ITEM = 2**10
_SMALL_BATCH = 2**20
_FIRST_ROWS = 2**26  # bytes made ahead at first: a batch may be larger than its stream
_FIRST_BYTES = 2**17  # zeros written ahead, to be overwritten; for more, growing is as quick

PLAIN = frozenset((bool, int, float, complex, str, bytes))  # Python's own scalars
NO_ITEM = object()
_NO_BYTES, _NO_ROWS = BytesIO(), np.empty(0)

_HEAD = """
def copy(items, n_keys, arrays, writes, scalars, appends):
    {unpacked}
    n_items = 0
    for item in items:
        try:
            if type(item) is not dict or len(item) != n_keys:
                break
"""
_ARRAY = """
            value = item[key{i}]
            if type(value) is not kind{i} or value.{attribute} != {attribute}{i}:
                break
            if value.dtype is not dtype{i} and value.dtype != dtype{i}:
                break
            if write{i}(value) != n_bytes{i}:
                break
"""
_SCALAR = """
            value = item[key{i}]
            if type(value) is not kind{i}:
                break
            append{i}(value)
"""
_TAIL = """
        except (KeyError, BufferError, ValueError):
            break
        n_items += 1
    else:
        item = NO_ITEM
    return item, n_items
"""


@functools.lru_cache(maxsize=256)
def _loop_for(are_flat: tuple[bool, ...], n_scalars: int) -> Callable[..., tuple[Any, int]]:
    """Return a loop for items with so many arrays, and so many scalars."""
    n_arrays = len(are_flat)
    of_arrays, of_scalars = range(n_arrays), range(n_arrays, n_arrays + n_scalars)
    unpacked = [
        _unpacked(
            "arrays", "(key{i}, kind{i}, ndim{i}, shape{i}, dtype{i}, n_bytes{i})", of_arrays
        ),
        _unpacked("writes", "write{i}", of_arrays),
        _unpacked("scalars", "(key{i}, kind{i})", of_scalars),
        _unpacked("appends", "append{i}", of_scalars),
    ]
    lines = [_HEAD.format(unpacked="; ".join(unpacked))]
    for i, is_flat in enumerate(are_flat):
        lines.append(_ARRAY.format(i=i, attribute="ndim" if is_flat else "shape"))
    lines += [_SCALAR.format(i=i) for i in of_scalars]
    lines.append(_TAIL)
    source, name = "".join(lines), f"<{__name__} {n_arrays} + {n_scalars}>"
    # (With the module's name, by which warnings find the user's line; tracebacks show the source.)
    namespace: dict[str, Any] = {"NO_ITEM": NO_ITEM, "__name__": __name__}
    linecache.cache[name] = len(source), None, source.splitlines(True), name
    exec(compile(source, name, "exec"), namespace)
    return namespace["copy"]


def _unpacked(what: str, names: str, indices: range) -> str:
    """Return the statement that gives each key its variables."""
    return f"[{', '.join(names.format(i=i) for i in indices)}] = {what}"


class _Bytes:
    """Copies of small arrays, one after the other, in a BytesIO: the cheapest way there is."""

    def __init__(self, first: Any, size: int) -> None:
        self._shape, self._dtype, self._n_bytes = first.shape, first.dtype, first.nbytes
        n_bytes = size * first.nbytes
        self._last = n_bytes - 1 if n_bytes <= _FIRST_BYTES else 0
        self._has_buffer = True
        try:
            BytesIO().write(first)
        except (BufferError, ValueError):  # not contiguous, or of a dtype that has no buffer
            self._has_buffer = False

    def begin(self) -> Callable[[Any], int]:
        """Return what copies an array into new memory, and returns how many bytes that were."""
        self._buffer = buffer = BytesIO()
        if self._last:  # made once, and not grown forty times
            buffer.seek(self._last)
            buffer.write(b"\0")
            buffer.seek(0)
        return buffer.write if self._has_buffer else self._write_copy

    def _write_copy(self, value: Any) -> int:
        return self._buffer.write(value.tobytes())

    def stacked(self, n_items: int) -> np.ndarray:
        """Hand over the first ``n_items``, as one array, in the memory they were written to."""
        buffer, self._buffer = self._buffer, _NO_BYTES
        buffer.truncate(n_items * self._n_bytes)
        return np.ndarray((n_items, *self._shape), self._dtype, buffer.getbuffer())


class _Rows:
    """Copies of large arrays (or of empty or byte-swapped ones), as the rows of an array."""

    def __init__(self, first: Any, size: int) -> None:
        self._n_bytes, self._shape, self._size = first.nbytes, first.shape, size
        self._n_first = min(size, max(1, _FIRST_ROWS // max(1, first.nbytes)))
        self._dtype = first.dtype.newbyteorder("=")  # of the machine, like all that NumPy stacks

    def begin(self) -> Callable[[Any], int]:
        """Return what copies an array into new memory, and returns how many bytes that were."""
        self._n_items, self._rows = 0, _NO_ROWS  # (made when an array has come)
        return self._write

    def _write(self, value: np.ndarray) -> int:
        """Copy one array, if it has the size of the first; return its number of bytes."""
        if value.nbytes == self._n_bytes:
            if self._n_items == len(self._rows):
                self._grow()
            self._rows[self._n_items] = value
            self._n_items += 1
        return value.nbytes

    def _grow(self) -> None:
        rows, n_rows = self._rows, self._n_first
        if len(rows):
            n_rows = min(2 * len(rows), self._size)
        self._rows = np.empty((n_rows, *self._shape), self._dtype)
        if len(rows):
            self._rows[: len(rows)] = rows

    def stacked(self, n_items: int) -> np.ndarray:
        """Hand over the first ``n_items``, as one array."""
        rows, self._rows = self._rows, _NO_ROWS
        return rows if n_items == len(rows) else rows[:n_items].copy()


class Alike:
    """Copies items that are like a first one: the same keys, types, dtypes and shapes.

    Parameters
    ----------
    item : dict
        The first one: of arrays and scalars of NumPy, and of Python's own scalars.
    size : int
        How many items are copied at a time, at most.
    """

    def __init__(self, item: dict, size: int) -> None:
        self._n_keys = len(item)
        self._scalars = [(key, type(each)) for key, each in item.items() if type(each) in PLAIN]
        arrays = [(key, each) for key, each in item.items() if type(each) not in PLAIN]
        self._arrays = [
            (key, type(each), each.ndim, each.shape, each.dtype, each.nbytes)
            for key, each in arrays
        ]
        self._stores = [self._store_for(each, size) for _, each in arrays]
        #: Which are strings of NumPy, and their dtypes.
        self.texts = [
            (key, each.dtype) for key, each in arrays if type(each) in (np.str_, np.bytes_)
        ]
        self._lists: list[list] = []
        # (Where there is one dimension, the number of bytes tells that the shape is right.)
        are_flat = tuple(each.ndim == 1 and each.nbytes > 0 for _, each in arrays)
        self._loop = _loop_for(are_flat, len(self._scalars))

    @staticmethod
    def _store_for(first: Any, size: int) -> _Bytes | _Rows:
        is_small = first.nbytes < _SMALL_ITEM or first.nbytes * size <= _SMALL_BATCH
        is_written = is_small and first.nbytes > 0 and first.dtype.isnative
        return (_Bytes if is_written else _Rows)(first, size)

    def copy(self, items: Iterable) -> tuple[Any, int]:
        """Copy items; return the first that is not alike (or `NO_ITEM`), and how many came before.

        Of the one that is not alike, some values may have been copied.
        """
        writes = [store.begin() for store in self._stores]
        self._lists = [[] for _ in self._scalars]
        appends = [values.append for values in self._lists]
        return self._loop(items, self._n_keys, self._arrays, writes, self._scalars, appends)

    def scalars(self, n_items: int) -> list[tuple[Any, type, list]]:
        """Return the keys of scalars: each with the type and the values of the first items."""
        for values in self._lists:
            del values[n_items:]
        return [(*each, values) for each, values in zip(self._scalars, self._lists)]

    def arrays(self, n_items: int) -> dict[Any, np.ndarray]:
        """Return the first items under the other keys, as one array of each."""
        pairs = zip(self._arrays, self._stores)
        return {key: store.stacked(n_items) for (key, *_), store in pairs}
