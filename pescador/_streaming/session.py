"""What the runs below one stream share."""

from __future__ import annotations

from .failures import Failures
from .opener import IN_PLACE, Opener


class Session:
    """What is handed down with the seeds, from a stream to all the runs below it.

    ``failures`` is one for the whole tree. ``opener`` may be another one for a part of it: it
    opens the sources below the place where it was put in, and no others.
    """

    __slots__ = ("failures", "is_closing", "opener")

    def __init__(self, failures: Failures | None = None, opener: Opener = IN_PLACE) -> None:
        self.failures = Failures() if failures is None else failures
        self.opener = opener
        self.is_closing = False  # the stream is, and has kept where it stood

    def opened_by(self, opener: Opener) -> Session:
        """Return the same session with another opener."""
        return Session(self.failures, opener)
