"""The words that both sides of a pipe know."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from ..core import Streamer

LOOK = 0.5  # seconds between two looks at whether the other side still lives

STOP, ASK = b"stop", b"ask"  # orders; all others go to the receiver that `Host` was given
CREDIT, NUDGE = b"c", b"n"  # orders, by their first byte
CREDIT_HEAD = struct.Struct("<Q")


class Start(NamedTuple):
    """Where to begin: ``skip`` items after a position, which is that after ``n_given`` items."""

    n_given: int = 0
    position: Any = 0
    skip: int = 0


class Task(NamedTuple):
    """What the background process is told to do, along with its start."""

    streamer: Streamer
    seed: tuple[bytes, bytes, list]
    place: int
    number: int
    start: Start
    max_bytes: int
    one_shots: list[Any]  # streamers below it that can be started only once
