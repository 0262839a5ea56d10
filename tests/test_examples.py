"""What the examples show must be so."""

import importlib
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from scipy import stats

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
N_SEEDS = 3


def load(name):
    """Import an example without running it, so that other processes can import it too."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    return importlib.import_module(name)


QUICKSTART = load("quickstart")


def test_the_quickstart_learns_more_than_without_noise():
    trained = [QUICKSTART.train(seed, show_progress=False) for seed in range(N_SEEDS)]
    plain = [statistics.fmean(QUICKSTART.train_plain(seed)) for seed in range(N_SEEDS)]
    accuracies = [statistics.fmean(of_levels) for of_levels, _ in trained]
    assert statistics.fmean(accuracies) > 0.85
    assert all(accuracy > other for accuracy, other in zip(accuracies, plain))


def test_the_samples_of_the_quickstart_differ():
    """Four streams of five have noise, of which none begins twice alike."""
    accuracy, n_different = QUICKSTART.train(n_batches=100, show_progress=False)
    assert 0.7 * 3200 < n_different < 3200
    assert accuracy != QUICKSTART.train(n_batches=20, show_progress=False)[0]


def test_the_quickstart_needs_no_progress_bar(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.delitem(sys.modules, "quickstart")
    assert load("quickstart").train(n_batches=2)[1] > 32


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
    assert (abs(shares.real_shares("share", n_items) - shares.WEIGHTS) < bounds).all()
    assert abs(shares.real_shares("active", n_items) - 0.1).max() < 0.05


def deviation(measured, expected):
    """Return how many standard errors the mean of independent measurements is off."""
    error = np.std(measured, axis=0, ddof=1) / len(measured) ** 0.5
    return abs((np.mean(measured, axis=0) - expected) / error)


@pytest.mark.parametrize("n_active, rate", [(3, 6.5), (12, 4)])
def test_a_mux_mixes_as_the_formulas_say(n_active, rate):
    """Student's t over independent runs: less than one false alarm in a million, for 6 means."""
    mixing = load("mixing")
    measured = []
    for seed in range(30):
        places, activations = mixing.simulate(n_active, rate, 4000, seed)
        measured.append(
            [
                *(mixing.measured_correlation(activations, distance) for distance in (1, 20)),
                *(mixing.measured_distinct(activations, size) for size in (5, 50)),
                *(mixing.measured_effect(places, size) for size in (5, 50)),
            ]
        )
    expected = [
        *(mixing.correlation(distance, n_active, rate) for distance in (1, 20)),
        *(mixing.n_distinct(size, n_active, rate) for size in (5, 50)),
        *(mixing.design_effect(size, n_active, rate) for size in (5, 50)),
    ]
    assert (deviation(measured, expected) < stats.t.isf(1e-7 / 2, 29)).all()


def test_light_sources_stay_for_as_long_as_the_formula_says():
    """As above, for 2 means."""
    mixing = load("mixing")
    measured = []
    for seed in range(30):
        run = mixing.simulate(3, 6.5, 4000, seed, mixing.WEIGHTS)
        measured.append([mixing.measured_gap_inside(*run, number) for number in (0, 9)])
    expected = mixing.gap_inside(mixing.WEIGHTS, 3)[[0, 9]]
    assert (deviation(measured, expected) < stats.t.isf(1e-7 / 2, 29)).all()


def test_gaps_between_items_of_a_source_are_nearly_as_the_formula_says():
    """The formula takes open streams as independent; the seed is fixed, and tells 3 % apart."""
    mixing = load("mixing")
    gaps = np.array([1, 8, 64, 512])
    measured = mixing.measured_gaps(mixing.simulate(16, 8, 200_000)[0])
    expected = mixing.gap_survival(gaps, 16, 8, 1 / mixing.N_STREAMERS)
    assert (measured[:, None] > gaps).mean(axis=0) == pytest.approx(expected, rel=0.03)
    assert measured.mean() == pytest.approx(mixing.N_STREAMERS, rel=0.03)


def test_a_slow_source_costs_no_time_in_a_process_of_its_own(monkeypatch):
    """Training and reading take turns without the process, and overlap with it.

    So a batch is there when a step is over: half of the time it is, in one try at least, however
    busy the machine.
    """
    slow_source = load("slow_source")
    step, times = slow_source.step, []

    def timed_step(model, batch):
        times.append(time.perf_counter())
        step(model, batch)
        times.append(time.perf_counter())

    def is_beside():
        times.clear()
        alone, beside = slow_source.compare(n_batches=20, show_progress=False)
        assert alone.n_batches == beside.n_batches == 20
        assert alone.accuracy == beside.accuracy
        waits = [begin - end for end, begin in zip(times[1::2], times[2::2])]
        of_alone, of_beside = statistics.median(waits[:19]), statistics.median(waits[20:])
        assert of_alone >= slow_source.SOURCE_SECONDS
        return of_beside < 0.5 * of_alone

    monkeypatch.setattr(slow_source, "step", timed_step)
    assert any(is_beside() for _ in range(5))


