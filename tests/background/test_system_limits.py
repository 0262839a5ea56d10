"""What a system may lack or refuse: an error says what, or all works without it.

Each case is a program in a process of its own, since some would end the tests, were they wrong. It
prints what it saw; nothing is left when it has ended.
"""

import contextlib
import ctypes
import errno
import gc
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

import numpy as np
import pytest
from _cases import some
from _sources import TIMEOUT

from pescador import Streamer, ZMQStreamer
from pescador._background import memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are those of Linux")

METHODS = ("fork", "spawn", "forkserver")
PICKLING = ("spawn", "forkserver")
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NEW_NET, NEW_MOUNT = 0x40000000, 0x00020000

every_method = pytest.mark.parametrize("method", some(METHODS))
for_root = pytest.mark.skipif(not IS_ROOT, reason="needs to be root")


def items(n_items, size=1):
    for value in range(n_items):
        yield {"x": np.full(size, value)}


def read(method, transport=None, size=1, n_items=20):
    """Return what came, or how it failed."""
    streamer = ZMQStreamer(
        Streamer(items, n_items, size),
        start_method=method,
        transport=transport,
        item_timeout=TIMEOUT,
    )
    try:
        return [int(item["x"][0]) for item in streamer]
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"kinds": kinds, "text": str(error), "errno": getattr(error, "errno", None)}


def left(before):
    """Return what this process has beyond what it had."""
    gc.collect()
    children = [child.pid for child in multiprocessing.active_children()]
    return sorted(set(os.listdir("/proc/self/fd")) - before) + children


def main():
    """Run the case that the arguments name, and print what it saw."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    name, method, *args = sys.argv[1:]
    if name == "in_loky":
        in_loky("fork")  # joblib keeps some descriptors
    if name == "few_tasks":
        pass
    elif method == "forkserver":
        multiprocessing.forkserver.ensure_running()
    elif method == "spawn":
        multiprocessing.resource_tracker.ensure_running()
    before = set(os.listdir("/proc/self/fd"))
    seen = globals()[name](method, *args)
    print(json.dumps([seen, left(before)]))


def run(name, method, *args, before=(), **options):
    """Return what a case saw; it ended well, and left nothing."""
    code = "import multiprocessing.forkserver, multiprocessing.resource_tracker, test_system_limits"
    command = [*before, sys.executable, "-c", f"{code}; test_system_limits.main()", name, method]
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        done = subprocess.run(
            [*command, *map(str, args)],
            env={**environment, "TMPDIR": folder},
            stdout=subprocess.PIPE,
            text=True,
            timeout=2 * TIMEOUT,
            **options,
        )
        assert [each for each in os.listdir(folder) if not each.startswith("pymp-")] == []
    assert done.returncode == 0
    seen, rest = json.loads(done.stdout.splitlines()[-1])
    assert rest == []
    return seen


def assert_os_error(seen, *texts):
    assert "OSError" in seen["kinds"]
    assert isinstance(seen["errno"], int)
    for text in texts:
        assert text in seen["text"]


# Tasks: libzmq aborts where a thread cannot be started.


def few_tasks(method, n_left):
    assert read("fork", "tcp") == list(range(20))  # which loads all that is needed
    os.setresuid(*3 * (100_000 + os.getpid(),))  # a user of whom nothing else runs
    n_tasks = len(os.listdir("/proc/self/task"))
    limit = n_tasks + int(n_left)
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    return read(method, "tcp")  # (the folder is not this user's)


@for_root
@pytest.mark.parametrize("n_left", range(8))
def test_few_tasks_are_told(n_left):
    seen = run("few_tasks", "fork", n_left)
    if seen != list(range(20)):
        assert_os_error(seen, "tasks (processes and threads)", "ulimit -u")


@for_root
@pytest.mark.parametrize("method", some(PICKLING))
def test_few_tasks_are_told_before_a_process_is_started(method):
    assert_os_error(run("few_tasks", method, 2), "tasks (processes and threads)", "ulimit -u")


# Folders.


def without_folder(method, folder):
    os.environ["TMPDIR"] = folder
    tempfile.tempdir = folder
    return [read(method, "ipc"), read(method, "tcp")]


@every_method
@pytest.mark.parametrize("folder", ["/nowhere", "/proc", "/sys"])
def test_a_folder_that_takes_no_socket_is_named(method, folder):
    by_ipc, by_tcp = run("without_folder", method, folder)
    assert_os_error(by_ipc, folder, "transport='tcp'", "TMPDIR")
    assert by_tcp == list(range(20))


def with_full_folders(method, n_inodes):
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(NEW_MOUNT) == 0
    assert libc.mount(b"none", b"/", None, 1 << 14 | 1 << 18, None) == 0  # recursive, private
    folder = os.environ["FOLDER"]
    for each in (folder, "/dev/shm"):
        assert libc.mount(b"x", each.encode(), b"tmpfs", 0, b"nr_inodes=%d" % int(n_inodes)) == 0
    tempfile.tempdir = folder
    return [read(method, "ipc", 10**5), read(method, "tcp", 10**5)]


@for_root
@every_method
@pytest.mark.parametrize("n_inodes", [1, 2])
def test_a_full_folder_is_named(method, n_inodes, tmp_path, monkeypatch):
    """The folder of the socket, or the socket, is one file too many; shared memory needs none."""
    monkeypatch.setenv("FOLDER", str(tmp_path))
    by_ipc, by_tcp = run("with_full_folders", method, n_inodes)
    assert_os_error(by_ipc, str(tmp_path), "transport='tcp'", "TMPDIR")
    assert by_tcp == list(range(20))


def without_current_folder(method):
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
    return read(method)


@every_method
def test_a_current_folder_that_is_gone_is_told(method):
    seen = run("without_current_folder", method)
    if method == "fork":
        assert seen == list(range(20))
    else:
        assert_os_error(seen, "the current folder was deleted", "os.chdir", "'fork'")


# The loopback interface.


def without_loopback(method):
    assert ctypes.CDLL(None).unshare(NEW_NET) == 0
    begin = time.monotonic()
    return [read(method, "tcp"), time.monotonic() - begin, read(method, "ipc")]


@for_root
@every_method
def test_a_loopback_interface_that_is_down_is_told(method):
    by_tcp, seconds, by_ipc = run("without_loopback", method)
    assert_os_error(by_tcp, "127.0.0.1", "loopback", "transport='ipc'")
    assert seconds < TIMEOUT
    assert by_ipc == list(range(20))


# Shared memory.


class Refusing(memory.mmap.mmap):
    def madvise(self, *args):
        raise OSError(int(os.environ["REFUSED"]), "refused")


def with_refused_advice(method):
    memory.mmap.mmap = Refusing
    return read(method, size=10**5)


@every_method
@pytest.mark.parametrize("code", some(["ENOSYS", "EPERM", "EINVAL"]))
def test_advice_that_is_refused_does_not_matter(method, code, monkeypatch):
    monkeypatch.setenv("REFUSED", str(getattr(errno, code)))
    assert run("with_refused_advice", method) == list(range(20))


def _refuse(*args):
    raise OSError(int(os.environ["REFUSED"]), "refused")


def with_refused(method, function):
    setattr(os, function, _refuse)
    return read(method, size=10**5)


@every_method
@pytest.mark.parametrize("code", some(["ENOSYS", "EPERM", "ENOSPC"]))
@pytest.mark.parametrize("function", ["memfd_create", "posix_fallocate"])
def test_memory_that_is_refused_is_done_without(method, function, code, monkeypatch):
    """(The function of the process itself is refused under fork only.)"""
    monkeypatch.setenv("REFUSED", str(getattr(errno, code)))
    assert run("with_refused", method, function) == list(range(20))


# Processes that somebody else reaps.


def with_reaper(method, how):
    if how == "ignored":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    else:

        def reap(number, frame):
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass

        signal.signal(signal.SIGCHLD, reap)
    ends = [read(method) for _ in range(3)]
    stream = ZMQStreamer(Streamer(items, 10**9), start_method=method).iterate()
    next(stream)
    stream.close()
    return ends


@every_method
@pytest.mark.parametrize("has_pidfd", [True, False])
@pytest.mark.parametrize("how", ["ignored", "reaped"])
def test_processes_that_are_reaped_by_others_are_forgotten(method, how, has_pidfd):
    before = () if has_pidfd else ("env", "WITHOUT_PIDFD=1")
    assert run("with_reaper", method, how, before=before) == [list(range(20))] * 3


if os.environ.get("WITHOUT_PIDFD") and hasattr(os, "pidfd_open"):
    del os.pidfd_open


# Where the streamer is found.


MAIN = """
import pescador
def source():
    yield {"x": 1}
