"""What holds for every test: it leaves nothing behind.

A test fails if it leaks a thread, a child process, a file descriptor, a temporary file or folder,
or shared memory. Looking is cheap; the garbage collector runs only if something seems to be left.
"""

import contextlib
import gc
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path

import pytest

pytest.register_assert_rewrite("_sources")

_PROC = Path("/proc")
_DESCRIPTORS = "/proc/self/fd"
_OWN_THREADS = "/proc/self/task"
_THREADS_TELL_CHILDREN = os.path.exists(f"{_OWN_THREADS}/{os.getpid()}/children")
_SHARED_MEMORY = "/dev/shm"
_TIMEOUT = 30  # seconds, for a thread that is about to end


def pytest_configure():
    """Hear Ctrl-C, as a program in front does: shells let those behind ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Each of these returns what there is now: a key that identifies the thing, and its description.


def _threads():
    return {thread: repr(thread) for thread in threading.enumerate()}


def _children():
    if not _THREADS_TELL_CHILDREN:
        return {str(child.pid): repr(child) for child in multiprocessing.active_children()}
    found = []
    for thread in os.listdir(_OWN_THREADS):
        try:
            with open(f"{_OWN_THREADS}/{thread}/children", "rb", buffering=0) as file:
                found += file.read().decode().split()
        except OSError:  # a thread that has just ended
            pass
    return {pid: f"pid {pid}" for pid in found}


def _descriptors():
    found = {}
    with contextlib.suppress(FileNotFoundError):
        for number in os.listdir(_DESCRIPTORS):
            # The one that the listing itself used is gone by now.
            with contextlib.suppress(FileNotFoundError):
                found[number] = f"{number} -> {os.readlink(f'{_DESCRIPTORS}/{number}')}"
    return found


def _temporary_files():
    return {name: name for name in os.listdir(tempfile.gettempdir())}


def _shared_memory():
    with contextlib.suppress(FileNotFoundError):
        return {name: name for name in os.listdir(_SHARED_MEMORY)}
    return {}


_KINDS = {
    "thread": _threads,
    "child process": _children,
    "file descriptor": _descriptors,
    "temporary file": _temporary_files,
    "shared memory": _shared_memory,
}


class LeakGuard:
    """Knows what there was when it was made, and tells what has been added."""

    def __init__(self):
        self._before = {kind: look() for kind, look in _KINDS.items()}

    def leaked(self):
        """Return the descriptions of what has been added since and is still there."""
        suspects = self._added()
        if not suspects:
            return []
        self._settle()
        return [each for each in self._added() if each in suspects]

    def _added(self):
        return [
            f"{kind} {description}"
            for kind, look in _KINDS.items()
            for key, description in look().items()
            if key not in self._before[kind] and not _is_of_others(kind, key)
        ]

    def _settle(self):
        """Collect garbage, and let what has ended be gone."""
        gc.collect()
        multiprocessing.active_children()  # reaps those that have ended
        for thread in set(threading.enumerate()) - set(self._before["thread"]):
            thread.join(_TIMEOUT)


def _is_of_others(kind, name):
    """Tell whether shared memory is that of another program on this machine, or gone by now."""
    if kind != "shared memory":
        return False
    path = f"{_SHARED_MEMORY}/{name}"
    family = {str(os.getpid()), *_children()}
    others = (each for each in _PROC.iterdir() if each.name.isdigit() and each.name not in family)
    return any(_maps_file(each, path) for each in others) or not os.path.exists(path)


def _maps_file(process, path):
    with contextlib.suppress(OSError):
        return path in (process / "maps").read_text()
    return False


@pytest.fixture(scope="session", autouse=True)
def _helper_processes():
    """Start what ``multiprocessing`` starts at its first use and keeps until the end."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        from multiprocessing import forkserver, resource_tracker

        resource_tracker.ensure_running()
        forkserver.ensure_running()


@pytest.fixture(scope="session", autouse=True)
def _temporary_folder(_helper_processes, tmp_path_factory):
    """Make a temporary folder for this session alone, so that other programs do not matter."""
    tmp_path_factory.getbasetemp()  # those of pytest are elsewhere
    folder = tempfile.mkdtemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _leaves_nothing(_temporary_folder):
    guard = LeakGuard()
    yield
    leaked = guard.leaked()
    if leaked:
        pytest.fail("the test leaves behind: " + "; ".join(leaked), pytrace=False)


@pytest.fixture
def leak_guard():
    """Return a guard that a test can ask what has been leaked since."""
    return LeakGuard()
