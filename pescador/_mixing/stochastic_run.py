"""The run of a `StochasticMux`: a bounded number of open streams, drawn from many streamers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _validate
from .._streaming.mux_meter import MuxMeter
from .._streaming.opener import Expected
from .._streaming.promises import Promise
from .._streaming.seeds import Seed
from .choosers import (
    Choices,
    Chooser,
    Distinct,
    DistinctShares,
    Permuted,
    Replacing,
    Shares,
)
from .design import Design, Table, are_equal
from .limits import limits_of
from .metered import CURRENT, Weights
from .random_run import PoolRun
from .run import STOP_FAILED
from .setup import Setup

_MORE_AHEAD = 16  # activations that are announced at a time, beyond those that may be open


class StochasticRun(PoolRun):
    """One run of a StochasticMux."""

    __slots__ = (
        "_limits",
        "choices",
        "dropped_before_pool",
        "gave_nothing",
        "has_own_limits",
        "is_exclusive",
        "is_plain",
        "is_share",
        "n_announced",
        "n_first",
        "n_slots",
        "pool",
        "rows",
        "table",
    )

    pool: Chooser

    def __init__(self, setup: Setup, seed: Seed) -> None:
        super().__init__(setup, seed)
        self.is_exclusive = setup.mode == "single_active"
        self.is_share = setup.weighting == "share"
        self.dropped_before_pool: list[int] = []  # streamers that the pool was made without
        # Streamers that gave nothing since the last item, where they may be tried again.
        self.gave_nothing: set[int] = set()
        self.table: Table | None = None  # of unequal shares
        self.pool = self._pool(self.first_weights, set())
        self.n_slots = self.n_first = setup.n_active
        if setup.mode != "with_replacement":
            self.n_first = min(setup.n_active, self.pool.n_left)
            self.n_slots = min(setup.n_active, self.n_streams)
            if self.function is None:
                self.n_slots = self.n_first
        self._set_slots(self.n_slots, self.n_first, None if self.is_share else self.first_weights)
        # Binomial limits depend on the other streams that are open, if these have weights.
        is_binomial = setup.dist == "binomial" and setup.rate is not None
        self.has_own_limits = is_binomial and not self.is_share
        self._limits = None
        if not self.has_own_limits:
            self._limits = limits_of(setup.dist, setup.mean_limit, 1 / self.n_first)
        self.choices = Choices(seed.rng(b"activations"), self._limits)
        self.rows = self.choices.rows
        self.is_plain = self.weights is None and not (self.has_own_limits or self.n_ahead)
        self.n_announced = 0  # activations, those that are open included

    def _pool(self, weights: np.ndarray | None, dropped: set[int]) -> Chooser:
        """Return what chooses the streamers to open, as the mode says.

        They are those of positive weight which were not dropped before.
        """
        self.dropped_before_pool = sorted(dropped)
        if self.is_share:
            self.table = self.setup.table_for(weights, self.n_given_in_all())
        if self.table is not None:
            kind = DistinctShares if self.is_exclusive else Shares
            shares = kind(self.table)
            for place in dropped | self.gave_nothing:
                shares.drop(place)
            return shares
        places = None
        if weights is not None and not weights.all():
            places = np.flatnonzero(weights)
        if self.setup.mode == "exhaustive":
            return Permuted(self.n_streams, places, self.seed.rng(b"order"))
        if dropped:
            everything = range(self.n_streams) if places is None else places.tolist()
            places = np.array([each for each in everything if each not in dropped], dtype=int)
        pool = Distinct if self.is_exclusive else Replacing
        return pool(self.n_streams, None if places is None else places.tolist())

    # Opening the first streams.

    def n_to_open(self) -> int:
        return self.n_first

    def fill(self) -> None:
        if self.n_opened:
            return
        chosen = self._choose_first()
        if self.n_ahead:
            self._announce_first(chosen)
        # All weights first: own limits depend on every one of them.
        if self.weights is not None:
            self.slots.fill([self.weights[place] for place, _ in chosen])
        self.is_replacing = True
        draws = [draw for _, draw in chosen]
        if self.has_own_limits:
            draws = [self.own_limit(slot, draw) for slot, draw in enumerate(draws)]
        unopened = self.append_all([place for place, _ in chosen], draws)
        for slot in reversed(unopened):  # from the end, where slots can be taken away
            self.open_another(slot)
        self.is_replacing = False

    def _choose_first(self) -> list[tuple[int, Any]]:
        if not isinstance(self.table, Design):
            chosen = [self.choose() for _ in range(self.n_first)]
            return [(place, draw) for place, draw in chosen if place is not None]
        places = self.table.first(self.seed.rng(b"first"))
        for place in places:
            self.pool.occupy(place)
        return [(place, next(self.rows)[1]) for place in places]

    # Look-ahead.

    def _announce_first(self, chosen: list[tuple[int, Any]]) -> None:
        places = [place for place, _ in chosen]
        self._expect(places, [draw for _, draw in chosen])
        self.n_announced = len(chosen)

    def tell_draws(self, slots: np.ndarray) -> None:
        super().tell_draws(slots)
        if self.n_ahead:  # now it is known when they end that are open
            self._announce_more()

    def _announce_more(self) -> None:
        """Announce activations, now and then, so that some are known ahead at any time."""
        is_exact = not self.is_exclusive  # (else what is chosen depends on which streams end)
        if self.n_announced <= self.n_opened + (1 if is_exact else 0.75) * self.n_ahead:
            self._announce(self.n_opened)

    def _announce(self, n_opened: int) -> None:
        """Tell the opener what will probably be opened once ``n_opened`` have been."""
        if self.gave_nothing:
            return  # what is chosen next depends on when they may be tried again
        rows = self.choices.peek(self.n_ahead + (0 if self.is_exclusive else _MORE_AHEAD))
        places = self.pool.foresee([choice for choice, _ in rows])
        self.n_announced = n_opened + len(rows)
        self._expect(places, [draw for _, draw in rows], n_opened)

    def _expect(self, places: list[Any], draws: list[Any], n_opened: int = 0) -> None:
        self.opener.expect(
            [
                Expected(
                    self.streamers[place],
                    self.seed_of_children,
                    place,
                    number,
                    None if self.has_own_limits else draw,
                )
                for number, (place, draw) in enumerate(zip(places, draws), n_opened)
                if place is not None
            ]
        )

    # Where it stands.

    def current_position(self, n_given: int) -> dict:
        position = super().current_position(n_given)
        position["pool"], position["n_draws"] = self.pool.position, self.choices.n_taken
        position["gone"] = self.dropped_before_pool
        position["barren"] = sorted(self.gave_nothing)
        return position

    def has_set_aside(self) -> bool:
        return bool(self.gave_nothing)

    def restore(self) -> None:
        super().restore()
        assert self.resume_from is not None
        dropped = set(self.resume_from["gone"])
        self.gave_nothing = set(self.resume_from["barren"])
        if dropped or (self.function is not None and self.setup.mode != "exhaustive"):
            weights = self.first_weights if self.current_weights is None else self.current_weights
            self.pool = self._pool(weights, dropped)
        self.pool.resume(self.resume_from["pool"], self.places)
        n_taken = self.resume_from["n_draws"]
        self.choices = Choices(self.seed.rng(b"activations", 2 * n_taken), self._limits, n_taken)
        self.rows = self.choices.rows

    # Opening another stream.

    def choose(self) -> tuple[int | None, Any]:
        """Choose the next streamer: its place (None: there is none), and a draw for its limit."""
        choice, draw = next(self.rows)
        place = self.pool.choose(choice)
        while place in self.gave_nothing:
            self.pool.release(place)
            if len(self.gave_nothing) >= self.pool.n_free:
                return None, draw
            choice, draw = next(self.rows)
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
            if self.gave_nothing:
                place, draw = self.choose()
            else:
                choice, draw = next(self.rows)
                place = self.pool.choose(choice)
            if place is None:
                self.remove(slot)
                return False
            if self.weights is not None:
                self.slots.put(slot, self.weights.item(place))
            if self.has_own_limits:
                draw = self.own_limit(slot, draw)
            if self.put(slot, place, draw):
                if self.n_ahead:
                    self._announce_more()
                return True
            self._release(place, True)

    def own_limit(self, slot: int, draw: float) -> int:
        """Return how many items the stream in a slot may give, where it depends on its weight."""
        share = self.slots.probability(slot)
        return limits_of(self.setup.dist, self.setup.mean_limit, share).draw(draw)

    def could_not_open(self, place: int) -> None:
        self._release(place, True)

    def _release(self, place: int, has_failed: bool) -> None:
        """Let a streamer be chosen again, unless it has failed too often."""
        if self.is_exclusive:
            self.pool.release(place)
        if has_failed and self.is_dropped(place):
            self._drop(place)

    def _drop(self, place: int) -> None:
        self.pool.drop(place)
        self.gave_nothing.discard(place)
        if self.meter is not None:
            self.meter.drop(self, place)

    def promise(self, now: Weights = CURRENT) -> Promise | None:
        weights, setup = self.weights_of_left(now), self.setup
        if weights is not None and not weights.any():
            return None  # nobody is left
        if self.is_share:
            return Promise(weights, self.n_streams, "" if self.is_exclusive else "activations")
        if setup.rate is None:  # until the first one is replaced, weights decide
            return Promise(weights, self.n_streams, "items", while_full=True, among_open=True)
        if setup.mode == "exhaustive":
            return None
        return self._promise_of_turns(weights)

    def _promise_of_turns(self, weights: np.ndarray | None) -> Promise | None:
        """Return what is promised if weights decide among the open streams only."""
        is_equal = weights is None or are_equal(weights[weights > 0])
        n_left = self.n_streams if weights is None else np.count_nonzero(weights)
        if self.is_exclusive and self.n_slots >= n_left:  # each is replaced by itself
            return Promise(weights, self.n_streams, "items")
        if not is_equal and (self.is_exclusive or self.has_own_limits or self.function is not None):
            return None
        unit = "activations" if is_equal and not self.is_exclusive else ""
        if weights is not None:
            weights = (weights > 0) / n_left
        return Promise(weights, self.n_streams, unit, while_full=True, in_long_runs=not is_equal)

    def tell_weights(self, meter: MuxMeter) -> None:
        super().tell_weights(meter)
        if self.gave_nothing:
            meter.breaks_promise(self)

    def left_out(self) -> set[int]:
        """Return the streamers that are not opened again in this run."""
        return {*self.dropped_before_pool, *self.pool.dropped} - self.gave_nothing

    # Weights that change.

    def before_block(self, has_given: bool) -> int:
        if self.gave_nothing and has_given:
            self._forgive()
            self._reopen_slots()
        return super().before_block(has_given)

    def reweigh(self, weights: np.ndarray) -> None:
        dropped = self.left_out()
        # (Those that may be tried again.)
        self.gave_nothing = {place for place in self.gave_nothing if weights[place]}
        if self.setup.mode == "exhaustive":
            self._check_same_streamers(weights)
        else:
            self.pool = self._pool(weights, dropped)
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
                self._leave(slot)
                self.open_another(slot)
        self._reopen_slots()

    def _leave(self, slot: int) -> None:
        """Close the stream of a streamer that has no weight any more."""
        place = self.places[slot]
        self.end(slot, self.n_given(slot), has_ended=False)
        if self.through_limit[slot] == STOP_FAILED and self.is_dropped(place):
            self._drop(place)

    def _check_same_streamers(self, weights: np.ndarray) -> None:
        assert self.current_weights is not None
        wrong = np.flatnonzero((weights > 0) != (self.current_weights > 0))
        if wrong.size:
            name = f"weights({self.n_given_in_all()})[{wrong[0]}]"
            rule = 'must be zero always or never, since mode="exhaustive" opens each streamer once'
            remedy = "give a small positive weight instead of zero, or choose another mode"
            raise _validate.refuse(name, weights[wrong[0]].item(), rule, remedy)

    # Replacing a stream.

    def replace(self, slot: int, n_given: int, has_given: bool) -> bool:
        place = self.places[slot]
        self.end(slot, n_given)
        stop = self.through_limit[slot]
        ended_early = self.is_share and n_given <= stop
        if self.gave_nothing or ended_early or not n_given or stop == STOP_FAILED:
            return self._replace_unusual(slot, place, n_given, has_given)
        if self.is_exclusive:
            self.pool.release(place)
        if self.is_plain:  # the most common case: what `open_another` does, without its questions
            choice, limit = next(self.rows)
            chosen = self.pool.choose(choice)
            if chosen is None:
                self.remove(slot)
                return False
            if self.put(slot, chosen, limit):
                return True
            self._release(chosen, True)
        return self.open_another(slot)

    def _replace_unusual(self, slot: int, place: int, n_given: int, has_given: bool) -> bool:
        """Do what `replace` does on the slow path: empty, failed or share runs."""
        may_reopen = has_given and bool(self.gave_nothing)
        if may_reopen:
            self._forgive()
        is_open = 0 < n_given <= self.through_limit[slot] and self._restart(slot, n_given)
        if not is_open:
            has_failed = self.through_limit[slot] == STOP_FAILED
            self._release(place, has_failed)
            if not n_given and not has_failed:  # noted first, so that no slot is reopened with it
                self._note_empty(place)
        if may_reopen:
            self._reopen_slots()
        return is_open or self.open_another(slot)

    def _restart(self, slot: int, n_given: int) -> bool:
        """Start one that ended early again for the rest, so that it gets its full share."""
        place = self.places[slot]
        self.n_announced = 0  # it takes the number of the next one
        can_be = self.is_share and not self.is_dropped(place)
        before = None if self.meter is None else self.listed_marks()[slot]
        if not (can_be and self.put(slot, place, self.through_limit[slot] + 1 - n_given)):
            return False
        if self.meter is not None and before is not None:
            self.meter.goes_on(self, slot, before, n_given)
        return True

    def _note_empty(self, place: int) -> None:
        if self.setup.prune_empty_streams:
            self._drop(place)
        elif not self.is_dropped(place):  # another stream of it may have failed
            self.gave_nothing.add(place)
            if self.meter is not None:
                self.meter.breaks_promise(self)
            if self.table is not None:  # its weight may be such that all others wait for it
                self.pool.drop(place)

    def _forgive(self) -> None:
        """Let those that gave nothing be chosen again."""
        self.n_announced = 0
        if self.table is not None:
            for place in self.gave_nothing:
                self.pool.restore(place)
        self.gave_nothing.clear()

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
