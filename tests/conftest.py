"""What holds for every test: it leaves nothing behind. And which tests are chosen.

A test fails if it leaks a thread, a child process, a file descriptor, a temporary file or folder,
or shared memory. Looking is cheap; the garbage collector runs only if something seems to be left.
"""

import gc
import multiprocessing
import shutil
import signal
import tempfile

import pytest
from _default import mark_repetition
from _leaks import LeakGuard, mark_shared_memory
from _search import Search, load_profile

pytest.register_assert_rewrite("_sources")

COLLECTED = pytest.StashKey()
# pytest-xdist leaves each of these files to one process: their tests share what takes long to make.
IN_ONE_PROCESS = ("tests/test_browser.py", "tests/test_faults.py", "tests/test_wheel.py")


def pytest_addoption(parser):
    group = parser.getgroup("nightly")
    group.addoption("--minutes", type=float, default=1, help="how long the searches take, in all")
    group.addoption("--seed", type=int, help="the one seed to search with, to repeat a finding")


def pytest_configure(config):
    """Hear Ctrl-C, as a program in front does: shells let those behind ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    mark_shared_memory()
    load_profile(config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Choose what runs by default, and note what there is, before any of it is left out."""
    mark_repetition(items)
    config.stash[COLLECTED] = {
        item.nodeid: {mark.name for mark in item.iter_markers()} for item in items
    }


def pytest_collection_finish():
    """Let the garbage collector pass over the cases and what they import: it runs in many tests."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Share the cases out one by one, but for those files."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.partition("::")[0]
            return path if path in IN_ONE_PROCESS else nodeid

    return Scheduling(config, log)


def pytest_terminal_summary(terminalreporter):
    """Tell how much was searched."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "seeds" and report.when == "call":
                terminalreporter.write_line(f"{report.nodeid}: {value} seeds, nothing found")


@pytest.fixture(scope="session", autouse=True)
def _helper_processes():
    """Start what ``multiprocessing`` starts at its first use and keeps until the end."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        from multiprocessing import forkserver, resource_tracker

        resource_tracker.ensure_running()
        forkserver.ensure_running()


@pytest.fixture(scope="session", autouse=True)
def _temporary_folder(_helper_processes, tmp_path_factory):
    """Make a temporary folder for this session alone, so that other programs do not matter."""
    tmp_path_factory.getbasetemp()  # those of pytest are elsewhere
    folder = tempfile.mkdtemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _leaves_nothing(_temporary_folder):
    guard = LeakGuard()
    yield
    leaked = guard.leaked()
    if leaked:
        pytest.fail("the test leaves behind: " + "; ".join(leaked), pytrace=False)


@pytest.fixture
def leak_guard():
    """Return a guard that a test can ask what has been leaked since."""
    return LeakGuard()


@pytest.fixture
def collected(request):
    """Return the names of the marks of each case that was collected, chosen or not."""
    return request.config.stash[COLLECTED]


@pytest.fixture
def search(request):
    """Return a function that calls a check with one fresh seed after the other."""
    return Search(request)
