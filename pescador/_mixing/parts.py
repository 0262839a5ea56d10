"""What a part of a mux has in place of what the whole mux was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from .. import _validate


class PartOfWeights:
    """The weights of every ``count``-th streamer, from one on, of those that a function gives.

    Parameters
    ----------
    function : callable
        Gives the weights of the whole mux.
    n_streams : int
        How many these are.
    index, count : int
        Which of them.
    """

    def __init__(self, function: Callable, n_streams: int, index: int, count: int) -> None:
        self._function, self._n_streams = function, n_streams
        self._index, self._count = index, count

    def __call__(self, n_items: int) -> np.ndarray:
        weights = _validate.weights_at(self._function, n_items, self._n_streams)
        return weights[self._index :: self._count]

    def __repr__(self) -> str:
        which = f"[{self._index}::{self._count}]"
        return f"{getattr(self._function, '__qualname__', 'weights')}(n_items){which}"


def every(streamers: Iterable, index: int, count: int) -> Iterator[Any]:
    """Yield every ``count``-th of some streamers that are read lazily, from one on."""
    yield from islice(streamers, index, None, count)
