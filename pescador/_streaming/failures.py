"""Sources that fail: what is said of an error, and what a run remembers of it.

Nothing here keeps an error together with its traceback, which would hold on to the frames of the
source, and so to its files and arrays.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .. import _validate
from ..exceptions import PescadorError

LOG = logging.getLogger("pescador")
_LONGEST = 500  # characters of the text of an error
_MOST_NOTES = 50  # on one error


class Failure(NamedTuple):
    """A source that has failed: what `Stream.failures` holds."""

    #: Its place: the index of a streamer in the root mux, of one in that mux, and so on.
    path: tuple[int, ...]
    #: Its streamer, as text.
    streamer: str
    #: How often it has failed.
    count: int  # type: ignore[assignment]  # (tuple.count is of no use here)
    #: The type and the text of its last error.
    error: str
    #: Whether its mux has given it up.
    is_dropped: bool


class Failures:
    """What has failed in a whole tree of runs: an entry for each source."""

    def __init__(self) -> None:
        self._by_path: dict[tuple[int, ...], Failure] = {}
        self.n_items: Callable[[], int] = lambda: -1  # that the stream has handed out
        # What was known, after so many items, of the sources that have failed since.
        self._at = -1
        self._known: dict[tuple[int, ...], Failure | None] = {}
        self._to_be_met: list[tuple[int, ...]] = []  # runs that do not stand behind these
        #: What is told of each failure, in place of the log: in a background process.
        self.tell: Callable[..., None] | None = None
        self._is_known = False  # what happens has been before

    def entries(self) -> tuple[Failure, ...]:
        """Return the entries, in the order of the first failures."""
        return tuple(self._by_path.values())

    def counts(self) -> dict[tuple[int, ...], int]:
        """Return how often each source has failed."""
        return {path: entry.count for path, entry in self._by_path.items()}

    def by_path(self) -> dict[tuple[int, ...], Failure]:
        """Return the entries, by the paths of the sources with all that is on the way."""
        return dict(self._by_path)

    def state(self) -> list[list]:
        """Return the entries, as JSON can hold them, but for what whoever resumes meets again."""
        known: dict[tuple[int, ...], Failure | None] = dict(self._by_path)
        for path, entry in self._known.items() if self.has_new else ():
            if any(path[: len(run)] == run for run in self._to_be_met):
                known[path] = entry
        return [[list(path), *entry[1:]] for path, entry in known.items() if entry is not None]

    @property
    def has_new(self) -> bool:
        """Whether a source has failed since the last item of the stream."""
        return bool(self._known) and self.n_items() == self._at

    def meet_again(self, display_path: tuple[int, ...]) -> None:
        """Note that a run is over, and stood before what has failed in it since the last item."""
        if self.has_new:
            self._to_be_met.append(display_path)

    def restore(self, state: list[list]) -> None:
        """Know the entries that `state` returned."""
        for display_path, *rest in state:
            path = tuple(place for place in display_path if place >= 0)
            self._by_path[tuple(display_path)] = Failure(path, *rest)

    @contextlib.contextmanager
    def as_known(self) -> Iterator[None]:
        """Count nothing again of what is known, while what has been before is read again."""
        before, was_known = self._by_path, self._is_known
        self._by_path, self._is_known = before.copy(), True
        try:
            yield
        finally:
            self._by_path, self._is_known = {**self._by_path, **before}, was_known

    def note(
        self,
        display_path: tuple[int, ...],
        is_dropped: bool,
        streamer: str,
        error: str,
        name: str,
        moment: str,
    ) -> None:
        """Count a failure of the source at the end of ``display_path``, and log what is new.

        ``name`` is what the log calls it, ``moment`` says when it failed.
        """
        before = self._by_path.get(display_path)
        entry = self._add(display_path, streamer, error, is_dropped)
        if self.tell is not None:
            if not self._is_known:
                self.tell(display_path, is_dropped, streamer, error, name, moment)
            return
        if len(entry.path) > 1:
            name += f" (path {entry.path})"
        if entry.count == 1:
            fate = "it is left out" if is_dropped else "another streamer takes its place"
            LOG.warning("%s, failed %s: %s; %s", name, moment, entry.error, fate)
        elif is_dropped and not (before is not None and before.is_dropped):
            times = f"has failed {entry.count} times"
            LOG.warning("%s, %s, now %s: %s; it is left out", name, times, moment, entry.error)

    def _add(
        self, display_path: tuple[int, ...], streamer: str, error: str, is_dropped: bool
    ) -> Failure:
        before = self._by_path.get(display_path)
        n_items = self.n_items()
        if n_items != self._at:
            self._at, self._known = n_items, {}
        self._known.setdefault(display_path, before)
        path = tuple(place for place in display_path if place >= 0)
        entry = Failure(path, streamer, 1, error, is_dropped)
        if before is not None:
            is_dropped = is_dropped or before.is_dropped
            entry = entry._replace(count=before.count + 1, is_dropped=is_dropped)
        self._by_path[display_path] = entry
        return entry


class Remains:
    """An error that may be raised later, without the frames that it went through."""

    def __init__(self, error: Exception, name: str, moment: str) -> None:
        self._note = f"raised by {name}, {moment}"
        # Its own lines, and those of its causes; they are read from the files if it is raised.
        self._told = traceback.TracebackException.from_exception(error, lookup_lines=False)
        self._error = error.with_traceback(None)
        for attribute in ("__cause__", "__context__"):
            # (not by the class of the error, which may refuse attributes)
            BaseException.__setattr__(error, attribute, None)

    @property
    def text(self) -> str:
        """What is known of the error, in a line."""
        return f"{told(self._error)}; {self._note}"

    def error(self, end: str) -> Exception:
        """Return the error, which now tells where it came from, and why it is raised."""
        add_note(self._error, self._note + end)
        text = "".join(self._told.format()).rstrip()
        add_note(self._error, f"where it was raised:\n{text}")
        return self._error


class Recalled(NamedTuple):
    """What a state holds of an error."""

    text: str

    def error(self, end: str) -> PescadorError:
        """Return an error in its place."""
        return PescadorError(f"a source failed before the state was taken: {self.text}{end}")


def add_note(error: Any, note: str) -> None:
    """Add a note to an error, as ``add_note`` does from Python 3.11 on, if the error lets us."""
    try:
        if len(getattr(error, "__notes__", ())) >= _MOST_NOTES:
            return  # one object that is raised again and again
        if hasattr(error, "add_note"):
            error.add_note(note)
        else:
            error.__notes__ = [*getattr(error, "__notes__", ()), note]
    except Exception:
        pass  # it matters less than the error itself


def told(error: BaseException) -> str:
    """Return the type and the text of an error, and what has been noted on it in a line."""
    name = type(error).__qualname__
    try:
        notes = map(str, getattr(error, "__notes__", ()))
        text = " ".join([str(error), *(note for note in notes if "\n" not in note)])
    except Exception:
        text = "(str() of it fails)"
    text = f"{name}: {text}" if text else name
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def log_late(error: Exception, streamer: Any) -> None:
    """Log an error of closing a source, where another error is on its way."""
    LOG.warning("closing %s after a failure failed too: %s", _validate.short(streamer), told(error))
