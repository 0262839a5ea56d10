"""How far a dry run reads, what it had no time for, and how it tells of it."""

import io
import itertools
import json
import pickle
import random
import re
import time
from pathlib import Path

import numpy as np
import pytest
from _sources import nothing, numbers, records
from test_checking import drawn_from, fails, items_of, kinds, noisy, several

import pescador
from pescador import (
    FRESH_SEED,
    ChainMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    buffer_stream,
    check,
)
from pescador._checking.findings import KINDS


def sleeps(seconds):
    """Yield the same for ever, each after a while."""
    while True:
        time.sleep(seconds)
        yield {"x": 1}


def lines_of(path):
    """Yield the lines of a file."""
    with open(path) as file:
        yield from file


# What is read.


def test_slow_sources_do_not_hide_missing_files(tmp_path):
    slow = several(sleeps, 0.1, n=5)
    missing = [Streamer(lines_of, tmp_path / f"missing{number}") for number in range(5)]
    findings = check(StochasticMux(slow + missing, 4, 16), max_seconds=0.3)
    fails, not_read, begun = findings
    assert (fails.kind, fails.place, len(fails.others)) == ("fails", (5,), 4)
    assert (not_read.severity, not_read.kind) == ("warning", "not-read")
    n_unread = 10 - findings.n_sources
    assert f"{n_unread} of 10 sources" in not_read.message
    assert len(not_read.others) == n_unread - 1
    assert "--max-seconds" in not_read.remedy
    assert (begun.severity, begun.kind) == ("note", "not-read")
    assert "only the first item" in begun.message
    assert len(begun.others) == 5 - n_unread - 1
    assert not findings.is_complete


def test_a_slow_source_gets_the_time_that_others_leave():
    def slow():
        for _ in range(60):
            time.sleep(0.002)
            yield 1
        raise OSError("gone")

    findings = check(ChainMux([Streamer(slow), *several(numbers, 0, 3, n=50)]), max_seconds=2)
    assert findings[0].kind == "fails" and "after 60 items" in findings[0].message


def test_all_sources_of_a_large_pool():
    many = [*several(numbers, 0, 3, n=300), Streamer(fails, 0)]
    (found,) = findings = check(ChainMux(many), n_sources=None)
    assert (found.kind, found.place, findings.n_sources) == ("fails", (300,), 301)

    def lazily():
        yield from several(numbers, 0, 3, n=40)

    assert [check(ChainMux(lazily), n_sources=n).n_sources for n in (8, None)] == [1, 40]


def test_streamers_that_there_is_no_time_to_look_at():
    findings = check(ChainMux(several(numbers, 0, 3, n=20_000)), n_sources=None, max_seconds=0.05)
    found = findings[0]
    assert (found.severity, found.kind) == ("warning", "not-read")
    assert "of 20,000 sources" in found.message
    assert not findings.n_left_out and not findings.is_complete


@pytest.mark.parametrize("n_items, expected", [(400, []), (1000, ["fails"])])
def test_a_late_failure_of_one_of_several_sources(n_items, expected):
    late = Streamer(fails, 500)
    assert kinds(ShuffledMux([late, Streamer(numbers, 0, 9)]), n_items=n_items) == expected
    assert kinds(StochasticMux([late, late], 2, 16), n_items=n_items) == ["rest-unreached"]


def dtypes(n_items, *, n_first, random_state=0):
    """Yield arrays whose dtype changes."""
    rng = np.random.default_rng(random_state)
    for number in range(n_items):
        yield {"x": rng.random(3).astype(np.float32 if number < n_first else np.float64)}


def test_a_dtype_that_changes_within_a_source():
    def mux(n_first, rate=None):
        sources = [
            Streamer(dtypes, 400, n_first=n_first, random_state=FRESH_SEED) for _ in range(3)
        ]
        return StochasticMux(sources, 2, rate)

    (found,) = check(mux(100))
    assert (found.severity, found.kind, found.place) == ("warning", "items-differ", (0,))
    assert "'x' has dtype float32 at first, and float64 from item 100 on" in found.message
    assert [place for place, _ in found.others] == [(1,), (2,)]
    assert kinds(mux(400)) == kinds(mux(300, 16)) == []  # nobody gets there
    assert kinds(mux(100, 200)) == ["items-differ"]


