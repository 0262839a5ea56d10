"""What the benchmarks share: processes that measure in one interpreter or another.

The peer is the last public release of pescador, installed from PyPI into an environment of its own,
and used as a black box.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
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


def parser_of(module):
    """Return a parser of options, of which one writes the results down."""
    parser = argparse.ArgumentParser(description=module)
    told = "write the tables into benchmarks/results, too, without goals"
    parser.add_argument("--write", action="store_true", help=told)
    return parser


class _Both(io.TextIOBase):
    """Writes to a stream, and keeps what was written."""

    def __init__(self, stream):
        self._stream, self.kept = stream, io.StringIO()

    def write(self, text):
        self.kept.write(text)
        return self._stream.write(text)

    def flush(self):
        self._stream.flush()


_written = []  # what is being written down


@contextlib.contextmanager
def results(name, is_written):
    """Write down what is printed in the block, and of which commit it is."""
    if not is_written:
        yield
        return
    both = _Both(sys.stdout)
    _written.append(name)
    try:
        with contextlib.redirect_stdout(both):
            yield
    finally:
        _written.pop()
    RESULTS.mkdir(exist_ok=True)
    text = f"{both.kept.getvalue().rstrip()}\n\nMeasured at commit {commit()}.\n"
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")


def commit():
    """Return which commit this is, as far as that is known."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=7"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def ratio(value, goal, at_most):
    """Return a ratio as text, marked where it misses its goal, but not in results."""
    if value is None:
        return "-"
    text = f"{value:.2f}" if value < 10 else f"{value:.0f}"
    if _written:
        return text
    if goal is not None and (value > goal if at_most else value < goal):
        text += " (goal " + ("<= " if at_most else ">= ") + f"{goal:g})"
    return text


def machine(which="Minimum of several turns"):
    """Return a line that says where this was measured, and which measurements count."""
    import numpy

    model = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        names = [line for line in cpu.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return (
        f"{which}. {model}, {os.cpu_count()} cores, {platform.system()};"
        f" {platform.python_implementation()} {platform.python_version()},"
        f" NumPy {numpy.__version__}."
    )
