"""
Which streams are open
======================

Each mux mixes six sources: A has 2 items, B has 4, and so on to F with 12. A source notes when its
streams are opened, read and closed. The pictures show these notes.
"""

# %%
# A source that takes notes. Closing a stream calls the ``close()`` of its iterator, if it has one.

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import pescador

LENGTHS = {"A": 2, "B": 4, "C": 6, "D": 8, "E": 10, "F": 12}
N_ITEMS = 60
SEED = 0


class Notes:
    """What has happened so far: the streams, and how many items they gave in all."""

    def __init__(self):
        self.streams = []
        self.n_items = 0


class Source:
    """An iterable. Each of its iterators is a stream that takes notes."""

    def __init__(self, name, notes):
        self.name = name
        self.notes = notes

    def __iter__(self):
        return NotedStream(self.name, self.notes)


class NotedStream:
    """A stream, which knows when it was opened, when it gave its items, and when it was closed."""

    def __init__(self, name, notes):
        self.name = name
        self.notes = notes
        self.opened = notes.n_items
        self.closed = None
        self.items = []
        self.has_ended = False
        notes.streams.append(self)

    def __iter__(self):
        return self

    def __next__(self):
        if len(self.items) == LENGTHS[self.name]:
            self.has_ended = True
            self.close()
            raise StopIteration
        self.items.append(self.notes.n_items)
        self.notes.n_items += 1
        return self.name

    def close(self):
        if self.closed is None:
            self.closed = self.notes.n_items


# %%
# The muxes. A ``StochasticMux`` has three open streams, and each may give five items.


def stochastic(mode):
    """Return what makes a `StochasticMux`."""
    return lambda sources: pescador.StochasticMux(
        sources, 3, rate=5, mode=mode, dist="constant", random_state=SEED
    )


def round_robin(mode):
    """Return what makes a `RoundRobinMux`."""
    return lambda sources: pescador.RoundRobinMux(sources, mode, random_state=SEED)


def chain(mode):
    """Return what makes a `ChainMux`."""
    return lambda sources: pescador.ChainMux(sources, mode)


FIGURES = {
    "StochasticMux": {
        mode: stochastic(mode) for mode in ("with_replacement", "single_active", "exhaustive")
    },
    "ShuffledMux": {
        "weights 1, 1, 1, 1, 1, 5": lambda sources: pescador.ShuffledMux(
            sources, [1, 1, 1, 1, 1, 5], random_state=SEED
        )
    },
    "RoundRobinMux": {
        mode: round_robin(mode) for mode in ("exhaustive", "cycle", "permuted_cycle")
    },
    "ChainMux": {mode: chain(mode) for mode in ("exhaustive", "cycle")},
}


def observe(make_mux, n_items=N_ITEMS):
    """Run a mux over the sources; return the streams that were opened."""
    notes = Notes()
    with make_mux([Source(name, notes) for name in LENGTHS]).iterate(n_items) as stream:
        for _ in stream:
            pass
    return notes.streams


# %%
# The pictures. A bar is a stream while it is open, and a dot is an item. At a red line, the mux
# found that the source had no more items. Bars that overlap are two streams of one source.


def draw(axes, streams):
    """Draw the bars and dots of one run."""
    names = list(LENGTHS)
    for each in streams:
        row = names.index(each.name)
        axes.barh(row, each.closed - each.opened, 0.8, each.opened, color="tab:blue", alpha=0.35)
        axes.plot([t + 0.5 for t in each.items], [row] * len(each.items), "k.", markersize=3.5)
        if each.has_ended:
            axes.plot([each.closed] * 2, [row - 0.4, row + 0.4], color="tab:red", linewidth=1.5)
    axes.set(xlim=(0, N_ITEMS), ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelsize=8, left=False)
    axes.spines[["top", "right"]].set_visible(False)


def picture(name, title, make_mux):
    """Return a picture of a mux in one of its modes."""
    figure, axes = plt.subplots(figsize=(3.2, 1.9), dpi=200, layout="constrained")
    draw(axes, observe(make_mux))
    axes.set_title(f"{name}, {title}", fontsize=9)
    axes.set_xlabel("items of the mux so far", fontsize=9)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="changes nothing in this example")
    parser.add_argument("--folder", type=Path, default=Path(), help="where to save the pictures")
    options = parser.parse_args()
    for name, makers in FIGURES.items():
        for number, (title, make_mux) in enumerate(makers.items(), start=1):
            path = options.folder / f"open_{name}_{number}.png"
            picture(name, title, make_mux).savefig(path)
            print(f"saved {path}")


if __name__ == "__main__":
    main()
