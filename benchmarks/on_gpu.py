"""Print how quickly batches reach a GPU: ``python -m benchmarks.on_gpu [--quick]``.

Needs PyTorch and a GPU that it knows. As many workers make the same batches each time:
processes of a ParallelStreamer, or those of a DataLoader. The program takes them on to the
GPU by four ways: from memory as it is, through a loader that pins what it is given, through
pinned memory that the program uses again and again, and through the DataLoader whose own
workers make them. Then a model that needs a fixed time for each byte is put behind it, and
the time that the GPU waits for batches is measured, copies to it included.
"""

import itertools
import time
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pescador import ParallelStreamer, RoundRobinMux, Streamer
from pescador.adapters.torch import StreamDataset

from .harness import machine, parser_of, results

MIB = 2**20
N_SOURCES = 16
N_STAGES = 3  # areas of pinned memory that are used in turn
RUN_AHEAD = 2  # batches that the program may be ahead of the GPU
WANTED = 4e9  # bytes a second that the model takes, if it never waits
SIDE = 2048  # of the matrices that the model multiplies


class Plan(NamedTuple):
    """How much is measured."""

    sizes: tuple = (1, 4, 16, 64)  # MiB
    workers: tuple = (4, 8)
    n_bytes: int = 2**31  # of a measurement
    n_turns: int = 2


QUICK = Plan((1, 16), (2,), 2**27, 1)


