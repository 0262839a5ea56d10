"""One batch in the making: the values of many items, key by key, copied as they arrive."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from itertools import chain, islice
from typing import Any

import numpy as np

from . import _values
from ._copying import NO_ITEM, copied

# Bytes of an array, or of a batch of them, up to which they are written one after the other. The
# larger ones are copied into rows made ahead: growing a large buffer may take as long as that.
_SMALL_ITEM = 2**10
_SMALL_BATCH = 2**20
_FIRST_ROWS = 2**26  # bytes made ahead at first: a batch may be larger than its stream
_FIRST_BYTES = 2**17  # the same of what is written, with zeros: above that, growing is as quick

_PLAIN = frozenset((bool, int, float, complex, str, bytes))
_SCALARS = (*_PLAIN, np.generic)


class _Bytes:
    """Copies of small arrays, one after the other, in a BytesIO: the cheapest way there is."""

    def __init__(self, first: Any, size: int) -> None:
        self._shape, self._dtype, self._n_bytes = first.shape, first.dtype, first.nbytes
        self._buffer = BytesIO()
        if size * self._n_bytes <= _FIRST_BYTES:  # made once, and not grown forty times
            self._buffer.seek(size * self._n_bytes - 1)
            self._buffer.write(b"\0")
            self._buffer.seek(0)
        self.write: Callable[[Any], int] = self._buffer.write  # of anything with a buffer
        try:
            self.write(first)
        except (BufferError, ValueError):  # not contiguous, or of a dtype that has no buffer
            self.write = lambda value: self._buffer.write(value.tobytes())
        self._buffer.seek(0)

    def stacked(self, n_items: int) -> np.ndarray:
        """Return the first ``n_items``, as one array, in the memory they were written to."""
        self._buffer.truncate(n_items * self._n_bytes)
        stacked = np.frombuffer(self._buffer.getbuffer(), self._dtype)
        return stacked.reshape(n_items, *self._shape)


class _Rows:
    """Copies of large arrays (or of empty or byte-swapped ones), as the rows of an array."""

    def __init__(self, first: np.ndarray, size: int) -> None:
        self._n_bytes, self._n_items, self._size = first.nbytes, 0, size
        n_rows = min(size, max(1, _FIRST_ROWS // max(1, first.nbytes)))
        # In the byte order of the machine, like all that NumPy stacks.
        self._rows = np.empty((n_rows, *first.shape), first.dtype.newbyteorder("="))

    def write(self, value: np.ndarray) -> int:
        """Copy one array, if it has the size of the first; return its number of bytes."""
        if value.nbytes == self._n_bytes:
            if self._n_items == len(self._rows):
                self._grow()
            self._rows[self._n_items] = value
            self._n_items += 1
        return value.nbytes

    def _grow(self) -> None:
        rows = self._rows
        self._rows = np.empty((min(2 * len(rows), self._size), *rows.shape[1:]), rows.dtype)
        self._rows[: len(rows)] = rows

    def stacked(self, n_items: int) -> np.ndarray:
        """Return the first ``n_items``, as one array."""
        return self._rows if n_items == len(self._rows) else self._rows[:n_items].copy()


class Batch:
    """The items of a batch, up to ``size`` of them.

    Arrays and NumPy scalars of one dtype and shape take the fast way, and so do Python's own
    scalars of one type. Everything else, from the item on where it first shows, is gathered in
    lists of arrays.
    """

    def __init__(
        self,
        size: int,
        axis: int | None,
        position: int,
        keys: list | None,
        integers: dict[Any, np.dtype] | None = None,
    ) -> None:
        self.n_items = 0
        self.keys = keys  # of all the items there have been; None before the first
        # By key: what holds all the integers that there have been, in the batches before too.
        self._integers = {} if integers is None else integers
        self._size = size
        self._axis = axis
        self.position = position  # of the first item in the stream
        # What takes the fast way, and where it is put:
        self._plain: list[tuple] = []  # key, type, list: of Python's own scalars
        self._arrays: list[tuple] = []  # as `copied` takes them, and the store of each
        self._lists: dict[Any, list] | None = None  # by key, once something unusual has come
        self._dtypes: dict[Any, np.dtype] = {}  # of the first value in each list

    def fill(self, items: Iterator) -> None:
        """Copy the values of the next ``size`` items, or as many as there are."""
        for first in items:
            if type(first) is not dict or self.keys != list(first):
                self._check(first)
            assert self.keys is not None
            for key in self.keys:
                if not self._prepare(key, first[key]):
                    self._to_lists()
                    break
            n_others = min(self._size - 1, sys.maxsize)
            self._extend(chain((first,), islice(items, n_others)))
            return

    def _check(self, item: Any) -> None:
        """Raise DataError if an item is not a mapping with the keys of the first one."""
        position = self.position + self.n_items
        if not isinstance(item, Mapping):
            raise _values.not_a_mapping(item, position)
        if self.keys is None:
            self.keys = list(item)
        for key in self.keys:
            if key not in item:
                raise _values.wrong_key(position, key, "is missing") from KeyError(key)
        if len(item) != len(self.keys):
            key = next(each for each in item if each not in self.keys)
            raise _values.wrong_key(position, key, "is not in the first item") from KeyError(key)

    def _prepare(self, key: Any, value: Any) -> bool:
        """Make room for the values of a key; False if they cannot take the fast way."""
        kind = type(value)
        if kind in _PLAIN:
            self._plain.append((key, kind, []))
            return self._axis is None
        if kind is not np.ndarray and not issubclass(kind, np.generic):
            return False
        if value.dtype.hasobject or (self._axis is not None and not value.ndim):
            return False
        self._check_integers(key, value, value.dtype, self.position)
        is_small = value.nbytes < _SMALL_ITEM or value.nbytes * self._size <= _SMALL_BATCH
        fits = is_small and value.nbytes > 0 and value.dtype.isnative
        store = (_Bytes if fits else _Rows)(value, self._size)
        kept = key, kind, value.ndim, value.shape, value.dtype, value.nbytes, store.write
        self._arrays.append((kept, store))
        return True

    def _extend(self, items: Iterator) -> None:
        if self._lists is None:
            arrays = [each for each, _ in self._arrays]
            scalars = [(key, kind, values.append) for key, kind, values in self._plain]
            unusual, self.n_items = copied(items, arrays, scalars)
            if unusual is NO_ITEM:
                return
            items = chain((unusual,), items)
            self._to_lists()
        for item in items:
            self._add_unusual(item)
            self.n_items += 1

    def _add_unusual(self, item: Any) -> None:
        self._check(item)
        assert self._lists is not None
        for key, values in self._lists.items():
            values.append(self._fitting(key, item[key], values))

    def _to_lists(self) -> None:
        """Gather in lists from now on, beginning with what is there already."""
        n_items = self.n_items
        lists: dict[Any, list] = {key: [] for key in self.keys or ()}
        for key, kind, values in self._plain:
            lists[key] = values[:n_items]  # without that of the unusual item itself
            self._stacked(key, kind, lists[key])
        for (key, kind, _, _, dtype, *_), store in self._arrays:
            lists[key] = list(self._taken_from(store, key, kind, dtype))
        self._plain, self._arrays, self._lists = [], [], lists

    def _fitting(self, key: Any, value: Any, values: list) -> Any:
        """Return a value (a copy, if it may change) that can be joined to the first one."""
        position = self.position + self.n_items
        kept = _values.held(position, key, value)
        self._check_integers(key, value, kept.dtype, position)
        if key not in self._dtypes:
            self._dtypes[key] = np.asarray((values or [kept])[0]).dtype
        if kept.dtype != self._dtypes[key]:
            self._check_dtypes(key, value, self._dtypes[key], kept.dtype, position)
        try:
            if self._axis is None and _is_scalar(value) and all(map(_is_scalar, values[:1])):
                return value
            _check_fit(kept, values, self._axis)
        except (ValueError, TypeError) as error:
            raise _values.misfit(position, key, value, error) from error
        return kept

    def _check_integers(self, key: Any, value: Any, dtype: np.dtype, position: int) -> None:
        """Raise DataError if no integers hold a value together with those there have been."""
        known = self._integers.get(key)
        if dtype == known or dtype.kind not in "iu":
            return
        if known is not None:
            self._check_dtypes(key, value, known, dtype, position)
            dtype = np.result_type(known, dtype)
        self._integers[key] = dtype

    def _check_dtypes(
        self, key: Any, value: Any, known: np.dtype, dtype: np.dtype, position: int
    ) -> None:
        try:
            _values.check_together(known, dtype)
        except TypeError as error:
            raise _values.misfit(position, key, value, error, "the same dtype") from error

    def _joined(self, key: Any, values: list) -> np.ndarray:
        """Return the values of a key, joined."""
        try:
            joined = _join(values, self._axis)
        except (ValueError, TypeError):
            pass
        else:
            self._check_kept(key, values, joined.dtype)
            return joined
        # They fit the first one, but not all of them each other: which is the first to blame?
        for n_values in range(1, len(values) + 1):
            try:
                _join(values[:n_values], self._axis)
            except (ValueError, TypeError) as error:
                position = self.position + n_values - 1
                raise _values.misfit(position, key, values[n_values - 1], error) from error
        raise AssertionError("joining failed, but no value is at fault: an error in pescador")

    def _check_kept(self, key: Any, values: list, dtype: np.dtype) -> None:
        """Raise DataError for the first value that joining has altered."""
        if dtype.kind not in "fcMm":
            return
        for position, value in enumerate(values, self.position):
            try:
                _values.check_kept(np.ma.asarray(value), dtype)
            except ValueError as error:
                raise _values.misfit(position, key, value, error, "the same dtype") from error

    def next(self) -> Batch:
        """Return an empty batch for the items that follow."""
        position = self.position + self.n_items
        return Batch(self._size, self._axis, position, self.keys, self._integers)

    def result(self) -> dict:
        """Return the batch, as arrays that share memory with nothing."""
        if self._lists is not None:
            return {key: self._joined(key, values) for key, values in self._lists.items()}
        stacked = {key: self._stacked(key, kind, values) for key, kind, values in self._plain}
        for (key, kind, _, _, dtype, *_), store in self._arrays:
            stacked[key] = self._taken_from(store, key, kind, dtype)
        return {key: self._along_axis(key, stacked[key]) for key in self.keys or ()}

    def _stacked(self, key: Any, kind: type, values: list) -> np.ndarray:
        """Return an array of Python's own scalars, all of one type; DataError if it alters them."""
        stacked = np.array(values)
        if kind in (str, bytes):
            is_right = stacked.tolist() == values
        else:
            known = self._integers.get(key)  # (a dtype equals None if it is that of floats)
            is_right = kind is not int or (known is not None and stacked.dtype == known)
        if not is_right:
            for position, value in enumerate(values, self.position):
                dtype = _values.held(position, key, value).dtype
                self._check_integers(key, value, dtype, position)
        return stacked

    def _taken_from(self, store: Any, key: Any, kind: type, dtype: np.dtype) -> np.ndarray:
        """Return an array of what a store has; DataError if it has NumPy strings that were cut."""
        stacked = store.stacked(self.n_items)
        if kind in (np.str_, np.bytes_):
            index = _values.cut_text(stacked, dtype)
            if index is not None:
                why = ValueError("NumPy drops null characters at the end")
                raise _values.not_held(self.position + index, key, stacked[index], why) from why
        return stacked

    def _along_axis(self, key: Any, stacked: np.ndarray) -> np.ndarray:
        """Return the concatenation along the axis of what has been stacked."""
        if self._axis is None:
            return stacked
        if self._axis == 0:
            n_rows = stacked.shape[0] * stacked.shape[1]
            return stacked.reshape(n_rows, *stacked.shape[2:])
        try:
            return np.concatenate(list(stacked), axis=self._axis)
        except ValueError as error:
            raise _values.misfit(self.position, key, stacked[0], error) from error


def _is_scalar(value: Any) -> bool:
    return isinstance(value, _SCALARS)


def _join(values: list, axis: int | None) -> np.ndarray:
    """Stack values, or concatenate them along an axis of theirs."""
    has_masks = any(map(np.ma.isMA, values))
    if axis is not None:
        return (np.ma.concatenate if has_masks else np.concatenate)(values, axis=axis)
    if has_masks:
        return np.ma.stack([np.ma.asarray(value) for value in values])
    if _is_scalar(values[0]) and len(set(map(type, values))) == 1:
        return np.array(values)
    return np.stack([np.asarray(value) for value in values])


def _check_fit(value: np.ndarray, values: list, axis: int | None) -> None:
    """Raise the error that joining a value to the first one would, without copying them."""
    arrays = [np.asarray(each) for each in (*values[:1], value)]
    np.result_type(*(array.dtype for array in arrays))
    if axis is None and len({array.shape for array in arrays}) == 1:
        return
    if axis is not None and all(-array.ndim <= axis < array.ndim for array in arrays):
        arrays = [array[(slice(None),) * (axis % array.ndim) + (slice(0),)] for array in arrays]
    _join(arrays, axis)
