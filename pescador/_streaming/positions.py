"""Where a run stands, as something that JSON can hold; and how to get there again.

The *position* of an activation is the number of items it has given, if all that is known of its
source is how to start it again; else it is a dict, made by the record of the run. A dict with the
keys "at" and "skip" is a position, and a number of items to skip from there. What only passes items
on (`ZMQStreamer`, ``Streamer(streamer)``) has the position of what it reads.
"""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Iterator, Mapping
from itertools import islice
from operator import length_hint
from types import GeneratorType
from typing import Any, Protocol

import numpy as np

from .. import _validate
from .._repr import of_items, short
from ..exceptions import PescadorError
from . import leaving
from .closable import ClosableIterator, close_iterator
from .recipe import Recipe

FORMAT = 1

# Iterators over sequences, which can be moved.
_SEQUENCES: tuple[Any, ...] = ([], (), range(0), "", "\u0394", b"", np.empty(0))
_MOVABLE = tuple(type(iter(each)) for each in _SEQUENCES)


class Record(Protocol):
    """What is known of a run, beyond the iterator that gives its items."""

    def position(self, n_given: int) -> Any:
        """Return where the run stands, after so many items."""

    def reads(self) -> list[tuple[Iterator | None, Recipe]]:
        """Return what the run reads, each with the streamer that it is of."""


class _Records:
    """Records, by the iterators that they are of, for as long as these live."""

    def __init__(self) -> None:
        self._by_reference: dict[weakref.ref, Record] = {}
        # (As an iterator goes, this alone is called: no Python code that an interrupt could end.)
        self._forget: Any = self._by_reference.pop

    def __setitem__(self, items: Iterator, record: Record) -> None:
        self._by_reference[weakref.ref(items, self._forget)] = record

    def get(self, items: Iterator) -> Record | None:
        return self._by_reference.get(weakref.ref(items))

    def clear(self) -> None:
        kept = list(self._by_reference.values())
        self._by_reference.clear()
        del kept  # last, with all that they read: no reference is left that would be called


records = _Records()
# So that nothing here keeps a socket open until the interpreter clears its modules.
leaving.afterwards(records.clear)


def position_of(source: Iterator | None, n_given: int) -> Any:
    """Return the position of an activation, which is between two items."""
    record = record_of(source)
    return n_given if record is None else record.position(n_given)


def record_of(source: Iterator | None) -> Record | None:
    """Return what is known of the run that gives the items; None if that is nothing."""
    # (Other iterators have no record, and may have no hash.)
    if isinstance(source, (GeneratorType, ClosableIterator)):
        return records.get(source)
    return None


def skipping(position: Any, n_items: int) -> Any:
    """Return a position that many items further on."""
    position, n_skipped = parts(position)
    n_skipped += n_items
    # (A number alone would not fit a source that has positions of its own.)
    if isinstance(position, int):
        position, n_skipped = 0, position + n_skipped
    return {"at": position, "skip": n_skipped} if n_skipped else position


def parts(position: Any) -> tuple[Any, int]:
    """Return a position in which nothing is skipped, and how many items are to be skipped there."""
    if isinstance(position, dict) and "skip" in position:
        # (States of 2.2 have another name for the position of what a background process reads.)
        at = position["at"] if "at" in position else position["position"]
        return at, position["skip"]
    return position, 0


def n_given_at(position: Any) -> int:
    """Return how many items an activation had given at a position, if that is needed again."""
    position, skip = parts(position)
    if isinstance(position, dict):
        inner = inner_of(position)
        position = position.get("n_items", 0) if inner is None else n_given_at(inner)
    return position + skip


def inner_of(position: dict) -> Any:
    """Return the position of the streamer that a function has made; None if it has made none."""
    return position.get("made", position.get("inner"))  # (its name in states of 2.2)


def moved(source: Iterator, n_items: int, streamer: Any) -> Iterator:
    """Return an iterator that has just been started, after so many items."""
    if not n_items:
        return source
    if type(source) in _MOVABLE:
        n_left = length_hint(source, n_items)
        if n_left < n_items:
            raise _shorter(streamer, n_items, n_left)
        source.__setstate__(n_items)  # type: ignore[attr-defined]
        return source
    try:
        n_given = sum(1 for _ in islice(source, n_items))
        if n_given < n_items:
            raise _shorter(streamer, n_items, n_given)
    except BaseException:
        close_iterator(source)
        raise
    return source


def _shorter(streamer: Any, before: int, now: int) -> PescadorError:
    what = f"gave {of_items(before)} when the state was taken, and now gives only {now}"
    return misfit(streamer, what)


def misfit(streamer: Any, what: str) -> PescadorError:
    """Return the error for a state that does not fit a streamer (or what is called by a name).

    It is for the user to know, whatever a mux outlives: `is_misfit` tells it from others.
    """
    name = streamer if isinstance(streamer, str) else short(streamer)
    error: Any = PescadorError(
        f"the state does not fit the streamer: {name} {what};"
        " resume with the streamer, the arguments and the data with which the state was taken"
    )
    error.is_misfit = True  # (an attribute goes along into other processes)
    return error


def is_misfit(error: BaseException) -> bool:
    """Tell whether an error says that a state does not fit."""
    return isinstance(error, PescadorError) and hasattr(error, "is_misfit")


# What a state has no more of than a digest, which says nothing to a person.
_DIGESTS = {"weights": "other weights", "seed": "another seed"}


def check_same(streamer: Any, before: Mapping, now: Mapping) -> None:
    """Compare how a run was set up with how it is now."""
    for key in {**before, **now}:
        if before.get(key) != now.get(key):
            if key in _DIGESTS:
                raise misfit(streamer, f"had {_DIGESTS[key]} when the state was taken")
            what = f"had {key}={before.get(key)!r} when the state was taken, and has"
            raise misfit(streamer, f"{what} {key}={now.get(key)!r} now")


# A state: what `Stream.state_dict` returns.


def sealed(fields: dict) -> dict:
    """Return a state: fields, with the version of their form and a checksum."""
    fields = {"pescador": FORMAT, **fields}
    return {**fields, "checksum": _checksum(fields)}


def unsealed(state: Any) -> dict:
    """Return the fields of a state, if it is one, and whole."""
    remedy = "give what state_dict() returned, or the same after json.dumps() and json.loads()"
    if not isinstance(state, Mapping) or "pescador" not in state:
        raise _validate.refuse("state", state, "is not the state of a stream", remedy)
    if state["pescador"] != FORMAT:
        rule = f"is of version {state['pescador']!r}, and this release reads version {FORMAT}"
        remedy = "resume with the release of pescador that saved it"
        raise _validate.refuse("state", state, rule, remedy)
    fields = {key: value for key, value in state.items() if key != "checksum"}
    try:
        checksum = _checksum(fields)
    except (TypeError, ValueError, RecursionError):
        checksum = ""
    if state.get("checksum") != checksum:
        raise _validate.refuse("state", state, "has been altered or damaged", remedy)
    return fields


def _checksum(fields: dict) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return digest(text.encode())


def digest(data: bytes) -> str:
    """Return a few letters that stand for data."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()
