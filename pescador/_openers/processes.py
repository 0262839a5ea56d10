"""Workers that are processes: the caller's side."""

from __future__ import annotations

import math
import multiprocessing
import os
import select
import time
from collections import deque
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import numpy as np
import zmq

from .._background.child import HeldInterrupts, of_another_process
from .._background.frames import Unpacker
from .._background.orders import OTHER
from .._background.remote import Remote
from .._streaming.recipe import Recipe
from ..exceptions import WorkerError, WorkerTimeoutError
from .activation import Activation
from .orders import Adopt, Ask, Credit, Order
from .receiver import Receiver, as_mark
from .sources import Names
from .window import Window, is_source
from .worker import NOTE, NOTE_LENGTH, Task, as_credit, as_orders, work

_READABLE = int(zmq.POLLIN)  # which is select.POLLIN too
_DRAIN_SECONDS = 0.05  # to wait for what a dead worker has sent
_LEAST_MEMORY = 2**16  # bytes, of which a part is for the notes of the threads
_SOON = 0.01  # seconds, after which an order is tried again for which the pipe had no room
_MOST_IN_A_ROW = 12  # workers that die before they have said anything


class Options(NamedTuple):
    """How to run the workers; see `ParallelStreamer`."""

    n_workers: int
    n_threads: int
    max_bytes: int
    start_timeout: float
    timeout: float | None
    start_method: str | None
    copy: bool
    init: Any


class _Process:
    """One worker, which is started when it is needed."""

    def __init__(self) -> None:
        self.unfinished: dict[int, Activation] = {}
        self.handed_out: dict[int, int] = {}
        self.cost = 0
        self.told = 0.0
        self.is_started = self.is_connected = self.is_dead = False
        self.begin = 0.0
        self.early: list[Order] = []  # orders from before it was started
        self.held: list[Order] = []  # orders that wait for others, to be sent with them
        self.waiting: deque[bytes] = deque()  # orders for which the pipe had no room
        self.name = "a worker process"

    def start(self, task: Task, options: Options) -> None:
        """Start the process, and send what has been ordered before."""
        n_bytes = max(task.max_bytes, _LEAST_MEMORY, 2 * NOTE_LENGTH * 8 * task.n_threads)
        self.remote = Remote(work, task, options.start_method, n_bytes)
        self.is_started, self.begin = True, time.monotonic()
        self.name = f"the worker process {self.remote.child.pid}"
        self._receiver = Receiver(self.name, Unpacker(self.remote.memory, options.copy))
        early, self.early = self.early, []
        for order in early:
            self.send(order)

    def send(self, order: Order) -> None:
        """Send an order, now or when it has been started; to nobody once it is closed."""
        if self.is_dead or (self.is_started and self.remote.child.is_closed):
            return
        if not self.is_started:
            self.early.append(order)
            return
        if isinstance(order, Credit):
            self._send_held()
            # (If the pipe is full, the next one tells of it.)
            if not self.remote.send_credit(as_credit(order)):
                for name, n_items in order.handed_out:
                    self.handed_out[name] = self.handed_out.get(name, 0) + n_items
            return
        self.held.append(order)
        if not isinstance(order, Adopt):
            self._send_held()

    def _send_held(self) -> None:
        if self.held:
            self.waiting.append(as_orders(self.held))
            self.held = []
        self.send_waiting()

    def send_waiting(self) -> None:
        """Send what has been held up."""
        while self.waiting and self.remote.child.send(self.waiting[0], 0):
            self.waiting.popleft()

    def stop(self) -> None:
        """Ask it to end."""
        if self.is_started:
            self.remote.child.stop()

    def close(self, grace: float | None, held: HeldInterrupts) -> None:
        """End it; what holds on to this worker holds on to no memory of its any more."""
        self.is_dead = True
        if self.is_started:
            self.remote.close(grace, held)
            del self.remote, self._receiver

    def receive(self, window: Window) -> bool:
        """Hand over what has come; tell whether anything has."""
        has_come = False
        while (frames := self.remote.listener.receive()) is not None:
            has_come = True
            if not self.is_connected:
                self.remote.listener.welcome(frames)
                self.is_connected = True
            else:
                self._receiver.take(frames, window, self)
        return has_come

    @property
    def has_given(self) -> bool:
        """Whether items have come from it."""
        return self.is_connected and self._receiver.n_items > 0

    def hear(self, window: Window) -> None:
        """Hand over the errors that have come over the pipe."""
        while (message := self.remote.child.heard()) is not None:
            window.take(self, (), [as_mark(message[len(OTHER) :])])

    def at(self, n_threads: int) -> list[tuple[int, int]]:
        """Return what it is working on: activations, and how many items it has made of each."""
        if not self.is_started:
            return []
        if self.remote.memory is None:
            asked = [each for each in self.unfinished.values() if each.is_asked]
            return [(each.name, each.n_received) for each in asked]
        data = self.remote.memory.copy_of(0, n_threads * NOTE_LENGTH * NOTE.itemsize)
        notes = np.frombuffer(data, NOTE).reshape(n_threads, NOTE_LENGTH).tolist()
        return [(name - 1, n_made) for name, n_made in notes if name]


