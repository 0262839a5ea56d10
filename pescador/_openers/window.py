"""The caller's side: what is open elsewhere, what will be, and whose items have come.

A window is an opener that has workers. It names each activation, tells one of the workers to open
it, keeps what comes until the run that reads it asks, and opens it again where it stood if the
worker dies. How orders and items travel is known to its engine alone.
"""

from __future__ import annotations

import math
import weakref
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import repeat
from time import monotonic
from typing import Any

from .. import _validate
from .._background.orders import POLL_SECONDS
from .._repr import counted, is_streamer, of_items
from .._streaming import leaving, positions
from .._streaming.failures import LOG
from .._streaming.opener import IN_PLACE, Expected
from .._streaming.recipe import Recipe
from .._streaming.seeds import Seed
from .._streaming.survey import generators_among, streamers_of
from ..exceptions import PescadorError, WorkerError, WorkerTimeoutError
from .activation import Activation, Batch, Engine
from .demand import Demand
from .guesses import Guesses
from .orders import Adopt, Ask, Close, Credit, Draw, Due, Interrupt, Moment, Open
from .scout import can_be_planned, plan

_MOST_DEATHS = 3  # of workers at one item
_MOST_TRIES = 10  # the same, while items before it have not arrived
_CREDIT_EVERY = 0.02  # seconds
_PATIENCE = 0.2  # seconds for a source to reach its next item, before it is interrupted


