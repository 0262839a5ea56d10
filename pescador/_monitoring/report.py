"""A report: what it says in all, its rows, and the forms it takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _validate
from .._repr import counted, of_items
from .counts import MuxCounts, Path, inner_paths
from .plots import plot
from .rows import SourceReport, deviations_of, named, rows_of, sources_among
from .tables import as_html, as_text, those_that_matter


class Report:
    """What a stream has done: made by `Monitor.report`.

    Attributes
    ----------
    n_items : int
        How many items were handed out.
    seconds : float
        Time since the monitor was made, up to the end of the stream.
    waited : float
        Seconds in which the caller waited for items: exact if workers or processes make the items,
        or if each item takes longer than 100 microseconds; else from a sample.
    opening : float
        Seconds for opening sources in the program, up to the first item of each: exact if items
        take longer than 200 microseconds on average (see the page on monitors); else from a sample.
    n_opened : int
        How often a source was opened.
    n_failures : int
        How often a source has failed, and was replaced.
    n_given : int
        How many items the sources gave: as many as ``n_items``, unless a map changes the number.
    n_sources : int
        How many sources were opened.
    n_unopened : int or None
        How many streamers of the muxes were not opened yet; None if they are read lazily.
    bytes_ahead : int
        Bytes that have come from processes and workers, and have not been handed out.
    sources : tuple of SourceReport
        A row for each source that was opened: a streamer that a mux has opened, and that has no
        mux in it. The rows are made when they are read for the first time.

    See Also
    --------
    Monitor : Makes it.

    Notes
    -----
    The page on the statistics of mixing (docs/muxanalysis.md) has the formulas for the expected
    share and its standard deviation. With nested muxes, both the expected and the real share are
    products. If nothing is wrong, a source has ``abs(z) > 5.5`` in one report of a million or less.

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

    __module__ = "pescador.monitor"  # where users find it

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
        self.waited, self.opening = waited, 0.0
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
        self.opening = min(self.opening, waited)
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
            The rows whose path has that length, for muxes and sources.

        Raises
        ------
        PescadorError
            If ``depth`` is not a whole number from 1 on.
        """
        depth = _validate.whole("depth", depth, 1, "give 1 for the streamers of the outermost mux")
        return tuple(row for row in self._all_rows().values() if len(row.path) == depth)

    def most_notable(self) -> tuple[SourceReport, ...]:
        """Return the twenty rows that matter most, in their order: what a table shows.

        They are the sources that failed or were left out; whose shares are far from the expected
        ones; that the loop waited for; and that gave the most items.

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
        return f"<Report of {of_items(self.n_items)} from {counted(self.n_sources, 'source')}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dict that JSON can hold, for a logger.

        Returns
        -------
        dict
            The attributes. ``"sources"`` is a list of dicts.
        """
        times = ("n_items", "seconds", "waited", "opening", "bytes_ahead")
        counts = ("n_given", "n_sources", "n_unopened", "n_opened", "n_failures")
        numbers = {name: getattr(self, name) for name in (*times, *counts)}
        rows = [{**row._asdict(), "path": list(row.path)} for row in self.sources]
        return {**numbers, "sources": rows}

    def plot(self, ax: Any = None) -> Any:
        """Draw the expected shares, and the real ones.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; None for a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes with the drawing.

        Raises
        ------
        PescadorError
            If no source was opened yet, or matplotlib is not installed.
        """
        return plot(self, ax)

    @staticmethod
    def merge(reports: Iterable[Report]) -> Report:
        """Join the reports of several ranks or loader workers.

        Parameters
        ----------
        reports : iterable of Report
            At least one.

        Returns
        -------
        Report
            Counts and times are sums, except ``seconds``, which is the longest one.

        Raises
        ------
        PescadorError
            If there are no reports, or something is not a report.
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
        merged.seconds_in_all = sum(each.seconds_in_all for each in reports)
        return merged
