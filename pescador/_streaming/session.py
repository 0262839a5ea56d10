"""What the runs below one stream share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from .failures import Failures
from .meter import Meter
from .opener import IN_PLACE, Opener


class _Tree:
    """What is one for a whole tree of runs."""

    __slots__ = ("failures", "is_closing", "kept", "meter")

    def __init__(self, meter: Meter | None) -> None:
        self.failures = Failures()
        self.is_closing = False  # the stream is, and has kept where it stood
        self.kept: dict[Hashable, Any] = {}
        self.meter = meter


class Session:
    """What is handed down with the seeds, from a stream to all the runs below it.

    ``opener`` may be another one for a part of the tree: it opens the sources below the place where
    it was put in, and no others. All else is one for the whole tree.
    """

    __slots__ = ("_tree", "opener")

    def __init__(
        self,
        opener: Opener = IN_PLACE,
        tree: _Tree | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._tree = _Tree(meter) if tree is None else tree
        self.opener = opener

    @property
    def failures(self) -> Failures:
        """What has failed."""
        return self._tree.failures

    @property
    def meter(self) -> Meter | None:
        """What counts what the runs give; None if nobody wants to know."""
        return self._tree.meter

    @meter.setter
    def meter(self, meter: Meter) -> None:
        self._tree.meter = meter

    @contextlib.contextmanager
    def as_known(self) -> Iterator[None]:
        """Count nothing, failures included, while what has been before is read again."""
        with self.failures.as_known(), self.uncounted():
            yield

    def uncounted(self) -> contextlib.AbstractContextManager:
        """Return a context in which no item counts, since it has been before."""
        return contextlib.nullcontext() if self.meter is None else self.meter.as_known()

    @property
    def is_closing(self) -> bool:
        """Whether the stream is being closed, and has kept where it stood."""
        return self._tree.is_closing

    def begin_to_close(self) -> None:
        """Note that the stream keeps where it stands now: what is below need not do the same."""
        self._tree.is_closing = True

    def opened_by(self, opener: Opener) -> Session:
        """Return the same session with another opener."""
        return Session(opener, self._tree)

    def kept(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what was made under a key; it is closed with the session."""
        if key not in self._tree.kept:
            self._tree.kept[key] = make()
        return self._tree.kept[key]

    def close(self) -> None:
        """Close what was kept, also when closing some of it fails, or is interrupted."""
        failure: BaseException | None = None
        while self._tree.kept:
            _, each = self._tree.kept.popitem()
            try:
                each.close()
            except BaseException as error:
                failure = error
        if failure is not None:
            raise failure
