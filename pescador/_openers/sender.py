"""What a worker elsewhere makes, packed into messages: items, and whose they are."""

from __future__ import annotations

import json
import struct
import threading
import time
from array import array
from typing import Any

from .._background.frames import bundle
from .._background.inside import pickled, told
from .._background.packing import Packer
from .orders import Marks

ERROR_HEAD = struct.Struct("<QQ")  # whose, and how many bytes of text there are
_SHORT = 2**15  # bytes of a message that is sent in one piece


class Sender(Marks):
    """Packs what a bench hands over, and sends it when it is time.

    Parameters
    ----------
    packer : Packer
        Makes frames of items.
    hold : float
        Seconds that items are held for company, unless the caller waits.
    """

    under_way = 2e-3  # seconds, after which what was sent has left the process

    def __init__(self, packer: Packer, hold: float) -> None:
        self._packer = packer
        self._hold = hold
        self._lock = threading.Lock()
        self._is_wanted = False  # somebody wants what was taken to be sent
        self._whose = array("I")  # activations, each followed by how many items in a row
        self._marks: list[list] = []
        self._sent = time.monotonic()

    def _prepare(self) -> None:
        """Do what is to be done before each item."""

    def _finish_marks(self, marks: list[list]) -> None:
        """Add what else is to be told in a message."""

    def _send(self, frames: list[bytes]) -> None:
        """Send a message."""
        raise NotImplementedError

    def add(self, activation: int, item: Any, number: int) -> int:
        """Take an item, copied; return what it costs, in bytes."""
        with self._lock:
            self._prepare()
            cost = self._packer.add(item, number)
            whose = self._whose
            if whose and whose[-2] == activation:
                whose[-1] += 1
            else:
                whose.extend((activation, 1))
            if self._packer.fullness >= 1:
                self._flush()
        if self._is_wanted:
            self._flush_if_wanted()
        return cost

    def mark(self, kind: str, activation: int, *facts: Any) -> None:
        """Tell what has become of an activation."""
        with self._lock:
            self._marks.append([kind, activation, *facts])
        if self._is_wanted:
            self._flush_if_wanted()

    def is_due(self) -> bool:
        """Tell whether it is time to send what was taken."""
        return time.monotonic() - self._sent > self._hold

    def flush(self) -> None:
        """Send what was taken, now; or let the thread do so that is just taking or sending."""
        self._is_wanted = True
        self._flush_if_wanted()

    def _flush_if_wanted(self) -> None:
        # (Whoever finds the lock taken leaves it to its owner, who looks after letting go of it.)
        while self._is_wanted and self._lock.acquire(blocking=False):
            try:
                self._is_wanted = False
                self._flush()
            finally:
                self._lock.release()

    def _flush(self) -> None:
        self._finish_marks(self._marks)
        if not (self._whose or self._marks):
            return
        marks = json.dumps(self._marks).encode() if self._marks else b""
        head, items = [self._whose.tobytes(), marks], []
        if self._whose:
            items = self._packer.take()
        if sum(map(len, items)) < _SHORT:
            head, items = head + items, []
        self._whose, self._marks = array("I"), []
        self._send([bundle(head), *items])
        self._sent = time.monotonic()


def as_report(activation: int, error: BaseException) -> bytes:
    """Return an error of an activation, as it travels."""
    text = json.dumps(told(error)).encode()
    return ERROR_HEAD.pack(activation, len(text)) + text + pickled(error)
