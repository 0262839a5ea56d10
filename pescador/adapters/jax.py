"""JAX: batches on the device, some of them ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from .. import _validate
from .._repr import is_streamer
from ..core import Stream
from ..exceptions import PescadorError
from ._arrays import with_arrays

__all__ = ["DeviceIterator", "device_iterator"]


def device_iterator(stream: Any, size: int = 2, sharding: Any = None) -> DeviceIterator:
    """Iterate a stream, and copy its next batches to the device before their turn.

    Parameters
    ----------
    stream : Stream
        What `pescador.Streamer.iterate`, ``cycle`` or ``resume`` returns, of batches.
    size : int >= 1
        How many batches are on the device, or on their way, besides the one that was handed out.
    sharding : jax.sharding.Sharding or jax.Device, optional
        Where arrays go, as for ``jax.device_put``: a ``NamedSharding`` over a mesh divides them.
        None: JAX's default device.

    Returns
    -------
    DeviceIterator
        An iterator over the batches.

    Raises
    ------
    PescadorError
        If an argument is wrong. In a loop, if JAX lacks the dtype of an array; the error names the
        key.

    Notes
    -----
    JAX copies in the background, so the next batch is copied while a step runs. Dtypes are those of
    JAX: without ``jax_enable_x64``, 64 bits become 32.

    Examples
    --------
    >>> import numpy as np
    >>> import pescador
    >>> from pescador.adapters.jax import device_iterator
    >>> batches = pescador.Streamer([{"x": np.full(3, n)} for n in range(4)])
    >>> [int(batch["x"].sum()) for batch in device_iterator(batches.iterate())]
    [0, 3, 6, 9]
    """
    return DeviceIterator(stream, size, sharding)


class DeviceIterator(Iterator):
    """An iterator over batches on the device, as ``device_iterator`` makes it.

    Parameters
    ----------
    stream : Stream
        What is read.
    size : int
        How many batches are read ahead.
    sharding : object
        Where batches go, as for ``device_iterator``.

    Raises
    ------
    PescadorError
        As ``device_iterator`` says.

    Examples
    --------
    >>> import numpy as np
    >>> import pescador
    >>> from pescador.adapters.jax import device_iterator
    >>> batches = pescador.Streamer([{"x": np.full(3, n)} for n in range(4)])
    >>> with device_iterator(batches.iterate()) as on_device:
    ...     first = next(on_device)
    ...     state = on_device.state_dict()
    >>> [int(batch["x"][0]) for batch in batches.resume(state)]
    [1, 2, 3]
    """

    def __init__(self, stream: Any, size: int, sharding: Any) -> None:
        if not isinstance(stream, Stream):
            rule, remedy = "is not a stream", "give streamer.iterate(), cycle() or resume(state)"
            if is_streamer(stream):
                rule = "is a streamer, not a stream"
            raise _validate.refuse("stream", stream, rule, remedy)
        if sharding is not None and not isinstance(sharding, (jax.Device, jax.sharding.Sharding)):
            remedy = "give a jax.sharding.Sharding, a jax.Device, or None"
            raise _validate.refuse("sharding", sharding, "is not a sharding", remedy)
        self._size = _validate.whole("size", size, 1, "give a number of batches")
        self._stream, self._sharding = stream, sharding
        self._is_cpu = "cpu" in _platforms(sharding)  # where JAX uses the memory of an array
        self._ahead: deque[tuple[Any, Any]] = deque()  # batches, and the states after them
        self._state = self._state_now()
        self._is_over = False
        self._error: Exception | None = None  # that is to come after what is ahead

    def __next__(self) -> Any:
        while not self._is_over and len(self._ahead) <= self._size:
            self._read()
        if self._ahead:
            batch, self._state = self._ahead.popleft()
            return batch
        error, self._error = self._error, None
        raise error or StopIteration

    def _read(self) -> None:
        """Put another batch on the device; an error is raised in its turn."""
        if self._ahead:  # (the source may use its arrays again, once they have been copied)
            jax.block_until_ready(self._ahead[-1][0])
        try:
            batch = with_arrays(next(self._stream), self._put, "batch")
        except StopIteration:
            self._is_over = True
        except Exception as error:
            self._is_over, self._error = True, error
            self._stream.close()
        else:
            self._ahead.append((batch, self._state_now()))

    def _state_now(self) -> Any:
        """Return the state of the stream, or why there is none."""
        try:
            return self._stream.state_dict()
        except PescadorError as error:
            return error.with_traceback(None)

    def _put(self, array: np.ndarray, name: str) -> Any:
        try:
            return jax.device_put(array.copy() if self._is_cpu else array, self._sharding)
        except (TypeError, ValueError) as error:
            what = f"{name}, of dtype {array.dtype.str!r} and shape {array.shape},"
            raise PescadorError(f"{what} cannot be put on the device: {error}") from error

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream stood after the last batch that was handed out.

        Returns
        -------
        dict
            For `pescador.Streamer.resume`, as from `pescador.Stream.state_dict`. Batches that are
            ahead will be read again.

        Raises
        ------
        PescadorError
            As `pescador.Stream.state_dict` does.
        """
        if isinstance(self._state, PescadorError):
            raise self._state
        return self._state

    def __enter__(self) -> DeviceIterator:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the stream, and drop the batches that are ahead."""
        self._is_over = True
        self._ahead.clear()
        self._stream.close()


def _platforms(sharding: Any) -> set[str]:
    """Return where arrays go."""
    if sharding is None:
        return {jax.default_backend()}
    devices = sharding.device_set if isinstance(sharding, jax.sharding.Sharding) else [sharding]
    return {device.platform for device in devices}
