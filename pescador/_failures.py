"""Sources that fail: what is said of an error, and what a run remembers of it.

Nothing here keeps an error together with its traceback, which would hold on to the frames of the
source, and so to its files and arrays.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from . import _validate
from ._positions import Misfit
from ._repr import of_items
from ._seeds import Seed
from .exceptions import PescadorError

_LOG = logging.getLogger("pescador")
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
        self._by_trail: dict[tuple[int, ...], Failure] = {}

    def entries(self) -> tuple[Failure, ...]:
        """Return the entries, in the order of the first failures."""
        return tuple(self._by_trail.values())

    def state(self) -> list[list]:
        """Return the entries, as JSON can hold them."""
        return [[list(trail), *entry[1:]] for trail, entry in self._by_trail.items()]

    def restore(self, state: list[list]) -> None:
        """Know the entries that `state` returned."""
        for trail, *rest in state:
            path = tuple(place for place in trail if place >= 0)
            self._by_trail[tuple(trail)] = Failure(path, *rest)

    @contextlib.contextmanager
    def as_known(self) -> Iterator[None]:
        """Count nothing again of what is known, while what has been before is read again."""
        before = self._by_trail
        self._by_trail = before.copy()
        try:
            yield
        finally:
            self._by_trail = {**self._by_trail, **before}

    def is_dropped(self, trail: tuple[int, ...]) -> bool:
        """Tell whether the source at the end of ``trail`` is known to have been given up."""
        return trail in self._by_trail and self._by_trail[trail].is_dropped

    def add(self, trail: tuple[int, ...], streamer: str, error: str, is_dropped: bool) -> Failure:
        """Count a failure of the source at the end of ``trail``; return its entry."""
        before = self._by_trail.get(trail)
        path = tuple(place for place in trail if place >= 0)
        entry = Failure(path, streamer, 1, error, is_dropped)
        if before is not None:
            is_dropped = is_dropped or before.is_dropped
            entry = entry._replace(count=before.count + 1, is_dropped=is_dropped)
        self._by_trail[trail] = entry
        return entry


class FailingRun:
    """The part of a mux's run that deals with sources that fail."""

    __slots__ = (
        "__weakref__",
        "_last",
        "failed",
        "is_finite",
        "max_failures",
        "mux",
        "n_opened",
        "seed",
    )

    def __init__(self, mux: Any, seed: Seed, is_finite: bool) -> None:
        self.mux = mux
        self.seed = seed
        self.n_opened = 0
        # Where every streamer has one turn, the first failure ends it.
        self.is_finite = is_finite
        self.max_failures = 1 if is_finite else mux.max_failures
        self.failed: dict[int, int] = {}  # by place: how often
        self._last: _Remains | _Recalled | None = None

    def n_given_in_all(self) -> int:
        """Return how many items the run has given."""
        raise NotImplementedError

    def is_dropped(self, place: int) -> bool:
        """Tell whether a streamer has failed too often to be opened again."""
        return place in self.failed and self.failed[place] >= self.max_failures

    def note_failure(self, error: Exception, place: int, streamer: Any, moment: str) -> bool:
        """Note that a source has failed; tell whether the run goes on, or is to raise the error.

        (All this takes the same time for any number of open streams, where the run goes on.)
        """
        if self.mux.on_error == "raise" or isinstance(error, Misfit):
            moment += f" (item {self.n_given_in_all()} of the run)"
            self.blame(error, place, streamer, moment)
            return False
        self.failed[place] = self.failed.get(place, 0) + 1
        self._record(error, place, streamer, moment)
        self._last = _Remains(error, self._name(place, streamer), moment)
        return True

    def blame(self, error: Exception, place: int, streamer: Any, moment: str) -> None:
        """Note on an error where it comes from."""
        add_note(error, f"raised by {self._name(place, streamer)}, {moment}")

    def _name(self, place: int, streamer: Any) -> str:
        return f"streamers[{place}] of {_validate.short(self.mux)}, {_validate.short(streamer)}"

    def _record(self, error: Exception, place: int, streamer: Any, moment: str) -> None:
        """Count a failure for the whole tree of runs, and log what is new."""
        failures, trail = self.seed.shared(Failures), (*self.seed.trail, place)
        was_dropped, is_dropped = failures.is_dropped(trail), self.is_dropped(place)
        entry = failures.add(trail, _validate.short(streamer), told(error), is_dropped)
        name = self._name(place, streamer)
        if len(entry.path) > 1:
            name += f" (path {entry.path})"
        if entry.count == 1:
            fate = "it is left out" if is_dropped else "another takes its place"
            _LOG.warning("%s, failed %s: %s; %s", name, moment, entry.error, fate)
        elif is_dropped and not was_dropped:
            times = f"has failed {entry.count} times"
            _LOG.warning("%s, %s, now %s: %s; it is left out", name, times, moment, entry.error)

    def failed_position(self) -> dict:
        """Return what is to be known of the failures so far, to go on from here."""
        if self._last is None:
            return {}
        return {"failed": sorted(map(list, self.failed.items())), "last": self._last.text}

    def restore_failed(self, position: dict) -> None:
        """Know what another run had known of failures."""
        if "failed" in position:
            self.failed = dict(position["failed"])
            self._last = _Recalled(position["last"])

    def raise_if_all_failed(self) -> None:
        """Raise the last error, now that no streamer is left, if it is for their failures.

        Where each has one turn, they must all have failed. Elsewhere streamers that do not fail
        are opened again and again; so those that did not fail in the end gave nothing.
        """
        if self.failed and not (self.is_finite and len(self.failed) < self.n_opened):
            self.raise_last()

    def raise_last(self) -> NoReturn:
        """Raise the last error of a source."""
        assert self._last is not None
        last, self._last = self._last, None
        n_items = of_items(self.n_given_in_all())
        raise last.error(f"; no streamer is left, after {n_items} of the run")


class _Remains:
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


class _Recalled(NamedTuple):
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
        text = "(its text cannot be made)"
    text = f"{name}: {text}" if text else name
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def log_late(error: Exception, streamer: Any) -> None:
    """Log an error of closing a source, where another error is on its way."""
    _LOG.warning(
        "closing %s after a failure failed too: %s", _validate.short(streamer), told(error)
    )
