"""One run of each mux: what happens when a stream ends.

A run keeps the iterators of its open streams in a list of slots. Per item it takes the slot that
is next and the next item of that slot's iterator. All else happens when a stream ends.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator
from itertools import compress, islice, repeat
from operator import length_hint
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _positions, _sampling
from ._seeds import Seed
from .core import Streamer, as_streamer, begin, begin_at, end

if TYPE_CHECKING:
    from .mux import BaseMux, ChainMux, RoundRobinMux, ShuffledMux, StochasticMux

_NOTHING = object()  # no item: None may be one
_ENDED: Iterator = iter(())


class Run:
    """One run of a mux: its open streams, one to a slot, and what each may still give."""

    def __init__(self, mux: BaseMux, streamers: list[Streamer], seed: Seed) -> None:
        self.mux: Any = mux
        self.streamers = streamers
        self.seed = seed
        self.n_opened = 0
        self.start: dict | None = None  # the position to begin at, if not at the start
        # By slot:
        self.sources: list[Iterator] = []  # the open stream
        self.iterators: list[Iterator] = []  # the same, but for the last item it may give
        self.places: list[int] = []  # which streamer it is of
        self.numbers: list[int] = []  # which activation it is
        self.stops: list[int] = []  # how many items come through the iterator; -1: no limit
        # Every item through the iterator of a slot takes one tick along, in C. What is left of
        # them, compared with what there was at the start, tells how many items there were.
        self.ticks: list[Iterator] = []
        self.starts: list[int] = []

    def items(self) -> Generator:
        """Yield the items, inside ``with self``, which closes what is open on every way out."""
        raise NotImplementedError

    def items_from(self, position: dict) -> Generator:
        """Return `items`, already moved to where another run stood."""
        self.start = position
        items = self.items()
        next(items)
        return items

    def position(self, n_given: int) -> Any:
        """Return where the run stands, between two items."""
        if not n_given and not self.n_opened:
            return 0
        kept = (self.sources, self.places, self.numbers, self.stops, self.counts())
        slots = list(map(self._slot_position, *kept))
        return {"setup": self.setup, "n_opened": self.n_opened, "open": slots}

    @property
    def setup(self) -> dict:
        """What another run must agree with, to go on where this one stands."""
        return {**self.mux._setup(), "seed": _positions.digest(self.seed.words(b"state").tobytes())}

    @staticmethod
    def _slot_position(
        source: Iterator, place: int, number: int, stop: int, n_given: int
    ) -> list | None:
        if source is _ENDED:
            return None
        return [place, number, stop + 1, n_given, _positions.position_of(source, n_given)]

    def restore(self) -> None:
        """Go to `start`."""
        assert self.start is not None
        for each in self.start["open"]:
            slot = self.add_slot()
            if each is None:
                continue
            place, number, limit, n_given, position = each
            self.ticks[slot] = repeat(True, sys.maxsize - n_given)
            self.places[slot], self.numbers[slot], self.stops[slot] = place, number, limit - 1
            if not 0 <= place < len(self.streamers):
                raise _positions.misfit("a mux", f"has no streamer number {place}")
            streamer = self.streamers[place]
            if limit and n_given >= limit:  # it is to be replaced
                source: Iterator = iter(())
                streamer._counted_by().active_count_ += 1
            else:
                source = begin_at(streamer, self.seed, place, number, position)
            self.sources[slot] = source
            n_left = max(0, limit - 1 - n_given)
            self.iterators[slot] = compress(
                islice(source, n_left) if limit else source, self.ticks[slot]
            )
        self.n_opened = self.start["n_opened"]

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def fill(self) -> None:
        """Open the first streams, if that has not been done."""

    def append(self, place: int, limit: int) -> None:
        """Open a stream in a new slot at the end."""
        self.put(self.add_slot(), place, limit)

    def add_slot(self) -> int:
        """Make a new slot at the end, with nothing in it."""
        slot = len(self.sources)
        self.sources.append(_ENDED)
        self.places.append(-1)
        self.numbers.append(-1)
        self.stops.append(-1)
        self.starts.append(sys.maxsize)
        self.ticks.append(repeat(True, sys.maxsize))
        if slot == len(self.iterators):
            self.iterators.append(_ENDED)
        return slot

    def put(self, slot: int, place: int, limit: int) -> None:
        """Open a stream of the streamer at ``place``, for ``limit`` items (0: any number)."""
        number = self.n_opened
        self.n_opened = number + 1
        source = self.sources[slot] = begin(self.streamers[place], self.seed, place, number)
        self.places[slot] = place
        self.numbers[slot] = number
        self.stops[slot] = limit - 1
        self.iterators[slot] = compress(
            islice(source, limit - 1) if limit else source, self.ticks[slot]
        )

    def end(self, slot: int, n_given: int) -> None:
        """Close the stream of a slot, which gave ``n_given`` items."""
        source, self.sources[slot] = self.sources[slot], _ENDED
        self.starts[slot] -= n_given
        end(self.streamers[self.places[slot]], source)

    def n_given(self, slot: int) -> int:
        """Return how many items the stream of a slot has given."""
        return self.starts[slot] - length_hint(self.ticks[slot])

    def columns(self) -> tuple[list, ...]:
        """Return what is kept by slot."""
        kept = (self.sources, self.places, self.numbers, self.stops, self.ticks, self.starts)
        return (*kept, self.iterators)

    def remove(self, slot: int) -> None:
        """Take an (ended) slot away; the last one moves into its place."""
        last = len(self.sources) - 1
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
            sources, iterators, stops = self.sources, self.iterators, self.stops
            item: Any = _NOTHING
            block: Iterable[int] | None = None
            if self.start is None:
                self.fill()
            else:
                self.restore()
                yield None
                block = self._rest
                item = self._replace_given()
            while sources:
                if block is None:
                    self.before_block(item is not _NOTHING)
                    block = self.slots.block()
                for slot in block:
                    try:
                        item = next(iterators[slot])
                    except StopIteration:
                        pass
                    else:
                        yield item
                        continue
                    while slot < len(sources):  # else it has been taken away since it was drawn
                        n_given = self.n_given(slot)
                        if n_given == stops[slot]:
                            # That was all but one of the items it may give.
                            last = next(sources[slot], _NOTHING)
                            if last is not _NOTHING:
                                next(self.ticks[slot])
                                item = last
                                yield item
                                self.replace(slot, n_given + 1, True)
                                item = _NOTHING
                                break
                        # It had ended before this draw, which its successor takes over, so that
                        # short streams do not get less than their share.
                        if not self.replace(slot, n_given, item is not _NOTHING):
                            item = _NOTHING
                            break
                        item = next(iterators[slot], _NOTHING)
                        if item is not _NOTHING:
                            yield item
                            break
                    if self.slots.is_stale or not sources:
                        break
                block = None

    def _replace_given(self) -> Any:
        """Replace the stream that had given all it may, if there was one."""
        for slot, stop in enumerate(self.stops):
            n_given = self.n_given(slot)
            if stop >= 0 and n_given > stop:
                self.replace(slot, n_given, True)
                return _NOTHING
        return None

    def position(self, n_given: int) -> Any:
        position = super().position(n_given)
        if position:
            position["slots"] = self.slots.position
        return position

    def restore(self) -> None:
        super().restore()
        assert self.start is not None
        self.slots.n_slots = len(self.sources)
        if self.weights is not None:
            self.slots.fill([self.weights[place] for place in self.places])
        position = self.start["slots"]
        self.iterators += [_ENDED] * (position[2] - len(self.iterators))  # for draws of gone ones
        self._rest = self.slots.resume(position, self.seed.rng(b"slots", position[0]))

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
        super().__init__(mux, mux.streamers, seed)
        self.pool = _pool(mux, seed)
        self.is_exclusive = mux.mode == "single_active"
        self.n_slots = mux.n_active
        if mux.mode != "with_replacement":
            self.n_slots = min(mux.n_active, self.pool.n_left)
        self._set_slots(self.n_slots, mux._weights)
        # Binomial limits depend on the other streams that are open.
        self.has_own_limits = mux.dist == "binomial" and mux.rate is not None
        limits = None if self.has_own_limits else _sampling.limits(mux.dist, mux.rate)
        self.n_draws = 0
        self._limits = limits
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
        for slot, (place, draw) in enumerate(chosen):
            self.append(place, self.own_limit(slot, draw) if self.has_own_limits else draw)

    def position(self, n_given: int) -> Any:
        position = super().position(n_given)
        if position:
            position["pool"], position["n_draws"] = self.pool.position, self.n_draws
            position["barren"] = sorted(self.barren)
        return position

    def restore(self) -> None:
        super().restore()
        assert self.start is not None
        self.pool.resume(self.start["pool"], self.places)
        self.barren = set(self.start["barren"])
        self.n_draws = self.start["n_draws"]
        rng = self.seed.rng(b"activations", 2 * self.n_draws)
        self.draws = _sampling.activations(rng, self._limits)

    def choose(self) -> tuple[int | None, Any]:
        """Choose the next streamer: its place (None: there is none), and a draw for its limit."""
        self.n_draws += 1
        choice, draw = next(self.draws)
        place = self.pool.choose(choice)
        while place in self.barren:
            self.pool.release(place)
            if len(self.barren) >= self.pool.n_free:
                return None, draw
            self.n_draws += 1
            choice, draw = next(self.draws)
            place = self.pool.choose(choice)
        return place, draw

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
        if self.is_exclusive:
            self.pool.release(place)
        may_reopen = has_given and bool(self.barren)
        if may_reopen:
            self.barren.clear()
        if not n_given:  # noted first, so that no slot is reopened with this streamer
            self._note_empty(place)
        if may_reopen:
            self._reopen_slots()
        if self.barren:
            new_place, draw = self.choose()
        else:
            self.n_draws += 1
            choice, draw = next(self.draws)
            new_place = self.pool.choose(choice)
        if new_place is None:
            self.remove(slot)
            return False
        if self.weights is not None:
            self.slots.put(slot, self.weights[new_place])
        if self.has_own_limits:
            draw = self.own_limit(slot, draw)
        self.put(slot, new_place, draw)
        return True

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
            self.append(place, self.own_limit(slot, draw) if self.has_own_limits else draw)


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
        super().__init__(mux, mux.streamers, seed)
        self.first = list(range(mux.n_streams))
        if mux._weights is not None:
            self.first = np.flatnonzero(mux._weights).tolist()
        self._set_slots(len(self.first), mux._weights)

    def fill(self) -> None:
        if not self.n_opened:
            if self.weights is not None:
                self.slots.fill(self.weights[self.first].tolist())
            for place in self.first:
                self.append(place, 0)

    def replace(self, slot: int, n_given: int, has_given: bool) -> bool:
        self.end(slot, n_given)
        if n_given:
            self.put(slot, self.places[slot], 0)
        else:
            self.remove(slot)
        return n_given > 0


class RoundRobinRun(Run):
    """One run of a RoundRobinMux."""

    def __init__(self, mux: RoundRobinMux, seed: Seed) -> None:
        super().__init__(mux, mux.streamers, seed)
        self.mode = mux.mode
        self.n_passes = 0
        self.turns: Iterator = iter(())  # of this round

    def position(self, n_given: int) -> Any:
        position = super().position(n_given)
        if position:
            position["n_passes"] = self.n_passes
            position["turn"] = len(self.sources) - length_hint(self.turns)
        return position

    def fill(self) -> None:
        if not self.n_passes:
            self._begin_pass()

    def _begin_pass(self) -> None:
        order = range(len(self.streamers))
        if self.mode == "permuted_cycle":
            rng = self.seed.child(-1, self.n_passes).rng(b"order")
            order = rng.permutation(len(self.streamers)).tolist()
        self.n_passes += 1
        for place in order:
            self.append(place, 0)

    def items(self) -> Generator:
        with self:
            item: Any = _NOTHING
            if self.start is None:
                self.fill()
                self.turns = iter(self.iterators)
            else:
                self.restore()
                yield None
                item = None
            has_ended = _ENDED in self.sources
            while True:
                while self.sources:
                    for iterator in self.turns:
                        try:
                            item = next(iterator)
                        except StopIteration:
                            slot = len(self.sources) - length_hint(self.turns) - 1
                            self.end(slot, self.n_given(slot))
                            has_ended = True
                        else:
                            yield item
                    if has_ended:
                        self._leave_out()
                        has_ended = False
                    self.turns = iter(self.iterators)
                if self.mode == "exhaustive" or item is _NOTHING:
                    return
                self._begin_pass()
                self.turns = iter(self.iterators)
                item = _NOTHING

    def restore(self) -> None:
        super().restore()
        assert self.start is not None
        self.n_passes = self.start["n_passes"]
        self.turns = iter(self.iterators)
        self.turns.__setstate__(self.start["turn"])  # type: ignore[attr-defined]

    def _leave_out(self) -> None:
        """Take ended slots away; the others keep their order."""
        selectors = [source is not _ENDED for source in self.sources]
        for column in self.columns():
            column[:] = compress(column, selectors)


class ChainRun(Run):
    """One run of a ChainMux: at most one stream is open, in slot 0."""

    def __init__(self, mux: ChainMux, seed: Seed) -> None:
        super().__init__(mux, [], seed)
        self.reader: Iterator | None = None  # of the streamers, where they are read lazily
        self.n_passes = 0
        self.left: Iterator = iter(())  # streamers of this pass
        self.index = -1  # in the pass, of the one that is open
        self.is_barren = False

    def items(self) -> Generator:
        with self:
            if self.start is not None:
                self.restore()
                yield None
            while True:
                if not self.sources:
                    streamer = next(self.left, None)
                    if streamer is None:
                        self._close_reader()
                        if not self._begin_pass():
                            return
                        continue
                    self.index += 1
                    self.streamers = [streamer]
                    self.append(0, 0)
                yield from self.iterators[0]
                n_given = self.n_given(0)
                self.is_barren = self.is_barren and not n_given
                self.end(0, n_given)
                self.remove(0)

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
            position["pass"] = [self.n_passes, self.index, int(self.is_barren)]
        return position

    def restore(self) -> None:
        assert self.start is not None
        self.n_passes, self.index, is_barren = self.start["pass"]
        self.is_barren = bool(is_barren)
        self.left = self._streamers(self.n_passes - 1, self.index)
        self.streamers = list(islice(self.left, 1))
        super().restore()

    def _streamers(self, number: int, start: int) -> Iterator[Streamer]:
        """Yield the streamers of a pass, from one on."""
        source = self.mux.streamers
        if isinstance(source, list):
            source = islice(source, start, None)
        else:
            source = self.reader = begin_at(self.mux.reader, self.seed, -1, number, start)
        for index, streamer in enumerate(source, start):
            yield as_streamer(streamer, index)

    def _close_reader(self) -> None:
        reader, self.reader = self.reader, None
        if reader is not None:
            end(self.mux.reader, reader)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._close_reader()
