"""Memory that two processes see: what is allocated, held, freed and given back."""

import contextlib
import copy
import ctypes
import errno
import mmap
import os
import pickle
import random
import signal
import sys
import threading
import weakref

import numpy as np
import pytest
from _search import examples
from _sources import TIMEOUT, run_together
from hypothesis import given
from hypothesis import strategies as st

from pescador._background import memory as memory_module
from pescador._background.memory import PAGE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such memory")

# The test process may well have threads; what it forks does nothing with them.
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

MEBIBYTE = 2**20


class Memory:
    """Both sides of a memory, in one process."""

    def __init__(self, n_bytes):
        self.reader = memory_module.create(n_bytes)
        with self.reader.lent() as descriptor:
            self._descriptor = os.dup(descriptor)
            self.writer = memory_module.attach(os.dup(descriptor), n_bytes)

    @property
    def n_bytes(self):
        """How much memory there is behind it."""
        return 512 * os.fstat(self._descriptor).st_blocks

    def content(self, offset, n_bytes):
        return os.pread(self._descriptor, n_bytes, offset)

    def block(self, value, n_bytes=PAGE):
        """Return a block full of a value as the reader gets it, and its offset."""
        offset = self.writer.allocate(n_bytes)
        self.writer.view(offset, n_bytes)[...] = value
        return self.reader.hold(offset, n_bytes), offset

    def free_again(self):
        """Tell the writer of the blocks that are free."""
        freed = self.reader.take_freed()
        for offset in freed:
            self.writer.free(offset)
        return freed

    def overwrite(self, value):
        """Write all that the writer can get."""
        n_bytes = 64 * PAGE
        while n_bytes >= PAGE:
            offset = self.writer.allocate(n_bytes)
            if offset is None:
                n_bytes //= 2
            else:
                self.writer.view(offset, n_bytes)[...] = value

    def close(self):
        self.reader.close()
        self.writer.close()
        os.close(self._descriptor)
        del self.reader, self.writer  # whose mappings may have descriptors


@pytest.fixture
def memory():
    with contextlib.closing(Memory(64 * PAGE)) as memory:
        yield memory


# The allocator.


class Pages:
    """What the writer should do, page by page."""

    def __init__(self, n_pages):
        self._is_used = [False] * n_pages
        self.sizes = {}

    def allocate(self, n_pages):
        for first in range(len(self._is_used) - n_pages + 1):
            if not any(self._is_used[first : first + n_pages]):
                self._is_used[first : first + n_pages] = [True] * n_pages
                self.sizes[first] = n_pages
                return first * PAGE
        return None

    def free(self, offset):
        first = offset // PAGE
        n_pages = self.sizes.pop(first)
        self._is_used[first : first + n_pages] = [False] * n_pages


