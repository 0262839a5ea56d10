"""Shared memory in blocks: the child allocates and writes them, the consumer reads and frees them.

The memory is an anonymous file (``memfd_create``, Linux): it has no name, and is gone with the last
process that maps it. Only blocks that have been used take up memory. What is in a block is not
known here.
"""

from __future__ import annotations

import bisect
import mmap
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

PAGE = mmap.PAGESIZE
_STEP = 2**20  # bytes by which the memory grows, at least
_BLOCKS = 4  # times max_bytes that are used at most
_OF_LARGEST = 8  # the same, times the size of the largest item
_LIKELY = 2**31  # bytes of addresses: for eight items of a quarter of a gigabyte


def create(n_bytes: int) -> Holder | None:
    """Make new memory; None where the platform has none, or there is no room for it."""
    if not hasattr(os, "memfd_create") or not hasattr(mmap, "MADV_REMOVE"):
        return None
    try:
        descriptor = os.memfd_create("pescador", os.MFD_CLOEXEC)
    except OSError:
        return None
    try:
        os.ftruncate(descriptor, pages(n_bytes))
        return Holder(descriptor)
    except (OSError, OverflowError, ValueError):
        os.close(descriptor)
        return None


def create_for(max_bytes: int) -> Holder | None:
    """Make memory for a process that may run ahead so far: for blocks of any likely size."""
    least = _BLOCKS * max_bytes
    likely = None if _are_addresses_limited() else create(max(least, _LIKELY))
    return likely or create(least)


def _are_addresses_limited() -> bool:
    """Tell whether addresses are scarce, of which memory that is never used takes some."""
    if sys.maxsize < 2**32:
        return True
    import resource  # (not where there is no such memory)

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def attach(descriptor: int | None, max_bytes: int) -> Allocator | None:
    """Map memory that the consumer has made; None if there is none, or it cannot be mapped."""
    if descriptor is None:
        return None
    try:
        return Allocator(descriptor, _BLOCKS * max_bytes)
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


class Allocator:
    """The child's side, which allocates blocks. It owns the descriptor.

    Blocks are taken from the lowest addresses, so that few of them are used again and again, while
    they are still in the cache; and below a limit, unless they are large themselves.
    """

    def __init__(self, descriptor: int, limit: int) -> None:
        self._descriptor = descriptor
        self._map = _map(descriptor)
        self._limit = limit
        self._free = [(0, len(self._map))]  # (offset, size), by offset, never adjacent
        self._sizes: dict[int, int] = {}  # of the blocks in use
        self._committed = 0  # bytes for which there is memory

    def allocate(self, n_bytes: int) -> int | None:
        """Return the offset of a block; None if there is no room."""
        size = max(pages(n_bytes), PAGE)
        for index, (_, available) in enumerate(self._free):
            if available >= size:
                return self._allocate_in(index, size)
        return None

    def _allocate_in(self, index: int, size: int) -> int | None:
        """Do what `allocate` does, in one of the free parts."""
        offset, available = self._free[index]
        end = offset + size
        self._limit = max(self._limit, _OF_LARGEST * size)
        if end > self._limit:
            return None
        if end > self._committed and not self._commit(end):
            return None
        if available == size:
            del self._free[index]
        else:
            self._free[index] = (offset + size, available - size)
        self._sizes[offset] = size
        return offset

    def _commit(self, end: int) -> bool:
        """Get memory up to ``end``, so that writing cannot fail; tell whether there is some."""
        step = min(self._committed + _STEP, self._limit)
        end = min(max(end, step), len(self._map))
        try:
            os.posix_fallocate(self._descriptor, self._committed, end - self._committed)
        except OSError:
            return False
        self._committed = end
        return True

    def view(self, offset: int, n_bytes: int) -> np.ndarray:
        """Return a block as an array of bytes."""
        return np.frombuffer(self._map, np.uint8, n_bytes, offset)

    def write(self, offset: int, array: np.ndarray) -> None:
        """Write the values of an array, in C order and of a dtype that is a buffer."""
        self._map[offset : offset + array.nbytes] = array  # type: ignore[call-overload]

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


