"""One batch in the making: the values of many items, key by key, copied as they arrive."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

import numpy as np

from . import _validate
from .exceptions import DataError

# Values below this many bytes are kept as byte strings and joined at the end, larger ones are
# written straight into the batch: each is the faster way on its side.
_SMALL = 1024
_FIRST_ROOM = 2**26  # bytes made for a key at first: a batch may be larger than its stream
_PLAIN = frozenset((bool, int, float, complex, str, bytes))
_SCALARS = (*_PLAIN, np.generic)


_NO_ITEM = object()


class _Unusual(Exception):
    """An item that the fast way of `Batch.extend` does not take."""


class Batch:
    """The items of a batch, up to ``size`` of them.

    Arrays and NumPy scalars of one dtype and shape take the fast way, and so do Python's own
    scalars of one type. Everything else, from the item on where it first shows, is gathered in
    lists of arrays.
    """

    def __init__(self, size: int, axis: int | None, position: int, keys: list | None) -> None:
        self.n_items = 0
        self.keys = keys  # of all the items there have been; None before the first
        self._size = size
        self._axis = axis
        self._position = position  # of the first item in the stream
        # What takes the fast way, and where it is put:
        self._plain: list[tuple] = []  # key, type, list: of Python's own scalars
        # key, type, shape, dtype, list of byte strings or None, array of shape (size, ...)
        self._arrays: list[tuple] = []
        self._lists: dict[Any, list] | None = None  # by key, once something unusual has come

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
        position = self._position + self.n_items
        if not isinstance(item, Mapping):
            raise not_a_mapping(item, position)
        if self.keys is None:
            self.keys = list(item)
        for key in self.keys:
            if key not in item:
                raise _wrong_key(position, key, "is missing") from KeyError(key)
        if len(item) != len(self.keys):
            key = next(each for each in item if each not in self.keys)
            raise _wrong_key(position, key, "is not in the first item") from KeyError(key)

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
        is_small = 0 < value.nbytes < _SMALL
        n_rows = min(self._size, max(1, _FIRST_ROOM // max(1, value.nbytes)))
        room = None if is_small else np.empty((n_rows, *value.shape), value.dtype)
        parts: list[bytes] | None = [] if is_small else None
        self._arrays.append((key, kind, value.shape, value.dtype, parts, room))
        return True

    def _extend(self, items: Iterator) -> None:
        fast = self._extend_one_array
        if len(self._arrays) != 1 or self._plain:
            fast = self._extend_fast
        while self._lists is None:
            item = fast(items)
            if item is _NO_ITEM:
                return
            items = chain((item,), items)
            self._leave_out_half_item()
            if not self._grow():
                self._to_lists()
        for item in items:
            self._add_unusual(item)
            self.n_items += 1

    def _extend_one_array(self, items: Iterator) -> Any:
        """Do what `_extend_fast` does, in two thirds of the time, for one key with an array."""
        ((key, kind, shape, dtype, parts, room),) = self._arrays
        n_items = self.n_items
        for item in items:
            try:
                if type(item) is not dict or len(item) != 1:
                    break
                value = item[key]
                if value.shape != shape or type(value) is not kind:
                    break
                if value.dtype is not dtype and value.dtype != dtype:
                    break
                if room is None:
                    parts.append(value.tobytes())
                else:
                    room[n_items] = value
            except (KeyError, AttributeError, IndexError):
                break
            n_items += 1
        else:
            item = _NO_ITEM
        self.n_items = n_items
        return item

    def _extend_fast(self, items: Iterator) -> Any:
        """Copy the values of items; return the first that is unusual, or that finds no room."""
        plain, arrays = self._plain, self._arrays
        n_items, n_keys = self.n_items, len(self.keys or ())
        for item in items:
            try:
                if type(item) is not dict or len(item) != n_keys:
                    break
                for key, kind, shape, dtype, parts, room in arrays:
                    value = item[key]
                    if value.shape != shape or type(value) is not kind:
                        raise _Unusual
                    if value.dtype is not dtype and value.dtype != dtype:
                        raise _Unusual
                    if room is None:
                        parts.append(value.tobytes())
                    else:
                        room[n_items] = value
                if plain:
                    for key, kind, values in plain:
                        value = item[key]
                        if type(value) is not kind:
                            raise _Unusual
                        values.append(value)
            except (_Unusual, KeyError, AttributeError, IndexError):
                break
            n_items += 1
        else:
            item = _NO_ITEM
        self.n_items = n_items
        return item

    def _leave_out_half_item(self) -> None:
        """Remove the values of an item that turned out not to fit after some of its keys."""
        for _, _, values in self._plain:
            del values[self.n_items :]
        for *_, parts, _ in self._arrays:
            if parts is not None:
                del parts[self.n_items :]

    def _grow(self) -> bool:
        """Double the room, if that is what was wanting."""
        is_full = False
        for index, (*column, room) in enumerate(self._arrays):
            if room is not None and len(room) == self.n_items:
                is_full = True
                wider = np.empty((min(2 * len(room), self._size), *room.shape[1:]), room.dtype)
                wider[: len(room)] = room
                self._arrays[index] = (*column, wider)
        return is_full

    def _add_unusual(self, item: Any) -> None:
        self._check(item)
        assert self._lists is not None
        for key, values in self._lists.items():
            values.append(self._fitting(key, item[key], values))

    def _to_lists(self) -> None:
        """Gather in lists from now on, beginning with what is there already."""
        n_items = self.n_items
        lists: dict[Any, list] = {key: [] for key in self.keys or ()}
        for key, _, values in self._plain:
            lists[key] = values
        for key, _, shape, dtype, parts, room in self._arrays:
            rows = _joined(parts, shape, dtype) if room is None else room[:n_items]
            lists[key] = list(rows)
        self._plain, self._arrays, self._lists = [], [], lists

    def _fitting(self, key: Any, value: Any, values: list) -> Any:
        """Return a value (a copy, if it may change) that can be joined to the others."""
        position = self._position + self.n_items
        is_scalar = self._axis is None and isinstance(value, _SCALARS)
        if is_scalar and (not values or isinstance(values[0], _SCALARS)):
            _check_text(key, value, values, position)
            return value
        try:
            kept = np.ma.array(value, copy=True) if np.ma.isMA(value) else np.array(value)
            if values:
                _check_text(key, kept, values, position)
            self._join([*values[:1], kept])
        except (ValueError, TypeError) as error:
            raise _misfit(position, key, value, str(error)) from error
        return kept

    def _join(self, values: list) -> np.ndarray:
        if self._axis is None:
            if isinstance(values[0], _SCALARS) and isinstance(values[-1], _SCALARS):
                return np.array(values)
            stack = np.ma.stack if any(map(np.ma.isMA, values)) else np.stack
            return stack(values)
        concatenate = np.ma.concatenate if any(map(np.ma.isMA, values)) else np.concatenate
        return concatenate(values, axis=self._axis)

    def next(self) -> Batch:
        """Return an empty batch for the items that follow."""
        return Batch(self._size, self._axis, self._position + self.n_items, self.keys)

    def result(self) -> dict:
        """Return the batch, as arrays that share memory with nothing."""
        n_items = self.n_items
        if self._lists is not None:
            return {key: self._join(values) for key, values in self._lists.items()}
        stacked = {key: np.array(values) for key, _, values in self._plain}
        for key, _, shape, dtype, parts, room in self._arrays:
            if room is None:
                stacked[key] = _joined(parts, shape, dtype)
            else:
                stacked[key] = room if n_items == len(room) else room[:n_items].copy()
        return {key: self._along_axis(key, stacked[key]) for key in self.keys or ()}

    def _along_axis(self, key: Any, stacked: np.ndarray) -> np.ndarray:
        """Return the concatenation along the axis of what has been stacked."""
        if self._axis is None:
            return stacked
        if self._axis == 0:
            return stacked.reshape(-1, *stacked.shape[2:])
        try:
            return np.concatenate(list(stacked), axis=self._axis)
        except ValueError as error:
            raise _misfit(self._position, key, stacked[0], str(error)) from error


def _joined(parts: list[bytes], shape: tuple, dtype: np.dtype) -> np.ndarray:
    """Return the array of shape (n, ...) whose rows are byte strings."""
    joined = np.frombuffer(bytearray().join(parts), dtype=dtype)
    return joined.reshape(len(parts), *shape)


def _check_text(key: Any, value: Any, values: list, position: int) -> None:
    """Refuse to join text and numbers, which NumPy would do, turning numbers into text."""
    if values and _is_text(value) != _is_text(values[0]):
        why = "text and numbers do not go into one array"
        raise _misfit(position, key, value, why) from TypeError(why)


def _is_text(value: Any) -> bool:
    return isinstance(value, (str, bytes)) or getattr(value, "dtype", np.dtype(int)).kind in "US"


def not_a_mapping(item: Any, position: int) -> DataError:
    """Return the error for an item that is not a mapping."""
    rule = f"item {position} of the stream is a {type(item).__name__}, not a mapping"
    error = DataError(_validate.explain("item", item, rule, "yield dicts of arrays"))
    error.__cause__ = TypeError(f"{type(item).__name__!r} object has no keys")
    return error


def _wrong_key(position: int, key: Any, what: str) -> DataError:
    rule = f"item {position} of the stream: this key {what}"
    return DataError(_validate.explain("key", key, rule, "give all items the same keys"))


def _misfit(position: int, key: Any, value: Any, why: str) -> DataError:
    given = getattr(value, "shape", None)
    what = type(value).__name__ if given is None else f"{type(value).__name__} of shape {given}"
    rule = f"item {position} of the stream, key {key!r}: {what} does not fit the others ({why})"
    remedy = "give the values of a key the same shape"
    return DataError(_validate.explain("value", value, rule, remedy))
