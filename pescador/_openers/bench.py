"""A worker's loop: which activation next, and its items; the same in a thread and in a process.

A worker makes the items of its activations in the order in which they will be needed (`agenda`), as
far ahead as there is memory; of a guess, only its share.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, MutableSequence, Sequence
from time import monotonic, sleep

from .._background import limits
from .._background.inside import Stopped
from .._streaming import positions
from .._streaming.failures import log_late
from .._streaming.opener import open_at
from .._streaming.recipe import Recipe
from .._streaming.seeds import Seed
from ..exceptions import PescadorError
from .agenda import Agenda
from .orders import Adopt, Ask, Close, Credit, Draw, Interrupt, Moment, Open, Order, Sink
from .work import Work

_SLICE = 10e-3  # seconds with one activation, unless another one is asked for
_LEAST_SHARES = 16  # of the memory, of which a slice takes one, or what an item needs
_SHARES = 4  # the same, for each activation that is open
_POSITION_EVERY = 1.0  # seconds between two positions of an activation


class Bench:
    """The activations of a worker, and the loop that makes their items.

    Parameters
    ----------
    start : callable
        ``start(order)`` returns the streamer of an order, and the seed above it.
    sink : Sink
        Where the items go.
    max_bytes : int
        How far all activations together may be ahead of what was handed out.
    enter : callable, optional
        Called with an activation in the thread that is about to work on it.
    """

    def __init__(
        self,
        start: Callable[[Open], tuple[Recipe, Seed]],
        sink: Sink,
        max_bytes: int,
        enter: Callable[[Work], None] | None = None,
    ) -> None:
        self._start = start
        self._sink = sink
        self._max_bytes = max_bytes
        self._enter = enter
        self._interrupted: set[int] = set()  # activations whose items are to be cut short
        self._works: dict[int, Work] = {}
        self._agenda = Agenda(self._has_room)
        self._ahead = 0  # bytes made, or about to be, and not known to be handed out
        self._orders: deque[Order] = deque()
        self._condition = threading.Condition()
        self._n_waiting = 0  # threads that wait for orders
        self._is_stopping = False

    def hear(self, order: Order) -> None:
        """Take an order, in any thread."""
        if isinstance(order, Interrupt):
            work = self._works.get(order.activation)
            if work is not None:
                work.is_closing = True
                self._interrupted.add(order.activation)
            return
        self._orders.append(order)
        if self._n_waiting:
            with self._condition:
                self._condition.notify()
        if isinstance(order, Ask):
            self._sink.flush()

    def stop(self) -> None:
        """Let all loops end, each after its item."""
        self._is_stopping = True
        with self._condition:
            self._condition.notify_all()

    def run(self, note: MutableSequence[int]) -> None:
        """Make items until `stop` is called; ``note`` says what this thread is at.

        That is the number of the activation, from 1 on (0: none), and how many items it has made.
        """
        while True:
            work = self._next_work(note)
            if work is None:
                return
            note[1], note[0] = work.n_made, 1 + work.order.activation
            if self._enter is not None:
                self._enter(work)
            self._serve(work, note)
            with self._condition:
                work.is_busy = False
                self._agenda.put(work)
                self._condition.notify()

    def interrupt(self, note: MutableSequence[int]) -> None:
        """Raise `Stopped` if the item that a thread is at is to be cut short; for a handler.

        It is raised inside the source only: what is half done here would never be finished.
        """
        activation = note[0] - 1
        work = self._works.get(activation)
        if activation in self._interrupted and work is not None and work.is_inside:
            self._interrupted.discard(activation)
            raise Stopped

    def close(self) -> None:
        """Close all that is open."""
        while self._works:
            _, work = self._works.popitem()
            try:
                work.close()
            except Exception as error:
                log_late(error, work.streamer)

    # Orders.

    def _next_work(self, note: MutableSequence[int]) -> Work | None:
        with self._condition:
            while True:
                if self._is_stopping:
                    return None
                if self._orders:
                    for _ in range(len(self._orders)):
                        self._obey(self._orders.popleft())
                    self._condition.notify_all()  # there may be work for several threads
                chosen = self._agenda.next()
                if chosen is not None:
                    chosen.is_busy = True
                    return chosen
                note[0] = 0
                self._sink.flush()
                self._n_waiting += 1  # before the last look: whoever brings an order looks after
                if not (self._orders or self._is_stopping):
                    self._condition.wait()
                self._n_waiting -= 1

    def _obey(self, order: Order) -> None:
        if isinstance(order, Open):
            self._works[order.activation] = Work(order)
            self._agenda.put(self._works[order.activation])
        elif isinstance(order, Credit):
            for activation, n_items in order.handed_out:
                self._release(activation, n_items)
        elif isinstance(order, Draw):
            for activation, due in order.dues:
                if activation in self._works:
                    self._works[activation].due = due
                    self._agenda.put(self._works[activation])
        else:
            work = self._works.get(order.activation)
            if isinstance(order, (Ask, Close)):
                self._sink.flush()  # what it waits for may have been made, or told, by now
            if work is None:
                return  # it is over, and all of it was handed out
            if isinstance(order, Adopt):
                work.due, work.is_guess = order.due, False
                work.stop, work.n_most = order.limit or -1, sys.maxsize
            elif isinstance(order, Ask):
                work.asked_for = order.n_received
            elif isinstance(order, Close):
                work.is_closing = True
                if work.is_over:  # which has been told
                    self._forget(work)
            self._agenda.put(work)

    def _release(self, activation: int, n_items: int) -> None:
        """Count that items have been handed out."""
        work = self._works.get(activation)
        if work is None:
            return
        work.n_owed += n_items
        self._settle(work)

    def _settle(self, work: Work) -> None:
        while work.n_owed and work.costs:
            cost = work.costs.popleft()
            work.n_owed -= 1
            work.ahead -= cost
            self._ahead -= cost
        if work.is_over and not work.costs:
            self._forget(work)

    def _forget(self, work: Work) -> None:
        self._ahead -= work.ahead
        self._interrupted.discard(work.order.activation)
        self._works.pop(work.order.activation, None)

    # Memory.

    def _has_room(self, work: Work) -> bool:
        return work.n_made < work.n_most and 0 < self._room(work) >= work.last_cost

    def _room(self, work: Work) -> float:
        """Return how many bytes of an activation may be made; always enough for a first item."""
        if not self._ahead:
            return max(self._max_bytes, work.last_cost)
        room = self._max_bytes - self._ahead
        if not (work.is_guess and work.costs):
            return room
        return min(room, self._max_bytes / len(self._works) - work.ahead)

    # Work.

    def _serve(self, work: Work, note: MutableSequence[int]) -> None:
        moment = Moment.OPENING
        try:
            if work.is_closing:
                self._end(work)
                return
            if work.source is None:
                self._open(work)
            moment = Moment.ITEM
            if not work.is_over:
                self._make(work, note)
        except Stopped:
            work.is_inside = False
            if not work.is_closing:
                raise
            self._end(work)
        except BaseException as error:
            work.is_inside = False
            self._fail(work, moment, error)

    def _open(self, work: Work) -> None:
        order = work.order
        work.streamer, work.seed = self._start(order)
        parent = work.seed
        work.is_inside = True
        if order.position:
            work.source = open_at(work.streamer, parent, order.place, order.number, order.position)
        else:
            work.source = work.streamer._open_run(parent, order.place, order.number)
        work.is_inside = False
        self._sink.opened(order.activation)
        if work.is_asked:  # perhaps for this alone
            self._sink.flush()

    def _make(self, work: Work, note: MutableSequence[int]) -> None:
        """Make items of an activation for a while."""
        source, add, activation = work.source, self._sink.add, work.order.activation
        costs, stop, n_made, cost = work.costs, work.stop, work.n_made, work.last_cost
        assert source is not None
        if n_made == stop:
            self._end(work)
            return
        reserved = self._reserve(work)
        most = work.n_most if work.is_guess else work.due.end
        end = monotonic() + _SLICE
        spent = 0
        has_ended = False
        try:
            while True:
                may_go_on = 0 < reserved >= spent + cost and n_made < most
                if not may_go_on and n_made > work.asked_for:
                    break
                work.is_inside = True
                try:
                    item = next(source)
                except StopIteration:
                    has_ended = True
                    break
                work.is_inside = False
                cost = add(activation, item, n_made)
                costs.append(cost)
                spent += cost
                n_made += 1
                if n_made == work.asked_for + 1:
                    self._sink.flush()
                if n_made == stop:
                    has_ended = True
                    break
                if n_made <= work.order.careful_until:
                    self._sink.flush()
                    sleep(self._sink.under_way)
                if self._orders or self._is_stopping or work.is_closing or monotonic() >= end:
                    break
                note[1] = n_made
        finally:
            with self._condition:
                work.n_made, work.last_cost = n_made, cost
                work.ahead += spent
                self._ahead += spent - reserved
                self._settle(work)
        if has_ended:
            self._end(work)
            return
        self._tell_position(work)
        if self._sink.is_due():
            self._sink.flush()

    def _reserve(self, work: Work) -> int:
        """Return how many bytes may be made now; other threads must not count on the same."""
        with self._condition:
            room = self._room(work)
            share = self._max_bytes / max(_LEAST_SHARES, _SHARES * len(self._works))
            most = max(work.last_cost, share)
            reserved = math.ceil(max(0, min(room, most)))
            self._ahead += reserved
        return reserved

    def _tell_position(self, work: Work) -> None:
        """Tell now and then where a source stands that has a position of its own."""
        now = monotonic()
        if now < work.next_position:
            return
        work.next_position = now + _POSITION_EVERY
        with contextlib.suppress(PescadorError):  # not every source has a position now
            position = positions.position_of(work.source, work.n_made)
            if not isinstance(position, int):
                self._sink.stands_at(work.order.activation, work.n_made, position)

    def _end(self, work: Work) -> None:
        """Close an activation, and tell how that went."""
        activation = work.order.activation
        work.is_inside = True
        try:
            work.close()
        except Stopped:
            raise
        except BaseException as error:
            self._sink.failed(activation, Moment.CLOSING, error)
        else:
            self._sink.ended(activation)
        finally:
            work.is_inside = False
        self._is_over(work)

    def _fail(self, work: Work, moment: Moment, error: BaseException) -> None:
        self._sink.failed(work.order.activation, moment, error)
        try:
            work.close()
        except Exception as late:
            log_late(late, work.streamer)
        self._is_over(work)

    def _is_over(self, work: Work) -> None:
        with self._condition:
            is_wanted = work.is_asked or work.is_closing
            work.source, work.is_over = None, True
            if work.is_closing or not work.costs:
                self._forget(work)
        if is_wanted or self._sink.is_due():
            self._sink.flush()


def in_threads(bench: Bench, notes: Sequence[MutableSequence[int]]) -> list[threading.Thread]:
    """Run the loop of a bench in threads, one for each note."""
    threads = []
    for note in notes:
        thread = threading.Thread(
            target=_run_or_end, args=(bench, note), name="pescador-work", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            raise limits.no_tasks() from error
        threads.append(thread)
    return threads


def _run_or_end(bench: Bench, note: MutableSequence[int]) -> None:
    """Run the loop in a thread. If it fails, the process ends: it will be replaced."""
    try:
        bench.run(note)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
