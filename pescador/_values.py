"""What an array can hold of a value without altering it, and which values go into one array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import _validate
from .exceptions import DataError

_KINDS = dict.fromkeys("biufc", "numbers")
_KINDS |= {"U": "text", "S": "bytes", "M": "times", "m": "durations"}
_MOST_EXACT = 2**53  # up to here, a float64 tells all whole numbers apart


def array_of(value: Any) -> np.ndarray:
    """Return a new array equal to a value; raise TypeError or ValueError if there is none."""
    array = np.ma.array(value, copy=True) if np.ma.isMA(value) else np.array(value)
    if array.dtype.hasobject:
        if isinstance(value, int):
            raise TypeError("NumPy has no integers of more than 64 bits")
        raise TypeError(f"dtype {array.dtype} holds Python objects")
    if array.dtype.kind in "SU":
        _check_text(value, array.dtype)
    elif array.dtype.kind in "fc" and isinstance(value, (list, tuple)):
        _check_whole_numbers(value, array)
    return array


def held(position: int, key: Any, value: Any) -> np.ndarray:
    """Return a new array equal to a value; DataError if there is none."""
    try:
        return array_of(value)
    except Exception as error:  # of the value's own class, perhaps
        raise not_held(position, key, value, error) from error


def _leaves(value: Any) -> Iterator:
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _check_text(value: Any, dtype: np.dtype) -> None:
    """Refuse text that NumPy cuts, and what it has turned into text."""
    if isinstance(value, (str, bytes)):
        if value[-1:] in ("\0", b"\0"):
            raise ValueError("NumPy drops null characters at the end")
    elif isinstance(value, (list, tuple)):
        for leaf in _leaves(value):
            _check_text(leaf, dtype)
            check_together(np.asarray(leaf).dtype, dtype)


def _check_whole_numbers(values: list | tuple, array: np.ndarray) -> None:
    """Refuse whole numbers that have become floats, and other numbers by that."""
    if set(map(type, values)) == {float} or not (abs(array) > _MOST_EXACT).any():
        return
    integers = np.dtype("?")  # which goes with all
    for leaf in map(np.asarray, _leaves(values)):
        check_together(integers, leaf.dtype)
        check_kept(leaf, array.dtype)
        if leaf.dtype.kind in "iu":
            integers = np.result_type(integers, leaf.dtype)


def check_together(one: np.dtype, other: np.dtype) -> None:
    """Raise TypeError if values of two dtypes go into one array only if they are altered."""
    for first, second in zip(one.names or (), other.names or ()):
        check_together(one[first], other[second])
    if one.kind in "iu" and other.kind in "iu":
        joined = np.result_type(one, other)
        if joined.kind not in "iu":
            raise TypeError(f"{one} and {other} become {joined}, which rounds large numbers")
        return
    kinds = {_KINDS[dtype.kind] for dtype in (one, other) if dtype.kind in _KINDS}
    if len(kinds) == 2:
        raise TypeError(" and ".join(sorted(kinds, reverse=True)) + " cannot be in one array")


def check_kept(array: np.ndarray, dtype: np.dtype) -> None:
    """Raise ValueError if the values of an array are others in one of another dtype."""
    if array.dtype.kind not in "iuMm" or array.dtype == dtype:
        return
    with np.errstate(invalid="ignore"):
        again = array.astype(dtype).real.astype(array.dtype)
    is_kept = (again == array) | (array != array)
    if not np.ma.filled(is_kept, True).all():
        text = f"with the others, {array.dtype} becomes {dtype}"
        raise ValueError(f"{text}, which changes its values")


def cut_text(values: np.ndarray, dtype: np.dtype) -> int | None:
    """Return the index of the first NumPy scalar that was as long as its dtype, and is not now."""
    n_characters = dtype.itemsize // (4 if dtype.kind == "U" else 1)
    (wrong,) = np.nonzero(np.char.str_len(values) < n_characters)
    return int(wrong[0]) if wrong.size else None


# Errors about items.


def not_a_mapping(item: Any, position: int) -> DataError:
    """Return the error for an item that is not a mapping."""
    rule = f"item {position} of the stream is of type {type(item).__name__}, not a mapping"
    error = DataError(_validate.explain("item", item, rule, "yield dicts of arrays"))
    error.__cause__ = TypeError(f"{type(item).__name__!r} object has no keys")
    return error


def wrong_key(position: int, key: Any, what: str) -> DataError:
    """Return the error for a key that is in some items only."""
    rule = f"item {position} of the stream: this key {what}"
    return DataError(_validate.explain("key", key, rule, "give all items the same keys"))


def not_held(position: int, key: Any, value: Any, why: Exception) -> DataError:
    """Return the error for a value that no array holds as it is."""
    rule = f"item {position} of the stream, key {_validate.short(key)}: {_name(value)}"
    rule += f" cannot be part of a batch ({why})"
    remedy = "give NumPy arrays, or scalars that NumPy can hold"
    return DataError(_validate.explain("value", value, rule, remedy))


def misfit(
    position: int, key: Any, value: Any, why: Exception, what: str = "the same shape"
) -> DataError:
    """Return the error for a value that does not go into one array with the others."""
    rule = f"item {position} of the stream, key {_validate.short(key)}: {_name(value)}"
    rule += f" does not fit the others ({why})"
    remedy = f"give all values of a key {what}"
    return DataError(_validate.explain("value", value, rule, remedy))


def _name(value: Any) -> str:
    """Return the name of a value's type, and its shape if it has one."""
    kind, shape = type(value), getattr(value, "shape", None)
    is_plain = kind.__module__ in ("builtins", "numpy")
    name = kind.__name__ if is_plain else f"{kind.__module__}.{kind.__name__}"
    return name if not shape else f"{name} of shape {shape}"
