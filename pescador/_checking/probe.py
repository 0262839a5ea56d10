"""Reads streams, and notes what is to know of their items, without keeping any."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Iterator
from time import perf_counter
from typing import Any

from .. import _validate
from .._background.layouts import Layout, NotPortable, arrays_of, order_of
from .._streaming.closable import close_iterator
from ..exceptions import DataError
from .clock import Clock, OutOfTime
from .items import Form, digest_of, form_of, merged, n_bytes_of, new_dtype

_MOST_CROSSING = 2  # items of an activation that are tried to see whether they can go elsewhere
MOST_COMPARED = 16  # items of two activations
_END = object()


class Facts:
    """What is known of the items of a streamer, after some activations."""

    def __init__(self) -> None:
        self.n_activations = 0
        self.n_items = 0  # the most that one of them gave
        self.has_ended = False  # that one did, before anything cut it off
        self.error: Exception | None = None  # of the last that failed
        self.failed_at = 0  # the number of items before that
        self.n_fine = 0  # the most items of one that did not fail
        self.form: Form | None = None
        self.change = ""  # of the dtype of something in the items, at one of them
        self.digests: list[bytes | None] = []  # of the longest activation
        self.is_alike: bool | None = None  # they begin with the same items; None if not known
        self.cross_error = ""  # why an item cannot go to another process
        self.n_bytes = 0  # of an item, at most
        self.openings: list[float] = []  # seconds until the first item
        self.durations: list[float] = []  # seconds for each of the others
        self.complaint = ""  # of a buffer_stream that gave no batch

    @property
    def n_different(self) -> int:
        """The number of different items that were compared."""
        return len(set(self.digests[:MOST_COMPARED]))

    def seconds(self, n_items: float) -> float:
        """Return the seconds for an item, if an activation gives so many."""
        each = statistics.median(self.durations) if self.durations else 0.0
        opening = max(0.0, min(self.openings, default=0.0) - each)
        return each + opening / max(n_items, 1.0)


def probe(
    streamer: Any, n_items: int, clock: Clock, facts: Facts | None = None, n_digests: int = 0
) -> Facts:
    """Read an activation of a streamer, and add to what is known."""
    facts = facts or Facts()
    _Reader(facts, clock, n_digests).read(streamer, n_items)
    return facts


class _Reader:
    """Reads one activation."""

    def __init__(self, facts: Facts, clock: Clock, n_digests: int) -> None:
        self._facts = facts
        self._clock = clock
        self._n_digests = n_digests
        self._last: Form | None = None
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
                facts.n_fine = max(facts.n_fine, self._n_items)
            except OutOfTime:
                self._clock.cut()
            except Exception as error:
                facts.error = error.with_traceback(None)
                facts.failed_at = self._n_items
        texts = [str(each.message) for each in told]
        complaints = [each for each in texts if each.startswith("buffer_stream gave no batch")]
        facts.complaint = facts.complaint or "".join(complaints[:1])
        self._note(has_ended)

    def _read(self, streamer: Any, n_items: int) -> bool:
        stream = streamer.iterate(n_items)
        try:
            return self._read_all(iter(stream), n_items)
        finally:
            close_iterator(stream)

    def _read_all(self, iterator: Iterator, n_items: int) -> bool:
        """Read items; tell whether that was the end."""
        while self._n_items < n_items:
            began = perf_counter()
            item = next(iterator, _END)
            if item is _END:
                return True
            self._look(item, perf_counter() - began)
            if not self._clock.left and self._n_items < n_items:
                self._clock.cut()
                return False
        return False

    def _look(self, item: Any, seconds: float) -> None:
        """Note what is to know of an item."""
        facts = self._facts
        (facts.durations if self._n_items else facts.openings).append(seconds)
        if self._n_items < self._n_digests:
            self._digests.append(digest_of(item))
        form = form_of(item)
        if form != self._last:
            self._last = form
            self._note_form(form)
            facts.n_bytes = max(facts.n_bytes, n_bytes_of(item))
        if self._n_items < _MOST_CROSSING and not facts.cross_error:
            facts.cross_error = _why_not_across(item, self._n_items)
        self._n_items += 1

    def _note_form(self, form: Form) -> None:
        facts = self._facts
        if facts.form is not None and not facts.change:
            found = new_dtype(facts.form, form)
            facts.change = f"{found} from item {self._n_items} on" if found else ""
        facts.form = merged(facts.form, form)

    def _note(self, has_ended: bool) -> None:
        """Compare the activation with the longest one so far."""
        facts = self._facts
        if facts.n_activations and facts.error is None:
            n_common = min(len(self._digests), len(facts.digests), MOST_COMPARED)
            ours, longest = self._digests[:n_common], facts.digests[:n_common]
            is_alike = bool(n_common) and ours == longest and None not in ours
            facts.is_alike = is_alike and facts.is_alike is not False
        if self._n_items > facts.n_items or not facts.n_activations:
            facts.digests, facts.has_ended = self._digests, has_ended
        elif self._n_items == facts.n_items:
            facts.has_ended = facts.has_ended or has_ended
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
        return f"key {_validate.short(key)} cannot be sent to another process ({why})"
    except DataError as error:
        return str(error)
    return ""
