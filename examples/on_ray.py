"""
Read many files on a cluster that loses a machine
=================================================

Four actors of a Ray cluster read 1,000 compressed files, and each file takes 20 milliseconds to
open. The cluster has three nodes, all on this machine, and loses one after a third of the run. You
will see that the batches are those of one process, byte for byte.

You will also see the batches per second of one process and of the actors, and the longest wait for
a batch.
"""

# %%
# A cluster for an example. Usually a scheduler starts the nodes, and the program connects to them
# with ``ray.init(address="auto")``.

import argparse
import hashlib
import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import pescador

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_health_check_period_ms", "500")  # to notice a lost node sooner
os.environ.setdefault("RAY_health_check_failure_threshold", "3")
try:
    import ray
    from ray.cluster_utils import Cluster
except ImportError:
    sys.exit('This needs Ray: python -m pip install -e ".[ray]"')

N_ACTIVE = 32
RATE = 16
BATCH_SIZE = 64
OPEN_SECONDS = 0.02


def start_cluster():
    """Start a head without CPUs, and three nodes; return the cluster and its nodes."""
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray-")  # its sockets and logs
    store = {"object_store_memory": 100 * 2**20}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **store}
    )
    nodes = [cluster.add_node(num_cpus=2, **store) for _ in range(3)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    return cluster, nodes


def stop_cluster(cluster):
    """Disconnect, and end all nodes."""
    ray.shutdown()
    cluster.shutdown()
    shutil.rmtree(os.environ.pop("RAY_TMPDIR"), ignore_errors=True)


# %%
# The sources. Every node has to see the files: here they are on one disk; on a cluster, they are in
# a shared file system or an object store.


def write_files(folder, n_files):
    """Write compressed archives of unequal size; return their paths."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number:04}.npz" for number in range(n_files)]
    for number, (path, size) in enumerate(zip(paths, rng.lognormal(3, 0.8, n_files))):
        x = rng.integers(16, size=(8 + int(size), 64), dtype=np.uint8)
        np.savez_compressed(path, x=x, number=number)
    return paths


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
        [pescador.Streamer(rows, path) for path in paths], N_ACTIVE, RATE, random_state=0
    )
    return pescador.Streamer(pescador.buffer_stream, mux, BATCH_SIZE)


# %%
# Read, and remove a node after a third of the batches. The other nodes open the sources again that
# were open on it, at the item where they stood.


def read(streamer, n_batches, after_a_third=lambda: None):
    """Return a hash of all arrays, batches a second, and the longest wait for a batch."""
    digest, longest = hashlib.sha256(), 0.0
    start = before = time.perf_counter()
    for number, batch in enumerate(streamer.iterate(n_batches)):
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
        for key in sorted(batch):
            digest.update(batch[key])
        if number == n_batches // 3:
            after_a_third()
    return digest.hexdigest(), n_batches / (time.perf_counter() - start), longest


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="read fewer files and batches")
    options = parser.parse_args()
    n_files, n_batches = (100, 12) if options.quick else (1000, 60)
    logging.basicConfig(stream=sys.stdout, format="%(name)s: %(message)s")
    with tempfile.TemporaryDirectory(prefix="pescador-") as folder:
        batches = batches_of(write_files(Path(folder), n_files))
        expected, speed, _ = read(batches, n_batches)
        print(f"one process          {speed:7.1f} batches/s")
        cluster, nodes = start_cluster()
        try:
            parallel = pescador.ParallelStreamer(batches, 4, backend="ray")
            found, speed, longest = read(
                parallel,
                n_batches,
                lambda: cluster.remove_node(nodes.pop(), allow_graceful=False),
            )
        finally:
            stop_cluster(cluster)
    print(f"4 actors, minus a node {speed:5.1f} batches/s; longest wait {longest:.1f} s")
    assert found == expected, "the batches differ"
    print(f"The same batches: SHA-256 {found[:16]}...")


if __name__ == "__main__":
    main()

# sphinx_gallery_thumbnail_path = "_static/thumbnails/cluster.svg"

# %%
# For your own data
# -----------------
#
# Replace ``start_cluster`` by ``ray.init(address="auto")``, ``write_files`` by a list of paths that
# all nodes can read, and the body of ``rows`` by what opens and decodes one file. The number of
# actors is an argument of ``ParallelStreamer``; ``ray_remote_args`` says which resources each actor
# needs.
