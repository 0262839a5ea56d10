"""The suite: what its helpers promise, and which of its tests run by default."""

import contextlib
import itertools
import os
import re
import select
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from types import SimpleNamespace

import _leaks
import _search
import pytest
from _cases import matrix, shown, some
from _default import ONLY_FULL
from _sources import TIMEOUT

# Which tests run by default.


def functions(names):
    """Return the names of the functions of some cases."""
    return {name.partition("[")[0] for name in names}


def test_every_test_has_a_case_in_the_default_run(collected):
    """Or else it is named there, with its reason."""
    searches = {name for name, marks in collected.items() if "nightly" in marks}
    default = {name for name, marks in collected.items() if not marks & {"full", "nightly"}}
    assert functions(set(collected) - searches) - functions(default) <= set(ONLY_FULL)


def test_the_exceptions_are_tests(collected):
    """(Of those files that were collected: that may be this one alone.)"""
    files = {name.partition("::")[0] for name in collected}
    names = {name for name in ONLY_FULL if name.partition("::")[0] in files}
    assert names <= functions(collected)


def test_the_names_of_cases_are_the_same_in_every_process(collected):
    """An address is not, and so processes could not share the cases out."""
    assert not [name for name in collected if re.search("0x[0-9a-f]{6}", name, re.IGNORECASE)]


AXES = {"a": [1, 2, 3], "b": {"one": 1.5, "two": 2.5}, "c": [None, "text", len, object()]}


def cases_of(mark):
    """Return the cases of a mark that parametrizes, by their ids, and the ids of the default."""
    cases = {case.id: case.values for case in mark.args[1]}
    assert len(cases) == len(mark.args[1])
    return cases, [case.id for case in mark.args[1] if not case.marks]


def test_a_matrix_has_every_combination_once():
    mark = matrix(**AXES).mark
    cases, _ = cases_of(mark)
    assert mark.args[0] == "a,b,c"
    assert cases["2-one-len"] == (2, 1.5, len)
    values = [each.values() if isinstance(each, dict) else each for each in AXES.values()]
    assert list(cases.values()) == list(itertools.product(*values))


@pytest.mark.parametrize(("cover", "n_least", "n_most"), [(1, 4, 4), (2, 12, 14), (3, 24, 24)])
def test_the_default_cases_of_a_matrix_cover_it(cover, n_least, n_most):
    cases, default = cases_of(matrix(cover=cover, **AXES).mark)
    assert n_least <= len(default) <= n_most

    def choices(ids):
        places = list(itertools.combinations(range(3), cover))
        return {(place, *(cases[each][i] for i in place)) for each in ids for place in places}

    assert choices(default) == choices(cases)


def test_the_default_cases_of_a_matrix_are_always_the_same():
    assert cases_of(matrix(**AXES).mark) == cases_of(matrix(**AXES).mark)


def test_some_of_the_values_run_by_default():
    def default(*args, **kwargs):
        return [case.id for case in some(*args, **kwargs) if not case.marks]

    assert [case.values for case in some({"x": 1, "y": 2})] == [(1,), (2,)]
    assert default("abcd") == ["a"]
    assert default(range(5), 2, also=["4"]) == ["0", "1", "4"]
    with pytest.raises(AssertionError, match="z"):
        some("abc", also=["z"])
    with pytest.raises(AssertionError, match="two values have one id"):
        some("aa")


def test_what_is_shown_of_a_value_is_the_same_in_every_process():
    assert shown(object()) == "<object object>"
    assert shown([1, "a"]) == "[1, 'a']"


# How much is searched.


