"""Streams that are open when the program ends."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from _cases import matrix, some

TREES = {
    "plain": "mux",
    "threads": "ParallelStreamer(mux, 2, backend='threads')",
    "processes": "ParallelStreamer(mux, 2)",
    "process": "ZMQStreamer(mux)",
    "nested": """RoundRobinMux([
        ZMQStreamer(ParallelStreamer(mux, 2)),
        Streamer(ParallelStreamer(mux, 2, backend='threads')),
    ])""",
    "spawned": "ParallelStreamer(mux, 2, start_method='spawn')",
    "process, spawned": "ZMQStreamer(mux, start_method='spawn')",
}
# Who keeps a stream open to the end. (The interpreter clears modules in about the reverse order of
# their imports, so what an old one keeps is closed when most are cleared.)
HOLDERS = {
    "old module": "collections.kept = tree.iterate(); next(collections.kept)",
    "module": "kept = tree.cycle(); next(kept)",
    "generator": "kept = generator(); next(kept)",
    "generator in an old module": "collections.kept = generator(); next(collections.kept)",
    "map": "collections.kept = buffer_stream(tree, 2); next(collections.kept)",
    "loop": "collections.kept = iter(tree); next(collections.kept)",
    "monitor": "kept = iter(Monitor(tree.iterate())); next(kept)",
    "thread": "in_thread(tree.iterate())",
    "thread with a loop": "in_thread(tree)",
}
PROGRAM = """if True:
    import collections, itertools, os, sys, threading, time
    import numpy as np
    from pescador import *

    def rows(who, seconds=0):
        try:
            for row in range(10**6):
                yield {"who": who, "row": np.ones(9)}
                time.sleep(seconds)
        finally:
            np.linspace(0, 1)  # (which needs modules)

    def generator():
        for item in tree:
            yield item

    def in_thread(items):
        def read():
            try:
                for number, item in enumerate(items):
                    if number == 2:
                        has_begun.set()
                print("the data has ended", flush=True)
            except Exception as error:
                print("failed", error, flush=True)

        has_begun = threading.Event()
        threading.Thread(target=read, daemon=True).start()
        assert has_begun.wait(60)

    mux = StochasticMux([Streamer(rows, who) for who in range(4)], 2, 9, random_state=0)

if __name__ == "__main__":
"""


@pytest.fixture
def run(tmp_path):
    """Return what runs a program, and returns its exit code and what it says on both streams."""
    return functools.partial(_run, tmp_path / "program.py")


def _run(path, text, *args):
    path.write_text(PROGRAM + text)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path), *args],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@matrix(cover=1, tree=TREES, holder=HOLDERS)
def test_a_program_ends_in_silence(run, tree, holder):
    assert run(f"    tree = {tree}\n    {holder}\n") == (0, "", "")


@pytest.mark.parametrize("tree", some(TREES, 1, also=["process"]))
def test_a_thread_that_waits_for_an_item_ends_too(run, tree):
    text = f"""
    mux = RoundRobinMux([Streamer(rows, who, 2 * who) for who in range(2)])
    tree = {tree}
    in_thread(itertools.chain(range(2), tree.iterate()))
    time.sleep(0.2)
    """
    assert run(text) == (0, "", "")


def test_what_is_closed_may_use_all_modules(run):
    text = """
    class Source:
        def __iter__(self):
            try:
                yield from range(9)
            finally:
                import email.mime.text
                print(len(np.ones(3)), flush=True)

    collections.kept = Streamer(Source).iterate()
    next(collections.kept)
    """
    assert run(text) == (0, "3\n", "")


def test_a_process_that_is_being_started_leaves_no_folder(run, monkeypatch, tmp_path):
    folder = tmp_path / "T"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    text = """
    stream = ZMQStreamer(mux, start_method="spawn").iterate()
    threading.Thread(target=next, args=(stream,), daemon=True).start()
    while not any(name.startswith("pescador") for name in os.listdir(os.environ["TMPDIR"])):
        time.sleep(1e-3)
    """
    assert run(text) == (0, "", "")
    assert not list(folder.iterdir())


def test_an_error_of_closing_is_told_and_the_others_are_closed(run):
    text = """
    def failing():
        try:
            yield 1
        finally:
            print("closed", flush=True)
            raise ValueError("as it closed")

    kept = [Streamer(failing).iterate() for _ in range(3)]
    for each in kept:
        next(each)
    """
    code, out, err = run(text)
    assert (code, out) == (0, "closed\n" * 3)
    assert err.count("ValueError: as it closed") == 3


def test_other_hooks_find_closed_streams(run):
    text = """
    import atexit

    kept = mux.iterate()
    next(kept)
    atexit._clear()
    atexit.register(lambda: print(list(kept), kept.n_given, flush=True))
    from pescador._streaming import leaving
    atexit.register(leaving._leave)
    """
    assert run(text) == (0, "[] 1\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_leaves_the_streams_of_the_program_alone(run, tmp_path):
    path = tmp_path / "closed"
    text = """
    def noted():
        try:
            yield from range(9)
        finally:
            with open(sys.argv[1], "a") as file:
                file.write(f"{os.getpid()}\\n")

    kept = Streamer(noted).iterate()
    next(kept)
    pid = os.fork()
    if not pid:
        import atexit
        atexit._run_exitfuncs()
        os._exit(0)
    os.waitpid(pid, 0)
    print(os.getpid())
    """
    code, out, err = run(text, str(path))
    assert (code, err) == (0, "")
    assert Path(path).read_text() == out
