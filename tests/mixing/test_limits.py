"""How many items a stream may give, against the definitions."""

import math
import random
import sys

import numpy as np
import pytest
from _cases import matrix
from scipy import stats

from pescador._mixing.choosers import Choices
from pescador._mixing.limits import LimitTable, limits_of

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


@matrix(cover=1, dist=["constant", "poisson"], rate=RATES + LARGE_RATES)
def test_mean_and_variance_of_limits(dist, rate):
    check_table(dist, rate, 1.0)


@matrix(cover=1, share=SHARES + TINY_SHARES, rate=RATES + LARGE_RATES)
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


@matrix(cover=1, dist=DISTS, rate=(*RATES, *LARGE_RATES, *HUGE_RATES))
def test_limits_are_whole_and_grow_with_the_draw(dist, rate):
    draws = np.array([0.0, 2.0**-53, 1e-9, 0.1, 0.25, 0.5, 0.75, 0.9, 1 - 1e-9, 1 - 1e-15])
    numbers = limits_of(dist, rate, 0.5).draw_block(draws)
    assert all(type(number) is int and number >= 1 for number in numbers)
    assert numbers == sorted(numbers)
    deviation = variance_of(dist, rate, 0.5) ** 0.5
    assert abs(numbers[5] - rate) <= 1 + 0.1 * deviation
    assert rate - 10 * deviation - 60 <= numbers[0]
    assert numbers[-1] <= rate + 10 * deviation + 60


@matrix(cover=1, dist=DISTS, rate=[*RATES, *LARGE_RATES, *HUGE_RATES])
def test_limits_of_the_smallest_and_the_largest_draw(dist, rate):
    smallest, largest = limits_of(dist, rate, 0.5).draw_block(np.array([0.0, LARGEST]))
    assert 1 <= smallest <= rate
    assert math.ceil(rate) <= largest <= rate + 10 * rate**0.5 + 60


@matrix(cover=1, dist=DISTS, rate=HUGE_RATES)
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
    assert [next(choices.rows) for _ in range(n)] == [tuple(row) for row in rows.tolist()]
    limits = limits_of("poisson", 5.5)
    choices = Choices(np.random.RandomState(3), limits)
    wanted = zip(rows[:, 0].tolist(), limits.draw_block(rows[:, 1]))
    assert [next(choices.rows) for _ in range(n)] == list(wanted)


def test_choices_that_were_looked_at_are_still_to_be_taken():
    rows = [tuple(row) for row in np.random.RandomState(3).random_sample((5000, 2)).tolist()]
    choices = Choices(np.random.RandomState(3), None)
    rng, n_taken = random.Random(0), 0
    while n_taken < 4000:
        ahead = rng.choice([0, 1, 15, 16, 17, 700])
        assert choices.peek(ahead) == rows[n_taken : n_taken + ahead]
        for _ in range(rng.choice([0, 1, 5, 40])):
            assert next(choices.rows) == rows[n_taken]
            n_taken += 1
        assert choices.n_taken == n_taken
