"""Keras: a dataset for ``fit``, ``evaluate`` and ``predict``."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from .. import _validate
from ..core import Streamer
from ..exceptions import DataError, PescadorError

__all__ = ["StreamDataset"]

Keys = str | Sequence[str] | None

_MOST_COUNTED = 100_000  # batches: a stream that has more may be endless


class StreamDataset(keras.utils.PyDataset):
    """A streamer of batches as a dataset of Keras, for ``fit``, ``evaluate`` and ``predict``.

    Parameters
    ----------
    streamer : Streamer
        Gives batches: dicts of arrays.
    inputs, outputs, weights : str or sequence of str, optional
        The keys of x, y and the sample weights. A string gives an array, a sequence of strings a
        tuple of arrays. Without ``outputs`` there is x alone, for ``predict``.
    steps : int >= 1, optional
        How many batches an epoch has. The next epoch has the next ones; a stream that ends begins
        again. None: an epoch is the whole stream, which must end, and begins anew each time: for
        validation. Its batches, at most 100,000, are counted by one pass before the first use.

    Attributes
    ----------
    streamer, steps
        As given.

    Raises
    ------
    PescadorError
        If an argument is wrong; if the stream has no batches, or too many to be counted; if the
        backend is TensorFlow, where Keras reads past the end of an epoch, and drops what it has
        read.
    DataError
        In use, if a batch is no mapping, or lacks a key.

    Notes
    -----
    Batches come in the order of the stream, whatever index is asked for, so that ``shuffle`` has
    no influence. Keras reads a batch to build a model before it begins an epoch, and so may you:
    ``dataset[0]`` is the next batch, and comes again in the epoch.

    Examples
    --------
    >>> import numpy as np
    >>> import pescador
    >>> from pescador.adapters.keras import StreamDataset
    >>> rows = [{"X": np.full(2, float(n)), "Y": n % 2} for n in range(8)]
    >>> batches = pescador.Streamer(pescador.buffer_stream, rows, 4)
    >>> dataset = StreamDataset(batches, "X", "Y")
    >>> len(dataset), [y.tolist() for x, y in dataset]
    (2, [[0, 1, 0, 1], [0, 1, 0, 1]])
    """

    def __init__(
        self,
        streamer: Any,
        inputs: Keys,
        outputs: Keys = None,
        weights: Keys = None,
        steps: int | None = None,
    ) -> None:
        super().__init__()
        if keras.backend.backend() == "tensorflow":
            raise PescadorError(
                "with TensorFlow as its backend, Keras reads past the end of an epoch, and drops"
                " what it has read, so that batches would be lost; set KERAS_BACKEND to torch or"
                " jax, or give fit() a stream of pescador.keras_tuples"
            )
        if not isinstance(streamer, Streamer):
            remedy = "give a Streamer of batches: Streamer(buffer_stream, mux, 32)"
            raise _validate.refuse("streamer", streamer, "is not a streamer", remedy)
        given = {"inputs": inputs, "outputs": outputs, "weights": weights}
        if inputs is None:
            raise _validate.refuse("inputs", inputs, "must not be None", "give the keys of x")
        if outputs is None and weights is not None:
            rule, remedy = "weigh the outputs, of which there are none", "give both, or neither"
            raise _validate.refuse("weights", weights, rule, remedy)
        self._getters = [_getter(name, keys) for name, keys in given.items() if keys is not None]
        if steps is not None:
            steps = _validate.whole("steps", steps, 1, "give the number of batches of an epoch")
        self.streamer, self.steps = streamer, steps
        self._lock = threading.Lock()
        self._n_batches = steps
        self._stream: Any = None
        # Batches that were read, and are to come; each with the state before it.
        self._ahead: list[tuple[tuple, Any]] = []
        self._is_in_epoch = False
        self._is_used = False  # whether a batch of this epoch went further than to a new model
        self._n_built = 0  # batches that Keras has read to build one

    def __len__(self) -> int:
        if self._n_batches is None:
            self._n_batches = self._count()
        return self._n_batches

    def _count(self) -> int:
        with self.streamer.iterate() as stream:
            n_batches = sum(1 for _ in itertools.islice(stream, _MOST_COUNTED + 1))
        if n_batches > _MOST_COUNTED:
            rule = f"has more than {_MOST_COUNTED:,} batches, if it ends at all"
            raise _validate.refuse("streamer", self.streamer, rule, "give steps")
        if not n_batches:
            rule, remedy = "has no batches", "see whether its sources are empty"
            raise _validate.refuse("streamer", self.streamer, rule, remedy)
        return n_batches

    def __getitem__(self, index: int) -> tuple:
        with self._lock:
            if not self._is_in_epoch:
                return self._look_ahead(index)
            if not self._is_used and _is_building():
                self._n_built += 1
                return self._look_ahead(self._n_built - 1)
            self._is_used = True
            return self._ahead.pop(0)[0] if self._ahead else self._read()

    def __iter__(self) -> Any:
        self.on_epoch_begin()
        try:
            for index in range(len(self)):
                yield self[index]
        finally:
            self.on_epoch_end()

    def _look_ahead(self, index: int) -> tuple:
        """Return a batch that is to come."""
        while len(self._ahead) <= index:
            state = self._state_of_stream()
            self._ahead.append((self._read(), state))
        return self._ahead[index][0]

    def _read(self) -> tuple:
        """Read a batch of the stream."""
        if self._stream is None:
            self._stream = self._start()
        batch = next(self._stream, None)
        if batch is None:
            raise PescadorError(
                f"{_validate.short(self.streamer)} has ended after {self._stream.n_given} batches,"
                f" of {self._n_batches}; give steps, and a stream that gives as many each time"
            )
        if not isinstance(batch, Mapping):
            rule, remedy = "is no mapping", "give a streamer of batches: dicts of arrays"
            raise DataError(_validate.explain("batch", batch, rule, remedy))
        return tuple(get(batch) for get in self._getters)

    def _start(self) -> Any:
        return self.streamer.iterate() if self.steps is None else self.streamer.cycle()

    def on_epoch_begin(self) -> None:
        """Begin an epoch; Keras calls it."""
        with self._lock:
            self._is_in_epoch, self._is_used, self._n_built = True, False, 0
            if self.steps is None:
                self._restart(None)

    def on_epoch_end(self) -> None:
        """End an epoch; Keras calls it."""
        with self._lock:
            self._is_in_epoch = False

    def _restart(self, state: dict | None) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = None if state is None else self.streamer.resume(state)
        self._ahead = []

    def _state(self) -> Any:
        return self._ahead[0][1] if self._ahead else self._state_of_stream()

    def _state_of_stream(self) -> Any:
        return None if self._stream is None else self._stream.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """Return where the dataset stands, between two batches.

        Returns
        -------
        dict
            As JSON can hold it. What was looked at, and did not come yet, is to come again.

        Raises
        ------
        PescadorError
            As `pescador.Stream.state_dict` does.
        """
        with self._lock:
            return {"stream": self._state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a dataset stood; with ``steps`` alone, since else each epoch begins anew.

        Parameters
        ----------
        state : dict
            What `state_dict` returned.

        Raises
        ------
        PescadorError
            If it is no such state, or does not fit the streamer.
        """
        if not isinstance(state, Mapping) or set(state) != {"stream"}:
            rule, remedy = "is no state of a StreamDataset", "give what its state_dict() returned"
            raise _validate.refuse("state", state, rule, remedy)
        with self._lock:
            self._restart(state["stream"])


def _is_building() -> bool:
    """Tell whether Keras asks for a batch only in order to build a model."""
    frame: Any = sys._getframe(2)
    while frame is not None and not frame.f_code.co_name.endswith("symbolic_build"):
        frame = frame.f_back
    return frame is not None


def _getter(name: str, keys: Any) -> Callable[[Mapping], Any]:
    """Return what gets the values of some keys out of a batch."""
    is_one = isinstance(keys, str)
    if not is_one and not (
        isinstance(keys, Sequence) and keys and all(isinstance(key, str) for key in keys)
    ):
        rule = "must be a string or a sequence of strings"
        raise _validate.refuse(name, keys, rule, "give keys of the batches")

    def get(batch: Mapping) -> Any:
        try:
            return batch[keys] if is_one else tuple(map(batch.__getitem__, keys))
        except KeyError as error:
            rule = f"has no key {error}, which {name} asks for"
            remedy = f"its keys are {sorted(map(str, batch))}"
            raise DataError(f"a batch {rule}; {remedy}") from error

    return get
