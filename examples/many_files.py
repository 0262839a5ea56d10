"""
Read many small files on many workers
=====================================

Two thousand compressed archives of unequal size, each of which takes 20 milliseconds to open, as
on a file system across a network. 64 of them are open at a time, and each gives 16 rows on average
before another one takes its place: so there is always one to open. Workers open them before their
turn, and the batches stay the same, byte for byte.
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

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import pescador

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


def batches_of(paths):
    """Return a streamer of batches from all files."""
    mux = pescador.StochasticMux(
        [rows(path) for path in paths], N_ACTIVE, RATE, mode="single_active", random_state=0
    )
    return pescador.Streamer(pescador.buffer_stream, mux, BATCH_SIZE)


# %%
# Read some batches: with the mux alone, and with workers. Starting these is part of the time, and
# so is opening the first 64 files. A hash of all arrays tells whether two runs gave the same.


class Result(NamedTuple):
    """How fast a run was, and what it gave."""

    batches_per_second: float
    hash: str
    waiting: float  # of the time


def read(streamer, n_batches):
    """Read batches from the beginning of a stream, and time it."""
    digest = hashlib.sha256()
    monitor = pescador.Monitor(streamer.iterate(n_batches))
    for batch in monitor:
        for key in sorted(batch):
            digest.update(batch[key])
    report = monitor.report()
    return Result(n_batches / report.seconds, digest.hexdigest(), report.waited / report.seconds)


def told(result):
    """Return a result as text."""
    return f"{result.batches_per_second:10.1f} ({result.waiting:4.0%})"


def compare(paths, n_batches):
    """Return the result of the mux alone, and those of threads and processes, by their number."""
    batches = batches_of(paths)
    alone = read(batches, n_batches)
    return alone, {
        backend: {
            n: read(pescador.ParallelStreamer(batches, n, backend=backend), n_batches)
            for n in WORKERS
        }
        for backend in ("threads", "processes")
    }


# %%
# Where sources wait, as here, threads are enough: they start at once, and cost less. Where sources
# compute, only processes help, and no more of them than there are cores.


def draw(alone, results, path):
    """Draw batches a second against workers."""
    figure, axes = plt.subplots(figsize=(5, 3.5), dpi=144, layout="constrained")
    axes.axhline(alone.batches_per_second, color="gray", linestyle=":", label="the mux alone")
    for backend, by_number in results.items():
        speeds = [each.batches_per_second for each in by_number.values()]
        axes.plot(by_number.keys(), speeds, "o-", label=backend)
    axes.set_xscale("log", base=2)
    axes.set_xticks(WORKERS, WORKERS)
    axes.set(xlabel="workers", ylabel="batches a second", ylim=(0, None))
    axes.legend()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="read fewer files and batches")
    parser.add_argument("--out", default="many_files.png", help="where to save the plot")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pescador-") as folder:
        paths = write_files(Path(folder), 200 if options.quick else 2000)
        alone, results = compare(paths, n_batches=8 if options.quick else 60)
    print(f"{len(paths)} files, {N_ACTIVE} open at a time; batches of {BATCH_SIZE} a second")
    print("(and how much of the time was spent in waiting for them):")
    print(f"{'the mux alone':14}{told(alone)}")
    print(f"{'workers':14}" + "".join(f"{backend:>17}" for backend in results))
    for n in WORKERS:
        of_all = [by_number[n] for by_number in results.values()]
        print(f"{n:<14}" + "".join(map(told, of_all)))
    hashes = {each.hash for by_number in results.values() for each in by_number.values()}
    assert hashes == {alone.hash}, "the batches differ"
    print(f"All runs gave the same batches: SHA-256 {alone.hash[:16]}...")
    draw(alone, results, options.out)
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()
