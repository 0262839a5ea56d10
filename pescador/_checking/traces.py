"""Random generators that a check draws from: they are put back to where they were."""

from __future__ import annotations

import contextlib
import functools
import inspect
import random
from collections.abc import Callable, Iterator
from itertools import islice
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from .._callables import GENERATOR
from .._repr import is_streamer

_MOST_VALUES = 100  # of a container, or attributes of an object, that are looked at
_DEEPEST = 3


class Kept:
    """Where random generators stood before the check, those of NumPy and ``random`` first.

    Used in a ``with`` block, at whose end they stand there again.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._put_back: list[Callable[[], Any]] = []
        self._known: set[int] = set()

    def __enter__(self) -> Kept:
        state = np.random.get_state(legacy=False)
        self._put_back.append(functools.partial(np.random.set_state, state))
        self._put_back.append(functools.partial(random.setstate, random.getstate()))
        np.random.seed(self._seed)
        random.seed(self._seed)
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._restore()
        except BaseException:  # an interrupt: what is put back twice is where it was, too
            self._restore()
            raise

    def _restore(self) -> None:
        for put_back in self._put_back:
            put_back()

    def keep(self, *values: Any) -> list[Any]:
        """Remember where the generators among some values stand; return these generators."""
        found = list(_generators_in(values, _DEEPEST))
        for each in found:
            if id(each) not in self._known:
                self._known.add(id(each))
                with contextlib.suppress(NotImplementedError):  # of the system's own
                    self._put_back.append(_return_to_now(each))
        return found


def _return_to_now(generator: Any) -> Callable[[], Any]:
    """Return what puts a generator back to where it stands now."""
    if isinstance(generator, np.random.RandomState):
        return functools.partial(generator.set_state, generator.get_state(legacy=False))
    if isinstance(generator, random.Random):
        return functools.partial(generator.setstate, generator.getstate())
    bits = getattr(generator, "bit_generator", generator)
    return functools.partial(setattr, bits, "state", bits.state)


_GENERATORS = (
    np.random.RandomState,
    np.random.Generator,
    np.random.BitGenerator,
    random.Random,
)


def _generators_in(value: Any, depth: int) -> Iterator[Any]:
    """Yield the generators that are a value, or in it, or that a function can draw from."""
    if isinstance(value, _GENERATORS):
        yield value
    elif depth and not is_streamer(value):  # (one that is in the tree is looked at itself)
        for each in islice(_inside(value), _MOST_VALUES):
            yield from _generators_in(each, depth - 1)


def _inside(value: Any) -> Iterator[Any]:
    """Yield what is in a value that may hold a generator."""
    if isinstance(value, (list, tuple, set, frozenset)):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif inspect.ismethod(value):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, FunctionType):
        yield from _seen_by(value)
    elif not isinstance(value, type) and callable(value):
        yield from (type(value).__call__, *_attributes(value))
    else:
        yield from _attributes(value)


def _attributes(value: Any) -> Iterator[Any]:
    if not isinstance(value, (type, np.ndarray)) and hasattr(value, "__dict__"):
        yield from list(vars(value).values())


def _seen_by(function: FunctionType) -> Iterator[Any]:
    """Yield the globals that a function names, what it encloses, its defaults, what it wraps."""
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # it is empty
            yield cell.cell_contents
    yield from function.__defaults__ or ()
    for name in ("__wrapped__", GENERATOR):
        if hasattr(function, name):
            yield getattr(function, name)
    for name in names_in(function.__code__):
        value = function.__globals__.get(name)
        if isinstance(value, _GENERATORS):
            yield value


def names_in(code: CodeType) -> set[str]:
    """Return the names that code uses, that of functions inside it too."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= names_in(constant)
    return names
