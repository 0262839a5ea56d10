"""What has come from a worker elsewhere: messages and errors, as a window takes them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np

from .._background.child import RemoteTraceback, unpickled
from .._background.frames import Unpacker, unbundled
from .._background.warned import retold
from .._repr import of_items
from ..exceptions import WorkerError
from .activation import Batch
from .sender import ERROR_HEAD

_REMEDY = "read the stream again, or resume it from a state"


class Receiver:
    """Reads the messages of one worker, and sees that none of its items is lost.

    Parameters
    ----------
    name : str
        What the worker is called.
    unpacker : Unpacker
        Makes items of frames.
    """

    def __init__(self, name: str, unpacker: Unpacker) -> None:
        self.name = name
        self.n_items = 0  # that have come
        self._unpacker = unpacker

    def take(self, frames: list[bytes], window: Any, worker: Any) -> None:
        """Hand over a message."""
        whose, marks, *rest = unbundled(frames[0])
        batches: list[Batch] = []
        if rest or len(frames) > 1:
            message = self._unpacker.message([*rest, *frames[1:]])
            if message.first != self.n_items:
                text = f"{self.name} sent {of_items(message.first)}, and {self.n_items} arrived"
                raise WorkerError(f"{text}: some are lost; {_REMEDY}")
            self.n_items += message.n_items
            runs = np.frombuffer(whose, "=u4").reshape(-1, 2).tolist()
            if sum(n_items for _, n_items in runs) != message.n_items:
                what = "items, but not which source each of them comes from"
                raise WorkerError(f"{self.name} sent {what}; {_REMEDY}")
            batches = _batches(runs, message)
        told = json.loads(bytes(marks)) if marks else []
        window.take(worker, batches, [each for each in told if each[0] != "warning"])
        for kind, *facts in told:
            if kind == "warning":  # last: the program's filters may make errors of them
                retold(facts[0].encode())


def _batches(runs: list[list[int]], message: Any) -> list[Batch]:
    """Return the items of a message, those in a row of one activation together."""
    cost = message.cost / message.n_items
    return [
        Batch(activation, list(itertools.islice(message.items, n_items)), int(cost * n_items))
        for activation, n_items in runs
    ]


def as_mark(report: bytes) -> tuple:
    """Return an error of an activation, as a window takes it."""
    start = ERROR_HEAD.size
    name, n_bytes = ERROR_HEAD.unpack_from(report)
    told = json.loads(report[start : start + n_bytes])
    error = unpickled(report[start + n_bytes :], told)
    # (not by the class of the error, which may refuse attributes)
    BaseException.__setattr__(error, "__cause__", RemoteTraceback(told["text"]))
    return "error", name, error
