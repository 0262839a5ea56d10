"""What the benchmarks share: processes that measure in one interpreter or another.

The peer is the last public release of pescador, installed from PyPI into an environment of its own,
and used as a black box.
"""

import contextlib
import json
import os
import platform
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEER = "pescador==3.0.0"


class Worker:
    """A process that measures, in some interpreter, as one of the scripts beside this one says."""

    def __init__(self, python, script, **environment):
        self._process = subprocess.Popen(
            [str(python), str(HERE / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def measure(self, *request):
        """Return what the script measures, on request."""
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"the measurement of {request} failed")
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._process.stdin.close()
        self._process.wait()


def peer_python():
    """Return the interpreter of an environment that holds the last public release."""
    folder = HERE.parent / ".benchmarks" / f"peer-{platform.python_version()}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=True)
        (folder / "ready").touch()
    return python


@contextlib.contextmanager
def ours_and_peer(script):
    """Start two processes that measure: with this library, and with the peer."""
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    with Worker(sys.executable, script, PYTHONPATH=path) as ours:
        with Worker(peer_python(), script, PYTHONPATH="") as peer:
            yield ours, peer


def ratio(value, goal, at_most):
    """Return a ratio as text, marked where it misses its goal."""
    if value is None:
        return "-"
    text = f"{value:.2f}" if value < 10 else f"{value:.0f}"
    if goal is not None and (value > goal if at_most else value < goal):
        text += " (goal " + ("<= " if at_most else ">= ") + f"{goal:g})"
    return text


def machine():
    """Return a line that says where this was measured."""
    import numpy

    model = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        names = [line for line in cpu.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return (
        f"Minimum of several turns. {model}, {os.cpu_count()} cores, {platform.system()};"
        f" {platform.python_implementation()} {platform.python_version()},"
        f" NumPy {numpy.__version__}."
    )
