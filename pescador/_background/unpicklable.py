"""Says what of a task cannot be pickled, and what helps."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any

from .. import _validate
from .._repr import is_streamer
from .._streaming.survey import streamers_of
from ..exceptions import PescadorError

FUNCTIONS = (
    "use generator functions and classes that are defined in a module (not at a prompt, nor in the"
    " __main__ of a zip file or a package), or start_method='fork' (not on Windows)"
)
_GENERATOR = (
    "give the generator function and its arguments, Streamer(function, *args), or use"
    " start_method='fork' (not on Windows)"
)
_OPEN = (
    "give the path, and open the file inside the generator function; make locks, connections and"
    " the like there, too"
)
_SECONDS = 2.0  # to look for it


def refusal(task: Any, method: str, error: Exception) -> PescadorError:
    """Return the error for a task that cannot be pickled; ``error`` says why."""
    name, value = _culprit(task)
    if isinstance(error, (pickle.PicklingError, AttributeError)):
        remedy = FUNCTIONS
    else:
        remedy = _GENERATOR if "'generator'" in str(error) else _OPEN
    rule = f"cannot be pickled, which start_method={method!r} needs ({error})"
    return _validate.refuse(name, value, rule, remedy)


def _culprit(task: Any) -> tuple[str, Any]:
    """Return what of a task cannot be pickled, and its name: the first of its streamers, if any."""
    sink = _Sink()
    if not _can_be_pickled(getattr(task, "init", None), sink):
        return "worker_init", task.init
    first = task[0]
    if isinstance(first, list):  # those of a tree
        found, fallback = first, first
    elif is_streamer(first):  # which was made for the task, around what was given
        found, fallback = list(streamers_of(first)), first.streamer
    else:
        return "streamer", first
    for each in found:
        for part in _own_parts(each):
            if not _can_be_pickled(part, sink):
                return "streamer", part if each is first else each
    return "streamer", fallback


def _own_parts(streamer: Any) -> Iterator:
    """Yield what a streamer takes along, but for other streamers."""
    weights, _ = streamer._weights_to_show()
    for each in (weights, *streamer._parts()):
        if each is not None and not is_streamer(each):
            yield each


def _can_be_pickled(value: Any, sink: _Sink) -> bool:
    try:
        ForkingPickler(sink).dump(value)
    except _OutOfTime:
        return True  # as far as is known
    except Exception:
        return False
    return True


class _OutOfTime(Exception):
    """There is no time to know."""


class _Sink:
    """Takes what a pickler writes, and keeps nothing of it."""

    def __init__(self) -> None:
        self._end = time.monotonic() + _SECONDS

    def write(self, data: Any) -> int:
        """Look at the clock."""
        if time.monotonic() > self._end:
            raise _OutOfTime
        return len(data)
