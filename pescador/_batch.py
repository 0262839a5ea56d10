"""The batches of a stream: the values of many items, key by key, copied as they arrive."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

import numpy as np

from . import _values
from ._copying import NO_ITEM, PLAIN, Alike

_SCALARS = (*PLAIN, np.generic)


class Batch:
    """Makes batches of items, up to ``size`` of them, one batch after the other.

    Arrays and NumPy scalars of one dtype and shape take the fast way, and so do Python's own
    scalars of one type. Everything else, from the item on where it first shows, is gathered in
    lists of arrays.
    """

    def __init__(self, size: int, axis: int | None, position: int) -> None:
        self.n_items = 0
        self.keys: list | None = None  # of all the items there have been; None before the first
        # By key: what holds all the integers that there have been, in the batches before too.
        self._integers: dict[Any, np.dtype] = {}
        self._size = size
        self._axis = axis
        self.position = position  # in the stream, of the first item of the batch
        self._alike: Alike | None = None  # what copies items like those of the last batch
        self._lists: dict[Any, list] | None = None  # by key, once something unusual has come
        self._dtypes: dict[Any, np.dtype] = {}  # of the first value in each list

    def fill(self, items: Iterator) -> None:
        """Copy the values of the next ``size`` items, or as many as there are, into a new batch."""
        self.position += self.n_items
        self.n_items, self._lists = 0, None
        left = self._after_alike(islice(items, min(self._size, sys.maxsize)))
        if not self.n_items:
            first = next(left, NO_ITEM)
            if first is NO_ITEM:
                return
            self._alike = self._alike_to(first)  # (it is not like those of the batch before)
            left = self._after_alike(chain((first,), left))
        for item in left:
            if self._lists is None:
                self._to_lists()
            self._add_unusual(item)
            self.n_items += 1

    def _after_alike(self, items: Iterator) -> Iterator:
        """Copy the first items the fast way; return those that cannot take it, and what follows."""
        if self._alike is None:
            return items
        unusual, self.n_items = self._alike.copy(items)
        return iter(()) if unusual is NO_ITEM else chain((unusual,), items)

    def _alike_to(self, first: Any) -> Alike | None:
        """Return what copies items like this one; None if they cannot take the fast way."""
        self._check(first)
        if type(first) is not dict:
            return None
        for key, value in first.items():
            kind = type(value)
            if kind in PLAIN:
                if self._axis is not None:
                    return None
                continue
            if kind is not np.ndarray and not issubclass(kind, np.generic):
                return None
            if value.dtype.hasobject or (self._axis is not None and not value.ndim):
                return None
            self._check_integers(key, value, value.dtype, self.position)
        return Alike(first, self._size)

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

    def _add_unusual(self, item: Any) -> None:
        self._check(item)
        assert self._lists is not None
        for key, values in self._lists.items():
            values.append(self._fitting(key, item[key], values))

    def _to_lists(self) -> None:
        """Gather in lists from now on, beginning with what is there already."""
        lists: dict[Any, list] = {key: [] for key in self.keys or ()}
        if self._alike is not None:
            for key, kind, values in self._alike.scalars(self.n_items):
                lists[key] = values
                self._stacked(key, kind, values)
            for key, stacked in self._arrays(self._alike).items():
                lists[key] = list(stacked)
        self._lists, self._dtypes = lists, {}

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

    def result(self) -> dict:
        """Return the batch, as arrays that share memory with nothing."""
        if self._lists is not None:
            return {key: self._joined(key, values) for key, values in self._lists.items()}
        assert self._alike is not None and self.keys is not None
        scalars = self._alike.scalars(self.n_items)
        found = {key: self._stacked(key, kind, values) for key, kind, values in scalars}
        for key, stacked in self._arrays(self._alike).items():
            found[key] = stacked if self._axis is None else self._along_axis(key, stacked)
        return {key: found[key] for key in self.keys}

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

    def _arrays(self, alike: Alike) -> dict[Any, np.ndarray]:
        """Return what is copied as arrays; DataError if it has NumPy strings that were cut."""
        found = alike.arrays(self.n_items)
        for key, dtype in alike.texts:
            index = _values.cut_text(found[key], dtype)
            if index is not None:
                why = ValueError("NumPy drops null characters at the end")
                value = found[key][index]
                raise _values.not_held(self.position + index, key, value, why) from why
        return found

    def _along_axis(self, key: Any, stacked: np.ndarray) -> np.ndarray:
        """Return the concatenation along the axis of what has been stacked."""
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