@pytest.mark.parametrize(
    ("chosen", "n_examples", "is_fixed"),
    [
        ("not full and not nightly", {10: 10, 200: 20}, True),
        ("not nightly", {20: 20, 200: 200}, True),
        ("", {20: 20, 200: 200}, True),
        ("nightly or hypothesis", {20: 100, 200: 1000}, False),
    ],
)
def test_examples_depend_on_what_is_chosen(chosen, n_examples, is_fixed, monkeypatch):
    monkeypatch.setattr(_search, "_profile", None)
    _search.load_profile(SimpleNamespace(option=SimpleNamespace(markexpr=chosen)))
    for n, expected in n_examples.items():
        found = _search.examples(n)
        assert (found.max_examples, found.derandomize) == (expected, is_fixed)
        assert (found.database is None) is is_fixed


SEARCH = """
import pytest

@pytest.mark.nightly
@pytest.mark.parametrize("fails_after", [CASES])
def test_it(search, fails_after):
    seeds = []

    def check(rng):
        seeds.append(rng.integers(2**62))  # (of which no two are alike by chance)
        print("drawn", seeds[-1])
        if len(seeds) > fails_after:
            raise ValueError("found")

    search(check)
    assert len(set(seeds)) == len(seeds)
"""


def run_search(folder, cases, *options):
    """Return what a search prints, in a suite of its own."""
    for name in ("conftest.py", "_default.py", "_leaks.py", "_search.py", "_sources.py"):
        folder.joinpath(name).write_text(Path(__file__).with_name(name).read_text())
    folder.joinpath("test_search.py").write_text(SEARCH.replace("CASES", cases))
    folder.joinpath("pytest.ini").write_text("[pytest]\nmarkers =\n    nightly: searches\n")
    command = [sys.executable, "-m", "pytest", "-m", "nightly", "--basetemp=temporary", *options]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    return done.returncode, done.stdout


def test_a_search_tells_how_to_repeat_what_it_finds(tmp_path):
    code, out = run_search(tmp_path, "3", "--minutes", "1")
    assert code == 1
    *_, name, option, seed = shlex.split(re.search(r"^E +python -m pytest (.*)", out, re.M)[1])
    assert (name, option) == ("test_search.py::test_it[3]", "--seed")
    drawn = re.findall(r"^drawn (\d+)", out, re.MULTILINE)
    assert len(drawn) == 4
    code, out = run_search(tmp_path, "0, 3", option, seed)
    assert (code, re.findall(r"^drawn (\d+)", out, re.MULTILINE)) == (1, drawn[-1:])


def test_a_search_lasts_as_long_as_it_may(tmp_path):
    begin = time.monotonic()
    code, out = run_search(tmp_path, "10**9, 10**9 + 1", "--minutes", "0.02")
    assert code == 0
    assert len(re.findall(r"test_it\[.*\]: \d+ seeds, nothing found", out)) == 2
    assert time.monotonic() - begin > 1


# The guard that looks at what every test leaves behind.


