"""Print what workers save and cost: ``python -m benchmarks.parallel [--quick] [--write]``.

Sources sleep as they are opened, and before every item. The ideal is a program whose k workers are
never idle: k / (opening / items of an activation + item) items a second. DataLoader, torchdata,
SPDL and Grain are measured where they are installed. Forks, and reads /proc: for Linux only.
"""

import importlib.util
import itertools
import logging
import multiprocessing
import os
import resource
import signal
import statistics
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

import pescador
from pescador import ParallelStreamer, StochasticMux, Streamer, ZMQStreamer

from .harness import machine, parser_of, ratio, results

N_STREAMERS = 1000
N_ACTIVE = 64
RATE = 16
BATCH = 64
SMALL = 100  # bytes of an item
# Caller's and workers' CPU, against ZMQStreamer's, by the size of an item.
CPU_GOALS = {SMALL: (1.5, 1.4), 2**16: (1.2, 1.2), 2**20: (1.1, 1.2)}


class Job(NamedTuple):
    """How long sources sleep, in seconds."""

    to_open: float
    an_item: float

    def __str__(self):
        return f"{1e3 * self.to_open:g} ms / {1e3 * self.an_item:g} ms"


class Plan(NamedTuple):
    """How much is measured."""

    near: Job
    far: Job
    few: int = 8  # workers
    more: int = 16
    many: int = 32
    n_turns: int = 2
    n_before: int = 2_048  # items before those that are measured: the open set changes twice
    n_items: int = 4_096
    n_deaths: int = 10
    n_starts: int = 2
    start_methods: tuple = ("fork", "forkserver", "spawn")
    # The size of items whose CPU time is measured, and their number.
    sizes: tuple = ((SMALL, 20_480), (2**16, 5_120), (2**20, 2_048))


FULL = Plan(Job(0.02, 0.001), Job(0.1, 0.005))
QUICK = Plan(
    Job(2e-4, 1e-5),
    Job(4e-4, 2e-5),
    few=2,
    more=2,
    many=3,
    n_turns=1,
    n_before=0,
    n_items=256,
    n_deaths=1,
    n_starts=1,
    start_methods=("fork",),
    sizes=((SMALL, 2_048),),
)


class Row(NamedTuple):
    """A figure, and another one that it is compared with."""

    title: str
    value: float
    other: float
    goal: float
    at_most: bool = False

    def __str__(self):
        compared = ratio(self.value / self.other, self.goal, self.at_most)
        return f"| {self.title} | {text(self.value)} | {text(self.other)} | {compared} |"


