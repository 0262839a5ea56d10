"""Workers that are actors of Ray, on any machine of its cluster: the caller's side."""

from __future__ import annotations

import os
import pickle
import time
from typing import Any, NamedTuple

import numpy as np

from .._background.child import HeldInterrupts, of_another_process
from .._background.frames import Unpacker
from .._repr import counted, cut
from .._streaming.recipe import Recipe
from ..exceptions import PescadorError, WorkerError, WorkerTimeoutError
from .activation import Activation
from .host import N_CALLS, N_PULLS, Answer, Host
from .orders import Ask, Close, Interrupt, Open, Order
from .receiver import Receiver, as_mark
from .sources import Names
from .window import Window, is_source

_DEFAULTS = {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
# (A call that is repeated would give items again, or in another order.)
_FIXED = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": N_CALLS}
_PULL_SECONDS = 0.5  # that a call waits for items; then it tells what its threads are at
_TELL_EVERY = 10e-3  # seconds between two calls that carry orders alone
_HOLD_SECONDS = 20e-3  # that other orders wait for a call
_URGENT = (Ask, Close, Interrupt, Open)
_MOST_IN_A_ROW = 4  # actors that are lost before they have given anything
_MOST_TEXT = 300  # characters of an error of Ray

_NOT_STARTED = (
    'Ray is not started; call ray.init() before, or ray.init(address="auto") to use a cluster'
)


class Options(NamedTuple):
    """How to run the actors; see `ParallelStreamer`."""

    n_workers: int
    n_threads: int
    max_bytes: int
    start_timeout: float
    timeout: float | None
    init: Any
    remote_args: dict[str, Any]


class _Arrived:
    """The values of the large items of a message, which is in Ray's object store."""

    def __init__(self) -> None:
        self.block: np.ndarray | None = None

    def hold(self, offset: int, n_bytes: int) -> np.ndarray:
        """Return a part as an array of bytes, which is copied before the next message."""
        if self.block is None or offset + n_bytes > len(self.block):
            raise ValueError(f"no block of {n_bytes} bytes at {offset}")
        return self.block[offset : offset + n_bytes]


class _Actor:
    """One worker."""

    def __init__(self, actor: Any, name: str) -> None:
        self.actor = actor
        self.name = name
        self.unfinished: dict[int, Activation] = {}
        self.handed_out: dict[int, int] = {}
        self.cost = 0
        self.told = 0.0
        self.is_connected = self.is_dead = False
        self.n_silent = 0  # actors in its place in a row that were lost without an item
        self.begin = time.monotonic()
        self.calls: set[Any] = set()  # that have not been answered
        self.notes: list[list[int]] = []  # what its threads were at, when it said so last
        self._orders: list[Order] = []
        self._is_urgent = False  # one of them is not to wait
        self._n_told = 0  # calls that carried orders
        self._has_told = 0.0  # when
        self._arrived = _Arrived()
        self._receiver = Receiver(name, Unpacker(self._arrived, copy=True))
        self._early: dict[int, list[Any]] = {}  # messages whose predecessors have not come
        self._n_taken = 0

    @property
    def has_given(self) -> bool:
        """Whether items have come from it."""
        return self._receiver.n_items > 0

    def send(self, order: Order) -> None:
        """Keep an order for the next call; or call, if it should not wait for one."""
        self._orders.append(order)
        self._is_urgent = self._is_urgent or isinstance(order, _URGENT)
        if self._is_urgent and time.monotonic() - self._has_told > _TELL_EVERY:
            self.tell()

    def tell(self) -> None:
        """Send the orders that have been kept, unless they can wait for the next pull."""
        can_wait = not self._is_urgent and time.monotonic() - self._has_told < _HOLD_SECONDS
        if self._orders and self.is_connected and not (self.is_dead or can_wait):
            self.actor.hear.remote(*self._parcel())

    def pull(self) -> None:
        """Ask for what it makes, and send the orders along."""
        self.calls.add(self.actor.pull.remote(*self._parcel(), _PULL_SECONDS))

    def _parcel(self) -> tuple[int, bytes]:
        orders, self._orders, self._is_urgent = self._orders, [], False
        number, self._n_told = self._n_told, self._n_told + 1
        self._has_told = time.monotonic()
        return number, pickle.dumps(orders)

    def take_back(self, activation: int) -> bool:
        """Take back the order to open an activation, if it has not been sent."""
        if self.is_connected or self.is_dead:
            return False
        self._orders = [
            each for each in self._orders if getattr(each, "activation", None) != activation
        ]
        return True

    def take(self, answer: Answer, window: Window) -> None:
        """Hand over what a call has brought, in the order in which it was made."""
        first, messages, reports, self.notes = answer
        if messages:
            self._early[first] = messages
        while self._n_taken in self._early:
            for large, *frames in self._early.pop(self._n_taken):
                self._n_taken += 1
                self._arrived.block = large
                self._receiver.take(frames, window, self)
            self._arrived.block = None
        for report in reports:
            window.take(self, (), [as_mark(report)])


class Actors:
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
        self._ray = _started_ray()
        self._options = options
        self._owner = os.getpid()
        self.n_threads = options.n_threads
        self.max_bytes = max(1, options.max_bytes // options.n_workers)
        self._args = {**_DEFAULTS, **options.remote_args, **_FIXED}
        self._host = self._ray.remote(**self._args)(Host)
        known = [each for each in catalogue if is_source(each)]
        self._names = Names(known, self._ray.cloudpickle.dumps)
        try:
            self._catalogue = self._ray.put(known)
            self._init = self._ray.put(options.init)
        except Exception as error:
            raise PescadorError(
                f"the sources cannot be sent to the cluster ({type(error).__name__}: {error});"
                " their functions and arguments must be picklable: open files and connections"
                " inside the function, or in worker_init"
            ) from error
        self.workers: list[_Actor] = []
        self._n_started = 0

    def begin(self, window: Window) -> None:
        """Start the actors."""
        self._window = window
        self.workers = [self._start() for _ in range(self._options.n_workers)]

    def _start(self) -> _Actor:
        actor = self._host.remote(self.max_bytes, self._options.n_threads)
        self._n_started += 1
        worker = _Actor(actor, f"the Ray actor {self._n_started}")
        worker.calls.add(actor.start.remote(self._catalogue, self._init))
        return worker

    def source_of(self, streamer: Recipe) -> Any:
        """Return its name in orders; None if it has none."""
        return self._names.of(streamer)

    def send(self, worker: _Actor, order: Order) -> None:
        """Send an order, now or with others."""
        if os.getpid() == self._owner and not worker.is_dead:
            worker.send(order)

    def take_back(self, worker: _Actor, activation: int) -> bool:
        """Take back the order to open an activation, if it has not been sent."""
        return worker.take_back(activation)

    def poll(self, seconds: float) -> None:
        """Hand over what has come; wait for it so long at most."""
        if os.getpid() != self._owner:
            raise of_another_process()
        for worker in self.workers:
            worker.tell()
        if not self._ray.is_initialized():  # (it would start another cluster)
            raise WorkerError("Ray was shut down before a stream that uses it; close streams first")
        by_call = {call: worker for worker in self.workers for call in worker.calls}
        calls = list(by_call)
        ready, _ = self._ray.wait(calls, num_returns=1, timeout=seconds)
        if ready and len(calls) > 1:
            ready, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        with HeldInterrupts() as held:  # an answer that has been fetched is not to be lost
            self._hear_all([(by_call[call], call) for call in ready])
        held.deliver()
        for worker in self.workers:
            if not worker.is_connected:
                self._check_start(worker)

    def _hear_all(self, answered: list[tuple[_Actor, Any]]) -> None:
        for worker, call in answered:
            if not worker.is_dead:
                self._hear(worker, call)

    def _hear(self, worker: _Actor, call: Any) -> None:
        """Take the answer to a call."""
        worker.calls.discard(call)
        try:
            answer = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            raise _cannot_run(worker, error) from error
        except self._ray.exceptions.RayError as error:
            self._lose(worker, error)
            return
        if worker.is_connected:
            worker.pull()
            worker.take(answer, self._window)
            return
        where, report = answer
        if report is not None:  # worker_init has failed
            _, _, failure = as_mark(report)
            raise failure
        worker.name = f"{worker.name} ({where})"
        worker.is_connected = True
        for _ in range(N_PULLS):
            worker.pull()

    def _check_start(self, worker: _Actor) -> None:
        seconds = self._options.start_timeout
        if time.monotonic() - worker.begin > seconds:
            asked = {name: value for name, value in self._args.items() if name not in _FIXED}
            raise WorkerTimeoutError(
                f"{worker.name} has not started in {seconds} s: the stream asks for"
                f" {counted(self._options.n_workers, 'actor')} with {asked}, and the cluster has"
                f" {self._ray.cluster_resources()}; ask for less (n_workers, ray_remote_args), add"
                " nodes, or give a longer start_timeout"
            )

    def at(self, worker: _Actor) -> list[tuple[int, int]]:
        """Return what its threads were at, when it said so last."""
        return [(name - 1, n_made) for name, n_made in worker.notes if name]

    def _lose(self, worker: _Actor, error: Exception) -> None:
        """Put another actor in the place of one that is lost: it has died, or its node has."""
        # (What its threads were at may be too old. What is asked for is made first.)
        asked = [each for each in worker.unfinished.values() if each.is_asked]
        culprits = [(each.name, each.n_received) for each in asked if worker.is_connected]
        how = f"{worker.name} is lost ({type(error).__name__})"
        worker.n_silent = 0 if worker.has_given else worker.n_silent + 1
        if not worker.is_connected and worker.n_silent >= _MOST_IN_A_ROW:
            raise _cannot_run(worker, error) from error
        self._replace(worker, culprits, how, hangs=False)

    def _replace(
        self, worker: _Actor, culprits: list[tuple[int, int]], how: str, hangs: bool
    ) -> None:
        self._remove(worker)
        self.workers.append(self._start())
        self.workers[-1].n_silent = worker.n_silent
        self._window.bury(worker, culprits, how, hangs)

    def _remove(self, worker: _Actor) -> None:
        """Never use an actor again, also if it turns out to be alive."""
        worker.is_dead = True
        self.workers.remove(worker)
        worker.calls.clear()
        self._ray.kill(worker.actor)

    def kill(self, worker: _Actor, why: str, blamed: int | None) -> None:
        """End an actor that hangs."""
        if not worker.is_dead:
            culprits = [each for each in self.at(worker) if each[0] == blamed]
            self._replace(worker, culprits, f"{worker.name} was killed, because {why}", hangs=True)

    def close(self) -> None:
        """End all actors, each after what its sources are at."""
        workers, self.workers = self.workers, []
        if os.getpid() != self._owner or not self._ray.is_initialized():
            return
        seconds = self._options.timeout
        try:
            stops = [each.actor.stop.remote(seconds) for each in workers if each.is_connected]
            if stops:
                self._ray.wait(stops, num_returns=len(stops), timeout=seconds)
        finally:
            for worker in workers:
                worker.is_dead = True
                worker.calls.clear()
                self._ray.kill(worker.actor)


def _started_ray() -> Any:
    """Return Ray, which has been started by the program (it would start a cluster by itself)."""
    try:
        import ray
    except ImportError as error:
        raise PescadorError('backend="ray" needs Ray: pip install "pescador[ray]"') from error
    if not ray.is_initialized():
        raise PescadorError(_NOT_STARTED)
    return ray


def _cannot_run(worker: _Actor, error: Exception) -> WorkerError:
    """Return the error for an actor that cannot do its work at all."""
    cause = getattr(error, "cause", None) or error
    text = cut(" ".join(f"{type(cause).__name__}: {cause}".split()), _MOST_TEXT)
    return WorkerError(
        f"{worker.name} cannot run ({text}); pescador and the modules of the sources must be"
        ' installed on every node: ray.init(runtime_env={"pip": [...], "working_dir": "."}), or'
        ' ray_remote_args={"runtime_env": ...}'
    )
