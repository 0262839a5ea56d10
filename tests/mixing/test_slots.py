"""The arithmetic of muxing: limits, choices and draws, against their definitions."""

import collections
import functools
import math
import random
import sys
from itertools import accumulate

import numpy as np
import pytest
from scipy import stats

from pescador._mixing import choosers
from pescador._mixing import slots as slots_module
from pescador._mixing.choosers import Choices, Distinct, Permuted, Replacing
from pescador._mixing.limits import LimitTable, limits_of
from pescador._mixing.slots import EqualSlots, WeightedSlots, alias_table

DISTS = ("constant", "poisson", "binomial")
LARGEST = 1 - 2.0**-53  # the largest number that is drawn
RATES = (1, 1 + 1e-12, 1.001, 1.5, 2, 2.25, 10 / 3, 7.9, 16, 49, 100.5, 256, 1e4, 123456.75, 1e6)
LARGE_RATES = (2**20 + 1 / 3, 2.0**24, 1e9, 2.0**30)
HUGE_RATES = (2.0**30 + 0.5, 2.0**31, 1e12, 2.0**53, 1e18)
SHARES = (1.0, 0.9, 1 / 2, 1 / 3, 0.3, 0.1, 1 / 64, 1e-3, 1e-6, 1e-9)
TINY_SHARES = (1e-12, 1e-17, 1e-18, 1e-25, 1e-60, 1e-300)


class Grid:
    """Stands in for a random generator: gives the midpoints of ``n`` equal parts, in order."""

    def __init__(self, n):
        self._points = (np.arange(n) + 0.5) / n
        self._position = 0

    def random_sample(self, shape):
        size = int(np.prod(shape))
        start, self._position = self._position, self._position + size
        assert self._position <= len(self._points), "the grid is used up"
        return self._points[start : start + size].reshape(shape).copy()


# How many items.


def moments(table, center):
    """Return the sum, the mean (less ``center``) and the variance that a table stands for."""
    probabilities = np.diff(table._sums, prepend=0)
    offsets = np.arange(len(probabilities)) + (table._lowest - center)
    mean = math.fsum(probabilities * offsets)
    return math.fsum(probabilities), mean, math.fsum(probabilities * (offsets - mean) ** 2)


def least_variance(rate):
    """Return the smallest variance of a whole number whose mean is ``rate``."""
    part = rate % 1
    return part * (1 - part)


def variance_of(dist, rate, share):
    """Return the variance that the number of items ought to have."""
    wanted = {"constant": 0, "poisson": rate - 1, "binomial": min(rate * share, rate - 1)}[dist]
    return max(wanted, least_variance(rate))


def check_table(dist, rate, share):
    table = limits_of(dist, rate, share)
    assert isinstance(table, LimitTable)
    assert table._lowest >= 1
    assert (np.diff(table._sums, prepend=0) >= 0).all()
    total, mean, variance = moments(table, rate)
    assert total == pytest.approx(1, abs=1e-12)
    wanted = variance_of(dist, rate, share)
    rounding = rate * 2.0**-52
    assert abs(mean) < 1e-9 * max(1, wanted**0.5) + rounding
    assert variance == pytest.approx(wanted, rel=1e-8, abs=1e-9 + rounding)


@pytest.mark.parametrize("dist", ["constant", "poisson"])
@pytest.mark.parametrize("rate", RATES + LARGE_RATES)
def test_mean_and_variance_of_limits(dist, rate):
    check_table(dist, rate, 1.0)


@pytest.mark.parametrize("share", SHARES + TINY_SHARES)
@pytest.mark.parametrize("rate", RATES + LARGE_RATES)
def test_mean_and_variance_of_binomial_limits(rate, share):
    check_table("binomial", rate, share)


def test_mean_and_variance_of_many_binomial_limits():
    rng = random.Random(0)
    for _ in range(2000):
        rate = rng.choice([float(rng.randint(1, 100)), 1 + 10 ** rng.uniform(-9, 4)])
        check_table("binomial", rate, rng.choice([1 / rng.randint(1, 100), rng.random() or 1.0]))


def test_many_rates():
    rng = random.Random(0)
    for _ in range(1000):
        rate = 1 + 10 ** rng.uniform(-12, 5)
        check_table("poisson", rate, 1.0)
        check_table("constant", rate, 1.0)


