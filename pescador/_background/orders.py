"""What both sides know: the orders that the consumer sends over the pipe, and the task."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from ..core import Streamer

POLL_SECONDS = 0.5  # between two looks at whether the other side still lives

STOP, SEND_ERROR = b"stop", b"send error"  # every other order goes to `Parent.receive`
OTHER = b"E"  # the first byte of what the process sends that is no part of a report
CREDIT, FLUSH = b"c", b"f"  # by their first byte
CREDIT_HEAD = struct.Struct("<Q")  # bytes handed out; offsets of free blocks follow


class Task(NamedTuple):
    """What the background process has to do."""

    streamer: Streamer
    seed: tuple[bytes, bytes, list]
    place: int
    number: int
    position: Any  # where to begin
    max_bytes: int
    one_shots: list[Any]  # the streamers below it that can be started only once
    is_metered: bool = False  # whether to tell what the muxes do
