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

from . import _positions, _sampling, _shares, _validate
from ._seeds import Seed
from .core import Streamer, as_streamer, begin, begin_at, end

if TYPE_CHECKING:
    from .mux import BaseMux, ChainMux, RoundRobinMux, ShuffledMux, StochasticMux

_NOTHING = object()  # no item: None may be one
_ENDED: Iterator = iter(())

REWEIGH_EVERY = 1000  # items, after which a function is asked for weights again


class Run:
    """One run of a mux: its open streams, one to a slot, and what each may still give."""

    present: np.ndarray | None = None  # the weights of the streamers now, where they may change

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
        if not n_given:
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

    def __init__(self, mux: StochasticMux | ShuffledMux, seed: Seed) -> None:
        super().__init__(mux, mux.streamers, seed)
        self.function = mux._function
        self.first_weights = mux._weights
        if self.function is not None:
            self.first_weights = self.present = self._weights_at(0)
        self.next_point = REWEIGH_EVERY
        self.n_items_gone = 0  # those that slots had given which were taken away

    def _set_slots(self, n_slots: int, n_first: int, weights: np.ndarray | None) -> None:
        """Prepare to draw among up to ``n_slots`` slots, ``n_first`` of them in the beginning.

        ``weights`` are those of the streamers; None: the slots are equal, now and later.
        """
        rng = self.seed.rng(b"slots")
        if weights is None or (self.function is None and are_equal(weights)):
            self.weights = None
            self.slots = _sampling.EqualSlots(rng, n_slots)
        else:
            self.weights = weights
            self.slots = _sampling.WeightedSlots(rng, n_slots)
        self.slots.n_slots = n_first

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
                if self.slots.is_stale:
                    block = None
            while sources:
                if block is None:
                    block = self.slots.block(self.before_block(item is not _NOTHING))
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
            if self.function is not None:
                position["items"] = [self.n_items(), self.next_point]
        return position

    def restore(self) -> None:
        super().restore()
        assert self.start is not None
        self.slots.n_slots = len(self.sources)
        if self.function is not None:
            n_items, self.next_point = self.start["items"]
            self.n_items_gone = n_items - self.n_items()
            self.present = self._weights_at(self.next_point - REWEIGH_EVERY)
        if self.weights is not None:
            if self.present is not None:
                self.weights = self.present
            self.slots.fill([self.weights[place] for place in self.places])
        position = self.start["slots"]
        self.iterators += [_ENDED] * (position[3] - len(self.iterators))  # for draws of gone ones
        self._rest = self.slots.resume(position, self.seed.rng(b"slots", position[0]))

    def before_block(self, has_given: bool) -> int:
        """Do what is to be done now and then; return how many slots may be drawn before the next.

        ``has_given`` is as for `replace`.
        """
        if self.function is None:
            return sys.maxsize
        n_items = self.n_items()
        if n_items == self.next_point:
            self.next_point += REWEIGH_EVERY
            weights = self._weights_at(n_items)
            if (weights != self.present).any():
                self.reweigh(weights)
                self.present = weights
        return self.next_point - n_items

    def _weights_at(self, n_items: int) -> np.ndarray:
        return _validate.weights_at(self.function, n_items, len(self.streamers))

    def n_items(self) -> int:
        """Return how many items the run has given."""
        n_left = sum(map(length_hint, self.ticks))
        return self.n_items_gone + len(self.ticks) * sys.maxsize - n_left

    def reweigh(self, weights: np.ndarray) -> None:
        """Go over to other weights of the streamers."""
        raise NotImplementedError

    def replace(self, slot: int, n_given: int, has_given: bool) -> bool:
        """Put a new stream in the place of an ended one, which gave ``n_given`` items.

        ``has_given`` tells whether any stream has given an item since the last replacement.
        Return whether there was a new stream; else the slot has been taken away.
        """
        raise NotImplementedError

    def remove(self, slot: int) -> None:
        self.n_items_gone += sys.maxsize - length_hint(self.ticks[slot])
        super().remove(slot)
        self.slots.shrink()
        if self.weights is not None and slot < len(self.places):
            self.slots.put(slot, self.weights[self.places[slot]])


