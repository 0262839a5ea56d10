"""The consumer's side of a `ZMQStreamer`: starts the background process, and hands out its items.

Orders go to the process over its pipe: the invitation to connect, credit (how many bytes have been
handed out, and which blocks of shared memory are free again), a flush (send what there is: the
consumer waits), and the stop. Items come back over the socket.
"""

from __future__ import annotations

import json
import math
import time
import weakref
from collections.abc import Generator
from itertools import compress, repeat
from operator import length_hint
from typing import Any, NamedTuple, NoReturn

from .._repr import of_items
from .._streaming import leaving
from .._streaming.positions import skipping
from .._streaming.recorder import Recorder
from .._streaming.seeds import Seed
from .._streaming.survey import survey
from ..core import Streamer
from ..exceptions import WorkerError, WorkerTimeoutError
from .channel import Waiter
from .child import EXIT_SECONDS, HeldInterrupts, of_another_process
from .counted import Counted
from .frames import LARGE, Kind, Message, Unpacker
from .orders import CREDIT, CREDIT_HEAD, FLUSH, POLL_SECONDS, Task
from .producer import produce
from .remote import Remote
from .warned import retold

__all__ = ["Consumer", "HeldInterrupts", "Options"]
_PATIENCE = 1  # milliseconds to wait for a message before asking for a flush
_POLL_OFTEN = 0.05  # seconds between two looks, where no descriptor tells of a death
_DRAIN_SECONDS = 0.05  # to wait for what a dead process has sent
_START_SECONDS = 120.0  # for the process to start and connect
_HUNG_SECONDS = 0.25  # of grace for a process that gave nothing for too long


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


