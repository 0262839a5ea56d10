"""A worker on Ray: what an actor runs. Calls tell it what to do, and fetch what it makes."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from .._background.packing import Packer
from .._background.warned import heard
from .._streaming.recipe import Recipe
from .bench import Bench, in_threads
from .orders import Moment
from .sender import Sender, as_report
from .sources import Catalogue, Generators, fresh_generators

N_PULLS = 2  # calls of `Host.pull` that wait at a time, so that one is there while another travels
N_CALLS = N_PULLS + 4  # of all kinds
MESSAGE = 2**23  # bytes that one call returns: an object of Ray costs milliseconds
_HOLD_SECONDS = 60e-3  # for company, unless the caller waits
_LARGE = 2**14  # bytes of a frame from which it travels beside the pickle, without a copy
_ARENA = MESSAGE + MESSAGE // 8  # bytes: what a message may hold, and some
_ALIGNMENT = 64  # of items in it
_FEW = 8  # if less than this part of an arena is used, it is copied
_STOP_SECONDS = 0.05  # between two looks whether the threads have ended

#: The number of the first message, messages, reports of errors, and what the threads are at. A
#: message is the values of large items (or None), and frames.
Answer = tuple[int, list[list[Any]], list[bytes], list[list[int]]]


class _Arena:
    """Memory for the values of the large items of a message: one array, which travels as it is."""

    def __init__(self) -> None:
        self._lent: list[tuple[weakref.ref, np.ndarray]] = []
        self._block, self._n_used = np.empty(_ARENA, np.uint8), 0

    def allocate(self, n_bytes: int) -> int | None:
        """Return the offset of a free part; None if there is none."""
        offset = -(-self._n_used // _ALIGNMENT) * _ALIGNMENT
        if offset + n_bytes > len(self._block):
            return None
        self._n_used = offset + n_bytes
        return offset

    def view(self, offset: int, n_bytes: int) -> np.ndarray:
        """Return a part as an array of bytes."""
        return self._block[offset : offset + n_bytes]

    def write(self, offset: int, array: np.ndarray) -> None:
        """Write the values of an array, in C order and of a dtype that is a buffer."""
        if array.nbytes:
            self._block[offset : offset + array.nbytes] = np.frombuffer(array, np.uint8)

    def take(self) -> np.ndarray | None:
        """Return what has been used, and begin anew, in memory that nobody reads any more."""
        n_used, self._n_used = self._n_used, 0
        if not n_used:
            return None
        used = self._block[:n_used]
        if n_used < len(self._block) // _FEW:  # it would hold on to all of it
            return used.copy()
        free = [block for known, block in self._lent if known() is None]
        self._lent = [pair for pair in self._lent if pair[0]() is not None]
        self._lent.append((weakref.ref(used), self._block))
        self._block = free[0] if free else np.empty(_ARENA, np.uint8)
        return used


class _Outbox(Sender):
    """Keeps messages until they are fetched."""

    under_way = 0.2  # seconds: a call has to bring it

    def __init__(self) -> None:
        self._arena = _Arena()
        super().__init__(Packer(self._arena, capacity=MESSAGE), _HOLD_SECONDS)
        self._condition = threading.Condition()
        self._messages: deque[tuple[int, list[Any]]] = deque()  # each with its size
        self._n_taken = 0
        self._reports: deque[bytes] = deque()
        self._warnings: deque[bytes] = deque()
        self._is_closed = False

    def hear_warnings(self) -> None:
        """Send from now on what is warned of in this process."""
        self._warnings = heard(lambda: not self._is_closed, lambda: None)

    def failed(self, activation: int, moment: Moment, error: BaseException) -> None:
        """Tell that it is over by an error."""
        self._reports.append(as_report(activation, error))
        self.mark("failed", activation, int(moment))

    def _finish_marks(self, marks: list[list]) -> None:
        while self._warnings:
            marks.append(["warning", self._warnings.popleft().decode()])

    def _send(self, frames: list[bytes]) -> None:
        large = self._arena.take()
        size = sum(map(len, frames)) + (0 if large is None else len(large))
        apart = [np.frombuffer(each, np.uint8) if len(each) > _LARGE else each for each in frames]
        with self._condition:
            self._messages.append((size, [large, *apart]))
            self._condition.notify()

    def fetch(self, seconds: float) -> tuple[int, list[list[Any]], list[bytes]]:
        """Return what there is; wait for it so long at most."""
        with self._condition:
            if not (self._messages or self._is_closed):
                self._condition.wait(seconds)
            messages: list[list[Any]] = []
            first, size = self._n_taken, 0
            while True:
                if not self._messages or (messages and size + self._messages[0][0] > MESSAGE):
                    break
                n_bytes, frames = self._messages.popleft()
                messages.append(frames)
                size += n_bytes
            self._n_taken += len(messages)
            reports = [self._reports.popleft() for _ in range(len(self._reports))]
            return first, messages, reports

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()


class Host:
    """An actor: a bench, and the threads that work on it. Ray calls its methods in other threads.

    Parameters
    ----------
    max_bytes : int
        How far it may be ahead of what was handed out.
    n_threads : int
        How many sources it works on at a time.
    """

    def __init__(self, max_bytes: int, n_threads: int) -> None:
        self._max_bytes = max_bytes
        self._n_threads = n_threads
        self._outbox = _Outbox()
        self._lock = threading.Lock()
        self._early: dict[int, bytes] = {}  # orders whose predecessors have not come
        self._n_heard = 0
        self._broken: Exception | None = None  # what came of an order

    def start(
        self, catalogue: list[Recipe], init: Callable[[], Any] | None
    ) -> tuple[str, bytes | None]:
        """Begin to work; return where this is, and the report of an error of ``init``."""
        where = f"process {os.getpid()} on {socket.gethostname()}"
        try:
            if self._n_threads > 1:  # which share the global generators
                fresh_generators()
            if init is not None:
                init()
        except BaseException as error:
            return where, as_report(0, error)
        self._outbox.hear_warnings()
        enter = Generators().enter if self._n_threads == 1 else None
        self._bench = Bench(Catalogue(catalogue).start, self._outbox, self._max_bytes, enter)
        self._notes = [[0, 0] for _ in range(self._n_threads)]
        self._threads = in_threads(self._bench, self._notes)
        return where, None

    def hear(self, number: int, orders: bytes) -> None:
        """Take orders. Ray may begin calls in any order, so each has a number."""
        with self._lock:
            self._early[number] = orders
            while True:
                given = self._early.pop(self._n_heard, None)
                if given is None:
                    break
                self._n_heard += 1
                self._obey(given)

    def _obey(self, orders: bytes) -> None:
        try:
            for each in pickle.loads(orders):
                self._bench.hear(each)
        except Exception as error:  # (nobody looks at what `hear` returns)
            self._broken = error

    def pull(self, number: int, orders: bytes, seconds: float) -> Answer:
        """Take orders, and return what has been made; wait for it so long at most."""
        self.hear(number, orders)
        if self._broken is not None:
            raise self._broken
        first, messages, reports = self._outbox.fetch(seconds)
        return first, messages, reports, [list(note) for note in self._notes]

    def stop(self, seconds: float | None) -> None:
        """End all, each source after its item, and close what is open."""
        self._bench.stop()
        self._outbox.close()
        end = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            while thread.is_alive() and (end is None or time.monotonic() < end):
                thread.join(_STOP_SECONDS)
        self._bench.close()
