"""What a stream has done: shares, openings, failures, and who made the loop wait."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from time import perf_counter
from typing import Any

from . import _validate
from ._monitoring import progress as bars
from ._monitoring.counts import MuxCounts, Path, counts_of
from ._monitoring.plots import plot
from ._monitoring.rows import SourceReport, named, rows_of, sources_among
from ._monitoring.tables import as_html, as_text, those_that_matter
from ._repr import is_streamer
from ._streaming.closable import ClosableIterator
from ._streaming.metering import failures_of, meter
from ._streaming.stream import Stream

__all__ = ["Monitor", "Report", "SourceReport"]

_TIMED_EVERY = 30e-6  # seconds of a loop, for one item that is timed
_MOST_UNTIMED = 1000  # items
_KEPT = 0.99  # of a running mean, after an item more


class Monitor:
    """Iterate a stream, and count what it does from now on.

    Parameters
    ----------
    stream : Stream
        What `Streamer.iterate`, `cycle` or `resume` returns; it may have begun. Iterate the
        monitor in its place.
    progress : bool
        Whether to show a progress bar (needs the package tqdm), with the items a second, how many
        streams are open, how much of the time the loop has waited, and how many sources failed.
    total : int >= 0, optional
        How many items there will be, for the progress bar; None: the stream's own bound.

    Attributes
    ----------
    stream : Stream
        The stream, for its ``state_dict()`` and ``save()``.

    Raises
    ------
    PescadorError
        If ``stream`` is no stream, or has a monitor already; if tqdm is needed and not installed.

    Notes
    -----
    What counts is what was handed out since the monitor was made: what resuming, or a new worker,
    reads again does not count. The numbers are exact between any two items, also across
    `ZMQStreamer` and `ParallelStreamer`. A stream in which a background process has begun to make
    items is started again where it stands.

    An item costs nothing, but for a sample that is timed; an activation about half a microsecond
    more. A background process also says whose items it sends.

    Examples
    --------
    >>> import pescador
    >>> mux = pescador.ShuffledMux([pescador.Streamer(range, 100) for _ in range(2)])
    >>> monitor = pescador.Monitor(mux.iterate(max_iter=50))
    >>> len(list(monitor))
    50
    >>> monitor.report().n_items
    50
    """

    def __init__(self, stream: Any, progress: bool = False, total: int | None = None) -> None:
        self.stream: Stream = _stream(stream)
        self._progress = _validate.truth("progress", progress, "give True for a progress bar")
        self._total = _validate.whole_or_none(
            "total", total, 0, "give a number of items, or None for the bound of the stream"
        )
        if self._progress:
            bars.check()
        self._meter = meter(self.stream)
        self._n_before = self.stream.n_given
        self._begin, self._end = perf_counter(), 0.0
        self._waited = 0.0  # but for what the meter knows
        self._items: Iterator | None = None

    def __repr__(self) -> str:
        return f"Monitor({self.stream!r})"

    def __iter__(self) -> Iterator:
        items = chain.from_iterable(self._portions())
        if not self._progress:
            return items
        total = self.stream.max_iter if self._total is None else self._total
        return iter(bars.bar(self, items, total, self.stream.n_given))

    def __next__(self) -> Any:
        if self._items is None:
            self._items = iter(self)
        return next(self._items)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the stream."""
        self.stream.close()
        self._stop()

    def _stop(self) -> None:
        self._end = self._end or perf_counter()

    def _portions(self) -> Iterator[Any]:
        """Yield iterables of the items, some of which are timed: all of them in a slow loop."""
        items, rng, found = iter(self.stream), random.Random(0), self._meter
        n_items = 1  # that the timed one stands for
        mean = 1.0  # seconds of the loop for an item, over the last hundred
        while True:
            begin, blocked = perf_counter(), found.blocked
            try:
                item = next(items)
            except StopIteration:
                n_items = 1
                self._stop()
                return
            finally:
                seconds = perf_counter() - begin - (found.blocked - blocked)
                self._waited += seconds * n_items
            yield (item,)
            n_items = 1
            if mean < _TIMED_EVERY:  # at random, so that no rhythm of the sources is met
                n_items += int(2 * rng.random() * min(_TIMED_EVERY / mean, _MOST_UNTIMED))
                yield islice(items, n_items - 1)
            of_each = (perf_counter() - begin) / n_items
            mean += (of_each - mean) * (1 - _KEPT**n_items)

    def report(self) -> Report:
        """Return what the stream has done since the monitor was made.

        Returns
        -------
        Report
            It stays as it is while the stream goes on.

        Notes
        -----
        It may be called at any time, between two items. It takes time for each streamer that was
        opened so far, some 10 ms for 100,000; its rows are made when they are read.
        """
        muxes, known = counts_of(self._meter), {}
        for path, entry in failures_of(self.stream).items():
            n_failures = entry.count - self._meter.failures_before.get(path, 0)
            known[path] = n_failures, entry.is_dropped
        seconds, waited = self.times()
        return Report(
            n_items=self.stream.n_given - self._n_before,
            seconds=seconds,
            waited=waited,
            bytes_ahead=sum(part.bytes_ahead() for part in list(self._meter.parts)),
            muxes=muxes,
            failures=known,
        )

    def times(self) -> tuple[float, float]:
        """Return the seconds since the monitor was made, and how many of them were waited."""
        seconds = (self._end or perf_counter()) - self._begin
        return seconds, min(seconds, self._waited + self._meter.blocked)

    def n_open(self) -> int:
        """Return how many streams of the muxes are open now."""
        for part in list(self._meter.parts):
            part.settle()
        runs = [run for mux in list(self._meter.muxes.values()) for run in list(mux.runs)]
        return sum(len(run.open_streams()) for run in runs)


