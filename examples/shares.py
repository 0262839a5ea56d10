"""
Weights and real shares
=======================

A ``StochasticMux`` mixes ten sources of unequal weights, and three of them are open at a time. You
will see the share of the items that each source gives. With ``weighting="share"``, shares are the
weights. With ``weighting="active"``, weights decide only among the open streams, and shares become
almost equal.
"""

# %%
# The sources: each gives its own number, and the first ones are short.

import argparse

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullLocator

import pescador

WEIGHTS = np.array([0.47, 0.20, 0.10, 0.06, 0.05, 0.04, 0.03, 0.02, 0.02, 0.01])
N_ACTIVE, RATE = 3, 16
RULES = ("active", "share")


@pescador.streamable
def source(number):
    """Yield a number a few times."""
    for _ in range(20 + 10 * number):
        yield number


# %%
# The fraction of the items that come from each source.


def real_shares(weighting, n_items, seed=0):
    """Return the shares of the sources in a mixture."""
    streamers = [source(number) for number in range(len(WEIGHTS))]
    mux = pescador.StochasticMux(
        streamers, N_ACTIVE, RATE, WEIGHTS, random_state=seed, weighting=weighting
    )
    counts = np.bincount(list(mux.iterate(n_items)), minlength=len(WEIGHTS))
    return counts / n_items


def deviations(n_items):
    """Return the standard deviations of the shares under the rule ``"share"``."""
    return (WEIGHTS * (1 - WEIGHTS) * (RATE + 1 - 1 / RATE) / n_items) ** 0.5


# %%
# The picture: the real shares, against the weights. The bars are three standard deviations.


def plot(shares, n_items, path):
    """Save a plot of the shares under both rules."""
    figure, axes = plt.subplots(figsize=(4.4, 4.2), dpi=200, layout="constrained")
    limits, ticks = [0.004, 1], [0.01, 0.03, 0.1, 0.3, 1]
    axes.loglog(limits, limits, color="0.5", linewidth=1, label="share = weight")
    axes.loglog(WEIGHTS, shares["active"], "s", label='weighting="active"')
    axes.errorbar(
        WEIGHTS,
        shares["share"],
        yerr=3 * deviations(n_items),
        fmt="o",
        label='weighting="share"',
    )
    axes.set_title("Weights and real shares", fontsize="medium")
    axes.set(xlim=limits, ylim=limits, xlabel="weight", ylabel="share of the items")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_minor_locator(NullLocator())
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize="small", frameon=False)
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="draw fewer items")
    parser.add_argument("--out", default="shares.png", help="where to save the plot")
    options = parser.parse_args()
    n_items = 50_000 if options.quick else 500_000
    shares = {rule: real_shares(rule, n_items) for rule in RULES}
    print("   weight   active    share   (+- standard deviation)")
    for row in zip(WEIGHTS, shares["active"], shares["share"], deviations(n_items)):
        print("{:9.3f} {:8.4f} {:8.4f}   ({:.4f})".format(*row))
    plot(shares, n_items, options.out)
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()