def text(value):
    """Return a number with three digits, or with all that come before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


# Sources and trees.


def rows(number, to_open, an_item):
    """Yield small items without end, slowly."""
    time.sleep(to_open)
    item = {"x": np.full(SMALL // 8, number)}
    while True:
        time.sleep(an_item)
        yield dict(item)


def slow(job):
    """Return what makes the streamer of a number."""
    return lambda number: Streamer(rows, number, *job)


def flat(make, n_streamers=N_STREAMERS, n_active=N_ACTIVE):
    """Return a mux of many sources."""
    pool = [make(number) for number in range(n_streamers)]
    return StochasticMux(pool, n_active, RATE, random_state=0)


def nested(make):
    """Return a mux of muxes that stay for 128 items; as many sources are open."""
    inner = [
        StochasticMux([make(20 * n + i) for i in range(20)], 8, RATE, random_state=n)
        for n in range(N_STREAMERS // 20)
    ]
    return StochasticMux(inner, N_ACTIVE // 8, 8 * RATE, random_state=0)


def forked(tree, k, **options):
    """Return a tree on forked processes."""
    return ParallelStreamer(tree, k, **{"start_method": "fork", **options})


def skip(items, n_items):
    """Read some items."""
    for _ in itertools.islice(items, n_items):
        pass


# Items a second.


def speed(streamer, n_before, n_items):
    """Return items a second, after the first ones."""
    with streamer.iterate() as stream:
        skip(stream, n_before)
        begin = time.perf_counter()
        skip(stream, n_items)
        return n_items / (time.perf_counter() - begin)


def ideal(tree, job, k, plan):
    """Return items a second if no worker is ever idle, for the same items."""
    opened = []

    def source(number):
        opened.append(number)
        while True:
            yield number

    with tree(lambda number: Streamer(source, number)).iterate() as stream:
        skip(stream, plan.n_before)
        opened.clear()
        skip(stream, plan.n_items)
    return k / (len(opened) / plan.n_items * job.to_open + job.an_item)


def fastest(streamers, plan):
    """Return the best of several turns, by name."""
    best = dict.fromkeys(streamers, 0)
    for _ in range(plan.n_turns):
        for name, streamer in streamers.items():
            best[name] = max(best[name], speed(streamer, plan.n_before, plan.n_items))
    return best


def speeds(plan):
    """Yield rows of items a second."""
    near, far = flat(slow(plan.near)), flat(slow(plan.far))
    few, more, many = plan.few, plan.more, plan.many
    best = fastest(
        {
            **{("near", k): forked(near, k) for k in (few, many)},
            **{("not ahead", k): forked(near, k, n_ahead=0) for k in (few, many)},
            **{("processes", k): forked(far, k) for k in (more, many)},
            ("threads", few): ParallelStreamer(far, few, backend="threads"),
            ("nested", few): forked(nested(slow(plan.near)), few),
        },
        plan,
    )
    inline = speed(near, plan.n_before // 2, plan.n_items // 2)
    title = f"{plan.near}, {few} processes; {few} x the mux alone"
    yield Row(title, best["near", few], few * inline, 0.95)
    for k, goal in ((few, 1.6), (many, 4)):
        title = f"{plan.near}, {k} processes; without look-ahead"
        yield Row(title, best["near", k], best["not ahead", k], goal)
    for workers, k, goal in (
        ("processes", more, 0.93),
        ("processes", many, 0.93),
        ("threads", few, 0.9),
    ):
        title = f"{plan.far}, {k} {workers}; ideal"
        yield Row(title, best[workers, k], ideal(flat, plan.far, k, plan), goal)
    title = f"{plan.near}, muxes of muxes, {few} processes; ideal"
    yield Row(title, best["nested", few], ideal(nested, plan.near, few, plan), 0.8)


# Deaths, memory, and the start.


def longest_gap(items, n_items):
    """Return the longest time that an item takes, in milliseconds."""
    times = [time.perf_counter()]
    for _ in itertools.islice(items, n_items):
        times.append(time.perf_counter())
    return 1e3 * max(np.diff(times))


def stall(plan):
    """Return how much longer the longest gap is where a worker is killed, in milliseconds."""
    logging.disable(logging.WARNING)  # of each death
    usual, after = [], []
    with forked(flat(slow(plan.near)), plan.few).iterate() as stream:
        skip(stream, plan.n_before + 1)
        for _ in range(plan.n_deaths):
            usual.append(longest_gap(stream, plan.n_items // 4))
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
            after.append(longest_gap(stream, plan.n_items // 4))
    logging.disable(logging.NOTSET)
    return statistics.median(after) - statistics.median(usual)


def private_memory(plan):
    """Return the most that a worker has for itself, in MiB."""
    with forked(flat(slow(plan.near)), plan.few).iterate() as stream:
        skip(stream, plan.n_before + 1)
        return max(private_bytes(each.pid) for each in multiprocessing.active_children()) / 2**20


def private_bytes(pid):
    """Return the bytes of the pages that a process shares with no other one."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    private = ("Private_Clean:", "Private_Dirty:")
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(private))