@contextlib.contextmanager
def _thread():
    done = threading.Event()
    thread = threading.Thread(target=done.wait, args=(60,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("_leaks.TIMEOUT", 0.01)
        thread.start()
        yield
    done.set()
    thread.join()


@contextlib.contextmanager
def _process():
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield
        process.communicate(b"\n")


@contextlib.contextmanager
def _descriptor():
    number = os.open(os.devnull, os.O_RDONLY)
    yield
    os.close(number)


@contextlib.contextmanager
def _temporary_folder():
    with tempfile.TemporaryDirectory():
        yield


@contextlib.contextmanager
def _shared_memory():
    memory = SharedMemory(create=True, size=8)
    yield
    memory.close()
    memory.unlink()


LEAKS = {
    "thread": _thread,
    "child process": _process,
    "file descriptor": _descriptor,
    "temporary file": _temporary_folder,
    "shared memory": _shared_memory,
}


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and /dev/shm")
@pytest.mark.parametrize("kind", LEAKS)
def test_a_leak_is_noticed_while_it_lasts(kind, leak_guard):
    with LEAKS[kind]():
        assert any(each.startswith(kind) for each in leak_guard.leaked())
    assert not leak_guard.leaked()


def test_garbage_is_no_leak(leak_guard):
    loop = [open(os.devnull)]  # noqa: SIM115 - it is left open on purpose
    loop.append(loop)
    with pytest.warns(ResourceWarning, match="unclosed"):
        del loop
        assert not leak_guard.leaked()


@pytest.fixture
def temporary_shared_memory(monkeypatch, tmp_path):
    """Let the guard look for shared memory in a folder of the test's own."""
    monkeypatch.setattr(_leaks, "SHARED_MEMORY", tmp_path)
    return tmp_path


OF_OTHERS = [
    "sem.mp-abcd1234",
    "sem.mp-p000001-abcd",
    f"sem.loky-{os.getpid()}1-abcd1234",
    "sem.loky-1-abcd1234",
    f"joblib_memmapping_folder_{os.getpid()}1_abcd_abcd",
    "psm_abcd1234",
    "anything",
]
OF_OURS = [
    f"sem.mp-p{os.getpid():06x}-abcd1234",
    f"p{os.getpid():06x}_abcd",
    f"sem.loky-{os.getpid()}-abcd1234",
    f"joblib_memmapping_folder_{os.getpid()}_abcd_abcd",
]


def test_shared_memory_is_told_by_its_name(temporary_shared_memory, leak_guard):
    for name in OF_OTHERS + OF_OURS:
        temporary_shared_memory.joinpath(name).touch()
    assert sorted(leak_guard.leaked()) == [f"shared memory {name}" for name in sorted(OF_OURS)]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("how", ["map", "open"])
@pytest.mark.parametrize("is_renamed", [False, True])
def test_shared_memory_is_told_by_those_that_hold_it(how, is_renamed, leak_guard, tmp_path):
    """A child holds it, of whose names the mark may have been lost."""
    name = f"of-a-test-{os.getpid()}"
    path = Path("/dev/shm", name)
    code = f"""if True:
        import mmap, os
        file = open({str(path)!r}, "w+b")
        file.truncate(4096)
        if {how == "map"}:
            memory = mmap.mmap(file.fileno(), 4096)
            file.close()
        if {is_renamed}:
            os.link({str(path)!r}, {str(path)!r} + "-")
            os.unlink({str(path)!r})
        print("made", flush=True)
        input()
    """
    command = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    expected = name + "-" * is_renamed
    try:
        with subprocess.Popen(command, **pipes) as process:
            assert process.stdout.readline() == "made\n"
            assert _leaks.is_ours(expected)
            process.communicate("\n")
        assert not _leaks.is_ours(expected)
    finally:
        path.with_name(expected).unlink()


# A process that ends at once, and leaves another one, whose parent it then no longer is.
LEAVES = (
    "import os, sys; os.fork() and os._exit(0); os.setsid(); os.execv(sys.argv[1], sys.argv[1:])"
)


@contextlib.contextmanager
def beside(name, folder):
    """Run another program of the machine, which is no child of this one."""
    program = [sys.executable, str(Path(__file__).with_name("_beside.py")), name]
    process = subprocess.Popen(
        [sys.executable, "-c", LEAVES, *program],
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    with process:
        process.wait(TIMEOUT)
        yield process.stdout
        process.stdin.close()
        process.stdout.read()  # until all of its processes have ended


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and /dev/shm")
@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("multiprocessing", {"sem.mp-", "psm_"}),
        ("joblib", {"sem.loky-", "joblib_memmapping_folder_"}),
    ],
    ids=["multiprocessing", "joblib"],
)
def test_what_a_program_beside_makes_is_no_leak(name, made, tmp_path):
    with beside(name, tmp_path) as out:
        seen = set()
        for _ in range(3):
            guard, before = _leaks.LeakGuard(), set(os.listdir("/dev/shm"))
            while not select.select([out], [], [], 0.01)[0]:
                seen |= set(os.listdir("/dev/shm")) - before
                assert guard.leaked() == []
            assert out.readline() == b"once\n"
        assert {each for each in made if any(name.startswith(each) for name in seen)} == made
