"""Argument checks, all with one message shape: the value, the rule, the remedy."""

from __future__ import annotations

import inspect
import math
import numbers
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._repr import counted, short
from .exceptions import PescadorError


def explain(name: str, value: Any, rule: str, remedy: str) -> str:
    """Return the text of an error: what was given, the rule, what to do."""
    return f"{name}={short(value)}: {rule}; {remedy}"


def refuse(name: str, value: Any, rule: str, remedy: str) -> PescadorError:
    """Return (for ``raise``) the error that refuses ``value``."""
    return PescadorError(explain(name, value, rule, remedy))


def stopped(streamer: Any) -> RuntimeError:
    """Return the error for a StopIteration that would pass for the end of the data."""
    return RuntimeError(
        f"{short(streamer)} raised StopIteration as it started, instead of giving an iterator;"
        " give next() a default there, or return an empty iterator"
    )


def missing(value: Any, name: str, elsewhere: Mapping[str, str]) -> AttributeError:
    """Return the error for an attribute that is not there, with where it is if that is known."""
    text = f"{type(value).__name__!r} object has no attribute {name!r}"
    if name in elsewhere:
        text += f"; {elsewhere[name]}"
    return AttributeError(text, name=name, obj=value)


def missing_from(module: str, name: str, elsewhere: Mapping[str, str]) -> AttributeError:
    """Return the error for a name that a module has not, with what there is instead."""
    text = f"module {module!r} has no attribute {name!r}"
    if name in elsewhere:
        text += f"; {elsewhere[name]}"
    return AttributeError(text, name=name, obj=sys.modules[module])


def ordered(name: str, value: Any) -> None:
    """Refuse a set: its order is another in every process, so that no seed fixes what it gives."""
    is_kind = isinstance(value, type) and issubclass(value, (set, frozenset))
    if is_kind or isinstance(value, (set, frozenset)):
        rule = "a set has no fixed order, so neither a seed nor a state can repeat it"
        raise refuse(name, value, rule, "sort it into a list: sorted(...)")


def depth(what: str, value: Any, n_levels: int) -> None:
    """Refuse what is nested too deep for Python, before anything fails half-way or stays open."""
    if n_levels < _SAFE_DEPTH:
        return
    deepest = sys.getrecursionlimit() // _CALLS_PER_LEVEL
    if n_levels > deepest:
        rule = f"{what} are nested more than {deepest} levels deep, which takes more nested calls"
        rule += f" than Python allows ({sys.getrecursionlimit()})"
        remedy = "nest them less, or call sys.setrecursionlimit with a larger number"
        raise refuse("streamer", value, rule, remedy)


_CALLS_PER_LEVEL = 12  # of closing, and of resuming, a mux in a streamer
_SAFE_DEPTH = 20  # under which there is no need to look


def _real(value: Any) -> int | float | None:
    """Return a real number as Python's own int or float; None if it is not one (a bool is not)."""
    if isinstance(value, (np.ndarray, np.generic)):
        kind = value.dtype.kind if value.ndim == 0 else ""
        if kind in "iu" and kind:
            return int(value)
        return float(value) if kind == "f" else None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    if isinstance(value, numbers.Integral):
        return int(value)
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _is_finite(number: int | float | None) -> bool:
    return number is not None and abs(number) <= sys.float_info.max


def whole(name: str, value: Any, minimum: int, remedy: str, maximum: int | None = None) -> int:
    """Return ``value`` as an int: a whole number of at least ``minimum``.

    Integral floats such as ``1e2`` and NumPy scalars are accepted. A number beyond
    ``sys.maxsize`` stands for it, if there is no ``maximum``.
    """
    number = _real(value)
    # (inf // 1 is nan, which equals nothing)
    if number is not None and minimum <= number <= (maximum or number) and number // 1 == number:
        return min(int(number), sys.maxsize)
    rule = f"must be a whole number >= {minimum}"
    if maximum is not None and (maximum != sys.maxsize or (number or 0) > maximum):
        rule += f" and <= {maximum}"
    raise refuse(name, value, rule, remedy)


def whole_or_none(name: str, value: Any, minimum: int, remedy: str) -> int | None:
    """Return ``value`` as an int, or None if it is None or infinite."""
    if value is None or _real(value) == math.inf:
        return None
    return whole(name, value, minimum, remedy)


def positive(name: str, value: Any, remedy: str) -> float:
    """Return ``value`` as a float: finite and greater than zero."""
    number = _real(value)
    if number is None or not _is_finite(number) or number <= 0:
        raise refuse(name, value, "must be a finite number > 0", remedy)
    return float(number)


#: What `multiprocessing` can start a process by.
START_METHODS = ("fork", "spawn", "forkserver")


def positive_or_none(name: str, value: Any, remedy: str) -> float | None:
    """Return None for None, else what `positive` does."""
    return None if value is None else positive(name, value, remedy)


