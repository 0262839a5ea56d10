"""The run of a `StochasticMux`: a bounded number of open streams, drawn from many streamers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _validate
from .._streaming.seeds import Seed
from .choosers import Distinct, DistinctShares, Permuted, Replacing, Shares, activations
from .design import Design, Table
from .limits import limits_of
from .random_run import PoolRun
from .run import FAILED

if TYPE_CHECKING:
    from ..mux import StochasticMux


class StochasticRun(PoolRun):
    """One run of a StochasticMux."""

    __slots__ = (
        "_limits",
        "barren",
        "draws",
        "gone",
        "has_own_limits",
        "is_exclusive",
        "is_share",
        "n_draws",
        "n_first",
        "n_slots",
        "pool",
        "table",
    )

    def __init__(self, mux: StochasticMux, seed: Seed) -> None:
        super().__init__(mux, seed, mux.mode == "exhaustive")
        self.is_exclusive = mux.mode == "single_active"
        self.is_share = mux.weighting == "share"
        self.gone: list[int] = []  # those dropped when the pool was made
        # Streamers that gave nothing since the last item, where they may be tried again.
        self.barren: set[int] = set()
        self.table: Table | None = None  # of unequal shares
        self.pool = self._pool(self.first_weights, set())
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
            limits = limits_of(mux.dist, mux._mean_limit(), 1 / self.n_first)
        self.n_draws = 0
        self._limits = limits
        self.draws = activations(seed.rng(b"activations"), limits)

    def _pool(self, weights: np.ndarray | None, dropped: set[int]) -> Any:
        """Return what chooses the streamers to open, as the mode says.

        They are those of positive weight which were not dropped before.
        """
        mux = self.mux
        self.gone = sorted(dropped)
        if self.is_share:
            self.table = mux._table_of(weights, self.n_given_in_all())
        if self.table is not None:
            kind = DistinctShares if self.is_exclusive else Shares
            shares = kind(self.table)
            for place in dropped | self.barren:
                shares.drop(place)
            return shares
        places = None
        if weights is not None and not weights.all():
            places = np.flatnonzero(weights)
        if mux.mode == "exhaustive":
            return Permuted(mux.n_streams, places, self.seed.rng(b"order"))
        if dropped:
            everything = range(mux.n_streams) if places is None else places.tolist()
            places = np.array([each for each in everything if each not in dropped], dtype=int)
        pool = Distinct if self.is_exclusive else Replacing
        return pool(mux.n_streams, None if places is None else places.tolist())

    def fill(self) -> None:
        if self.n_opened:
            return
        chosen = self._choose_first()
        # All weights first: own limits depend on every one of them.
        if self.weights is not None:
            self.slots.fill([self.weights[place] for place, _ in chosen])
        for place, _ in chosen:
            self.add_slot(place)
        unopened = [slot for slot, each in enumerate(chosen) if not self.open(slot, *each)]
        for slot in reversed(unopened):  # from the end, where slots can be taken away
            self.open_another(slot)

    def _choose_first(self) -> list[tuple[int, Any]]:
        if not isinstance(self.table, Design):
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
            weights = self.first_weights if self.present is None else self.present
            self.pool = self._pool(weights, gone)
        self.pool.resume(self.start["pool"], self.places)
        self.n_draws = self.start["n_draws"]
        rng = self.seed.rng(b"activations", 2 * self.n_draws)
        self.draws = activations(rng, self._limits)

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
                self.n_draws += 1
                choice, draw = next(self.draws)
                place = self.pool.choose(choice)
            if place is None:
                self.remove(slot)
                return False
            if self.weights is not None:
                self.slots.put(slot, self.weights[place])
            if self.open(slot, place, draw):
                return True

    def _release(self, place: int, has_failed: bool) -> None:
        """Let a streamer be chosen again, unless it has failed too often."""
        if self.is_exclusive:
            self.pool.release(place)
        if has_failed and self.is_dropped(place):
            self._drop(place)

    def _drop(self, place: int) -> None:
        self.pool.drop(place)
        self.barren.discard(place)

    def _dropped(self) -> set[int]:
        """Return the streamers that are not opened again in this run."""
        return {*self.gone, *self.pool.dropped} - self.barren

    def own_limit(self, slot: int, draw: float) -> int:
        """Return how many items the stream in a slot may give, where it depends on its weight."""
        share = self.slots.probability(slot)
        return limits_of(self.mux.dist, self.mux._mean_limit(), share).draw(draw)

    def before_block(self, has_given: bool) -> int:
        if self.barren and has_given:
            self._forgive()
            self._reopen_slots()
        return super().before_block(has_given)

    def reweigh(self, weights: np.ndarray) -> None:
        dropped = self._dropped()
        self.barren = {place for place in self.barren if weights[place]}  # those that may be tried
        if self.mux.mode == "exhaustive":
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
        self.end(slot, self.n_given(slot))
        if self.stops[slot] == FAILED and self.is_dropped(place):
            self._drop(place)

    def _check_same_streamers(self, weights: np.ndarray) -> None:
        assert self.present is not None
        wrong = np.flatnonzero((weights > 0) != (self.present > 0))
        if wrong.size:
            name = f"weights({self.n_given_in_all()})[{wrong[0]}]"
            rule = 'must be zero always or never, since mode="exhaustive" opens each streamer once'
            remedy = "give a small positive weight instead of zero, or choose another mode"
            raise _validate.refuse(name, weights[wrong[0]].item(), rule, remedy)

    def replace(self, slot: int, n_given: int, has_given: bool) -> bool:
        place = self.places[slot]
        self.end(slot, n_given)
        if self.barren or self.is_share or not n_given or self.stops[slot] == FAILED:
            return self._replace_with_care(slot, place, n_given, has_given)
        if self.is_exclusive:
            self.pool.release(place)
        return self.open_another(slot)

    def _replace_with_care(self, slot: int, place: int, n_given: int, has_given: bool) -> bool:
        """Do what `replace` does, after an end out of the common."""
        may_reopen = has_given and bool(self.barren)
        if may_reopen:
            self._forgive()
        is_open = 0 < n_given <= self.stops[slot] and self._restart(slot, n_given)
        if not is_open:
            has_failed = self.stops[slot] == FAILED
            self._release(place, has_failed)
            if not n_given and not has_failed:  # noted first, so that no slot is reopened with it
                self._note_empty(place)
        if may_reopen:
            self._reopen_slots()
        return is_open or self.open_another(slot)

    def _restart(self, slot: int, n_given: int) -> bool:
        """Start one that ended early again for the rest, so that it gets its full share."""
        place = self.places[slot]
        can_be = self.is_share and not self.is_dropped(place)
        return can_be and self.put(slot, place, self.stops[slot] + 1 - n_given)

    def _note_empty(self, place: int) -> None:
        if self.mux.prune_empty_streams:
            self._drop(place)
        elif not self.is_dropped(place):  # another stream of it may have failed
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
            self.add_slot(place)
            if not self.open(slot, place, draw):
                self.open_another(slot)
