"""How much time a check has left."""

from __future__ import annotations

from time import monotonic


class OutOfTime(BaseException):
    """There is no time to read on.

    (No Exception, so that no source or mux takes it for its own.)
    """


class Clock:
    """A time that ends.

    Parameters
    ----------
    seconds : float
        How long it lasts, from now on.
    whole : Clock, optional
        The one that this is a part of.
    """

    def __init__(self, seconds: float, whole: Clock | None = None) -> None:
        self._end = monotonic() + seconds
        self._whole = whole
        self.has_cut = False  # something short, which could have been read on

    @property
    def left(self) -> float:
        """The seconds that are left, at least 0."""
        return max(0.0, self._end - monotonic())

    def part(self, share: float) -> Clock:
        """Return a clock for a share of what is left."""
        return Clock(share * self.left, self)

    def cut(self) -> None:
        """Remember that something was cut short."""
        self.has_cut = True
        if self._whole is not None:
            self._whole.cut()
