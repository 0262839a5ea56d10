"""The arrays in an item, replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_LEFT = "OSU"  # kinds of arrays that are no numbers, and stay what they are


def with_arrays(value: Any, convert: Callable[[np.ndarray, str], Any], name: str) -> Any:
    """Return an item with something else in place of its arrays.

    Dicts, lists and tuples are followed. ``convert`` gets an array, and its name for messages.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return value if value.dtype.kind in _LEFT else convert(np.asarray(value), name)
    if isinstance(value, Mapping):
        return {key: with_arrays(each, convert, f"{name}[{key!r}]") for key, each in value.items()}
    if not isinstance(value, (list, tuple)):
        return value
    members = [with_arrays(each, convert, f"{name}[{i}]") for i, each in enumerate(value)]
    return type(value)(*members) if hasattr(value, "_fields") else type(value)(members)
