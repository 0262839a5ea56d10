"""Print the transport tables of docs/costs.md: ``python -m benchmarks.transport [--repeats N]``.

What it costs to bring items from a background process: `ZMQStreamer`, that of pescador 3.0.0 (see
``harness``), and a PyTorch DataLoader with one worker, beside two limits: one copy of the same
bytes in one process, and a bare PAIR socket. All take turns, and the best of several turns counts.
PyTorch is used if it is installed: ``python -m pip install -e ".[benchmarks]"``.
"""

import importlib.util
from typing import NamedTuple

from .harness import machine, ours_and_peer, parser_of, ratio, results


class Case(NamedTuple):
    """A row: what an item is, how many are read, and the goals."""

    title: str
    kind: str | int
    n_bytes: int
    n_items: dict
    goal_peer: float
    goal_memcpy: float | None = None


HOW = ("pescador", "peer", "loader_tensors", "loader_arrays", "pair", "memcpy")
CASES = [
    Case(
        "16 float32 and 1 int64",
        "small",
        72,
        dict(zip(HOW, (200_000, 20_000, 4_000, 4_000, 200_000, 200_000))),
        10,
    ),
    Case("64 KiB", 2**16, 2**16, dict(zip(HOW, (20_000, 8_000, 4_000, 4_000, 8_000, 20_000))), 2.5),
    Case("1 MiB", 2**20, 2**20, dict(zip(HOW, (6_000, 1_500, 1_500, 600, 1_500, 6_000))), 4, 0.3),
    Case("16 MiB", 2**24, 2**24, dict(zip(HOW, (300, 80, 80, 40, 80, 300))), 2.5, 0.6),
]


def run(case, repeats):
    """Return [seconds, CPU here, CPU there] per item, for each way."""
    best = {}
    with ours_and_peer("transport_worker.py") as (ours, peer):
        for _ in range(repeats):
            for how in HOW:
                if how.startswith("loader") and importlib.util.find_spec("torch") is None:
                    continue
                n_items = case.n_items[how]
                request = ("pescador" if how == "peer" else how, case.kind, n_items // 4, n_items)
                measured = (peer if how == "peer" else ours).measure(*request)
                best[how] = min(best.get(how, measured), measured)
    return best


def speed(seconds, n_bytes):
    """Return items and megabytes a second, as text."""
    return f"{1 / seconds:,.0f} ({n_bytes / seconds / 1e6:,.0f})"


def cpu(measured):
    """Return the CPU time of both sides, as text."""
    return " + ".join(f"{1e6 * each:,.1f}" for each in measured[1:])


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with results("transport", options.write):
        print_tables([(case, run(case, options.repeats)) for case in CASES])


def print_tables(measured):
    """Print the speed and the CPU time of each case."""
    print(
        "| items/s (MB/s) | pescador | 3.0.0 | DataLoader, tensors | DataLoader, arrays |", end=""
    )
    print(" bare PAIR | one memcpy | times 3.0.0 | of memcpy |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for case, best in measured:
        cells = [speed(best[how][0], case.n_bytes) if how in best else "-" for how in HOW]
        mine = best["pescador"][0]
        cells += [ratio(best["peer"][0] / mine, case.goal_peer, False)]
        cells += [ratio(best["memcpy"][0] / mine, case.goal_memcpy, False)]
        print(f"| {case.title} | {' | '.join(cells)} |")
    print()
    print(
        "| CPU microseconds an item, here + there | pescador | 3.0.0 | DataLoader, tensors |",
        end="",
    )
    print(" DataLoader, arrays | bare PAIR |")
    print("|---|---:|---:|---:|---:|---:|")
    for case, best in measured:
        cells = [cpu(best[how]) if how in best else "-" for how in HOW[:-1]]
        print(f"| {case.title} | {' | '.join(cells)} |")
    print()
    print(machine())


if __name__ == "__main__":
    main()