def test_a_file_sorted_by_class_whose_rest_is_never_reached():
    def by_class(n_each):
        for label in range(20):
            yield from ({"label": label} for _ in range(n_each))

    assert kinds(StochasticMux(several(by_class, 40), 2, 16), n_items=500) == ["rest-unreached"]
    assert kinds(StochasticMux(several(by_class, 1), 2, 16), n_items=500) == []


# What is told.


def seeds_globally():
    """Yield random numbers, the same ones each time."""
    np.random.seed(0)
    while True:
        yield {"x": np.random.random()}


def test_a_source_that_seeds_the_global_generator():
    assert kinds(StochasticMux(several(seeds_globally), 2, 16)) == ["begins-alike"]


@pytest.mark.parametrize("make", [np.random.default_rng, random.Random])
def test_a_generator_that_sources_share(make):
    shared = make(0)
    (found,) = check(ShuffledMux([Streamer(drawn_from, shared), Streamer(drawn_from, shared)]))
    assert (found.severity, found.kind) == ("note", "shared-generator")
    assert type(shared).__name__ in found.message and "docs/reproducibility.md" in found.remedy
    assert len(found.others) == 1
    assert kinds(ShuffledMux([Streamer(drawn_from, make(0)), Streamer(drawn_from, make(0))])) == []
    copied = pescador.ZMQStreamer(ShuffledMux([Streamer(drawn_from, shared)] * 2))
    found = next(each for each in check(copied) if each.kind == "begins-alike")
    assert f"draws from a {type(shared).__name__} that the program has made" in found.message


def test_an_epoch_that_never_ends():
    def mux(*sources, rate=None, mode="exhaustive"):
        return StochasticMux(list(sources), 2, rate, mode=mode)

    files, endless = several(records, 0, 9), Streamer(noisy, 0, FRESH_SEED)

    def found(tree):
        return "never-ends" in kinds(tree)

    (only,) = check(mux(*files, endless)).without(["items-differ"])
    assert (only.severity, only.kind, only.place) == ("warning", "never-ends", (4,))
    assert not found(mux(*files)) and not found(mux(*files, endless, rate=8))
    assert not found(mux(*files, Streamer(endless.iterate, 9)))
    assert not found(mux(*files, endless, mode="single_active"))


def blocks(k, axis_length=3):
    while True:
        yield {"x": np.zeros((10 + k, axis_length))}


def test_blocks_that_are_joined_along_an_axis():
    def tree(*lengths, axis=0):
        mux = ShuffledMux([Streamer(blocks, k, n) for k, n in enumerate(lengths)])
        return Streamer(buffer_stream, mux, 4, axis=axis)

    assert kinds(tree(3, 3, 3)) == kinds(tree(3, 3, 3, axis=-2)) == []
    assert "items-differ" in kinds(tree(3, 3, 4)) and "items-differ" in kinds(tree(3, 3, axis=1))
    (found,) = check(ShuffledMux([Streamer(blocks, k) for k in range(4)]), 20)
    assert (found.kind, len(found.others)) == ("items-differ", 2)  # of one key, for one reason


def test_the_texts_of_errors_are_whole(tmp_path):
    path = tmp_path.joinpath(*["a_long_name_of_a_folder"] * 4, "missing.npz")
    (found,) = check(Streamer(lines_of, path))
    assert found.message.endswith("missing.npz'") and str(path) in found.message

    def broken(text):
        raise KeyError(text)
        yield

    (found,) = check(Streamer(broken, "X is not a file in the archive"))
    assert found.message.endswith("KeyError: 'X is not a file in the archive'")
    (found,) = check(Streamer(broken, "x" * 1000 + "end"))
    assert found.message.endswith("xend'") and len(found.message) < 400

    class Silent(Exception):
        def __str__(self):
            raise RuntimeError

    (found,) = check(Streamer(fails, 0, lambda text: Silent()))
    assert found.message.endswith("Silent: ?")


