"""What items look like, and whether two of them are equal, without keeping them."""

from __future__ import annotations

import functools
import hashlib
import pickle
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import _validate

_SCALARS = (np.generic, bool, int, float, complex)
_TEXTS = {"U": "text", "S": "bytes"}
_MOST_PARTS = 100  # of an item


class Form(NamedTuple):
    """What is common to some items: of a dict that of each key, of an array dtypes and shape."""

    #: "array", "dict", "sequence", or the name of a type.
    kind: str
    #: The dtypes that there are.
    dtypes: frozenset[str] = frozenset()
    #: The length of each axis, None where it varies; None where the number of axes does.
    shape: tuple[int | None, ...] | None = None
    #: The forms of what is inside, by key or position.
    inside: Mapping[Any, Form] = {}
    #: The keys that not every item has.
    optional: frozenset = frozenset()


def form_of(item: Any, depth: int = 3) -> Form:
    """Return the form of one item."""
    if isinstance(item, Mapping) and depth:
        pairs = list(item.items())[:_MOST_PARTS]
        return Form("dict", inside={key: form_of(value, depth - 1) for key, value in pairs})
    if isinstance(item, (list, tuple)) and depth:
        parts = enumerate(item[:_MOST_PARTS])
        return Form("sequence", inside={i: form_of(value, depth - 1) for i, value in parts})
    array = array_of(item)
    if array is None:
        return Form(type(item).__name__)
    return Form("array", _dtypes_of(array.dtype), array.shape)


@functools.lru_cache(maxsize=256)
def _dtypes_of(dtype: np.dtype) -> frozenset[str]:
    """Return the name of a dtype, which takes NumPy longer than all the rest."""
    return frozenset([_TEXTS.get(dtype.kind, str(dtype))])


