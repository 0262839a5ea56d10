"""Runs of the muxes that draw at random which stream is next."""

from __future__ import annotations

import sys
from collections.abc import Collection, Generator, Iterable, Iterator
from operator import itemgetter
from time import monotonic
from typing import Any

import numpy as np

from .. import _validate
from .._streaming import positions
from .._streaming.promises import FIRST, Promise
from .._streaming.seeds import Seed
from .design import are_equal
from .metered import CURRENT, N_LEFT, NO_SOURCE, Weights
from .run import NOTHING, STOP_FAILED, Run
from .setup import Setup
from .slots import EqualSlots, WeightedSlots

REWEIGH_EVERY = 1000  # items, after which a function is asked for weights again


class PoolRun(Run):
    """A run that draws slots at random: of `StochasticMux` and `ShuffledMux`."""

    __slots__ = (
        "_rest",
        "first_weights",
        "function",
        "n_streams",
        "next_point",
        "slots",
        "weights",
    )

    slots: EqualSlots | WeightedSlots

    def __init__(self, setup: Setup, seed: Seed) -> None:
        super().__init__(setup, seed)
        self.n_streams = len(setup.streamers)
        self.function = setup.weight_function
        self.first_weights = setup.weights
        if self.function is not None:
            self.first_weights = self.current_weights = self._weights_at(0)
        self.next_point = REWEIGH_EVERY

    def _set_slots(self, n_slots: int, n_first: int, weights: np.ndarray | None) -> None:
        """Prepare to draw among up to ``n_slots`` slots, ``n_first`` of them in the beginning.

        ``weights`` are those of the streamers; None: the slots are equal, now and later.
        """
        rng = self.seed.rng(b"slots")
        if weights is None or (self.function is None and are_equal(weights)):
            self.weights = None
            self.slots = EqualSlots(rng, n_slots)
        else:
            self.weights = weights
            self.slots = WeightedSlots(rng, n_slots)
        self.slots.n_slots = n_first

    def items(self) -> Generator:
        with self:
            sources, iterators, through_limit = self.sources, self.iterators, self.through_limit
            ticks, initial_ticks = self.ticks, self.initial_ticks
            item: Any = NOTHING
            block: Iterable[int] | None = None
            if self.resume_from is None:
                self.fill()
            else:
                self.restore()
                if self.meter is not None:
                    self.tell_weights(self.meter)
                yield None
                block, item = self._go_on()
            while True:
                if not sources:
                    break
                if block is None:
                    block = self._next_block(item is not NOTHING)
                for slot in block:
                    try:
                        item = next(iterators[slot])
                    except StopIteration:
                        pass
                    except Exception as error:
                        self.nothing_of(error, slot)
                    else:
                        yield item
                        continue
                    while True:
                        if slot >= len(sources):
                            break  # it has been taken away since it was drawn
                        n_given = initial_ticks[slot] - N_LEFT(ticks[slot])
                        if n_given == through_limit[slot]:
                            # That was all but one of the items it may give.
                            try:
                                last = next(self.readers[slot], NOTHING)
                            except Exception as error:
                                last = self.nothing_of(error, slot)
                            if last is not NOTHING:
                                self.selectors[slot].__next__()  # (not next(): it is no draw)
                                item = last
                                yield item
                                self.is_replacing = True
                                if monotonic() >= self.next_snapshot:
                                    self.keep_position(is_drawing=False)
                                self.replace(slot, n_given + 1, True)
                                self.is_replacing = False
                                item = NOTHING
                                break
                        # It had ended before this draw (or failed at it), which its successor
                        # takes over, so that short streams do not get less than their share.
                        if monotonic() >= self.next_snapshot and not self.is_replacing:
                            self.keep_position(is_drawing=True)
                        self.is_replacing = True
                        if not self.replace(slot, n_given, item is not NOTHING):
                            item = NOTHING
                            break
                        try:
                            item = next(iterators[slot], NOTHING)
                        except Exception as error:
                            item = self.nothing_of(error, slot)
                        if item is not NOTHING:
                            self.is_replacing = False
                            yield item
                            break
                    if self.slots.is_stale or not sources:
                        break
                    self.is_replacing = False
                block = None
            self.is_replacing = True
            self.raise_if_all_failed()

    def _next_block(self, has_given: bool) -> Iterable[int]:
        """Return the slots that are drawn next; none if nothing is left to draw from."""
        self.is_replacing = True
        most = self.before_block(has_given)
        if not self.sources:
            return ()
        block = self.slots.block(most)
        if self.meter is not None:
            self.go_on_for(self.slots.size)
        self.is_replacing = False
        if self.tells_draws:
            self.tell_draws(self.slots.foresee())
        return block

    def has_gap(self) -> bool:
        # (True whenever a slot is empty, but right after a state was restored, when the streams
        # have marks of their own. To look at all slots takes long.)
        return self.is_replacing

    def position_before_draw(self) -> dict:
        position = super().position_before_draw()
        position["slots"] = self.slots.position_before_draw
        return position

    def nothing_of(self, error: Exception, slot: int) -> Any:
        """Return `NOTHING` in place of an item that could not be made; or raise the error again."""
        if not self.outlives(error, slot):
            raise
        return NOTHING

    def _go_on(self) -> tuple[Iterable[int] | None, Any]:
        """Return what is left of the block after `restore`, and the item of before.

        A stream that had given all it may is replaced now, and those that could not be started
        again; then it is as after any replacement, and there is no item.
        """
        item: Any = None
        self.is_replacing = True
        for slot in reversed(range(len(self.sources))):  # from the end: slots may be taken away
            stop, n_given = self.through_limit[slot], self.n_given(slot)
            if stop == STOP_FAILED or 0 <= stop < n_given:
                self.replace(slot, n_given, True)
                item = NOTHING
        self.is_replacing = False
        if self.slots.is_stale:
            return None, item
        if self.tells_draws and self.sources:
            self.tell_draws(self.slots.foresee())
        return self._rest, item

    def current_position(self, n_given: int) -> dict:
        position = super().current_position(n_given)
        position["slots"] = self.slots.position
        if self.function is not None:
            assert self.current_weights is not None
            weights = positions.digest(self.current_weights.tobytes())
            position["reweighed"] = [self.next_point, weights]
        return position

    def restore(self) -> None:
        super().restore()
        assert self.resume_from is not None
        self.slots.n_slots = len(self.sources)
        if self.function is not None:
            self.next_point, before = self.resume_from["reweighed"]
            self.current_weights = self._weights_at(self.next_point - REWEIGH_EVERY)
            weights = {"weights": positions.digest(self.current_weights.tobytes())}
            positions.check_same(self.setup.mux, {"weights": before}, weights)
        if self.weights is not None:
            if self.current_weights is not None:
                self.weights = self.current_weights
            self.slots.fill([self.weights[place] for place in self.places])
        position = self.resume_from["slots"]
        # (Slots that are gone may still be drawn.)
        self.iterators += [NO_SOURCE] * (position[3] - len(self.iterators))
        self._rest = self.slots.resume(position, self.seed.rng(b"slots", position[0]))

    def before_block(self, has_given: bool) -> int:
        """Do what is to be done now and then; return how many slots may be drawn before the next.

        ``has_given`` is as for `replace`.
        """
        if self.function is None:
            return sys.maxsize
        n_items = self.n_given_in_all()
        if n_items == self.next_point:
            self.next_point += REWEIGH_EVERY
            weights = self._weights_at(n_items)
            if (weights != self.current_weights).any():
                if self.meter is not None:
                    self.meter.reweighed(self, self.promise(weights))
                self.reweigh(weights)
                self.current_weights = weights
        return self.next_point - n_items

    def _weights_at(self, n_items: int) -> np.ndarray:
        return _validate.weights_at(self.function, n_items, len(self.streamers))

    def reweigh(self, weights: np.ndarray) -> None:
        """Go over to other weights of the streamers."""
        raise NotImplementedError

    def left_out(self) -> Collection[int]:
        """Return the streamers that are not opened again."""
        raise NotImplementedError

    def is_as_at_first(self) -> bool:
        """Tell whether weights are those of the beginning, and nobody is left out."""
        return self.function is None and not self.left_out()

    def weights_of_left(self, now: Weights) -> np.ndarray | None:
        """Return the weights of those that are left; None if they are equal, and all are left."""
        weights, left_out = self.first_weights, list(self.left_out())
        if now is FIRST:
            left_out = []
        elif not isinstance(now, str):
            weights = now
        elif self.current_weights is not None:
            weights = self.current_weights
        if weights is None and not left_out:
            return None
        weights = np.ones(self.n_streams) if weights is None else weights.copy()
        weights[left_out] = 0
        return weights / (weights.sum() or 1)

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


