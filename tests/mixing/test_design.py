"""The mathematics of shares: designs, and trees of sums."""

import itertools

import numpy as np
import pytest

from pescador import StochasticMux
from pescador._mixing.choosers import DistinctShares, Shares
from pescador._mixing.design import Design, Table, Tree, levels_of

FALSE_ALARM = 1e-6
ALWAYS_OPEN = np.array([2, 1, 0.5, 0.5, 0.5, 0.5, 0, 0.4, 0.3, 0.3]) / 6


def inclusions_of(odds, size):
    """Return by enumeration how often each index is included."""
    included = np.zeros(len(odds))
    for each in map(list, itertools.combinations(range(len(odds)), size)):
        included[each] += np.prod(odds[each])
    return size * included / included.sum()


DESIGNS = {
    "one of two": ([0.4, 0.6], 1),
    "all but one": ([0.999, 0.999, 0.002], 2),
    "nearly always": ([1 - 1e-6, 0.5, 0.5 + 1e-6], 2),
    "halves": ([0.5] * 8, 4),
    "steep": ([0.99, 0.6, 0.2, 0.1, 0.1, 0.01], 2),
    "often and seldom": ([0.9] * 4 + [0.1] * 4, 4),
    "extreme": ([1 - 1e-6] * 3 + [3e-6], 3),
    "tiny": ([0.5, 0.5, 1e-300, 0.7, 0.3], 2),
}

# Those whose rest is lost in rounding: the shares are met but for 1e-7.
NEARLY = {
    "one of one": ([1, 1e-8], 1),
    "hardly any": ([1, 1e-12], 1),
    "all of them": ([0.3333333333] * 3 + [1e-10], 3),
    "two and hardly any": ([1, 1, 1e-9], 2),
}


@pytest.mark.parametrize(("inclusions", "size"), DESIGNS.values(), ids=DESIGNS)
def test_a_design_includes_each_as_often_as_asked_for(inclusions, size):
    weights = np.array(inclusions) / size
    given = inclusions_of(Design(weights, size).levels[0], size)
    assert given == pytest.approx(np.array(inclusions), rel=1e-9, abs=1e-11)


@pytest.mark.parametrize(("weights", "n_open"), NEARLY.values(), ids=NEARLY)
def test_what_is_nearly_always_open_is_always_open(weights, n_open):
    weights = np.array(weights) / np.sum(weights)
    design = Design(weights, n_open)
    given = np.zeros(len(weights))
    if len(design.fixed) < n_open:
        given = inclusions_of(design.levels[0], n_open - len(design.fixed))
    given[sorted(design.fixed)] = 1
    assert given == pytest.approx(weights * n_open, abs=1e-6)


def test_a_weight_that_fades_away_does_no_harm():
    def weights(n_items):
        return [1, 1, np.exp(-n_items / 1000)]

    sources = [range(100_000)] * 3
    mux = StochasticMux(sources, 2, 8, weights, "single_active", random_state=0, weighting="share")
    assert sum(1 for _ in mux.iterate(60_000)) == 60_000


def test_a_design_of_many_is_found():
    weights = 1 / np.arange(1000.0, 21_000)
    weights /= weights.sum()
    design = Design(weights, 1000)
    assert design.n_places == 20_000
    rng = np.random.RandomState(0)
    places = [place for _ in range(50) for place in design.first(rng)]
    n_of_first_half = sum(place < 10_000 for place in places)
    # Inclusions are negatively associated, so that Hoeffding's (1963) bound holds.
    wanted, bound = 50_000 * weights[:10_000].sum(), (50_000 * np.log(2 / FALSE_ALARM)) ** 0.5
    assert abs(n_of_first_half - wanted) < bound


@pytest.mark.parametrize("n", [1, 2, 32, 33, 1024, 1025])
@pytest.mark.parametrize("fanout", [2, 32, 1024])
def test_a_tree_finds_what_the_sums_say(fanout, n):
    weights = np.random.RandomState(n).randint(0, 5, n).astype(float)
    weights[n // 2] = 3.0
    tree = Tree(levels_of(weights, fanout), fanout)
    draws = (np.arange(1000) + 0.5) / 1000
    expected = np.cumsum(weights).searchsorted(draws * weights.sum(), "right")
    assert [tree.find(draw) for draw in draws] == expected.tolist()
    assert weights[tree.find(0.0)] and weights[tree.find(np.nextafter(1, 0))]


def test_a_tree_does_not_depend_on_its_history():
    weights = np.random.RandomState(0).random_sample(1000)
    levels = levels_of(weights, 32)
    tree, fresh = Tree(levels, 32), Tree(levels, 32)
    for index in range(0, 1000, 3):
        tree.put(index, 0.0)
    assert {tree.find(draw) % 3 for draw in np.linspace(0, 0.999, 1000)} == {1, 2}
    for index in range(0, 1000, 3):
        tree.put(index, weights[index].item())
    draws = np.random.RandomState(1).random_sample(1000)
    assert [tree.find(draw) for draw in draws] == [fresh.find(draw) for draw in draws]
    for nodes, others in zip(tree._nodes, fresh._nodes):
        assert all(nodes[number] == node for number, node in others.items())


def test_a_tree_of_zeros_finds_nothing():
    tree = Tree(levels_of(np.array([1.0, 0.0]), 2), 2)
    tree.put(0, 0.0)
    assert tree.find(0.5) is None


def test_what_is_left_is_found_however_small_it_is():
    pool = Shares(Table(np.array([1.0, 1e-300, 0.0, 1e-250])))
    pool.drop(0)
    assert {pool.choose(draw) for draw in np.linspace(0.01, 0.99, 9)} == {3}
    pool.drop(3)
    pool.drop(3)
    assert (pool.choose(0.5), pool.n_left) == (1, 1)
    pool.restore(0)
    assert (pool.choose(0.5), pool.n_free) == (0, 2)


def test_streamers_that_are_always_open_come_back_at_once():
    pool = DistinctShares(Design(ALWAYS_OPEN, 3))
    assert pool.choose(0.5) == 0
    assert 0 not in {pool.choose(0.5), pool.choose(0.5)}
    pool.release(0)
    assert pool.choose(0.9) == 0
    pool.release(0)
    pool.drop(0)
    assert pool.choose(0.9) not in (0, None)
    assert pool.n_free == 8 - 3
