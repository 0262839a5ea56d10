"""What a test has left behind: threads, processes, descriptors, files, and shared memory.

Other programs of the machine make shared memory too (`sem.mp-*`, `sem.loky-*`, `psm_*`, folders of
joblib's). An object is ours if its name bears our mark, or if this process or a descendant of it
holds the object. Holders are told by device and inode, since the process that has made a semaphore
maps it under another name.
"""

import contextlib
import gc
import multiprocessing
import os
import tempfile
import threading
from multiprocessing import shared_memory
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
TIMEOUT = 30  # seconds, for a thread that is about to end
_PROC = Path("/proc")
_DESCRIPTORS = "/proc/self/fd"
_OWN_THREADS = "/proc/self/task"
_THREADS_TELL_CHILDREN = os.path.exists(f"{_OWN_THREADS}/{os.getpid()}/children")


def mark_shared_memory():
    """Let the names of what multiprocessing makes, here and in children, tell where it was made."""
    multiprocessing.current_process()._config["semprefix"] = f"/mp-{_mark()}"
    shared_memory._SHM_NAME_PREFIX = f"/{_mark()}_"


def _mark():
    return f"p{os.getpid():06x}"  # such a name may have 14 characters


def _marks():
    """Return how the names of our own objects begin."""
    pid = os.getpid()
    of_joblib = f"sem.loky-{pid}-", f"joblib_memmapping_folder_{pid}_"  # where it is loaded
    return f"sem.mp-{_mark()}-", f"{_mark()}_", *of_joblib


# Each of these returns what there is now: a key that identifies the thing, and its description.


def _threads():
    # (Not those of C code, which Python knows by dummies that cannot be waited for.)
    found = [each for each in threading.enumerate() if not isinstance(each, threading._DummyThread)]
    return {thread: repr(thread) for thread in found}


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
        return {name: name for name in os.listdir(SHARED_MEMORY)}
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
            if key not in self._before[kind] and (kind != "shared memory" or is_ours(key))
        ]

    def _settle(self):
        """Collect garbage, and let what has ended be gone."""
        gc.collect()
        multiprocessing.active_children()  # reaps those that have ended
        for thread in set(_threads()) - set(self._before["thread"]):
            thread.join(TIMEOUT)


# Whose shared memory is.


def is_ours(name):
    """Tell whether an object in shared memory belongs to this process or to its descendants."""
    if name.startswith(_marks()):
        return True
    try:
        status = os.lstat(SHARED_MEMORY / name)
    except FileNotFoundError:
        return False
    family = [_PROC / str(pid) for pid in (os.getpid(), *descendants(os.getpid()))]
    return any(_maps(each, status) or _opens(each, status) for each in family)


def descendants(pid):
    """Return the ids of the processes that a process has started, at whatever remove."""
    children = {}
    for process in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(process.name))
    found, rest = set(), [pid]
    while rest:
        new = children.get(rest.pop(), [])
        found.update(new)
        rest += new
    return found


def _maps(process, status):
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    with contextlib.suppress(OSError):  # it has ended, or is none of ours
        return f" {device} {status.st_ino} " in (process / "maps").read_text()
    return False


def _opens(process, status):
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(descriptor.stat(), status):
                    return True
    return False
