"""Print what actors of Ray save and cost: ``python -m benchmarks.on_ray [--quick] [--write]``.

Needs the extra "ray". Ray is started here, on this machine, and stopped again.
"""

import importlib.util
import logging
import os
import time
from typing import NamedTuple

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import ray

import pescador
from pescador import ParallelStreamer, StochasticMux, Streamer, ZMQStreamer

from .harness import machine, parser_of, ratio, results
from .parallel import print_table

HAS_DATA = importlib.util.find_spec("pandas") is not None  # Ray Data needs it
N_ACTIVE = 32
LONG = 100_000  # items of a source that does not end while it is measured
# Items/s against ZMQStreamer's, at least, by the size of an item.
GOALS = {100: 0.9, 2**16: 0.8, 2**20: 0.35}
# Against the mux alone, at least, by actors and threads.
SPEEDUPS = {(8, 1): 8, (4, 8): 12}


MESSAGE = 2**23  # bytes: what an actor of ours sends at a time


class Plan(NamedTuple):
    """How much is measured."""

    to_open: float = 0.1  # seconds
    an_item: float = 0.005
    n_items: int = 1_500  # where sources wait
    # The size of items, and how many of them.
    sizes: tuple = ((100, 200_000), (2**16, 8_000), (2**20, 1_000))
    actors: tuple = ((1, 1), (2, 1), (4, 1), (8, 1), (4, 8))
    n_turns: int = 3


QUICK = Plan(1e-3, 1e-4, 200, ((100, 2_000),), ((1, 1), (2, 2)), 1)


def constant(n_bytes, n_items):
    """Yield items: as close to free as a source can be."""
    item = {"x": np.ones(n_bytes, np.uint8)}
    for _ in range(n_items):
        yield dict(item)


def slow(to_open, an_item):
    """Yield numbers, and wait: as an opening and as each item are waited for."""
    time.sleep(to_open)
    for number in range(LONG):
        time.sleep(an_item)
        yield {"x": np.array(number)}


def rate(stream, n_before, n_items):
    """Return items a second, after some."""
    with stream:
        for _ in range(n_before):
            next(stream)
        begin = time.perf_counter()
        for _ in range(n_items):
            next(stream)
        return n_items / (time.perf_counter() - begin)


def throughput(plan):
    """Yield a line for each size of items."""
    most = {size: of_size(*size, plan.n_turns) for size in plan.sizes}
    if HAS_DATA:  # last: what it has begun goes on for a while, and fills the object store
        for size, found in most.items():
            found["data"] = max(rate(of_ray_data(*size), size[1] // 4, size[1]) for _ in range(2))
    for (n_bytes, _), found in most.items():
        ours, others = found["ours"], [found.get(name) for name in ("zmq", "alone", "data")]
        goals = GOALS.get(n_bytes), None, None
        ratios = [
            ratio(ours / other if other else None, goal, False)
            for other, goal in zip(others, goals)
        ]
        figures = [f"{each:,.0f}" if each else "-" for each in (ours, *others)]
        yield [f"{n_bytes:,} bytes", *figures, *ratios]


def of_size(n_bytes, n_items, n_turns):
    """Return the most items a second of several turns, by what gave them."""
    sources = [Streamer(constant, n_bytes, LONG) for _ in range(8)]
    mux = StochasticMux(sources, 8, None, mode="exhaustive", random_state=0)
    is_small = n_bytes * n_items < 10 * MESSAGE
    most = dict.fromkeys(("ours", "zmq", "alone"), 0)
    for _ in range(n_turns):
        ours = ParallelStreamer(mux, 2, backend="ray").iterate()
        for name, speed in (
            ("ours", rate(ours, n_items // 4, n_items)),
            ("zmq", rate(ZMQStreamer(mux).iterate(), n_items // 4, n_items)),
            ("alone", 0 if is_small else of_ray_alone(n_bytes, n_items)),
        ):
            most[name] = max(most[name], speed)
    return most


class Bare:
    """An actor that returns as many bytes as one of ours, copied as often, and does no more."""

    def __init__(self, n_bytes):
        self._item = np.ones(n_bytes, np.uint8)
        self._message = np.empty((max(1, MESSAGE // n_bytes), n_bytes), np.uint8)

    def pull(self):
        for row in self._message:
            row[:] = self._item
        return self._message


def of_ray_alone(n_bytes, n_items):
    """Return items/s of two bare actors with two calls each, whose items are copied out."""
    actors = [ray.remote(num_cpus=1, max_concurrency=4)(Bare).remote(n_bytes) for _ in range(2)]
    ray.get([actor.pull.remote() for actor in actors])
    calls = {actor.pull.remote(): actor for actor in actors for _ in range(2)}
    n_taken, begin = 0, time.perf_counter()
    while n_taken < n_items:
        (call,), _ = ray.wait(list(calls))
        actor, message = calls.pop(call), ray.get(call)
        calls[actor.pull.remote()] = actor
        n_taken += len([row.copy() for row in message])
    seconds = time.perf_counter() - begin
    for actor in actors:
        ray.kill(actor)
    return n_taken / seconds


def of_ray_data(n_bytes, n_items):
    """Return the same items from Ray Data: rows of blocks, in any order."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False

    def fill(batch):
        return {"x": np.ones((len(batch["id"]), n_bytes), np.uint8)}

    data = ray.data.range(2 * n_items).map_batches(fill, batch_size=max(1, 2**20 // n_bytes))
    return _Rows(data.iter_rows())


class _Rows:
    """An iterator that can be closed."""

    def __init__(self, rows):
        self._rows = iter(rows)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._rows = iter(())

    def __next__(self):
        return next(self._rows)


def speedups(plan):
    """Yield a line for each number of actors and threads."""
    sources = [Streamer(slow, plan.to_open, plan.an_item) for _ in range(200)]
    mux = StochasticMux(sources, N_ACTIVE, 16, random_state=0)
    alone = rate(mux.iterate(), plan.n_items, plan.n_items)  # (the same items as below)
    yield ["the mux alone", f"{alone:,.0f}", "1"]
    for n_actors, n_threads in plan.actors:
        streamer = ParallelStreamer(mux, n_actors, backend="ray", threads_per_worker=n_threads)
        # (The first items take some seconds, in which all actors start.)
        speed = rate(streamer.iterate(), plan.n_items, plan.n_items)
        goal = SPEEDUPS.get((n_actors, n_threads))
        yield [f"{n_actors} x {n_threads}", f"{speed:,.0f}", ratio(speed / alone, goal, False)]


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--quick", action="store_true", help="few items, and short sleeps")
    options = parser.parse_args()
    with results("on_ray", options.write):
        print_tables(QUICK if options.quick else Plan())


def print_tables(plan):
    """Print all tables."""
    ray.init(
        num_cpus=10,
        object_store_memory=2**29,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        head = ["items/s, sources that cost nothing", "2 actors"]
        others = ["ZMQStreamer", "Ray alone", "Ray Data, one dataset"]
        print_table([*head, *others, *(f"of {each}" for each in others)], throughput(plan))
        job = f"{1e3 * plan.to_open:g} ms to open, {1e3 * plan.an_item:g} ms an item"
        print_table([f"actors x threads; {job}", "items/s", "of the mux alone"], speedups(plan))
    finally:
        ray.shutdown()
    print(f"pescador {pescador.__version__}, Ray {ray.__version__}. {machine()}")


if __name__ == "__main__":
    main()
