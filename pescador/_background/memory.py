"""Memory that two processes see: one allocates blocks and writes them, the other reads them.

The memory is an anonymous file (``memfd_create``, Linux), which has no name and is gone with the
last process that maps it. It grows as it is used: only blocks that were once in use take up
memory. What a block holds is not known here.
"""

from __future__ import annotations

import bisect
import mmap
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

PAGE = mmap.PAGESIZE
_STEP = 2**20  # bytes by which the memory grows, at least


def reader(n_bytes: int) -> Reader | None:
    """Make new memory; None where the platform has none, or there is no room for it."""
    if not hasattr(os, "memfd_create") or not hasattr(mmap, "MADV_REMOVE"):
        return None
    try:
        descriptor = os.memfd_create("pescador", os.MFD_CLOEXEC)
    except OSError:
        return None
    try:
        os.ftruncate(descriptor, pages(n_bytes))
        return Reader(descriptor)
    except (OSError, OverflowError, ValueError):
        os.close(descriptor)
        return None


def writer(descriptor: int | None) -> Writer | None:
    """Take over memory that another process has made; None if it cannot be mapped here."""
    if descriptor is None:
        return None
    try:
        return Writer(descriptor)
    except OSError:
        os.close(descriptor)
        return None


def pages(n_bytes: int) -> int:
    """Return a number of bytes, rounded up to whole pages."""
    return -(-n_bytes // PAGE) * PAGE


def _map(descriptor: int) -> mmap.mmap:
    size = os.fstat(descriptor).st_size
    if sys.version_info >= (3, 13):
        return mmap.mmap(descriptor, size, trackfd=False)
    return mmap.mmap(descriptor, size)


class Writer:
    """The side that allocates.

    Blocks are taken from the lowest addresses, so that few of them, still in the cache, are used
    again and again. Takes over the descriptor.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._map = _map(descriptor)
        self._free = [(0, len(self._map))]  # (offset, size), by offset, never adjacent
        self._sizes: dict[int, int] = {}  # of the blocks in use
        self._committed = 0  # bytes for which there is memory

    def allocate(self, n_bytes: int) -> int | None:
        """Return the offset of a block; None if there is no room."""
        size = max(pages(n_bytes), PAGE)
        fitting = (index for index, (_, free) in enumerate(self._free) if free >= size)
        index = next(fitting, None)
        if index is None:
            return None
        offset, available = self._free[index]
        if not self._commit(offset + size):
            return None
        if available == size:
            del self._free[index]
        else:
            self._free[index] = (offset + size, available - size)
        self._sizes[offset] = size
        return offset

    def _commit(self, end: int) -> bool:
        """Make sure that there is memory up to ``end``, so that writing cannot fail."""
        if end <= self._committed:
            return True
        end = min(max(end, self._committed + _STEP), len(self._map))
        try:
            os.posix_fallocate(self._descriptor, self._committed, end - self._committed)
        except OSError:
            return False
        self._committed = end
        return True

    def view(self, offset: int, n_bytes: int) -> np.ndarray:
        """Return a block as an array of bytes."""
        return np.frombuffer(self._map, np.uint8, n_bytes, offset)

    def free(self, offset: int) -> None:
        """Take back a block."""
        size = self._sizes.pop(offset)
        index = bisect.bisect(self._free, (offset, 0))
        if index < len(self._free) and self._free[index][0] == offset + size:
            size += self._free.pop(index)[1]
        if index and sum(self._free[index - 1]) == offset:
            offset, before = self._free.pop(index - 1)
            size, index = size + before, index - 1
        self._free.insert(index, (offset, size))

    def close(self) -> None:
        """Let go of the memory."""
        os.close(self._descriptor)


class Reader:
    """The side that makes the memory, and that tells when it needs a block no longer.

    Takes over the descriptor. Blocks stay valid after `close`; their memory is given back as
    each of them goes.
    """

    def __init__(self, descriptor: int) -> None:
        self._map = _map(descriptor)
        self._descriptor = descriptor
        self._sizes: dict[int, int] = {}  # of the blocks that are out, by offset
        self._arrays: dict[int, weakref.ref] = {}  # of those that are held
        self._heirs: dict[int, int] = {}  # how many processes may see a block, if any do
        self._freed: list[int] = []
        self._process = os.getpid()
        self._is_closed = False
        _open[id(self)] = self

    @contextmanager
    def lent(self) -> Iterator[int]:
        """Give the descriptor, to be sent to the other side; it is closed after that."""
        try:
            yield self._descriptor
        finally:
            os.close(self._descriptor)

    def hold(self, offset: int, n_bytes: int) -> np.ndarray:
        """Return a block as an array of bytes; the block is free when it is gone."""
        size = max(pages(n_bytes), PAGE)
        if offset % PAGE or offset + size > len(self._map) or offset in self._sizes:
            raise ValueError(f"no block of {n_bytes} bytes at {offset}")
        block = np.frombuffer(self._map, np.uint8, n_bytes, offset)

        def release(_: weakref.ref) -> None:  # may be called at any time, in any thread
            if os.getpid() == self._process:
                del self._arrays[offset]
                if offset not in self._heirs:
                    self._give_back(offset)
                if not self._arrays:
                    _lingering.discard(self)

        self._sizes[offset] = size
        self._arrays[offset] = weakref.ref(block, release)
        return block

    def _give_back(self, offset: int) -> None:
        size = self._sizes.pop(offset, None)  # only one of several threads gets it
        if size is None:
            return
        if not self._is_closed:
            self._freed.append(offset)
            return
        self._map.madvise(mmap.MADV_REMOVE, offset, size)

    def take_freed(self, n_most: int = sys.maxsize) -> list[int]:
        """Return blocks that have become free since the last call."""
        taken = self._freed[:n_most]
        del self._freed[: len(taken)]  # (more may have come, from another thread)
        return taken

    def put_back(self, freed: list[int]) -> None:
        """Undo `take_freed`."""
        self._freed += freed

    def keep_held(self) -> list[int]:
        """Keep the blocks that are held now: another process is about to see them."""
        kept = list(self._arrays)
        for offset in kept:
            self._heirs[offset] = self._heirs.get(offset, 0) + 1
        return kept

    def forget_heir(self, kept: list[int]) -> None:
        """Undo `keep_held`, when that process has ended."""
        for offset in kept:
            self._heirs[offset] -= 1
            if not self._heirs[offset]:
                del self._heirs[offset]
                if offset not in self._arrays:
                    self._give_back(offset)

    def close(self) -> None:
        """Give back the memory of all blocks but those still held."""
        if self._is_closed or os.getpid() != self._process:
            return
        self._is_closed = True
        _open.pop(id(self), None)
        _lingering.add(self)
        for start, end in _gaps(dict(self._sizes), len(self._map)):
            self._map.madvise(mmap.MADV_REMOVE, start, end - start)
        if not self._arrays:
            _lingering.discard(self)


def _gaps(blocks: dict[int, int], end: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of what lies between the blocks, given as sizes by offset."""
    start = 0
    for offset in sorted(blocks):
        if offset > start:
            yield start, offset
        start = offset + blocks[offset]
    if start < end:
        yield start, end


# Readers whose streams go on, and closed ones of which some blocks are still held: these must
# live, to be told when the blocks go.
_open: weakref.WeakValueDictionary[int, Reader] = weakref.WeakValueDictionary()
_lingering: set[Reader] = set()
_forking = threading.local()


class Heir:
    """A process that is forked inside a ``with`` block: what it may see is kept until it ends."""

    def __init__(self) -> None:
        self._kept: list[tuple[Reader, list[int]]] = []

    def __enter__(self) -> Heir:
        self._outer = getattr(_forking, "heir", None)
        _forking.heir = self
        return self

    def __exit__(self, *exc: object) -> None:
        _forking.heir = self._outer

    def inherit(self, reader: Reader) -> None:
        """Keep what a reader holds now."""
        self._kept.append((reader, reader.keep_held()))

    def has_ended(self) -> None:
        """Let go of what was kept."""
        while self._kept:
            reader, kept = self._kept.pop()
            reader.forget_heir(kept)


def _before_fork() -> None:
    """Keep what a forked process may go on reading after this one has let it go.

    Of a process that others have forked, the end is not known.
    """
    heir = getattr(_forking, "heir", None) or Heir()
    for reader in [*(each() for each in _open.valuerefs()), *list(_lingering)]:
        if reader is not None:
            heir.inherit(reader)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