def batches(size, number):
    """Yield batches without end, each written anew."""
    ones = np.arange(size * MIB // 4, dtype=np.float32)
    for step in itertools.count(number):
        yield {"x": ones + np.float32(step)}


class Batches(IterableDataset):
    """The same, of the sources that are a worker's."""

    def __init__(self, size):
        self.size = size

    def __iter__(self):
        info = get_worker_info()
        sources = [batches(self.size, number) for number in range(N_SOURCES)]
        return itertools.chain.from_iterable(zip(*sources[info.id :: info.num_workers]))


# Ways to the GPU: each yields what lies there.


def ours(size, n_workers):
    """Return a streamer of batches that processes make."""
    sources = [Streamer(batches, size, number) for number in range(N_SOURCES)]
    return ParallelStreamer(RoundRobinMux(sources, "cycle"), n_workers, start_method="fork")


def as_it_is(size, n_workers):
    """Copy from the memory that the workers share."""
    with ours(size, n_workers).iterate() as stream:
        for batch in stream:
            yield torch.from_numpy(batch["x"]).to("cuda", non_blocking=True)


def by_loader(dataset, n_workers):
    """Read a loader that pins."""
    options = {} if not n_workers else {"multiprocessing_context": "fork"}
    loader = DataLoader(dataset, None, num_workers=n_workers, pin_memory=True, **options)
    for batch in loader:
        yield batch["x"].to("cuda", non_blocking=True)


def pinned_by_loader(size, n_workers):
    """Let a loader without workers pin the batches of ours."""
    return by_loader(StreamDataset(ours(size, n_workers)), 0)


def pinned_by_program(size, n_workers):
    """Copy into pinned memory that is used again when the GPU has read it."""
    stages = [torch.empty(size * MIB // 4, pin_memory=True) for _ in range(N_STAGES)]
    has_read = [torch.cuda.Event() for _ in stages]
    with ours(size, n_workers).iterate() as stream:
        for batch, (stage, event) in zip(stream, itertools.cycle(zip(stages, has_read))):
            event.synchronize()
            np.copyto(stage.numpy(), batch["x"])
            there = stage.to("cuda", non_blocking=True)
            event.record()
            yield there


def made_by_loader(size, n_workers):
    """Let the workers of a loader make the batches."""
    return by_loader(Batches(size), n_workers)


WAYS = {
    "DataLoader's workers, `pin_memory`": made_by_loader,
    "ParallelStreamer, then `.to(device)`": as_it_is,
    "ParallelStreamer, DataLoader without workers, `pin_memory`": pinned_by_loader,
    "ParallelStreamer, pinned memory of the program": pinned_by_program,
}


# What is measured.


class Model:
    """Matrix products: as many for a batch as take the time that its bytes are given."""

    def __init__(self, size):
        self._left, self._right = (torch.randn(SIDE, SIDE, device="cuda") for _ in range(2))
        self._n_products = max(1, round(size * MIB / WANTED / self._time_of_one()))

    def _time_of_one(self):
        for _ in range(2):  # the first time warms up
            begin, end = events()
            begin.record()
            for _ in range(100):
                torch.mm(self._left, self._right)
            end.record()
            end.synchronize()
        return begin.elapsed_time(end) / 1e3 / 100

    def __call__(self, _batch):
        for _ in range(self._n_products):
            torch.mm(self._left, self._right)


def events():
    """Return two events that have a time."""
    return [torch.cuda.Event(enable_timing=True) for _ in range(2)]


def nothing(_batch):
    """Do nothing with a batch."""


def measure(items, n_items, model):
    """Return seconds for some batches, and those of them in which the GPU ran the model."""
    timed = []
    begin = None
    for number, item in enumerate(itertools.islice(items, n_items + N_SOURCES)):
        if number == N_SOURCES:  # those before it start the workers
            torch.cuda.synchronize()
            timed.clear()
            begin = time.perf_counter()
        start, end = events()
        start.record()
        model(item)
        end.record()
        timed.append((start, end))
        if len(timed) > RUN_AHEAD:
            timed[-1 - RUN_AHEAD][1].synchronize()
    torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    items.close()
    return seconds, sum(start.elapsed_time(end) for start, end in timed) / 1e3


def row(way, size, n_workers, plan, model):
    """Return the most GB/s without a model, and the least share of waiting with one."""
    n_items = max(N_SOURCES, plan.n_bytes // (size * MIB))
    fastest, least = 0.0, 1.0
    for _ in range(plan.n_turns):
        seconds, _ = measure(way(size, n_workers), n_items, nothing)
        fastest = max(fastest, n_items * size * MIB / seconds / 1e9)
        seconds, busy = measure(way(size, n_workers), n_items, model)
        least = min(least, 1 - busy / seconds)
    return fastest, least


def tables(plan):
    """Print a table for each number of workers."""
    for n_workers in plan.workers:
        print(f"\n{n_workers} workers:\n")
        heads = [f"{size} MiB" for size in plan.sizes]
        print("| GB/s / GPU waits |", " | ".join(heads), "|")
        print("|---|" + "---:|" * len(heads))
        models = {size: Model(size) for size in plan.sizes}
        for title, way in WAYS.items():
            cells = [row(way, size, n_workers, plan, models[size]) for size in plan.sizes]
            texts = [f"{speed:.2f} / {waits:.0%}" for speed, waits in cells]
            print(f"| {title} |", " | ".join(texts), "|", flush=True)


def pinned_copy(size):
    """Return GB/s of copies from pinned memory alone: the most that there can be."""
    stage = torch.empty(size * MIB // 4, pin_memory=True)
    again = partial(itertools.repeat, stage)
    there = (each.to("cuda", non_blocking=True) for each in again())
    n_items = max(N_SOURCES, 2**32 // (size * MIB))
    return n_items * size * MIB / measure(there, n_items, nothing)[0] / 1e9


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--quick", action="store_true", help="see that it runs")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(1, "PyTorch finds no GPU here\n")
    with results("on_gpu", options.write):
        print_all(QUICK if options.quick else Plan())


def print_all(plan):
    """Print where this is measured, and a table for each number of workers."""
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}. {machine()}")
    copies = ", ".join(f"{size} MiB {pinned_copy(size):.0f}" for size in plan.sizes)
    print(f"GB/s of copies from pinned memory alone: {copies}.")
    print(f"The model takes {WANTED / 1e9:g} GB/s if it never waits.")
    tables(plan)


if __name__ == "__main__":
    main()
