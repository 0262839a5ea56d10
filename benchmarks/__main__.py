"""Print what an item costs: ``python -m benchmarks [--repeats N] [--only TEXT] [--write]``.

Three columns from one run: this library, pescador 3.0.0 (see ``harness``), and loops written by
hand. The three take turns, and one turn counts, with all three of its figures: that whose ratio is
the median. A machine that others use, too, is now quicker and now slower, so only figures of one
turn can be compared.
"""

from typing import NamedTuple

from .harness import machine, ours_and_peer, parser_of, ratio, results

TITLE_1000 = "StochasticMux, 1,000 streamers, 64 open, rate 16"
MODES = ("with_replacement", "single_active", "exhaustive")


class Case(NamedTuple):
    """A row: what is measured in each column, and how many items are read."""

    title: str
    name: str
    arguments: tuple = ()
    by_hand: tuple = ("one_by_hand",)
    n_first: int = 2_000
    n_items: int = 100_000
    n_items_peer: int = 2_000
    max_repeats: int = 100
    goal_hand: float | None = None
    goal_peer: float | None = None


def table():
    """Yield the rows."""
    yield Case("Streamer.iterate", "iterate", n_items_peer=100_000, goal_hand=2.5, goal_peer=1.2)
    yield from as_called()
    for n in (8, 64, 512):
        goals = {"by_hand": ("slots_by_hand", n), "goal_hand": 2.5, "goal_peer": 80}
        yield Case(f"ShuffledMux, {n} open", "shuffled", (n,), **goals)
        yield Case("the same, unequal weights", "shuffled_weighted", (n,), **goals)
        yield Case(f"StochasticMux(rate=None), {n} open", "stochastic", (n,), **goals)
        yield Case("the same, unequal weights", "stochastic_weighted", (n,), **goals)
    rate = {"by_hand": ("slots_by_hand", 64), "n_items": 10_000}
    for mode in MODES:
        yield Case(
            f"{TITLE_1000}, {mode}", "rate_16", (1000, mode), **rate, goal_hand=6, goal_peer=50
        )
    yield Case("the same, unequal weights", "rate_16_weighted", (1000,), **rate)
    for mode in MODES[:2]:
        title = f'the same, weighting="share", {mode}'
        yield Case(title, "rate_16_share", (1000, mode), **rate | {"n_items_peer": 0})
    for n in (100_000, 1_000_000):
        for mode in MODES:
            title = f"the same, {n:,} streamers, {mode}"
            # A million streamers take the peer 7 seconds to start, each time.
            few = 3 if n == 1_000_000 else 100
            yield Case(title, "rate_16", (n, mode), **rate, max_repeats=few, goal_peer=100)
    rate = {"by_hand": ("slots_by_hand", 512), "n_first": 5_000, "n_items": 20_000}
    title = "StochasticMux, 1,000 streamers, 512 open, rate 4, unequal weights"
    yield Case(title, "rate_4_weighted", (512, 1000), **rate, goal_peer=25)
    for n in (64, 100_000):
        title = f"StochasticMux, {n:,} open, unequal weights, rate 4"
        yield Case(title, "rate_4_weighted", (n,), n_first=2 * n, n_items=20_000, n_items_peer=0)
    hand = {"by_hand": ("slots_by_hand", 512), "goal_hand": 2, "goal_peer": 50}
    yield Case("RoundRobinMux, 512 open", "round_robin", (512,), **hand)
    yield Case("ChainMux, streams of 1,000", "chain", goal_hand=2.5, goal_peer=5)
    hand = {"by_hand": ("slots_by_hand", 64), "goal_hand": 8, "goal_peer": 60}
    yield Case("three muxes nested", "nested", n_first=10_000, **hand)
    title = "ShuffledMux over StochasticMux (rate 16) over RoundRobinMux of 4"
    hand = {"by_hand": ("slots_by_hand", 64), "goal_peer": 80}
    yield Case(title, "nested_often", n_items=10_000, **hand)
    hand = {"by_hand": ("slots_by_hand", 64), "n_items_peer": 200}
    yield Case("4 streamers, 2 open, rate 16", "arguments", (1,), **hand)
    title = "the same, with arguments of 40 MB each"
    yield Case(title, "arguments", (5_000_000,), **hand, goal_peer=500)
    for size in (1, 16, 256, 512, 4096, 65_536):
        n = max(20, min(500, 2**24 // (size * 128)))
        counts = {"n_first": 5, "n_items": n, "n_items_peer": max(5, n // 4)}
        hand = {"by_hand": ("concatenated_by_hand", size), "goal_hand": 2}
        title = f"buffer_stream, 128 items of {size:,} float64 (per batch)"
        goal = 1 if size >= 512 else None
        yield Case(title, "buffered", (size,), **hand, **counts, goal_peer=goal)
    for n in (32, 128):
        title = f"buffer_stream, {n} items of three keys (per batch)"
        counts = {"n_first": 5, "n_items": 500, "n_items_peer": 125}
        hand = {"by_hand": ("gathered_by_hand", n), "goal_hand": 2}
        yield Case(title, "gathered", (n,), **hand, **counts)


def as_called():
    """Yield the rows of what programs call, with a limit and without."""
    for how, text in (("looped", LOOP), ("counted", COUNT)):
        both = {"by_hand": (f"{how}_by_hand",), "n_items_peer": 100_000, "goal_peer": 1.2}
        for is_bounded in (True, False):
            title = f"{text[is_bounded]}, Streamer"
            yield Case(title, how, ("streamer", is_bounded), **both)
    for n in (8, 512):
        hand = {"by_hand": ("counted_slots_by_hand", n), "goal_peer": 20}
        for is_bounded in (True, False):
            title = f"{COUNT[is_bounded]}, StochasticMux(rate=None), {n} open"
            yield Case(title, "counted", (f"stochastic_{n}", is_bounded), **hand)


# By whether there is a limit.
LOOP = ("for item in streamer", "for item in streamer.iterate(n)")
COUNT = ("count of islice(streamer.iterate(), n)", "count of streamer.iterate(n)")

# Rows whose cost is compared, what differs between them, and the largest ratio.
ALIKE = [
    (
        f"{LOOP[True]}, Streamer",
        f"{LOOP[False]}, Streamer",
        f"`{LOOP[False]}` to `{LOOP[True]}`",
        1.15,
    ),
    *(
        (
            f"{COUNT[True]}, {kind}",
            f"{COUNT[False]}, {kind}",
            f"`islice(streamer.iterate(), n)` to `streamer.iterate(n)`, {kind}",
            1.15,
        )
        for kind in ("Streamer", *(f"StochasticMux(rate=None), {n} open" for n in (8, 512)))
    ),
    *(
        (
            f"the same, {n:,} streamers, {mode}",
            f"{TITLE_1000}, {mode}",
            f"1,000 to {n:,} streamers, {mode}",
            1.3,
        )
        for n in (100_000, 1_000_000)
        for mode in MODES
    ),
    (
        "StochasticMux, 100,000 open, unequal weights, rate 4",
        "StochasticMux, 64 open, unequal weights, rate 4",
        "64 to 100,000 open, unequal weights, rate 4",
        4,
    ),
    (
        "the same, with arguments of 40 MB each",
        "4 streamers, 2 open, rate 16",
        "small arguments to arguments of 40 MB each",
        1.1,
    ),
]


def run(case, ours, peer, repeats):
    """Return the middle one of several turns: ours, the peer's (or None), by hand."""
    measured = []
    hand_name, *hand_arguments = case.by_hand
    for _ in range(min(repeats, case.max_repeats)):
        counts = case.n_first, case.n_items
        mine = ours.measure(case.name, case.arguments, *counts)
        theirs = None
        if case.n_items_peer:
            n_first = min(case.n_first, 2_000)
            theirs = peer.measure(case.name, case.arguments, n_first, case.n_items_peer)
        by_hand = ours.measure(hand_name, hand_arguments, *counts)
        measured.append((mine, theirs, by_hand))
    measured.sort(key=lambda turn: turn[0] / (turn[1] or turn[2]))
    return measured[len(measured) // 2]


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default="", help="rows whose title holds this text")
    options = parser.parse_args()
    with results("items", options.write):
        print_table(options)


def print_table(options):
    """Print a row for each case, and the ratios between some."""
    print("| ns per item | pescador | 3.0.0 | by hand | times by hand | faster than 3.0.0 |")
    print("|---|---:|---:|---:|---:|---:|")
    costs = {}
    for case in table():
        if options.only not in case.title:
            continue
        # New processes for each row, so that none finds the memory as another has left it.
        with ours_and_peer("worker.py") as (ours, peer):
            mine, theirs, by_hand = run(case, ours, peer, options.repeats)
            costs[case.title] = mine / by_hand  # (rows are measured at different speeds)
            faster = None if theirs is None else theirs / mine
            cells = [f"{mine:,.0f}", "-" if theirs is None else f"{theirs:,.0f}", f"{by_hand:,.0f}"]
            cells += [ratio(mine / by_hand, case.goal_hand, True)]
            cells += [ratio(faster, case.goal_peer, False)]
            print(f"| {case.title} | {' | '.join(cells)} |", flush=True)
    print("\n| change | times as many ns per item |\n|---|---:|")
    for title, other, change, goal in ALIKE:
        if title in costs and other in costs:
            print(f"| {change} | {ratio(costs[title] / costs[other], goal, True)} |")
    print()
    print(machine("The middle one of several turns"))


if __name__ == "__main__":
    main()
