"""What an earlier release has pickled, and the states that it took, go on here as they did there.

The files in ``golden`` were made by ``golden/make.py``.
"""

import gzip
import json
import logging
from pathlib import Path

import pytest
from _cases import some
from _golden_sources import (
    CASES,
    N_ITEMS,
    digest,
    failures_of,
    loaded,
    rest_of,
    seeded_anew,
)

FILES = sorted((Path(__file__).resolve().parent / "golden").glob("*.json.gz"))
RECORDED = {
    (path.name.partition(".")[0], name): recorded
    for path in FILES
    for name, recorded in json.loads(gzip.decompress(path.read_bytes())).items()
}

PARAMETERS = [pytest.param(*case, id="-".join(case)) for case in RECORDED]

# By default, long runs are compared of every third case.
every_third = [
    pytest.param(*case.values, id=case.id, marks=pytest.mark.full if i % 3 else ())
    for i, case in enumerate(PARAMETERS)
]
every_case = pytest.mark.parametrize(("room", "name"), PARAMETERS)


@pytest.fixture(autouse=True)
def _quiet():
    """Let sources fail without a line for each in the log."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def check_rest(stream, run, n_before):
    """Compare what is left of a run with what was left of it in the earlier release."""
    items, end = rest_of(stream, N_ITEMS - n_before)
    assert items == run["items"][n_before:]
    assert end == run["end"]
    assert failures_of(stream) == run["failures"]
    stream.close()


def test_every_case_is_recorded():
    assert set(RECORDED) == {(room, name) for room, cases in CASES.items() for name in cases}


@every_case
def test_a_pickle_gives_the_same_items(room, name):
    recorded = RECORDED[room, name]
    for run in recorded["runs"]:
        streamer = loaded(recorded)
        seeded_anew()
        check_rest(streamer(run["max_iter"], run["cycle"]), run, 0)
        assert streamer.active == 0


@every_case
@pytest.mark.parametrize("is_pickle", some({"pickle": True, "anew": False}))
def test_a_state_is_resumed(room, name, is_pickle):
    recorded = RECORDED[room, name]
    for run in recorded["runs"]:
        for n_given, state in run["states"]:
            streamer = loaded(recorded) if is_pickle else CASES[room][name]()
            seeded_anew()
            check_rest(streamer.resume(state), run, n_given)
            assert streamer.active == 0


@pytest.mark.parametrize(
    ("room", "name"), [each for each in every_third if each.values[0] != "processes"]
)
def test_the_next_thousands_are_the_same(room, name):
    assert digest(loaded(RECORDED[room, name])) == RECORDED[room, name]["long"]


@pytest.mark.parametrize("room", CASES)
def test_there_are_states_of_the_start_the_middle_and_the_end(room):
    runs = [run for case in RECORDED if case[0] == room for run in RECORDED[case]["runs"]]
    states = [state for run in runs for _, state in run["states"]]
    assert {0, 11, 24, 33} <= {state["n_given"] for state in states}
    assert any(state["has_ended"] or state["n_given"] == state["max_iter"] for state in states)
