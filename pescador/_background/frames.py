"""A dict of arrays to byte frames, and back. No sockets, no processes, no pickle.

A message is a list of frames: a head, and for each *run* (items in a row that have the same keys,
dtypes, shapes and memory order) its layout, followed by one frame a key with the values of all
its items one after the other. The values of large items are not in the message: the head says
where in the shared memory they are.
"""

from __future__ import annotations

import enum
import io
import math
import struct
from array import array as c_array
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise, repeat
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy import ndarray

from ..exceptions import WorkerError
from .layouts import Field, Layout, NotPortable, arrays_of, as_array, order_of, refused


class Kind(enum.IntEnum):
    """What a message is for."""

    DATA = 1  # items
    FAILED = 2  # the source has failed
    ENDED = 3  # the source has no more items
    POSITION = 4  # where the source stands, between two items
    WARNING = 5  # what was warned of there
    COUNTS = 6  # what the muxes have done, after the last item
    FAILURE = 7  # a source has failed, and was replaced
    COUNTED = 8  # items, and what the muxes have done for them


LARGE = 2**13  # bytes of an item from which it goes through shared memory
MESSAGE = 2**16  # bytes after which a message is full
SHARED_MESSAGE = 2**23  # the same, in shared memory
MOST_ITEMS = 2**10  # in one message
OVERHEAD = 128  # bytes that an item counts for, beyond its values

_HEAD = struct.Struct("<BQQI")  # kind, number of the first item, cost, number of runs
_RUN = struct.Struct("<IB")  # number of items, whether in shared memory
_BUNDLE = struct.Struct("=I")  # number of frames; then the length of each
_MOST_LAYOUTS = 2**12  # remembered on each side
_MOST_AT_ONCE = 2**22  # bytes that are copied while no other thread works: for a millisecond
_KINDS = frozenset(Kind)
# Those which have a text.
_NOTES = {Kind.POSITION, Kind.WARNING, Kind.COUNTS, Kind.FAILURE}
_WITH_ITEMS = {Kind.DATA, Kind.COUNTED}
_WITH_TEXT = {*_NOTES, Kind.COUNTED}


class Allocates(Protocol):
    """Shared memory, as the side that writes it knows it."""

    def allocate(self, n_bytes: int) -> int | None:
        """Return the offset of a free block; None if there is none."""

    def view(self, offset: int, n_bytes: int) -> ndarray:
        """Return a block as an array of bytes."""

    def write(self, offset: int, array: ndarray) -> None:
        """Write the values of an array, in C order and of a dtype that is a buffer."""


# Writing.


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
        self._types: list | None = None  # of these keys, as of a run
        self._quick: list = []  # for each key: (write, dtype, shape)
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
                for value, (write, dtype, shape) in zip(item.values(), self._quick):
                    if type(value) is not ndarray:
                        value = as_array(value)
                    if value.dtype != dtype or value.shape != shape:
                        break
                    write(value)
                else:
                    run.n_items += 1
                    self.fullness += run.share
                    return run.cost
            except (ValueError, TypeError, BufferError):
                pass  # not contiguous, or not an array: the slow path says what is wrong
            except BaseException:
                run.rewind()
                raise
            run.rewind()
        run = self._run
        if run is not None and run.places and self._write_alike(run, item):
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
        self._types = run.types
        self._quick = [
            (column.write, field.dtype, field.shape)
            for column, field in zip(run.columns, run.layout.fields)
        ]

    def _write_alike(self, run: _Run, item: Any) -> bool:
        """Write a large item, if it looks like the one before; tell whether that was possible."""
        layout, memory = run.layout, self._memory
        if type(item) is not dict or tuple(item) != layout.keys:
            return False
        if run.types and [*map(type, item)] != run.types:
            return False
        values = [*item.values()]
        for value, (_, dtype, shape) in zip(values, run.places):
            is_same = type(value) is ndarray and value.dtype == dtype and value.shape == shape
            if not (is_same and value.flags.c_contiguous):
                return False
        assert memory is not None
        offset = memory.allocate(layout.block_size)
        if offset is None:
            return False
        for value, (start, _, _) in zip(values, run.places):
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
            if len(self._layouts) >= _MOST_LAYOUTS:
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
        head = [_HEAD.pack(kind, self._first, cost, len(runs))]
        frames = [b"", counts] if counts else [b""]
        for run in runs:
            head.append(_RUN.pack(run.n_items, run.is_shared))
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
        return [_HEAD.pack(kind, self.n_items, 0, 0)]

    def note(self, kind: Kind, text: bytes) -> list[bytes]:
        """Return the frames of a message that has a text: a position, or a warning."""
        return [*self.mark(kind), text]


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
        "places",
        "share",
        "types",
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
        types = [*map(type, layout.keys)]
        self.types = types if int in types else None  # where 1 and True could be confused
        # Of each value in a block: where it begins, its dtype and shape; if it may be copied at
        # once. (Larger ones are copied by NumPy, which lets other threads work meanwhile.)
        self.places: list = []
        if self.is_shared and layout.is_buffer and layout.n_bytes <= _MOST_AT_ONCE:
            rows = zip(layout.offsets, layout.fields)
            self.places = [(start, field.dtype, field.shape) for start, field in rows]

    def rewind(self) -> None:
        """Take back the values of an item that was not added whole."""
        for column, field in zip(self.columns, self.layout.fields):
            column.seek(self.n_items * field.n_bytes)
            column.truncate()


