"""Print what a whole job takes: ``python -m benchmarks.job [--seconds 60] [--quick] [--write]``.

2,000 .npz files of 20 classes, the largest 20 times the smallest, give batches of 128 rows: one
epoch, and 20,000 batches of equal shares of the classes. Each program runs in its own process,
PyTorch and Hugging Face in the environments of ``benchmarks.peers``. One that takes longer than the
given time is stopped, and what is left is estimated from what it has done ("~").
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from .harness import HERE, machine, parser_of, results
from .job_worker import BATCH, N_BATCHES, N_CLASSES
from .parallel import print_table
from .peers import PEERS, python_of

N_FILES = 2_000
WIDTH = 64  # float32 numbers in a row
EVERY = 0.05  # seconds between two looks at the processes

PROGRAMS = {
    "pescador": ("pescador_here", None),
    "pescador in a `ZMQStreamer`": ("pescador_process", None),
    "`DataLoader`, 2 workers, rows by number": ("torch_by_index", "torchdata"),
    "`DataLoader`, 2 workers, mixed by hand": ("torch_by_hand", "torchdata"),
    "Hugging Face `interleave_datasets`": ("hugging_face", "hugging_face"),
}


def make_files(folder, n_files):
    """Write the files; return how many rows there are of each class."""
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, N_CLASSES + 1)
    n_of_class = np.maximum(2, n_files * shares / shares.sum()).astype(int)
    n_rows = []
    for label, n in enumerate(n_of_class):
        sizes = rng.integers(64, 449, n)
        n_rows.append(int(sizes.sum()))
        for number, size in enumerate(sizes.tolist()):
            x = rng.normal(size=(size, WIDTH)).astype(np.float32)
            path = Path(folder, f"{label:02}-{number:04}.npz")
            np.savez(path, X=x, Y=np.full(size, label))
    return n_rows


def family_of(pid):
    """Return a process and those that it has started."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{each}/task"):
                found += map(int, Path(f"/proc/{each}/task/{task}/children").read_text().split())
    return found


def look_at(pid, folder):
    """Return the memory of a process and its children, in MB, and how many files they have open."""
    memory = n_open = 0
    for each in family_of(pid):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
            memory += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            for number in os.listdir(f"/proc/{each}/fd"):
                with contextlib.suppress(OSError):
                    n_open += os.readlink(f"/proc/{each}/fd/{number}").startswith(str(folder))
    return memory / 1000, n_open


def measured(program, peer, kind, folder, seconds):
    """Run a program; return what it tells, and the most memory and files that were seen."""
    python = sys.executable
    if peer is not None:
        python = python_of(next(each for each in PEERS if each.name == peer))
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    command = [str(python), str(HERE / "job_worker.py"), program, kind, str(folder), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": "" if peer else path, "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        most = (0, 0)
        while process.poll() is None:
            most = tuple(map(max, most, look_at(process.pid, folder)))
            time.sleep(EVERY)
        told = process.stdout.read()
        process.stdout.close()
        errors.seek(0)
        if process.returncode:
            sys.exit(f"{program}: {errors.read()[-2000:]}")
    return {**json.loads(told.splitlines()[-1]), "memory": most[0], "n_open": most[1]}


def row_of(title, found, n_batches, wanted):
    """Return a row of a table."""
    factor = 1 if found["is_whole"] else n_batches / found["n_batches"]
    about = "" if factor == 1 else "~"
    shares = np.array(found["counts"]) / sum(found["counts"])
    # (Of a part of an epoch nothing is promised.)
    off = f"{100 * np.abs(shares - wanted).max():.2f}" if wanted is not None else "-"
    n_per_second = found["n_batches"] / found["seconds"]
    times = [f"{about}{factor * found[name]:,.0f}" for name in ("seconds", "cpu")]
    rest = [f"{found['memory']:,.0f}", f"{found['n_open']}", off]
    return [title, *times, f"{n_per_second:,.0f}", *rest]


def rows_of(plan, folder, options):
    """Yield a row for each program that was asked for."""
    kind, n_batches, wanted = plan
    for title, how in PROGRAMS.items():
        if options.only.lower() in title.lower():
            found = measured(*how, kind, folder, options.seconds)
            is_partial = kind == "epoch" and not found["is_whole"]
            yield row_of(title, found, n_batches, None if is_partial else wanted)


def print_tables(options):
    """Print a table for an epoch, and one for equal shares."""
    n_files = 60 if options.quick else N_FILES
    columns = ["seconds", "CPU seconds", "batches/s", "MB", "files open", "share off by at most, %"]
    with tempfile.TemporaryDirectory() as folder:
        n_rows = np.array(make_files(folder, n_files))
        n_epoch = -(-int(n_rows.sum()) // BATCH)
        heads = {
            "epoch": f"one epoch, {n_rows.sum():,} rows",
            "endless": f"{N_BATCHES:,} batches of equal shares",
        }
        wanted = {"epoch": n_rows / n_rows.sum(), "endless": np.full(N_CLASSES, 1 / N_CLASSES)}
        for kind, n_batches in (("epoch", n_epoch), ("endless", N_BATCHES)):
            plan = kind, n_batches, wanted[kind]
            print_table([heads[kind], *columns], rows_of(plan, folder, options))
    print(machine("One run of each"))


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="that a program may take")
    parser.add_argument("--quick", action="store_true", help="60 files")
    parser.add_argument("--only", default="", help="programs whose title holds this text")
    options = parser.parse_args()
    with results("job", options.write):
        print_tables(options)


if __name__ == "__main__":
    main()
