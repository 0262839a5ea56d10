"""Makes the items of a background process, and sends them."""

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
from .._streaming.positions import moved, position_of
from .._streaming.seeds import Seed
from .._streaming.session import Session
from .._validate import stopped
from ..exceptions import PescadorError
from . import memory
from .channel import Caller
from .frames import ENDED, FAILED, Packer
from .inside import Host, Stopped
from .orders import CREDIT, CREDIT_HEAD, Task

_MESSAGES = 8  # that the process may be ahead, at least
_SLOW = 1e-3  # seconds since the last message after which an item is not kept for company
_NOTE_EVERY = 1.0  # seconds between two notes of where the source stands


# The side that makes the items, in the background process.


def produce(host: Host, task: Task, invitation: bytes, descriptor: int | None) -> None:
    """Make the items of one activation of a streamer, and send them."""
    with host.undisturbed():
        shared = memory.writer(descriptor)
        packer = Packer(shared, max(1, task.max_bytes // _MESSAGES))
        writer = _Writer(Caller(invitation), packer, shared, task.max_bytes, host)
        host.receive, host.on_end = writer.on_order, writer.wake
    try:
        try:
            host.check()
            parent = Seed.received(*task.seed, Session())
            _seed_globals(parent.child(task.place, task.number))
            writer.send_all(_Source(task, parent))
        except Stopped:
            raise
        except BaseException as error:
            writer.finish(FAILED)
            host.report(error, True)
        else:
            writer.finish(ENDED)
        host.wait_until_dismissed()
    finally:
        writer.close()


def _seed_globals(seed: Seed) -> None:
    """Seed what sources draw from that know of no seed."""
    words = seed.words(b"process")
    # As np.random.seed() does, which would wait for a lock that a thread of the forked process
    # may have held.
    generator = np.random.MT19937(0)
    seeded: Any = np.random.RandomState(words.view(np.uint32)).get_state(legacy=False)
    generator.state = seeded
    np.random.set_bit_generator(generator)  # type: ignore[attr-defined]
    random.seed(words.tobytes())


class _Source:
    """One activation of the streamer."""

    def __init__(self, task: Task, parent: Seed) -> None:
        self._task = task
        self._parent = parent
        self._iterator: Iterator | None = None

    def items(self) -> Generator:
        """Yield the items."""
        streamer, _, place, number, (_, position, skip), *_ = self._task
        if isinstance(position, int):
            position, skip = position + skip, 0
        for each in self._task.one_shots:
            each._ticket.clear()  # the reader has used it, for this pass
        try:
            source = IN_PLACE.open(streamer, self._parent, place, number, 0, position)
        except StopIteration as error:  # here it would pass for the end of the data
            raise stopped(streamer) from error
        self._iterator = source
        try:
            yield from moved(source, skip, streamer)
        finally:
            IN_PLACE.end(streamer, source)

    def position(self, n_made: int) -> Any:
        """Return where it stands, after so many items."""
        assert self._iterator is not None
        start = self._task.start
        return position_of(self._iterator, start.n_given + start.skip + n_made)


class _Writer:
    """Sends items: many to a message if they come fast, at once if the reader waits for them.

    The thread that makes the items calls `send_all` and `finish`; the one that watches the
    consumer calls `on_order` and `wake`.
    """

    def __init__(
        self,
        caller: Caller,
        packer: Packer,
        shared: memory.Writer | None,
        max_bytes: int,
        host: Host,
    ) -> None:
        self._caller = caller
        self._packer = packer
        self._memory = shared
        self._max_bytes = max_bytes
        self._host = host
        self._lock = threading.Lock()  # of the packer and the caller
        self._is_closed = False
        self._ahead = 0  # bytes that have been made, and not handed out, as far as is known
        self._credits: deque[bytes] = deque()  # orders that have come since
        self._has_credit = threading.Event()
        self._is_awaited = True
        self._last = 0.0  # when a message was sent
        self._noted = -math.inf  # when the reader was told where the source stood

    def send_all(self, source: _Source) -> None:
        """Send the items of a source, and close it."""
        packer, lock, max_bytes = self._packer, self._lock, self._max_bytes
        items = source.items()
        try:
            for item in items:
                with lock:
                    has_company = packer.fullness
                    cost = packer.add(item)
                    if (
                        packer.fullness >= 1
                        or self._is_awaited
                        or not (has_company or self._is_quick())
                    ):
                        self._host.check()
                        self._flush()
                        self._take_credit()
                        if self._last - self._noted > _NOTE_EVERY:
                            self._tell_position(source)
                if self._is_awaited:  # since the lock was free, too
                    self._flush_unless_busy()
                self._ahead += cost
                if self._ahead + cost > max_bytes:
                    self._wait_for_room(cost)
        finally:
            items.close()

    def _tell_position(self, source: _Source) -> None:
        """Tell the reader where the source stands, from where another process could go on."""
        with contextlib.suppress(PescadorError):  # not every source can be moved at any time
            position = json.dumps(source.position(self._packer.n_items))
            self._caller.send(self._packer.note(position.encode()))
        self._noted = time.monotonic()

    def _is_quick(self) -> bool:
        return time.monotonic() - self._last <= _SLOW

    def _flush(self) -> None:
        if self._packer.fullness and not self._is_closed:
            self._is_awaited = False  # first: the reader may have it, and ask for more, at once
            self._caller.send(self._packer.take())
            self._last = time.monotonic()

    def _flush_unless_busy(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._flush()
            finally:
                self._lock.release()

    def _take_credit(self) -> None:
        """Take note of what the reader has handed out."""
        while self._credits:
            order = self._credits.popleft()
            (handed_out,) = CREDIT_HEAD.unpack_from(order, 1)
            self._ahead -= handed_out
            if self._memory is not None:
                for offset in np.frombuffer(order, "<u8", offset=1 + CREDIT_HEAD.size).tolist():
                    self._memory.free(offset)

    def _wait_for_room(self, cost: int) -> None:
        """Wait until another item of that cost may be made; one alone always may."""
        with self._lock:
            self._flush()
        while True:
            self._has_credit.clear()
            self._host.check()
            self._take_credit()
            if not self._ahead or self._ahead + cost <= self._max_bytes:
                break
            self._has_credit.wait()

    def on_order(self, order: bytes) -> None:
        """Get credit, or the news that the reader waits."""
        if order[:1] == CREDIT:
            self._credits.append(order)
            self._has_credit.set()
            return
        # If the source takes its time for the next item, the lock is free, and what there is can
        # be sent from here. Else the other thread sees the flag when it lets go of the lock.
        self._is_awaited = True
        self._flush_unless_busy()

    def wake(self) -> None:
        """Look for news, of whatever kind."""
        self._is_awaited = True
        self._has_credit.set()

    def finish(self, kind: int) -> None:
        """Send what is left, and how it ended."""
        with self._lock:
            self._flush()
            self._caller.send(self._packer.mark(kind))

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._is_closed = True
            self._caller.close()
