"""Workers that are threads of this process."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from .._background import limits
from .._background.child import of_another_process
from .._background.frames import OVERHEAD
from .._streaming.recipe import Recipe
from .._streaming.seeds import Seed
from .._streaming.session import Session
from .._streaming.survey import generators_of
from ..exceptions import WorkerError
from .activation import Activation, Batch
from .bench import Bench
from .orders import Marks, Moment, Open, Order
from .window import Window

_HOLD_SECONDS = 5e-3  # for company, unless the caller waits


class Options(NamedTuple):
    """How to run the workers; see `ParallelStreamer`."""

    n_workers: int
    max_bytes: int
    timeout: float | None


class _Team:
    """All threads: they share one bench, so that whichever is free does what is next."""

    name = "the threads"
    is_connected = True

    def __init__(self) -> None:
        self.unfinished: dict[int, Activation] = {}
        self.handed_out: dict[int, int] = {}
        self.cost = 0
        self.told = 0.0


class _Tray(Marks):
    """Where threads put items, until they are handed over."""

    under_way = 0.0

    def __init__(self) -> None:
        self.handed_over: queue.SimpleQueue[tuple[list[Batch], list[tuple]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._items: dict[int, list] = {}
        self._costs: dict[int, int] = {}
        self._marks: list[tuple] = []
        self._begin = 0.0

    def add(self, activation: int, item: Any, number: int) -> int:
        """Take an item, copied where its source may use it again; return what it costs."""
        item, cost = _own(item)
        with self._lock:
            if activation in self._items:
                self._items[activation].append(item)
                self._costs[activation] += cost
            else:
                if not (self._items or self._marks):
                    self._begin = time.monotonic()
                self._items[activation], self._costs[activation] = [item], cost
        return cost

    def failed(self, activation: int, moment: Moment, error: BaseException) -> None:
        """Tell that it is over by an error."""
        self.mark("error", activation, error)
        self.mark("failed", activation, moment)

    def mark(self, kind: str, activation: int, *facts: Any) -> None:
        """Tell what has become of an activation."""
        with self._lock:
            if not (self._items or self._marks):
                self._begin = time.monotonic()
            self._marks.append((kind, activation, *facts))

    def is_due(self) -> bool:
        """Tell whether it is time to hand over what was taken."""
        return bool(self._items or self._marks) and time.monotonic() - self._begin > _HOLD_SECONDS

    def flush(self) -> None:
        """Hand over what was taken, now."""
        with self._lock:
            if self._items or self._marks:
                batches = [
                    Batch(activation, items, self._costs[activation])
                    for activation, items in self._items.items()
                ]
                self.handed_over.put((batches, self._marks))
                self._items, self._costs, self._marks = {}, {}, []


def _own(item: Any) -> tuple[Any, int]:
    """Return an item with arrays of its own, and its cost in bytes."""
    if isinstance(item, dict):
        copied = {key: _copy(value) for key, value in item.items()}
        return (copied if type(item) is dict else item), OVERHEAD + _n_bytes(item.values())
    if type(item) in (tuple, list):
        return type(item)(map(_copy, item)), OVERHEAD + _n_bytes(item)
    if isinstance(item, np.ndarray):
        return _copy(item), OVERHEAD + item.nbytes
    return item, OVERHEAD


def _copy(value: Any) -> Any:
    return value.copy(order="K") if type(value) is np.ndarray else value


def _n_bytes(values: Iterable) -> int:
    return sum(each.nbytes for each in values if isinstance(each, np.ndarray))


def _start(order: Open) -> tuple[Recipe, Seed]:
    """Return the streamer of an order, and the seed above it."""
    entropy, path, display_path, words = order.seed
    taken = list(zip(generators_of(order.source), words)) if words else []
    return order.source, Seed.received(entropy, path, taken, Session(), display_path)


class Threads:
    """The workers of a window.

    Parameters
    ----------
    options : Options
        How to run them.
    """

    can_kill = False

    def __init__(self, options: Options) -> None:
        self.max_bytes, self.n_threads = options.max_bytes, options.n_workers
        self._owner = os.getpid()
        self._notes = [[0, 0] for _ in range(options.n_workers)]
        self.workers = [_Team()]
        self._options = options
        self._tray = _Tray()
        self._bench = Bench(_start, self._tray, options.max_bytes)
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._n_running = options.n_workers

    def begin(self, window: Window) -> None:
        """Start the threads."""
        self._window = window
        try:
            for number in range(self._options.n_workers):
                thread = threading.Thread(
                    target=self._run,
                    args=(self._notes[number],),
                    name=f"pescador-source-{number}",
                    daemon=True,
                )
                thread.start()
                self._threads.append(thread)
        except RuntimeError as error:
            self.close()
            raise limits.no_tasks() from error

    def _run(self, note: list[int]) -> None:
        try:
            self._bench.run(note)
        except BaseException as error:  # nobody would hear of it, and wait for ever
            self._tray.handed_over.put(([], [("broken", 0, error)]))
        finally:
            with self._lock:
                self._n_running -= 1
                is_last = not self._n_running
            if is_last:  # perhaps long after the caller has given up
                self._bench.close()

    def source_of(self, streamer: Recipe) -> Any:
        """Return the streamer itself."""
        return streamer

    def send(self, worker: _Team, order: Order) -> None:
        """Send an order."""
        if os.getpid() == self._owner:
            self._bench.hear(order)

    def at(self, worker: _Team) -> list[tuple[int, int]]:
        """Return what the threads are working on."""
        return [(name - 1, n_made) for name, n_made in self._notes if name]

    def take_back(self, worker: _Team, activation: int) -> bool:
        """Return False: it has been sent."""
        return False

    def poll(self, seconds: float) -> None:
        """Hand over what has come; wait for it so long at most."""
        if os.getpid() != self._owner:
            raise of_another_process()
        handed_over = self._tray.handed_over
        try:
            batches, marks = handed_over.get(timeout=seconds) if seconds else handed_over.get(False)
            while True:
                broken = [facts[0] for kind, _, *facts in marks if kind == "broken"]
                if broken:
                    text = "a thread of ParallelStreamer failed outside of a source"
                    raise WorkerError(text) from broken[0]
                self._window.take(self.workers[0], batches, marks)
                batches, marks = handed_over.get(False)
        except queue.Empty:
            pass

    def kill(self, worker: _Team, why: str, blamed: int | None) -> None:
        """Do nothing: a thread cannot be ended from outside."""

    def close(self) -> None:
        """End the threads, each after the item that it is at."""
        if os.getpid() != self._owner:
            return
        self._bench.stop()
        timeout = self._options.timeout
        end = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if end is None else max(0, end - time.monotonic()))