class Consumer:
    """One run of a `ZMQStreamer`: the process, the connection, and the items that come."""

    def __init__(
        self,
        streamer: Streamer,
        options: Options,
        parent: Seed,
        place: int,
        number: int,
        position: Any,
    ) -> None:
        self._options = options
        self._n_handed_out = 0  # items, those of the last message included
        self._rest = repeat(True, 0)  # as many as are left of that
        # (after so many items, where the source stood)
        self._last_position: tuple[int, Any] = 0, position
        self._n_items = 0
        self._cost = 0  # bytes handed out, for which no credit was given yet
        self._has_asked = False
        self._is_connected = False
        generators, one_shots = _survey(streamer)
        for each in one_shots:
            each._use_ticket()
        seed = parent.sent(generators)
        inner = Streamer(streamer.streamer)
        below = [each for each in one_shots if each is not streamer]
        meter = self._meter = parent.session.meter
        self._failures, self._path = parent.session.failures, parent.shown(place)
        self._counted: Any = None
        self._counts_each = isinstance(meter, Recorder)  # which asks after every item
        if meter is not None:
            self._counted = Counted(meter, self._path, self._handed_out, self._bytes_ahead)
        self._bytes_to_come = 0  # of the message that is being handed out
        is_metered = meter is not None
        task = Task(inner, seed, place, number, position, options.max_bytes, below, is_metered)
        method, transport = options.start_method, options.transport
        ports = options.min_port, options.max_port, options.max_tries
        remote = Remote(produce, task, method, options.max_bytes, transport, ports)
        self._remote, self._child, self._listener = remote, remote.child, remote.listener
        pollable = self._child.pollable
        self._poll_seconds = POLL_SECONDS if pollable else _POLL_OFTEN
        try:
            self._waiter = Waiter(self._listener, pollable)
        except BaseException:
            remote.close(0)
            raise
        self._unpacker = Unpacker(remote.memory, options.copy)

    def items(self) -> Generator:
        """Yield a None at once, then the items.

        (The None starts the generator: the ``finally`` block of one that was never started does
        not run.)
        """
        try:
            yield None
            while True:
                message = self._next()
                if message is None:
                    break
                self._bytes_to_come = message.cost
                if message.cost < LARGE * message.n_items:
                    self._n_handed_out += message.n_items
                    self._rest = repeat(True, message.n_items)
                    if self._counts_each:
                        yield from self._counting(message)
                    else:
                        yield from compress(message.items, self._rest)
                    self._hand_out(message.cost)
                else:
                    each, rest = divmod(message.cost, message.n_items)
                    self._hand_out(rest)
                    for item in message.items:
                        self._hand_out(each)
                        self._n_handed_out += 1  # (no interrupt comes between this and the reader)
                        if self._counts_each:
                            self._counted.settle()
                        yield item
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

    def _counting(self, message: Message) -> Generator:
        """Yield the items of a message, and count what belongs to each."""
        for item in compress(message.items, self._rest):
            self._counted.settle()
            yield item

    def _handed_out(self) -> int:
        return self._n_handed_out - length_hint(self._rest)

    def _bytes_ahead(self) -> int:
        """Return what has come of the last message, and has not been handed out; about."""
        n_left = self._n_items - self._handed_out()
        return self._bytes_to_come if n_left else 0

    is_elsewhere = True  # what it reads

    def reads(self) -> list:
        """Return nothing that is read here."""
        return []

    def position(self, n_given: int) -> Any:
        """Return where the stream stands: a position of the streamer that the process reads."""
        n_items, position = self._last_position
        if isinstance(position, bytes):
            position = json.loads(position)
        self._failures.meet_again(self._path)  # it stands before what failed since the last item
        return skipping(position, self._handed_out() - n_items)

    def _hand_out(self, cost: int) -> None:
        """Count bytes that were handed out, and give credit for them in quarters of max_bytes."""
        self._cost += cost
        if 4 * self._cost >= self._options.max_bytes:
            self._give_credit()

    def _next(self) -> Message | None:
        """Return the next message with items; None after the last one."""
        if not self._child.is_owned:
            raise of_another_process()
        if not self._is_connected:
            self._connect()
        while True:
            frames = self._listener.receive()
            if frames is None:
                frames = self._wait(self._options.item_timeout)
            message = self._unpacker.message(frames)
            if message.first != self._n_items:
                text = f"the background process sent {of_items(message.first)}"
                remedy = "read the stream again, or resume it from a state"
                raise WorkerError(f"{text}, and {self._n_items} arrived: some are lost; {remedy}")
            if message.kind in (Kind.COUNTS, Kind.COUNTED) and self._counted is not None:
                self._counted.take(self._n_items, message.n_items, message.text)
            if message.kind == Kind.POSITION:
                self._last_position = self._n_items, message.text
            elif message.kind == Kind.WARNING:
                retold(message.text)
            elif message.kind == Kind.FAILURE:
                path, *facts = json.loads(message.text)
                self._failures.note((*self._path, *path), *facts)
            elif message.kind != Kind.COUNTS:
                break
        if message.kind in (Kind.ENDED, Kind.FAILED) and self._counted is not None:
            self._counted.advance(self._n_items, is_end=True)
        if message.kind == Kind.ENDED:
            return None
        if message.kind == Kind.FAILED:
            self._fail()
        self._n_items += message.n_items
        self._has_asked = False
        return message

    def _connect(self) -> None:
        self._listener.welcome(self._wait(_START_SECONDS))
        self._is_connected = True

    def _wait(self, seconds: float | None) -> list[bytes]:
        """Wait for a message, and tell how long that took, if anybody wants to know."""
        if self._meter is None:
            return self._wait_for_message(seconds)
        with self._meter.waiting_for(None):
            return self._wait_for_message(seconds)

    def _wait_for_message(self, seconds: float | None) -> list[bytes]:
        """Wait for a message; raise if none can come any more, or none came in time."""
        end = math.inf if seconds is None else time.monotonic() + seconds
        pause = _PATIENCE
        while True:
            self._waiter.wait(pause)
            frames = self._listener.receive()
            if frames is not None:
                return frames
            if not self._has_asked:
                self._give_credit()
                self._has_asked = self._child.send(FLUSH)
            # An error without a message of its own is one of the connection. A dead process
            # sends no message either.
            if self._child.look_for_report() is False or self._child.has_died:
                return self._read_rest()
            left = end - time.monotonic()
            if left <= 0:
                raise self._timed_out(seconds)
            pause = max(1, int(1000 * min(left, self._poll_seconds)))

    def _give_credit(self) -> None:
        """Tell the background process how much was handed out, and which blocks are free."""
        if self._remote.send_credit(CREDIT + CREDIT_HEAD.pack(self._cost)):
            self._cost = 0

    def _read_rest(self) -> list[bytes]:
        """Return a message that a dead process has sent; raise its error if there is none."""
        end = time.monotonic() + _DRAIN_SECONDS
        rest = Waiter(self._listener, [])
        while (frames := self._listener.receive()) is None:
            left = end - time.monotonic()
            if left <= 0:
                self._fail()
            rest.wait(1 + int(1000 * left))
        return frames

    def _fail(self) -> NoReturn:
        """Raise the error of the background process, or say how it died."""
        self._child.raise_error()
        text = f"{self._child.how_it_ended()}, after {of_items(self._n_items)} had arrived"
        raise WorkerError(f"{text}; see what it wrote to stderr")

    def _timed_out(self, seconds: float | None) -> WorkerTimeoutError:
        self._options = self._options._replace(timeout=_HUNG_SECONDS)
        what = "no item" if self._is_connected else "no connection"
        text = f"{what} came from the background process {self._child.pid} in {seconds} s"
        return WorkerTimeoutError(
            f"{text}, after {of_items(self._n_items)} had arrived; see what its source waits for,"
            " or give a longer item_timeout"
        )

    def _close(self) -> BaseException | None:
        """End everything; return the error that the source raised because it was stopped."""
        if not self._child.is_owned:
            return None
        counted, self._counted = self._counted, None  # (which refers to this object)
        if counted is not None:
            counted.close()
        grace = self._options.timeout
        if leaving.has_begun():
            grace = EXIT_SECONDS if grace is None else min(grace, EXIT_SECONDS)
        with HeldInterrupts() as held:
            error = self._remote.close(grace, held)
        held.deliver()
        return error


# What the walk through a streamer has found: a pool may have a million members, walked once.
_surveys: weakref.WeakKeyDictionary[Streamer, tuple] = weakref.WeakKeyDictionary()


def _survey(streamer: Streamer) -> tuple[list, list[Streamer]]:
    found = _surveys.get(streamer)
    if found is None:
        found = _surveys[streamer] = survey(streamer)
    return found
