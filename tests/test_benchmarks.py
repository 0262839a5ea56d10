"""The benchmarks measure what they say, and can be run."""

import itertools
import random
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def benchmarks(monkeypatch):
    """Import the parts of the benchmarks, with a pool of streamers that is quick to make."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import cases
    import worker

    from benchmarks import __main__ as main

    yield cases, worker, main
    for name in list(sys.modules):
        if name in ("cases", "worker", "transport_worker") or name.startswith("benchmarks"):
            del sys.modules[name]


def test_every_case_gives_items_in_every_column(benchmarks):
    cases, _, main = benchmarks
    rows = [case for case in main.table() if max([0, *map(_size, case.arguments)]) <= 10_000]
    assert len(rows) > 20
    for case in rows:
        hand, *arguments = case.by_hand
        for name, given in ((case.name, case.arguments), (hand, arguments)):
            items = getattr(cases, name)(*given)
            if callable(items):
                assert items(3) in (3, None), case.title
                continue
            assert len(list(itertools.islice(items, 3))) == 3, case.title
            items.close()


def _size(argument):
    return argument if isinstance(argument, int) else 0


def test_batches_by_hand_are_those_of_the_library(benchmarks):
    cases, _, _ = benchmarks
    by_hand, ours = next(cases.concatenated_by_hand(7)), next(cases.buffered(7))
    np.testing.assert_array_equal(by_hand["x"], ours["x"].ravel())
    by_hand, ours = next(cases.gathered_by_hand(7)), next(cases.gathered(7))
    np.testing.assert_equal(ours, by_hand)


def test_a_measurement_is_a_time(benchmarks):
    _, worker, _ = benchmarks
    assert 0 < worker.measure("iterate", [], 10, 1000) < 1e6
    assert 0 < worker.measure("counted", ["streamer", True], 10, 1000) < 1e6


def test_goals_that_are_missed_are_marked(benchmarks):
    _, _, main = benchmarks
    assert main.ratio(3.0, 2.5, at_most=True) == "3.00 (goal <= 2.5)"
    assert main.ratio(3.0, 2.5, at_most=False) == "3.00"
    assert main.ratio(70.2, 80, at_most=False) == "70 (goal >= 80)"
    assert main.ratio(None, 80, at_most=False) == "-"


@pytest.mark.parametrize("how", ["pescador", "pair", "memcpy"])
@pytest.mark.parametrize("kind", ["small", 2**16])
def test_every_way_brings_all_items(benchmarks, how, kind):
    import transport_worker

    assert sum(1 for _ in getattr(transport_worker, how)(kind, 50)) == 50


def test_a_measurement_of_transport_is_three_times(benchmarks):
    import transport_worker

    seconds, here, there = transport_worker.measure("pescador", "small", 100, 20_000)
    assert 0 < seconds < 1e-2
    assert 0 < here < 1e-2
    assert 0 < there < 1e-2


def test_the_transport_table_knows_every_way(benchmarks):
    import transport_worker

    from benchmarks import transport

    for case in transport.CASES:
        assert set(case.n_items) == set(transport.HOW)
        values = transport_worker.arrays(case.kind).values()
        assert case.n_bytes == sum(array.nbytes for array in values)
    assert all(hasattr(transport_worker, how) for how in set(transport.HOW) - {"peer"})


def test_what_a_state_costs(benchmarks, monkeypatch):
    from benchmarks import resume

    monkeypatch.setattr(resume, "N_STREAMERS", 200)
    names = []
    for name, mux in resume.cases():
        names.append(name)
        size, to_take, to_resume = resume.measure(mux, 2000)
        assert 1000 < size < 2**16
        assert 0 < to_take < 1
        assert 0 < to_resume < 10
    assert len(set(names)) == 6


def test_the_tables_of_workers_have_every_row(benchmarks, monkeypatch, capsys):
    from benchmarks import parallel

    monkeypatch.setattr(parallel, "is_installed", lambda module: False)
    monkeypatch.setattr(sys, "argv", ["parallel", "--quick"])
    parallel.main()
    tables = [
        [row.strip("| ").split(" | ") for row in table.splitlines()]
        for table in capsys.readouterr().out.split("\n\n")
        if table.startswith("| ")
    ]
    assert [len(table) - 2 for table in tables] == [9, 2, 2, 6]
    assert all(len({*map(len, [table[0], *table[2:]])}) == 1 for table in tables)
    assert len({row[0] for table in tables for row in table[2:]}) == 19
    assert sum(row[1:] == ["not installed"] * 4 for row in tables[-1]) == 4


def test_the_tables_of_monitors_have_every_row(benchmarks, monkeypatch, capsys):
    from benchmarks import monitor

    monkeypatch.setattr(sys, "argv", ["monitor", "--quick"])
    monitor.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + len(monitor.CASES) + 1 + 1
    assert all(line.count("|") == 6 for line in lines[: 1 + len(monitor.CASES)])


def test_the_ideal_of_workers_counts_openings(benchmarks):
    from benchmarks import parallel

    job, k = parallel.Job(3.0, 0.5), 4
    ideal = parallel.ideal(parallel.flat, job, k, parallel.FULL)
    assert ideal == pytest.approx(k / (job.to_open / parallel.RATE + job.an_item), rel=0.05)
    assert ideal > parallel.ideal(parallel.nested, job, k, parallel.FULL)


def test_a_gap_is_the_longest_one(benchmarks, monkeypatch):
    from benchmarks import parallel

    clock = types.SimpleNamespace(perf_counter=iter([0.0, 1.0, 4.0, 4.5]).__next__)
    monkeypatch.setattr(parallel, "time", clock)
    assert parallel.longest_gap("abc", 3) == 3000


def test_every_peer_is_measured_beside_ours(benchmarks, monkeypatch, capsys):
    from benchmarks import peers, peers_worker

    asked = []
    monkeypatch.setattr(peers, "python_of", lambda peer: peer.packages[0])
    monkeypatch.setattr(
        peers,
        "measured",
        lambda python, name: asked.append(name) or (None if "grain" in name else 9),
    )
    peers.print_table(peers.PEERS)
    assert set(asked) == set(peers_worker.MIXERS)
    rows = cells_of(capsys.readouterr().out)
    assert len(rows) == len(peers.PEERS) + 1
    assert [row for row, cells in rows.items() if "failed" in cells] == [
        "Grain `IterDataset.mix` (0.2.18)"
    ]


@pytest.mark.parametrize("name", ["pescador_all", "pescador_few_open"])
def test_mixtures_that_are_compared_with_peers_do_not_end(benchmarks, monkeypatch, name):
    from benchmarks import peers_worker

    items = peers_worker.MIXERS[name]()
    assert len(list(itertools.islice(items, 20_000))) == 20_000
    monkeypatch.setattr(peers_worker, "SECONDS", 1e-3)
    assert peers_worker.measure(items) > 0


@pytest.fixture
def files(benchmarks, tmp_path):
    """Return the module of the whole job, a folder of files for it, and the rows of each class."""
    from benchmarks import job

    return job, tmp_path, np.array(job.make_files(tmp_path, 60))


@pytest.mark.parametrize("program", ["pescador_here", "pescador_process"])
def test_a_whole_job_reads_every_row_once(files, program):
    job, folder, n_rows = files
    found = job.measured(program, None, "epoch", folder, 60)
    assert found["is_whole"] and found["counts"] == n_rows.tolist()
    assert found["memory"] > 10 and found["cpu"] > 0
    row = job.row_of("ours", found, found["n_batches"], n_rows / n_rows.sum())
    assert row[0] == "ours" and "~" not in "".join(row) and row[-1] == "0.00"


def test_a_job_that_takes_too_long_is_stopped_and_estimated(files):
    job, folder, _ = files
    found = job.measured("pescador_here", None, "endless", folder, 0)
    assert (found["n_batches"], found["is_whole"]) == (1, False)
    row = job.row_of("ours", found, 1000, np.full(20, 0.05))
    assert row[1] == f"~{1000 * found['seconds']:,.0f}"


def test_every_program_of_the_whole_job_is_there(files):
    job, folder, _ = files
    worker = sys.modules["benchmarks.job_worker"]
    assert {program for program, _ in job.PROGRAMS.values()} == set(worker.PROGRAMS)
    assert {peer for _, peer in job.PROGRAMS.values()} - {peer.name for peer in job.PEERS} == {None}
    with pytest.raises(SystemExit, match="no_such_program"):
        job.measured("no_such_program", None, "epoch", folder, 1)


def test_the_rows_that_peers_mix_by_hand_are_all_of_them(files):
    _, folder, n_rows = files
    worker = sys.modules["benchmarks.job_worker"]
    paths = [path for of_class in worker.files_of(folder) for path in of_class]
    rng = random.Random(0)
    labels = [int(row["Y"]) for row in worker.mixed(paths, rng)]
    assert np.bincount(labels).tolist() == n_rows.tolist()
    assert {int(row["Y"]) for row in itertools.islice(worker.endless(paths[:2], rng), 2000)} == {0}


# What was measured.

RESULTS = ROOT / "benchmarks" / "results"
COSTS = {
    "`for item in streamer.iterate(n)`": "for item in streamer.iterate(n), Streamer",
    "`ShuffledMux`, 64 open": "ShuffledMux, 64 open",
    "`StochasticMux`, 64 open of 1,000, `rate=16`": (
        "StochasticMux, 1,000 streamers, 64 open, rate 16, with_replacement"
    ),
    "the same of 1,000,000": "the same, 1,000,000 streamers, with_replacement",
    "`RoundRobinMux`, 512 open": "RoundRobinMux, 512 open",
    "`ChainMux`, streams of 1,000": "ChainMux, streams of 1,000",
}


def cells_of(text):
    """Return the rows of the tables in a text."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {title: cells for title, *cells in reversed(rows)}  # (the first of those alike)


