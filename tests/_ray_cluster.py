"""A small Ray cluster of its own for the tests: three nodes on this machine."""

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path

_STORE = 100 * 2**20  # bytes, of each node
_MOST_TRIES = 3  # a start fails now and then, on a limit of Ray's own
# Nothing is sent anywhere, nothing is started that is not needed, and a lost node is soon known.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "300",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_worker_register_timeout_seconds": "120",
    "RAY_AUTH_MODE": "token",
}


class RayCluster:
    """Starts a head and two more nodes, and connects to them."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="pr", dir="/tmp")  # short: sockets are in it
        home, token = Path(self.folder, "home"), Path(self.folder, "token")
        home.mkdir()
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        here = str(Path(__file__).parent)
        self._settings = {
            **_SETTINGS,
            "HOME": str(home),
            "RAY_TMPDIR": self.folder,
            "RAY_AUTH_TOKEN_PATH": str(token),
            "PESCADOR_CLUSTER": self.folder,  # known by it: every process of this cluster
            "PYTHONPATH": os.pathsep.join([here, str(Path(here).parent)]),
        }
        self._before = {name: os.environ.get(name) for name in self._settings}
        os.environ.update(self._settings)  # before Ray is imported
        self._cluster = None
        self.nodes = []

    def start(self):
        for number in range(_MOST_TRIES):
            try:
                self._start()
            except Exception:
                self._stop()
                if number == _MOST_TRIES - 1:
                    raise
            else:
                return

    def _start(self):
        import ray
        from ray.cluster_utils import Cluster

        about = {"num_cpus": 2, "object_store_memory": _STORE, "include_dashboard": False}
        about["gcs_server_port"] = _free_port()  # (not that of another cluster on this machine)
        self._cluster = Cluster(initialize_head=True, head_node_args=about)
        self.nodes = [self.add_node() for _ in range(2)]
        ray.init(address=self._cluster.address, log_to_driver=False, logging_level=logging.CRITICAL)

    @property
    def address(self):
        return self._cluster.address

    def add_node(self):
        node = self._cluster.add_node(num_cpus=2, object_store_memory=_STORE)
        self._cluster.wait_for_nodes()
        return node

    def remove(self, node):
        self.nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def _stop(self):
        import ray

        ray.shutdown()
        if self._cluster is not None:
            with contextlib.suppress(Exception):
                self._cluster.shutdown()
            self._cluster = None
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self, of="/"):
        """Return the processes of this cluster whose command line has such a text in it."""
        mark, found = f"PESCADOR_CLUSTER={self.folder}".encode(), []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes():
                        line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                        if of in line or of == "/":
                            found.append(int(entry.name))
        return found

    def actors(self):
        """Return the processes of the actors of this library."""
        return self.processes("ray::Host")

    def spilled(self):
        """Return what the object stores have written to disk, since they were full."""
        folders = Path(self.folder).rglob("ray_spilled_objects*")
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]

    def no_actor_is_left(self, seconds=30):
        end = time.monotonic() + seconds
        while self.actors():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def close(self):
        self._stop()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]