class Holder:
    """The consumer's side, which made the memory, and frees a block when its array is gone.

    It owns the descriptor. Blocks stay valid after `close`: each is given back when its array is
    gone.
    """

    def __init__(self, descriptor: int) -> None:
        self._map = _map(descriptor)
        self._descriptor = descriptor
        self._sizes: dict[int, int] = {}  # of the blocks that are not free, by offset
        self._arrays: dict[int, weakref.ref] = {}  # of the blocks that are held here, by offset
        self._n_sharing: dict[int, int] = {}  # how many forked processes see a block, by offset
        self._freed: list[int] = []
        self._process = os.getpid()
        self._is_closed = False
        _open[id(self)] = self

    @contextmanager
    def lent(self) -> Iterator[int]:
        """Give the descriptor, to be sent to the child; it is closed after the block."""
        try:
            yield self._descriptor
        finally:
            os.close(self._descriptor)

    def hold(self, offset: int, n_bytes: int) -> np.ndarray:
        """Return a block as an array of bytes; the block is freed when the array is gone."""
        size = max(pages(n_bytes), PAGE)
        if offset % PAGE or offset + size > len(self._map) or offset in self._sizes:
            raise ValueError(f"no block of {n_bytes} bytes at {offset}")
        block = np.frombuffer(self._map, np.uint8, n_bytes, offset)

        def release(_: weakref.ref) -> None:  # may be called at any time, in any thread
            if os.getpid() == self._process:
                del self._arrays[offset]
                if offset not in self._n_sharing:
                    self._give_back(offset)
                if not self._arrays:
                    _lingering.discard(self)

        self._sizes[offset] = size
        self._arrays[offset] = weakref.ref(block, release)
        return block

    def copy_of(self, offset: int, n_bytes: int) -> bytes:
        """Return what is in a part of the memory now."""
        return self._map[offset : offset + n_bytes]

    def _give_back(self, offset: int) -> None:
        size = self._sizes.pop(offset, None)  # atomic: one of several threads gets it
        if size is None:
            return
        if not self._is_closed:
            self._freed.append(offset)
            return
        self._advise_to_remove(offset, offset + size)

    def _advise_to_remove(self, start: int, end: int) -> None:
        """Give back memory before all of it goes. Some systems refuse, and lose nothing by it."""
        with suppress(OSError, ValueError):
            self._map.madvise(mmap.MADV_REMOVE, start, end - start)

    def take_freed(self, n_most: int = sys.maxsize) -> list[int]:
        """Return blocks that have become free since the last call."""
        taken = self._freed[:n_most]
        del self._freed[: len(taken)]  # (other threads may have added more)
        return taken

    def put_back(self, freed: list[int]) -> None:
        """Undo `take_freed`."""
        self._freed += freed

    def keep_held(self) -> list[int]:
        """Keep the blocks that are held now, since a process that is forked will see them."""
        kept = list(self._arrays)
        for offset in kept:
            self._n_sharing[offset] = self._n_sharing.get(offset, 0) + 1
        return kept

    def release_held(self, kept: list[int]) -> None:
        """Undo `keep_held`, once that process has ended."""
        for offset in kept:
            self._n_sharing[offset] -= 1
            if not self._n_sharing[offset]:
                del self._n_sharing[offset]
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
            self._advise_to_remove(start, end)
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


# Holders of open streams, and closed ones with blocks that are still held. The latter must live
# until the last of their arrays is gone.
_open: weakref.WeakValueDictionary[int, Holder] = weakref.WeakValueDictionary()
_lingering: set[Holder] = set()
_forking = threading.local()


class ForkGuard:
    """Keeps the blocks that a process forked in a ``with`` block sees, until `release`."""

    def __init__(self) -> None:
        self._kept: list[tuple[Holder, list[int]]] = []

    def __enter__(self) -> ForkGuard:
        self._outer = getattr(_forking, "guard", None)
        _forking.guard = self
        return self

    def __exit__(self, *exc: object) -> None:
        _forking.guard = self._outer

    def keep(self, holder: Holder) -> None:
        """Keep what a holder holds now."""
        self._kept.append((holder, holder.keep_held()))

    def release(self) -> None:
        """Free what was kept: the process has ended."""
        while self._kept:
            holder, kept = self._kept.pop()
            holder.release_held(kept)


def _before_fork() -> None:
    """Keep the blocks that a forked process may still read after this one has dropped them.

    A process that was not forked in a `ForkGuard` may live for ever: its blocks are never reused.
    """
    guard = getattr(_forking, "guard", None) or ForkGuard()
    for holder in [*(each() for each in _open.valuerefs()), *list(_lingering)]:
        if holder is not None:
            guard.keep(holder)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
