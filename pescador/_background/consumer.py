"""One run of a `ZMQStreamer`: the side that makes the items, and the side that hands them out.

Orders go to the background process over its pipe: first the invitation to connect, then credit
(so many bytes have been handed out, and these blocks of shared memory are free again), a nudge
(the reader waits), and the end. Items come back over the socket.
"""

from __future__ import annotations

import json
import math
import time
import weakref
from collections.abc import Generator
from typing import NamedTuple, NoReturn

import numpy as np
import zmq

from .._streaming.seeds import Seed
from .._streaming.survey import survey
from ..core import Streamer
from ..exceptions import WorkerError, WorkerTimeoutError
from . import memory
from .channel import Listener
from .child import HeldInterrupts, Worker
from .frames import ENDED, FAILED, LARGE, NOTE, Message, Unpacker
from .orders import CREDIT, CREDIT_HEAD, NUDGE, Start, Task
from .producer import produce

__all__ = ["HeldInterrupts", "Options", "Reader"]
_BLOCKS = 4  # times max_bytes of addresses for shared memory; only what is used takes up memory
_PATIENCE = 1  # milliseconds that the reader waits before it nudges
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
        self._memory: memory.Reader | None = None
        generators, one_shots = _survey(streamer)
        for each in one_shots:
            each._use_ticket()
        seed = parent.sent(generators)
        inner = Streamer(streamer.streamer)
        below = [each for each in one_shots if each is not streamer]
        task = Task(inner, seed, place, number, start, options.max_bytes, below)
        with memory.Heir() as self._heir:
            self._worker = Worker(produce, task, options.start_method)
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
        self._memory = memory.reader(_BLOCKS * self._options.max_bytes)
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
                self._is_nudged = self._worker.order(NUDGE)
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
        if self._worker.order(CREDIT + CREDIT_HEAD.pack(self._cost) + blocks):
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
