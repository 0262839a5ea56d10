"""The front page, the README, and how to install: what they say is so."""

import configparser
import itertools
import json
import re
from pathlib import Path

import pytest
import test_failures
from test_benchmarks import RESULTS, cells_of

from pescador import StochasticMux, Streamer, __version__

ROOT = Path(__file__).resolve().parents[1]
FRONT_PAGES = ["README.md", "docs/index.md"]


def reasons_of(name):
    """Return the reasons that a front page gives, without marks, as one line."""
    text = (ROOT / name).read_text(encoding="utf-8")
    reasons = text[: text.index("mixture.svg")].replace("*", "")
    return " ".join(reasons.split())


def result(name):
    return (RESULTS / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FRONT_PAGES)
def test_the_figures_of_the_reasons_are_those_of_the_results(name):
    reasons = reasons_of(name)
    cost = cells_of(result("items"))["ShuffledMux, 64 open"][0]
    assert f"{cost} ns" in reasons
    rows = cells_of(result("peers")).values()
    times = [float(row[2]) for row in rows if re.fullmatch(r"[\d.]+", row[2])]
    assert f"{min(times):.0f} to {max(times):.0f} times as long" in reasons


@pytest.mark.parametrize("name", FRONT_PAGES)
def test_the_figures_of_the_gpu_are_those_of_the_results(name):
    _, _, four_workers = result("on_gpu").partition("4 workers:")
    rows = cells_of(four_workers.partition("8 workers:")[0])
    theirs, ours = (
        rows[title][1].partition(" / ")[2].replace("%", " %")  # of 4 MiB
        for title in (
            "DataLoader's workers, `pin_memory`",
            "ParallelStreamer, DataLoader without workers, `pin_memory`",
        )
    )
    assert re.search(f"{ours} of its time,? .* 4 MiB from 4 workers.* {theirs}", reasons_of(name))


@pytest.mark.parametrize("name", FRONT_PAGES)
def test_as_many_files_are_broken_as_the_front_page_says(name):
    n_files, n_bad = test_failures.N_FILES, len(test_failures.TRUNCATED) + 1
    reasons = reasons_of(name)
    assert f"{n_bad} of {n_files:,} files are broken" in reasons
    assert f"other {n_files - n_bad} " in reasons


def test_a_state_is_as_small_as_the_front_page_says():
    streamers = [Streamer(itertools.count)] * 100_000
    with StochasticMux(streamers, 64, 16, random_state=0).iterate() as stream:
        for _ in itertools.islice(stream, 10_000):
            pass
        assert 1500 < len(json.dumps(stream.state_dict())) < 2500  # 2 kB


@pytest.mark.parametrize("n_active", [2, 3])
def test_a_share_is_what_the_front_page_says(n_active):
    streamers = [Streamer(itertools.repeat, name) for name in "abc"]
    weights = [8, 1, 1]
    mux = StochasticMux(streamers, n_active, 16, weights, weighting="share", random_state=0)
    items = list(mux.iterate(100_000))
    # The standard deviation is about 0.5 %.
    assert abs(items.count("a") / len(items) - 0.8) < 0.03


def test_each_card_begins_with_its_number():
    """Which is shown large, on a line of its own."""
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    cards = re.findall(r"grid-item-card.*\n(?::.*\n)*\n(.*)", text)
    assert len(cards) == 6
    assert all(re.match(r"\*\*[\d,]+[^*]*\*\* ", each) for each in cards)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200


def test_the_page_about_installing_has_every_extra():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = cells_of(page.partition("## Extras")[2].partition("## Uninstall")[0])
    assert {title.strip("`") for title in rows} - {"extra"} == {*setup["options.extras_require"]}
    assert f"pescador-{__version__}-py3-none-any.whl" in page


def test_the_version_to_cite_is_that_of_the_library():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in text
    assert re.findall(r"^  - (\w+): (.*)", text[: text.index("keywords")], re.MULTILINE) == [
        ("name", "The pescador developers")
    ]
