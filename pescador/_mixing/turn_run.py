"""Runs of the muxes that read in turn: one item of each stream, or one stream after the other."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import compress, islice
from operator import length_hint
from time import monotonic
from typing import Any

import numpy as np

from .. import _validate
from .._repr import counted
from .._streaming.failures import add_note
from .._streaming.meter import Meter
from .._streaming.opener import IN_PLACE, Expected
from .._streaming.promises import Promise
from .._streaming.recipe import Recipe
from .._streaming.seeds import Seed
from ..core import as_streamer
from .metered import CURRENT, NO_SOURCE, STRETCH, Weights
from .run import NOTHING, STOP_FAILED, Run
from .setup import Setup

# Rounds of a RoundRobinMux, after which it is asked whether a stretch is over, at the latest: made
# once, because runs may be short.
_ROUNDS = (None,) * 16
_OPENING = 2  # items, which take about as long to time as an opening
_MOST_FRUITLESS = 10_000  # failures without an item, where streamers may be endlessly many


class RoundRobinRun(Run):
    """One run of a RoundRobinMux."""

    __slots__ = ("n_failures", "n_passes", "turns")

    def __init__(self, setup: Setup, seed: Seed) -> None:
        super().__init__(setup, seed)
        self.n_passes = 0
        self.n_failures = 0  # before this pass
        self.turns: Iterator = iter(())  # of this round

    def items(self) -> Generator:
        with self:
            item: Any = NOTHING
            has_ended = False
            if self.resume_from is None:
                self.fill()
                self.turns = iter(self.iterators)
            else:
                self.restore()
                yield None
                item = None
                has_ended = NO_SOURCE in self.sources
            ends_with_first = self.setup.mode == "shortest"
            while True:
                while True:
                    if not self.sources:
                        break
                    for _ in _ROUNDS if self.meter is None else self._timed_rounds():
                        for iterator in self.turns:
                            try:
                                item = next(iterator)
                            except StopIteration:
                                if ends_with_first:
                                    return
                            except Exception as error:
                                if not self.outlives(error, self._turn() - 1):
                                    raise
                            else:
                                yield item
                                continue
                            slot = self._turn() - 1
                            if monotonic() >= self.next_snapshot:
                                self.keep_position(is_drawing=True)
                            self.is_replacing = True
                            self.end(slot, self.n_given(slot))
                            self.is_replacing = False
                            has_ended = True
                        if has_ended:
                            break
                        self.turns = iter(self.iterators)
                    if has_ended:
                        self._begin_round_of_left()
                        has_ended = False
                if self._was_last_pass(item is NOTHING):
                    break
                self._begin_another()
                item = NOTHING
            self.is_replacing = True
            self.raise_if_all_failed()

    def _begin_another(self) -> None:
        self.is_replacing = True
        self._begin_pass()
        self.turns = iter(self.iterators)
        self.is_replacing = False

    def _begin_round_of_left(self) -> None:
        self.is_replacing = True
        self._leave_out()
        self.turns = iter(self.iterators)
        self.is_replacing = False

    def _timed_rounds(self) -> tuple:
        """Return as many members as there are rounds, until it is asked again."""
        n_slots = len(self.sources)
        rounds = _ROUNDS[: 1 + STRETCH // n_slots]
        self.go_on_for(len(rounds) * n_slots)
        return rounds

    def _was_last_pass(self, is_empty: bool) -> bool:
        # (A streamer that has failed may give something in the next pass.)
        n_failures, self.n_failures = self.n_failures, sum(self.failed.values())
        return self.is_finite or (is_empty and n_failures == self.n_failures)

    def _turn(self) -> int:
        """Return how many slots have had their turn in this round."""
        return len(self.sources) - length_hint(self.turns)

    def current_position(self, n_given: int) -> dict:
        numbers = [self.n_passes, self._turn(), self.n_failures]
        return {**super().current_position(n_given), "round": numbers}

    def position_before_draw(self) -> dict:
        position = super().position_before_draw()
        position["round"][1] -= 1
        return position

    def restore(self) -> None:
        super().restore()
        assert self.resume_from is not None
        self.n_passes, turn, self.n_failures = self.resume_from["round"]
        self.turns = iter(self.iterators)
        self.turns.__setstate__(turn)  # type: ignore[attr-defined]
        self._tell_rounds(turn)

    def fill(self) -> None:
        if not self.n_passes:
            self._begin_pass()

    def _begin_pass(self) -> None:
        order: Sequence[int] = range(len(self.streamers))
        if self.setup.mode == "permuted_cycle":
            rng = self.seed.child(-1, self.n_passes).rng(b"order")
            order = rng.permutation(len(self.streamers)).tolist()
        self.n_passes += 1
        places = list(order)
        if self.failed:
            places = [place for place in order if not self.is_dropped(place)]
        if self.n_ahead:
            self.announce_all(places)
        if self.append_all(places):
            self._leave_out()
        elif self.tells_draws:
            self._tell_rounds(0)

    def _tell_rounds(self, turn: int) -> None:
        """Tell the opener in which order the streams are read; two rounds say it of all."""
        if self.tells_draws and self.sources:
            n_slots = len(self.sources)
            self.tell_draws(np.arange(turn, turn + 2 * n_slots) % n_slots)

    def promise(self, now: Weights = CURRENT) -> Promise:
        return Promise(None, len(self.streamers), "turns", while_full=True)

    def _leave_out(self) -> None:
        """Take ended slots away; the others keep their order."""
        before = self.n_given_in_all()
        selectors = [source is not NO_SOURCE for source in self.sources]
        for column in self.columns():
            column[:] = compress(column, selectors)
        self.n_of_removed += before - self.n_given_in_all()
        self._tell_rounds(0)


class ChainRun(Run):
    """One run of a ChainMux: one stream at a time, in slot 0, which stays until the run ends."""

    __slots__ = ("index", "left", "n_fruitless", "n_passes", "n_read", "pass_is_empty", "reader")

    def __init__(self, setup: Setup, seed: Seed) -> None:
        super().__init__(setup, seed)
        self.streamers = []
        self.reader: Iterator | None = None  # of the streamers, where they are read lazily
        self.n_passes = 0
        self.left: Iterator = iter(())  # streamers of this pass
        self.index = -1  # in the pass, of the one that is open
        self.pass_is_empty = False
        self.n_fruitless = 0  # failures since the last item
        self.n_read = 0  # items of the stream, before the stretch that is timed, or is not

    @property
    def is_read_lazily(self) -> bool:  # type: ignore[override]
        """Tell whether the streamers are made as they are opened."""
        return self.setup.n_streams is None

    def named(self, place: int) -> int:
        return self.index

    def n_to_open(self) -> int:
        return 1

    def items(self) -> Generator:
        with self:
            if self.resume_from is not None:
                self.restore()
                yield None
                self.is_replacing = True
            is_open = bool(self.sources)
            while True:
                if not is_open and not self._open_next():
                    break
                is_open = self.is_replacing = False
                try:
                    if self.meter is None:
                        yield from self.iterators[0]
                    else:
                        yield from islice(self.iterators[0], STRETCH)
                except Exception as error:
                    if not self.outlives(error, 0):
                        raise
                if monotonic() >= self.next_snapshot:
                    self.keep_position(is_drawing=False)
                n_given = self.n_given(0)
                if n_given - self.n_read >= STRETCH and self._is_cut(n_given):
                    is_open = True
                else:
                    self.is_replacing = True
                    self._leave(n_given)
            if self.sources:
                self.remove(0)
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
                if self.n_ahead:
                    self._announce()
                if not self.sources:
                    self.add_slot(0)
                self.put(0, 0, 0)
                if self.meter is not None:
                    self._know_by_index()
                return True

    def _is_at(self, streamer: Recipe) -> None:
        self.streamers = [streamer]
        self.seed_of_children = self.seed.named(self.index)

    def _know_by_index(self) -> None:
        """Let a meter find the open stream by where the mux has its streamer, as in other runs."""
        streamer = self.streamers[self.places[0]]
        self.streamers, self.places[0] = {0: streamer, self.index: streamer}, self.index

    def metered_by(self, meter: Meter) -> None:
        super().metered_by(meter)
        if self.sources:
            self._know_by_index()

    def _announce(self) -> None:
        """Tell the opener which streamers come next, where they are not read lazily."""
        if isinstance(self.setup.streamers, list):
            first = self.index + 1
            coming = self.setup.streamers[first : first + self.n_ahead]
            self.opener.expect(
                [
                    Expected(each, self.seed.named(first + ahead), 0, self.n_opened + 1 + ahead, 0)
                    for ahead, each in enumerate(coming)
                ]
            )

    def _is_cut(self, n_given: int) -> bool:
        """Tell whether the stream has been left so that another stretch may begin."""
        if self.meter is None or self.through_limit[0] == STOP_FAILED:
            return False
        self.n_read = n_given
        self.go_on_for(STRETCH)
        return True

    def _leave(self, n_given: int) -> None:
        """Close the stream."""
        self.end(0, n_given)
        if self.meter is not None:
            self.go_on_for(_OPENING + n_given - self.n_read)
            self.n_read = 0
        has_failed = self.through_limit[0] == STOP_FAILED
        # One that has failed may give something in the next pass.
        self.pass_is_empty = self.pass_is_empty and not n_given and not has_failed
        if n_given:
            self.n_fruitless = 0
        elif has_failed:
            self.n_fruitless += 1
            if self.n_fruitless == _MOST_FRUITLESS and self.setup.n_streams is None:
                self.raise_last()

    def _begin_pass(self) -> bool:
        """Begin a pass, if there is to be one."""
        if self.n_passes and (self.setup.mode == "exhaustive" or self.pass_is_empty):
            return False
        self.left, self.index = self._streamers(self.n_passes, 0), -1
        self.n_passes, self.pass_is_empty = self.n_passes + 1, True
        return True

    @staticmethod
    def _slot_position(source: Iterator, place: int, *rest: Any) -> list | None:
        return Run._slot_position(source, 0, *rest)

    def current_position(self, n_given: int) -> dict:
        numbers = [self.n_passes, self.index, int(self.pass_is_empty), self.n_fruitless]
        return {**super().current_position(n_given), "pass": numbers}

    def restore(self) -> None:
        assert self.resume_from is not None
        self.n_passes, self.index, pass_is_empty, self.n_fruitless = self.resume_from["pass"]
        self.pass_is_empty = bool(pass_is_empty)
        self.left = self._streamers(self.n_passes - 1, self.index)
        for streamer in islice(self.left, 1):
            self._is_at(streamer)
        super().restore()
        self.n_read = self.n_given(0) if self.sources else 0
        if self.sources and self.meter is not None:
            self._know_by_index()

    def _streamers(self, number: int, start: int) -> Iterator[Recipe]:
        """Yield the streamers of a pass, from one on."""
        source, index = self.setup.streamers, start
        try:
            if isinstance(source, list):
                source = islice(source, start, None)
            else:
                assert self.setup.reader is not None
                source = self.reader = IN_PLACE.open(  # (streamers are for this process)
                    self.setup.reader, self.seed, -1, number, 0, start
                )
            for index, streamer in enumerate(source, start):
                yield as_streamer(streamer, index)
        except Exception as error:
            who = f"the iterable that gives the streamers of {_validate.short(self.setup.mux)}"
            add_note(error, f"raised by {who}, after {counted(index, 'streamer')} or more")
            raise

    def _close_reader(self) -> None:
        reader, self.reader = self.reader, None
        if reader is not None:
            assert self.setup.reader is not None
            IN_PLACE.end(self.setup.reader, reader)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._close_reader()
