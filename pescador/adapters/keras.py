"""Keras: a dataset for ``fit``, ``evaluate`` and ``predict``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from .. import _validate
from ..core import Streamer
from ..exceptions import DataError
from ._epochs import Epochs

__all__ = ["StreamDataset"]

Keys = str | Sequence[str] | None

_BUILDING = "symbolic_build"  # of Keras, which builds a model
_MOST_AHEAD = 16  # batches, read by an iterator of TensorFlow that nobody reads from


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
        How many batches an epoch has. The next epoch goes on where the last one ended. A stream
        that ends begins again. None: an epoch is the whole stream, from its beginning, as for
        validation. The stream must end: its batches, at most 100,000, are counted by one pass
        before the first use.

    Attributes
    ----------
    streamer, steps
        As given.

    Raises
    ------
    PescadorError
        If an argument is wrong; if the stream has no batches, or too many to be counted.
    DataError
        In use, if a batch is not a mapping, or lacks a key.

    Notes
    -----
    Batches come in the order of the stream, for any index, so ``shuffle`` has no effect. Keras
    reads a batch to build a model before it begins an epoch. You can do so too: ``dataset[0]`` is
    the next batch, and comes again in the epoch.

    With the TensorFlow backend, Keras reads ahead in a thread. Still no batch is lost or repeated,
    except in an epoch that is stopped in the middle: it loses what was read ahead, and a warning
    is logged.

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
        if not isinstance(streamer, Streamer):
            remedy = "give a Streamer of batches: Streamer(buffer_stream, mux, 32)"
            raise _validate.refuse("streamer", streamer, "is not a streamer", remedy)
        given = {"inputs": inputs, "outputs": outputs, "weights": weights}
        if inputs is None:
            raise _validate.refuse("inputs", inputs, "must not be None", "give the keys of x")
        if outputs is None and weights is not None:
            rule, remedy = "are the weights of outputs, and outputs=None", "give both, or neither"
            raise _validate.refuse("weights", weights, rule, remedy)
        self._getters = [_getter(name, keys) for name, keys in given.items() if keys is not None]
        if steps is not None:
            steps = _validate.whole("steps", steps, 1, "give the number of batches of an epoch")
        self.streamer, self.steps = streamer, steps
        self._reads_ahead = keras.backend.backend() == "tensorflow"
        n_kept = _MOST_AHEAD if self._reads_ahead else 0
        self._epochs = Epochs(streamer, steps, self._convert, n_kept)
        self._turn: object | None = None  # whose the batches of the epoch are
        self._is_used = False  # whether a batch of this epoch went further than to a new model
        self._n_built = 0  # batches of this epoch that went there

    def _convert(self, batch: Any) -> tuple:
        if not isinstance(batch, Mapping):
            rule, remedy = "is not a mapping", "give a streamer of batches: dicts of arrays"
            raise DataError(_validate.explain("batch", batch, rule, remedy))
        return tuple(get(batch) for get in self._getters)

    def __len__(self) -> int:
        return self._epochs.size

    def __getitem__(self, index: int) -> tuple:
        # (TensorFlow reads in threads, by several iterators at once: each is known by its frame.)
        reader = _frame_of("_finite_generator") if self._reads_ahead else None
        reader = reader or self._turn
        if reader is None:
            return self._epochs.look(index)
        if not self._is_used and _frame_of(_BUILDING) is not None:
            self._n_built += 1
            return self._epochs.look(self._n_built - 1)
        self._is_used = True
        return self._epochs.take(reader)

    def __iter__(self) -> Any:
        self.on_epoch_begin()
        self._turn = object()
        try:
            for index in range(len(self)):
                yield self[index]
        finally:
            self.on_epoch_end()

    def on_epoch_begin(self) -> None:
        """Begin an epoch; Keras calls it."""
        is_building = self._reads_ahead and _frame_of(_BUILDING) is not None
        self._epochs.begin(is_building)
        self._is_used, self._n_built = False, 0
        self._turn = None if self._reads_ahead else object()

    def on_epoch_end(self) -> None:
        """End an epoch; Keras calls it."""
        self._epochs.end()
        self._turn = None

    def state_dict(self) -> dict[str, Any]:
        """Return where the dataset stands, between batches; with TensorFlow, between epochs.

        Returns
        -------
        dict
            JSON can hold it. A batch that was only looked at (``dataset[0]``) will come again.

        Raises
        ------
        PescadorError
            As `pescador.Stream.state_dict` does. With TensorFlow, if Keras has read ahead in an
            epoch.
        """
        return {"stream": self._epochs.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a dataset stood; only with ``steps``: else each epoch begins anew.

        Parameters
        ----------
        state : dict
            What `state_dict` returned.

        Raises
        ------
        PescadorError
            If ``state`` is not a state of a dataset, or does not fit the streamer.
        """
        if not isinstance(state, Mapping) or set(state) != {"stream"}:
            remedy = "give what its state_dict() returned"
            raise _validate.refuse("state", state, "is not a state of a StreamDataset", remedy)
        self._epochs.resume(state["stream"])


def _frame_of(name: str) -> Any:
    """Return the frame of the function that asks for a batch and has such a name, if there is."""
    frame: Any = sys._getframe(2)
    while frame is not None and not frame.f_code.co_name.endswith(name):
        frame = frame.f_back
    return frame


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
            rule = f"has no key {error}, which is in {name}"
            remedy = f"its keys are {sorted(map(str, batch))}"
            raise DataError(f"a batch {rule}; {remedy}") from error

    return get