class Window:
    """Opens the sources of a tree on workers.

    Parameters
    ----------
    engine : Engine
        The workers.
    n_ahead : int
        How many activations may be open before their turn.
    timeout : float or None
        Seconds for a source to end, when nobody wants more of it.
    item_timeout : float or None
        Seconds to wait for an item.
    """

    wants_draws = True
    is_timed = True

    def __init__(
        self, engine: Engine, n_ahead: int, timeout: float | None, item_timeout: float | None
    ) -> None:
        self.n_ahead = n_ahead
        self._engine = engine
        self._timeout = timeout
        self._item_timeout = item_timeout
        self._activations: dict[int, Activation] = {}
        self._n_named = 0
        # By the id of what a run reads, since an iterator of the user's may have no hash:
        self._by_source: dict[int, Activation] = {}
        self._paths: dict[int, bytes] = {}  # of the runs of inner muxes
        self._guesses = Guesses(n_ahead)
        self._demand = Demand()
        # Whether a worker can make their items, and the random generators they draw from.
        self._known: weakref.WeakKeyDictionary[Recipe, tuple[bool, list]]
        self._known = weakref.WeakKeyDictionary()
        self._broken: Exception | None = None  # what is wrong with the workers
        self._suspects: set[tuple[bytes, int]] = set()  # guesses at which a worker died
        engine.begin(self)
        _windows.add(self)

    # What an opener does.

    def open(
        self,
        streamer: Recipe,
        parent: Seed,
        place: int,
        number: int,
        limit: int,
        position: Any = 0,
    ) -> Iterator:
        """Return the items of an activation, which are made by a worker if it is of a source."""
        source = self._source_of(streamer)
        expected = Expected(streamer, parent, place, number, limit, position)
        found, wrong = self._guesses.settle(expected)
        for each in wrong:
            self._forget(each)
        if source is None:
            return self._open_in_place(expected)
        slot, due = self._demand.take(parent.path, positions.n_given_at(position))
        if found is None:
            found = self._begin(expected, source, due)
        else:
            self._adopt(found, limit, due)
        self._open_ahead()
        counted = streamer._counted_by()
        counted.active_count_ += 1
        try:
            if position or not streamer._starts_lazily():
                self._wait_until_open(found)
            items = self._items(found)
            self._demand.put(parent.path, slot, id(items), limit)
            self._by_source[id(items)] = found
            positions.records[items] = found
            return items
        except BaseException:
            counted.active_count_ -= 1
            self._forget(found)
            raise

    def _open_in_place(self, expected: Expected) -> Iterator:
        """Open a mux: what it opens comes through here in its turn."""
        streamer, parent, place, number, limit, position = expected
        source = IN_PLACE.open(streamer, parent, place, number, limit or 0, position)
        if streamer._chooses():
            path = self._paths[id(source)] = parent.child(place, number).path
            self._demand.begin(parent.path, path, id(source), limit or 0)
        return source

    def end(self, streamer: Recipe, source: Iterator) -> None:
        """Close what `open` returned."""
        activation = self._by_source.pop(id(source), None)
        if activation is None:
            path = self._paths.pop(id(source), b"")
            for each in self._guesses.end(path):
                self._forget(each)
            self._demand.end(id(source))
            self._demand.forget(path)
            IN_PLACE.end(streamer, source)
            return
        streamer._counted_by().active_count_ -= 1
        self._demand.end(id(source), activation.n_begun)
        try:
            source.close()  # type: ignore[attr-defined]
            while True:
                if not activation.is_over:
                    self._tell_to_close(activation)
                    self._wait_until_over(activation)
                self._raise_error(activation, is_closing=True)
                if activation.is_over:
                    break
        finally:
            self._forget(activation)

    def end_soon(self, sources: Iterable[Iterator]) -> None:
        """Hear which of them will be ended at once: so they can end at the same time."""
        for source in sources:
            activation = self._by_source.get(id(source))
            if activation is not None and not activation.is_over:
                self._tell_to_close(activation)

    def expect(self, likely: list[Expected]) -> None:
        """Hear what will probably be opened next."""
        if likely:
            times = self._demand.openings(likely[0].parent.path, [each.limit for each in likely])
            self._guesses.expect(likely, times)
            self._open_ahead()

    def _expect_again(self, path: bytes) -> None:
        """Know better when a run will open what it has announced."""
        self.expect(self._guesses.expected(path))

    def draw(
        self, parent: Seed, sources: Sequence[Iterator], counts: list[int], slots: Any
    ) -> None:
        """Hear which of the sources of a run will be drawn next."""
        if not len(slots):
            return
        by_worker: dict[int, list[tuple[int, Due]]] = {}
        for key, due in self._demand.draw(parent.path, sources, counts, slots):
            activation = self._by_source.get(key)
            if activation is not None and not activation.is_over:
                activation.due = due
                by_worker.setdefault(id(activation.worker), []).append((activation.name, due))
        for worker in list(self._engine.workers):
            if id(worker) in by_worker:
                self._engine.send(worker, Draw(tuple(by_worker[id(worker)])))
        self._expect_again(parent.path)

    def forget_guesses(self) -> None:
        """Close what was opened ahead: a run is over."""
        for each in self._guesses.clear():
            self._forget(each)
        self._demand.clear()

    def close(self) -> None:
        """End the workers."""
        for each in self._activations.values():
            each.end(each.outcome or "ended", each.moment)
        self._engine.close()

    # Opening.

    def _source_of(self, streamer: Recipe) -> Any:
        """Return what a worker finds a streamer by; None if it runs here."""
        known = self._known.get(streamer)
        if known is None:
            parts = list(streamers_of(streamer))
            known = are_sources(parts), list(generators_among(parts))
            self._known[streamer] = known
        return self._engine.source_of(streamer) if known[0] else None

    def _begin(
        self, expected: Expected, source: Any, due: Due, is_guess: bool = False
    ) -> Activation:
        activation = Activation(self._n_named, source, expected, due)
        activation.is_guess = is_guess
        self._n_named += 1
        self._activations[activation.name] = activation
        self._send_to_a_worker(activation, activation.start)
        return activation

    def _send_to_a_worker(self, activation: Activation, position: Any) -> None:
        worker = min(self._engine.workers, key=_n_unfinished)
        activation.worker = worker
        activation.is_asked = False
        worker.unfinished[activation.name] = activation
        order = Open(
            activation.name,
            activation.source,
            self._seed_of(activation),
            activation.place,
            activation.number,
            activation.limit,
            position,
            activation.due,
            activation.is_guess,
            activation.n_deaths_at + 1,  # (what they were at may be an item too few)
        )
        self._engine.send(worker, order)

    def _seed_of(self, activation: Activation) -> tuple[bytes, bytes, tuple[int, ...], list]:
        _, generators = self._known[activation.streamer]
        entropy, path, taken = activation.parent.sent(generators)
        return entropy, path, activation.parent.display_path, [words for _, words in taken]

    def _adopt(self, activation: Activation, limit: int, due: Due) -> None:
        activation.due, activation.limit, activation.is_guess = due, limit, False
        if not activation.is_over:
            self._engine.send(activation.worker, Adopt(activation.name, limit, due))

    def _open_ahead(self) -> None:
        while True:
            found = self._guesses.next_wish()
            if found is None:
                return
            time, wish = found
            source = self._source_of(wish.streamer)
            if source is None:
                self._plan(time, wish)
            elif (wish.parent.path, wish.number) not in self._suspects:
                due = Due(positions.n_given_at(wish.position), array("d", [time]), math.inf)
                self._guesses.add(self._begin(wish, source, due, is_guess=True))

    def _plan(self, time: float, wish: Expected) -> None:
        """Expect what an inner mux will open first."""
        if wish.position or not can_be_planned(wish.streamer):
            return
        if not self._guesses.is_planned(wish):
            path = wish.parent.child(wish.place, wish.number).path
            self._guesses.plan(time, wish, path, plan(wish, self._is_of_a_worker))

    def _is_of_a_worker(self, streamer: Recipe) -> bool:
        return self._source_of(streamer) is not None

    def _tell_to_close(self, activation: Activation) -> None:
        if self._engine.take_back(activation.worker, activation.name):
            activation.end()
        elif not activation.is_closing:
            activation.is_closing, activation.told_to_close = True, monotonic()
            self._engine.send(activation.worker, Close(activation.name))

    def _forget(self, activation: Activation) -> None:
        """Want no more of an activation, and do not wait for its end."""
        self._guesses.drop(activation)
        self._activations.pop(activation.name, None)
        if activation.in_hand is not None:
            self._count(activation)
        while activation.batches:
            batch, worker = activation.batches.popleft()
            activation.in_hand = len(batch.items), batch.cost, worker
            self._count(activation)
        if not activation.is_over:
            self._tell_to_close(activation)
            activation.end()

    # Items.

    def _items(self, activation: Activation) -> Generator:
        while True:
            items = self._next_items(activation)
            if items is None:
                break
            # (Popped, since whatever refers to an item keeps its memory.)
            yield from map(list.pop, repeat(items, len(items) - 1))
            self._count(activation)  # with the last one, and not when somebody wants another
            yield items.pop()

    def _next_items(self, activation: Activation) -> list[Any] | None:
        """Return the next items, the first one last; None at the end."""
        while not activation.batches:
            self._wait(activation, _has_items, is_asking=True)
            if activation.is_over and not activation.batches:
                self._raise_error(activation, is_closing=False)
                if activation.is_over:
                    return None
        batch, worker = activation.batches.popleft()
        activation.in_hand = len(batch.items), batch.cost, worker
        batch.items.reverse()
        return batch.items

    def _count(self, activation: Activation) -> None:
        """Count what has been handed out, and tell the worker now and then."""
        assert activation.in_hand is not None
        (n_items, cost, worker), activation.in_hand = activation.in_hand, None
        handed_out = worker.handed_out
        handed_out[activation.name] = handed_out.get(activation.name, 0) + n_items
        worker.cost += cost
        self._guesses.n_items += n_items
        is_much = 4 * worker.cost >= self._engine.max_bytes
        if is_much or monotonic() - worker.told > _CREDIT_EVERY:
            self._give_credit(worker)

    def _give_credit(self, worker: Any) -> None:
        if worker.handed_out:
            order = Credit(tuple(worker.handed_out.items()))
            worker.handed_out, worker.cost = {}, 0
            self._engine.send(worker, order)
        worker.told = monotonic()

    def _raise_error(self, activation: Activation, is_closing: bool) -> None:
        """Raise the error of an activation, if it has failed at that moment.

        (If its worker dies before it has told the error, it is opened again.)
        """
        if activation.outcome == "failed" and (activation.moment == Moment.CLOSING) == is_closing:
            self._wait(activation, _has_error, is_asking=False)
            if activation.error is not None:
                raise activation.error

    # Waiting.

    def _wait_until_open(self, activation: Activation) -> None:
        while True:
            self._wait(activation, _is_open, is_asking=True)
            if activation.moment == Moment.OPENING:
                self._raise_error(activation, is_closing=False)
            if activation.is_open or activation.is_over:
                break

    def _wait(
        self, activation: Activation, is_done: Callable[[Activation], bool], is_asking: bool
    ) -> None:
        """Wait for an activation; say so to its worker."""
        if is_done(activation):
            return
        meter = activation.parent.session.meter
        if meter is None:
            self._wait_for_items(activation, is_done, is_asking)
        else:
            with meter.waiting_for(activation.parent.shown(activation.place)):
                self._wait_for_items(activation, is_done, is_asking)

    def _wait_for_items(
        self, activation: Activation, is_done: Callable[[Activation], bool], is_asking: bool
    ) -> None:
        self._poll_engine(0)
        begin, before = monotonic(), self._engine.at(activation.worker)
        while not is_done(activation):
            worker = activation.worker
            if is_asking and not activation.is_asked:
                activation.is_asked = True
                self._give_credit(worker)
                self._engine.send(worker, Ask(activation.name, activation.n_received))
            if not worker.is_connected:
                begin = monotonic()  # how long it may take to start is known to the engine
            seconds = None if self._item_timeout is None else begin + self._item_timeout
            if not self._poll_until(seconds):
                self._look_whether_it_hangs(activation, before)
                begin, before = monotonic(), self._engine.at(activation.worker)

    def _poll_until(self, end: float | None) -> bool:
        """Wait for anything; return False if it is too late for that."""
        left = POLL_SECONDS if end is None else min(POLL_SECONDS, end - monotonic())
        if left <= 0:
            return False
        self._poll_engine(left)
        return True

    def _poll_engine(self, seconds: float) -> None:
        """Hand over what has come. What is wrong with the workers stays wrong, whoever asks."""
        if self._broken is not None:
            raise self._broken
        try:
            self._engine.poll(seconds)
        except PescadorError as error:
            error.is_misfit = True  # type: ignore[attr-defined]  # (no mux outlives it)
            self._broken = error
            raise
        except Exception as error:
            self._broken = error
            raise

    def _wait_until_over(self, activation: Activation) -> None:
        """Wait until a source is closed; at last by force."""
        end = None if self._timeout is None else activation.told_to_close + self._timeout
        patience = activation.told_to_close + _PATIENCE
        is_interrupted = False
        while not activation.is_over:
            if not self._poll_until(patience if not is_interrupted else end):
                if is_interrupted:
                    self._give_up(activation)
                    return
                is_interrupted = True
                for each in list(activation.worker.unfinished.values()):
                    if each.is_closing:  # it may be at another one of them
                        self._engine.send(each.worker, Interrupt(each.name))

    def _give_up(self, activation: Activation) -> None:
        """End an activation that does not end by itself."""
        worker, name = activation.worker, _validate.short(activation.streamer)
        is_there = activation.name in dict(self._engine.at(worker))
        activation.end()
        if is_there and self._engine.can_kill:
            self._engine.kill(worker, f"{name} did not end in {self._timeout} s", None)
        else:  # its worker is at another source, which is not to suffer for it
            text = "%s did not end in %s s: its worker goes on, and the stream does not wait for it"
            LOG.warning(text, name, self._timeout)

    def _look_whether_it_hangs(self, activation: Activation, before: list[tuple[int, int]]) -> None:
        """End what has not moved, if that keeps an activation from giving an item."""
        worker = activation.worker
        stuck = set(before) & set(self._engine.at(worker))
        culprits = [name for name, _ in stuck if name == activation.name]
        if len(stuck) == self._engine.n_threads:
            culprits += [name for name, _ in stuck]
        if not culprits:
            return
        why = f"no item came from it in {self._item_timeout} s"
        if self._engine.can_kill:
            self._engine.kill(worker, why, culprits[0])
            return
        what = f"no item came from {worker.name} in {self._item_timeout} s"
        self._tell_to_close(activation)
        remedy = "see what it waits for, or give a longer item_timeout"
        activation.fail(WorkerTimeoutError(f"{_told(what, activation)}; {remedy}"))

    def settle(self) -> None:
        """Do nothing: what workers make is counted here, as it is handed out."""

    def bytes_ahead(self) -> int:
        """Return how many bytes have come, and have not been handed out."""
        batches = [batch for each in self._activations.values() for batch, _ in each.batches]
        return sum(batch.cost for batch in batches)

    # What comes.

    def take(self, worker: Any, batches: Iterable[Batch], marks: Iterable[tuple]) -> None:
        """Take what a worker has sent: items, and after them what has become of activations."""
        for batch in batches:
            activation = self._activations.get(batch.activation)
            if activation is not None and activation.worker is worker:
                activation.batches.append((batch, worker))
                activation.n_received += len(batch.items)
                activation.is_asked, activation.is_open = False, True
        for kind, name, *rest in marks:
            activation = self._activations.get(name)
            if activation is not None and activation.worker is worker:
                self._note(activation, kind, *rest)

    def _note(self, activation: Activation, kind: str, *facts: Any) -> None:
        """Note what has become of an activation."""
        if kind == "opened":
            activation.is_open, activation.is_asked = True, False
        elif kind == "at":
            in_hand = 0 if activation.in_hand is None else activation.in_hand[0]
            n_items, position = facts
            activation.note_place(n_items, position, activation.n_begun - in_hand)
        elif kind == "error":
            (activation.error,) = facts
        elif kind == "failed":
            activation.end("failed", Moment(facts[0]))
        else:
            activation.is_open = True
            activation.end()

    def lacks(self, culprits: list[tuple[int, int]]) -> bool:
        """Tell whether items are on their way that were sent before the one that kills workers."""
        known = self._activations
        return any(
            known[name].n_deaths and known[name].n_received < n_made
            for name, n_made in culprits
            if name in known
        )

    def bury(self, worker: Any, culprits: list[tuple[int, int]], how: str, hangs: bool) -> None:
        """Open the activations of a worker that has died again, where they stood.

        ``culprits`` are what it was working on: activations, and how many items each had made.
        """
        lost = [*worker.unfinished.values()]
        lost += [each for each in self._activations.values() if _waits_for_error(each, worker)]
        n_again = sum(not (each.is_guess or each.is_closing) for each in lost)
        text = "%s; a new worker takes its place; %s opened again"
        LOG.warning(text, how, counted(n_again, "source"))
        blamed = dict(culprits)
        worker.unfinished = {}
        for each in lost:
            each.outcome = each.error = None
            if each.is_guess:
                if each.name in blamed:
                    self._suspects.add((each.parent.path, each.number))
                self._activations.pop(each.name, None)
                self._guesses.drop(each)
                each.end()
            elif each.is_closing:
                each.end()
            elif each.name in blamed and self._is_too_often(each, blamed[each.name], how, hangs):
                continue
            else:
                self._send_to_a_worker(each, each.position(each.n_received))

    def _is_too_often(self, activation: Activation, n_made: int, how: str, hangs: bool) -> bool:
        """Tell whether workers died too often at one item of an activation, which then fails."""
        if activation.n_deaths_at != n_made:
            activation.n_deaths, activation.n_deaths_at = 0, n_made
        activation.n_deaths += 1
        lacks_some = activation.n_received < n_made  # which were lost on their way
        if activation.n_deaths < (_MOST_TRIES if lacks_some else _MOST_DEATHS):
            return False
        kind = WorkerTimeoutError if hangs else WorkerError
        what = f"{how}; {activation.n_deaths} workers in a row ended at the same item"
        activation.fail(kind(_told(what, activation)))
        return True


