"""Argument checks, all with one message shape: the value, the rule, the remedy."""

from __future__ import annotations

import math
import numbers
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .exceptions import PescadorError

_shorten = reprlib.Repr()
_shorten.maxstring = _shorten.maxother = 60


def explain(name: str, value: Any, rule: str, remedy: str) -> str:
    """Return the text of an error: what was given, the rule, what to do."""
    return f"{name}={short(value)}: {rule}; {remedy}"


def short(value: Any) -> str:
    """Return a ``repr`` that fits in a message, whatever the value."""
    try:
        text = _shorten.repr(value)
    except Exception:  # a repr that fails must not hide the error being reported
        text = object.__repr__(value)
    return " ".join(text.split())


def refuse(name: str, value: Any, rule: str, remedy: str) -> PescadorError:
    """Return (for ``raise``) the error that refuses ``value``."""
    return PescadorError(explain(name, value, rule, remedy))


def _is_real(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 0 and value.dtype.kind in "iuf"
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))


def whole(name: str, value: Any, minimum: int, remedy: str) -> int:
    """Return ``value`` as an int: a whole number of at least ``minimum``.

    Integral floats such as ``1e2`` and NumPy scalars are accepted.
    """
    if _is_real(value) and math.isfinite(value) and int(value) == value and value >= minimum:
        return int(value)
    raise refuse(name, value, f"must be a whole number >= {minimum}", remedy)


def whole_or_none(name: str, value: Any, minimum: int, remedy: str) -> int | None:
    """Return ``value`` as an int, or None if it is None."""
    return None if value is None else whole(name, value, minimum, remedy)


def positive(name: str, value: Any, remedy: str) -> float:
    """Return ``value`` as a float: finite and greater than zero."""
    if _is_real(value) and math.isfinite(value) and value > 0:
        return float(value)
    raise refuse(name, value, "must be a finite number > 0", remedy)


def probability(name: str, value: Any, remedy: str) -> float:
    """Return ``value`` as a float in the closed interval [0, 1]."""
    if _is_real(value) and 0 <= value <= 1:
        return float(value)
    raise refuse(name, value, "must be a number from 0 to 1", remedy)


def truth(name: str, value: Any, remedy: str) -> bool:
    """Return ``value`` as a bool; 0 and 1 are accepted, other numbers are not."""
    if isinstance(value, (bool, np.bool_)) or (_is_real(value) and value in (0, 1)):
        return bool(value)
    raise refuse(name, value, "must be True or False", remedy)


def option(name: str, value: Any, options: Sequence[str]) -> str:
    """Return ``value``, one of the strings ``options``."""
    if isinstance(value, str) and value in options:
        return value
    allowed = ", ".join(repr(each) for each in options)
    raise refuse(name, value, "is not a known option", f"choose one of {allowed}")


def weights(value: Any, n_streams: int) -> np.ndarray | None:
    """Return the weights as a fresh float array that sums to one, or None.

    Raises
    ------
    PescadorError
        If they are not ``n_streams`` finite numbers >= 0 with a positive sum;
        the message names the first offending index.
    """
    if value is None:
        return None
    remedy = f"give {n_streams} finite numbers >= 0, one for each streamer, or None"
    if isinstance(value, (str, bytes, Mapping)):
        raise refuse("weights", value, "must be a sequence of numbers", remedy)
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "iuf":
            raise TypeError(f"they have dtype {given.dtype}")
        array = given.astype(float)
    except (TypeError, ValueError, OverflowError) as error:
        raise refuse("weights", value, "must be a sequence of numbers", remedy) from error
    if array.shape != (n_streams,):
        rule = f"must have one weight for each of {n_streams} streamers, has shape {array.shape}"
        raise refuse("weights", value, rule, remedy)
    wrong = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if wrong.size:
        index = int(wrong[0])
        raise refuse(f"weights[{index}]", array[index], "must be finite and >= 0", remedy)
    if not array.any():
        rule = "must have at least one positive weight, all are zero (weights[0] too)"
        raise refuse("weights", value, rule, remedy)
    # The largest first, so that the sum can neither overflow nor vanish.
    array /= array.max()
    return array / array.sum()


def random_state(value: Any, name: str = "random_state") -> Any:
    """Return ``value`` if it is a source of randomness that the library accepts."""
    generators = (np.random.RandomState, np.random.Generator, np.random.SeedSequence)
    if value is None or isinstance(value, generators):
        return value
    if isinstance(value, numbers.Integral) and _is_real(value) and int(value) >= 0:
        return value
    raise refuse(
        name,
        value,
        "is not a source of randomness",
        "give None, an integer >= 0, or a NumPy RandomState, Generator or SeedSequence",
    )