@given(
    st.integers(1, 24),
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 7 * PAGE) | st.sampled_from([0, 1, PAGE])),
        max_size=60,
    ),
)
@examples(400)
def test_blocks_are_the_lowest_that_are_free(n_pages, steps):
    model = Pages(n_pages)
    with contextlib.closing(Memory(n_pages * PAGE)) as memory:
        for is_free, number in steps:
            if is_free and model.sizes:
                offset = sorted(model.sizes)[number % len(model.sizes)] * PAGE
                model.free(offset)
                memory.writer.free(offset)
            else:
                expected = model.allocate(max(-(-number // PAGE), 1))
                assert memory.writer.allocate(number) == expected
        for first in random.Random(n_pages).sample(sorted(model.sizes), len(model.sizes)):
            memory.writer.free(first * PAGE)
        assert memory.writer.allocate(n_pages * PAGE) == 0  # in one piece again
        assert memory.writer.allocate(1) is None


def test_what_one_side_writes_the_other_reads(memory):
    first, _ = memory.block(1, 3 * PAGE)
    second, _ = memory.block(2, 100)
    assert first.size == 3 * PAGE
    assert second.size == 100
    assert first.dtype == second.dtype == np.uint8
    assert (first == 1).all()
    assert (second == 2).all()


def test_arrays_can_be_written(memory):
    block, offset = memory.block(1)
    block[...] = 2
    assert memory.content(offset, PAGE) == b"\2" * PAGE


def test_a_block_that_is_too_large_is_not_there(memory):
    assert memory.writer.allocate(64 * PAGE + 1) is None
    assert memory.writer.allocate(2**70) is None
    assert memory.writer.allocate(64 * PAGE) == 0


def test_sizes_are_rounded_up_to_pages():
    for n_bytes in [1, PAGE - 1, PAGE, PAGE + 1]:
        with contextlib.closing(Memory(n_bytes)) as memory:
            assert memory.writer.allocate(-(-n_bytes // PAGE) * PAGE) == 0
            assert memory.writer.allocate(1) is None


def test_a_block_that_is_not_in_use_cannot_be_freed(memory):
    offset = memory.writer.allocate(2 * PAGE)
    for wrong in [offset + PAGE, 5 * PAGE]:
        with pytest.raises(KeyError):
            memory.writer.free(wrong)
    memory.writer.free(offset)
    with pytest.raises(KeyError):
        memory.writer.free(offset)


# How much memory it takes.


def test_memory_is_taken_as_it_is_used():
    with contextlib.closing(Memory(1024 * MEBIBYTE)) as memory:
        assert memory.n_bytes == 0
        taken = 0
        for _ in range(8):
            assert taken <= memory.n_bytes <= taken + 2 * MEBIBYTE
            assert memory.writer.allocate(MEBIBYTE // 2) == taken
            taken += MEBIBYTE // 2
        for offset in range(0, taken, MEBIBYTE // 2):
            memory.writer.free(offset)
        before = memory.n_bytes
        for _ in range(100):  # the same memory, again and again
            memory.writer.free(memory.writer.allocate(taken))
        assert memory.n_bytes == before


def test_memory_that_is_allocated_is_there_before_it_is_written():
    # Otherwise, writing to it where the system has no more would kill the process.
    with contextlib.closing(Memory(16 * MEBIBYTE)) as memory:
        offsets = [memory.writer.allocate(3 * MEBIBYTE) for _ in range(6)]
        assert memory.n_bytes >= 15 * MEBIBYTE
        assert offsets == [3 * n * MEBIBYTE for n in range(5)] + [None]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EINTR, errno.ENOMEM])
def test_blocks_are_refused_while_the_system_has_no_memory(memory, monkeypatch, number):
    def fail(*args):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", fail)
        assert memory.writer.allocate(PAGE) is None
        assert memory.writer.allocate(3 * PAGE) is None
    assert memory.writer.allocate(PAGE) == 0
    assert memory.writer.allocate(63 * PAGE) == PAGE


def test_memory_that_is_there_can_be_used_when_the_system_has_no_more(monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOSPC, "no space")

    with contextlib.closing(Memory(64 * MEBIBYTE)) as memory:
        first = memory.writer.allocate(MEBIBYTE)
        monkeypatch.setattr(os, "posix_fallocate", fail)
        assert memory.writer.allocate(8 * MEBIBYTE) is None
        memory.writer.free(first)
        assert memory.writer.allocate(MEBIBYTE) == first


# What holds a block.


class Subclass(np.ndarray):
    pass


class Interface:
    """An object through which NumPy, and others, read an array."""

    def __init__(self, block):
        self.__array_interface__ = block.__array_interface__
        self._block = block


HOLDERS = {
    "itself": lambda block: block,
    "slice": lambda block: block[10:20],
    "slice of a slice": lambda block: block[10:][::2][3:4],
    "element as an array": lambda block: block[5, ...],
    "reshape": lambda block: block.reshape(-1, 8),
    "transpose": lambda block: block.reshape(-1, 8).T,
    "view": lambda block: block.view("<f8"),
    "field": lambda block: block.view([("a", "i4"), ("b", "f4")])["b"],
    "subclass": lambda block: block.view(Subclass)[::2],
    "memmap": lambda block: block.view(np.memmap),
    "real part": lambda block: block.view("c16").real,
    "new axis": lambda block: block[:, None, None],
    "diagonal": lambda block: block.reshape(64, -1).diagonal(),
    "asarray": np.asarray,
    "broadcast": lambda block: np.broadcast_to(block, (3, block.size)),
    "windows": lambda block: np.lib.stride_tricks.sliding_window_view(block, 5),
    "ndarray": lambda block: np.ndarray((3, 4), "f8", block, 64, order="F"),
    "flat": lambda block: block.flat,
    "iterator": iter,
    "memoryview": memoryview,
    "cast": lambda block: memoryview(block)[8:16].cast("d"),
    "array of a memoryview": lambda block: np.asarray(memoryview(block)),
    "frombuffer": lambda block: np.frombuffer(block, "f4", 2, 8),
    "pickle buffer": pickle.PickleBuffer,
    "ctypes": lambda block: (ctypes.c_uint8 * 8).from_buffer(block),
    "ctypes pointer": lambda block: block.ctypes.data_as(ctypes.c_void_p),
    "dlpack": np.from_dlpack,
    "interface": lambda block: np.asarray(Interface(block)),
    "in a dict": lambda block: {"x": [block[:1]]},
}


@pytest.mark.parametrize("name", HOLDERS)
def test_a_block_is_held_by_what_looks_at_it(memory, name):
    block, offset = memory.block(7)
    holder = HOLDERS[name](block)
    del block
    assert memory.reader.take_freed() == []
    memory.overwrite(9)
    assert memory.content(offset, PAGE) == b"\7" * PAGE
    del holder
    assert memory.reader.take_freed() == [offset]
    assert memory.reader.take_freed() == []


COPIES = {
    "copy": lambda block: block.copy(),
    "array": np.array,
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda block: pickle.loads(pickle.dumps(block)),
    "pickle 5": lambda block: pickle.loads(pickle.dumps(block[::2], protocol=5)),
    "sum": lambda block: block + 0,
    "element": lambda block: block[0],
    "index": lambda block: block[[1, 2]],
    "astype": lambda block: block.astype("f8"),
    "bytes": lambda block: list(bytes(block)),
    "list": lambda block: block.tolist(),
    "weak reference": weakref.ref,
}


@pytest.mark.parametrize("name", COPIES)
def test_a_block_is_not_held_by_a_copy(memory, name):
    block, offset = memory.block(7)
    copied = COPIES[name](block)
    del block
    assert memory.reader.take_freed() == [offset]
    memory.free_again()
    memory.overwrite(9)
    assert name == "weak reference" or np.all(np.asarray(copied) == 7)


def test_blocks_are_freed_one_by_one(memory):
    blocks = [memory.block(value) for value in range(5)]
    offsets = [offset for _, offset in blocks]
    for place in [3, 0, 2]:
        blocks[place] = None
        assert memory.reader.take_freed() == [offsets[place]]
    blocks.clear()
    assert sorted(memory.free_again()) == [offsets[1], offsets[4]]


def test_a_block_that_was_freed_can_be_held_again(memory):
    for value in range(5):
        block, offset = memory.block(value, 3 * PAGE)
        assert offset == 0
        assert (block == value).all()
        del block
        assert memory.free_again() == [0]


@pytest.mark.parametrize(
    ("offset", "n_bytes"),
    [
        *[(1, 10), (PAGE - 1, 10), (PAGE // 2, PAGE), (64 * PAGE, 1), (64 * PAGE, 0)],
        *[(63 * PAGE, PAGE + 1), (0, 64 * PAGE + 1), (0, 2**70), (-PAGE, PAGE), (-PAGE, 10)],
        *[(2**63, 1), (2**64 - PAGE, PAGE), (2**64 - 1, 1)],
    ],
)
def test_what_is_no_block_cannot_be_held(memory, offset, n_bytes):
    with pytest.raises(ValueError):
        memory.reader.hold(offset, n_bytes)
    assert memory.reader.take_freed() == []


def test_a_block_that_is_held_cannot_be_held_again(memory):
    block, offset = memory.block(7)
    with pytest.raises(ValueError):
        memory.reader.hold(offset, 10)
    assert (block == 7).all()
    del block
    assert memory.reader.take_freed() == [offset]


def test_a_block_without_a_byte_can_be_held(memory):
    block, offset = memory.block(0, n_bytes=0)
    assert block.size == 0
    del block
    assert memory.reader.take_freed() == [offset]


def test_blocks_go_in_other_threads_while_the_freed_are_taken(memory):
    taken = []
    left = threading.Semaphore(0)
    n_rounds, n_blocks = 50, 20

    def take():
        while len(taken) < n_rounds * n_blocks:
            taken.extend(memory.free_again())
            left.release()

    def drop():
        for _ in range(n_rounds):
            blocks = []
            while len(blocks) < n_blocks:
                offset = memory.writer.allocate(PAGE)
                blocks.append(memory.reader.hold(offset, PAGE))
            blocks.clear()
            while len(memory.writer._sizes):
                assert left.acquire(timeout=TIMEOUT)

    assert run_together(take, drop) == []
    assert len(taken) == n_rounds * n_blocks


# The end.


def test_what_is_held_stays_valid_after_the_end(memory):
    blocks = [memory.block(value, 4 * PAGE)[0] for value in range(16)]
    kept = {place: blocks[place] for place in (3, 4, 9)}
    assert memory.n_bytes == 64 * PAGE
    del blocks
    memory.reader.close()
    assert memory.n_bytes == 12 * PAGE
    for value, block in kept.items():
        assert (block == value).all()
    view = kept.pop(4)[5:6]
    assert memory.n_bytes == 12 * PAGE
    del view, block
    assert memory.n_bytes == 4 * PAGE + 4 * PAGE * (9 in kept)
    assert (kept[3] == 3).all()
    kept.clear()
    assert memory.n_bytes == 0


def test_all_memory_is_given_back_at_the_end(memory):
    block, _ = memory.block(1, 10 * PAGE)
    del block
    assert memory.n_bytes > 0
    memory.reader.close()
    assert memory.n_bytes == 0


def test_the_first_and_the_last_block_are_held_to_the_end():
    with contextlib.closing(Memory(4 * PAGE)) as memory:
        first, _ = memory.block(1)
        middle, _ = memory.block(2, 2 * PAGE)
        last, _ = memory.block(3)
        del middle
        memory.reader.close()
        assert memory.n_bytes == 2 * PAGE
        assert (first == 1).all()
        assert (last == 3).all()


def test_the_end_comes_once(memory):
    block, _ = memory.block(7)
    for _ in range(3):
        memory.reader.close()
    assert (block == 7).all()
    assert memory.n_bytes == PAGE
    del block
    memory.reader.close()
    assert memory.n_bytes == 0


def test_what_is_held_outlives_both_sides():
    memory = Memory(8 * PAGE)
    block, _ = memory.block(7, 3 * PAGE)
    memory.close()
    del memory
    assert (block == 7).all()
    assert (block[::2].copy() == 7).all()


def test_a_reader_that_is_let_go_is_gone(memory):
    for is_held in (False, True):
        other = Memory(4 * PAGE)
        block, _ = other.block(7)
        if not is_held:
            del block
        gone = weakref.ref(other.reader)
        other.close()
        if is_held:
            assert gone() is not None
            del block
        assert gone() is None


# Descriptors.


def n_descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_stays_open():
    before = n_descriptors()
    reader = memory_module.create(4 * PAGE)
    with reader.lent() as descriptor:
        os.fstat(descriptor)
    # Up to Python 3.12, a mapping has a descriptor of its own.
    n_per_map = 0 if sys.version_info >= (3, 13) else 1
    assert n_descriptors() == before + n_per_map
    block = reader.hold(0, PAGE)
    reader.close()
    del reader
    assert n_descriptors() == before + n_per_map
    del block
    assert n_descriptors() == before


def test_the_descriptor_is_closed_if_lending_it_fails():
    before = n_descriptors()
    reader = memory_module.create(4 * PAGE)
    with pytest.raises(ZeroDivisionError):
        with reader.lent():
            1 / 0
    reader.close()
    del reader
    assert n_descriptors() == before


def test_the_writer_closes_its_descriptor():
    before = n_descriptors()
    memory = Memory(4 * PAGE)
    memory.close()
    del memory
    assert n_descriptors() == before


def test_other_programs_do_not_inherit_the_memory():
    reader = memory_module.create(PAGE)
    with reader.lent() as descriptor:
        assert not os.get_inheritable(descriptor)
    reader.close()


# Where there is no such memory.


@pytest.mark.parametrize(
    ("module", "name"), [(os, "memfd_create"), (mmap, "MADV_REMOVE")], ids=["memfd", "remove"]
)
def test_a_platform_that_lacks_it(monkeypatch, module, name):
    monkeypatch.delattr(module, name)
    assert memory_module.create(PAGE) is None


@pytest.mark.parametrize(
    ("module", "name"),
    [(os, "memfd_create"), (os, "ftruncate"), (mmap, "mmap")],
    ids=["memfd", "size", "mapping"],
)
def test_a_platform_that_refuses_it(monkeypatch, module, name):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOMEM, "no memory")

    before = n_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(module, name, fail)
        assert memory_module.create(PAGE) is None
    assert n_descriptors() == before


@pytest.mark.parametrize("n_bytes", [2**62, 2**63 - 1, 2**63, 2**100])
def test_more_than_there_are_addresses(n_bytes):
    before = n_descriptors()
    assert memory_module.create(n_bytes) is None
    assert n_descriptors() == before


def test_the_other_side_cannot_map_it(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOMEM, "no memory")

    before = n_descriptors()
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, PAGE)
    with monkeypatch.context() as patch:
        patch.setattr(mmap, "mmap", fail)
        assert memory_module.attach(descriptor, PAGE) is None
    assert n_descriptors() == before


def test_the_other_side_was_given_none():
    assert memory_module.attach(None, PAGE) is None


# For a process that may be ahead by some bytes.


def size_of(reader):
    with contextlib.closing(reader), reader.lent() as descriptor:
        return os.fstat(descriptor).st_size


def test_there_are_addresses_for_items_of_any_likely_size():
    assert size_of(memory_module.create_for(1)) == 2 * 2**30
    assert size_of(memory_module.create_for(2**30)) == 4 * 2**30


def test_addresses_that_are_scarce_are_not_taken(monkeypatch):
    import resource  # (Windows has none)

    limits = 2**36, resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda what: limits)
    assert size_of(memory_module.create_for(PAGE)) == 4 * PAGE


def test_addresses_that_there_are_not(monkeypatch):
    create = memory_module.create
    monkeypatch.setattr(memory_module, "create", lambda n: create(n) if n < 2**20 else None)
    assert size_of(memory_module.create_for(PAGE)) == 4 * PAGE


def test_few_blocks_are_used_whatever_their_size():
    """Four times the bytes that a process may be ahead, or eight of the largest."""
    reader = memory_module.create(1024 * PAGE)
    with reader.lent() as descriptor:
        writer = memory_module.attach(os.dup(descriptor), PAGE)
    with contextlib.closing(reader), contextlib.closing(writer):
        found = [writer.allocate(1) for _ in range(9)]
        assert found == [*(n * PAGE for n in range(8)), None]
        # The others are in the way of one.
        found = [writer.allocate(10 * PAGE) for _ in range(8)]
        assert found == [*((8 + 10 * n) * PAGE for n in range(7)), None]
        assert writer.allocate(1) == 78 * PAGE


def test_no_more_is_used_than_the_limit():
    reader = memory_module.create_for(4 * PAGE)
    with reader.lent() as descriptor:
        known = os.dup(descriptor)
        writer = memory_module.attach(os.dup(descriptor), 4 * PAGE)
    with contextlib.closing(reader), contextlib.closing(writer):
        while writer.allocate(PAGE) is not None:
            pass
        assert 512 * os.fstat(known).st_blocks == 16 * PAGE
    os.close(known)


# Processes that are forked while blocks are held.


class Child:
    """A fork of this process, which calls a function when it is told, and ends."""

    def __init__(self, function):
        wait, self._go = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            code = 1
            try:
                signal.alarm(TIMEOUT)
                os.close(self._go)
                os.read(wait, 1)
                code = 0 if function() else 1
            finally:
                os._exit(code)
        os.close(wait)

    def result(self):
        """Let it go on; return whether what the function returned was true."""
        os.close(self._go)
        _, status = os.waitpid(self._pid, 0)
        return status == 0


@forks
def test_a_fork_goes_on_reading_what_its_parent_has_dropped(memory):
    block, offset = memory.block(7, 3 * PAGE)
    child = Child(lambda: (block == 7).all())
    block = None
    assert memory.free_again() == []
    memory.overwrite(9)
    assert memory.content(offset, 3 * PAGE) == b"\7" * 3 * PAGE
    assert child.result()


@forks
@pytest.mark.parametrize("is_dropped_first", [True, False])
def test_a_fork_goes_on_reading_after_the_end(memory, is_dropped_first):
    block, offset = memory.block(7, 3 * PAGE)
    others = [memory.block(8)[0], memory.block(9)[0]]
    child = Child(lambda: (block == 7).all())
    others.clear()
    if is_dropped_first:
        del block
        memory.reader.close()
    else:
        memory.reader.close()
        del block
    assert memory.content(offset, 3 * PAGE) == b"\7" * 3 * PAGE
    assert memory.n_bytes >= 3 * PAGE
    assert child.result()


@forks
def test_a_fork_after_the_end_goes_on_reading_what_was_still_held(memory):
    block, _ = memory.block(7, 3 * PAGE)
    memory.reader.close()
    child = Child(lambda: (block == 7).all())
    block = None
    assert memory.n_bytes == 3 * PAGE
    assert child.result()


@forks
def test_blocks_that_were_not_held_at_the_fork_are_freed(memory):
    dropped, first = memory.block(1)
    del dropped
    assert memory.free_again() == [first]
    kept, _ = memory.block(2)
    child = Child(lambda: (kept == 2).all())
    later = memory.block(3)
    offset = later[1]
    later = kept = None
    assert memory.free_again() == [offset]
    memory.reader.close()
    assert memory.n_bytes == PAGE
    assert child.result()


@forks
@pytest.mark.parametrize("is_closed", [False, True])
def test_what_an_heir_may_see_is_kept_until_it_has_ended(memory, is_closed):
    block, offset = memory.block(7)
    with memory_module.ForkGuard() as guard:
        child = Child(lambda: (block == 7).all())
    block = None
    assert memory.free_again() == []
    if is_closed:
        memory.reader.close()
        assert memory.n_bytes == PAGE
    assert child.result()
    guard.release()
    assert memory.free_again() == ([] if is_closed else [offset])
    memory.reader.close()
    assert memory.n_bytes == 0


@forks
def test_what_two_heirs_may_see_is_kept_until_both_have_ended(memory):
    block, offset = memory.block(7)
    heirs = []
    for _ in range(2):
        with memory_module.ForkGuard() as guard:
            assert Child(lambda: True).result()
        heirs.append(guard)
    del block
    heirs[0].release()
    heirs[0].release()
    assert memory.free_again() == []
    heirs[1].release()
    assert memory.free_again() == [offset]


@forks
def test_what_is_still_held_when_an_heir_has_ended_stays(memory):
    block, offset = memory.block(7)
    with memory_module.ForkGuard() as guard:
        assert Child(lambda: True).result()
    guard.release()
    assert memory.free_again() == []
    assert (block == 7).all()
    del block
    assert memory.free_again() == [offset]


@forks
def test_an_heir_is_that_of_one_thread(memory):
    announced, forked = threading.Event(), threading.Event()

    def announce():
        with memory_module.ForkGuard() as guard:
            announced.set()
            assert forked.wait(TIMEOUT)
        guard.release()

    def fork():
        assert announced.wait(TIMEOUT)
        assert Child(lambda: True).result()
        forked.set()

    block, _ = memory.block(7)
    assert run_together(announce, fork) == []
    del block
    assert memory.free_again() == []


@forks
def test_an_heir_ends_with_the_block_even_if_that_fails(memory):
    with pytest.raises(ZeroDivisionError):
        with memory_module.ForkGuard(), memory_module.ForkGuard():
            1 / 0
    block, _ = memory.block(7)
    child = Child(lambda: (block == 7).all())
    block = None
    assert memory.free_again() == []
    assert child.result()


@forks
@pytest.mark.parametrize("is_closed", [False, True])
def test_what_a_fork_drops_is_of_no_concern_to_its_parent(memory, is_closed):
    block, offset = memory.block(7)
    blocks = [block]
    del block
    on_its_way = memory.writer.allocate(PAGE)
    memory.writer.view(on_its_way, PAGE)[...] = 8
    if is_closed:
        memory.reader.close()

    def drop():
        blocks.clear()
        memory.reader.close()
        return memory.reader.take_freed() == []

    with memory_module.ForkGuard() as guard:
        child = Child(drop)
    assert child.result()
    guard.release()
    assert memory.n_bytes >= PAGE
    assert is_closed or memory.content(on_its_way, PAGE) == b"\x08" * PAGE
    assert (blocks[0] == 7).all()
    assert memory.reader.take_freed() == []
    blocks.clear()
    assert memory.reader.take_freed() == ([] if is_closed else [offset])


def test_streams_begin_and_end_in_other_threads_while_this_one_forks():
    is_over = threading.Event()

    def make():
        reader = memory_module.create(PAGE)
        with reader.lent():
            return reader

    def open_and_close():
        while not is_over.is_set():
            for reader in [make() for _ in range(3)]:
                reader.close()

    def fork():
        readers = [make() for _ in range(20)]
        try:
            for _ in range(20_000):
                memory_module._before_fork()  # a fork would print its error, and go on
        finally:
            is_over.set()
            for reader in readers:
                reader.close()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        assert run_together(fork, open_and_close, open_and_close) == []
    finally:
        sys.setswitchinterval(interval)


def test_freed_blocks_are_taken_a_few_at_a_time(memory):
    offsets = []
    for value in range(5):
        block, offset = memory.block(value)
        offsets.append(offset)
        del block
    assert memory.reader.take_freed(2) == offsets[:2]
    memory.reader.put_back(offsets[:2])
    assert sorted(memory.reader.take_freed(4) + memory.reader.take_freed()) == offsets
