"""Print what other mixers cost: ``python -m benchmarks.peers [--only TEXT] [--write]``.

Each is installed from PyPI into an environment of its own, in ``.benchmarks/``. They take turns
with this library, whose cost is measured before and after each of them.
"""

import os
import platform
import subprocess
import sys
import venv
from typing import NamedTuple

from .harness import HERE, machine, parser_of, ratio, results


class Peer(NamedTuple):
    """A mixer: what it is called, how it is measured, and what is installed for it."""

    title: str
    name: str
    packages: tuple
    beside: str  # what it does beside mixing
    ours: str = "pescador_all"


PEERS = (
    Peer("SPDL `MergeIterator`", "spdl", ("spdl-core==0.8.0", "numpy"), "nothing"),
    Peer(
        "torchdata `MultiNodeWeightedSampler`",
        "torchdata",
        ("torchdata==0.11.0", "torch==2.13.0", "numpy"),
        "a state of every source",
    ),
    Peer("lhotse `LazyIteratorMultiplexer`", "lhotse", ("lhotse==1.33.0", "urllib3"), "nothing"),
    Peer(
        "lhotse, 64 open of 1,000 short ones",
        "lhotse_few_open",
        ("lhotse==1.33.0", "urllib3"),
        "opens the next sources",
        "pescador_few_open",
    ),
    Peer("webdataset `RandomMix`", "webdataset", ("webdataset==1.0.2",), "nothing"),
    Peer(
        "Hugging Face `interleave_datasets`",
        "hugging_face",
        ("datasets==5.2.0",),
        "a state, formats and features of examples",
    ),
    Peer("Grain `IterDataset.mix`", "grain", ("grain==0.2.18",), "a state, and statistics"),
    Peer(
        "`tf.data` `sample_from_datasets`",
        "tensorflow",
        ("tensorflow-cpu==2.21.0",),
        "a graph in C++; tensors, and NumPy's numbers of them",
    ),
)


def python_of(peer):
    """Return the interpreter of an environment that holds a peer."""
    which = "-".join(peer.packages).replace("=", "").replace(" ", "")
    folder = HERE.parent / ".benchmarks" / f"{which}-{platform.python_version()}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        command = [python, "-m", "pip", "install", "--quiet", *peer.packages]
        subprocess.run(command, check=True)
        (folder / "ready").touch()
    return python


def measured(python, name):
    """Return nanoseconds an item; None if it could not be measured."""
    path = {"PYTHONPATH": str(HERE.parent)} if name.startswith("pescador") else {"PYTHONPATH": ""}
    command = [str(python), str(HERE / "peers_worker.py"), name]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **path}, check=False
    )
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return None
    return float(done.stdout.splitlines()[-1])


def print_table(peers):
    """Print a row for each peer."""
    print("| ns an item, 64 sources of unequal weights | theirs | ours | times | beside mixing |")
    print("|---|---:|---:|---:|---|")
    for peer in peers:
        python = python_of(peer)
        before = measured(sys.executable, peer.ours)
        theirs = measured(python, peer.name)
        ours = min(before, measured(sys.executable, peer.ours))
        title = f"{peer.title} ({peer.packages[0].partition('==')[2]})"
        if theirs is None:
            print(f"| {title} | failed | {ours:,.0f} | - | {peer.beside} |", flush=True)
            continue
        times = ratio(theirs / ours, 5, False)
        print(f"| {title} | {theirs:,.0f} | {ours:,.0f} | {times} | {peer.beside} |", flush=True)
    print()
    print(machine())


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--only", default="", help="peers whose title holds this text")
    options = parser.parse_args()
    with results("peers", options.write):
        print_table([each for each in PEERS if options.only.lower() in each.title.lower()])


if __name__ == "__main__":
    main()