def array_of(value: Any) -> np.ndarray | None:
    """Return a value as an array, if it is one, or a number, or has one (a tensor)."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, _SCALARS):
        return np.asarray(value)
    if hasattr(value, "__array__") and hasattr(value, "dtype"):
        try:
            return np.asarray(value)
        except Exception:  # of another library, on another device
            return None
    return None


def merged(one: Form | None, other: Form) -> Form:
    """Return the form of items of two forms."""
    if one is None or one == other:
        return other
    if one.kind != other.kind:
        return Form("any")
    keys = {**one.inside, **other.inside}
    inside = {
        key: merged(one.inside.get(key), other.inside.get(key, form)) for key, form in keys.items()
    }
    missing = frozenset(one.inside) ^ frozenset(other.inside)
    shape = _common_shape(one.shape, other.shape)
    optional = one.optional | other.optional | missing
    return Form(one.kind, one.dtypes | other.dtypes, shape, inside, optional)


def _common_shape(
    one: tuple[int | None, ...] | None, other: tuple[int | None, ...] | None
) -> tuple[int | None, ...] | None:
    if one is None or other is None or len(one) != len(other):
        return None
    return tuple(n if n == m else None for n, m in zip(one, other))


class Difference(NamedTuple):
    """In what items of one form differ from others."""

    #: What differs: the same for all that differ in the same.
    reason: str
    #: How it does.
    text: str


def difference(one: Form, other: Form, where: str = "an item") -> Difference | None:
    """Return in what items of a form differ from all of another one; None if they need not."""
    if "any" in (one.kind, other.kind):
        return None
    if one.kind != other.kind:
        text = f"{where} is {_kind_text(one)}, but {_kind_text(other)} in others"
        return Difference(f"kind of {where}", text)
    if one.kind == "array":
        return _array_difference(one, other, where)
    return _inner_difference(one, other, where)


def _kind_text(form: Form) -> str:
    if form.kind == "array":
        return f"{_dtypes_text(form)} of shape {form.shape}"
    return f"a {form.kind}"


def _dtypes_text(form: Form) -> str:
    return " or ".join(sorted(form.dtypes))


def _array_difference(one: Form, other: Form, where: str) -> Difference | None:
    if not one.dtypes & other.dtypes:
        text = f"{where} has dtype {_dtypes_text(one)}, but {_dtypes_text(other)} in others"
        return Difference(f"dtype of {where}", text)
    if one.shape is None or other.shape is None:
        return None
    is_same = len(one.shape) == len(other.shape)
    if is_same and all(n == m or None in (n, m) for n, m in zip(one.shape, other.shape)):
        return None
    text = f"{where} has shape {one.shape}, but {other.shape} in others"
    return Difference(f"shape of {where}", text)


def _inner_difference(one: Form, other: Form, where: str) -> Difference | None:
    for has, lacks, text in ((other, one, "lacks"), (one, other, "has")):
        for key in has.inside:
            if key not in lacks.inside and key not in has.optional:
                rest = "which others have" if text == "lacks" else "which others lack"
                reason = f"{where} {text} the {_part_text(one, key)}"
                return Difference(reason, f"{reason}, {rest}")
    for key, form in one.inside.items():
        if key in other.inside:
            found = difference(form, other.inside[key], f"the {_part_text(one, key)}")
            if found is not None:
                return found
    return None


def new_dtype(one: Form, other: Form, where: str = "an item") -> str:
    """Return which dtype items of another form have that those of one had not; "" for none."""
    if one.kind != other.kind:
        return ""
    if one.kind == "array" and not other.dtypes <= one.dtypes:
        return f"{where} has dtype {_dtypes_text(one)} at first, and {_dtypes_text(other)}"
    for key, form in one.inside.items():
        if key in other.inside:
            found = new_dtype(form, other.inside[key], f"the {_part_text(one, key)}")
            if found:
                return found
    return ""


def free_along(form: Form, axis: int) -> Form:
    """Return a form whose arrays may have any length along an axis."""
    shape = form.shape
    if shape is not None and -len(shape) <= axis < len(shape):
        lengths = list(shape)
        lengths[axis] = None
        shape = tuple(lengths)
    inside = {key: free_along(each, axis) for key, each in form.inside.items()}
    return form._replace(shape=shape, inside=inside)


def _part_text(form: Form, key: Any) -> str:
    return f"key {_validate.short(key)}" if form.kind == "dict" else f"element {key}"


def is_numerical(form: Form) -> bool:
    """Tell whether items are data for a model: dicts, or arrays with axes."""
    if form.kind == "sequence":
        return any(map(is_numerical, form.inside.values()))
    return form.kind == "dict" or (form.kind == "array" and form.shape != ())


def digest_of(item: Any) -> bytes | None:
    """Return what equal items have in common, and others have not; None if that is not known."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        for part in _bytes_of(item, 4):
            digest.update(part)
    except Exception:  # of the items' own methods
        return None
    return digest.digest()


def _bytes_of(value: Any, depth: int) -> Iterable[Any]:
    if isinstance(value, Mapping) and depth:
        for key, each in value.items():
            yield repr(key).encode()
            yield from _bytes_of(each, depth - 1)
    elif isinstance(value, (list, tuple)) and depth:
        yield b"%d" % len(value)
        for each in value:
            yield from _bytes_of(each, depth - 1)
    else:
        array = array_of(value)
        if array is None or array.dtype.hasobject:
            yield pickle.dumps(value)
        else:
            yield f"{array.dtype.str}{array.shape}".encode()
            yield np.ascontiguousarray(array).tobytes()


def n_bytes_of(item: Any) -> int:
    """Return about how many bytes the arrays of an item have."""
    if isinstance(item, Mapping):
        return sum(map(n_bytes_of, item.values()))
    if isinstance(item, (list, tuple)):
        return sum(map(n_bytes_of, item[:_MOST_PARTS]))
    array = array_of(item)
    return 16 if array is None else array.nbytes
