"""PyTorch: a dataset for its loaders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

from .. import _validate
from ..core import Streamer
from ..exceptions import PescadorError
from ..sharding import Shard
from ._arrays import with_arrays

__all__ = ["StreamDataset", "tensors"]

_MOST_WORKERS = 256  # of a loader


class StreamDataset(IterableDataset):
    """A streamer as a dataset of PyTorch, for ``DataLoader(dataset, batch_size=None)``.

    Every worker of the loader, on every rank of ``torch.distributed``, gets its own part of the
    tree, made by `pescador.shard`. R ranks with W workers each make R * W parts; without workers, R
    parts. A loop over the loader is an *epoch*: loop n is pass n of ``cycle()`` of the part.

    Parameters
    ----------
    streamer : Streamer
        The whole tree. Its items are what the loop gets: batches, most often.

    Attributes
    ----------
    streamer
        As given.

    Raises
    ------
    PescadorError
        If ``streamer`` is not a streamer. In a loop, if it cannot be divided among so many workers,
        or if torch lacks the dtype of an array.

    See Also
    --------
    tensors : Turns arrays into tensors.
    pescador.shard : Says what each part gets.

    Notes
    -----
    The seed of PyTorch has no effect on the items. Epochs are counted in memory that all workers
    share, so new workers know the number.

    The ``StatefulDataLoader`` of torchdata calls ``state_dict()`` and ``load_state_dict()``. A
    loader that loads a state goes on exactly where the other one stood, if it has the same numbers
    of workers and ranks. The loader of torch itself has no state.

    Examples
    --------
    >>> import numpy as np
    >>> import pescador
    >>> from pescador.adapters.torch import StreamDataset
    >>> from torch.utils.data import DataLoader
    >>> def rows(k):
    ...     for row in range(4):
    ...         yield {"x": np.full(2, 10.0 * k + row)}
    >>> files = [pescador.Streamer(rows, k) for k in range(3)]
    >>> epoch = pescador.StochasticMux(files, 2, None, mode="exhaustive", random_state=0)
    >>> batches = pescador.Streamer(pescador.buffer_stream, epoch, 4)
    >>> loader = DataLoader(StreamDataset(batches), batch_size=None)
    >>> [tuple(batch["x"].shape) for batch in loader]
    [(4, 2), (4, 2), (4, 2)]
    """

    def __init__(self, streamer: Any) -> None:
        if not isinstance(streamer, Streamer):
            remedy = "give a mux, or a Streamer of a map: Streamer(buffer_stream, mux, 32)"
            raise _validate.refuse("streamer", streamer, "is not a streamer", remedy)
        self.streamer = streamer
        # How many epochs each worker has begun, by how many there were.
        shape = _MOST_WORKERS + 1, _MOST_WORKERS
        self._begun = torch.zeros(shape, dtype=torch.int64).share_memory_()
        self._known: tuple[int, int] | None = None  # rank and number of ranks, in a worker
        self._resume_from: dict | None = None
        self._epoch = -1  # that of the stream
        self._stream: Any = None  # the last one

    def __getstate__(self) -> dict:
        # (A worker that is started by "spawn" knows nothing of ranks.)
        return {**vars(self), "_known": self._ranks(), "_stream": None}

    def _ranks(self) -> tuple[int, int]:
        """Return the rank of this process, and how many there are."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return self._known or (0, 1)

    def _worker(self) -> tuple[int, int]:
        """Return which worker this is, and how many there are: none, if this is the program."""
        info = get_worker_info()
        worker, n_workers = (0, 0) if info is None else (info.id, info.num_workers)
        remedy = "give the loader fewer workers"
        return worker, _validate.whole("num_workers", n_workers, 0, remedy, _MOST_WORKERS)

    def _next_epoch(self) -> int:
        """Return the number of the epoch that this worker begins next.

        (What other loops have begun, with other workers, is over.)
        """
        worker, n_workers = self._worker()
        others = torch.cat([self._begun[:n_workers], self._begun[n_workers + 1 :]])
        return int(max(self._begun[n_workers, worker], others.max()))

    def __iter__(self) -> Iterator[Any]:
        (rank, n_ranks), (worker, n_workers) = self._ranks(), self._worker()
        state, self._resume_from = self._resume_from, None
        if state is None:
            state = {"epoch": self._next_epoch(), "stream": None}
        self._epoch, stood = state["epoch"], state["stream"]
        self._begun[n_workers, worker] = self._epoch + 1
        n_parts = max(1, n_workers)  # of a rank
        index, count = rank * n_parts + worker, n_ranks * n_parts
        part = Shard(self.streamer, index, count, self._epoch)
        self._stream = part.iterate() if stood is None else part.resume(stood)
        return map(tensors, self._stream)

    def state_dict(self) -> dict[str, Any]:
        """Return where this dataset stands, in this process.

        Returns
        -------
        dict
            JSON can hold it: ``"epoch"``, and the state of the ``"stream"``, which is None if the
            epoch has not begun.

        Raises
        ------
        PescadorError
            As `pescador.Stream.state_dict` does.
        """
        if self._resume_from is not None:
            return self._resume_from
        if self._stream is None:
            return {"epoch": self._next_epoch(), "stream": None}
        return {"epoch": self._epoch, "stream": self._stream.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next loop go on where a dataset stood.

        Parameters
        ----------
        state : dict
            What `state_dict` returned.

        Raises
        ------
        PescadorError
            If ``state`` is not a state of a dataset.
        """
        if not isinstance(state, Mapping) or set(state) != {"epoch", "stream"}:
            remedy = "give what its state_dict() returned"
            raise _validate.refuse("state", state, "is not a state of a StreamDataset", remedy)
        epoch = _validate.whole("epoch", state["epoch"], 0, "give what state_dict() returned")
        stream = state["stream"]
        if stream is not None and not (isinstance(stream, Mapping) and "pescador" in stream):
            rule, remedy = "is not the state of a stream", "give what state_dict() returned"
            raise _validate.refuse("stream", stream, rule, remedy)
        self._stream, self._resume_from = None, {"epoch": epoch, "stream": stream}


def tensors(item: Any) -> Any:
    """Return an item with tensors in place of arrays.

    Parameters
    ----------
    item : object
        Arrays are found in dicts, lists and tuples, at any depth. Arrays of strings and of objects
        stay as they are, and so does everything else.

    Returns
    -------
    object
        The tensors share the memory of the arrays. Read-only arrays, and arrays with negative
        strides, are copied.

    Raises
    ------
    PescadorError
        If torch lacks the dtype of an array; the error names the key.

    Examples
    --------
    >>> import numpy as np
    >>> from pescador.adapters.torch import tensors
    >>> x = np.zeros(3)
    >>> found = tensors({"x": x, "name": "a"})
    >>> found["x"][0] = 1.0
    >>> x.tolist(), found["name"]
    ([1.0, 0.0, 0.0], 'a')
    """
    return with_arrays(item, _tensor, "item")


def _tensor(array: np.ndarray, name: str) -> Any:
    if not array.flags.writeable or any(_is_odd(array, each) for each in array.strides):
        array = array.copy()
    try:
        return torch.from_numpy(array)
    except (TypeError, ValueError) as error:
        remedy = f"convert it in the source: .astype({_nearest(array.dtype)})"
        rule = f"has the dtype {array.dtype.str!r}, which torch does not have"
        raise PescadorError(f"{name} {rule}; {remedy}") from error


def _is_odd(array: np.ndarray, stride: int) -> bool:
    """Tell whether torch knows no such step from one number to the next."""
    return stride < 0 or stride % array.itemsize != 0


def _nearest(dtype: np.dtype) -> str:
    """Return a type that torch has."""
    if not dtype.isnative:
        return f"np.{dtype.newbyteorder('=').name}"
    likely = {"f": "np.float64", "c": "np.complex128", "i": "np.int64", "u": "np.int64"}
    return likely.get(dtype.kind, "np.int64" if dtype.kind in "mM" else "np.float32")