def start(plan, k, method):
    """Return milliseconds to the first item, to the 64th, and then to the end of the workers."""
    streamer = ParallelStreamer(flat(slow(plan.near)), k, start_method=method)
    begin = time.perf_counter()
    with streamer.iterate() as stream:
        skip(stream, 1)
        first = time.perf_counter()
        skip(stream, N_ACTIVE - 1)
        last = time.perf_counter()
    return 1e3 * (first - begin), 1e3 * (last - begin), 1e3 * (time.perf_counter() - last)


def starts(plan):
    """Return the least times to start, by start method and number of workers."""
    return {
        (method, k): np.min([start(plan, k, method) for _ in range(plan.n_starts)], axis=0)
        for method in plan.start_methods
        for k in (1, plan.few)
    }


def costs(plan, started):
    """Yield rows of what workers cost."""
    job, k = plan.near, plan.few
    reach = 1e3 * (job.to_open + RATE * job.an_item) + 25
    title = f"{job}, {k} processes: stall of a death, ms; opening, {RATE} items and 25 ms"
    yield Row(title, stall(plan), reach, 1, True)
    title = f"{job}, {k} processes: first item, ms; 1 process"
    yield Row(title, started["fork", k][0], started["fork", 1][0], 2.5, True)


# CPU time.


def some(n_items, n_bytes):
    """Yield so many items: as close to free as a source can be."""
    item = {"x": np.ones(n_bytes, np.uint8)}
    for _ in range(n_items):
        yield dict(item)


def cpu(streamer, n_items):
    """Return microseconds of CPU an item: of this process, and of those that it has started."""
    before = cpu_seconds()
    assert sum(1 for _ in streamer.iterate()) == n_items
    return [1e6 * (end - begin) / n_items for begin, end in zip(before, cpu_seconds())]