@pytest.mark.parametrize("function", [pescador.tuples, pescador.keras_tuples])
def test_a_key_that_is_not_there(function):
    mux = ShuffledMux([Streamer(noisy, 0, FRESH_SEED)])
    for tree in (mux, Streamer(buffer_stream, mux, 4)):
        (found,) = check(Streamer(function, tree, "X", "label"), 20)
        assert found.kind == "fails"
        assert found.remedy == "use a key that the items have: 'X', 'Y'"


def test_a_mux_is_told_to_go_on_only_if_there_is_one():
    assert "on_error" not in check(Streamer(fails, 2))[0].remedy
    assert "on_error" in check(ChainMux([Streamer(fails, 2)]))[0].remedy


def test_what_to_give_instead_of_what_can_be_read_once():
    mux = ShuffledMux([Streamer(numbers, 0, 9)])
    remedies = {
        mux.iterate(): "mux, not mux.iterate()",
        io.StringIO("a"): "give the path, and open the file in the source",
        iter([1]): "the generator function",
    }
    for value, remedy in remedies.items():
        (found,) = check(Streamer(buffer_stream, value, 32))
        assert (found.severity, found.kind) == ("warning", "one-shot")
        assert remedy in found.remedy


def test_a_stream_is_not_what_is_checked():
    mux = ShuffledMux([Streamer(numbers, 0, 9)])
    for stream in (mux.iterate(), pescador.Monitor(mux.iterate()), pescador.cache([1], 2)):
        with pytest.raises(pescador.PescadorError, match="the streamer that it came from"):
            check(stream)
    with pytest.raises(pescador.PescadorError, match="or Streamer"):
        check(iter([1]))


def test_the_others_are_listed():
    sources = [Streamer(numbers, 0, 3), *several(nothing, n=13), *several(fails, 0, n=2)]
    nested = ChainMux([items_of(1), ChainMux(sources)])
    findings = check(nested)
    error, empty = findings
    assert (error.place, error.others) == ((1, 14), (((1, 15), "Streamer(fails, 0)"),))
    assert [place for place, _ in empty.others] == [(1, index) for index in range(2, 14)]
    text = str(empty)
    assert text.count("    the same at (1, ") == 10
    assert "    the same at (1, 2), Streamer(nothing)\n" in text
    assert "\n    and 2 more\n    -> " in text
    assert "the same at (1, 2)" in findings._repr_html_()
    data = json.loads(json.dumps(findings.to_dict()))["findings"]
    assert data[0]["others"] == [{"place": [1, 15], "streamer": "Streamer(fails, 0)"}]
    assert len(data[1]["others"]) == 12
    assert pickle.loads(pickle.dumps(findings)) == findings


def test_every_kind_is_on_the_page_and_in_the_docstring():
    page = Path(__file__).resolve().parents[1].joinpath("docs/check.md").read_text("utf-8")
    rows = "".join(re.findall(r"^\| (`[a-z`, -]+) \|", page, re.MULTILINE))
    assert sorted(re.findall("`([a-z][a-z-]+)`", rows)) == list(KINDS)
    assert sorted(set(re.findall('``"([a-z-]+)"``', check.__doc__))) == list(KINDS)


def test_parts_of_a_report():
    findings = check(ChainMux([Streamer(nothing), Streamer(fails, 0), items_of(1)]))
    for severity, n in (("error", 1), ("warning", 2), ("note", 2)):
        assert len(findings.at_least(severity)) == n
    assert [each.kind for each in findings.without(["fails"])] == ["empty"]
    for wrong in (lambda: findings.at_least("worse"), lambda: findings.without(["never_read"])):
        with pytest.raises(pescador.PescadorError, match="choose one of"):
            wrong()


def test_a_source_is_opened_for_one_item_and_then_read_on():
    opened = itertools.count()
    read = []

    def counted():
        number = next(opened)
        read.append(0)
        for _ in range(2000):
            read[number] += 1
            yield 1

    check(ChainMux([Streamer(counted), Streamer(numbers, 0, 9)]), 300)
    assert read[:2] == [1, 300]
