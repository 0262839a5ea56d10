"""Print what a monitor costs: ``python -m benchmarks.monitor [--quick] [--write]``.

A stream without one and a stream with one are measured right after each other, turn by turn. The
last column is the median of what the turns say, the others are medians too. An activation is its
opening, its items, and its end.
"""

import collections
import itertools
import time

import numpy as np

from pescador import Monitor, ParallelStreamer, ShuffledMux, StochasticMux, Streamer, ZMQStreamer

from .harness import machine, parser_of, ratio, results
from .parallel import print_table

RATE = 16
MOST = 1.1  # times the time of an activation, with a monitor
REPORT_MS = 50
N_PORTIONS = 10


def numbers():
    """Yield numbers without end: as close to free as a source can be."""
    yield from itertools.count()


def records():
    """Yield small items that can cross to another process."""
    for value in itertools.count():
        yield {"x": value}


def mux(n, source=numbers, rate=RATE):
    return StochasticMux([Streamer(source) for _ in range(n)], 64, rate, random_state=0)


CASES = {
    "StochasticMux, 64 of 1,000 open, rate 16": lambda: mux(1000),
    "the same, rate None": lambda: mux(1000, rate=None),
    "ShuffledMux of 8 sources of 16 items": lambda: ShuffledMux(
        [Streamer(range, RATE)] * 8, random_state=0
    ),
    "StochasticMux of 5 such muxes, at rate 64": lambda: StochasticMux(
        [mux(100) for _ in range(5)], 2, 64, random_state=0
    ),
    "the first in a ZMQStreamer": lambda: ZMQStreamer(mux(1000, records)),
    "the first on 2 threads": lambda: ParallelStreamer(mux(1000), 2, backend="threads"),
}


def nanoseconds(items, n_items):
    """Return the time of an item, over the next ones."""
    begin = time.perf_counter()
    collections.deque(itertools.islice(items, n_items), maxlen=0)
    return 1e9 * (time.perf_counter() - begin) / n_items


def portions(streamer, n_items, is_monitored):
    """Return the time of an item in some portions of a stream, after a long one."""
    with streamer.iterate() as stream:
        items = iter(Monitor(stream)) if is_monitored else iter(stream)
        nanoseconds(items, N_PORTIONS * n_items)
        return [nanoseconds(items, n_items) for _ in range(N_PORTIONS)]


def turn(streamer, n_items, monitored_first):
    """Return the time of an item without and with a monitor."""
    times = {
        is_monitored: np.median(portions(streamer, n_items, is_monitored))
        for is_monitored in (monitored_first, not monitored_first)
    }
    return times[False], times[True]


def rows(n_items, n_turns):
    """Yield a line for each case."""
    for name, make in CASES.items():
        streamer = make()
        times = np.array([turn(streamer, n_items, bool(each % 2)) for each in range(n_turns)])
        plain, monitored = np.median(times, axis=0)
        more = RATE * np.median(times[:, 1] - times[:, 0])
        figures = [f"{each:,.0f}" for each in (plain, monitored, more)]
        yield [name, *figures, ratio(np.median(times[:, 1] / times[:, 0]), MOST, True)]


def reports(sizes, n_turns):
    """Yield how long a report of so many sources takes, all of which were opened."""
    for n in sizes:
        streamers = [Streamer(numbers) for _ in range(n)]
        monitor = Monitor(StochasticMux(streamers, 64, 1, mode="exhaustive").iterate(n))
        collections.deque(monitor, maxlen=0)
        least = float("inf")
        for _ in range(n_turns):
            begin = time.perf_counter()
            monitor.report()
            least = min(least, 1e3 * (time.perf_counter() - begin))
        yield [f"{n:,} sources", ratio(least, REPORT_MS, True)]


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--quick", action="store_true", help="few items, one turn")
    options = parser.parse_args()
    with results("monitor", options.write):
        print_tables(options.quick)


def print_tables(is_quick):
    """Print what it costs to monitor streams, and what reports cost."""
    n_items, n_turns = (2_000, 1) if is_quick else (5_000, 32)
    head = ["ns an item", "plain", "monitored", f"more for {RATE} items", "times"]
    print_table(head, rows(n_items, n_turns))
    sizes = (100,) if is_quick else (1_000, 100_000)
    print_table(["`report()` of", "ms"], reports(sizes, 1 if is_quick else 7))
    print(machine("Medians of several turns"))


if __name__ == "__main__":
    main()
