"""
How well a mux mixes: measured, and by formula
==============================================

This example measures what ``n_active`` and ``rate`` do to a mixture: how long a stream stays open,
how far apart the items of a source are, how many streams a batch comes from, and how much its
shares vary. In the pictures, dots are measured, and lines are the formulas of docs/muxanalysis.md.
"""

# %%
# The sources are endless. Each item tells its source and its activation (one start of a source).
# ``FRESH_SEED`` becomes another number in each activation, so it serves as the name of one.

import argparse
import functools
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullLocator

import pescador

N_STREAMERS = 200
WEIGHTS = np.array([1, 1, 2, 2, 4, 4, 8, 8, 16, 16])


@pescador.streamable
def source(number, activation):
    """Yield, for ever, one number for both: which activation this is, and of which source."""
    item = activation * N_STREAMERS + number
    while True:
        yield item


def simulate(n_active, rate, n_items, seed=0, weights=None, n_turnovers=None):
    """Return the numbers of the sources and of the activations of many items in a row.

    The first ones are left out: n_turnovers * n_active * rate, so that the start is forgotten.
    """
    n_turnovers = 2 + rate / 16 if n_turnovers is None else n_turnovers
    n_streamers = N_STREAMERS if weights is None else len(weights)
    streamers = [source(number, pescador.FRESH_SEED) for number in range(n_streamers)]
    mux = pescador.StochasticMux(
        streamers, n_active, rate, weights, random_state=seed, weighting="active"
    )
    n_before = int(n_turnovers * n_active * rate)
    items = np.fromiter(mux.iterate(n_before + n_items), dtype=np.int64)[n_before:]
    return items % N_STREAMERS, items // N_STREAMERS


# Several pictures show the same run.
run = functools.lru_cache(maxsize=None)(simulate)


# %%
# The distribution of the limit, and of how many of ``n`` draws take one of ``n_active`` slots.


def log_factorials(n):
    """Return log 0!, ..., log n!."""
    return np.concatenate([[0], np.cumsum(np.log(np.arange(1, n + 1)))])


def limits(rate, n):
    """Return the probabilities of L = 0, ..., n, where L = 1 + Poisson(rate - 1)."""
    k = np.arange(n)
    return np.concatenate([[0], np.exp(k * np.log(rate - 1) - rate + 1 - log_factorials(n)[:-1])])


def draws(n, n_active):
    """Return the probabilities that 0, ..., n of n items come from one slot of n_active."""
    k, logs = np.arange(n + 1), log_factorials(n)
    log_odds = k * np.log(1 / n_active) + (n - k) * np.log1p(-1 / n_active)
    return np.exp(logs[n] - logs - logs[::-1] + log_odds)


# %%
# The formulas.


def correlations(n_distances, n_active, rate):
    """Return the probabilities that two items are of one activation: 1, 2, ... items apart."""
    more = 1 - np.cumsum(limits(rate, n_distances)[:n_distances])  # P(L > 0), P(L > 1), ...
    stays = 1 - np.cumsum(more) / rate  # P(the slot's next item is of it too), the next but one
    found = np.zeros(n_distances)
    chances = np.zeros(n_distances)  # of how many items of the slot lie between the two
    chances[0] = 1
    for k in range(n_distances):
        found[k] = chances @ stays / n_active
        chances += (np.roll(chances, 1) - chances) / n_active
    return found


def correlation(distance, n_active, rate):
    """Return the probability that two items are of one activation."""
    return correlations(distance, n_active, rate)[-1]


def design_effect(size, n_active, rate):
    """Return by how much the variance of a batch is larger than that of independent draws."""
    distances = np.arange(1, size)
    return 1 + 2 * (1 - distances / size) @ correlations(size - 1, n_active, rate)


def n_distinct(size, n_active, rate):
    """Return the expected number of activations in a batch."""
    n_slots = n_active * (1 - (1 - 1 / n_active) ** size)
    return (1 - 1 / rate) * n_slots + size / rate