# Those whose stream another thread is in to the end, too.
_windows: weakref.WeakSet[Window] = weakref.WeakSet()


def _close_all() -> None:
    for window in list(_windows):
        window.close()


leaving.afterwards(_close_all)


def is_source(streamer: Recipe) -> bool:
    """Tell whether a worker can make the items of a streamer: there is no mux below it.

    Nor a process, nor an iterator that can be read only once.
    """
    return are_sources(streamers_of(streamer))


def are_sources(parts: Iterable[Recipe]) -> bool:
    """Tell the same of a streamer with all that it is made of."""
    return all(
        each._is_source() and each._ticket is None and not any(map(_is_one_shot, each._parts()))
        for each in parts
    )


def _is_one_shot(value: Any) -> bool:
    return isinstance(value, Iterator) and not is_streamer(value)


def _n_unfinished(worker: Any) -> int:
    return len(worker.unfinished)


def _has_items(activation: Activation) -> bool:
    return bool(activation.batches) or activation.is_over


def _is_open(activation: Activation) -> bool:
    return activation.is_open or activation.is_over


def _has_error(activation: Activation) -> bool:
    return activation.error is not None or activation.outcome != "failed"


def _waits_for_error(activation: Activation, worker: Any) -> bool:
    is_failed = activation.outcome == "failed" and activation.error is None
    return is_failed and activation.worker is worker


def _told(what: str, activation: Activation) -> str:
    streamer = _validate.short(activation.streamer)
    return f"{what}, after {of_items(activation.n_received)} of {streamer}"
