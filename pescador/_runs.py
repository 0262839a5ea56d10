"""One run of each mux: what happens when a stream ends.

A run keeps the iterators of its open streams in a list of slots. Per item it takes the slot that
is next and the next item of that slot's iterator. All else happens when a stream ends.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from itertools import compress, islice, repeat
from operator import length_hint
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _sampling, _validate
from ._failures import FailingRun, add_note, log_late
from ._seeds import Seed
from .core import Streamer, as_streamer, begin, end

if TYPE_CHECKING:
    from .mux import BaseMux, ChainMux, RoundRobinMux, ShuffledMux, StochasticMux

_NOTHING = object()  # no item: None may be one
_ENDED: Iterator = iter(())
_FAILED = -2  # in place of a number of items
_MOST_FRUITLESS = 10_000  # failures without an item, where streamers may be endlessly many


class Run(FailingRun):
    """One run of a mux: its open streams, one to a slot, and what each may still give."""

    def __init__(
        self, mux: BaseMux, streamers: list[Streamer], seed: Seed, is_finite: bool
    ) -> None:
        super().__init__(mux, seed, is_finite)
        self.streamers = streamers
        self.above = seed  # of the streams
        self.n_of_removed = 0  # items that slots had given which have been taken away
        # By slot:
        self.sources: list[Iterator] = []  # the open stream
        self.iterators: list[Iterator] = []  # the same, but for the last item it may give
        self.places: list[int] = []  # which streamer it is of
        # How many items come through the iterator; -1: no limit; or _FAILED.
        self.stops: list[int] = []
        # Every item through the iterator of a slot takes one tick along, in C. What is left of
        # them, compared with what there was at the start, tells how many items there were.
        self.ticks: list[Iterator] = []
        self.starts: list[int] = []

    def items(self) -> Generator:
        """Yield the items, inside ``with self``, which closes what is open on every way out."""
        raise NotImplementedError

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        try:
            self.close()
        except Exception as late:
            if error is None or isinstance(error, GeneratorExit):
                raise
            log_late(late, self.mux)  # the first error is on its way

    def fill(self) -> None:
        """Open the first streams, if that has not been done."""

    def append(self, place: int, limit: int) -> bool:
        """Open a stream in a new slot at the end; tell whether it could be opened."""
        self.add_slot(place)
        return self.put(len(self.sources) - 1, place, limit)

    def add_slot(self, place: int) -> None:
        """Add a slot at the end, with nothing open in it."""
        slot = len(self.sources)
        self.sources.append(_ENDED)
        self.places.append(place)
        self.stops.append(-1)
        self.starts.append(sys.maxsize)
        self.ticks.append(repeat(True, sys.maxsize))
        if slot == len(self.iterators):
            self.iterators.append(_ENDED)

    def put(self, slot: int, place: int, limit: int) -> bool:
        """Open a stream of the streamer at ``place``, for ``limit`` items (0: any number).

        Return whether it could be opened.
        """
        number = self.n_opened
        self.n_opened = number + 1
        self.places[slot] = place
        try:
            source = begin(self.streamers[place], self.above, place, number)
        except Exception as error:
            self.iterators[slot] = _ENDED
            if not self.outlives(error, slot, "as it was opened"):
                raise
            return False
        self.sources[slot] = source
        self.stops[slot] = limit - 1
        self.iterators[slot] = compress(
            islice(source, limit - 1) if limit else source, self.ticks[slot]
        )
        return True

    def end(self, slot: int, n_given: int) -> None:
        """Close the stream of a slot, which gave ``n_given`` items."""
        source, self.sources[slot] = self.sources[slot], _ENDED
        streamer = self.streamers[self.places[slot]]
        try:
            end(streamer, source)
        except Exception as error:
            if self.stops[slot] == _FAILED:
                log_late(error, streamer)
            elif not self.outlives(error, slot, "as it was closed"):
                raise
        self.starts[slot] -= n_given

    def outlives(self, error: Exception, slot: int, moment: str = "") -> bool:
        """Note that the stream of a slot has failed. If not, raise the error again, now."""
        self.stops[slot] = _FAILED
        moment += " " if moment else ""
        moment += f"after {self.n_given(slot)} items of this activation"
        place = self.places[slot]
        return self.note_failure(error, self.named(place), self.streamers[place], moment)

    def named(self, place: int) -> int:
        """Return where the mux has the streamer that is at ``place`` here."""
        return place

    def n_given(self, slot: int) -> int:
        """Return how many items the stream of a slot has given."""
        return self.starts[slot] - length_hint(self.ticks[slot])

    def n_given_in_all(self) -> int:
        return self.n_of_removed + sum(sys.maxsize - length_hint(ticks) for ticks in self.ticks)

    def columns(self) -> tuple[list, ...]:
        """Return what is kept by slot."""
        return self.sources, self.iterators, self.places, self.stops, self.ticks, self.starts

    def remove(self, slot: int) -> None:
        """Take an (ended) slot away; the last one moves into its place."""
        last = len(self.sources) - 1
        self.n_of_removed += sys.maxsize - self.starts[slot]
        for column in self.columns():
            column[slot] = column[last]
            if column is not self.iterators:
                column.pop()
        self.iterators[last] = _ENDED  # draws of it still in a block are passed over

    def counts(self) -> list[int]:
        """Return the number of items given by the open stream of each slot."""
        return [self.n_given(slot) for slot in range(len(self.sources))]

    def close(self) -> None:
        """Close every open stream, also when closing some of them fails, or is interrupted."""
        failure: BaseException | None = None
        while self.sources:
            source, place = self.sources.pop(), self.places.pop()
            if source is _ENDED:
                continue
            try:
                end(self.streamers[place], source)
            except BaseException as error:
                if isinstance(error, Exception):
                    self.blame(error, self.named(place), self.streamers[place], "as it was closed")
                # Raised in the end: the last one, but not in place of an interrupt.
                if isinstance(error, Exception) and not isinstance(
                    failure, (Exception, type(None))
                ):
                    continue
                error.__context__ = failure
                failure = error
        for column in self.columns():
            column.clear()
        if failure is not None:
            raise failure


class PoolRun(Run):
    """A run that draws slots at random: of `StochasticMux` and `ShuffledMux`."""

    slots: _sampling.EqualSlots | _sampling.WeightedSlots

    def _set_slots(self, n_slots: int, weights: np.ndarray | None) -> None:
        """Prepare to draw among ``n_slots`` slots; ``weights`` are those of the streamers."""
        rng = self.seed.rng(b"slots")
        positive = None if weights is None else weights[weights > 0]
        if positive is None or (positive == positive[0]).all():
            self.weights = None
            self.slots = _sampling.EqualSlots(rng, n_slots)
        else:
            self.weights = weights
            self.slots = _sampling.WeightedSlots(rng, n_slots)

    def items(self) -> Generator:
        with self:
            self.fill()
            sources, iterators, stops = self.sources, self.iterators, self.stops
            item = _NOTHING
            while sources:
                self.before_block(item is not _NOTHING)
                for slot in self.slots.block():
                    try:
                        item = next(iterators[slot])
                    except StopIteration:
                        pass
                    except Exception as error:
                        if not self.outlives(error, slot):
                            raise
                    else:
                        yield item
                        continue
                    while slot < len(sources):  # else it has been taken away since it was drawn
                        n_given = self.n_given(slot)
                        if n_given == stops[slot]:
                            # That was all but one of the items it may give.
                            try:
                                last = next(sources[slot], _NOTHING)
                            except Exception as error:
                                last = _NOTHING
                                if not self.outlives(error, slot):
                                    raise
                            if last is not _NOTHING:
                                next(self.ticks[slot])
                                item = last
                                yield item
                                self.replace(slot, n_given + 1, True)
                                item = _NOTHING
                                break
                        # It had ended before this draw (or failed at it), which its successor
                        # takes over, so that short streams do not get less than their share.
                        if not self.replace(slot, n_given, item is not _NOTHING):
                            item = _NOTHING
                            break
                        try:
                            item = next(iterators[slot], _NOTHING)
                        except Exception as error:
                            item = _NOTHING
                            if not self.outlives(error, slot):
                                raise
                        if item is not _NOTHING:
                            yield item
                            break
                    if self.slots.is_stale or not sources:
                        break
            self.raise_if_all_failed()

    def before_block(self, has_given: bool) -> None:
        """Do what is to be done now and then; ``has_given`` as for `replace`."""

    def replace(self, slot: int, n_given: int, has_given: bool) -> bool:
        """Put a new stream in the place of an ended one, which gave ``n_given`` items.

        ``has_given`` tells whether any stream has given an item since the last replacement.
        Return whether there was a new stream; else the slot has been taken away.
        """
        raise NotImplementedError

    def remove(self, slot: int) -> None:
        super().remove(slot)
        self.slots.shrink()
        if self.weights is not None and slot < len(self.places):
            self.slots.put(slot, self.weights[self.places[slot]])


class StochasticRun(PoolRun):
    """One run of a StochasticMux."""

    def __init__(self, mux: StochasticMux, seed: Seed) -> None:
        super().__init__(mux, mux.streamers, seed, mux.mode == "exhaustive")
        self.mux: StochasticMux = mux
        self.pool = _pool(mux, seed)
        self.is_exclusive = mux.mode == "single_active"
        self.n_slots = mux.n_active
        if mux.mode != "with_replacement":
            self.n_slots = min(mux.n_active, self.pool.n_left)
        self._set_slots(self.n_slots, mux._weights)
        # Binomial limits depend on the other streams that are open.
        self.has_own_limits = mux.dist == "binomial" and mux.rate is not None
        limits = None if self.has_own_limits else _sampling.limits(mux.dist, mux.rate)
        self.draws = _sampling.activations(seed.rng(b"activations"), limits)
        # Streamers that gave nothing since the last item, where they may be tried again.
        self.barren: set[int] = set()

    def fill(self) -> None:
        if self.n_opened:
            return
        chosen = []
        for _ in range(self.n_slots):
            place, draw = self.choose()
            assert place is not None
            chosen.append((place, draw))
        # All weights first: own limits depend on every one of them.
        if self.weights is not None:
            self.slots.fill([self.weights[place] for place, _ in chosen])
        for place, _ in chosen:
            self.add_slot(place)
        unopened = [slot for slot, each in enumerate(chosen) if not self.open(slot, *each)]
        for slot in reversed(unopened):  # from the end, where slots can be taken away
            self.open_another(slot)

    def choose(self) -> tuple[int | None, Any]:
        """Choose the next streamer: its place (None: there is none), and a draw for its limit."""
        choice, draw = next(self.draws)
        place = self.pool.choose(choice)
        while place in self.barren:
            self.pool.release(place)
            if len(self.barren) >= self.pool.n_free:
                return None, draw
            choice, draw = next(self.draws)
            place = self.pool.choose(choice)
        return place, draw

    def open(self, slot: int, place: int, draw: Any) -> bool:
        """Open a stream in a slot, as `choose` says; tell whether it could be opened."""
        if self.has_own_limits:
            draw = self.own_limit(slot, draw)
        if self.put(slot, place, draw):
            return True
        self._release(place, True)
        return False

    def open_another(self, slot: int) -> bool:
        """Open what comes next in a slot; if nothing does, take the slot away."""
        while True:
            if self.barren:
                place, draw = self.choose()
            else:
                choice, draw = next(self.draws)
                place = self.pool.choose(choice)
            if place is None:
                self.remove(slot)
                return False
            if self.weights is not None:
                self.slots.put(slot, self.weights[place])
            if self.has_own_limits:
                draw = self.own_limit(slot, draw)
            if self.put(slot, place, draw):
                return True
            self._release(place, True)

    def _release(self, place: int, has_failed: bool) -> None:
        """Let a streamer be chosen again, unless it has failed too often."""
        if self.is_exclusive:
            self.pool.release(place)
        if has_failed and self.is_dropped(place):
            self.pool.drop(place)
            self.barren.discard(place)

    def own_limit(self, slot: int, draw: float) -> int:
        """Return how many items the stream in a slot may give, where it depends on its weight."""
        share = self.slots.probability(slot)
        return _sampling.limits(self.mux.dist, self.mux.rate, share).draw(draw)

    def before_block(self, has_given: bool) -> None:
        if self.barren and has_given:
            self.barren.clear()
            self._reopen_slots()

    def replace(self, slot: int, n_given: int, has_given: bool) -> bool:
        place = self.places[slot]
        self.end(slot, n_given)
        has_failed = self.stops[slot] == _FAILED
        if has_failed or self.is_exclusive:
            self._release(place, has_failed)
        may_reopen = has_given and bool(self.barren)
        if may_reopen:
            self.barren.clear()
        if not n_given and not has_failed:  # noted first, so that no slot is reopened with it
            self._note_empty(place)
        if may_reopen:
            self._reopen_slots()
        return self.open_another(slot)

    def _note_empty(self, place: int) -> None:
        if self.mux.prune_empty_streams:
            self.pool.drop(place)
        else:
            self.barren.add(place)

    def _reopen_slots(self) -> None:
        """Open the slots again that were taken away while their candidates gave nothing."""
        while len(self.sources) < self.n_slots:
            place, draw = self.choose()
            if place is None:
                break
            slot = len(self.sources)
            self.slots.grow(1.0 if self.weights is None else self.weights[place])
            self.add_slot(place)
            if not self.open(slot, place, draw):
                self.open_another(slot)


def _pool(mux: StochasticMux, seed: Seed) -> Any:
    """Return what chooses the streamers to open: those of positive weight, as the mode says."""
    places = None
    if mux._weights is not None and not mux._weights.all():
        places = np.flatnonzero(mux._weights)
    if mux.mode == "exhaustive":
        return _sampling.Permuted(mux.n_streams, places, seed.rng(b"order"))
    kind = _sampling.Replacing if mux.mode == "with_replacement" else _sampling.Distinct
    return kind(mux.n_streams, None if places is None else places.tolist())


class ShuffledRun(PoolRun):
    """One run of a ShuffledMux: every slot belongs to one streamer."""

    def __init__(self, mux: ShuffledMux, seed: Seed) -> None:
        super().__init__(mux, mux.streamers, seed, False)
        self.first = list(range(mux.n_streams))
        if mux._weights is not None:
            self.first = np.flatnonzero(mux._weights).tolist()
        self._set_slots(len(self.first), mux._weights)

    def fill(self) -> None:
        if not self.n_opened:
            if self.weights is not None:
                self.slots.fill(self.weights[self.first].tolist())
            for place in self.first:
                self.add_slot(place)
            unopened = [
                slot for slot, place in enumerate(self.first) if not self.put(slot, place, 0)
            ]
            for slot in reversed(unopened):  # from the end, where slots can be taken away
                self.reopen(slot)

    def replace(self, slot: int, n_given: int, has_given: bool) -> bool:
        self.end(slot, n_given)
        if n_given or self.stops[slot] == _FAILED:
            return self.reopen(slot)
        self.remove(slot)
        return False

    def reopen(self, slot: int) -> bool:
        """Start the streamer of a slot again; if it has failed too often, take the slot away."""
        place = self.places[slot]
        while not self.is_dropped(place):
            if self.put(slot, place, 0):
                return True
        self.remove(slot)
        return False


class RoundRobinRun(Run):
    """One run of a RoundRobinMux."""

    def __init__(self, mux: RoundRobinMux, seed: Seed) -> None:
        super().__init__(mux, mux.streamers, seed, mux.mode == "exhaustive")
        self.mode = mux.mode
        self.n_passes = 0

    def fill(self) -> None:
        if not self.n_passes:
            self._begin_pass()

    def _begin_pass(self) -> None:
        order = range(len(self.streamers))
        if self.mode == "permuted_cycle":
            rng = self.seed.child(-1, self.n_passes).rng(b"order")
            order = rng.permutation(len(self.streamers)).tolist()
        self.n_passes += 1
        unopened = []
        for place in order:
            if not self.is_dropped(place) and not self.append(place, 0):
                unopened.append(len(self.sources) - 1)
        if unopened:
            self._leave_out(unopened)

    def items(self) -> Generator:
        with self:
            n_failures = 0
            self.fill()
            while True:
                item = _NOTHING
                while self.sources:
                    ended = []
                    turns = iter(self.iterators)
                    for iterator in turns:
                        try:
                            item = next(iterator)
                        except StopIteration:
                            slot = len(self.sources) - length_hint(turns) - 1
                        except Exception as error:
                            slot = len(self.sources) - length_hint(turns) - 1
                            if not self.outlives(error, slot):
                                raise
                        else:
                            yield item
                            continue
                        self.end(slot, self.n_given(slot))
                        ended.append(slot)
                    if ended:
                        self._leave_out(ended)
                # A streamer that has failed may give something in the next pass.
                n_failures, n_before = sum(self.failed.values()), n_failures
                if self.mode == "exhaustive" or (item is _NOTHING and n_failures == n_before):
                    break
                self._begin_pass()
            self.raise_if_all_failed()

    def _leave_out(self, ended: list[int]) -> None:
        """Take ended slots away; the others keep their order."""
        self.n_of_removed += sum(sys.maxsize - self.starts[slot] for slot in ended)
        keep = np.ones(len(self.sources), dtype=bool)
        keep[ended] = False
        selectors = keep.tolist()
        for column in self.columns():
            column[:] = compress(column, selectors)


class ChainRun(Run):
    """One run of a ChainMux: at most one stream is open, in slot 0."""

    def __init__(self, mux: ChainMux, seed: Seed) -> None:
        super().__init__(mux, [], seed, mux.mode == "exhaustive")
        self.mux: ChainMux = mux
        self.reader: Iterator | None = None  # of the streamers, where they are read lazily
        self.index = 0  # of the streamer that is being read
        self.n_fruitless = 0  # failures since the last item

    def named(self, place: int) -> int:
        return self.index

    def items(self) -> Generator:
        with self:
            n_passes, is_barren = 0, False
            while not n_passes or (self.mux.mode == "cycle" and not is_barren):
                is_barren = True
                for index, streamer in enumerate(self._streamers(n_passes)):
                    if self.is_dropped(index):
                        continue
                    self.streamers, self.index = [streamer], index
                    self.above = self.seed.named(index)
                    if self.append(0, 0):
                        try:
                            yield from self.iterators[0]
                        except Exception as error:
                            if not self.outlives(error, 0):
                                raise
                    # One that has failed may give something in the next pass.
                    is_barren = self._leave() and is_barren
                self._close_reader()
                n_passes += 1
            self.raise_if_all_failed()

    def _leave(self) -> bool:
        """Close the stream; tell whether it was empty."""
        n_given = self.n_given(0)
        if self.sources[0] is not _ENDED:
            self.end(0, n_given)
        has_failed = self.stops[0] == _FAILED
        self.remove(0)
        if n_given:
            self.n_fruitless = 0
        elif has_failed:
            self.n_fruitless += 1
            if self.n_fruitless == _MOST_FRUITLESS and self.mux.n_streams is None:
                self.raise_last()
        return not n_given and not has_failed

    def _streamers(self, number: int) -> Iterator[Streamer]:
        source, index = self.mux.streamers, 0
        try:
            if not isinstance(source, list):
                source = self.reader = begin(self.mux.reader, self.seed, -1, number)
            for index, streamer in enumerate(source):
                yield as_streamer(streamer, index)
        except Exception as error:
            name = _validate.short(self.mux)
            add_note(error, f"raised by what gives the streamers of {name}, after {index} or more")
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
