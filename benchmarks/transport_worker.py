"""Measure what it takes to bring items from a background process, in one interpreter.

A request, a JSON list a line, is [how, kind of item, items to read first, items to time]; the
answer is [seconds per item, CPU seconds per item here, the same in the background process].
"""

import contextlib
import itertools
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time

import numpy as np


def arrays(kind):
    """Return the values of an item: two small arrays, or one of so many bytes."""
    if kind == "small":
        return {"x": np.arange(16, dtype=np.float32), "y": np.array([3])}
    return {"x": np.ones(kind, np.uint8)}


def source(kind, n_items):
    """Yield an item again and again: as close to free as a source can be."""
    item = arrays(kind)
    for _ in range(n_items):
        yield dict(item)


# How to bring them: each of these returns an iterator over all items.


def pescador(kind, n_items):
    """Use the ZMQStreamer of whatever release is installed."""
    from pescador import Streamer, ZMQStreamer

    return ZMQStreamer(Streamer(source, kind, n_items)).iterate()


def loader(kind, n_items, **options):
    """Use a DataLoader of PyTorch with one worker."""
    from torch.utils.data import DataLoader, IterableDataset

    class Dataset(IterableDataset):
        def __iter__(self):
            return source(kind, n_items)

    return iter(DataLoader(Dataset(), batch_size=None, num_workers=1, **options))


def loader_tensors(kind, n_items):
    """Use a DataLoader as it is: arrays become tensors, in shared memory."""
    return loader(kind, n_items)


def loader_arrays(kind, n_items):
    """Use a DataLoader that leaves arrays what they are."""
    return loader(kind, n_items, collate_fn=lambda item: item)


def pair(kind, n_items):
    """Send the bytes of the items over a bare PAIR socket, a frame each."""
    import zmq

    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/pair"
        fork = multiprocessing.get_context("fork")
        is_read = fork.Event()
        process = fork.Process(target=send, args=(endpoint, is_read, kind, n_items))
        process.start()
        context = zmq.Context()
        socket = context.socket(zmq.PAIR)
        socket.bind(endpoint)
        for _ in range(n_items):
            yield socket.recv(copy=False)
        is_read.set()
        process.join()
        context.destroy(linger=0)


def send(endpoint, is_read, kind, n_items):
    """Send frames (in the background process)."""
    import zmq

    frame = b"".join(array.tobytes() for array in arrays(kind).values())
    context = zmq.Context()
    socket = context.socket(zmq.PAIR)
    socket.connect(endpoint)
    for _ in range(n_items):
        socket.send(frame)
    is_read.wait()  # the last messages of a socket that is closed may be lost, whatever its linger
    context.destroy(linger=0)


def memcpy(kind, n_items):
    """Copy the values of an item, which are in the cache, in this process."""
    values = list(arrays(kind).values())
    copies = [array.copy() for array in values]
    for _ in range(n_items):
        for array, copied in zip(values, copies):
            np.copyto(copied, array)
        yield copies


def cpu(who):
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def measure(how, kind, n_first, n_items):
    """Return seconds per item, and the CPU seconds of this process and of the other."""
    before = cpu(resource.RUSAGE_SELF), cpu(resource.RUSAGE_CHILDREN)
    iterator = globals()[how](kind, n_first + n_items)
    for _ in itertools.islice(iterator, n_first):
        pass
    start = time.perf_counter()
    for _ in itertools.islice(iterator, n_items):
        pass
    elapsed = time.perf_counter() - start
    for _ in iterator:  # until it ends by itself
        pass
    del iterator
    n_all = n_first + n_items
    here = (cpu(resource.RUSAGE_SELF) - before[0]) / n_all
    return elapsed / n_items, here, (cpu(resource.RUSAGE_CHILDREN) - before[1]) / n_all


def main():
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            print(json.dumps(measure(*json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
