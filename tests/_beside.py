"""Another program of the machine, which makes shared memory in all the ways that are common.

``python _beside.py multiprocessing`` or ``python _beside.py joblib`` goes on until its input ends,
and writes a line each time that it has made all of it. (Where joblib is loaded, the semaphores of
``multiprocessing`` have joblib's names.)
"""

import multiprocessing
import select
import sys
from multiprocessing.shared_memory import SharedMemory

import numpy as np

LARGE = 2**21  # bytes of an array: joblib hands those above a megabyte over in a file


def _sum(values):
    return values.sum()


def _get(queue, lock):
    with lock:
        return queue.get()


def use_multiprocessing():
    """Make semaphores that have names, and hold them."""
    context = multiprocessing.get_context("spawn")
    queue, lock = context.Queue(), context.Lock()
    child = context.Process(target=_get, args=(queue, lock))
    child.start()
    queue.put(1)
    child.join()
    queue.close()
    queue.join_thread()


def use_shared_memory():
    """Make memory that nobody holds for a while."""
    memory = SharedMemory(create=True, size=LARGE)
    memory.close()
    time_passes()
    memory.unlink()


def use_joblib():
    """Make folders of files, and semaphores of other names."""
    import joblib

    values = [np.ones(LARGE // 8) for _ in range(4)]
    assert sum(joblib.Parallel(n_jobs=2)(joblib.delayed(_sum)(each) for each in values)) > 0


def time_passes(seconds=0.1):
    """Return whether the input has ended."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def shut_down_joblib():
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)


PROGRAMS = {
    "multiprocessing": ([use_multiprocessing, use_shared_memory], None),
    "joblib": ([use_joblib], shut_down_joblib),
}


def main(name):
    uses, end = PROGRAMS[name]
    while not time_passes(0):
        for use in uses:
            use()
        print("once", flush=True)
    if end:
        end()


if __name__ == "__main__":
    main(*sys.argv[1:])
