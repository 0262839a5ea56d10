"""Messages as byte frames: their form, and how they are read. No sockets, processes or pickle.

A message is a list of frames: a head, and for each *run* (items in a row that have the same keys,
dtypes, shapes and memory order) its layout, followed by one frame a key with the values of all
its items one after the other. The values of large items are not in the message: the head says
where in the shared memory they are.
"""

from __future__ import annotations

import enum
import struct
from array import array as c_array
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise, repeat
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy import ndarray

from ..exceptions import WorkerError
from .layouts import Field, Layout


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

HEAD = struct.Struct("<BQQI")  # kind, number of the first item, cost, number of runs
RUN = struct.Struct("<IB")  # number of items, whether in shared memory
_BUNDLE = struct.Struct("=I")  # number of frames; then the length of each
MOST_LAYOUTS = 2**12  # remembered on each side
_KINDS = frozenset(Kind)
# Those which have a text.
_NOTES = {Kind.POSITION, Kind.WARNING, Kind.COUNTS, Kind.FAILURE}
_WITH_ITEMS = {Kind.DATA, Kind.COUNTED}
_WITH_TEXT = {*_NOTES, Kind.COUNTED}


def bundle(frames: Sequence[bytes]) -> bytes:
    """Join short frames to one, since every frame costs both sides some microseconds."""
    lengths = c_array("I", map(len, frames))
    return b"".join([_BUNDLE.pack(len(frames)), lengths.tobytes(), *frames])


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
        kind, first, cost, n_runs = HEAD.unpack_from(head)
        position = HEAD.size
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
            n_items, is_shared = RUN.unpack_from(head, position)
            position += RUN.size
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
            if len(self._layouts) >= MOST_LAYOUTS:
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
