"""No false alarm: the trees of the examples and of the pages are checked as they are started."""

import functools
import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import test_docs
from _cases import some

import pescador

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
# What the trees of a page have: it tells of just that, or its sources are too simple to begin at a
# random place.
TRUE = {
    "docs/failures.md": {"fails"},
    "docs/migration.md": {"one-shot"},
    "docs/processes.md": {"cannot-cross", "fails", "rest-unreached"},
    "docs/why.md": {"rest-unreached"},
}
# What a machine measures, and what is so because the code of a page is no module.
APART = ["costs-more", "would-save", "not-picklable", "not-read"]


def found_in(streamer):
    """Return what is found, but for what is set apart."""
    return pescador.check(streamer, 100, max_seconds=1).without(APART)


def fail_instead(code):
    """Raise an error where a source ends its process: a check reads it in this one."""
    raise RuntimeError(f"the process would end: {code}")


def check_what_starts(monkeypatch):
    """Check every streamer when it is started for the first time; return what will be found."""
    found, seen = [], []
    is_busy = False

    def checked(method):
        # (A method of a streamer may be a source, and is known by its name.)
        @functools.wraps(method)
        def start(self, *args, **kwargs):
            nonlocal is_busy
            if not (is_busy or self._binding or any(each is self for each in seen)):
                seen.append(self)
                is_busy = True
                try:
                    with monkeypatch.context() as patch:
                        patch.setattr(os, "_exit", fail_instead)
                        found.extend(found_in(self))
                finally:
                    is_busy = False
            return method(self, *args, **kwargs)

        return start

    start = checked(pescador.Streamer.iterate)
    monkeypatch.setattr(pescador.Streamer, "iterate", start)
    monkeypatch.setattr(pescador.Streamer, "_iterate_of_the_house", start)
    monkeypatch.setattr(pescador.Streamer, "cycle", checked(pescador.Streamer.cycle))
    return found, seen


# (What is on docs/streamers.md writes down how often it is opened.)
PAGES = {
    str(path.relative_to(test_docs.ROOT)): path
    for path in test_docs.PAGES
    if test_docs.python_blocks(path.read_text(encoding="utf-8"))
    if not test_docs.uses_frameworks(path) and path.stem != "streamers"
}


@pytest.mark.parametrize("path", some(PAGES, 0, also=["docs/muxing.md"]))
def test_no_false_alarm_on_a_page(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if importlib.util.find_spec("tqdm"):  # which starts a thread for good else
        monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)
    found, seen = check_what_starts(monkeypatch)
    test_docs.run_page(path)
    name = str(path.relative_to(test_docs.ROOT))
    assert seen or name not in TRUE
    assert {each.kind for each in found} <= TRUE.get(name, set()), found


def load(name):
    """Import an example without running it."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    return importlib.import_module(name)


def quickstart(folder):
    example = load("quickstart")
    x, _, y, _ = example.load(0)
    yield example.batches_of(x, y, 32, 0)


def imbalance(folder):
    example = load("imbalance")
    sources, _, _ = example.load(0)
    yield from (make(sources, 0) for make in (example.flat, example.hierarchical))


def from_disk(folder):
    example = load("from_disk")
    archives, arrays = example.write_files(folder, 60)
    for streams in (
        [example.rows_of_archive(path) for path in archives],
        [example.rows_of_arrays(*paths) for paths in arrays],
    ):
        for options in ({"rate": None, "mode": "exhaustive"}, {"rate": 4}):
            mux = pescador.StochasticMux(streams, 5, **options)
            batches = pescador.Streamer(pescador.buffer_stream, mux, 16)
            yield pescador.ZMQStreamer(batches)


def resume(folder):
    yield load("resume").make_batches()


def partial_fit(folder):
    yield load("partial_fit").make_batches(np.ones((40, 3)), np.repeat(range(10), 4), 0)


def slow_source(folder):
    example = load("slow_source")
    source = example.slow_batches(np.ones((40, 3)), np.repeat(range(10), 4), 8, seed=0)
    yield pescador.ZMQStreamer(source)


def open_streams(folder):
    example = load("open_streams")
    for makers in example.FIGURES.values():
        for make in makers.values():
            yield make([example.Source(name, example.Notes()) for name in example.LENGTHS])


@pytest.mark.parametrize(
    "trees_of",
    some([open_streams, resume, from_disk, partial_fit, imbalance, quickstart, slow_source], 1),
)
def test_no_false_alarm_on_an_example(trees_of, tmp_path):
    for tree in trees_of(tmp_path):
        assert not found_in(tree)


def test_the_files_of_an_example_have_rows_that_are_never_read(tmp_path, monkeypatch):
    """A rate of 16 shows the beginnings of the longer ones only, which is so."""
    example = load("many_files")
    monkeypatch.setattr(example, "OPEN_SECONDS", 0)
    batches = example.batches_of(example.write_files(tmp_path, 12))
    assert {each.kind for each in found_in(batches)} == {"rest-unreached"}
