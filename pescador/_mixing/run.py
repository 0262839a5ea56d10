"""One run of a mux: what is open, and what may still come of it.

A run keeps the iterators of its open streams in a list of slots. Per item it takes the slot that
is next and the next item of that slot's iterator. All else happens when a stream ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator
from itertools import compress, islice, repeat
from operator import sub
from time import monotonic, perf_counter
from typing import Any

import numpy as np

from .._repr import of_items
from .._streaming import positions
from .._streaming.failures import log_late
from .._streaming.marks import STOP_FAILED
from .._streaming.opener import Expected, Opener
from .._streaming.recipe import Recipe
from .._streaming.retrying import Retrying
from .._streaming.seeds import Seed
from ..exceptions import PescadorError
from .metered import FIRST_STRETCH, MOST_TICKS, N_LEFT, NO_SOURCE, MeteredRun
from .moments import came_between_items, came_while_drawing
from .setup import Setup

NOTHING = object()  # no item: None may be one
SNAPSHOT_EVERY = 1.0  # seconds
SNAPSHOT_PAUSE = 50  # times as long as it took: with very many open streams it takes long


class Run(MeteredRun):
    """One run of a mux: its open streams, one to a slot, and what each may still give."""

    # (Attributes beyond thirty would not be found as fast in a dictionary.)
    __slots__ = (
        "activation_numbers",
        "current_weights",
        "frozen",
        "has_ended",
        "is_over",
        "is_replacing",
        "iterators",
        "n_ahead",
        "n_of_removed",
        "next_snapshot",
        "opener",
        "seed_of_children",
        "snapshot",
        "streamers",
        "tells_draws",
        "through_limit",
    )

    def __init__(self, setup: Setup, seed: Seed) -> None:
        super().__init__(setup, seed)
        self.opener: Opener = seed.session.opener
        if setup.on_error == "retry":
            self.opener = Retrying(self.opener, setup.max_failures)
        self.n_ahead = self.opener.n_ahead
        self.tells_draws = self.n_ahead > 0 or self.opener.wants_draws
        self.streamers: Any = setup.streamers  # by place
        self.seed_of_children = seed
        # The weights of the streamers now, where they may change.
        self.current_weights: np.ndarray | None = None
        self.meter = None
        self.looks = False
        self.weight = 0.0
        self.resume_from: dict | None = None  # the position to begin at, if not at the start
        self.n_of_removed = 0  # items that slots had given which have been taken away
        # Where it stood when it was closed or interrupted, if that can be said exactly; and where
        # it stood up to a second earlier.
        self.is_over = False
        self.has_ended = False  # by itself, and with nothing open
        self.is_replacing = False  # what is open is not what the last items came from
        self.frozen: dict | None = None
        self.snapshot: dict | None = None
        self.next_snapshot = monotonic() + SNAPSHOT_EVERY
        # By slot:
        self.sources: list[Iterator] = []  # the open stream
        self.iterators: list[Iterator] = []  # the same, but for the last item it may give
        self.places: list[int] = []  # which streamer it is of
        self.activation_numbers: list[int] = []  # which activation it is
        # How many items come through the iterator; -1: no limit; or STOP_FAILED.
        self.through_limit: list[int] = []
        # Every item through the iterator of a slot takes one tick along, in C. What is left of
        # them, compared with what there was at the start, tells how many items there were.
        self.ticks: list[repeat] = []
        self.initial_ticks: list[int] = []
        self.readers = self.sources
        self.selectors: list[Any] = self.ticks
        self.is_timed_elsewhere = self.opener.is_timed

    def items(self) -> Generator:
        """Yield the items, inside ``with self``, which closes what is open on every way out."""
        raise NotImplementedError

    def items_from(self, position: dict) -> Generator:
        """Return `items`, already moved to where another run stood."""
        self.resume_from = position
        items = self.items()
        next(items)
        return items

    # Where it stands.

    def reads(self) -> list[tuple[Iterator | None, Recipe]]:
        """Return the open streams, each with its streamer."""
        pairs = zip(self.sources, self.places)
        return [(each, self.streamers[place]) for each, place in pairs if each is not NO_SOURCE]

    def position(self, n_given: int) -> Any:
        """Return where the run stands, between two items, of which it has given ``n_given``."""
        if self.is_over:
            return self._last_position(n_given)
        if not n_given:
            return 0
        return self.current_position(n_given)

    def current_position(self, n_given: int) -> dict:
        """Return what `position` does, of a run that goes on."""
        limits, numbers = self.through_limit, self.activation_numbers
        kept = (self.sources, self.places, numbers, limits, self.counts())
        return {
            "setup": self.agreed(),
            "n_items": n_given,
            "n_opened": self.n_opened,
            "open": list(map(self._slot_position, *kept)),
            **self.failed_position(),
        }

    def position_before_draw(self) -> dict:
        """Return where it stood before the draw that is under way."""
        return self.current_position(self.n_given_in_all())

    def keep_position(self, is_drawing: bool) -> None:
        """Keep where the run stands, before something is replaced: to be called now and then."""
        n_given, begin = self.n_given_in_all(), monotonic()
        # (What has just failed is to be met again, or not at all.)
        has_failures = self.seed.session.failures.has_new
        if n_given and not (has_failures or self.has_set_aside()):
            with contextlib.suppress(PescadorError):  # not every source has a position now
                if is_drawing:
                    self.snapshot = self.position_before_draw()
                else:
                    self.snapshot = self.current_position(n_given)
        end = monotonic()
        self.next_snapshot = end + max(SNAPSHOT_EVERY, SNAPSHOT_PAUSE * (end - begin))

    def has_set_aside(self) -> bool:
        """Tell whether what comes next depends on more than a position holds between two draws."""
        return False

    def _freeze(self, error: BaseException | None) -> None:
        """Keep where the run stood after its last item, now that an error in a source ends it."""
        self.has_ended = error is None and not self.sources
        if error is None:
            return
        is_exact = not self.is_replacing and not self.has_set_aside()
        if not is_exact or not self.n_given_in_all():
            return
        with contextlib.suppress(PescadorError):  # not every source has a position now
            if came_while_drawing(error):
                self.frozen = self.position_before_draw()
            elif came_between_items(error):
                self.frozen = self.current_position(self.n_given_in_all())

    def _last_position(self, n_given: int) -> Any:
        """Return where a run that is over stood after an item."""
        if self.frozen is not None and self.frozen["n_items"] == n_given:
            return self.frozen
        if n_given and self.has_ended and self.n_given_in_all() == n_given:
            return self.current_position(n_given)
        self.seed.session.failures.meet_again(self.seed.display_path)
        if not n_given:
            return 0
        start = self.snapshot or self.resume_from
        if start is not None and start["n_items"] > n_given:
            start = self.resume_from
        if start is None:
            start = {"setup": self.agreed(), "n_items": 0}
        return positions.skipping(start, n_given - start["n_items"])

    def agreed(self) -> dict:
        """Return what another run must agree with, to go on where this one stands."""
        seed = positions.digest(self.seed.words(b"state").tobytes())
        return {**self.setup.facts(), "seed": seed}

    @staticmethod
    def _slot_position(
        source: Iterator, place: int, number: int, stop: int, n_given: int
    ) -> list | None:
        if source is NO_SOURCE:
            return None
        return [place, number, stop + 1, n_given, positions.position_of(source, n_given)]

    def restore(self) -> None:
        """Go to `resume_from`."""
        assert self.resume_from is not None
        self.n_opened = self.resume_from["n_opened"]
        self.restore_failed(self.resume_from)
        if self.n_ahead:
            self._announce_restored(self.resume_from["open"])
        for each in self.resume_from["open"]:
            slot = self.add_slot(-1)
            if each is not None:
                self._restore_slot(slot, *each)
        self.n_of_removed = self.resume_from["n_items"] - self.n_given_in_all()

    def _restore_slot(
        self, slot: int, place: int, number: int, limit: int, n_given: int, position: Any
    ) -> None:
        self._check_place(place)
        self.ticks[slot] = repeat(True, MOST_TICKS - n_given)
        self.places[slot], self.activation_numbers[slot] = place, number
        self.through_limit[slot] = limit - 1
        if self.meter is not None:
            self.meter.restored_one(self, slot, n_given)
        begin = perf_counter()
        try:
            # (Also if it has given all it may: how it is closed is part of the run.)
            source = self.opener.open(
                self.streamers[place], self.seed_of_children, place, number, limit, position
            )
        except Exception as error:
            if positions.is_misfit(error):
                raise
            if not self.outlives(error, slot, "while it was opened again"):
                raise
            return
        self.sources[slot] = source
        n_left = max(0, limit - 1 - n_given)
        self.iterators[slot] = compress(
            islice(source, n_left) if limit else source, self.selectors[slot]
        )
        if self.weight:
            self.note_opening(slot, begin)
            self.time_slot(slot, not n_given)

    def _check_place(self, place: int) -> None:
        """Refuse a place of a state at which there is no streamer."""
        if not 0 <= place < len(self.streamers):
            raise positions.misfit("a mux", f"has no streamer number {place}")

    # What is open.

    def __enter__(self) -> Run:
        meter = self.seed.session.meter
        if meter is not None:
            self.metered_by(meter)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        try:
            try:
                if not isinstance(error, GeneratorExit):  # whoever closes a run has asked before
                    self._freeze(error)
            finally:
                self.is_over = True
                self.close()
        except Exception as late:
            if error is None or isinstance(error, GeneratorExit):
                raise
            log_late(late, self.setup.mux)  # the first error is on its way

    def fill(self) -> None:
        """Open the first streams, if that has not been done."""

    def announce_all(self, places: Iterable[int]) -> None:
        """Tell the opener that streamers are going to be opened, in this order, without a limit."""
        self.opener.expect(
            [
                Expected(self.streamers[place], self.seed_of_children, place, number, 0)
                for number, place in enumerate(places, self.n_opened)
            ]
        )

    def tell_draws(self, slots: np.ndarray) -> None:
        """Tell the opener which slots will be drawn next."""
        counts = [self.n_given_in_all(), *self.counts()]
        self.opener.draw(self.seed_of_children, self.sources, counts, slots)

    def _announce_restored(self, slots: list) -> None:
        """Tell the opener which streams are going to be opened where they stood."""
        self.opener.expect(
            [
                Expected(
                    self.streamers[place], self.seed_of_children, place, number, limit, position
                )
                for place, number, limit, _, position in filter(None, slots)
                if 0 <= place < len(self.streamers)
            ]
        )

    def add_slot(self, place: int) -> int:
        """Make a new slot at the end, with nothing open in it."""
        self.add_slots([place])
        return len(self.sources) - 1

    def add_slots(self, places: list[int]) -> None:
        """Make new slots at the end, with nothing open in them."""
        n = len(places)
        nothing, none_yet = [NO_SOURCE] * n, [-1] * n
        self.sources += nothing
        self.places += places
        self.activation_numbers += none_yet
        self.through_limit += none_yet
        self.initial_ticks += [MOST_TICKS] * n
        self.ticks += [repeat(True, MOST_TICKS) for _ in places]
        self.iterators += nothing[: len(self.sources) - len(self.iterators)]
        if self.weight:
            self.readers += nothing
        if self.meter is not None:
            self.meter.add_slots(self, n)

    def append(self, place: int) -> bool:
        """Open a stream without a limit in a new slot at the end; tell whether that worked."""
        return not self.append_all([place])

    def append_all(self, places: list[int], limits: Iterable[int] = repeat(0)) -> list[int]:
        """Open streams in new slots at the end, as `put` does one; return the slots that failed."""
        first = len(self.sources)
        self.add_slots(places)
        given = zip(range(first, len(self.sources)), places, limits)
        return self._put_each(given) if self.looks else self._open_all(given)

    def _put_each(self, given: Iterable[tuple[int, int, int]]) -> list[int]:
        """Open streams, each given by the arguments of `put`; return the slots that failed."""
        failed = []
        for slot, place, limit in given:
            if not self.put(slot, place, limit):
                failed.append(slot)
                self.could_not_open(place)
        return failed

    def could_not_open(self, place: int) -> None:
        """Note that no stream of a streamer could be opened in a new slot."""

    def _open_all(self, given: Iterable[tuple[int, int, int]]) -> list[int]:
        """Do what `_put_each` does in less time, where no stream is timed."""
        sources, iterators, selectors = self.sources, self.iterators, self.selectors
        streamers, numbers = self.streamers, self.activation_numbers
        parent, open_source, failed = self.seed_of_children, self.opener.open, []
        for slot, place, limit in given:
            number = numbers[slot] = self.n_opened
            self.n_opened = number + 1
            try:
                source = open_source(streamers[place], parent, place, number, limit)
            except Exception as error:
                if not self.outlives(error, slot, "while it was opened"):
                    raise
                failed.append(slot)
                self.could_not_open(place)
                continue
            sources[slot] = source
            if limit:
                self.through_limit[slot] = limit - 1
                source = islice(source, limit - 1)
            iterators[slot] = compress(source, selectors[slot])
        return failed

    def put(self, slot: int, place: int, limit: int) -> bool:
        """Open a stream of the streamer at ``place``, for ``limit`` items (0: any number).

        Return whether it could be opened.
        """
        number = self.n_opened
        self.n_opened = number + 1
        self.places[slot] = place
        self.activation_numbers[slot] = number
        begin = perf_counter() if self.weight else 0.0
        try:
            source = self.opener.open(
                self.streamers[place], self.seed_of_children, place, number, limit
            )
        except Exception as error:
            self.iterators[slot] = NO_SOURCE
            if self.weight:
                self.note_opening(slot, begin)
            if not self.outlives(error, slot, "while it was opened"):
                raise
            return False
        self.sources[slot] = source
        self.through_limit[slot] = limit - 1
        self.iterators[slot] = compress(
            islice(source, limit - 1) if limit else source, self.selectors[slot]
        )
        if self.meter is not None:
            marks = self.marks  # (a report in another thread may replace it)
            if marks is not None:
                marks[slot] = self.fresh
                if self.meter.records:  # (which lists them)
                    self.meter.opened_one(self, slot, self.named(place))
            if self.weight:
                self.note_opening(slot, begin)
                self.time_slot(slot, True)
        return True

    def end(self, slot: int, n_given: int, has_ended: bool = True) -> None:
        """Close the stream of a slot, which gave ``n_given`` items."""
        source, begin = self.sources[slot], 0.0
        if source is not NO_SOURCE:
            meter = self.meter
            if meter is not None:
                # (The common case is told here: another call would cost as much as the rest.)
                stop = self.through_limit[slot]
                is_usual = n_given and has_ended and stop != STOP_FAILED
                marks = self.marks
                if is_usual and (marks is None or marks[slot] is meter.usual):
                    ended = meter.ended
                    ended.append(self.places[slot])
                    ended.append(n_given)
                    if n_given <= stop or stop < 0:
                        meter.has_short = True
                else:
                    meter.ended_one(self, slot, n_given, has_ended)
                if self.weight:
                    begin = perf_counter()
            self.sources[slot] = NO_SOURCE
            streamer = self.streamers[self.places[slot]]
            try:
                self.opener.end(streamer, source)
            except Exception as error:
                if self.through_limit[slot] == STOP_FAILED:
                    log_late(error, streamer)
                elif not self.outlives(error, slot, "while it was closed"):
                    raise
            if begin:
                self.clock(slot).add(perf_counter() - begin)
        self.initial_ticks[slot] -= n_given

    def outlives(self, error: Exception, slot: int, moment: str = "") -> bool:
        """Note that the stream of a slot has failed. If not, raise the error again, now."""
        limit, self.through_limit[slot] = self.through_limit[slot], STOP_FAILED
        moment += ", " if moment else ""
        moment += f"after {of_items(self.n_given(slot))} of this activation"
        place = self.places[slot]
        outlived = self.note_failure(error, self.named(place), self.streamers[place], moment)
        if not outlived:
            self.through_limit[slot] = limit  # whoever resumes may try again
        elif self.meter is not None:
            self.meter.failed_one(self)
        return outlived

    def n_given(self, slot: int) -> int:
        """Return how many items the stream of a slot has given."""
        return self.initial_ticks[slot] - N_LEFT(self.ticks[slot])

    def n_given_in_all(self) -> int:
        n_left = sum(map(N_LEFT, self.ticks))
        return self.n_of_removed + len(self.ticks) * MOST_TICKS - n_left

    def columns(self) -> tuple[list, ...]:
        """Return what is kept by slot."""
        streams = (self.sources, self.places, self.activation_numbers, self.through_limit)
        columns = (*streams, self.ticks, self.initial_ticks, self.iterators)
        if self.meter is None:
            return columns
        timed = (self.readers,) if self.weight else ()
        return *columns, *timed, *self.meter.columns(self)

    def remove(self, slot: int) -> None:
        """Take an (ended) slot away; the last one moves into its place."""
        last = len(self.sources) - 1
        self.n_of_removed += MOST_TICKS - N_LEFT(self.ticks[slot])
        for column in self.columns():
            column[slot] = column[last]
            if column is not self.iterators:
                column.pop()
        self.iterators[last] = NO_SOURCE  # draws of it still in a block are passed over

    def counts(self) -> list[int]:
        """Return the number of items given by the open stream of each slot."""
        return list(map(sub, self.initial_ticks, map(N_LEFT, self.ticks)))

    def shown(self) -> list[tuple[Iterator, int, int]]:
        """Return, of each slot that users see: its stream, its streamer, and how much it gave."""
        return list(zip(self.sources, self.places, self.counts()))

    def close(self) -> None:
        """Close every open stream, also when closing some of them fails, or is interrupted."""
        failure: BaseException | None = None
        if self.meter is not None:
            self.meter.length = FIRST_STRETCH - self.n_until
            self.meter.leave(self)
        if self.n_ahead:
            self.opener.end_soon(self.sources)
        sources, places, close_source = self.sources, self.places, self.opener.end
        while sources:
            source, place = sources.pop(), places.pop()
            if source is NO_SOURCE:
                continue
            try:
                close_source(self.streamers[place], source)
            except BaseException as error:
                if isinstance(error, Exception):
                    moment = "while it was closed"
                    self.blame(error, self.named(place), self.streamers[place], moment)
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