def bundle(frames: Sequence[bytes]) -> bytes:
    """Join short frames to one, since every frame costs both sides some microseconds."""
    lengths = c_array("I", map(len, frames))
    return b"".join([_BUNDLE.pack(len(frames)), lengths.tobytes(), *frames])


# Reading.


def unbundled(frame: bytes) -> list[memoryview]:
    """Undo `bundle`; a ValueError, if the frame is not such a one."""
    view = memoryview(frame)
    if len(view) < _BUNDLE.size:
        raise ValueError(f"a bundle of {len(view)} bytes")
    (n_frames,) = _BUNDLE.unpack_from(view)
    start = _BUNDLE.size + _BUNDLE.size * n_frames
    lengths = view[_BUNDLE.size : start]
    if len(lengths) != _BUNDLE.size * n_frames:
        raise ValueError(f"a bundle of {n_frames} frames in {len(view)} bytes")
    ends = list(accumulate(lengths.cast("I"), initial=start))
    if ends[-1] != len(view):
        raise ValueError(f"a bundle that ends at {ends[-1]}, in {len(view)} bytes")
    return [view[begin:end] for begin, end in pairwise(ends)]


class Holds(Protocol):
    """Shared memory, as the side that reads it knows it."""

    def hold(self, offset: int, n_bytes: int) -> ndarray:
        """Return a block as an array of bytes; it is free again when that array is gone."""


class Message(NamedTuple):
    """What a list of frames means."""

    kind: Kind
    first: int  # the number of the first item
    n_items: int
    cost: int  # bytes, as the sender counts them
    items: Iterator[dict]
    text: bytes = b""  # a position of the source, a warning, or counts


