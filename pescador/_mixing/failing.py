"""What a run of a mux remembers of the sources that have failed."""

from __future__ import annotations

from typing import Any, NoReturn

from .. import _validate
from .._repr import of_items
from .._streaming.failures import Recalled, Remains, add_note, told
from .._streaming.positions import is_misfit
from .._streaming.seeds import Seed
from .setup import Setup


class FailingRun:
    """The part of a mux's run that deals with sources that fail."""

    __slots__ = (
        "__weakref__",
        "_last",
        "failed",
        "is_finite",
        "max_failures",
        "n_opened",
        "seed",
        "setup",
    )

    def __init__(self, setup: Setup, seed: Seed) -> None:
        self.setup = setup
        self.seed = seed
        self.n_opened = 0
        # Where every streamer has one turn, the first failure ends it.
        self.is_finite = setup.mode in ("exhaustive", "shortest")
        self.max_failures = 1 if self.is_finite else setup.max_failures
        self.failed: dict[int, int] = {}  # by place: how often
        self._last: Remains | Recalled | None = None

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
        if self.setup.on_error == "raise" or is_misfit(error):
            moment += f" (item {self.n_given_in_all()} of the run)"
            self.blame(error, place, streamer, moment)
            return False
        self.failed[place] = self.failed.get(place, 0) + 1
        self._record(error, place, streamer, moment)
        self._last = Remains(error, self._name(place, streamer), moment)
        return True

    def blame(self, error: Exception, place: int, streamer: Any, moment: str) -> None:
        """Note on an error where it comes from."""
        add_note(error, f"raised by {self._name(place, streamer)}, {moment}")

    def _name(self, place: int, streamer: Any) -> str:
        mux, source = _validate.short(self.setup.mux), _validate.short(streamer)
        return f"streamers[{place}] of {mux}, {source}"

    def _record(self, error: Exception, place: int, streamer: Any, moment: str) -> None:
        """Count a failure for the whole tree of runs, and log what is new."""
        path = (*self.seed.display_path, self.setup.in_whole(place))
        texts = _validate.short(streamer), told(error), self._name(place, streamer), moment
        self.seed.session.failures.note(path, self.is_dropped(place), *texts)

    def failed_position(self) -> dict:
        """Return what is to be known of the failures so far, to go on from here."""
        if self._last is None:
            return {}
        return {"failed": sorted(map(list, self.failed.items())), "last": self._last.text}

    def restore_failed(self, position: dict) -> None:
        """Know what another run had known of failures."""
        if "failed" in position:
            self.failed = dict(position["failed"])
            self._last = Recalled(position["last"])

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
