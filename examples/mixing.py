"""
How well a mux mixes: measured, and by formula
==============================================

What ``n_active`` and ``rate`` do to a stream: how long sources stay, how far apart their items are,
how many of them a batch has, and how much a batch differs from one of independent draws. Dots are
measured, lines are the formulas of docs/muxanalysis.md.
"""

# %%
# The sources are endless, and tell who they are. ``FRESH_SEED`` is another number for each
# activation, so that two activations of one source can be told apart.

import argparse
import itertools

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import pescador

N_STREAMERS = 200
WEIGHTS = np.array([1, 1, 2, 2, 4, 4, 8, 8, 16, 16])


@pescador.streamable
def source(number, activation):
    """Yield, for ever, which source this is, and which activation of it."""
    while True:
        yield number, activation


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
    values = itertools.chain.from_iterable(mux.iterate(n_before + n_items))
    items = np.fromiter(values, dtype=np.int64).reshape(-1, 2)[n_before:]
    return items.T


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


def correlation(distance, n_active, rate):
    """Return the probability that two items are of one activation."""
    at_least = 1 - np.cumsum(limits(rate, distance + 1)) + limits(rate, distance + 1)
    # P(the next k + 1 items of the slot are of the same activation), for k = 0, 1, ...
    stays = 1 - np.cumsum(at_least[1:]) / rate
    return draws(distance - 1, n_active) @ stays[:distance] / n_active


def design_effect(size, n_active, rate):
    """Return by how much the variance of a batch is larger than that of independent draws."""
    distances = np.arange(1, size)
    each = np.array([correlation(distance, n_active, rate) for distance in distances])
    return 1 + 2 * ((1 - distances / size) * each).sum()


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
# The same, counted.


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
# Six plots. What is drawn, and why it is so, is in docs/muxanalysis.md.


def plot_correlation(axes, n_items, rate=16):
    distances = np.unique(np.geomspace(1, 2000, 25).astype(int))
    for n_active in (8, 32):
        _, activations = simulate(n_active, rate, n_items)
        dots = [measured_correlation(activations, each) for each in distances]
        line = [correlation(each, n_active, rate) for each in distances]
        draw(axes, distances, dots, line, f"n_active={n_active}")
    axes.set(xscale="log", xlabel="distance in items", ylabel="P(same activation)")


def plot_distinct(axes, n_items, rate=16):
    sizes = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256])
    for n_active in (8, 32, 128):
        _, activations = simulate(n_active, rate, n_items)
        dots = [measured_distinct(activations, size) for size in sizes]
        draw(axes, sizes, dots, n_distinct(sizes, n_active, rate), f"n_active={n_active}")
    axes.loglog()
    axes.set(xlabel="batch size", ylabel="activations in a batch")


def plot_effect(axes, n_items, size=128):
    sizes_of_set = np.array([2, 4, 8, 16, 32, 64])
    for rate in (4, 16, 64):
        dots = [measured_effect(simulate(n, rate, n_items)[0], size) for n in sizes_of_set]
        line = [design_effect(size, n, rate) for n in sizes_of_set]
        draw(axes, sizes_of_set, dots, line, f"rate={rate}")
    axes.loglog()
    axes.set(xlabel="n_active (memory)", ylabel=f"variance of batches of {size}")


def plot_gaps(axes, n_items, rate=16):
    gaps = np.unique(np.geomspace(1, 2000, 20).astype(int))
    for n_active in (8, 32):
        measured = measured_gaps(simulate(n_active, rate, n_items)[0])
        dots = [(measured > gap).mean() for gap in gaps]
        line = gap_survival(gaps, n_active, rate, 1 / N_STREAMERS)
        draw(axes, gaps, dots, line, f"n_active={n_active}")
    axes.loglog()
    axes.set(xlabel="gap between items of a source", ylabel="P(gap is longer)")


def plot_stays(axes, n_items, rate=16):
    for n_active in (2, 8):
        places, activations = simulate(n_active, rate, n_items, weights=WEIGHTS)
        dots = [measured_gap_inside(places, activations, each) for each in range(len(WEIGHTS))]
        line = rate * gap_inside(WEIGHTS, n_active)
        draw(axes, WEIGHTS, rate * np.array(dots), line, f"n_active={n_active}")
    axes.loglog()
    axes.set(xlabel='weight, under "active"', ylabel="stay in items of the mux")


def plot_waves(axes, n_items):
    turnovers = np.arange(1, 7)
    for rate in (16, 32, 64):
        dots = measured_wave(64, rate, 7, max(1, n_items // (7 * 64 * rate)))[1:]
        draw(axes, turnovers, dots, wave(turnovers + 0.5, rate), f"rate={rate}")
    axes.set(xlabel="items / (n_active * rate)", ylabel="swing of replacements")


def draw(axes, x, dots, line, label):
    """Draw what was measured as dots, and the formula as a line of the same colour."""
    (drawn,) = axes.plot(x, line, linewidth=1, label=label)
    axes.plot(x, dots, ".", color=drawn.get_color())
    axes.legend(fontsize="small")


PLOTS = (plot_correlation, plot_distinct, plot_effect, plot_gaps, plot_stays, plot_waves)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="draw fewer items")
    parser.add_argument("--out", default="mixing.png", help="where to save the plot")
    options = parser.parse_args()
    figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
    for plot, each in zip(PLOTS, axes.flat):
        plot(each, 10_000 if options.quick else 100_000)
    figure.savefig(options.out)
    print(f"saved {options.out}: dots are measured, lines are the formulas")


if __name__ == "__main__":
    main()