class Unpacker:
    """Reads messages.

    Parameters
    ----------
    memory : Holds, optional
        The shared memory.
    copy : bool
        Whether every array gets memory of its own, also where a view would do.
    """

    def __init__(self, memory: Holds | None = None, copy: bool = False) -> None:
        self._memory = memory
        self._copy = copy
        self._layouts: dict[bytes, Layout] = {}

    def message(self, frames: Sequence[bytes | memoryview]) -> Message:
        """Return what was sent.

        Raises
        ------
        WorkerError
            If this is not a message, whatever the bytes; nothing is allocated before that is known.
        """
        try:
            return self._message([memoryview(frame).cast("B") for frame in frames])
        except (struct.error, ValueError, TypeError, IndexError, OverflowError) as error:
            raise _garbage(f"frames that do not fit ({error})") from error

    def _message(self, frames: list[memoryview]) -> Message:
        head, rest = frames[0], iter(frames[1:])
        kind, first, cost, n_runs = _HEAD.unpack_from(head)
        position = _HEAD.size
        if kind not in _KINDS or (kind not in _WITH_ITEMS and n_runs):
            raise _garbage(f"a message of kind {kind}")
        if kind in _NOTES and len(frames) != 2:
            raise _garbage(f"a text of {len(frames) - 1} frames")
        if kind == Kind.COUNTED and len(frames) < 2:
            raise _garbage("items without their counts")
        text = bytes(next(rest)) if kind in _WITH_TEXT else b""
        if n_runs > MOST_ITEMS or n_runs > len(frames) - 1:
            raise _garbage(f"{n_runs} runs in {len(frames)} frames")
        runs, total = [], 0
        for _ in range(n_runs):
            n_items, is_shared = _RUN.unpack_from(head, position)
            position += _RUN.size
            layout = self._layout(next(rest, memoryview(b"")))
            if not 0 < n_items <= MOST_ITEMS:
                raise _garbage(f"a run of {n_items} items")
            if is_shared:
                offsets = np.frombuffer(head, "<u8", n_items, position).tolist()
                position += 8 * n_items
                runs.append(self._shared(layout, offsets))
            else:
                columns = [next(rest, memoryview(b"")) for _ in layout.fields]
                runs.append(self._inline(layout, n_items, columns))
            total += n_items
        if position != len(head) or next(rest, None) is not None:
            raise _garbage("more than the head says")
        items = chain.from_iterable(runs)
        return Message(Kind(kind), first, total, cost, items, text)

    def _layout(self, header: memoryview) -> Layout:
        key = bytes(header)
        layout = self._layouts.get(key)
        if layout is None:
            layout = Layout.parse(key)
            if len(self._layouts) >= _MOST_LAYOUTS:
                self._layouts.clear()
            self._layouts[key] = layout
        return layout

    def _shared(self, layout: Layout, offsets: list[int]) -> Iterator[dict]:
        if self._memory is None:
            raise _garbage("a place in shared memory, of which there is none")
        blocks = [self._memory.hold(offset, layout.block_size) for offset in offsets]
        items = [self._in_block(layout, block) for block in blocks]
        del blocks
        return _handed_out(items)

    def _in_block(self, layout: Layout, block: ndarray) -> dict:
        item = {}
        for field, start in zip(layout.fields, layout.offsets):
            array: ndarray = ndarray(field.shape, field.dtype, block, start)
            # A small array must not keep the memory of the large ones beside it.
            is_copied = self._copy or 8 * field.n_bytes < layout.block_size
            item[field.key] = field.given(_own(array) if is_copied else array)
        return item

    def _inline(self, layout: Layout, n_items: int, columns: list[memoryview]) -> Iterator[dict]:
        for field, column in zip(layout.fields, columns):
            if len(column) != n_items * field.n_bytes:
                raise _garbage(f"{len(column)} bytes for {n_items} times {field.n_bytes}")
        if n_items == 1:
            return iter([dict(map(_alone, layout.fields, columns))])
        if not columns:
            return ({} for _ in range(n_items))
        values = [_rows(field, n_items, column) for field, column in zip(layout.fields, columns)]
        return map(dict, map(zip, repeat(layout.keys), zip(*values)))


def _alone(field: Field, column: memoryview) -> tuple[Any, ndarray]:
    array: ndarray = ndarray(field.shape, field.dtype, column)
    return field.key, field.given(_own(array))


def _rows(field: Field, n_items: int, column: memoryview) -> list[ndarray]:
    """Return arrays of their own, one for each item."""
    if not field.dtype.itemsize:
        empty: ndarray = ndarray(field.shape, field.dtype, column)
        return [field.given(_own(empty)) for _ in range(n_items)]
    rows: ndarray = ndarray((n_items, *field.shape), field.dtype, column)
    if not field.shape:
        return [rows[i, ...].copy() for i in range(n_items)]
    if field.axes is not None:
        return [field.given(row.copy()) for row in rows]
    return [row.copy() for row in rows]


def _own(array: ndarray) -> ndarray:
    """Return a copy, of the same dtype: NumPy widens strings of no length."""
    if array.dtype.itemsize:
        return array.copy()
    return ndarray(array.shape, array.dtype, bytearray(16))


def _handed_out(items: list[dict]) -> Iterator[dict]:
    """Yield items without holding on to them."""
    items.reverse()
    while items:
        yield items.pop()


def _garbage(what: str) -> WorkerError:
    return WorkerError(
        f"the background process sent {what}, which is not a message of this library;"
        " let no other code write to the socket of a stream"
    )
