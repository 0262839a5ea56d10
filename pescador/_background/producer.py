"""The background process's side of a `ZMQStreamer`: makes the items, and sends them.

Items that are made quickly travel many to a message; an item that the consumer waits for travels
at once. The process stops making items when it is `max_bytes` ahead of what was handed out.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np

from .._streaming.opener import IN_PLACE
from .._streaming.positions import n_given_at, position_of
from .._streaming.recorder import Recorder
from .._streaming.seeds import Seed
from .._streaming.session import Session
from .._validate import stopped
from ..exceptions import PescadorError
from . import memory
from .channel import Caller
from .counted import packed
from .frames import Kind
from .inside import Parent, Stopped
from .orders import CREDIT, CREDIT_HEAD, Task
from .packing import Packer
from .warned import heard

_MESSAGES = 8  # at least, that fit into max_bytes
_SEND_ALONE_SECONDS = 1e-3  # without a message, after which an item is sent alone
_POSITION_EVERY = 1.0  # seconds between two messages that say where the source stands


def produce(parent: Parent, task: Task, invitation: bytes, descriptor: int | None) -> None:
    """Make the items of one activation of a streamer, and send them."""
    recorder = Recorder(_is_mux(task.streamer)) if task.is_metered else None
    with parent.undisturbed():
        shared = memory.attach(descriptor, task.max_bytes)
        packer = Packer(shared, max(1, task.max_bytes // _MESSAGES))
        sender = _Sender(Caller(invitation), packer, shared, task.max_bytes, parent)
        sender.recorder = recorder
        parent.on_stop = sender.wake
        parent.hear(sender.on_order)
    session = Session(meter=recorder)
    session.failures.tell = sender.send_failure
    try:
        try:
            parent.check()
            above = Seed.received(*task.seed, session)
            seed_globals(above.child(task.place, task.number))
            sender.hear_warnings()
            sender.send_all(_Source(task, above))
        except Stopped:
            raise
        except BaseException as error:
            sender.finish(Kind.FAILED)
            parent.report(error, True)
        else:
            sender.finish(Kind.ENDED)
        parent.wait_until_dismissed()
    finally:
        session.close()
        sender.close()


def seed_globals(seed: Seed, bits: Any = None) -> None:
    """Seed the global generators, from which sources may draw; NumPy's draws from ``bits`` then."""
    words = seed.words(b"process")
    # (Another generator than before: the lock of that one may have been held in another thread of
    # the program when it was forked.)
    bits = np.random.MT19937(0) if bits is None else bits
    np.random.set_bit_generator(bits)  # type: ignore[attr-defined]
    np.random.seed(words.view(np.uint32))
    random.seed(words.tobytes())


def _is_mux(streamer: Any) -> bool:
    """Tell whether a streamer is a mux, or passes on what one gives, as it is."""
    while streamer._chooses() and streamer._passes_on():
        streamer = streamer.streamer
    return streamer._chooses() and not streamer._has_own_iterate()


class _Source:
    """One activation of the streamer."""

    def __init__(self, task: Task, above: Seed) -> None:
        self._task = task
        self._above = above
        self._iterator: Iterator | None = None

    def items(self) -> Generator:
        """Yield the items."""
        streamer, _, place, number, position, *_ = self._task
        for each in self._task.one_shots:
            each._ticket.clear()  # the consumer has used it, for this run
        try:
            source = IN_PLACE.open(streamer, self._above, place, number, 0, position)
        except StopIteration as error:  # here it would pass for the end of the data
            raise stopped(streamer) from error
        self._iterator = source
        try:
            yield from source
        finally:
            IN_PLACE.end(streamer, source)

    def position(self, n_made: int) -> Any:
        """Return where it stands, after ``n_made`` items."""
        assert self._iterator is not None
        return position_of(self._iterator, n_given_at(self._task.position) + n_made)