if __name__ == "__main__":
    import sys
    try:
        print(list(pescador.ZMQStreamer(pescador.Streamer(source), start_method=sys.argv[1])))
    except pescador.PescadorError as error:
        print(error)
"""


@pytest.mark.parametrize("method", some(PICKLING))
def test_a_source_in_a_zip_file_is_told(method, tmp_path):
    path = tmp_path / "program.pyz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__main__.py", MAIN)
    done = subprocess.run(
        [sys.executable, path, method],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for text in ("'source'", "zip file", "defined in a module", "start_method='fork'"):
        assert text in done.stdout


# Workers of joblib.


def in_loky(method):
    joblib = __import__("joblib")
    method = None if method == "None" else method
    with joblib.parallel_config(backend="loky", n_jobs=2):
        seen = joblib.Parallel()(joblib.delayed(read)(method) for _ in range(3))
    __import__("joblib.externals.loky").externals.loky.get_reusable_executor().shutdown()
    gc.collect()
    return seen


@pytest.mark.parametrize("method", some(["None", *METHODS], 2))
def test_a_worker_of_joblib_may_start_processes(method):
    pytest.importorskip("joblib")
    seen = run("in_loky", method)
    if method in PICKLING:
        for each in seen:
            assert "PescadorError" in each["kinds"]
            assert "loky" in each["text"]
            assert "start_method='fork'" in each["text"]
    else:
        assert seen == [list(range(20))] * 3


# Standard error.


def without_stderr(method):
    facts = [read(method)]
    streamer = ZMQStreamer(Streamer(fails), start_method=method)
    try:
        list(streamer)
    except ZeroDivisionError as error:
        facts.append(str(error))
    return facts


def fails():
    yield from items(3)
    1 / 0


@every_method
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_a_program_without_standard_error(method, redirection):
    shell = ("sh", "-c", f'exec "$@" {redirection}', "sh")
    seen = run("without_stderr", method, before=shell)
    assert seen == [list(range(20)), "division by zero"]