def gap_survival(gaps, n_active, rate, share):
    """Return the probabilities that two successive items of one source are further apart."""
    most = gaps.max() * 2 // n_active + 60  # items of one slot meanwhile; more are not likely
    ends = limits(rate, most)
    lasts = 1 - np.cumsum(ends) + ends  # P(L >= l)
    left = lasts / rate  # the distribution of what is left of an activation
    left[0] = 0
    last_left = 1 - np.cumsum(left) + left
    fresh, running = np.ones((2, most + 1))  # P(none of the next j items of a slot)
    for j in range(1, most + 1):
        before = fresh[j - 1 : 0 : -1]
        fresh[j] = (1 - share) * (lasts[j] + ends[1:j] @ before)
        running[j] = (1 - share) * (last_left[j] + left[1:j] @ before)
    own = fresh / rate
    own[0] = 1
    counts = [draws(gap, n_active)[: most + 1] for gap in gaps]
    own, others = ([each @ chances[: len(each)] for each in counts] for chances in (own, running))
    return np.array(own) * np.array(others) ** (n_active - 1)


def gap_inside(weights, n_active):
    """Return the mean distance of neighbours of one activation, under the rule "active"."""
    harmonic_mean = len(weights) / (1 / weights).sum()
    return 1 + (n_active - 1) * harmonic_mean / weights


def wave(n_turnovers, rate):
    """Return how much the number of replacements still swings after the common start."""
    return 2 * np.exp(-4 * np.pi**2 * n_turnovers / rate)


# %%
# The same quantities, measured.