def test_a_run_that_was_killed_ends_with_the_same_weights(monkeypatch):
    resume = load("resume")
    parts = [str(EXAMPLES.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(parts))
    undisturbed, resumed, begun_again = resume.compare(n_batches=120, dies_after=83)
    assert (undisturbed.coef_ == resumed.coef_).all()
    assert (undisturbed.intercept_ == resumed.intercept_).all()
    assert (begun_again.coef_ != resumed.coef_).any()
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
        ("ShuffledMux", "weights 1, 1, 1, 1, 1, 5", 6),
        ("ChainMux", "cycle", 1),
    ],
)
def test_the_pictures_show_as_many_open_streams_as_they_say(mux, mode, n_open):
    pictures = load("open_streams")
    counts = open_at_once(pictures.observe(pictures.FIGURES[mux][mode]), pictures.N_ITEMS)
    assert {n for n, _ in counts} == {n_open}
    assert (max(most for _, most in counts) > 1) == (mode == "with_replacement")


def test_the_pictures_show_every_source_once_in_an_epoch():
    pictures = load("open_streams")
    for mux in ("StochasticMux", "RoundRobinMux", "ChainMux"):
        streams = pictures.observe(pictures.FIGURES[mux]["exhaustive"])
        assert sorted(each.name for each in streams) == list(pictures.LENGTHS)
        assert sum(len(each.items) for each in streams) < pictures.N_ITEMS


def test_scikit_learn_learns_from_streams():
    mixed, by_file = (load("partial_fit").curves(60, is_mixed) for is_mixed in (True, False))
    for name in ("SGDClassifier", "Perceptron"):
        assert mixed[name][-1] > max(0.7, by_file[name][-1])
    assert mixed["MiniBatchKMeans"][-1] > 0.5


def test_a_mux_over_classes_helps_the_rare_ones():
    """Over 12 seeds, the gain was 0.28 on average, with a standard deviation of 0.13."""
    imbalance = load("imbalance")
    flat, hierarchical = (
        np.mean([imbalance.recalls(make_mux, 40, seed) for seed in range(5)], axis=0)
        for make_mux in (imbalance.flat, imbalance.hierarchical)
    )
    assert (hierarchical - flat)[imbalance.RARE].mean() > 0.1
    assert hierarchical.mean() > flat.mean()


def test_many_files_give_the_same_batches_with_any_workers(monkeypatch, tmp_path):
    many_files = load("many_files")
    monkeypatch.setattr(many_files, "OPEN_SECONDS", 0)
    paths = many_files.write_files(tmp_path, 80)
    assert len({path.stat().st_size for path in paths}) > 20
    alone, results = many_files.compare(paths, n_batches=3)
    runs = [run for by_number in results.values() for run in by_number.values()]
    assert len(runs) == 2 * len(many_files.WORKERS)
    assert {run.hash for run in runs} == {alone.hash}
    assert many_files.read(many_files.batches_of(paths[1:]), 3).hash != alone.hash


def test_what_a_mixture_does_is_logged(monkeypatch, tmp_path):
    log_shares = load("log_shares")
    monkeypatch.setattr(log_shares, "LOG_EVERY", 5)
    log_shares.train(12, log_shares.json_logger(tmp_path))
    lines = (tmp_path / "reports.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [(each["step"], each["n_items"]) for each in records] == [(5, 5), (10, 10)]
    asked_for = {tuple(row["path"]): row["expected"] for row in records[-1]["sources"]}
    assert asked_for[0,] == pytest.approx(log_shares.SHARES[0])


def test_what_a_mixture_does_is_drawn(monkeypatch, tmp_path):
    """As TensorBoard would; with the real one, where it is installed, the example itself runs."""
    log_shares = load("log_shares")
    writer = mock.Mock()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", writer)
    report = log_shares.train(3, log_shares.json_logger(tmp_path))
    log_shares.tensorboard_logger(tmp_path)(3, report)
    calls = writer.SummaryWriter(tmp_path).add_scalars.call_args_list
    assert len(calls) == report.n_sources
    name, curves, step = calls[0].args
    assert (name, step) == ("share of 0", 3)
    assert curves == {"expected": report.sources[0].expected, "real": report.sources[0].share}
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert log_shares.tensorboard_logger(tmp_path) is None
