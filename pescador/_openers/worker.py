"""The worker's side of a process: opens activations as it is told, and sends their items.

Items of all its activations travel together; a message says whose they are, and what has become of
activations since.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, MutableSequence
from typing import Any, NamedTuple

import numpy as np

from .._background import memory
from .._background.channel import Caller
from .._background.inside import Parent
from .._background.orders import CREDIT, CREDIT_HEAD, OTHER
from .._background.packing import Packer
from .._background.signals import STOP_SIGNAL
from .._background.warned import heard
from .._streaming.recipe import Recipe
from .bench import Bench, in_threads
from .orders import Credit, Interrupt, Moment, Order
from .sender import Sender, as_report
from .sources import Catalogue, Generators, fresh_generators
from .work import Work

ORDER = b"o"  # the first byte of pickled orders
NOTE = np.dtype("<u8")  # what a thread is at, in shared memory: activation from 1 on, item
NOTE_LENGTH = 2
_MESSAGES = 8  # at least, that fit into max_bytes
_HOLD_SECONDS = 10e-3  # for company, unless the caller waits


class Task(NamedTuple):
    """What a worker needs to know from the beginning."""

    catalogue: list[Recipe]
    max_bytes: int
    n_threads: int
    init: Callable[[], Any] | None


def work(parent: Parent, task: Task, invitation: bytes, descriptor: int | None) -> None:
    """Open activations, and make their items, until the caller closes or dies."""
    with parent.undisturbed():
        shared = memory.attach(descriptor, task.max_bytes)
        sender = _Sender(Caller(invitation), shared, task.max_bytes, parent)
        notes = _notes(shared, task.n_threads)
        bench = Bench(Catalogue(task.catalogue).start, sender, task.max_bytes, _enter(task))
        parent.on_signal = lambda: bench.interrupt(notes[0])
        parent.on_stop = bench.stop
    try:
        parent.check()
        if task.n_threads > 1:  # which share the global generators
            fresh_generators()
        if task.init is not None:
            task.init()
        sender.hear_warnings()
        parent.hear(_Ear(bench, sender).hear)
        _run(bench, notes)
        parent.check()
    finally:
        bench.close()
        sender.close()


def _enter(task: Task) -> Callable[[Work], None] | None:
    return Generators().enter if task.n_threads == 1 else None


def _notes(shared: memory.Allocator | None, n_threads: int) -> list[MutableSequence[int]]:
    """Return a place for the note of each thread, at the start of the shared memory."""
    n_bytes = n_threads * NOTE_LENGTH * NOTE.itemsize
    if shared is None or shared.allocate(n_bytes) is None:
        return [[0] * NOTE_LENGTH for _ in range(n_threads)]
    view: Any = memoryview(shared.view(0, n_bytes)).cast("Q")  # type: ignore[arg-type]
    return [view[NOTE_LENGTH * i : NOTE_LENGTH * (i + 1)] for i in range(n_threads)]


def _run(bench: Bench, notes: list[MutableSequence[int]]) -> None:
    """Run the loop in this thread, and in others where more are wanted."""
    in_threads(bench, notes[1:])
    bench.run(notes[0])


class _Ear:
    """Hears the orders that come over the pipe."""

    def __init__(self, bench: Bench, sender: _Sender) -> None:
        self._bench = bench
        self._sender = sender

    def hear(self, order: bytes) -> None:
        if order[:1] == CREDIT:
            head = 1 + CREDIT_HEAD.size
            (n_bytes,) = CREDIT_HEAD.unpack_from(order, 1)
            self._sender.free(order[head + n_bytes :])
            self._bench.hear(Credit(pickle.loads(order[head : head + n_bytes])))
            return
        given: list[Order] = pickle.loads(memoryview(order)[1:])
        main = threading.main_thread().ident
        for each in given:
            self._bench.hear(each)
            if isinstance(each, Interrupt) and hasattr(signal, "pthread_kill") and main is not None:
                signal.pthread_kill(main, STOP_SIGNAL)


class _Sender(Sender):
    """Sends over the socket; errors go over the pipe."""

    def __init__(
        self, caller: Caller, shared: memory.Allocator | None, max_bytes: int, parent: Parent
    ) -> None:
        super().__init__(Packer(shared, max(1, max_bytes // _MESSAGES)), _HOLD_SECONDS)
        self._caller = caller
        self._memory = shared
        self._parent = parent
        self._is_closed = False
        self._freed: deque[bytes] = deque()  # offsets of blocks, not taken back yet
        self._warnings: deque[bytes] = deque()

    def hear_warnings(self) -> None:
        """Send from now on what is warned of in this process."""
        self._warnings = heard(lambda: not self._parent.is_stopping, lambda: None)

    def failed(self, activation: int, moment: Moment, error: BaseException) -> None:
        """Tell that it is over by an error, which goes over the pipe."""
        with contextlib.suppress(OSError):
            self._parent.link.send_bytes(OTHER + as_report(activation, error))
        self.mark("failed", activation, int(moment))

    def free(self, offsets: bytes) -> None:
        """Take back blocks of shared memory, before the next item."""
        if self._memory is not None and offsets:
            self._freed.append(offsets)

    def _prepare(self) -> None:
        while self._freed:
            for offset in np.frombuffer(self._freed.popleft(), "<u8").tolist():
                self._memory.free(offset)  # type: ignore[union-attr]

    def _finish_marks(self, marks: list[list]) -> None:
        while self._warnings:
            marks.append(["warning", self._warnings.popleft().decode()])

    def _send(self, frames: list[bytes]) -> None:
        if not self._is_closed:
            self._caller.send(frames)

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._is_closed = True
            self._caller.close()


def as_orders(orders: list[Order]) -> bytes:
    """Return orders as the pipe carries them."""
    return ORDER + pickle.dumps(orders)


def as_credit(order: Credit) -> bytes:
    """Return the head of an order that gives credit, before the free blocks."""
    handed_out = pickle.dumps(order.handed_out)
    return CREDIT + CREDIT_HEAD.pack(len(handed_out)) + handed_out