def batches_of(numbers, size):
    """Return the numbers in rows of one batch each."""
    return numbers[: len(numbers) // size * size].reshape(-1, size)


def measured_correlation(activations, distance):
    """Return the fraction of pairs that are of one activation."""
    return (activations[:-distance] == activations[distance:]).mean()


def measured_distinct(activations, size):
    """Return the mean number of activations in a batch."""
    rows = np.sort(batches_of(activations, size), axis=1)
    return 1 + (np.diff(rows, axis=1) != 0).sum(axis=1).mean()


def measured_effect(places, size):
    """Return the variance of the shares in batches, in units of that of independent draws."""
    rows = batches_of(places, size)
    flat = rows + N_STREAMERS * np.arange(len(rows))[:, None]
    counts = np.bincount(flat.ravel(), minlength=N_STREAMERS * len(rows))
    share = 1 / N_STREAMERS
    squares = ((counts - size * share) ** 2).mean()
    return squares / (size * share * (1 - share))


def measured_gaps(places):
    """Return the distances of successive items of one source, for all sources."""
    return np.concatenate([np.diff(np.flatnonzero(places == each)) for each in np.unique(places)])


def measured_gap_inside(places, activations, number):
    """Return the mean distance of neighbours of one activation of a source."""
    at = np.flatnonzero(places == number)
    at = at[np.argsort(activations[at], kind="stable")]
    return np.diff(at)[np.diff(activations[at]) == 0].mean()


def measured_wave(n_active, rate, n_turnovers, n_seeds):
    """Return how much the number of replacements swings, turnover by turnover (n_active * rate)."""
    counts = np.zeros((n_turnovers, 8))
    for seed in range(n_seeds):
        n_items = int(n_turnovers * n_active * rate)
        _, activations = simulate(n_active, rate, n_items, seed, n_turnovers=0)
        firsts = np.unique(activations, return_index=True)[1][n_active:]
        counts += np.histogram(firsts, counts.size, (0, n_items))[0].reshape(counts.shape)
    waves = np.cos(2 * np.pi * (np.arange(8) + 0.5) / 8)
    return 2 * (counts @ waves) / counts.sum(axis=1)


# %%
# Six pictures. The page docs/muxanalysis.md explains them.


def new_axes(title, xlabel, ylabel):
    """Return what to draw on."""
    _, axes = plt.subplots(figsize=(4.4, 3.2), dpi=200, layout="constrained")
    axes.set_title(title, fontsize="medium")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def use_logs(axes, xticks, yticks=None):
    """Make axes logarithmic, with these ticks only."""
    for axis, ticks in ((axes.xaxis, xticks), (axes.yaxis, yticks)):
        if ticks is not None:
            axes.set(**{f"{axis.axis_name}scale": "log"})
            axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_minor_locator(NullLocator())


def draw(axes, dots, line, label):
    """Draw what was measured as dots, and the formula as a line of the same colour."""
    (drawn,) = axes.plot(*line, linewidth=1, label=label)
    axes.plot(*dots, "o", color=drawn.get_color(), markersize=3.5)
    axes.legend(fontsize="small", frameon=False)


def draw_correlation(n_items, rate=16):
    axes = new_axes("Do two items come from one activation?", "distance in items", "probability")
    use_logs(axes, [1, 10, 100, 1000])
    distances = np.unique(np.geomspace(1, 2000, 25).astype(int))
    for n_active in (8, 32):
        _, activations = run(n_active, rate, n_items)
        dots = [measured_correlation(activations, each) for each in distances]
        line = np.arange(1, 2001), correlations(2000, n_active, rate)
        draw(axes, (distances, dots), line, f"n_active={n_active}")


def draw_distinct(n_items, rate=16):
    axes = new_axes("How many activations does a batch have?", "items in a batch", "activations")
    use_logs(axes, [1, 4, 16, 64, 256], [1, 10, 100])
    sizes, every = 2 ** np.arange(9), np.arange(1, 257)
    for n_active in (8, 32, 128):
        _, activations = run(n_active, rate, n_items)
        dots = [measured_distinct(activations, size) for size in sizes]
        line = every, n_distinct(every, n_active, rate)
        draw(axes, (sizes, dots), line, f"n_active={n_active}")


def draw_effect(n_items, size=128):
    axes = new_axes(
        f"How much do batches of {size} vary?", "n_active", "variance (independent draws: 1)"
    )
    use_logs(axes, [2, 4, 8, 16, 32, 64], [2, 4, 8, 16, 32])
    numbers, every = 2 ** np.arange(1, 7), np.geomspace(2, 64, 41)
    for rate in (4, 16, 64):
        dots = [measured_effect(simulate(n, rate, n_items // 2)[0], size) for n in numbers]
        line = every, [design_effect(size, n, rate) for n in every]
        draw(axes, (numbers, dots), line, f"rate={rate}")


def draw_gaps(n_items, rate=16):
    title = "How far apart are the items of a source?"
    axes = new_axes(title, "gap in items", "probability of a longer gap")
    use_logs(axes, [1, 10, 100, 1000], [0.03, 0.1, 0.3, 1])
    gaps = np.unique(np.geomspace(1, 2000, 20).astype(int))
    every = np.unique(np.geomspace(1, 2000, 80).astype(int))
    for n_active in (8, 32):
        measured = measured_gaps(run(n_active, rate, n_items)[0])
        dots = [(measured > gap).mean() for gap in gaps]
        line = every, gap_survival(every, n_active, rate, 1 / N_STREAMERS)
        draw(axes, (gaps, dots), line, f"n_active={n_active}")


def draw_stays(n_items, rate=16):
    title = "How long does a stream stay under weighting='active'?"
    axes = new_axes(title, "weight of the stream", "items of the mux until it ends")
    use_logs(axes, [1, 2, 4, 8, 16], [20, 50, 100, 200])
    for n_active in (2, 8):
        places, activations = simulate(n_active, rate, n_items, weights=WEIGHTS)
        dots = [measured_gap_inside(places, activations, each) for each in range(len(WEIGHTS))]
        line = WEIGHTS, rate * gap_inside(WEIGHTS, n_active)
        draw(axes, (WEIGHTS, rate * np.array(dots)), line, f"n_active={n_active}")


def draw_waves(n_items, n_turnovers=5):
    title, xlabel = "How do replacements swing at first?", "turnovers of n_active * rate items"
    axes = new_axes(title, xlabel, "swing, as a fraction of the mean")
    middles, every = np.arange(1, n_turnovers) + 0.5, np.linspace(1, n_turnovers, 41)
    for rate in (32, 64):
        dots = measured_wave(512, rate, n_turnovers, 1 + n_items // 18_000)[1:]
        draw(axes, (middles, dots), (every, wave(every, rate)), f"rate={rate}")
    axes.set_xticks(range(1, n_turnovers + 1))


PICTURES = (draw_correlation, draw_distinct, draw_effect, draw_gaps, draw_stays, draw_waves)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="draw fewer items")
    parser.add_argument("--folder", type=Path, default=Path(), help="where to save the pictures")
    options = parser.parse_args()
    print("dots are measured, lines are the formulas")
    for draw_picture in PICTURES:
        draw_picture(10_000 if options.quick else 200_000)
        path = options.folder / f"mixing_{draw_picture.__name__.removeprefix('draw_')}.png"
        plt.savefig(path)
        print(f"saved {path}")


if __name__ == "__main__":
    main()
