"""Print what a state costs: ``python -m benchmarks.resume [--items N]``.

A mux of 100,000 streamers, 64 of them open, at rate 16, in each mode and weighting.
"""

import argparse
import collections
import itertools
import json
import time

import pescador

from .harness import machine

N_STREAMERS = 100_000
N_ACTIVE = 64
RATE = 16
N_REPEATS = 20


def rows(number):
    """Yield numbered items without end."""
    for index in itertools.count():
        yield number, index


def cases():
    """Yield the muxes, by name."""
    streamers = [pescador.Streamer(rows, number) for number in range(N_STREAMERS)]
    weights = range(1, N_STREAMERS + 1)
    for mode in ("with_replacement", "single_active"):
        for given, name in ((None, ""), (weights, ", unequal weights")):
            mux = pescador.StochasticMux(
                streamers, N_ACTIVE, RATE, given, mode, random_state=0, weighting="active"
            )
            yield mode + name, mux
        mux = pescador.StochasticMux(
            streamers, N_ACTIVE, RATE, weights, mode, random_state=0, weighting="share"
        )
        yield mode + ", shares", mux


def seconds(function):
    """Return the least time that a call takes, and what it returned at last."""
    least = float("inf")
    for _ in range(N_REPEATS):
        start = time.perf_counter()
        result = function()
        least = min(least, time.perf_counter() - start)
    return least, result


def measure(mux, n_items):
    """Return the size of a state after some items, the time to take it, and that to resume."""
    with mux.iterate() as stream:
        collections.deque(itertools.islice(stream, n_items), maxlen=0)
        to_take, state = seconds(stream.state_dict)
        expected = list(itertools.islice(stream, 100))

    def resume():
        with mux.resume(state) as resumed:
            return list(itertools.islice(resumed, 1))

    to_resume, first = seconds(resume)
    assert first == expected[:1]
    return len(json.dumps(state)), to_take, to_resume


def main():
    """Print a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000_000, help="before the state is taken")
    arguments = parser.parse_args()
    print(f"After {arguments.items:,} items. {machine()}\n")
    print("| mode | bytes of JSON | ms to take it | ms to the first item again |")
    print("|---|---:|---:|---:|")
    for name, mux in cases():
        size, to_take, to_resume = measure(mux, arguments.items)
        print(f"| {name} | {size:,} | {1e3 * to_take:.2f} | {1e3 * to_resume:.1f} |", flush=True)


if __name__ == "__main__":
    main()
