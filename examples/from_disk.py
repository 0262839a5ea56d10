"""
Sample from more files than fit in memory
=========================================

A mux mixes 300 files on disk, and no more than 32 of them are open at a time. You will see how well
an epoch is mixed, compared with two others: files in order, and a shuffle of all rows, which has to
read all of them first.

There is one streamer for each file. It opens the file when its stream starts, and holds its data
until the stream ends. A background process reads the files. After the epoch, the example reads an
endless mixture of them. It does all this twice: from archives, and from memory-mapped arrays.
"""

# %%
# Write the files: scikit-learn's digits, a few rows to an archive, and the same rows as plain
# arrays that can be memory-mapped.

import argparse
import collections
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits

import pescador

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROWS_PER_FILE = 6
WORKING_SET = 32
BATCH_SIZE = 64


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
# The sources open their files inside the generator. So a streamer opens nothing until a mux starts
# it.


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


def read(mux, n_batches=None):
    """Return the numbers of the rows that come, in order, from a background process."""
    batches = pescador.Streamer(pescador.buffer_stream, mux, BATCH_SIZE, partial=True)
    stream = pescador.ZMQStreamer(batches).iterate(max_iter=n_batches)
    found = [batch["row"] for batch in pescador.Monitor(stream, progress=True)]
    return np.concatenate(found)


def epoch(streams):
    """Return the numbers of the rows of a shuffled epoch."""
    mux = pescador.StochasticMux(streams, WORKING_SET, rate=None, mode="exhaustive", random_state=0)
    return read(mux)


def one_epoch(streams, n_rows):
    """Read a shuffled epoch, check it, and count the rows."""
    counts = collections.Counter(epoch(streams).tolist())
    assert sorted(counts) == list(range(n_rows)), "a row is missing"
    assert set(counts.values()) == {1}, "a row came twice"
    return sum(counts.values())


# %%
# An endless stream: each open file gives 4 rows on average, and then another file replaces it.


def endless(streams, n_batches):
    """Read some batches of an endless mixture; return how many different rows there were."""
    mux = pescador.StochasticMux(streams, WORKING_SET, rate=4, random_state=0)
    return len(np.unique(read(mux, n_batches)))


# %%
# How well is an epoch mixed? Count the files that the rows of a batch come from: the more, the
# better. In the picture, each point is a row: its place in the epoch, and the file that it comes
# from.


def files_in_a_batch(rows):
    """Return from how many files the rows of a batch come, on average."""
    files = rows // ROWS_PER_FILE
    cuts = range(BATCH_SIZE, len(rows), BATCH_SIZE)
    return np.mean([len(np.unique(batch)) for batch in np.split(files, cuts)])


def draw(epochs, path):
    """Save a picture of the files that rows come from, in the course of an epoch."""
    figure, axes = plt.subplots(1, 3, figsize=(7, 3), dpi=144, layout="constrained", sharey=True)
    for axis, (name, rows) in zip(axes, epochs.items()):
        axis.plot(rows // ROWS_PER_FILE, ".", markersize=2)
        axis.set(title=name, xlabel="place in the epoch")
    axes[0].set_ylabel("file")
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="use fewer files")
    parser.add_argument("--out", default="from_disk.png", help="where to save the picture")
    options = parser.parse_args()
    n_rows = 300 if options.quick else 1797
    with tempfile.TemporaryDirectory(prefix="pescador-") as folder:
        archives, arrays = write_files(Path(folder), n_rows)
        archives = [rows_of_archive(path) for path in archives]
        arrays = [rows_of_arrays(*paths) for paths in arrays]
        epochs = {
            "in order": np.arange(n_rows),
            f"{WORKING_SET} open": epoch(archives),
            "all shuffled": np.random.default_rng(0).permutation(n_rows),
        }
        print(f"{len(archives)} files of {ROWS_PER_FILE} rows, in batches of {BATCH_SIZE}")
        for (name, rows), n_open in zip(epochs.items(), (1, WORKING_SET, len(archives))):
            n_files = files_in_a_batch(rows)
            print(f"{name:13} {n_files:5.1f} files in a batch, {n_open:3} open at a time")
        for kind, streams in ((".npz archives", archives), ("memory-mapped arrays", arrays)):
            print(f"{kind}: one epoch has {one_epoch(streams, n_rows)} rows, each exactly once;")
            print(f"  100 batches without end have {endless(streams, 100)} different rows")
    draw(epochs, options.out)
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()

# %%
# For your own data
# -----------------
#
# Replace ``rows_of_archive`` by a generator function that opens one of your files, and
# ``write_files`` by a list of their paths. More open files mix better, but each takes memory: make
# ``WORKING_SET`` as large as your memory allows.
