"""The worker's side of a process: opens activations as it is told, and sends their items.

Items of all its activations travel together; a message says whose they are, and what has become of
activations since.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import signal
import struct
import threading
import time
import traceback
from array import array
from collections import deque
from collections.abc import Callable, MutableSequence
from typing import Any, NamedTuple

import numpy as np

from .._background import limits, memory
from .._background.channel import Caller
from .._background.frames import Packer, bundle
from .._background.inside import Parent, pickled, told
from .._background.orders import CREDIT, CREDIT_HEAD, OTHER
from .._background.producer import seed_globals
from .._background.signals import STOP_SIGNAL
from .._background.warned import heard
from .._streaming.recipe import Recipe
from .._streaming.seeds import Seed
from .._streaming.session import Session
from .._streaming.survey import generators_of
from .bench import Bench
from .orders import Credit, Interrupt, Marks, Moment, Open, Order
from .work import Work

ORDER = b"o"  # the first byte of pickled orders
ERROR_HEAD = struct.Struct("<QQ")  # whose, and how many bytes of text there are
NOTE = np.dtype("<u8")  # what a thread is at, in shared memory: activation from 1 on, item
NOTE_LENGTH = 2
_MESSAGES = 8  # at least, that fit into max_bytes
_SHORT = 2**15  # bytes of a message that is sent in one piece
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
        shared = memory.attach(descriptor)
        sender = _Sender(Caller(invitation), shared, task.max_bytes, parent)
        notes = _notes(shared, task.n_threads)
        bench = Bench(_Catalogue(task.catalogue).start, sender, task.max_bytes, _enter(task))
        parent.on_signal = lambda: bench.interrupt(notes[0])
        parent.on_stop = bench.stop
    try:
        parent.check()
        if task.n_threads > 1:  # which share the global generators
            np.random.set_bit_generator(np.random.MT19937())  # type: ignore[attr-defined]
            random.seed()
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
    return _Generators().enter if task.n_threads == 1 else None


def _notes(shared: memory.Allocator | None, n_threads: int) -> list[MutableSequence[int]]:
    """Return a place for the note of each thread, at the start of the shared memory."""
    n_bytes = n_threads * NOTE_LENGTH * NOTE.itemsize
    if shared is None or shared.allocate(n_bytes) is None:
        return [[0] * NOTE_LENGTH for _ in range(n_threads)]
    view: Any = memoryview(shared.view(0, n_bytes)).cast("Q")  # type: ignore[arg-type]
    return [view[NOTE_LENGTH * i : NOTE_LENGTH * (i + 1)] for i in range(n_threads)]


def _run(bench: Bench, notes: list[MutableSequence[int]]) -> None:
    """Run the loop in this thread, and in others where more are wanted."""
    for note in notes[1:]:
        thread = threading.Thread(
            target=_run_or_end, args=(bench, note), name="pescador-work", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            raise limits.no_tasks() from error
    bench.run(notes[0])


def _run_or_end(bench: Bench, note: MutableSequence[int]) -> None:
    """Run the loop in a thread. If it fails, the process ends: it will be replaced."""
    try:
        bench.run(note)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


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


class _Catalogue:
    """Finds the streamers that orders name."""

    def __init__(self, streamers: list[Recipe]) -> None:
        self._streamers = streamers

    def start(self, order: Open) -> tuple[Recipe, Seed]:
        """Return the streamer of an order, and the seed above it."""
        source = order.source
        streamer = pickle.loads(source) if isinstance(source, bytes) else self._streamers[source]
        entropy, path, display_path, words = order.seed
        taken = list(zip(generators_of(streamer), words)) if words else []
        return streamer, Seed.received(entropy, path, taken, Session(), display_path)


class _Generators:
    """The global generators of NumPy and ``random``: each activation has a pair of its own.

    So what a source draws from them does not depend on which others its worker has.
    """

    def __init__(self) -> None:
        self._at: Work | None = None
        self._states: dict[int, tuple[Any, Any]] = {}
        self._free: list[Any] = []  # generators of NumPy, which take long to make

    def enter(self, work: Work) -> None:
        """Let the next activation draw from its own."""
        before, self._at = self._at, work
        if before is work:
            return
        if before is not None:
            bits = np.random.get_bit_generator()  # type: ignore[attr-defined]
            if before.is_over:
                self._free.append(bits)
            else:
                self._states[before.order.activation] = bits, random.getstate()
        state = self._states.pop(work.order.activation, None)
        if state is None:
            self._seed(work.order)
        else:
            np.random.set_bit_generator(state[0])  # type: ignore[attr-defined]
            random.setstate(state[1])

    def _seed(self, order: Open) -> None:
        entropy, path, *_ = order.seed
        seed = Seed.received(entropy, path, [], None).child(order.place, order.number)
        seed_globals(seed, self._free.pop() if self._free else None)


class _Sender(Marks):
    """Sends items, whose they are, and what becomes of activations."""

    def __init__(
        self, caller: Caller, shared: memory.Allocator | None, max_bytes: int, parent: Parent
    ) -> None:
        self._caller = caller
        self._memory = shared
        self._packer = Packer(shared, max(1, max_bytes // _MESSAGES))
        self._parent = parent
        self._lock = threading.Lock()
        self._is_closed = False
        self._is_wanted = False  # somebody wants what was taken to be sent
        self._freed: deque[bytes] = deque()  # offsets of blocks, not taken back yet
        self._whose = array("I")  # activations, each followed by how many items in a row
        self._marks: list[list] = []
        self._warnings: deque[bytes] = deque()
        self._sent = time.monotonic()

    def hear_warnings(self) -> None:
        """Send from now on what is warned of in this process."""
        self._warnings = heard(lambda: not self._parent.is_stopping, lambda: None)

    def add(self, activation: int, item: Any, number: int) -> int:
        """Take an item, copied; return what it costs, in bytes."""
        with self._lock:
            if self._freed:
                self._take_back()
            cost = self._packer.add(item, number)
            whose = self._whose
            if whose and whose[-2] == activation:
                whose[-1] += 1
            else:
                whose.extend((activation, 1))
            if self._packer.fullness >= 1:
                self._flush()
        if self._is_wanted:
            self._flush_if_wanted()
        return cost

    def failed(self, activation: int, moment: Moment, error: BaseException) -> None:
        """Tell that it is over by an error, which goes over the pipe."""
        text = json.dumps(told(error)).encode()
        head = OTHER + ERROR_HEAD.pack(activation, len(text))
        with contextlib.suppress(OSError):
            self._parent.link.send_bytes(head + text + pickled(error))
        self.mark("failed", activation, int(moment))

    def mark(self, kind: str, activation: int, *facts: Any) -> None:
        """Tell what has become of an activation."""
        with self._lock:
            self._marks.append([kind, activation, *facts])
        if self._is_wanted:
            self._flush_if_wanted()

    def is_due(self) -> bool:
        """Tell whether it is time to send what was taken."""
        return time.monotonic() - self._sent > _HOLD_SECONDS

    def flush(self) -> None:
        """Send what was taken, now; or let the thread do so that is just taking or sending."""
        self._is_wanted = True
        self._flush_if_wanted()

    def _flush_if_wanted(self) -> None:
        # (Whoever finds the lock taken leaves it to its owner, who looks after letting go of it.)
        while self._is_wanted and self._lock.acquire(blocking=False):
            try:
                self._is_wanted = False
                self._flush()
            finally:
                self._lock.release()

    def _flush(self) -> None:
        while self._warnings:
            self._marks.append(["warning", self._warnings.popleft().decode()])
        if self._is_closed or not (self._whose or self._marks):
            return
        marks = json.dumps(self._marks).encode() if self._marks else b""
        head, items = [self._whose.tobytes(), marks], []
        if self._whose:
            items = self._packer.take()
        if sum(map(len, items)) < _SHORT:
            head, items = head + items, []
        self._whose, self._marks = array("I"), []
        self._caller.send([bundle(head), *items])
        self._sent = time.monotonic()

    def free(self, offsets: bytes) -> None:
        """Take back blocks of shared memory, before the next item."""
        if self._memory is not None and offsets:
            self._freed.append(offsets)

    def _take_back(self) -> None:
        assert self._memory is not None
        while self._freed:
            for offset in np.frombuffer(self._freed.popleft(), "<u8").tolist():
                self._memory.free(offset)

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