class StochasticRun(PoolRun):
    """One run of a StochasticMux."""

    def __init__(self, mux: StochasticMux, seed: Seed) -> None:
        super().__init__(mux, seed)
        self.is_exclusive = mux.mode == "single_active"
        self.is_share = mux.weighting == "share"
        self.dropped: set[int] = set()
        self.gone: list[int] = []  # those dropped when the pool was made
        # Streamers that gave nothing since the last item, where they may be tried again.
        self.barren: set[int] = set()
        self.table: _shares.Table | None = None  # of unequal shares
        self.pool = self._pool(self.first_weights)
        self.n_slots = self.n_first = mux.n_active
        if mux.mode != "with_replacement":
            self.n_first = min(mux.n_active, self.pool.n_left)
            self.n_slots = min(mux.n_active, mux.n_streams)
            if self.function is None:
                self.n_slots = self.n_first
        self._set_slots(self.n_slots, self.n_first, None if self.is_share else self.first_weights)
        # Binomial limits depend on the other streams that are open, if these have weights.
        self.has_own_limits = mux.dist == "binomial" and mux.rate is not None and not self.is_share
        limits = None
        if not self.has_own_limits:
            limits = _sampling.limits(mux.dist, mux.rate, 1 / self.n_first)
        self.n_draws = 0
        self._limits = limits
        self.draws = _sampling.activations(seed.rng(b"activations"), limits)

    def _pool(self, weights: np.ndarray | None) -> Any:
        """Return what chooses the streamers to open, as the mode says: those of positive weight."""
        mux = self.mux
        self.gone = sorted(self.dropped)
        if self.is_share:
            self.table = mux._table_of(weights, self.n_items())
        if self.table is not None:
            kind = _shares.DistinctShares if self.is_exclusive else _shares.Shares
            shares = kind(self.table)
            for place in self.dropped | self.barren:
                shares.drop(place)
            return shares
        places = None
        if weights is not None and not weights.all():
            places = np.flatnonzero(weights)
        if mux.mode == "exhaustive":
            return _sampling.Permuted(mux.n_streams, places, self.seed.rng(b"order"))
        if self.dropped:
            everything = range(mux.n_streams) if places is None else places.tolist()
            places = np.array([each for each in everything if each not in self.dropped], dtype=int)
        pool = _sampling.Distinct if self.is_exclusive else _sampling.Replacing
        return pool(mux.n_streams, None if places is None else places.tolist())

    def fill(self) -> None:
        if self.n_opened:
            return
        chosen = self._choose_first()
        # All weights first: own limits depend on every one of them.
        if self.weights is not None:
            self.slots.fill([self.weights[place] for place, _ in chosen])
        for slot, (place, draw) in enumerate(chosen):
            self.append(place, self.own_limit(slot, draw) if self.has_own_limits else draw)

    def _choose_first(self) -> list[tuple[int, Any]]:
        if not isinstance(self.table, _shares.Design):
            chosen = [self.choose() for _ in range(self.n_first)]
            return [(place, draw) for place, draw in chosen if place is not None]
        places = self.table.first(self.seed.rng(b"first"))
        for place in places:
            self.pool.occupy(place)
        self.n_draws += len(places)
        return [(place, next(self.draws)[1]) for place in places]

    def position(self, n_given: int) -> Any:
        position = super().position(n_given)
        if position:
            position["pool"], position["n_draws"] = self.pool.position, self.n_draws
            position["gone"], position["barren"] = self.gone, sorted(self.barren)
        return position

    def restore(self) -> None:
        super().restore()
        assert self.start is not None
        gone, self.barren = set(self.start["gone"]), set(self.start["barren"])
        if gone or (self.function is not None and self.mux.mode != "exhaustive"):
            self.dropped = gone
            self.pool = self._pool(self.first_weights if self.present is None else self.present)
        self.pool.resume(self.start["pool"], self.places)
        self.dropped = gone.union(self.pool.dropped) - self.barren
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

    def before_block(self, has_given: bool) -> int:
        if self.barren and has_given:
            self._forgive()
            self._reopen_slots()
        return super().before_block(has_given)

    def reweigh(self, weights: np.ndarray) -> None:
        self.barren = {place for place in self.barren if weights[place]}  # those that may be tried
        if self.mux.mode == "exhaustive":
            self._check_same_streamers(weights)
        else:
            self.pool = self._pool(weights)
        if self.is_exclusive:
            for place in self.places:
                if weights[place]:
                    self.pool.occupy(place)
        if self.weights is not None:
            self.weights = weights
            self.slots.fill([weights[place] for place in self.places])
        # The last one first: when a slot is taken away, the last one moves into its place.
        for slot in reversed(range(len(self.places))):
            if not weights[self.places[slot]]:
                self.end(slot, self.n_given(slot))
                self._fill_slot(slot, *self.choose())
        self._reopen_slots()

    def _check_same_streamers(self, weights: np.ndarray) -> None:
        assert self.present is not None
        wrong = np.flatnonzero((weights > 0) != (self.present > 0))
        if wrong.size:
            name = f"weights({self.n_items()})[{wrong[0]}]"
            rule = 'must be zero always or never, since mode="exhaustive" opens each streamer once'
            remedy = "give a small positive weight instead of zero, or choose another mode"
            raise _validate.refuse(name, weights[wrong[0]].item(), rule, remedy)

    def replace(self, slot: int, n_given: int, has_given: bool) -> bool:
        place = self.places[slot]
        self.end(slot, n_given)
        may_reopen = has_given and bool(self.barren)
        if may_reopen:
            self._forgive()
        if self.is_share and 0 < n_given <= self.stops[slot]:
            # It is started again for the rest, so that short streams get their full share.
            self.put(slot, place, self.stops[slot] + 1 - n_given)
            if may_reopen:
                self._reopen_slots()
            return True
        if self.is_exclusive:
            self.pool.release(place)
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
        return self._fill_slot(slot, new_place, draw)

    def _fill_slot(self, slot: int, new_place: int | None, draw: Any) -> bool:
        """Open what was chosen for a slot; if there was nothing, take the slot away."""
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
            self.dropped.add(place)
        else:
            self.barren.add(place)
            if self.table is not None:  # its weight may be such that all others wait for it
                self.pool.drop(place)

    def _forgive(self) -> None:
        """Let those that gave nothing be chosen again."""
        if self.table is not None:
            for place in self.barren:
                self.pool.restore(place)
        self.barren.clear()

    def _reopen_slots(self) -> None:
        """Open the slots again that were taken away while their candidates gave nothing."""
        while len(self.sources) < self.n_slots:
            place, draw = self.choose()
            if place is None:
                break
            slot = len(self.sources)
            self.slots.grow(1.0 if self.weights is None else self.weights[place])
            self.append(place, self.own_limit(slot, draw) if self.has_own_limits else draw)


