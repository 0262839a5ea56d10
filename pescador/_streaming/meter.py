"""What is known of all muxes of a tree, for whoever monitors it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from time import perf_counter
from typing import Protocol

from .mux_meter import MuxMeter
from .waits import Stretches

MOST_KEPT = 2**15  # ended streams of all muxes, until they are added up, about
LEAST_KEPT = 256  # the same, of one mux


class Part(Protocol):
    """Something of a tree that knows more when it is asked: a background process."""

    def settle(self) -> None:
        """Tell the meter what has been handed out."""

    def bytes_ahead(self) -> int:
        """Return how many bytes have come, and have not been handed out."""


class Meter:
    """What is known of all muxes of a tree, from a moment on."""

    def __init__(self) -> None:
        self.muxes: dict[tuple[int, ...], MuxMeter] = {}
        self.most_kept = MOST_KEPT
        self.parts: set[Part] = set()
        self.stretches = Stretches()
        self.blocked = 0.0  # seconds in waiting for workers and processes
        self.blocked_by: dict[tuple[int, ...], float] = {}  # by the path of what was waited for
        self.failures_before: dict[tuple[int, ...], int] = {}  # how many, by path
        self.is_reading_again = False

    def of_mux(self, path: tuple[int, ...]) -> MuxMeter:
        """Return what is known of the mux at a place."""
        if path not in self.muxes:
            self.muxes[path] = self._new(path)
            self.most_kept = max(LEAST_KEPT, MOST_KEPT // len(self.muxes))
        return self.muxes[path]

    def known_seconds(self) -> float:
        """Return how long the outermost muxes were waited for, as far as all was timed."""
        muxes = dict(self.muxes)
        inner = {path for path in muxes if any(path[:n] in muxes for n in range(len(path)))}
        outer = [mux for path, mux in muxes.items() if path not in inner]
        return sum(sum(dict(mux.times.waited).values()) for mux in outer)

    def is_below_lazy(self, path: tuple[int, ...]) -> bool:
        """Tell whether a mux is below another one that reads its streamers lazily."""
        above = (self.muxes.get(path[:n]) for n in range(len(path)))
        return any(mux is not None and mux.n_runs and mux.is_read_lazily for mux in above)

    def _new(self, path: tuple[int, ...]) -> MuxMeter:
        return MuxMeter(path, self)

    def settle(self) -> None:
        """Bring what is known up to date."""
        for part in list(self.parts):
            part.settle()
        for mux in list(self.muxes.values()):
            mux.gather()

    @contextlib.contextmanager
    def waiting_for(self, path: tuple[int, ...] | None) -> Iterator[None]:
        """Note how long the caller waits for what is made elsewhere; ``path``: of what."""
        begin = perf_counter()
        try:
            yield
        finally:
            seconds = perf_counter() - begin
            self.blocked += seconds
            if path is not None:
                self.blocked_by[path] = self.blocked_by.get(path, 0.0) + seconds

    @contextlib.contextmanager
    def as_known(self) -> Iterator[None]:
        """Count nothing while what has been before is read again."""
        if self.is_reading_again:
            yield
            return
        before = {path: mux.begin_again() for path, mux in self.muxes.items()}
        self.is_reading_again = True
        try:
            yield
        finally:
            self.is_reading_again = False
            for path, mux in self.muxes.items():
                mux.end_again(before.get(path))
