"""One run of a `ZMQStreamer`: the side that makes the items, and the side that hands them out.

Orders go to the background process over its pipe: first the invitation to connect, then credit
(so many bytes have been handed out, and these blocks of shared memory are free again), a nudge
(the reader waits), and the end. Items come back over the socket.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import struct
import threading
import time
import weakref
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np
import zmq

from . import _shared
from ._activation import begin_at, end, survey
from ._channel import Caller, Listener
from ._frames import ENDED, FAILED, LARGE, NOTE, Message, Packer, Unpacker
from ._host import Host, Stopped
from ._positions import moved, position_of
from ._seeds import Seed
from ._validate import stopped
from ._worker import HeldInterrupts, Worker
from .core import Streamer
from .exceptions import PescadorError, WorkerError, WorkerTimeoutError

__all__ = ["HeldInterrupts", "Options", "Reader"]

_CREDIT, _NUDGE = b"c", b"n"  # orders, by their first byte
_CREDIT_HEAD = struct.Struct("<Q")
_BLOCKS = 4  # times max_bytes of addresses for shared memory; only what is used takes up memory
_MESSAGES = 8  # that the process may be ahead, at least
_SLOW = 1e-3  # seconds since the last message after which an item is not kept for company
_PATIENCE = 1  # milliseconds that the reader waits before it nudges
_NOTE_EVERY = 1.0  # seconds between two notes of where the source stands
_LOOK = 0.5  # seconds between two looks at whether the process still lives
_LOOK_OFTEN = 0.05  # the same, where no descriptor tells
_MOST_BLOCKS = 1000  # in one credit, which must fit into the pipe
_DRAIN = 50  # milliseconds without a message after which a dead process has said all
_START = 120.0  # seconds for the process to start and connect
_HUNG = 0.25  # seconds of grace for a process that has been silent for too long


class Options(NamedTuple):
    """How to run a background process; see `ZMQStreamer`."""

    min_port: int
    max_port: int
    max_tries: int
    copy: bool
    timeout: float | None
    transport: str | None
    start_method: str | None
    max_bytes: int
    item_timeout: float | None


class Start(NamedTuple):
    """Where to begin: ``skip`` items after a position, which is that after ``n_given`` items."""

    n_given: int = 0
    position: Any = 0
    skip: int = 0


class _Task(NamedTuple):
    """What the background process is told to do, along with its start."""

    streamer: Streamer
    seed: tuple[bytes, bytes, list]
    place: int
    number: int
    start: Start
    max_bytes: int
    one_shots: list[Any]  # streamers below it that can be started only once


# The side that hands the items out.


class Reader:
    """Starts the background process, and reads what it makes."""

    def __init__(
        self,
        streamer: Streamer,
        options: Options,
        parent: Seed,
        place: int,
        number: int,
        start: Start,
    ) -> None:
        self._options = options
        self._start = start
        self._note: tuple[int, bytes] | None = None  # of the process: where it stood, and when
        self._n_items = 0
        self._cost = 0  # handed out, and not told
        self._is_nudged = False
        self._is_connected = False
        self._memory: _shared.Reader | None = None
        generators, one_shots = _survey(streamer)
        for each in one_shots:
            each._use_ticket()
        seed = parent.sent(generators)
        inner = Streamer(streamer.streamer)
        below = [each for each in one_shots if each is not streamer]
        task = _Task(inner, seed, place, number, start, options.max_bytes, below)
        with _shared.Heir() as self._heir:
            self._worker = Worker(_produce, task, options.start_method)
        try:
            self._listener = Listener(
                options.transport or _default_transport(), self._worker.pid, *options[:3]
            )
            try:
                self._share_memory()
                self._watch_for()
            except BaseException:
                self._listener.close()
                raise
        except BaseException:
            self._worker.close(0)
            raise
        self._unpacker = Unpacker(self._memory, options.copy)

    def _watch_for(self) -> None:
        """Prepare to wait for messages, reports and death."""
        signs = self._worker.signs_of_life
        self._look = _LOOK if signs else _LOOK_OFTEN
        self._poller = zmq.Poller()
        for each in (self._listener.socket, *signs):
            self._poller.register(each, zmq.POLLIN)

    def _share_memory(self) -> None:
        """Send the invitation, and the memory that both sides will see."""
        self._memory = _shared.reader(_BLOCKS * self._options.max_bytes)
        if self._memory is None:
            self._worker.begin(self._listener.invitation(), None)
        else:
            with self._memory.lent() as descriptor:
                self._worker.begin(self._listener.invitation(), descriptor)

    def items(self) -> Generator:
        """Yield the items; first, and at once, a None that starts the generator.

        (The ``finally`` block of a generator that was never started does not run.)
        """
        try:
            yield None
            while (message := self._next()) is not None:
                if message.cost < LARGE * message.n_items:
                    yield from message.items
                    self._hand_out(message.cost)
                else:
                    each, rest = divmod(message.cost, message.n_items)
                    self._hand_out(rest)
                    for _ in range(message.n_items):
                        self._hand_out(each)
                        yield next(message.items)
        except GeneratorExit:
            error = self._close()
            try:
                if error is not None:
                    raise error
                raise
            finally:
                del error  # its traceback has this frame
        finally:
            self._close()

    def position(self, n_given: int) -> dict:
        """Return where the stream stands, after so many items that were handed out."""
        start = self._start
        if self._note is not None:
            n_items, note = self._note
            start = Start(start.n_given + start.skip + n_items, json.loads(note))
        return start._replace(skip=n_given - start.n_given)._asdict()

    def _hand_out(self, cost: int) -> None:
        """Count what is handed out, and give credit for it now and then."""
        self._cost += cost
        if 4 * self._cost >= self._options.max_bytes:
            self._give_credit()

    def _next(self) -> Message | None:
        """Return the next message with items; None after the last one."""
        if not self._worker.is_owned:
            raise WorkerError(
                "this stream belongs to the process that started it; start another one here"
            )
        if not self._is_connected:
            self._connect()
        while True:
            frames = self._listener.receive()
            if frames is None:
                frames = self._wait(self._options.item_timeout)
            message = self._unpacker.message(frames)
            if message.first != self._n_items:
                text = f"{self._n_items} items arrived, and the background process counts"
                remedy = "read the stream again, or resume it from a state"
                raise WorkerError(f"{text} {message.first}: some are lost; {remedy}")
            if message.kind != NOTE:
                break
            self._note = self._n_items, message.note
        if message.kind == ENDED:
            return None
        if message.kind == FAILED:
            self._fail()
        self._n_items += message.n_items
        self._is_nudged = False
        return message

    def _connect(self) -> None:
        self._listener.welcome(self._wait(_START))
        self._is_connected = True

    def _wait(self, seconds: float | None) -> list[bytes]:
        """Wait for a message, and no longer than it can come."""
        end = math.inf if seconds is None else time.monotonic() + seconds
        pause = _PATIENCE
        while True:
            ready = self._poller.poll(pause)
            frames = self._listener.receive()
            if frames is not None:
                return frames
            if not ready and not self._is_nudged:
                self._give_credit()
                self._is_nudged = self._worker.order(_NUDGE)
            # An error that no message announces came before there was a way for messages, or
            # broke it; and the dead announce nothing.
            if self._worker.listen() is False or self._worker.has_died:
                return self._last_words()
            left = end - time.monotonic()
            if left <= 0:
                raise self._timed_out(seconds)
            pause = max(1, int(1000 * min(left, self._look)))

    def _give_credit(self) -> None:
        """Tell the background process what has been handed out, and what has been freed."""
        freed = [] if self._memory is None else self._memory.take_freed(_MOST_BLOCKS)
        blocks = np.array(freed, "<u8").tobytes()
        if self._worker.order(_CREDIT + _CREDIT_HEAD.pack(self._cost) + blocks):
            self._cost = 0
        elif self._memory is not None:
            self._memory.put_back(freed)  # until it listens again

    def _last_words(self) -> list[bytes]:
        """Return a message that a dead process has left; raise its error if there is none."""
        if self._listener.socket.poll(_DRAIN):
            frames = self._listener.receive()
            if frames is not None:
                return frames
        self._fail()

    def _fail(self) -> NoReturn:
        """Raise the error of the background process, or say how it died."""
        self._worker.raise_error()
        text = f"{self._worker.obituary()}, after {self._n_items} items had arrived"
        raise WorkerError(f"{text}; its standard error may say more")

    def _timed_out(self, seconds: float | None) -> WorkerTimeoutError:
        self._options = self._options._replace(timeout=_HUNG)
        what = "no item" if self._is_connected else "no connection"
        text = f"{what} came from the background process {self._worker.pid} in {seconds} s"
        return WorkerTimeoutError(
            f"{text}, after {self._n_items} items had arrived; see what its source waits for,"
            " or give a longer item_timeout"
        )

    def _close(self) -> BaseException | None:
        """End everything; return the error that the process met as it ended, if it did."""
        if not self._worker.is_owned:
            return None
        with HeldInterrupts() as held:
            try:
                error = self._worker.close(self._options.timeout, held)
            finally:
                self._heir.has_ended()
                self._listener.close()
                if self._memory is not None:
                    self._memory.close()
        held.deliver()
        return error


# What the walk through a streamer has found; a pool may have a million members.
_surveys: weakref.WeakKeyDictionary[Streamer, tuple] = weakref.WeakKeyDictionary()


def _survey(streamer: Streamer) -> tuple[list, list[Streamer]]:
    found = _surveys.get(streamer)
    if found is None:
        found = _surveys[streamer] = survey(streamer)
    return found


def _default_transport() -> str:
    return "ipc" if zmq.has("ipc") else "tcp"


# The side that makes the items, in the background process.


def _produce(host: Host, task: _Task, invitation: bytes, descriptor: int | None) -> None:
    """Make the items of one activation of a streamer, and send them."""
    with host.undisturbed():
        memory = _shared.writer(descriptor)
        packer = Packer(memory, max(1, task.max_bytes // _MESSAGES))
        writer = _Writer(Caller(invitation), packer, memory, task.max_bytes, host)
        host.receive, host.on_end = writer.on_order, writer.wake
    try:
        try:
            host.check()
            parent = Seed.received(*task.seed)
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

    def __init__(self, task: _Task, parent: Seed) -> None:
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
            source = begin_at(streamer, self._parent, place, number, position)
        except StopIteration as error:  # here it would pass for the end of the data
            raise stopped(streamer) from error
        self._iterator = source
        try:
            yield from moved(source, skip, streamer)
        finally:
            end(streamer, source)

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
        memory: _shared.Writer | None,
        max_bytes: int,
        host: Host,
    ) -> None:
        self._caller = caller
        self._packer = packer
        self._memory = memory
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
            (handed_out,) = _CREDIT_HEAD.unpack_from(order, 1)
            self._ahead -= handed_out
            if self._memory is not None:
                for offset in np.frombuffer(order, "<u8", offset=1 + _CREDIT_HEAD.size).tolist():
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
        if order[:1] == _CREDIT:
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