def test_the_results_have_every_row(benchmarks):
    _, _, main = benchmarks
    rows = cells_of((RESULTS / "items.md").read_text(encoding="utf-8"))
    titles = [case.title for case in main.table()]
    assert set(titles) <= set(rows)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.md")), ids=lambda path: path.stem)
def test_results_say_where_they_are_from_and_no_goals(path):
    text = path.read_text(encoding="utf-8")
    assert re.search(r"\nMeasured at commit [0-9a-f]{7}[0-9a-f]*\.\n$", text)
    assert "cores, Linux; CPython" in text and "goal" not in text


def test_the_figures_of_the_readme_are_those_of_the_results():
    told = cells_of((ROOT / "README.md").read_text(encoding="utf-8"))
    rows = cells_of((RESULTS / "items.md").read_text(encoding="utf-8"))
    assert {title: told[title] for title in COSTS} == {
        title: rows[row][:2] for title, row in COSTS.items()
    }
    one = told["an item of 1 MiB from a `ZMQStreamer` (microseconds)"]
    text = (RESULTS / "transport.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| 1 MiB"))
    speeds = [float(cell.split()[0].replace(",", "")) for cell in row.split("|")[2:4]]
    assert [float(each) for each in one] == [round(1e6 / each) for each in speeds]


def test_the_figures_of_the_comparison_are_those_of_the_results():
    text = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    table = text.partition("## Workers")[0]
    told, *others = [line.split("|")[-2].strip() for line in re.findall(r"\n\| \*\*.*", table)]
    peers = cells_of((RESULTS / "peers.md").read_text(encoding="utf-8"))
    rows = [row for title, row in peers.items() if title.endswith(")") and "64 open" not in title]
    ours = sorted(int(row[1]) for row in rows)
    assert told == f"{ours[0]} to {ours[-1]}"
    others += re.findall(r"([\d,]+) ns an item in", text)
    assert sorted(filter(None, others)) == sorted(row[0] for row in rows)


def test_results_are_written_down_without_goals(benchmarks, monkeypatch, tmp_path, capsys):
    from benchmarks import harness

    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    for is_written in (False, True):
        with harness.results("some", is_written):
            print(harness.ratio(3.0, 2.5, at_most=True))
    assert capsys.readouterr().out == "3.00 (goal <= 2.5)\n3.00\n"
    text = (tmp_path / "results" / "some.md").read_text(encoding="utf-8")
    assert text.startswith("3.00\n\nMeasured at commit ")