class ShuffledRun(PoolRun):
    """One run of a ShuffledMux: every slot belongs to one streamer."""

    __slots__ = ("dropped", "first")

    def __init__(self, setup: Setup, seed: Seed) -> None:
        super().__init__(setup, seed)
        self.dropped: set[int] = set()  # streamers that are not opened again
        self.first = list(range(self.n_streams))
        if self.first_weights is not None:
            self.first = np.flatnonzero(self.first_weights).tolist()
        n_slots = len(self.first) if self.function is None else self.n_streams
        self._set_slots(n_slots, len(self.first), self.first_weights)

    def n_to_open(self) -> int:
        return len(self.first)

    def fill(self) -> None:
        if self.n_opened:
            return
        if self.weights is not None:
            self.slots.fill(self.weights[self.first].tolist())
        self.is_replacing = True
        if self.n_ahead:
            self.announce_all(self.first)
        for slot in reversed(self.append_all(self.first)):  # from the end: some may be taken away
            self._reopen(slot)
        self.is_replacing = False

    def before_block(self, has_given: bool) -> int:
        most = super().before_block(has_given)
        if isinstance(self.slots, WeightedSlots) and not self.slots.total:
            self.close()  # all that are left have no weight now
        return most

    def shown(self) -> list[tuple[Iterator, int, int]]:
        """Return the same with a slot for each that is left out, in the order of the streamers."""
        shown = super().shown()
        if self.dropped and shown:
            shown += [(iter(()), place, 0) for place in self.dropped]
            shown.sort(key=itemgetter(1))
        return shown

    def current_position(self, n_given: int) -> dict:
        return {**super().current_position(n_given), "dropped": sorted(self.dropped)}

    def restore(self) -> None:
        super().restore()
        assert self.resume_from is not None
        self.dropped = set(self.resume_from["dropped"])

    def reweigh(self, weights: np.ndarray) -> None:
        self.weights = weights
        seen = self.dropped.union(self.places)
        for place in np.flatnonzero(weights).tolist():
            if place not in seen:
                self.slots.grow(weights[place])
                if not self.append(place):
                    self._reopen(len(self.sources) - 1)
        self.slots.fill([weights[place] for place in self.places])

    def replace(self, slot: int, n_given: int, has_given: bool) -> bool:
        self.end(slot, n_given)
        if n_given or self.through_limit[slot] == STOP_FAILED:
            return self._reopen(slot)
        self._drop(slot)
        return False

    def _reopen(self, slot: int) -> bool:
        """Start the streamer of a slot again; if it has failed too often, take the slot away."""
        place = self.places[slot]
        while not self.is_dropped(place):
            if self.put(slot, place, 0):
                return True
        self._drop(slot)
        return False

    def _drop(self, slot: int) -> None:
        place = self.places[slot]
        self.dropped.add(place)
        self.remove(slot)
        if self.meter is not None:
            self.meter.drop(self, place)

    def left_out(self) -> Collection[int]:
        return self.dropped

    def promise(self, now: Weights = CURRENT) -> Promise:
        return Promise(self.weights_of_left(now), self.n_streams, "items")