def are_equal(weights: np.ndarray) -> bool:
    """Tell whether all positive weights are the same."""
    positive = weights[weights > 0]
    return bool((positive == positive[0]).all())


class ShuffledRun(PoolRun):
    """One run of a ShuffledMux: every slot belongs to one streamer."""

    def __init__(self, mux: ShuffledMux, seed: Seed) -> None:
        super().__init__(mux, seed)
        self.first = list(range(mux.n_streams))
        if self.first_weights is not None:
            self.first = np.flatnonzero(self.first_weights).tolist()
        n_slots = len(self.first) if self.function is None else mux.n_streams
        self._set_slots(n_slots, len(self.first), self.first_weights)
        self.dropped: set[int] = set()

    def fill(self) -> None:
        if not self.n_opened:
            if self.weights is not None:
                self.slots.fill(self.weights[self.first].tolist())
            for place in self.first:
                self.append(place, 0)

    def before_block(self, has_given: bool) -> int:
        most = super().before_block(has_given)
        if isinstance(self.slots, _sampling.WeightedSlots) and not self.slots.total:
            self.close()  # all that are left have no weight now
        return most

    def position(self, n_given: int) -> Any:
        position = super().position(n_given)
        if position:
            position["dropped"] = sorted(self.dropped)
        return position

    def restore(self) -> None:
        super().restore()
        assert self.start is not None
        self.dropped = set(self.start["dropped"])

    def reweigh(self, weights: np.ndarray) -> None:
        self.weights = weights
        seen = self.dropped.union(self.places)
        for place in np.flatnonzero(weights).tolist():
            if place not in seen:
                self.slots.grow(weights[place])
                self.append(place, 0)
        self.slots.fill([weights[place] for place in self.places])

    def replace(self, slot: int, n_given: int, has_given: bool) -> bool:
        self.end(slot, n_given)
        if n_given:
            self.put(slot, self.places[slot], 0)
        else:
            self.dropped.add(self.places[slot])
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