@pytest.mark.parametrize("rate", RATES[1:])
def test_poisson_limits_are_one_and_a_poisson_number(rate):
    table = limits_of("poisson", rate)
    values = table._lowest + np.arange(len(table._sums))
    wanted = stats.poisson(rate - 1).pmf(values - 1)
    np.testing.assert_allclose(np.diff(table._sums, prepend=0), wanted, rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize(("n", "q"), [(1, 0.5), (4, 0.25), (10, 0.9), (100, 0.03), (5000, 0.5)])
def test_binomial_limits_are_one_and_a_binomial_number_where_they_can_be(n, q):
    rate = 1 + n * q
    table = limits_of("binomial", rate, n * q * (1 - q) / rate)
    probabilities = dict(enumerate(np.diff(table._sums, prepend=0).tolist(), table._lowest))
    wanted = stats.binom(n, q).pmf(np.arange(n + 1))
    for value in range(1, n + 2):
        given = probabilities.pop(value, 0.0)
        assert given == pytest.approx(wanted[value - 1], rel=1e-6, abs=1e-12)
    assert math.fsum(probabilities.values()) < 1e-9


@pytest.mark.parametrize("rate", [2.5, 10 / 3, 7.9, 100.5])
@pytest.mark.parametrize("dist", ["constant", "binomial"])
def test_the_least_variance_is_that_of_the_two_neighbours(rate, dist):
    table = limits_of(dist, rate, 1e-9)
    assert table._lowest == int(rate)
    np.testing.assert_allclose(table._sums, [1 - rate % 1, 1])


@pytest.mark.parametrize("dist", DISTS)
@pytest.mark.parametrize("rate", [1, 1.0, 0.5, 1e-9, sys.float_info.min])
def test_at_least_one_item_is_allowed(dist, rate):
    limits = limits_of(dist, rate, 0.5)
    assert limits.draw_block(np.array([0, 0.5, LARGEST])) == [1, 1, 1]


@pytest.mark.parametrize("dist", DISTS)
def test_no_rate_means_no_limit(dist):
    assert limits_of(dist, None, 0.5).draw_block(np.array([0, 0.5, LARGEST])) == [0, 0, 0]


@pytest.mark.parametrize("dist", DISTS)
@pytest.mark.parametrize("rate", (*RATES, *LARGE_RATES, *HUGE_RATES))
def test_limits_are_whole_and_grow_with_the_draw(dist, rate):
    draws = np.array([0.0, 2.0**-53, 1e-9, 0.1, 0.25, 0.5, 0.75, 0.9, 1 - 1e-9, 1 - 1e-15])
    numbers = limits_of(dist, rate, 0.5).draw_block(draws)
    assert all(type(number) is int and number >= 1 for number in numbers)
    assert numbers == sorted(numbers)
    deviation = variance_of(dist, rate, 0.5) ** 0.5
    assert abs(numbers[5] - rate) <= 1 + 0.1 * deviation
    assert rate - 10 * deviation - 60 <= numbers[0]
    assert numbers[-1] <= rate + 10 * deviation + 60


@pytest.mark.parametrize("dist", DISTS)
@pytest.mark.parametrize("rate", [*RATES, *LARGE_RATES, *HUGE_RATES])
def test_limits_of_the_smallest_and_the_largest_draw(dist, rate):
    smallest, largest = limits_of(dist, rate, 0.5).draw_block(np.array([0.0, LARGEST]))
    assert 1 <= smallest <= rate
    assert math.ceil(rate) <= largest <= rate + 10 * rate**0.5 + 60


@pytest.mark.parametrize("dist", DISTS)
@pytest.mark.parametrize("rate", HUGE_RATES)
def test_mean_and_variance_of_huge_limits(dist, rate):
    n = 100_001
    draws = Grid(n).random_sample(n)
    numbers = limits_of(dist, rate, 0.25).draw_block(draws)
    offsets = np.array([number - rate for number in numbers])
    wanted = variance_of(dist, rate, 0.25)
    assert abs(offsets.mean()) <= 1e-4 * wanted**0.5 + rate * 2.0**-52
    assert offsets.var() == pytest.approx(wanted, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("dist", DISTS)
@pytest.mark.parametrize("rate", [2.0**62, 2.0**63, 1e19, 1e300, sys.float_info.max])
def test_limits_fit_an_index(dist, rate):
    numbers = limits_of(dist, rate, 0.5).draw_block(np.array([0.0, 0.5, 1 - 1e-15]))
    assert all(2**61 < number <= sys.maxsize for number in numbers)


@pytest.mark.parametrize("dist", DISTS)
@pytest.mark.parametrize("rate", [None, 0.5, 2, 7.5, 2.0**31 + 0.5])
def test_a_block_of_limits_is_the_draws_one_by_one(dist, rate):
    draws = np.random.RandomState(0).random_sample(200)
    limits = limits_of(dist, rate, 0.3)
    numbers = [limits.draw(draw) for draw in draws.tolist()]
    assert numbers == limits.draw_block(draws)
    assert {type(number) for number in numbers} == {int}


def test_activations_do_not_depend_on_the_sizes_of_the_blocks():
    n = 5000
    rows = np.random.RandomState(3).random_sample((n, 2))
    choices = Choices(np.random.RandomState(3), None)
    assert [choices.take() for _ in range(n)] == [tuple(row) for row in rows.tolist()]
    limits = limits_of("poisson", 5.5)
    choices = Choices(np.random.RandomState(3), limits)
    wanted = zip(rows[:, 0].tolist(), limits.draw_block(rows[:, 1]))
    assert [choices.take() for _ in range(n)] == list(wanted)


def test_choices_that_were_looked_at_are_still_to_be_taken():
    rows = [tuple(row) for row in np.random.RandomState(3).random_sample((5000, 2)).tolist()]
    choices = Choices(np.random.RandomState(3), None)
    rng, n_taken = random.Random(0), 0
    while n_taken < 4000:
        ahead = rng.choice([0, 1, 15, 16, 17, 700])
        assert choices.peek(ahead) == rows[n_taken : n_taken + ahead]
        for _ in range(rng.choice([0, 1, 5, 40])):
            assert choices.take() == rows[n_taken]
            n_taken += 1
        assert choices.n_taken == n_taken


# Which streamer next.


class Model:
    """Chooses among places, by keeping the plain lists of them."""

    def __init__(self, places, is_exclusive):
        self.left = list(places)
        self.in_use = []
        self.is_exclusive = is_exclusive

    def free(self):
        """Return the places that may be chosen."""
        if not self.is_exclusive:
            return set(self.left)
        return set(self.left) - set(self.in_use)


KINDS = {"replacing": (Replacing, False), "distinct": (Distinct, True)}
every_kind = pytest.mark.parametrize(("kind", "is_exclusive"), KINDS.values(), ids=KINDS)


def shares(pool, n_draws):
    """Return how often each place is chosen, over a fine grid of draws; the pool stays as is."""
    counts = collections.Counter()
    for index in range(n_draws):
        place = pool.choose((index + 0.5) / n_draws)
        counts[place] += 1
        if place is not None:
            pool.release(place)
    return counts


def check_pool(pool, model):
    free = model.free()
    assert pool.n_left == len(model.left)
    assert pool.n_free == len(free)
    counts = shares(pool, 6 * max(1, len(free)))
    assert counts == (dict.fromkeys(free, 6) or {None: 6})


def act(pool, model, rng):
    """Do something to a pool and its model."""
    action = rng.choice(["choose", "choose", "choose", "release", "release", "drop"])
    if action == "choose":
        place = pool.choose(rng.random())
        assert (place in model.free()) == bool(model.free())
        if place is not None:
            model.in_use.append(place)
    elif action == "release" and model.in_use:
        pool.release(model.in_use.pop(rng.randrange(len(model.in_use))))
    elif action == "drop" and rng.random() < 0.3:
        # As a mux does it: a place is released, then dropped, perhaps for the second time.
        candidates = sorted(set(model.left) - set(model.in_use if model.is_exclusive else ()))
        if candidates:
            place = rng.choice(candidates)
            pool.drop(place)
            pool.drop(place)
            model.left.remove(place)


@every_kind
@pytest.mark.parametrize("n_places", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("is_selection", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_pools_against_a_model(kind, is_exclusive, n_places, is_selection, seed):
    rng = random.Random(seed)
    places = sorted(rng.sample(range(3 * n_places), n_places)) if is_selection else None
    pool = kind(3 * n_places if is_selection else n_places, places)
    model = Model(range(n_places) if places is None else places, is_exclusive)
    for _ in range(100):
        act(pool, model, rng)
        check_pool(pool, model)


@every_kind
@pytest.mark.parametrize("draw", [0.0, LARGEST])
def test_the_smallest_and_the_largest_draw(kind, is_exclusive, draw):
    pool = kind(1000, None)
    chosen = [pool.choose(draw) for _ in range(1000)]
    assert len(set(chosen)) == (1000 if is_exclusive else 1)
    assert set(chosen) <= set(range(1000))


@every_kind
def test_a_pool_of_nothing(kind, is_exclusive):
    for pool in (kind(0, None), kind(5, [])):
        assert pool.n_left == pool.n_free == 0
        assert pool.choose(0.5) is None


def test_everything_may_be_in_use():
    pool = Distinct(3)
    assert sorted(pool.choose(0.9) for _ in range(3)) == [0, 1, 2]
    assert pool.choose(0.9) is None
    pool.release(1)
    assert [pool.choose(0.0), pool.choose(0.0)] == [1, None]


@pytest.mark.parametrize("n_left", [1, 10])
def test_what_is_recorded_of_a_large_pool_does_not_grow_with_it(n_left):
    pool = Distinct(10**12)
    in_use = [pool.choose(draw / 10) for draw in range(10)]
    assert len(set(in_use)) == 10
    for place in in_use[n_left:]:
        pool.release(place)
        pool.drop(place)
    assert pool.n_left == 10**12 - 10 + n_left
    sizes = [len(each) for each in vars(pool).values() if hasattr(each, "__len__")]
    assert max(sizes) <= 10


@pytest.mark.parametrize("places", [None, [0, 3, 4, 8], []])
def test_permuted_chooses_each_place_once(places):
    pool = Permuted(10, places, np.random.RandomState(0))
    wanted = list(range(10)) if places is None else places
    for n_left in range(len(wanted), 0, -1):
        assert pool.n_left == pool.n_free == n_left
        place = pool.choose(0.5)
        wanted.remove(place)
        pool.release(place)
        pool.drop(place)
    assert wanted == []
    assert pool.n_left == 0
    assert pool.choose(0.5) is None


def test_a_long_permutation():
    pool = Permuted(5000, None, np.random.RandomState(0))
    order = [pool.choose(0.5) for _ in range(5000)]
    assert sorted(order) == list(range(5000))
    assert order != sorted(order)
    assert all(type(place) is int for place in order)
    other = Permuted(5000, None, np.random.RandomState(1))
    assert [other.choose(0.5) for _ in range(5000)] != order


# Which slot next.


N_SLOTS = (1, 2, 3, 63, 64, 65, 128, 300, 1000, 4096, 4097, 5000)


def check_tree(slots, weights):
    """Check that every node of the tree holds the cumulative sums of what is below it."""
    leaves = slots._levels[0]
    assert leaves[: len(weights)] == weights
    assert not any(leaves[len(weights) :])
    for below, nodes, above in zip(slots._levels, slots._cumulative, slots._levels[1:]):
        assert [total for node in nodes for total in node] == [
            total
            for start in range(0, len(below), slots_module._FANOUT)
            for total in accumulate(below[start : start + slots_module._FANOUT])
        ]
        assert above == [node[-1] for node in nodes]
    assert slots._levels[-1][0] == pytest.approx(math.fsum(weights), rel=1e-12)


def random_weights(rng, n):
    """Return weights of very different sizes, in no particular order."""
    return [10 ** rng.uniform(-6, 3) for _ in range(n)]


@pytest.mark.parametrize("n_slots", N_SLOTS)
def test_the_tree_after_random_changes(n_slots):
    rng = random.Random(n_slots)
    weights = random_weights(rng, n_slots)
    slots = WeightedSlots(np.random.RandomState(0), n_slots)
    slots.fill(weights)
    check_tree(slots, weights)
    for _ in range(10):
        for _ in range(50):
            slot = rng.randrange(n_slots)
            weights[slot] = 10 ** rng.uniform(-6, 3)
            slots.put(slot, weights[slot])
        check_tree(slots, weights)
        total = math.fsum(weights)
        for slot in rng.sample(range(n_slots), min(n_slots, 20)):
            assert slots.probability(slot) == pytest.approx(weights[slot] / total, rel=1e-12)


@pytest.mark.parametrize("n_slots", [2, 3, 64, 65, 300, 5000])
def test_the_tree_while_slots_come_and_go(n_slots):
    rng = random.Random(n_slots)
    weights = random_weights(rng, n_slots)
    slots = WeightedSlots(np.random.RandomState(0), n_slots)
    slots.fill(weights)
    for _ in range(200):
        if len(weights) > 1 and (len(weights) == n_slots or rng.random() < 0.6):
            slot = rng.randrange(len(weights))
            last = weights.pop()
            slots.shrink()
            if slot < len(weights):  # as a run does: the last one moves into the gap
                weights[slot] = last
                slots.put(slot, last)
        else:
            weights.append(10 ** rng.uniform(-6, 3))
            slots.grow(weights[-1])
        assert slots.n_slots == len(weights)
    check_tree(slots, weights)


@pytest.mark.parametrize("n_slots", [1, 5, 64, 65, 5000])
def test_the_sums_do_not_depend_on_their_history(n_slots):
    rng = random.Random(0)
    weights = random_weights(rng, n_slots)
    changed = WeightedSlots(np.random.RandomState(0), n_slots)
    for _ in range(3):
        for slot in rng.sample(range(n_slots), n_slots):
            changed.put(slot, rng.random())
    for slot in rng.sample(range(n_slots), n_slots):
        changed.put(slot, weights[slot])
    filled = WeightedSlots(np.random.RandomState(0), n_slots)
    filled.fill(weights)
    assert changed._levels == filled._levels
    assert changed._cumulative == filled._cumulative


def drawn(slots, n_draws):
    """Return how often each slot is drawn, in this many draws."""
    counts = np.zeros(slots.n_slots, dtype=int)
    while counts.sum() < n_draws:
        block = [slot for slot in slots.block() if slot < slots.n_slots]
        counts += np.bincount(block, minlength=slots.n_slots)
    return counts


@pytest.fixture
def one_size(monkeypatch):
    """Make all blocks one size, so that a grid of that size goes into one of them."""

    def set_size(size):
        for module in (slots_module, choosers):
            monkeypatch.setattr(module, "FIRST_BLOCK", size)
            monkeypatch.setattr(module, "LAST_BLOCK", size)

    return set_size


GRID = 20_000


@pytest.mark.parametrize("n_slots", N_SLOTS)
def test_draws_by_bisection_follow_the_weights(one_size, n_slots):
    one_size(GRID)
    weights = [1 + (7 * slot) % 11 for slot in range(n_slots)]
    slots = WeightedSlots(Grid(GRID), n_slots)
    slots.fill(list(map(float, weights)))
    # Over a grid, an interval gets its length, to within one point.
    wanted = np.array(weights) / sum(weights) * GRID
    assert np.abs(drawn(slots, GRID) - wanted).max() <= 1 + 1e-6


@pytest.mark.parametrize("n_slots", [1, 2, 3, 64, 65, 100])
def test_draws_by_alias_follow_the_weights(one_size, n_slots):
    weights = [float(1 + (7 * slot) % 11) for slot in range(n_slots)]
    one_size(GRID)
    slots = WeightedSlots(np.random.RandomState(0), n_slots)
    slots.fill(weights)
    slots.block()  # calm enough by now
    slots._rng = Grid(GRID)
    block = list(slots.block())
    assert len(block) == GRID
    wanted = np.array(weights) / sum(weights) * GRID
    # A slot has at most as many intervals as there are cells.
    assert np.abs(np.bincount(block, minlength=n_slots) - wanted).max() <= n_slots + 1


@pytest.mark.parametrize("n_slots", [1, 2, 7, 255, 256, 257, 1000])
def test_draws_among_equal_slots(one_size, n_slots):
    one_size(10 * n_slots)
    slots = EqualSlots(Grid(10 * n_slots), n_slots)
    assert slots.probability(0) == 1 / n_slots
    assert drawn(slots, 10 * n_slots).tolist() == [10] * n_slots


def test_equal_slots_that_come_and_go():
    slots = EqualSlots(np.random.RandomState(0), 3)
    assert set(slots.block()) == {0, 1, 2}
    slots.shrink()
    assert not slots.is_stale  # what is left of the block is still good
    assert slots.probability(0) == 1 / 2
    assert set(slots.block()) == {0, 1}
    slots.grow(1.0)
    assert slots.is_stale  # but it lacks a slot that has been added
    assert slots.probability(0) == 1 / 3
    assert set(slots.block()) == {0, 1, 2}
    assert not slots.is_stale


@pytest.mark.parametrize("make", [EqualSlots, WeightedSlots])
@pytest.mark.parametrize("n_slots", [1, 3, 64, 65, 300, 5000])
@pytest.mark.parametrize("draw", [0.0, 2.0**-53, 0.5, LARGEST])
def test_draws_at_the_ends(make, n_slots, draw):
    class Same:
        def random_sample(self, size):
            return np.full(size, draw)

    slots = make(Same(), n_slots)
    slots.fill([0.1 + slot % 3 for slot in range(n_slots)])
    for _ in range(8):
        assert set(slots.block()) <= set(range(n_slots))


@pytest.mark.parametrize("draw", [0.0, LARGEST])
@pytest.mark.parametrize("n_slots", [5, 64, 70, 300])
def test_a_slot_that_is_gone_is_not_drawn(draw, n_slots):
    class Same:
        def random_sample(self, size):
            return np.full(size, draw)

    slots = WeightedSlots(Same(), n_slots)
    slots.fill([1.0] * n_slots)
    while slots.n_slots > 1:
        slots.shrink()
        assert set(slots.block()) <= {slots.n_slots - 1, 0}


def test_a_change_makes_the_rest_of_a_block_follow(one_size):
    one_size(GRID)
    slots = WeightedSlots(np.random.RandomState(0), 3)
    slots.fill([1.0, 1.0, 1.0])
    block = iter(slots.block())
    assert {next(block) for _ in range(100)} == {0, 1, 2}
    slots.put(1, 1e-30)
    assert slots.is_stale or {next(block) for _ in range(100)} == {0, 2}


def test_a_change_ends_a_block_of_aliases():
    slots = WeightedSlots(np.random.RandomState(0), 3)
    slots.fill([1.0, 2.0, 1.0])
    for _ in range(10):
        slots.block()
    slots.put(1, 1e-30)
    assert slots.is_stale
    assert 1 not in set(slots.block())
    assert not slots.is_stale


# Alias tables.


def reconstructed(keep, other):
    """Return the probabilities that an alias table gives."""
    n = len(keep)
    return (keep + np.bincount(other, weights=1 - keep, minlength=n)) / n


ALIAS_WEIGHTS = {
    "one": [3.0],
    "equal": [2.5] * 7,
    "two": [1.0, 1e-9],
    "steps": [1.0, 2.0, 3.0, 4.0],
    "one large": [1e-3] * 50 + [1e3],
    "tiny first": [1e-300, *[0.5] * 1000, *[1.5] * 1000],
    "tiny last": [*[0.1] * 999, 1e-300],
    "tenths": [0.1] * 10 + [0.3] * 7,
    "zeros": [0.0, 1.0, 0.0, 3.0, 0.0],
}


def check_alias(weights):
    keep, other = alias_table(weights)
    assert ((keep >= 0) & (keep <= 1)).all()
    assert ((other >= 0) & (other < len(weights))).all()
    wanted = np.array(weights) / math.fsum(weights)
    np.testing.assert_allclose(reconstructed(keep, other), wanted, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("weights", ALIAS_WEIGHTS.values(), ids=ALIAS_WEIGHTS)
def test_alias_table(weights):
    check_alias(weights)


@pytest.mark.parametrize("n_slots", [*range(1, 40), 100, 1000, 5000])
def test_alias_table_of_random_weights(n_slots):
    rng = random.Random(n_slots)
    for draw in (rng.random, functools.partial(rng.choice, [1.0, 1e-6, 1e6]), lambda: 0.1):
        check_alias([draw() + 1e-12 for _ in range(n_slots)])