class Report:
    """What a stream has done: made by `Monitor.report`.

    Attributes
    ----------
    n_items : int
        How many items were handed out.
    seconds : float
        Time since the monitor was made, up to the end of the stream.
    waited : float
        Seconds in which the caller waited for items: exact where items are made in workers and
        processes, and in loops that take longer than 30 microseconds an item; else from a sample.
    opening : float
        Seconds in opening sources, up to the first item of each; those that are opened in the
        program. From a sample where they are quick.
    n_opened : int
        How often a source was opened.
    n_failures : int
        How often a source has failed, and was replaced.
    n_sources : int
        How many sources were opened.
    bytes_ahead : int
        Bytes that have come from processes and workers, and have not been handed out.
    sources : tuple of SourceReport
        A row for each source that was opened: a streamer that a mux has opened, without a mux
        below it. Made when it is read for the first time.

    See Also
    --------
    Monitor : Makes it.

    Notes
    -----
    The promised share and its standard deviation are those of the page on what a mux gives of each
    streamer (docs/muxanalysis.md). With nested muxes, shares are products, and so are those
    promised. If nothing is wrong, ``abs(z) > 5.5`` happens to a source once in a million reports
    or less.
    """

    def __init__(
        self,
        n_items: int,
        seconds: float,
        waited: float,
        bytes_ahead: int,
        muxes: dict[Path, MuxCounts],
        failures: dict[Path, tuple[int, bool]],
    ) -> None:
        self.n_items, self.seconds, self.waited = n_items, seconds, waited
        self.bytes_ahead = bytes_ahead
        self._muxes, self._failures = muxes, failures
        self.n_sources = self.n_opened = 0
        self.opening = 0.0
        for path, mux in muxes.items():
            n = len(path)
            inner = {each[n] for each in muxes if each[:n] == path and len(each) > n}
            inner &= mux.opened.keys()
            self.n_sources += len(mux.opened) - len(inner)
            self.n_opened += sum(mux.opened.values()) - sum(mux.opened[each] for each in inner)
            self.opening += sum(mux.opening.values()) - sum(mux.opening[each] for each in inner)
        self.n_failures = sum(count for count, _ in failures.values())
        self._rows: dict[Path, SourceReport] | None = None

    @property
    def sources(self) -> tuple[SourceReport, ...]:
        """A row for each source that was opened."""
        return tuple(sources_among(self._all_rows(), self._muxes).values())

    def _all_rows(self) -> dict[Path, SourceReport]:
        if self._rows is None:
            self._rows = named(rows_of(self._muxes, self._failures), self._muxes)
        return self._rows

    def at(self, depth: int) -> tuple[SourceReport, ...]:
        """Return the rows of the streamers at a depth.

        Parameters
        ----------
        depth : int >= 1
            1: the streamers of the outermost mux; 2: those of the muxes there; and so on.

        Returns
        -------
        tuple of SourceReport
            Those whose path has that length, muxes and sources alike.

        Raises
        ------
        PescadorError
            If ``depth`` is not a whole number from 1 on.
        """
        depth = _validate.whole("depth", depth, 1, "give 1 for the streamers of the outermost mux")
        return tuple(row for row in self._all_rows().values() if len(row.path) == depth)

    def most_notable(self) -> tuple[SourceReport, ...]:
        """Return the twenty rows that matter most, in their order: what a table shows.

        Those that failed or were left out, whose shares are far from those promised, that were
        waited for, that gave the most.
        """
        rows = rows_of(self._muxes, self._failures)
        found = those_that_matter(sources_among(rows, self._muxes))
        return tuple(named(found, self._muxes).values())

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def __repr__(self) -> str:
        return f"<Report of {self.n_items:,} items from {self.n_sources:,} sources>"

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it, for a logger.

        Returns
        -------
        dict
            The attributes; ``"sources"`` is a list of dicts.
        """
        names = ("n_items", "seconds", "waited", "opening", "n_opened", "n_failures")
        numbers = {name: getattr(self, name) for name in (*names, "n_sources", "bytes_ahead")}
        rows = [{**row._asdict(), "path": list(row.path)} for row in self.sources]
        return {**numbers, "sources": rows}

    def plot(self, ax: Any = None) -> Any:
        """Draw the shares that were asked for, and those that came.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; None for a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            What was drawn on.

        Raises
        ------
        PescadorError
            If no source was opened yet, or matplotlib is not installed.
        """
        return plot(self, ax)

    @staticmethod
    def merge(reports: Iterable[Report]) -> Report:
        """Join reports of streams that are alike: those of several ranks, or of loader workers.

        Parameters
        ----------
        reports : iterable of Report
            At least one.

        Returns
        -------
        Report
            Counts and times are sums, but for ``seconds``, which is the longest.

        Raises
        ------
        PescadorError
            If there is none, or something is not a report.
        """
        reports = list(reports)
        if not reports or not all(isinstance(each, Report) for each in reports):
            rule, remedy = "must be one or more reports", "give what Monitor.report returns"
            raise _validate.refuse("reports", reports, rule, remedy)
        muxes: dict[Path, MuxCounts] = {}
        failures: dict[Path, tuple[int, bool]] = {}
        for each in reports:
            for path, mux in each._muxes.items():
                muxes.setdefault(path, MuxCounts(path)).add(mux)
            for path, (count, is_dropped) in each._failures.items():
                before = failures.get(path, (0, False))
                failures[path] = before[0] + count, before[1] or is_dropped
        return Report(
            n_items=sum(each.n_items for each in reports),
            seconds=max(each.seconds for each in reports),
            waited=sum(each.waited for each in reports),
            bytes_ahead=sum(each.bytes_ahead for each in reports),
            muxes=muxes,
            failures=failures,
        )


def _stream(value: Any) -> Stream:
    """Return the stream that is meant; refuse anything else."""
    if isinstance(value, Stream):
        return getattr(value, "_stream", value)  # (a loop's way into a stream has it)
    remedy = "give a stream: streamer.iterate(), streamer.cycle() or streamer.resume(state)"
    if is_streamer(value):
        rule = "is a streamer, the recipe, and not a stream"
    elif isinstance(value, ClosableIterator):
        rule = "is a map over a stream"
        remedy = "make a streamer of it: Streamer(buffer_stream, streamer, 32).iterate()"
    else:
        rule = "is not a stream"
    raise _validate.refuse("stream", value, rule, remedy)
