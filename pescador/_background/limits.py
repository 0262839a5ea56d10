"""What the system must have left, since libzmq aborts the program where it gets no more of it."""

from __future__ import annotations

import errno
import os
import threading

_SPARE_DESCRIPTORS = 32
_SPARE_TASKS = 4  # two threads of ZeroMQ, the process, and its thread

_DESCRIPTORS = "keep fewer streams open, or raise the limit (ulimit -n)"
_TASKS = (
    "end other processes and threads, or raise the limit"
    " (ulimit -u; in a container, its limit of pids)"
)


def check_descriptors() -> None:
    """Raise OSError if too few file descriptors are left."""
    spare: list[int] = []
    try:
        spare.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(_SPARE_DESCRIPTORS):
            spare.append(os.dup(spare[0]))
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            return  # there is no such device, say
        text = f"fewer than {_SPARE_DESCRIPTORS} file descriptors are left for a background process"
        raise OSError(errno.EMFILE, f"{text}; {_DESCRIPTORS}") from error
    finally:
        for descriptor in spare:
            os.close(descriptor)


def check_tasks() -> None:
    """Raise OSError if too few tasks (processes and threads) are left."""
    end = threading.Event()
    threads: list[threading.Thread] = []
    try:
        for _ in range(_SPARE_TASKS):
            thread = threading.Thread(target=end.wait, name="pescador-spare", daemon=True)
            thread.start()
            threads.append(thread)
    except RuntimeError as error:
        raise no_tasks() from error
    finally:
        end.set()
        for thread in threads:
            thread.join()


def no_tasks() -> OSError:
    """Return the error for a process or a thread that the system does not start."""
    text = f"a background process needs {_SPARE_TASKS} tasks (processes and threads)"
    return OSError(errno.EAGAIN, f"{text}, and the system allows fewer; {_TASKS}")


def explained(error: OSError) -> OSError:
    """Return the error with its remedy, if it is one of limits."""
    if error.errno in (errno.EAGAIN, errno.ENOMEM):
        return no_tasks()
    if error.errno in (errno.EMFILE, errno.ENFILE):
        text = f"{error.strerror}, while a background process was started"
        return OSError(error.errno, f"{text}; {_DESCRIPTORS}")
    return error