def cpu_seconds():
    """Return those of this process, and of its children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time(), used.ru_utime + used.ru_stime


def cpu_costs(plan):
    """Yield size of an item, length of a source, and what both ways cost here and there."""
    for n_bytes, n_items in plan.sizes:
        for length in (RATE, n_items // N_ACTIVE):
            sources = [Streamer(some, length, n_bytes) for _ in range(n_items // length)]
            mux = StochasticMux(sources, N_ACTIVE, None, mode="exhaustive", random_state=0)
            ways = forked(mux, 2), ZMQStreamer(mux, start_method="fork")
            turns = [[cpu(way, n_items) for way in ways] for _ in range(1 + plan.n_turns)]
            least = np.min(turns, axis=0)
            yield n_bytes, length, least[0], least[1]


# Peers. Each is an iterator over batches, from sources that other processes or threads read.


def ours(job, k, **options):
    """Return batches of one mux of all sources."""
    return ParallelStreamer(batches(flat(slow(job))), k, **options).iterate()


def batches(mux):
    return Streamer(pescador.buffer_stream, mux, BATCH)


def loader(job, k):
    """Return batches of a mux in each worker, of its part of the sources."""
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info

    class Dataset(IterableDataset):
        def __iter__(self):
            first, make = get_worker_info().id, slow(job)
            part = flat(lambda n: make(first + k * n), N_STREAMERS // k, N_ACTIVE // k)
            return part.iterate()

    return iter(DataLoader(Dataset(), BATCH, num_workers=k))


def activation(number, job):
    """Return the items of an activation, one activation after the other: they do not mix."""
    return list(itertools.islice(rows(number, *job), RATE))


def batched(activations):
    """Yield batches of the items of some activations."""
    yield from pescador.buffer_stream(itertools.chain.from_iterable(activations), BATCH)


def torchdata(job, k):
    from torchdata.nodes import IterableWrapper, ParallelMapper

    numbers = IterableWrapper(range(10**6))
    node = ParallelMapper(numbers, partial(activation, job=job), k, method="process")
    node.reset()
    return batched(node)


def spdl(job, k):
    from spdl.pipeline import PipelineBuilder

    builder = PipelineBuilder().add_source(range(10**6))
    builder.pipe(partial(activation, job=job), concurrency=k, output_order="input")
    pipeline = builder.add_sink(2 * k).build(num_threads=k)
    with pipeline.auto_stop():
        yield from batched(pipeline)


def grain(job, k):
    from grain import MapDataset, ReadOptions

    activations = MapDataset.range(10**6).map(partial(activation, job=job))
    options = ReadOptions(num_threads=k, prefetch_buffer_size=2 * k)
    return batched(activations.to_iter_dataset(options))


PEERS = [
    ("ParallelStreamer, processes", None, partial(ours, start_method="fork")),
    ("ParallelStreamer, threads", None, partial(ours, backend="threads")),
    ("DataLoader", "torch", loader),
    ("torchdata, ParallelMapper, processes (no mixing)", "torchdata", torchdata),
    ("SPDL, threads (no mixing)", "spdl", spdl),
    ("Grain, threads (no mixing)", "grain", grain),
]


def is_installed(module):
    return importlib.util.find_spec(module) is not None


def peer_rows(plan):
    """Yield a name, items a second, and the longest gap between two batches in milliseconds."""
    for name, module, make in PEERS:
        if module is not None and not is_installed(module):
            yield name, None, None
            continue
        items = make(plan.far, plan.few)
        skip(items, plan.n_before // BATCH)
        n_batches = plan.n_items // BATCH
        begin = time.perf_counter()
        gap = longest_gap(items, n_batches)
        yield name, n_batches * BATCH / (time.perf_counter() - begin), gap
        if hasattr(items, "close"):
            items.close()


# The tables.


def print_table(head, lines):
    """Print a table, a line as soon as it is known; the first column is text."""
    print(f"| {' | '.join(head)} |")
    print("|---|" + "---:|" * (len(head) - 1))
    for cells in lines:
        print(f"| {' | '.join(cells)} |" if isinstance(cells, list) else cells, flush=True)
    print()


def start_lines(started):
    for (method, k), times in started.items():
        yield [f"{method}, {k}", *map(text, times)]


def cpu_lines(plan):
    for n_bytes, length, here, there in cpu_costs(plan):
        goals = CPU_GOALS[n_bytes]
        ratios = [ratio(a / b, goal, True) for a, b, goal in zip(here, there, goals)]
        figures = [f"{a:.1f} + {b:.1f}" for a, b in (here, there)]
        yield [f"{n_bytes:,} bytes, {length} items a source", *figures, *ratios]


def peer_lines(plan):
    most = ideal(flat, plan.far, plan.few, plan)
    our_gap = None
    for name, items_a_second, gap in peer_rows(plan):
        if gap is None:
            yield [name, *["not installed"] * 4]
            continue
        our_gap = our_gap or gap
        goal = 0.5 if name == "DataLoader" else None
        of_ideal = ratio(items_a_second / most, None, False)
        of_gap = ratio(our_gap / gap, goal, True)
        yield [name, text(items_a_second), of_ideal, text(gap), of_gap]


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--quick", action="store_true", help="few items, and short sleeps")
    options = parser.parse_args()
    with results("parallel", options.write):
        print_tables(QUICK if options.quick else FULL)


def print_tables(plan):
    """Print all tables."""
    started = starts(plan)
    head = ["what is measured; what it is compared with", "measured", "compared with", "ratio"]
    print_table(head, itertools.chain(speeds(plan), costs(plan, started)))
    print(f"Memory that a process has for itself: {ratio(private_memory(plan), 6, True)} MiB.\n")
    head = ["start method, processes; ms to", "the first item", f"{N_ACTIVE} items", "the end"]
    print_table(head, start_lines(started))
    head = ["CPU microseconds an item, program + workers", "2 processes", "ZMQStreamer"]
    print_table([*head, "ratio, program", "ratio, workers"], cpu_lines(plan))
    head = [f"{plan.far}, {plan.few} workers", "items/s", "of the ideal"]
    gaps = [f"longest wait for a batch of {BATCH}, ms", "the first row's / this"]
    print_table([*head, *gaps], peer_lines(plan))
    print(machine())


if __name__ == "__main__":
    main()
