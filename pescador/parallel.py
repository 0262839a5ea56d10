"""Streamers whose sources are opened on many workers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any

from . import _validate
from ._streaming import positions
from ._streaming.opener import IN_PLACE
from ._streaming.seeds import Seed
from ._streaming.survey import streamers_of
from .core import OWN, Streamer

__all__ = ["ParallelStreamer"]

BACKENDS = ("processes", "threads", "ray")
_START_TIMEOUT = 120


class ParallelStreamer(Streamer):
    """A streamer whose sources are opened and read on many workers, with the same items.

    Muxes, and the maps that read them, stay in the program. The items and their order are those of
    ``streamer`` itself, for any number of workers.

    Parameters
    ----------
    streamer : Streamer
        A tree with a mux in it. Its *sources* are the streamers that muxes open and that have no
        mux below them.
    n_workers : int >= 1
        The number of workers.
    backend : {"processes", "threads", "ray"}
        What workers are. "processes": items are dicts of arrays, as for `ZMQStreamer`. "threads",
        for sources that wait or release the GIL: items may be anything. "ray": actors of a Ray
        cluster that the program has started, on any of its machines; items as for processes.
    threads_per_worker : int >= 1
        How many sources a worker works on at a time; for sources that wait. Not for threads.
    n_ahead : int >= 0, optional
        How many activations may be open before their turn; None: 2 for each worker (times its
        threads). At most ``n_active`` sources for every open mux, plus ``n_ahead``, are open.
    max_bytes : int >= 1
        How far all workers together may run ahead, in bytes. An item counts its arrays and 128
        bytes more (with threads, only arrays directly in a dict, tuple or list).
    item_timeout : float > 0, optional
        How many seconds the program waits for a source to open or to make an item. After this
        time, its process is killed, and another process opens the same sources again; with
        threads it is an error at once. None for no limit.
    start_timeout : float > 0
        How many seconds a worker has to start. Not for threads.
    timeout : float > 0 or None
        How many seconds a source has to end when it is closed; then its process is killed, or its
        thread is left running. None for no limit.
    start_method : {"fork", "spawn", "forkserver"}, optional
        How ``multiprocessing`` starts processes; None for its default.
    copy : bool
        As for `ZMQStreamer`. For processes only.
    worker_init : callable, optional
        A function that every worker calls first, without arguments: to open a connection, or to
        limit the threads of a library. Not for threads.
    ray_remote_args : dict, optional
        Arguments of ``ray.remote`` for an actor, such as ``{"num_cpus": 2}``. By default an actor
        needs one CPU, and actors are spread over the nodes. For Ray only.

    Raises
    ------
    PescadorError
        If an argument is wrong or belongs to another backend; if there is no mux in ``streamer``.
        When a run starts, if something has to be pickled and cannot be, or if this process may not
        start others (then use threads).
    WorkerError
        In place of an item at which workers have died three times; it names the source. It is a
        TimeoutError too if nothing came for ``item_timeout`` seconds.
    DataError
        In place of an item that cannot be sent.

    See Also
    --------
    ZMQStreamer : A whole tree in one background process.

    Notes
    -----
    An exception in a source comes out in the place of the item, with its own type; exceptions of
    opening and closing too. If nobody asks for the item, its exception is not raised.

    Processes start when they are needed, and end with the stream. A start costs about 10
    milliseconds with "fork"; with the other methods it costs the import of NumPy. A small item
    costs some microseconds, more if each activation gives few items. A large item is copied once,
    to shared memory on Linux.

    If a worker dies, or on Ray its node, another worker opens its sources again where they stood.
    Nothing is lost, nothing comes twice, and a line is logged.

    A state (``stream.state_dict()``) counts the items that were handed out. It is a state of
    ``streamer`` itself, so it fits any number of workers, and none.

    A streamer with an argument that can be read only once (an iterator) runs in the program, and so
    does a `ZMQStreamer` inside the tree. Other activations of a source do not see what it changes
    in its arguments. Other side effects come in any order.

    In a process, the global generators of NumPy and ``random`` are seeded for each activation. So a
    source draws the same numbers for any number of workers (of one thread each), but others without
    workers. Threads share these generators: use ``FRESH_SEED``.

    Threads copy arrays directly in a dict, tuple or list, because a source may use them again. Any
    other object is handed out as it is.

    Examples
    --------
    >>> import pescador
    >>> def count_up(start):
    ...     for value in range(start, start + 3):
    ...         yield {"value": value}
    >>> mux = pescador.ShuffledMux([pescador.Streamer(count_up, 10 * i) for i in range(3)])
    >>> parallel = pescador.ParallelStreamer(mux, 2, backend="threads")
    >>> len(list(parallel.iterate(max_iter=20)))
    20
    """

    def __init__(
        self,
        streamer: Any,
        n_workers: int,
        *,
        backend: str = "processes",
        threads_per_worker: int = 1,
        n_ahead: int | None = None,
        max_bytes: int = 2**26,
        item_timeout: float | None = None,
        start_timeout: float = _START_TIMEOUT,
        timeout: float | None = 5,
        start_method: str | None = None,
        copy: bool = False,
        worker_init: Any = None,
        ray_remote_args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(streamer)
        _check_tree(streamer)
        whole, seconds = _validate.whole, _validate.positive_or_none
        self.n_workers = whole("n_workers", n_workers, 1, "give a number of workers")
        self.backend = _validate.option("backend", backend, BACKENDS)
        self.threads_per_worker = whole(
            "threads_per_worker", threads_per_worker, 1, "give a number of threads"
        )
        self.n_ahead = _validate.whole_or_none(
            "n_ahead", n_ahead, 0, "give a number of activations, or None for 2 per worker"
        )
        self.max_bytes = whole("max_bytes", max_bytes, 1, "give a number of bytes")
        self.item_timeout = seconds(
            "item_timeout", item_timeout, "give seconds, or None for no limit"
        )
        self.start_timeout = _validate.positive("start_timeout", start_timeout, "give seconds")
        self.timeout = seconds(
            "timeout", timeout, "give seconds, or None to wait for as long as it takes"
        )
        self.start_method = start_method
        if start_method is not None:
            methods = _validate.START_METHODS
            self.start_method = _validate.option("start_method", start_method, methods)
        self.copy = _validate.truth("copy", copy, "give True for arrays with memory of their own")
        self.worker_init = worker_init
        if worker_init is not None and not callable(worker_init):
            rule, remedy = "must be callable", "give a function without arguments"
            raise _validate.refuse("worker_init", worker_init, rule, remedy)
        self.ray_remote_args = _remote_args(ray_remote_args)
        self._check_backend()

    def _check_backend(self) -> None:
        """Refuse what only other backends know."""
        for name, default in _NOT_FOR[self.backend].items():
            value = getattr(self, name)
            if value != default:
                others = [each for each in BACKENDS if name not in _NOT_FOR[each]]
                rule = f"has no effect with backend={self.backend!r}"
                remedy = f"leave it out, or use backend={' or '.join(map(repr, others))}"
                raise _validate.refuse(name, value, rule, remedy)

    def _classified(self) -> tuple[int, Callable]:
        _, call = super()._classified()  # which refuses what is not a source
        return OWN, call

    def _is_source(self) -> bool:
        return False

    def _chooses(self) -> bool:
        return False

    def _passes_on(self) -> bool:
        return not self._has_own_iterate()

    def _kind(self) -> str:
        return self.streamer._kind()

    def _open_own(self, parent: Seed, place: int, number: int) -> Iterator:
        return self._open_at(parent, place, number, 0)

    def _open_at(self, parent: Seed, place: int, number: int, position: Any) -> Iterator:
        # Here, because most programs that import pescador start no workers.
        from ._background.signals import HeldInterrupts

        if isinstance(position, int) and position and self._has_own_iterate():
            return super()._open_at(parent, place, number, position)
        with HeldInterrupts() as held:
            # Those of a stream live as long as it does, so that its next pass has them too.
            is_kept = parent.is_above
            kept = parent.session.kept
            window = kept(self._counted_by(), self._window) if is_kept else self._window()
            run = _Run(self.streamer, window, is_kept)
            if parent.session.meter is not None:
                run.metered_by(parent.session.meter)
            below = parent.within(parent.session.opened_by(window))
            items = run.items(below, place, number, position)
            next(items)
        try:
            held.deliver()
            positions.records[items] = run
            if position:
                next(items)  # whether it fits is to be known at once
        except BaseException:
            items.close()
            raise
        return items

    def _window(self) -> Any:
        from ._openers.window import Window

        n_ahead = self.n_ahead
        if n_ahead is None:
            n_ahead = 2 * self.n_workers * self.threads_per_worker
        return Window(self._engine(), n_ahead, self.timeout, self.item_timeout)

    def _engine(self) -> Any:
        """Return what starts the workers, and talks to them."""
        if self.backend == "threads":
            from ._openers import threads

            return threads.Threads(threads.Options(self.n_workers, self.max_bytes, self.timeout))
        if self.backend == "ray":
            return self._actors()
        from ._background.starting import check_may_start
        from ._openers import processes

        check_may_start()
        options = processes.Options(
            n_workers=self.n_workers,
            n_threads=self.threads_per_worker,
            max_bytes=self.max_bytes,
            start_timeout=self.start_timeout,
            timeout=self.timeout,
            start_method=self.start_method,
            copy=self.copy,
            init=self.worker_init,
        )
        return processes.Processes(_catalogue(self), options)

    def _actors(self) -> Any:
        from ._openers import actors

        options = actors.Options(
            n_workers=self.n_workers,
            n_threads=self.threads_per_worker,
            max_bytes=self.max_bytes,
            start_timeout=self.start_timeout,
            timeout=self.timeout,
            init=self.worker_init,
            remote_args=self.ray_remote_args or {},
        )
        return actors.Actors(_catalogue(self), options)


# What means nothing to a backend, and the values that it has if nobody gives it.
_NOT_FOR: dict[str, dict[str, Any]] = {
    "processes": {"ray_remote_args": None},
    "threads": {
        "threads_per_worker": 1,
        "start_timeout": _START_TIMEOUT,
        "start_method": None,
        "copy": False,
        "worker_init": None,
        "ray_remote_args": None,
    },
    "ray": {"start_method": None, "copy": False},
}
_OURS = ("lifetime", "max_concurrency", "max_restarts", "max_task_retries", "name")


def _remote_args(given: Any) -> dict[str, Any] | None:
    """Return what actors are made with, checked."""
    if given is None:
        return None
    remedy = 'give a dict, such as {"num_cpus": 2, "resources": {"disk": 1}}'
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise _validate.refuse("ray_remote_args", given, "must be a dict with string keys", remedy)
    for name in _OURS:
        if name in given:
            rule = f"has {name!r}, which pescador sets itself, so that items stay in order"
            raise _validate.refuse("ray_remote_args", given, rule, "leave it out")
    return dict(given)


def _check_tree(streamer: Any) -> None:
    """Refuse a tree of one source: there is nothing to divide among workers."""
    if isinstance(streamer, Streamer) and any(
        not each._is_source() for each in streamers_of(streamer)
    ):
        return
    rule = "has no mux, so it is a single source, and one worker reads all of it"
    remedy = "give a mux, or use ZMQStreamer for one background process"
    raise _validate.refuse("streamer", streamer, rule, remedy)


# What the walk through a tree has found: a pool may have a million members, walked once.
_catalogues: weakref.WeakKeyDictionary[Streamer, tuple[Any, list]] = weakref.WeakKeyDictionary()


def _catalogue(parallel: ParallelStreamer) -> list:
    streamer, known = _catalogues.get(parallel, (None, []))
    if streamer is not parallel.streamer:
        known = list(streamers_of(parallel.streamer))
        _catalogues[parallel] = parallel.streamer, known
    return known


class _Run:
    """One run of a tree, in the program, whose sources are elsewhere."""

    def __init__(self, streamer: Streamer, window: Any, is_kept: bool) -> None:
        self._streamer = streamer
        self._window = window
        self._is_kept = is_kept  # for the next pass
        self._source: Iterator | None = None

    def items(self, parent: Seed, place: int, number: int, position: Any) -> Generator:
        """Yield a None at once, one more if there is a position, then the items.

        (The first starts the generator: the ``finally`` block of one that was never started does
        not run.)
        """
        try:
            yield None
            source = IN_PLACE.open(self._streamer, parent, place, number, 0, position)
            self._source = source
            try:
                if position:
                    yield None
                yield from source
            finally:
                IN_PLACE.end(self._streamer, source)
        finally:
            self._window.forget_guesses()
            if not self._is_kept:
                self._window.close()
                if parent.session.meter is not None:
                    parent.session.meter.parts.discard(self._window)

    def metered_by(self, meter: Any) -> None:
        """Tell a meter how far the workers are ahead."""
        meter.parts.add(self._window)

    def reads(self) -> list:
        """Return the tree."""
        return [(self._source, self._streamer)]

    def position(self, n_given: int) -> Any:
        """Return that of the tree."""
        return 0 if self._source is None else positions.position_of(self._source, n_given)
