"""
Sample from more files than fit in memory
=========================================

A few hundred archives on disk, one streamer for each. A file is opened when its stream starts
and closed when it ends, so that a working set of 32 is all that is ever open. A background
process reads the files.
"""

# %%
# Write the archives: scikit-learn's digits, a few rows to a file, and the same rows as plain
# arrays that can be memory-mapped.

import argparse
import collections
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import pescador

ROWS_PER_FILE = 6
WORKING_SET = 32


def write_files(folder, n_rows):
    """Write the rows to archives and to plain arrays; return the paths of both."""
    x, y = load_digits(return_X_y=True)
    archives, arrays = [], []
    for number, start in enumerate(range(0, n_rows, ROWS_PER_FILE)):
        rows = np.arange(start, min(start + ROWS_PER_FILE, n_rows))
        archives.append(folder / f"{number:04}.npz")
        np.savez(archives[-1], X=x[rows], Y=y[rows], row=rows)
        arrays.append((folder / f"{number:04}-X.npy", folder / f"{number:04}-rows.npy"))
        np.save(arrays[-1][0], x[rows])
        np.save(arrays[-1][1], np.stack([y[rows], rows], axis=1))
    return archives, arrays


# %%
# The sources open their files inside the generator: a streamer is only a recipe, and costs
# nothing until it is started.


@pescador.streamable
def rows_of_archive(path):
    """Yield the rows of an .npz archive in order."""
    with np.load(path) as data:
        x, y, rows = data["X"], data["Y"], data["row"]
    for i in range(len(x)):
        yield {"X": x[i], "Y": y[i], "row": rows[i]}


@pescador.streamable
def rows_of_arrays(path_x, path_rows):
    """Yield the rows of memory-mapped arrays in order; only the pages that are read are loaded."""
    x = np.load(path_x, mmap_mode="r")
    rows = np.load(path_rows, mmap_mode="r")
    for i in range(len(x)):
        yield {"X": np.asarray(x[i]), "Y": rows[i, 0], "row": rows[i, 1]}


# %%
# One epoch: every file is read once, 32 at a time, and every row comes exactly once.


def one_epoch(streams, n_rows):
    """Read a shuffled epoch in batches of 64, and count the rows."""
    mux = pescador.StochasticMux(streams, WORKING_SET, rate=None, mode="exhaustive", random_state=0)
    batches = pescador.Streamer(pescador.buffer_stream, mux, 64, partial=True)
    counts = collections.Counter()
    for batch in pescador.ZMQStreamer(batches):
        counts.update(batch["row"].tolist())
    assert sorted(counts) == list(range(n_rows)), "a row is missing"
    assert set(counts.values()) == {1}, "a row came twice"
    return sum(counts.values())


# %%
# An endless stream: files come and go, each gives 4 rows on average before it makes room.


def endless(streams, n_batches):
    """Read some batches of an endless mixture; return how many different rows there were."""
    mux = pescador.StochasticMux(streams, WORKING_SET, rate=4, random_state=0)
    batches = pescador.Streamer(pescador.buffer_stream, mux, 64)
    seen = set()
    for batch in pescador.Monitor(pescador.ZMQStreamer(batches).iterate(max_iter=n_batches)):
        seen.update(batch["row"].tolist())
    return len(seen)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="use fewer files")
    options = parser.parse_args()
    n_rows = 300 if options.quick else 1797
    with tempfile.TemporaryDirectory(prefix="pescador-") as folder:
        archives, arrays = write_files(Path(folder), n_rows)
        for kind, streams in (
            (".npz archives", [rows_of_archive(path) for path in archives]),
            ("memory-mapped arrays", [rows_of_arrays(*paths) for paths in arrays]),
        ):
            print(f"{len(streams)} {kind}, {WORKING_SET} open at a time")
            print(f"  one epoch: {one_epoch(streams, n_rows)} rows, each exactly once")
            print(f"  100 batches of 64: {endless(streams, 100)} different rows")


if __name__ == "__main__":
    main()
