"""A background process, and what joins it to this one: a pipe, a socket, shared memory."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

import numpy as np
import zmq

from . import memory
from .channel import Listener
from .child import Child, HeldInterrupts

_MOST_BLOCKS = 1000  # in one order, which must fit into the pipe
PORTS = (49152, 65535, 100)


class Remote:
    """A process that has been started, and invited to connect.

    Parameters
    ----------
    main, task, method
        As for `Child`.
    max_bytes : int
        How far it may run ahead.
    transport : {"ipc", "tcp"}, optional
        How it connects.
    ports : tuple of int
        The lowest and the highest port to choose from, and how many to try; for tcp.
    """

    def __init__(
        self,
        main: Callable,
        task: Any,
        method: str | None,
        max_bytes: int,
        transport: str | None = None,
        ports: tuple[int, int, int] = PORTS,
    ) -> None:
        self.memory: memory.Holder | None = None
        with memory.ForkGuard() as self._fork_guard:
            self.child = Child(main, task, method)
        try:
            self.listener = Listener(transport or _default_transport(), self.child.pid, *ports)
            try:
                self._share_memory(max_bytes)
            except BaseException:
                self.listener.close()
                raise
        except BaseException:
            self.child.close(0)
            raise

    def _share_memory(self, max_bytes: int) -> None:
        """Send the invitation, and the shared memory with it."""
        self.memory = memory.create_for(max_bytes)
        if self.memory is None:
            self.child.send_first(self.listener.invitation(), None)
        else:
            with self.memory.lent() as descriptor:
                self.child.send_first(self.listener.invitation(), descriptor)

    @property
    def descriptors(self) -> list[Any]:
        """What becomes readable when a message may have come, or it has died or reports an error.

        (Where the system has no poll(): the socket, for that of ZeroMQ.)
        """
        socket = self.listener.socket
        return [socket.get(zmq.FD) if hasattr(select, "poll") else socket, *self.child.pollable]

    def send_credit(self, head: bytes) -> bool:
        """Send credit, and tell which blocks are free; False if the pipe is full."""
        freed = [] if self.memory is None else self.memory.take_freed(_MOST_BLOCKS)
        blocks = np.array(freed, "<u8").tobytes()
        if self.child.send(head + blocks):
            return True
        if self.memory is not None:
            self.memory.put_back(freed)  # next time
        return False

    def close(
        self, grace: float | None, held: HeldInterrupts | None = None
    ) -> BaseException | None:
        """End everything; return the error that the source raised because it was stopped."""
        try:
            return self.child.close(grace, held)
        finally:
            self._fork_guard.release()
            self.listener.close()
            if self.memory is not None:
                self.memory.close()


def _default_transport() -> str:
    return "ipc" if zmq.has("ipc") else "tcp"
