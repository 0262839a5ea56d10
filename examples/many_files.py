"""
Read many small files on many workers
=====================================

There are 600 compressed archives, and each takes 20 milliseconds to open, as on a network file
system. You will see how many batches a second they give in order and mixed, in one process and on
workers. With eight workers, the mixture comes about as fast as one process reads in order.

Reading in order is fast: it opens a file once, and reads it to its end. But a batch then has rows
of three files only. A mux of 64 open files makes batches of about forty files, and opens more files
for each batch. Workers open them ahead of time, and the batches stay the same, byte for byte.
"""

# %%
# Write the archives. Their sizes are log-normal: most are small, and some are ten times as long.

import argparse
import hashlib
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np

import pescador

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OPEN_SECONDS = 0.02
N_ACTIVE = 64
RATE = 16
BATCH_SIZE = 64
WORKERS = (2, 4, 8)


def write_files(folder, n_files):
    """Write compressed archives; return their paths."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number:04}.npz" for number in range(n_files)]
    for number, (path, size) in enumerate(zip(paths, rng.lognormal(3, 0.8, n_files))):
        x = rng.integers(16, size=(8 + int(size), 64), dtype=np.uint8)
        np.savez_compressed(path, x=x, number=number)
    return paths


# %%
# The source opens its file inside the generator, and decodes it there: on a worker, if there are
# any.


@pescador.streamable
def rows(path):
    """Yield the rows of an archive, once it has been found and decoded."""
    time.sleep(OPEN_SECONDS)
    with np.load(path) as data:
        x, number = data["x"], data["number"]
    for row in x:
        yield {"x": row / 16, "number": number}


def in_order(paths):
    """Return a streamer of batches from one file after the other."""
    files = pescador.ChainMux([rows(path) for path in paths], mode="cycle")
    return pescador.Streamer(pescador.buffer_stream, files, BATCH_SIZE)


def batches_of(paths):
    """Return a streamer of batches from all files, each of which gives 16 rows on average."""
    mux = pescador.StochasticMux(
        [rows(path) for path in paths], N_ACTIVE, RATE, mode="single_active", random_state=0
    )
    return pescador.Streamer(pescador.buffer_stream, mux, BATCH_SIZE)


# %%
# Read some batches. Starting the workers is part of the time, and so is opening the first 64 files.
# A hash of all arrays tells whether two runs gave the same.


class Result(NamedTuple):
    """How fast a run was, and what it gave."""

    batches_per_second: float
    hash: str


def read(streamer, n_batches, name=""):
    """Read batches from the beginning of a stream, time it, and print a line."""
    digest, n_files = hashlib.sha256(), 0
    monitor = pescador.Monitor(streamer.iterate(n_batches), progress=True)
    for batch in monitor:
        n_files += len(np.unique(batch["number"]))
        for key in sorted(batch):
            digest.update(batch[key])
    speed = n_batches / monitor.report().seconds
    told = f"{name:26} {speed:5.1f} batches/s, rows of {n_files / n_batches:4.1f} files in each"
    print(told, flush=True)
    return Result(speed, digest.hexdigest())


def compare(paths, n_batches):
    """Return the result of the mux alone, and those of threads and processes, by their number."""
    batches = batches_of(paths)
    alone = read(batches, n_batches, "mixed, in one process")
    return alone, {
        backend: {
            n: read(
                pescador.ParallelStreamer(batches, n, backend=backend),
                n_batches,
                f"mixed, on {n} {backend}",
            )
            for n in WORKERS
        }
        for backend in ("threads", "processes")
    }


# %%
# If sources wait, as here, use threads: they start at once, and cost less. If sources compute, only
# processes help, and no more of them than there are cores.


def draw(ordered, alone, results, path):
    """Draw batches a second against workers."""
    figure, axes = plt.subplots(figsize=(6, 3.5), dpi=144, layout="constrained")
    axes.axhline(ordered.batches_per_second, color="0.6", label="in order, one process")
    axes.axhline(alone.batches_per_second, color="0.4", linestyle=":", label="mixed, one process")
    for backend, by_number in results.items():
        speeds = [each.batches_per_second for each in by_number.values()]
        axes.plot(by_number.keys(), speeds, "o-", label=f"mixed, by {backend}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(WORKERS, WORKERS)
    axes.set(title="Batches a second, by the number of workers", ylim=(0, None))
    axes.set(xlabel="workers", ylabel="batches a second")
    figure.legend(loc="outside right center", frameon=False)
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="read fewer files and batches")
    parser.add_argument("--out", default="many_files.png", help="where to save the plot")
    options = parser.parse_args()
    n_files, n_batches = (200, 8) if options.quick else (600, 24)
    with tempfile.TemporaryDirectory(prefix="pescador-") as folder:
        paths = write_files(Path(folder), n_files)
        print(f"{n_files} files, {N_ACTIVE} open at a time; batches of {BATCH_SIZE} rows")
        ordered = read(in_order(paths), n_batches, "in order, in one process")
        on_threads = pescador.ParallelStreamer(in_order(paths), max(WORKERS), backend="threads")
        read(on_threads, n_batches, f"in order, on {max(WORKERS)} threads")
        alone, results = compare(paths, n_batches)
    hashes = {each.hash for by_number in results.values() for each in by_number.values()}
    assert hashes == {alone.hash}, "the batches differ"
    print(f"All mixed runs gave the same batches: SHA-256 {alone.hash[:16]}...")
    draw(ordered, alone, results, options.out)
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()

# %%
# For your own data
# -----------------
#
# Replace ``write_files`` by a list of your paths, and the body of ``rows`` by what opens and
# decodes one of them. Begin with threads; if decoding takes longer than waiting, try processes.
# A larger ``N_ACTIVE`` and a smaller ``RATE`` mix better, and need more workers.