class _Sender:
    """Packs items into messages and sends them.

    The thread that makes the items calls `send_all` and `finish`; the one that watches the
    consumer calls `on_order` and `wake`.
    """

    def __init__(
        self,
        caller: Caller,
        packer: Packer,
        shared: memory.Allocator | None,
        max_bytes: int,
        parent: Parent,
    ) -> None:
        self._caller = caller
        self._packer = packer
        self._memory = shared
        self._max_bytes = max_bytes
        self._host = parent
        self._lock = threading.Lock()  # of the packer and the caller
        self._is_closed = False
        self._ahead = 0  # bytes that were made and are not known to be handed out
        self._credits: deque[bytes] = deque()  # orders that have come and are not counted yet
        self._has_credit = threading.Event()
        self._warnings: deque[bytes] = deque()  # that nobody has been told of yet
        self._is_awaited = True
        self._sent = 0.0  # when the last message was sent
        self._position_sent = -math.inf  # when the last position was sent
        self.recorder: Recorder | None = None  # what tells of the muxes, if that is wanted

    def send_all(self, source: _Source) -> None:
        """Send the items of a source, and close it."""
        packer, lock, max_bytes = self._packer, self._lock, self._max_bytes
        add = packer.add
        items = source.items()
        made: Iterator = items
        if self.recorder is not None:
            made = self.recorder.marked(items)
        try:
            for item in made:
                with lock:
                    is_first = not packer.fullness
                    try:
                        cost = add(item)
                    except Exception:
                        self._leave_out()
                        raise
                    if (
                        packer.fullness >= 1
                        or self._is_awaited
                        or (is_first and not self._is_quick())
                    ):
                        self._host.check()
                        self._flush()
                        self._take_credit()
                        if self._sent - self._position_sent > _POSITION_EVERY:
                            self._send_position(source)
                if self._is_awaited:  # it may have come since the lock was let go
                    self._flush_unless_busy()
                if self._ahead + 2 * cost > max_bytes:
                    self._wait_for_room(cost)
                self._ahead += cost
        finally:
            items.close()

    def _leave_out(self) -> None:
        """Leave an item that cannot be sent out of what has been given."""
        if self.recorder is not None:
            self.recorder.forget_items(self._packer.n_waiting)

    def _send_position(self, source: _Source) -> None:
        """Send where the source stands: a resumed stream can go on from there."""
        with contextlib.suppress(PescadorError):  # not every source has a position now
            position = json.dumps(source.position(self._packer.n_items))
            self._caller.send(self._packer.note(Kind.POSITION, position.encode()))
        self._position_sent = time.monotonic()

    def _is_quick(self) -> bool:
        return time.monotonic() - self._sent <= _SEND_ALONE_SECONDS

    def _flush(self) -> None:
        if self._is_closed:
            return
        if self._packer.fullness:
            self._is_awaited = False  # before it is sent: a new order to flush may follow at once
            counts = b""
            if self.recorder is not None:
                counts = packed(*self.recorder.take(self._packer.n_waiting))
            self._caller.send(self._packer.take(counts))
            self._sent = time.monotonic()
        while self._warnings:  # (after the items, which have been counted)
            self._caller.send(self._packer.note(Kind.WARNING, self._warnings.popleft()))

    def send_failure(self, *facts: Any) -> None:
        """Send what is to be known of a failure, after the items that came before it."""
        with self._lock:
            self._flush()
            self._caller.send(self._packer.note(Kind.FAILURE, json.dumps(facts).encode()))

    def hear_warnings(self) -> None:
        """Send from now on what is warned of in this process."""
        self._warnings = heard(lambda: not self._host.is_stopping, self._flush_unless_busy)

    def _flush_unless_busy(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._flush()
            finally:
                self._lock.release()

    def _take_credit(self) -> None:
        """Count what the consumer has handed out, and free its blocks."""
        while self._credits:
            order = self._credits.popleft()
            (handed_out,) = CREDIT_HEAD.unpack_from(order, 1)
            self._ahead -= handed_out
            if self._memory is not None:
                for offset in np.frombuffer(order, "<u8", offset=1 + CREDIT_HEAD.size).tolist():
                    self._memory.free(offset)

    def _wait_for_room(self, cost: int) -> None:
        """Wait until another item fits beside the last one, which is not counted yet.

        One alone always does.
        """
        with self._lock:
            self._flush()
        while True:
            self._has_credit.clear()
            self._host.check()
            self._take_credit()
            if self._ahead == -cost or self._ahead + 2 * cost <= self._max_bytes:
                break
            self._has_credit.wait()

    def on_order(self, order: bytes) -> None:
        """Take an order: credit, or to flush."""
        if order[:1] == CREDIT:
            self._credits.append(order)
            self._has_credit.set()
            return
        # While the source works on its next item, the lock is free, and this thread sends the
        # message. Else the other thread sees the flag when it lets go of the lock.
        self._is_awaited = True
        self._flush_unless_busy()

    def wake(self) -> None:
        """Let a source that waits for room look again."""
        self._is_awaited = True
        self._has_credit.set()

    def finish(self, kind: Kind) -> None:
        """Send what is left, and how the stream ended."""
        with self._lock:
            self._flush()
            if self.recorder is not None:
                told = packed(*self.recorder.take())
                self._caller.send(self._packer.note(Kind.COUNTS, told))
            self._caller.send(self._packer.mark(kind))

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._is_closed = True
            self._caller.close()
