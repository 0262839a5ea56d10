"""Small helpers: the length of a batch, random generators, and the 2.x deprecation tools."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from decorator import decorator

from . import _repr, _validate
from ._warning import warn
from .exceptions import DataError
from .exceptions import PescadorError as PescadorError  # where programs of 2.x and 3.0 find it

__all__ = ["Deprecated", "batch_length", "deprecated", "get_rng", "moved", "rename_kw"]

_ELSEWHERE = {
    name: f"it is one of pescador.legacy: import pescador.legacy, then legacy.util.{name}"
    for name in ("buffer_batch", "buffer_streamer", "mux")
}


def __getattr__(name: str) -> object:
    raise _validate.missing_from(__name__, name, _ELSEWHERE)


class UnequalLengthError(DataError, RuntimeError):
    """The fields of a batch differ in length (a RuntimeError as well, as in 0.1)."""


def batch_length(batch: Any) -> int | None:
    """Return the number of rows of a batch.

    Parameters
    ----------
    batch : mapping
        Field name to array (or other sized value) of shape (n_rows, ...).

    Returns
    -------
    int or None
        The number of rows; None for a batch that has no fields.

    Raises
    ------
    PescadorError
        If ``batch`` is not a mapping, a field has no length, or two fields differ in length
        (then it is a RuntimeError too).

    Examples
    --------
    >>> import numpy as np
    >>> from pescador.util import batch_length
    >>> batch_length({"X": np.zeros((3, 2)), "Y": np.zeros(3)})
    3
    """
    if not isinstance(batch, Mapping):
        rule, remedy = "must be a mapping of arrays", "give a dict of arrays"
        raise DataError(_validate.explain("batch", batch, rule, remedy))
    n_rows, first = None, None
    for key, value in batch.items():
        try:
            length = len(value)
        except TypeError as error:
            rule = "a field of a batch must have a length"
            remedy = "give an array of shape (n_rows, ...)"
            raise DataError(_validate.explain(f"batch[{key!r}]", value, rule, remedy)) from error
        if n_rows is None:
            n_rows, first = length, key
        elif length != n_rows:
            rule = f"has {_repr.counted(length, 'row')} where batch[{first!r}] has {n_rows}"
            remedy = "give every field the same number of rows"
            raise UnequalLengthError(_validate.explain(f"batch[{key!r}]", value, rule, remedy))
    return n_rows


def get_rng(random_state: Any) -> Any:
    """Return a random generator for anything that the library takes as ``random_state``.

    Parameters
    ----------
    random_state : None, int >= 0, RandomState, Generator or SeedSequence
        Where the randomness comes from.

    Returns
    -------
    module, RandomState or Generator
        ``np.random`` for None; a new RandomState for an integer or a SeedSequence; for a
        RandomState or a Generator the same object.

    Raises
    ------
    PescadorError
        For anything else (a bool or a negative number, for instance).

    Examples
    --------
    >>> from pescador.util import get_rng
    >>> get_rng(7).randint(100)
    47
    """
    _validate.random_state(random_state)
    if random_state is None:
        return np.random
    if isinstance(random_state, (np.random.RandomState, np.random.Generator)):
        return random_state
    if isinstance(random_state, np.random.SeedSequence):
        return np.random.RandomState(np.random.MT19937(random_state))
    seed = int(random_state)
    if seed < 2**32:
        return np.random.RandomState(seed)
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))


class Deprecated:
    """The default value of a deprecated parameter: it says that nothing was given."""

    def __repr__(self) -> str:
        return "<DEPRECATED parameter>"


DEPRECATED = Deprecated()


def deprecated(version: str, version_removed: str) -> Callable:
    """Mark a function as deprecated: calling it gives a DeprecationWarning.

    Parameters
    ----------
    version, version_removed : str
        The version since which it is deprecated, and the one in which it will be gone.

    Returns
    -------
    callable
        A decorator that keeps the signature, name and docstring.

    Examples
    --------
    >>> from pescador.util import deprecated
    >>> @deprecated("2.2", "3.0")
    ... def old():
    ...     return 1
    """

    def wrapper(func: Callable, *args: Any, **kwargs: Any) -> Any:
        start = f"{func.__module__}.{func.__name__} is deprecated since pescador {version}"
        warn(start, f" and will be removed in {version_removed}", DeprecationWarning)
        return func(*args, **kwargs)

    return decorator(wrapper)


def moved(moved_from: str, version: str, version_removed: str) -> Callable:
    """Mark a function as moved: calling it under its old name gives a DeprecationWarning.

    Parameters
    ----------
    moved_from : str
        The old name, in full.
    version, version_removed : str
        The version since which it has moved, and the one in which the old name will be gone.

    Returns
    -------
    callable
        A decorator that keeps the signature, name and docstring.

    Examples
    --------
    >>> from pescador.util import moved
    >>> @moved("pescador.old", "2.2", "3.0")
    ... def new():
    ...     return 1
    """

    def wrapper(func: Callable, *args: Any, **kwargs: Any) -> Any:
        start = f"{moved_from} has moved to {func.__module__}.{func.__name__}"
        rest = f" in pescador {version}; the old name will be removed in {version_removed}"
        warn(start, rest, DeprecationWarning)
        return func(*args, **kwargs)

    return decorator(wrapper)


def rename_kw(
    old_name: str,
    old_value: Any,
    new_name: str,
    new_value: Any,
    version_deprecated: str,
    version_removed: str,
) -> Any:
    """Return the value of a renamed keyword, with a DeprecationWarning if the old name was used.

    Parameters
    ----------
    old_name : str
        The old name.
    old_value : object
        What was given under it; an instance of `Deprecated` if nothing was.
    new_name : str
        The new name.
    new_value : object
        What was given under it, or its default.
    version_deprecated, version_removed : str
        The version since which the old name is deprecated, and the one in which it will be gone.

    Returns
    -------
    object
        ``new_value``, or ``old_value`` if the old name was used.

    Examples
    --------
    >>> from pescador.util import Deprecated, rename_kw
    >>> rename_kw("lam", Deprecated(), "rate", 16, "2.0", "3.0")
    16
    """
    if isinstance(old_value, Deprecated):
        return new_value
    start = f"The keyword {old_name!r} was renamed {new_name!r}"
    rest = f" in pescador {version_deprecated}; the old name will be removed in {version_removed}"
    warn(start, rest, DeprecationWarning, sys._getframe(1).f_back)  # where that keyword was given
    return old_value
