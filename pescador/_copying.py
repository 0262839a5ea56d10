"""A loop that copies the values of items key by key, written out for how many keys they have.

A loop over the keys inside the loop over the items takes half as long again as this one, in which
each key has lines and variables of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

NO_ITEM = object()

_HEAD = """
def copy(items, n_keys, arrays, scalars):
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
        except (KeyError, AttributeError, BufferError, ValueError):
            break
        n_items += 1
    else:
        item = NO_ITEM
    return item, n_items
"""
_OF_ARRAY = "(key{i}, kind{i}, ndim{i}, shape{i}, dtype{i}, n_bytes{i}, write{i})"
_OF_SCALAR = "(key{i}, kind{i}, append{i})"


def copied(
    items: Iterable,
    arrays: list[tuple],
    scalars: list[tuple],
) -> tuple[Any, int]:
    """Copy the values of items that are alike.

    Parameters
    ----------
    items : iterable of dict
        What is copied, up to the first one that is not like this.
    arrays : list of tuple
        Of each key with an array: the key, and the type, number of dimensions, shape, dtype and
        number of bytes that all are to have; and what copies one, and returns how many bytes that
        were.
    scalars : list of tuple
        Of each other key: the key, the type, and what takes a value.

    Returns
    -------
    tuple
        The first item that is not like this (some of its values may have been copied), or
        `NO_ITEM`; and how many came before.
    """
    # (Where there is one dimension, the number of bytes tells that the shape is right.)
    are_flat = tuple([ndim == 1 and n_bytes > 0 for _, _, ndim, _, _, n_bytes, _ in arrays])
    copy = _loop_for(are_flat, len(scalars))
    return copy(items, len(arrays) + len(scalars), arrays, scalars)


@functools.lru_cache(maxsize=256)
def _loop_for(are_flat: tuple[bool, ...], n_scalars: int) -> Callable[..., tuple[Any, int]]:
    """Return a loop for items with so many arrays, and so many scalars."""
    n_arrays = len(are_flat)
    of_scalars = range(n_arrays, n_arrays + n_scalars)
    unpacked = _unpacked(_OF_ARRAY, range(n_arrays), "arrays")
    unpacked += _unpacked(_OF_SCALAR, of_scalars, "scalars")
    lines = [_HEAD.format(unpacked=unpacked or "pass")]
    for i, is_flat in enumerate(are_flat):
        lines.append(_ARRAY.format(i=i, attribute="ndim" if is_flat else "shape"))
    lines += [_SCALAR.format(i=i) for i in of_scalars]
    lines.append(_TAIL)
    namespace: dict[str, Any] = {"NO_ITEM": NO_ITEM}
    exec(compile("".join(lines), "<pescador copies items>", "exec"), namespace)
    return namespace["copy"]


def _unpacked(names: str, indices: range, where: str) -> str:
    """Return the statement that gives each key its variables."""
    return f"[{', '.join(names.format(i=i) for i in indices)}] = {where}; " if indices else ""
