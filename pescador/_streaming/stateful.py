"""Sources that have a state of their own, by which they go on at once.

Such a source is an iterable, or its iterator, with ``state_dict()`` and ``load_state_dict(state)``,
as the datasets of Hugging Face and the nodes of torchdata have; or with ``get_state()`` and
``set_state(state)``, as the iterators of Grain have. One whose methods ask for more arguments has
no state that is known here.
"""

from __future__ import annotations

import copy
import functools
import inspect
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np

from .. import _validate
from . import positions
from .closable import close_iterator

_PROTOCOLS = (("state_dict", "load_state_dict"), ("get_state", "set_state"))
_BYTES, _TUPLE = "pescador:bytes", "pescador:tuple"  # keys in JSON


def _protocol_of(cls: type) -> tuple[str, str] | None:
    """Return the names of the methods that give and take the state of an object, if it has one."""
    for names in _PROTOCOLS:
        if _takes(cls, names[0], 0) and _takes(cls, names[1], 1):
            return names
    return None


def _takes(cls: type, name: str, n_arguments: int) -> bool:
    """Tell whether instances of a class have such a method, which takes so many arguments."""
    method = getattr(cls, name, None)
    if not callable(method):
        return False
    is_bound = isinstance(inspect.getattr_static(cls, name), (classmethod, staticmethod))
    try:
        inspect.signature(method).bind(*[None] * (n_arguments + (not is_bound)))
    except TypeError:
        return False
    except ValueError:
        pass  # written in C, without a signature
    return True


protocol_of: Callable[[type], tuple[str, str] | None] = functools.lru_cache(1024)(_protocol_of)


def opened(source: Any, is_shared: bool, streamer: Any, position: Any = None) -> Iterator:
    """Return an iterator over a source, or over a copy of it if it has a state and is shared."""
    names = protocol_of(type(source))
    if names is not None:
        owner = _copied(source, streamer) if is_shared else source
        if position is not None:
            getattr(owner, names[1])(from_json(position["object"]))
        return _reading(owner, names, iter(owner), streamer, position)
    iterator = iter(source)
    names = protocol_of(type(iterator))
    if names is not None:
        if position is not None:
            getattr(iterator, names[1])(from_json(position["object"]))
        return _reading(iterator, names, iterator, streamer, position)
    if position is not None:
        raise positions.misfit(streamer, "had a source that saves its own state, and has none now")
    return iterator


def _copied(source: Any, streamer: Any) -> Any:
    """Return a copy of an object that is opened again and again."""
    try:
        for _ in range(_MOST_CHANGES):
            try:
                return _copy(source)
            except RuntimeError as error:
                if "during iteration" not in str(error):
                    raise
        return _copy(source)
    except Exception as error:
        rule = f"saves its own state, so each activation needs a copy of it, which failed ({error})"
        remedy = "give a class or function that makes the object: Streamer(make, arguments)"
        raise _validate.refuse("streamer", streamer, rule, remedy) from error


# An object may hold a table that other threads write to; or the copying itself, once in each thread
# (datasets of Hugging Face hold the table of all file systems). Then it is copied again.
_MOST_CHANGES = 100


def _copy(source: Any) -> Any:
    modules = {id(each): each for each in list(sys.modules.values())}  # are no part of it
    return copy.deepcopy(source, modules)


def _reading(
    owner: Any, names: tuple[str, str], iterator: Iterator, streamer: Any, position: Any
) -> Generator:
    items = _items(iterator)
    positions.records[items] = _Stateful(owner, names[0], streamer, position)
    return items


def _items(iterator: Iterator) -> Generator:
    try:
        for item in iterator:  # noqa: UP028 - it is closed here
            yield item
    finally:
        close_iterator(iterator)


class _Stateful:
    """What is known of one activation of a source with a state of its own."""

    def __init__(self, owner: Any, name: str, streamer: Any, begun_at: Any) -> None:
        self._owner, self._name, self._streamer = owner, name, streamer
        self._begun_at = begun_at

    def reads(self) -> list:
        """Return nothing: it is the source."""
        return []

    def position(self, n_given: int) -> Any:
        """Return the state of the object."""
        if not n_given:
            return 0
        if self._begun_at is not None and n_given == self._begun_at["n_items"]:
            return self._begun_at  # (some take a state over with their first item)
        state = getattr(self._owner, self._name)()
        try:
            state = as_json(state)
        except TypeError as error:
            rule = f"has a source whose {self._name}() returned what JSON cannot hold: {error}"
            remedy = "let it return strings, numbers, None, bytes, or lists and dicts of these"
            raise _validate.refuse("streamer", self._streamer, rule, remedy) from error
        return {"object": state, "n_items": n_given}


def as_json(value: Any, name: str = "state") -> Any:
    """Return a state as JSON can hold it; a TypeError names what it cannot hold."""
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and value - value == 0:  # (neither infinite nor nan)
        return float(value)
    if isinstance(value, (bytes, bytearray)):
        return {_BYTES: b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        found = [as_json(each, f"{name}[{index}]") for index, each in enumerate(value)]
        return {_TUPLE: found} if isinstance(value, tuple) else found
    if isinstance(value, dict) and all(map(_is_key, value)):
        return {key: as_json(each, f"{name}[{key!r}]") for key, each in value.items()}
    raise TypeError(f"{name} is {_validate.short(value)}")


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and key not in (_BYTES, _TUPLE)


def from_json(value: Any) -> Any:
    """Return the state that `as_json` was given."""
    if isinstance(value, list):
        return list(map(from_json, value))
    if not isinstance(value, dict):
        return value
    if value.keys() == {_BYTES}:
        return b64decode(value[_BYTES])
    if value.keys() == {_TUPLE}:
        return tuple(map(from_json, value[_TUPLE]))
    return {key: from_json(each) for key, each in value.items()}
