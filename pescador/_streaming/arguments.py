"""What cannot be an argument of a streamer, though it looks right."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from types import GeneratorType
from typing import Any

from .. import _validate
from .opening import is_finished
from .seeds import FRESH_SEED, misplaced

_CONTAINERS = (list, tuple, dict, set, frozenset)
_MOST_LOOKED_AT = 100  # of a container: one that holds data is not searched


def check_unfinished(args: tuple, kwargs: Mapping) -> None:
    """Refuse a stream, a map or a generator that has been read to its end."""
    for index, value in enumerate((*args, *kwargs.values())):
        if isinstance(value, GeneratorType) and is_finished(value):
            name = [*(f"args[{number}]" for number in range(len(args))), *kwargs][index]
            rule = "can be read only once, and it is at its end"
            remedy = "give a streamer, which starts afresh each time (mux, not mux.iterate())"
            raise _validate.refuse(name, value, rule, remedy)


def check_fresh_seeds(args: tuple, kwargs: dict) -> None:
    """Refuse a FRESH_SEED that is inside an argument, where nothing would replace it."""
    for index, value in enumerate((*args, *kwargs.values())):
        if isinstance(value, _CONTAINERS) and _holds_fresh_seed(value):
            names = [f"args[{number}]" for number in range(len(args))]
            raise misplaced([*names, *kwargs][index], value)


def _holds_fresh_seed(value: Any, depth: int = 3) -> bool:
    if not isinstance(value, _CONTAINERS) or not depth:
        return value is FRESH_SEED
    if isinstance(value, dict):
        value = value.values()
    return any(_holds_fresh_seed(each, depth - 1) for each in islice(value, _MOST_LOOKED_AT))
