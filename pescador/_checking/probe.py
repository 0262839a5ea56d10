"""Reads streams, and notes what is to know of their items, without keeping any."""

from __future__ import annotations

import statistics
import warnings
from time import perf_counter
from typing import Any

from .. import _validate
from .._background.layouts import Layout, NotPortable, arrays_of, order_of
from .._streaming.closable import close_iterator
from ..exceptions import DataError
from .clock import Clock, OutOfTime
from .items import Form, digest_of, form_of, merged, n_bytes_of

_MOST_LOOKED_AT = 8  # items of an activation whose form is looked at
_MOST_CROSSING = 2  # the same, of those that are tried to see whether they can go elsewhere
_MOST_COMPARED = 16  # items of two activations


class Facts:
    """What is known of the items of a streamer, after some activations."""

    def __init__(self) -> None:
        self.n_activations = 0
        self.n_items = 0  # the most that one of them gave
        self.has_ended = False  # the first did, before anything cut it off
        self.error: Exception | None = None  # of the last that failed
        self.n_failed = 0
        self.form: Form | None = None
        self.digests: list[bytes | None] = []  # of the first activation
        self.is_alike: bool | None = None  # they begin with the same items; None if not known
        self.cross_error = ""  # why an item cannot go to another process
        self.n_bytes = 0  # of an item, at most
        self.openings: list[float] = []  # seconds until the first item
        self.durations: list[float] = []  # seconds for each of the others
        self.complaint = ""  # of a buffer_stream that gave no batch

    @property
    def n_different(self) -> int:
        """The number of different items that were compared."""
        return len(set(self.digests[:_MOST_COMPARED]))

    def seconds(self, n_items: float) -> float:
        """Return the seconds for an item, if an activation gives so many."""
        each = statistics.median(self.durations) if self.durations else 0.0
        opening = max(0.0, min(self.openings, default=0.0) - each)
        return each + opening / max(n_items, 1.0)


def probe(streamer: Any, n_items: int, n_activations: int, clock: Clock) -> Facts:
    """Read some activations of a streamer, the first the farthest."""
    facts = Facts()
    for number in range(n_activations):
        if number and not clock.left:
            clock.has_cut = True
            break
        _Reader(facts, clock).read(streamer, min(n_items, _MOST_COMPARED) if number else n_items)
        if facts.error is not None and number == 0 and facts.n_items:
            break  # it would do so again, and has been seen to
    return facts


class _Reader:
    """Reads one activation."""

    def __init__(self, facts: Facts, clock: Clock) -> None:
        self._facts = facts
        self._clock = clock
        self._digests: list[bytes | None] = []
        self._n_items = 0

    def read(self, streamer: Any, n_items: int) -> None:
        """Read so many items at most, and close the stream."""
        facts = self._facts
        has_ended = False
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                has_ended = self._read(streamer, n_items)
            except OutOfTime:
                self._clock.has_cut = True
            except Exception as error:
                facts.error = error.with_traceback(None)
                facts.n_failed += 1
        texts = [str(each.message) for each in told]
        complaints = [each for each in texts if each.startswith("buffer_stream gave no batch")]
        facts.complaint = facts.complaint or "".join(complaints[:1])
        self._note(has_ended)

    def _read(self, streamer: Any, n_items: int) -> bool:
        stream = streamer.iterate(n_items)
        try:
            iterator = iter(stream)
            while self._n_items < n_items:
                began = perf_counter()
                try:
                    item = next(iterator)
                except StopIteration:
                    return True
                self._look(item, perf_counter() - began)
                if not self._clock.left:
                    self._clock.has_cut = True
                    return False
            return False
        finally:
            close_iterator(stream)

    def _look(self, item: Any, seconds: float) -> None:
        """Note what is to know of an item."""
        facts = self._facts
        (facts.durations if self._n_items else facts.openings).append(seconds)
        self._digests.append(digest_of(item))
        if self._n_items < _MOST_LOOKED_AT:
            facts.form = merged(facts.form, form_of(item))
            facts.n_bytes = max(facts.n_bytes, n_bytes_of(item))
        if self._n_items < _MOST_CROSSING and not facts.cross_error:
            facts.cross_error = _why_not_across(item, self._n_items)
        self._n_items += 1

    def _note(self, has_ended: bool) -> None:
        """Compare the activation with the first one."""
        facts = self._facts
        if not facts.n_activations:
            facts.digests, facts.has_ended = self._digests, has_ended
        elif facts.error is None:
            n_common = min(len(self._digests), len(facts.digests), _MOST_COMPARED)
            ours, first = self._digests[:n_common], facts.digests[:n_common]
            is_alike = bool(n_common) and ours == first and None not in ours
            facts.is_alike = is_alike and facts.is_alike is not False
        facts.n_activations += 1
        facts.n_items = max(facts.n_items, self._n_items)


def _why_not_across(item: Any, position: int) -> str:
    """Return why an item cannot go to another process; "" if it can."""
    try:
        arrays = arrays_of(item, position)
        for key, array in arrays.items():
            Layout.of(((key, array.dtype, *order_of(array)),))
    except NotPortable as error:
        key, why = error.args
        return f"key {_validate.short(key)} cannot cross to another process ({why})"
    except DataError as error:
        return str(error)
    return ""
