"""A meter is put into a stream, also into one that has begun."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .. import _validate
from .._repr import is_streamer
from . import positions
from .closable import Timer
from .failures import Failure
from .meter import Meter
from .recipe import Recipe
from .stream import Stream


def meter(stream: Stream) -> Meter:
    """Return a meter of what a stream does from now on.

    What is open stays open, unless items are made by a background process, or by a function that
    reads streams in its own way: the stream is then started again where it stands.
    """
    found = Meter()
    with stream._lock:
        if not stream._n_passes:
            _refuse_second(stream, stream._meter)
            stream._meter = found
            return found
        session = stream._seed.session
        _refuse_second(stream, session.meter)
        found.failures_before = session.failures.counts()
        session.meter = found
        if stream._source is not None:
            _join(stream, found)
    return found


def _refuse_second(stream: Stream, known: Any) -> None:
    if known is not None:
        rule, remedy = "has a Monitor already", "use that one, or monitor another stream"
        raise _validate.refuse("stream", stream, rule, remedy)


def _join(stream: Stream, found: Meter) -> None:
    runs = []
    for source, streamer in _below(stream):
        record: Any = positions.record_of(source)
        is_hidden = record is None and any(map(is_streamer, streamer._parts()))
        if is_hidden or getattr(record, "is_elsewhere", False):
            stream._start_again()
            return
        if getattr(record, "n_opened", 0):  # (else it meets the meter as it begins)
            runs.append(record)
    for each in runs:
        each.metered_by(found)


def _below(stream: Stream) -> Iterator[tuple[Any, Recipe]]:
    """Yield what a stream reads, and what that reads, and so on, each with its streamer."""
    left = [(stream._source, stream._streamer)]
    while left:
        source, streamer = left.pop()
        yield source, streamer
        record = positions.record_of(source)
        if record is not None:
            left += record.reads()


def timed(stream: Stream, timer: Timer) -> Iterator:
    """Return a loop's way into a stream, on which some items are timed."""
    return stream._loop(timer)


def failures_of(stream: Stream) -> dict[tuple[int, ...], Failure]:
    """Return what has failed, by the paths of the sources with all that is on the way."""
    return stream._seed.session.failures.by_path() if stream._n_passes else {}
