"""Streamers whose items are made in a background process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from . import _validate
from ._background.layouts import MIX_FIRST
from ._streaming import positions
from ._streaming.seeds import Seed
from .core import OWN, Streamer
from .exceptions import DataError as DataError  # where programs of 2.x and 3.0 find it

__all__ = ["ZMQStreamer"]

TRANSPORTS = ("ipc", "tcp")
_LAST_PORT = 65535


class ZMQStreamer(Streamer):
    """A streamer whose items are made in a background process.

    The items are the same. The process makes the next items while the program works on the last
    ones. This helps if a source is slow: if it reads files, decodes, or computes.

    Parameters
    ----------
    streamer : Streamer or iterable
        What to run. Its items are dicts whose keys are strings or integers, and whose values are
        NumPy arrays, or scalars that NumPy can hold, of any dtype without Python objects.
    min_port, max_port : int in 1..65535
        The ports that ``transport="tcp"`` chooses from, at random.
    max_tries : int >= 1
        How many ports it tries.
    copy : bool
        With False, the arrays of an item of 8 KiB or more may lie in memory that is shared with
        the background process. The process uses this memory again when the arrays are gone. With
        True, every array gets memory of its own, at the cost of one more copy.
    timeout : float > 0 or None
        How many seconds the process has to end when the stream is closed; then it is killed. None
        for no limit.
    transport : {"ipc", "tcp"}, optional
        How the processes are connected; None for ipc if the system has it, else tcp.
    start_method : {"fork", "spawn", "forkserver"}, optional
        How ``multiprocessing`` starts the process; None for its default.
    max_bytes : int >= 1
        How far the process may run ahead: the largest number of bytes that it has made and that
        have not been handed out. An item counts its arrays and 128 bytes more. A larger item is
        sent alone.
    item_timeout : float > 0, optional
        How many seconds to wait for an item; None for no limit, as long as the process lives.

    Raises
    ------
    PescadorError
        If an argument is wrong. When a run starts, if ``streamer`` has to be pickled and cannot be,
        or if no port is free.
    DataError
        In place of an item that cannot be sent. It names the number of the item (from 0), and the
        key.
    WorkerError
        If the process dies before the end of the stream, or raises an exception that cannot be
        sent. It is a TimeoutError too if nothing came for ``item_timeout`` seconds.
    OSError
        If the system lacks what a process needs: file descriptors, processes or threads, a folder
        for a socket, a current folder, or a loopback interface. It says what to do.

    See Also
    --------
    Streamer : The same in this process.

    Notes
    -----
    What arrives equals what was sent: values, dtype, shape, memory order, and the order of the
    keys. Scalars arrive as arrays without dimensions. Arrays are aligned and writable, and are
    yours for as long as you keep them. The source may reuse its own arrays at once.

    An exception in the source comes out of the stream in the place of the item, with its own type,
    and the traceback of the other process as its cause.

    The process ends with the stream: when it is closed, fails, ends, or is no longer referenced. It
    ends with this process, and within a second or two if this process is killed. It ignores signals
    that a terminal or a scheduler sends to the whole job, such as SIGINT and SIGTERM.

    Muxes give the same items as without a process, because they get the same seed. In the process,
    the global generators of NumPy and ``random`` are seeded from it, so no two streams draw the
    same numbers. Arguments are copied into the process whenever it starts, so a random generator
    among them starts from the same state each time.

    A start costs about 5 milliseconds with "fork" (more in a large program). With the other methods
    it costs the import of NumPy. A small item costs about three microseconds on each side. On
    Linux, a large item is copied once, to shared memory. It goes through the socket, with two more
    copies, on other systems, and if the arrays that you keep have filled the shared memory (four
    times ``max_bytes``, or eight items if these are larger). If the program forks, arrays that it
    keeps stay shared with the new process: use ``copy=True`` if one of the two alters them.

    A state (`Stream.state_dict`) counts the items that were handed out, however far the process is
    ahead. Resuming goes to a position of the source at most about a second earlier, and skips the
    items from there.

    Closing a stream early raises the errors of the ``finally`` blocks of its source, as without a
    process. While the stream is being closed, Ctrl-C, or a SIGTERM that the program handles, kills
    the background process at once.

    Examples
    --------
    >>> import pescador
    >>> def count_up(n):
    ...     for value in range(n):
    ...         yield {"value": value}
    >>> streamer = pescador.ZMQStreamer(pescador.Streamer(count_up, 3))
    >>> [int(item["value"]) for item in streamer]
    [0, 1, 2]
    """

    def __init__(
        self,
        streamer: Any,
        min_port: int = 49152,
        max_port: int = 65535,
        max_tries: int = 100,
        copy: bool = False,
        timeout: float | None = 5,
        *,
        transport: str | None = None,
        start_method: str | None = None,
        max_bytes: int = 64 * 2**20,
        item_timeout: float | None = None,
    ) -> None:
        _refuse_streamers(streamer)
        super().__init__(streamer)
        ports = "give a port number"
        self.min_port = _validate.whole("min_port", min_port, 1, ports, _LAST_PORT)
        ports += " that is not below min_port"
        self.max_port = _validate.whole("max_port", max_port, self.min_port, ports, _LAST_PORT)
        self.max_tries = _validate.whole("max_tries", max_tries, 1, "give how many ports to try")
        self.copy = _validate.truth("copy", copy, "give True for arrays with memory of their own")
        self.timeout = _validate.positive_or_none(
            "timeout", timeout, "give seconds, or None to wait for as long as it takes"
        )
        self.transport = _option("transport", transport, TRANSPORTS)
        self.start_method = _option("start_method", start_method, _validate.START_METHODS)
        self.max_bytes = _validate.whole("max_bytes", max_bytes, 1, "give a number of bytes")
        self.item_timeout = _validate.positive_or_none(
            "item_timeout", item_timeout, "give seconds, or None for no limit"
        )

    def _classified(self) -> tuple[int, Callable]:
        _, call = super()._classified()  # which refuses what is not a source
        return OWN, call

    def _passes_on(self) -> bool:
        return not self._has_own_iterate()

    def _is_source(self) -> bool:
        return False  # it has a process of its own

    def _chooses(self) -> bool:
        return False

    def _kind(self) -> str:
        return self.streamer._kind() if isinstance(self.streamer, Streamer) else Streamer.__name__

    def _open_own(self, parent: Seed, place: int, number: int) -> Iterator:
        return self._open_at(parent, place, number, 0)

    def _open_at(self, parent: Seed, place: int, number: int, position: Any) -> Iterator:
        # Here, because most programs that import pescador start no process.
        from ._background.consumer import Consumer, HeldInterrupts, Options

        if isinstance(position, int) and position and self._has_own_iterate():
            return super()._open_at(parent, place, number, position)
        options = Options(
            min_port=self.min_port,
            max_port=self.max_port,
            max_tries=self.max_tries,
            copy=self.copy,
            timeout=self.timeout,
            transport=self.transport,
            start_method=self.start_method,
            max_bytes=self.max_bytes,
            item_timeout=self.item_timeout,
        )
        with HeldInterrupts() as held:
            consumer = Consumer(
                self, options, parent, place, number, positions.skipping(position, 0)
            )
            items = consumer.items()
            next(items)
        positions.records[items] = consumer
        try:
            held.deliver()
        except BaseException:
            items.close()
            raise
        return items


def _refuse_streamers(streamer: Any) -> None:
    """Refuse a list of streamers, whose items would be streamers."""
    if isinstance(streamer, (list, tuple)) and any(isinstance(each, Streamer) for each in streamer):
        rule = "is a list of streamers, not one streamer"
        raise _validate.refuse("streamer", streamer, rule, MIX_FIRST)


def _option(name: str, value: Any, options: tuple[str, ...]) -> str | None:
    return None if value is None else _validate.option(name, value, options)
