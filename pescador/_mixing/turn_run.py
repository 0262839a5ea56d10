"""Runs of the muxes that read in turn: one item of each stream, or one stream after the other."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import compress, islice
from operator import length_hint
from typing import TYPE_CHECKING, Any

from .. import _validate
from .._streaming.failures import add_note
from .._streaming.opening import begin_at, end
from .._streaming.seeds import Seed
from ..core import Streamer, as_streamer
from .run import ENDED, FAILED, NOTHING, Run

if TYPE_CHECKING:
    from ..mux import ChainMux, RoundRobinMux

_MOST_FRUITLESS = 10_000  # failures without an item, where streamers may be endlessly many


class RoundRobinRun(Run):
    """One run of a RoundRobinMux."""

    __slots__ = ("mode", "n_failures", "n_passes", "turns")

    def __init__(self, mux: RoundRobinMux, seed: Seed) -> None:
        super().__init__(mux, mux.streamers, seed, mux.mode == "exhaustive")
        self.mode = mux.mode
        self.n_passes = 0
        self.n_failures = 0  # before this pass
        self.turns: Iterator = iter(())  # of this round

    def items(self) -> Generator:
        with self:
            item: Any = NOTHING
            if self.start is None:
                self.fill()
                self.turns = iter(self.iterators)
            else:
                self.restore()
                yield None
                item = None
            has_ended = ENDED in self.sources
            while True:
                while self.sources:
                    for iterator in self.turns:
                        try:
                            item = next(iterator)
                        except StopIteration:
                            pass
                        except Exception as error:
                            if not self.outlives(error, self._turn() - 1):
                                raise
                        else:
                            yield item
                            continue
                        slot = self._turn() - 1
                        self.end(slot, self.n_given(slot))
                        has_ended = True
                    if has_ended:
                        self._leave_out()
                        has_ended = False
                    self.turns = iter(self.iterators)
                # A streamer that has failed may give something in the next pass.
                n_failures, self.n_failures = self.n_failures, sum(self.failed.values())
                is_barren = item is NOTHING and n_failures == self.n_failures
                if self.mode == "exhaustive" or is_barren:
                    break
                self._begin_pass()
                self.turns = iter(self.iterators)
                item = NOTHING
            self.raise_if_all_failed()

    def _turn(self) -> int:
        """Return how many slots have had their turn in this round."""
        return len(self.sources) - length_hint(self.turns)

    def position(self, n_given: int) -> Any:
        position = super().position(n_given)
        if position:
            position["round"] = [self.n_passes, self._turn(), self.n_failures]
        return position

    def restore(self) -> None:
        super().restore()
        assert self.start is not None
        self.n_passes, turn, self.n_failures = self.start["round"]
        self.turns = iter(self.iterators)
        self.turns.__setstate__(turn)  # type: ignore[attr-defined]

    def fill(self) -> None:
        if not self.n_passes:
            self._begin_pass()

    def _begin_pass(self) -> None:
        order = range(len(self.streamers))
        if self.mode == "permuted_cycle":
            rng = self.seed.child(-1, self.n_passes).rng(b"order")
            order = rng.permutation(len(self.streamers)).tolist()
        self.n_passes += 1
        opened = [self.append(place, 0) for place in order if not self.is_dropped(place)]
        if not all(opened):
            self._leave_out()

    def _leave_out(self) -> None:
        """Take ended slots away; the others keep their order."""
        before = self.n_given_in_all()
        selectors = [source is not ENDED for source in self.sources]
        for column in self.columns():
            column[:] = compress(column, selectors)
        self.n_of_removed += before - self.n_given_in_all()


class ChainRun(Run):
    """One run of a ChainMux: at most one stream is open, in slot 0."""

    __slots__ = ("index", "is_barren", "left", "n_fruitless", "n_passes", "reader")

    def __init__(self, mux: ChainMux, seed: Seed) -> None:
        super().__init__(mux, [], seed, mux.mode == "exhaustive")
        self.reader: Iterator | None = None  # of the streamers, where they are read lazily
        self.n_passes = 0
        self.left: Iterator = iter(())  # streamers of this pass
        self.index = -1  # in the pass, of the one that is open
        self.is_barren = False
        self.n_fruitless = 0  # failures since the last item

    def named(self, place: int) -> int:
        return self.index

    def items(self) -> Generator:
        with self:
            if self.start is not None:
                self.restore()
                yield None
            while self.sources or self._open_next():
                try:
                    yield from self.iterators[0]
                except Exception as error:
                    if not self.outlives(error, 0):
                        raise
                self._leave()
            self.raise_if_all_failed()

    def _open_next(self) -> bool:
        """Open the next stream (or see it fail), if there is one."""
        while True:
            streamer = next(self.left, None)
            if streamer is None:
                self._close_reader()
                if not self._begin_pass():
                    return False
                continue
            self.index += 1
            if not self.is_dropped(self.index):
                self._is_at(streamer)
                self.append(0, 0)
                return True

    def _is_at(self, streamer: Streamer) -> None:
        self.streamers = [streamer]
        self.above = self.seed.named(self.index)

    def _leave(self) -> None:
        """Close the stream."""
        n_given = self.n_given(0)
        self.end(0, n_given)
        has_failed = self.stops[0] == FAILED
        self.remove(0)
        # One that has failed may give something in the next pass.
        self.is_barren = self.is_barren and not n_given and not has_failed
        if n_given:
            self.n_fruitless = 0
        elif has_failed:
            self.n_fruitless += 1
            if self.n_fruitless == _MOST_FRUITLESS and self.mux.n_streams is None:
                self.raise_last()

    def _begin_pass(self) -> bool:
        """Begin a pass, if there is to be one."""
        if self.n_passes and (self.mux.mode == "exhaustive" or self.is_barren):
            return False
        self.left, self.index = self._streamers(self.n_passes, 0), -1
        self.n_passes, self.is_barren = self.n_passes + 1, True
        return True

    def position(self, n_given: int) -> Any:
        position = super().position(n_given)
        if position:
            numbers = self.n_passes, self.index, int(self.is_barren), self.n_fruitless
            position["pass"] = list(numbers)
        return position

    def restore(self) -> None:
        assert self.start is not None
        self.n_passes, self.index, is_barren, self.n_fruitless = self.start["pass"]
        self.is_barren = bool(is_barren)
        self.left = self._streamers(self.n_passes - 1, self.index)
        for streamer in islice(self.left, 1):
            self._is_at(streamer)
        super().restore()

    def _streamers(self, number: int, start: int) -> Iterator[Streamer]:
        """Yield the streamers of a pass, from one on."""
        source, index = self.mux.streamers, start
        try:
            if isinstance(source, list):
                source = islice(source, start, None)
            else:
                source = self.reader = begin_at(self.mux.reader, self.seed, -1, number, start)
            for index, streamer in enumerate(source, start):
                yield as_streamer(streamer, index)
        except Exception as error:
            who = f"what gives the streamers of {_validate.short(self.mux)}"
            add_note(error, f"raised by {who}, after {index} streamers or more")
            raise

    def _close_reader(self) -> None:
        reader, self.reader = self.reader, None
        if reader is not None:
            end(self.mux.reader, reader)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._close_reader()