class Processes:
    """The workers of a window.

    Parameters
    ----------
    catalogue : list of Recipe
        The streamers that they can find by a number.
    options : Options
        How to run them.
    """

    can_kill = True

    def __init__(self, catalogue: list[Recipe], options: Options) -> None:
        self._options = options
        method = multiprocessing.get_context(options.start_method).get_start_method()
        if method != "fork":  # what stays here need not be pickled
            catalogue = [each for each in catalogue if is_source(each)]
        self._names = Names(catalogue, ForkingPickler.dumps)
        self.n_threads = options.n_threads
        self.max_bytes = max(1, options.max_bytes // options.n_workers)
        self._task = Task(catalogue, self.max_bytes, options.n_threads, options.init)
        self.workers: list[_Process] = []
        self._owner = os.getpid()
        self._n_silent = 0  # workers in a row that have died before they said anything
        self._poll: Any = select.poll() if hasattr(select, "poll") else zmq.Poller()
        # What becomes readable: whose it is, and whether it tells of errors and deaths.
        self._by_descriptor: dict[Any, tuple[_Process, bool]] = {}

    def begin(self, window: Window) -> None:
        """Have workers, which are started one by one, as they are needed or there is time."""
        self._window = window
        self.workers = [_Process() for _ in range(self._options.n_workers)]

    def _start(self, worker: _Process) -> None:
        with HeldInterrupts() as held:
            worker.start(self._task, self._options)
            for number, descriptor in enumerate(worker.remote.descriptors):
                self._by_descriptor[descriptor] = worker, number > 0
                self._poll.register(descriptor, _READABLE)
        held.deliver()

    def source_of(self, streamer: Recipe) -> Any:
        """Return its name in orders; None if it has none."""
        return self._names.of(streamer)

    def send(self, worker: _Process, order: Order) -> None:
        """Send an order; to nobody, if that one is dead."""
        if os.getpid() == self._owner:
            worker.send(order)
            if isinstance(order, Ask) and not worker.is_started:
                self._start(worker)

    def take_back(self, worker: _Process, activation: int) -> bool:
        """Take back the order to open an activation, if it has not been sent."""
        if worker.is_started or worker.is_dead:
            return False
        worker.early = [
            each for each in worker.early if getattr(each, "activation", None) != activation
        ]
        return True

    def poll(self, seconds: float) -> None:
        """Hand over what has come; wait for it so long at most."""
        if os.getpid() != self._owner:
            raise of_another_process()
        ready = self._poll.poll(0)
        if not ready and seconds and not self._start_another():
            if any(worker.waiting for worker in self.workers):
                seconds = min(seconds, _SOON)
            ready = self._poll.poll(max(1, math.ceil(1000 * seconds)))
        changed = [self._by_descriptor[descriptor] for descriptor, _ in ready]
        if not (ready or seconds == 0) or os.name != "posix":  # nothing tells of a death there
            changed = [(each, True) for each in self._started()]
        for worker, may_have_died in changed:
            if worker.is_dead:
                continue
            worker.receive(self._window)
            if may_have_died:
                worker.hear(self._window)
                if worker.remote.child.is_ending:
                    self._bury(worker)
        for worker in self._started():
            if worker.waiting:
                worker.send_waiting()
            if not worker.is_connected:
                self._check_start(worker)

    def _started(self) -> list[_Process]:
        return [each for each in self.workers if each.is_started]

    def _start_another(self) -> bool:
        """Start a worker that has something to do, while the caller has to wait."""
        for worker in self.workers:
            if not worker.is_started and worker.unfinished:
                self._start(worker)
                return True
        return False

    def _check_start(self, worker: _Process) -> None:
        if time.monotonic() - worker.begin > self._options.start_timeout:
            text = f"{worker.name} has not connected in {self._options.start_timeout} s"
            raise WorkerTimeoutError(
                f"{text}; see what it waits for, or give a longer start_timeout"
            )

    def at(self, worker: _Process) -> list[tuple[int, int]]:
        """Return what it is working on."""
        return [] if worker.is_dead else worker.at(self._options.n_threads)

    def _bury(self, worker: _Process, killed: str = "", blamed: int | None = None) -> None:
        """Put another worker in the place of one that has died.

        ``killed`` says why, if it was killed here, and ``blamed`` is the activation at fault.
        """
        worker.receive(self._window)  # (what is still on its way is made again)
        culprits = worker.at(self._options.n_threads)
        end = time.monotonic() + _DRAIN_SECONDS
        while self._window.lacks(culprits) and time.monotonic() < end:
            time.sleep(_DRAIN_SECONDS / 20)
            worker.receive(self._window)
        worker.hear(self._window)
        self._remove(worker)
        try:
            if not killed:
                worker.remote.child.raise_error()  # as it started
        except BaseException:
            for each in list(worker.unfinished.values()):
                each.end()
            self._close(worker, 0)
            raise
        how = f"{worker.name} {killed}" if killed else worker.remote.child.how_it_ended()
        if killed:
            culprits = [each for each in culprits if each[0] == blamed]
        self._n_silent = 0 if worker.has_given else self._n_silent + 1
        self._close(worker, 0)
        if self._n_silent >= _MOST_IN_A_ROW and not culprits:
            text = f"{how}; {self._n_silent} processes in a row ended before their first item"
            raise WorkerError(f"{text}; see what they wrote to stderr")
        another = _Process()
        self.workers.append(another)
        self._start(another)
        self._window.bury(worker, culprits, how, bool(killed))

    def _remove(self, worker: _Process) -> None:
        worker.is_dead = True
        self.workers.remove(worker)
        for descriptor in worker.remote.descriptors:
            self._poll.unregister(descriptor)
            del self._by_descriptor[descriptor]

    def kill(self, worker: _Process, why: str, blamed: int | None) -> None:
        """End a worker that hangs."""
        if not worker.is_dead and worker.is_started:
            worker.remote.child.kill()
            self._bury(worker, f"was killed, because {why}", blamed)

    def _close(self, worker: _Process, grace: float | None) -> None:
        with HeldInterrupts() as held:
            worker.close(grace, held)
        held.deliver()

    def close(self) -> None:
        """End all workers, at the same time."""
        workers, self.workers = self.workers, []
        if os.getpid() != self._owner:
            return
        self._by_descriptor.clear()
        with HeldInterrupts() as held:
            for worker in workers:
                worker.stop()
            for worker in workers:
                worker.close(self._options.timeout, held)
        held.deliver()