def not_negative(name: str, value: Any, remedy: str) -> float:
    """Return ``value`` as a float: finite and not less than zero."""
    number = _real(value)
    if number is None or not _is_finite(number) or number < 0:
        raise refuse(name, value, "must be a finite number >= 0", remedy)
    return float(number)


def probability(name: str, value: Any, remedy: str) -> float:
    """Return ``value`` as a float: greater than 0, and at most 1."""
    number = _real(value)
    if number is None or not 0 < number <= 1:
        raise refuse(name, value, "must be a number > 0 and <= 1", remedy)
    return float(number)


def truth(name: str, value: Any, remedy: str) -> bool:
    """Return ``value`` as a bool; 0 and 1 are accepted, other numbers are not."""
    if isinstance(value, (bool, np.bool_)) or _real(value) in (0, 1):
        return bool(value)
    raise refuse(name, value, "must be True or False", remedy)


def option(name: str, value: Any, options: Sequence[str]) -> str:
    """Return ``value``, one of the strings ``options``."""
    if isinstance(value, str) and value in options:
        return value
    allowed = ", ".join(repr(each) for each in options)
    raise refuse(name, value, "is not a known option", f"choose one of {allowed}")


def weights_at(function: Any, n_items: int, n_streams: int) -> np.ndarray:
    """Return the weights that a function gives for the items from ``n_items`` on."""
    try:
        inspect.signature(function).bind(n_items)
    except TypeError as error:
        rule = f"is not a function of one argument ({error})"
        raise refuse("weights", function, rule, "let it take the number of items so far") from error
    except ValueError:
        pass  # written in C, without a signature
    value, name = function(n_items), f"weights({n_items})"
    remedy = f"return as many finite numbers >= 0 as there are streamers ({n_streams})"
    checked = weights(value, n_streams, name, remedy)
    if checked is None:
        raise refuse(name, value, "must be a sequence of numbers", remedy)
    return checked


def weights(
    value: Any, n_streams: int, name: str = "weights", remedy: str = ""
) -> np.ndarray | None:
    """Return the weights as a fresh float array that sums to one, or None.

    Raises
    ------
    PescadorError
        If they are not ``n_streams`` finite numbers >= 0 with a positive sum;
        the message names the first offending index.
    """
    if value is None:
        return None
    if not remedy:
        remedy = f"give as many finite numbers >= 0 as there are streamers ({n_streams}), or None"
    if isinstance(value, (str, bytes, Mapping)):
        raise refuse(name, value, "must be a sequence of numbers", remedy)
    array = _real_array(value, name, remedy)
    if array.shape != (n_streams,):
        rule = (
            f"must have one weight for each of {counted(n_streams, 'streamer')},"
            f" and has shape {array.shape}"
        )
        raise refuse(name, value, rule, remedy)
    wrong = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if wrong.size:
        index = int(wrong[0])
        raise refuse(f"{name}[{index}]", array[index].item(), "must be finite and >= 0", remedy)
    if not array.any():
        rule = "must have a positive weight, but all are zero"
        raise refuse(name, value, rule, remedy)
    # The largest first, so that the sum can neither overflow nor vanish; and nothing positive
    # may vanish, since zero means never.
    is_positive = array > 0
    array /= array.max()
    array /= array.sum()
    return np.where(is_positive, np.maximum(array, sys.float_info.min), 0.0)


def _real_array(value: Any, name: str, remedy: str) -> np.ndarray:
    """Return weights as a fresh array of floats."""
    try:
        given = np.asarray(value)
    except (TypeError, ValueError):
        given = np.array(None)  # ragged: the loop below finds where
    if given.dtype.kind in "biuf":
        with np.errstate(over="ignore"):  # infinities are found later
            return given.astype(float)
    if given.dtype == object and given.ndim == 1:  # a column of a table
        value = given.tolist()
    if not isinstance(value, (list, tuple)):
        raise refuse(name, value, "must be a sequence of numbers", remedy)
    for index, weight in enumerate(value):  # say which; very large integers are fine, however
        if not _is_finite(_weight(weight)):
            rule = "must be a number, finite and >= 0"
            raise refuse(f"{name}[{index}]", weight, rule, remedy)
    return np.array([float(weight) for weight in value])


def _weight(value: Any) -> int | float | None:
    """Return a number of any type, a bool too, as Python's own; None if it is not one."""
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    if isinstance(value, numbers.Number) and not isinstance(value, (numbers.Complex, np.generic)):
        return float(value)  # type: ignore[arg-type] # a Decimal
    return _real(value)


def random_state(value: Any, name: str = "random_state") -> Any:
    """Return ``value`` if it is a source of randomness that the library accepts."""
    generators = (np.random.RandomState, np.random.Generator, np.random.SeedSequence)
    if value is None or isinstance(value, generators):
        return value
    number = _real(value)
    if isinstance(number, int) and number >= 0:
        return number
    raise refuse(
        name,
        value,
        "is not a source of randomness",
        "give None, an integer >= 0, or a NumPy RandomState, Generator or SeedSequence",
    )
