"""What the examples show must be so."""

import importlib
import math
import os
import statistics
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
N_SEEDS = 10
LEAST_ACCURACY = 0.88


def load(name):
    """Import an example without running it, so that other processes can import it too."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    return importlib.import_module(name)


QUICKSTART = load("quickstart")


def test_the_quickstart_learns():
    scores = [QUICKSTART.train(seed, show_progress=False) for seed in range(N_SEEDS)]
    assert statistics.fmean(scores) > LEAST_ACCURACY


def test_the_quickstart_repeats_itself():
    once, again = (QUICKSTART.train(1, n_batches=20, show_progress=False) for _ in range(2))
    assert once == again


@pytest.mark.parametrize("kind", ["archives", "arrays"])
def test_an_epoch_from_disk_has_every_row_once(kind, tmp_path):
    from_disk = load("from_disk")
    archives, arrays = from_disk.write_files(tmp_path, 100)
    assert len(archives) == len(arrays) == -(-100 // from_disk.ROWS_PER_FILE)
    streams = [from_disk.rows_of_archive(path) for path in archives]
    if kind == "arrays":
        streams = [from_disk.rows_of_arrays(*paths) for paths in arrays]
    assert from_disk.one_epoch(streams, 100) == 100
    with pytest.raises(AssertionError, match="a row is missing"):
        from_disk.one_epoch(streams[1:], 100)
    assert 90 < from_disk.endless(streams, 20) <= 100


def test_shares_are_what_was_asked_for_under_one_rule_only():
    """Bernstein's inequality: less than one false alarm in a million, for longest limits of 64."""
    shares = load("shares")
    n_items, log = 200_000, math.log(2 * len(shares.WEIGHTS) / 1e-6)
    variances = shares.WEIGHTS * (1 - shares.WEIGHTS) * 64 / n_items
    reach = 64 * log / 3 / n_items
    bounds = reach + (reach**2 + 2 * variances * log) ** 0.5
    assert (abs(shares.realised("share", n_items) - shares.WEIGHTS) < bounds).all()
    assert abs(shares.realised("active", n_items) - 0.1).max() < 0.05


def test_a_slow_source_costs_no_time_in_a_process_of_its_own():
    """Training and reading take turns without the process, and overlap with it."""
    slow_source = load("slow_source")
    alone, beside = slow_source.compare(n_batches=20, show_progress=False)
    assert alone.n_batches == beside.n_batches == 20
    assert alone.accuracy == beside.accuracy
    # 40 ms a batch against 20 ms: the rest is for a busy machine.
    assert beside.seconds < 0.85 * alone.seconds


def test_a_run_that_was_killed_ends_with_the_same_weights(monkeypatch):
    resume = load("resume")
    parts = [str(EXAMPLES.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(parts))
    undisturbed, resumed = resume.compare(n_batches=120, dies_after=83)
    assert (undisturbed.coef_ == resumed.coef_).all()
    assert (undisturbed.intercept_ == resumed.intercept_).all()
    other = resume.compare(n_batches=119, dies_after=83)[1]
    assert (other.coef_ != resumed.coef_).any()


def open_at_once(streams, n_items):
    """Return how many streams are open while each item is drawn, and how many of one source."""
    counts = []
    for item in range(n_items):
        names = [each.name for each in streams if each.opened <= item < each.closed]
        counts.append((len(names), max(map(names.count, names))))
    return counts


@pytest.mark.parametrize(
    "mux, mode, n_open",
    [
        ("StochasticMux", "with_replacement", 3),
        ("StochasticMux", "single_active", 3),
        ("ShuffledMux", "equal weights", 6),
        ("ChainMux", "cycle", 1),
    ],
)
def test_the_pictures_show_as_many_open_streams_as_they_say(mux, mode, n_open):
    pictures = load("open_streams")
    modes = {
        title.removeprefix('mode="').rstrip('"'): make
        for title, make in pictures.FIGURES[mux].items()
    }
    counts = open_at_once(pictures.observe(modes[mode]), pictures.N_ITEMS)
    assert {n for n, _ in counts} == {n_open}
    assert (max(most for _, most in counts) > 1) == (mode == "with_replacement")


def test_the_pictures_show_every_source_once_in_an_epoch():
    pictures = load("open_streams")
    for mux in ("StochasticMux", "RoundRobinMux", "ChainMux"):
        streams = pictures.observe(pictures.FIGURES[mux]['mode="exhaustive"'])
        assert sorted(each.name for each in streams) == list(pictures.LENGTHS)
        assert sum(len(each.items) for each in streams) < pictures.N_ITEMS
