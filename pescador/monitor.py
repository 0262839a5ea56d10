"""What a stream has done: shares, openings, failures, and who made the loop wait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from time import perf_counter
from typing import Any

from . import _validate
from ._monitoring import progress as bars
from ._monitoring.counts import MuxCounts, Path, counts_of, inner_paths
from ._monitoring.plots import plot
from ._monitoring.rows import (
    SourceReport,
    deviations_of,
    named,
    rows_of,
    sources_among,
)
from ._monitoring.sampler import Sampler
from ._monitoring.tables import as_html, as_text, those_that_matter
from ._repr import is_streamer
from ._streaming.closable import ClosableIterator
from ._streaming.metering import failures_of, meter
from ._streaming.stream import Stream

__all__ = ["Monitor", "Report", "SourceReport"]


class Monitor:
    """Iterate a stream, and count what it does from now on.

    Parameters
    ----------
    stream : Stream
        What `Streamer.iterate`, `Streamer.cycle` or `Streamer.resume` returns; it may have begun.
        Iterate the monitor in its place.
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

    An item costs nothing, but for a sample that is timed; an activation about a microsecond more.
    A background process also says whose items it sends.

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
        self._sampler = Sampler(self._begin)
        self._n_untimed = 0  # items that are read by next(), until one is timed again
        self._bar: Any = None

    def __repr__(self) -> str:
        return f"Monitor({self.stream!r})"

    def __iter__(self) -> Iterator:
        items = chain.from_iterable(self._portions())
        return iter(self._new_bar(items)) if self._progress else items

    def __next__(self) -> Any:
        if self._progress and self._bar is None:
            self._new_bar(None)
        if self._n_untimed > 0:  # (several threads may read, and count it down too far)
            self._n_untimed -= 1
            item = next(self.stream)
        else:
            item = self._timed_next(self.stream)
            self._n_untimed = self._sampler.n_items - 1
        if self._bar is not None:
            self._bar.update()
        return item

    def _timed_next(self, items: Iterator) -> Any:
        """Read an item, and note how long that took."""
        sampler, found = self._sampler, self._meter
        begin, blocked = perf_counter(), found.blocked
        try:
            return next(items)
        except StopIteration:
            sampler.n_items = 1
            self._stop()
            raise
        finally:
            end = perf_counter()
            self._waited += (end - begin - (found.blocked - blocked)) * sampler.n_items
            sampler.go_on(end)

    def _new_bar(self, items: Any) -> Any:
        total = self.stream.max_iter if self._total is None else self._total
        self._bar = bars.bar(self, items, total, self.stream.n_given)
        return self._bar

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the stream, and the progress bar."""
        self.stream.close()
        self._stop()
        if self._bar is not None:
            self._bar.close()

    def _stop(self) -> None:
        self._end = self._end or perf_counter()

    def _portions(self) -> Iterator[Any]:
        """Yield iterables of the items, some of which are timed: all of them in a slow loop."""
        items, sampler = iter(self.stream), self._sampler
        while True:
            try:
                item = self._timed_next(items)
            except StopIteration:
                return
            yield (item,)
            if sampler.n_items > 1:
                yield islice(items, sampler.n_items - 1)

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
        muxes, known = counts_of(self._meter), self._failures()
        seconds, waited = self.times()
        return Report(
            n_items=self.stream.n_given - self._n_before,
            seconds=seconds,
            waited=waited,
            bytes_ahead=sum(part.bytes_ahead() for part in list(self._meter.parts)),
            muxes=muxes,
            failures=known,
        )

    def _failures(self) -> dict[Path, tuple[int, bool]]:
        """Return how often each source has failed since, and whether its mux has left it out."""
        before = self._meter.failures_before
        return {
            path: (entry.count - before.get(path, 0), entry.is_dropped)
            for path, entry in failures_of(self.stream).items()
        }

    def n_failures(self) -> int:
        """Return how often a source has failed since the monitor was made.

        Returns
        -------
        int
            All sources together.
        """
        return sum(count for count, _ in self._failures().values())

    def times(self) -> tuple[float, float]:
        """Return the seconds since the monitor was made, and how many of them were waited.

        Returns
        -------
        tuple of float
            As ``seconds`` and ``waited`` of a `Report`.
        """
        seconds = (self._end or perf_counter()) - self._begin
        return seconds, min(seconds, self._waited + self._meter.blocked)

    def n_open(self) -> int:
        """Return how many streams of the muxes are open now.

        Returns
        -------
        int
            Of inner muxes too.
        """
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
    n_given : int
        How many items the sources gave: as many as ``n_items``, unless a map makes others of them.
    n_sources : int
        How many sources were opened.
    n_unopened : int or None
        How many streamers of the muxes were not opened yet; None where they are read lazily.
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

    Examples
    --------
    >>> import pescador
    >>> mux = pescador.RoundRobinMux([pescador.Streamer(range, 100) for _ in range(2)])
    >>> monitor = pescador.Monitor(mux.iterate(max_iter=50))
    >>> for item in monitor:
    ...     pass
    >>> for row in monitor.report().sources:
    ...     print(row.path, row.n_items, row.expected, row.share)
    (0,) 25 0.5 0.5
    (1,) 25 0.5 0.5
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
        self.n_items, self.seconds = n_items, seconds
        self.seconds_in_all = seconds  # of all that were merged
        self.bytes_ahead = bytes_ahead
        self._muxes, self._failures = muxes, failures
        self.n_sources = self.n_opened = self.n_given = 0
        self.n_unopened: int | None = 0
        self.opening = 0.0
        inner_by_mux: dict[Path, set[int]] = {}
        for each in inner_paths(muxes):
            if each:
                inner_by_mux.setdefault(each[:-1], set()).add(each[-1])
        for path, mux in muxes.items():
            inner = inner_by_mux.get(path, set()) & mux.opened.keys()
            self.n_sources += len(mux.opened) - len(inner)
            self.n_opened += sum(mux.opened.values()) - sum(mux.opened[each] for each in inner)
            self.n_given += sum(mux.items.values()) - sum(mux.items[each] for each in inner)
            self.opening += sum(mux.opening.values()) - sum(mux.opening[each] for each in inner)
            if mux.n_streams is None or self.n_unopened is None:
                self.n_unopened = None
            else:
                self.n_unopened += mux.n_streams - len(mux.opened)
        self.waited = min(seconds, max(waited, self.opening))
        self.n_failures = sum(count for count, _ in failures.values())
        for path, (count, is_dropped) in failures.items():
            if path[:-1] in muxes and (count or is_dropped):
                muxes[path[:-1]].failures[path[-1]] = count
        self._rows: dict[Path, SourceReport] | None = None
        self._sources: tuple[SourceReport, ...] | None = None

    @property
    def sources(self) -> tuple[SourceReport, ...]:
        """A row for each source that was opened."""
        if self._sources is None:
            self._sources = tuple(sources_among(self._all_rows(), self._muxes).values())
        return self._sources

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

        Returns
        -------
        tuple of SourceReport
            At most twenty.
        """
        rows = rows_of(self._muxes, self._failures)
        found = those_that_matter(sources_among(rows, self._muxes))
        return tuple(named(found, self._muxes).values())

    def rows_with_deviations(self) -> list[tuple[SourceReport, float]]:
        """Return the rows of `sources`, each with the standard deviation of its share.

        Returns
        -------
        list of tuple
            Pairs; nan where the deviation is not known.
        """
        deviations = deviations_of(self._muxes)
        rows = sources_among(self._all_rows(), self._muxes)
        return [(row, deviations[path]) for path, row in rows.items()]

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
        times = ("n_items", "seconds", "waited", "opening", "bytes_ahead")
        counts = ("n_given", "n_sources", "n_unopened", "n_opened", "n_failures")
        numbers = {name: getattr(self, name) for name in (*times, *counts)}
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
        merged = Report(
            n_items=sum(each.n_items for each in reports),
            seconds=max(each.seconds for each in reports),
            waited=sum(each.waited for each in reports),
            bytes_ahead=sum(each.bytes_ahead for each in reports),
            muxes=muxes,
            failures=failures,
        )
        merged.waited = sum(each.waited for each in reports)
        merged.seconds_in_all = sum(each.seconds_in_all for each in reports)
        return merged


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
