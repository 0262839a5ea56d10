"""What can be iterated, what can be called to make an iterator, and with which arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from ._validate import refuse, short

# The attribute of a function that is more than a generator function (a map, or one made by
# ``streamable``) under which the bare generator function is found.
GENERATOR = "_pescador_generator"

# The attribute of such a function under which there is one that takes, before the arguments,
# the seed of the run that it is part of.
SEEDED = "_pescador_seeded"

# The attribute of a map that has, between two items, nothing that does not follow from where the
# stream stands that it reads.
FOLLOWS = "_pescador_follows"
# The same of one where, besides, an item comes out for each that goes in.
ONE_TO_ONE = "_pescador_one_to_one"

_DEEPEST_WRAPPING = 100


def is_iterable(value: Any) -> bool:
    """Tell whether ``iter(value)`` is defined, without running it."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    if isinstance(value, np.generic) and not isinstance(value, np.flexible):
        return False  # NumPy's scalars have methods that only fail
    return makes_iterables(type(value))


def makes_iterables(cls: type) -> bool:
    """Tell whether the instances of a class are iterable."""
    if getattr(cls, "__iter__", None) is not None:
        return True
    return not hasattr(cls, "__iter__") and hasattr(cls, "__getitem__")


def callable_for(streamer: Any) -> Callable | None:
    """Return what to call to get an iterator; None if there is no telling that it gives one."""
    if isinstance(streamer, type):
        return streamer if makes_iterables(streamer) else None
    generator_function = getattr(streamer, GENERATOR, None)
    if inspect.ismethod(streamer) and generator_function is not None:
        return generator_function.__get__(streamer.__self__)
    if generator_function is not None:
        return generator_function
    return streamer if callable(streamer) and _wraps_generator_function(streamer) else None


def _wraps_generator_function(value: Any) -> bool:
    """Tell whether calling ``value`` makes a generator, through any number of wrappings."""
    for _ in range(_DEEPEST_WRAPPING):
        if inspect.isgeneratorfunction(value):
            return True
        if isinstance(value, functools.partial):
            value = value.func
        elif hasattr(value, "__wrapped__"):
            value = value.__wrapped__
        elif callable(value) and not inspect.isroutine(value):
            value = type(value).__call__
        else:
            return False
    return False


def check_arguments(call: Any, args: tuple, kwargs: dict) -> None:
    """Raise PescadorError if ``call`` does not take these arguments."""
    while isinstance(call, functools.partial):
        args, kwargs = call.args + args, {**call.keywords, **kwargs}
        call = call.func
    if not kwargs and isinstance(call, FunctionType):
        code = call.__code__
        required = code.co_argcount - len(call.__defaults__ or ())
        if not code.co_kwonlyargcount and required <= len(args) <= code.co_argcount:
            return  # the common case, at a hundredth of the cost
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        return  # written in C, without a signature: its own errors will have to do
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        rule = f"does not take the arguments args={short(args)},"
        rule += f" kwargs={short(kwargs)} ({error})"
        remedy = f"give what its signature asks for, {signature}"
        raise refuse("streamer", call, rule, remedy) from error
