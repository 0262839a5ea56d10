"""Items to messages: a dict of arrays becomes frames, as `frames` describes them."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy import ndarray

from .frames import (
    HEAD,
    LARGE,
    MESSAGE,
    MOST_ITEMS,
    MOST_LAYOUTS,
    OVERHEAD,
    RUN,
    SHARED_MESSAGE,
    Kind,
)
from .layouts import Field, Layout, NotPortable, arrays_of, as_array, order_of, refused


class Allocates(Protocol):
    """Shared memory, as the side that writes it knows it."""

    def allocate(self, n_bytes: int) -> int | None:
        """Return the offset of a free block; None if there is none."""

    def view(self, offset: int, n_bytes: int) -> ndarray:
        """Return a block as an array of bytes."""

    def write(self, offset: int, array: ndarray) -> None:
        """Write the values of an array, in C order and of a dtype that is a buffer."""


class Packer:
    """Turns items into messages, the values copied at once: a source may reuse its arrays.

    Parameters
    ----------
    memory : Allocates, optional
        Where the values of large items go. Without it, or when it is full, they go into the
        message.
    max_message : float
        Bytes after which a message is full, if that is less than usual.
    capacity : int
        Bytes after which a message is full, of those that are in it.
    """

    def __init__(
        self,
        memory: Allocates | None = None,
        max_message: float = math.inf,
        capacity: int = MESSAGE,
    ) -> None:
        self._memory = memory
        self._capacity = capacity
        self._max_message = max_message
        self._layouts: dict[tuple, Layout] = {}
        self._first = 0  # the number of the first item of the message
        self._runs: list[_Run] = []
        self._reset()

    def _reset(self) -> None:
        self._first += self.n_waiting
        self._runs = []
        self._run: _Run | None = None
        self._keys: tuple | None = None  # of the run, if it takes the fast path
        self._types: list | None = None  # of these keys, as of a layout
        self._quick: list = []  # for each key: (write, dtype, shape, scalars that are written so)
        self.fullness = 0.0  # of the message: 0.0 = empty, 1.0 = send now

    @property
    def n_items(self) -> int:
        """The number of items that have been added."""
        return self._first + self.n_waiting

    @property
    def n_waiting(self) -> int:
        """How many items are in the message."""
        return sum(run.n_items for run in self._runs)

    def add(self, item: Any, number: int | None = None) -> int:
        """Put an item into the message; return what it costs.

        ``number`` is that of the item, for errors, if it is not how many have been added before.

        Raises
        ------
        DataError
            If it cannot cross. It names the number of the item and the key; the message is as
            it was before.
        """
        if (
            type(item) is dict
            and tuple(item) == self._keys
            and (self._types is None or [*map(type, item)] == self._types)
        ):
            run = self._run
            assert run is not None
            try:
                for value, (write, dtype, shape, scalars) in zip(item.values(), self._quick):
                    if type(value) is not ndarray:
                        to_bytes = scalars.get(type(value))
                        if to_bytes is not None:
                            write(to_bytes(value))
                            continue
                        value = as_array(value)
                    if (value.dtype is not dtype and value.dtype != dtype) or value.shape != shape:
                        break
                    write(value)
                else:
                    run.n_items += 1
                    self.fullness += run.share
                    return run.cost
            except (ValueError, TypeError, BufferError, struct.error):
                pass  # not contiguous, too large, or not an array: the slow path says what is wrong
            except BaseException:
                run.rewind()
                raise
            run.rewind()
        run = self._run
        if run is not None and run.is_shared and self._write_alike(run, item):
            return self._count()
        return self._add(item, self.n_items if number is None else number)

    def _add(self, item: Any, number: int) -> int:
        arrays = arrays_of(item, number)
        layout = self._layout_of(arrays, number)
        if layout.n_bytes >= LARGE and self._memory is not None:
            offset = self._memory.allocate(layout.block_size)
            if offset is not None:
                self._write(layout, offset, arrays)
                return self._count()
        values = (
            field.stored(array).tobytes() for field, array in zip(layout.fields, arrays.values())
        )
        if layout.n_bytes >= LARGE:  # a run of its own: its bytes are sent without a copy
            self._begin(_Run(layout, [io.BytesIO(each) for each in values]))
            return self._count()
        if self._run is None or self._run.layout is not layout or self._run.is_shared:
            self._begin(_Run(layout, [io.BytesIO() for _ in layout.fields]))
        assert self._run is not None
        try:
            for column, value in zip(self._run.columns, values):
                column.write(value)
        except BaseException:
            self._run.rewind()
            raise
        return self._count()

    def _count(self) -> int:
        run = self._run
        assert run is not None
        run.n_items += 1
        self.fullness += run.share
        return run.cost

    def _begin(self, run: _Run) -> None:
        capacity = SHARED_MESSAGE if run.is_shared else self._capacity
        run.share = max(run.cost / min(capacity, self._max_message), 1 / MOST_ITEMS)
        self._run = run
        self._runs.append(run)
        self._keys = run.layout.keys if run.is_quick else None
        self._types = run.layout.types
        self._quick = [
            (column.write, field.dtype, field.shape, _scalars_of(field))
            for column, field in zip(run.columns, run.layout.fields)
        ]

    def _write_alike(self, run: _Run, item: Any) -> bool:
        """Write a large item, if it looks like the one before; tell whether that was possible."""
        layout, memory = run.layout, self._memory
        if not layout.places or type(item) is not dict or tuple(item) != layout.keys:
            return False
        if layout.types and [*map(type, item)] != layout.types:
            return False
        values = [*item.values()]
        for value, (_, dtype, shape) in zip(values, layout.places):
            is_same = type(value) is ndarray and value.dtype == dtype and value.shape == shape
            if not (is_same and value.flags.c_contiguous):
                return False
        assert memory is not None
        offset = memory.allocate(layout.block_size)
        if offset is None:
            return False
        for value, (start, _, _) in zip(values, layout.places):
            memory.write(offset + start, value)
        run.offsets.append(offset)
        return True

    def _write(self, layout: Layout, offset: int, arrays: dict) -> None:
        if self._run is None or self._run.layout is not layout or not self._run.is_shared:
            self._begin(_Run(layout, None))
        assert self._run is not None and self._memory is not None
        block = self._memory.view(offset, layout.block_size)
        for field, start, array in zip(layout.fields, layout.offsets, arrays.values()):
            target: ndarray = ndarray(field.shape, field.dtype, block, start)
            np.copyto(target, field.stored(array))
        self._run.offsets.append(offset)

    def _layout_of(self, arrays: dict, number: int) -> Layout:
        forms = tuple((key, array.dtype, *order_of(array)) for key, array in arrays.items())
        # (1 equals True, and dtypes with and without metadata are equal: so are their layouts.)
        layout = self._layouts.get(forms)
        if layout is None:
            if len(self._layouts) >= MOST_LAYOUTS:
                self._layouts.clear()
            try:
                layout = self._layouts[forms] = Layout.of(forms)
            except NotPortable as error:
                key, why = error.args
                raise refused(number, key, arrays[key], why) from why
        return layout

    def take(self, counts: bytes = b"") -> list[bytes]:
        """Return the frames of the message, and begin another one.

        ``counts`` is what the muxes have done for its items.
        """
        runs = [run for run in self._runs if run.n_items]  # (a first item may have failed)
        cost = sum(run.n_items * run.cost for run in runs)
        kind = Kind.COUNTED if counts else Kind.DATA
        head = [HEAD.pack(kind, self._first, cost, len(runs))]
        frames = [b"", counts] if counts else [b""]
        for run in runs:
            head.append(RUN.pack(run.n_items, run.is_shared))
            frames.append(run.layout.header)
            if run.is_shared:
                head.append(np.array(run.offsets, "<u8").tobytes())
            else:
                frames += [column.getvalue() for column in run.columns]
        frames[0] = b"".join(head)
        self._reset()
        return frames

    def mark(self, kind: int) -> list[bytes]:
        """Return the frames of a message that says how the stream ended, and after how many."""
        return [HEAD.pack(kind, self.n_items, 0, 0)]

    def note(self, kind: Kind, text: bytes) -> list[bytes]:
        """Return the frames of a message that has a text: a position, or a warning."""
        return [*self.mark(kind), text]


# What makes the bytes of Python's numbers, by the dtypes that NumPy gives them.
_BYTES_OF: dict[np.dtype, dict[type, Callable[[Any], Any]]] = {
    np.asarray(0).dtype: {int: struct.Struct("=q" if np.asarray(0).itemsize == 8 else "=i").pack},
    np.asarray(0.0).dtype: {float: struct.Struct("=d").pack},
}


def _scalars_of(field: Field) -> dict[type, Callable[[Any], Any]]:
    """Return, by their types, what gives the bytes of scalars that fit a field."""
    dtype = field.dtype
    if field.shape or dtype.kind not in "biufc" or not dtype.isnative:
        return {}
    return {dtype.type: memoryview, **_BYTES_OF.get(dtype, {})}


class _Run:
    """Items of one layout, in the making."""

    __slots__ = (
        "columns",
        "cost",
        "is_quick",
        "is_shared",
        "layout",
        "n_items",
        "offsets",
        "share",
    )

    def __init__(self, layout: Layout, columns: list[io.BytesIO] | None) -> None:
        self.layout = layout
        self.is_shared = columns is None
        self.n_items = 0
        self.offsets: list[int] = []
        self.columns = columns or []
        self.cost = layout.n_bytes + OVERHEAD
        self.share = 0.0  # of a message, that one item takes
        self.is_quick = layout.is_plain and layout.n_bytes < LARGE

    def rewind(self) -> None:
        """Take back the values of an item that was not added whole."""
        for column, field in zip(self.columns, self.layout.fields):
            column.seek(self.n_items * field.n_bytes)
            column.truncate()
