"""Shares, rates, variances and replacement times, against their formulas.

Every test has a false-alarm rate of at most one in a million, for any seed. A count is compared
with its binomial distribution, which is exact, and the rate is divided by the number of counts
(Bonferroni). A mean is compared with the normal distribution at a thousandth of the rate, which
leaves room for what a mean of thousands of values differs from a normal variable. The last part
of this file makes sure that the same checks refuse a mux that is wrong.
"""

import functools
import itertools

import numpy as np
import pytest
from _cases import matrix, some
from scipy import stats

import pescador
from pescador import (
    ChainMux,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
)
from pescador._mixing import choosers, random_run, slots, stochastic_run
from pescador._streaming.seeds import Seed

SEED = 20180123
FALSE_ALARM = 1e-6
NORMAL_BOUND = stats.norm.isf(FALSE_ALARM / 1000 / 2)
DISTS = ("poisson", "constant", "binomial")
REPLACING = ("with_replacement", "single_active")
MODES = (*REPLACING, "exhaustive")


# The checks.


class Refused(AssertionError):
    """What was observed does not agree with the formula."""


def refuse_unless(is_likely, what):
    """Fail with `Refused` if something is too unlikely."""
    if not is_likely:
        raise Refused(what)


def check_counts(counts, probabilities, n_checks=1):
    """Check the numbers of independent draws that fell into each of some cells.

    ``n_checks`` is the number of checks that the test makes: they share its false-alarm rate.
    """
    counts, probabilities = np.asarray(counts), np.asarray(probabilities, dtype=float)
    assert counts.shape == probabilities.shape
    binomial = stats.binom(counts.sum(), probabilities / probabilities.sum())
    p_values = 2 * np.minimum(binomial.cdf(counts), binomial.sf(counts - 1))
    worst = p_values.argmin()
    refuse_unless(
        p_values[worst] > FALSE_ALARM / counts.size / n_checks,
        f"{counts[worst]} in cell {worst} instead of {binomial.mean()[worst]:.1f}",
    )


def check_pairs(first, second, probabilities, n_checks=1):
    """Check pairs of independent draws, each with these probabilities."""
    n = len(probabilities)
    counts = np.bincount(np.asarray(first) * n + np.asarray(second), minlength=n * n)
    check_counts(counts, np.outer(probabilities, probabilities).ravel(), n_checks)


def check_draws(items, probabilities, n_checks=1):
    """Check independent draws: the counts, and those of neighbours, in up to 8 groups."""
    items, probabilities = np.asarray(items), np.asarray(probabilities, dtype=float)
    n_checks *= 3
    check_counts(np.bincount(items, minlength=len(probabilities)), probabilities, n_checks)
    n_groups = min(8, len(probabilities))
    groups = np.arange(len(probabilities)) % n_groups
    probabilities = np.bincount(groups, probabilities / probabilities.sum())
    for start in (0, 1):  # pairs that do not overlap, so that they are independent
        pairs = groups[items[start : start + (len(items) - 1) // 2 * 2]].reshape(-1, 2)
        check_pairs(pairs[:, 0], pairs[:, 1], probabilities, n_checks)


def check_mean(values, mean, deviation):
    """Check the mean of thousands of independent values of this mean and standard deviation."""
    bound = NORMAL_BOUND * deviation / len(values) ** 0.5 + 1e-9
    given = np.mean(values)
    refuse_unless(abs(given - mean) <= bound, f"{given} instead of {mean} +- {bound}")


def check_distribution(values, distribution, n_checks=1):
    """Check independent values of a distribution over the whole numbers."""
    low, high = distribution.ppf([1e-4, 1 - 1e-4]).astype(int)
    if low == high:
        refuse_unless((values == low).all(), f"{values} instead of {low}")
        return
    inner = distribution.pmf(np.arange(low + 1, high))
    probabilities = [distribution.cdf(low), *inner, distribution.sf(high - 1)]
    cells = np.clip(values, low, high) - low
    check_counts(np.bincount(cells, minlength=len(probabilities)), probabilities, n_checks)


@functools.cache
def numbers_of_permutations(n):
    """Return the number of each permutation of ``range(n)``."""
    return {order: number for number, order in enumerate(itertools.permutations(range(n)))}


def check_orders(orders, n_checks=1):
    """Check independent uniform permutations of ``range(n)``."""
    numbers = numbers_of_permutations(len(orders[0]))
    check_draws([numbers[tuple(order)] for order in orders], np.ones(len(numbers)), n_checks)


# Sources.


def forever(value):
    """Yield the same value for ever."""
    while True:
        yield value


def endless(n_streams):
    """Return streamers, each of which repeats the number of its place."""
    return [Streamer(forever, place) for place in range(n_streams)]


class Log:
    """Notes every activation of its sources, when it is opened."""

    def __init__(self, n_streams, n_empty=0):
        self.sources = [Source(self, place, place < n_empty) for place in range(n_streams)]
        self.places = []
        self.n_given = []
        self.is_over = []
        self.times = []  # the number of items that had been read when it was opened
        self.free_at = []  # the places that were not open
        self.open = []
        self._time = 0

    def opened(self, place):
        """Note that a source has been opened; return the number of this activation."""
        self.free_at.append([each.place for each in self.sources if each.place not in self.open])
        self.open.append(place)
        self.places.append(place)
        self.n_given.append(0)
        self.is_over.append(False)
        self.times.append(self._time)
        return len(self.places) - 1

    def closed(self, number):
        """Note that an activation is over."""
        self.open.remove(self.places[number])
        self.is_over[number] = True

    def read(self, mux, n_activations):
        """Read a mux until that many activations have been opened, and are over."""
        with mux.iterate() as stream:
            for _ in stream:
                self._time += 1
                if self._time % 5000 == 0 and self._is_complete(n_activations):
                    break
        return self

    def _is_complete(self, n_activations):
        return len(self.places) > n_activations and all(self.is_over[:n_activations])


class Source:
    """A source that tells a log when it is opened, and when it is over."""

    def __init__(self, log, place, is_empty):
        self.log = log
        self.place = place
        self.is_empty = is_empty

    def __iter__(self):
        return self.items(self.log.opened(self.place))

    def items(self, number):
        try:
            while not self.is_empty:
                self.log.n_given[number] += 1
                yield self.place
        finally:
            self.log.closed(number)


# Shares of the items.


WEIGHTS = {
    "2 equal": [1, 1],
    "2": [9, 1],
    "2 extreme": [1, 999],
    "8 equal": [1] * 8,
    "8": range(1, 9),
    "8 extreme": [1000, 1, 1, 300, 1, 1, 1, 1000],
    "65": [1 + place % 7 for place in range(65)],
    "100 equal": [1] * 100,
    "100": range(1, 101),
    "100 extreme": [1.1**place for place in range(100)],
}
every_weights = pytest.mark.parametrize("weights", some(WEIGHTS, 0, ["2 extreme", "8", "65"]))
N_ITEMS = 30_000


def check_shares(mux, weights, n_items=N_ITEMS):
    items = list(mux.iterate(n_items))
    assert len(items) == n_items
    check_draws(items, np.array(weights) / sum(weights))


def check_shuffled_shares(weights):
    check_shares(ShuffledMux(endless(len(weights)), weights, SEED), weights)


def check_replaced_shares(weights, rate):
    # Every stream is replaced by another one of its streamer, as all the others are open.
    n = len(weights)
    mux = StochasticMux(endless(n), n, rate, weights, "single_active", random_state=SEED)
    check_shares(mux, weights, 20_000)


@every_weights
def test_shares_of_a_shuffled_mux(weights):
    check_shuffled_shares(weights)


LENGTHS = {"1": [1], "3": [3], "1 or endless": [1, 10**9], "different": [5, 1, 50, 2]}


def check_shares_of_short_streams(weights, lengths, make=ShuffledMux):
    streamers = [
        Streamer(itertools.repeat, place, lengths[place % len(lengths)])
        for place in range(len(weights))
    ]
    check_shares(make(streamers, weights=weights, random_state=SEED), weights, 20_000)


def all_active(streamers, **kwargs):
    """Return a mux in which every stream is replaced by another one of its streamer."""
    return StochasticMux(streamers, len(streamers), None, mode="single_active", **kwargs)


@pytest.mark.parametrize(
    "weights", some({name: WEIGHTS[name] for name in ("8", "2", "8 equal", "65")})
)
@pytest.mark.parametrize("lengths", some(LENGTHS, 0, ["different", "1 or endless"]))
@pytest.mark.parametrize("make", [ShuffledMux, all_active])
def test_shares_do_not_depend_on_the_lengths_of_the_streams(weights, lengths, make):
    check_shares_of_short_streams(weights, lengths, make)


@pytest.mark.parametrize("weights", some(WEIGHTS, 0, ["8"]))
@pytest.mark.parametrize("rate", some([1, 4, 2000, None], 2))
def test_shares_do_not_depend_on_replacement(weights, rate):
    check_replaced_shares(weights, rate)


@matrix(cover=1, mode=MODES, weights={"equal": None, "unequal": range(1, 13)}, n_active=[2, 12])
def test_shares_among_the_open_streams(mode, weights, n_active):
    mux = StochasticMux(endless(12), n_active, None, weights, mode, random_state=SEED)
    with mux as active:
        for _ in itertools.islice(active.stream_, N_ITEMS):
            pass
        assert len(active.stream_counts_) == n_active
        check_counts(active.stream_counts_, active.stream_weights_)


def check_shares_of_the_open(mode, rate):
    """Check the first draws that are made while two certain streams are open."""
    weights, n_draws = [1, 3, 5, 11], 1200
    pairs = list(itertools.combinations(range(4), 2))
    drawn = {pair: [] for pair in pairs}
    log = Log(4)
    with StochasticMux(log.sources, 2, rate, weights, mode, random_state=SEED).iterate() as stream:
        while min(map(len, drawn.values())) < n_draws:
            place = next(stream)
            opened = tuple(sorted(set(log.open)))
            if len(opened) == 2:
                drawn[opened].append(opened.index(place))
    for pair, items in drawn.items():
        counts = np.bincount(items[:n_draws], minlength=2)
        check_counts(counts, [weights[place] for place in pair], len(pairs))


@pytest.mark.parametrize("mode", REPLACING)
@pytest.mark.parametrize("rate", some([3, 1, 40]))
def test_shares_of_the_open_streams_while_others_come_and_go(mode, rate):
    check_shares_of_the_open(mode, rate)


@matrix(cover=1, weights={"unequal": [5, 3, 1, 1], "equal": [1, 1, 1, 1]}, n_items=[0, 7])
def test_shares_of_those_that_are_left(weights, n_items):
    streamers = [[0] * n_items, *endless(4)[1:]]
    mux = StochasticMux(streamers, 4, None, weights, "exhaustive", random_state=SEED)
    items = [item for item in mux.iterate(N_ITEMS) if item]
    assert len(items) == N_ITEMS - n_items
    check_draws(np.array(items) - 1, np.array(weights[1:]) / sum(weights[1:]))


@pytest.mark.parametrize("weights", [[5, 3, 1, 1], [1, 1, 1, 1]])
def test_shares_without_a_stream_that_gave_nothing(weights):
    mux = ShuffledMux([(), *endless(4)[1:]], weights, SEED)
    items = np.array(list(mux.iterate(N_ITEMS))) - 1
    check_draws(items, np.array(weights[1:]) / sum(weights[1:]))


def check_block_edges(weights):
    """Check the neighbours at the edges of the first blocks of draws, in many short runs."""
    rng = np.random.RandomState(SEED)
    mux = ShuffledMux(endless(len(weights)), weights, rng)
    edges = [slots.FIRST_BLOCK, 5 * slots.FIRST_BLOCK]
    runs = np.array([list(mux.iterate(edges[-1] + 1)) for _ in range(2500)])
    probabilities = np.array(weights) / sum(weights)
    check_counts(np.bincount(runs[:, 0]), probabilities, 4)
    check_pairs(runs[:, 0], runs[:, 1], probabilities, 4)
    for edge in edges:
        check_pairs(runs[:, edge - 1], runs[:, edge], probabilities, 4)


@pytest.mark.parametrize("weights", some({"unequal": [1, 2, 3], "equal": [1, 1, 1]}))
def test_draws_at_the_edges_of_blocks_are_independent(weights):
    check_block_edges(weights)


# Runs are independent of each other.


@pytest.mark.parametrize("weights", [None, [1, 2, 3]])
def test_different_seeds_are_independent(weights):
    probabilities = np.array(weights or [1, 1, 1]) / sum(weights or [1, 1, 1])
    first, second = (
        list(ShuffledMux(endless(3), weights, seed).iterate(N_ITEMS)) for seed in (SEED, SEED + 1)
    )
    check_pairs(first, second, probabilities)


@pytest.mark.parametrize("random_state", [None, 7])
def test_children_side_by_side_are_independent(random_state):
    child = ShuffledMux(endless(3), [1, 2, 3], random_state)
    items = list(RoundRobinMux([child, child], random_state=SEED).iterate(N_ITEMS))
    check_pairs(items[::2], items[1::2], np.array([1, 2, 3]) / 6)


@pytest.mark.parametrize("random_state", some([None, 7]))
def test_one_activation_is_independent_of_the_next(random_state):
    child = Streamer(ShuffledMux(endless(3), [1, 2, 3], random_state), 2)
    mux = ChainMux([child], "cycle", SEED)
    check_draws(list(mux.iterate(20_000)), np.array([1, 2, 3]) / 6)


# Nesting.


def test_shares_of_nested_muxes():
    a, b, c, d, e, f = endless(6)
    inner = [ShuffledMux([a, b], [7, 3]), c, Streamer(ShuffledMux([d, ShuffledMux([e, f])]))]
    mux = ShuffledMux(inner, [5, 2, 3], SEED)
    check_shares(mux, [0.35, 0.15, 0.2, 0.15, 0.075, 0.075])


@pytest.mark.parametrize("weights", some({"unequal": [1, 2, 3, 4], "equal": [1, 1, 1, 1]}))
def test_shares_of_nested_muxes_that_are_closed_and_opened_again(weights):
    children = [
        StochasticMux([[place] * 30] * 5, 2, 3, mode="exhaustive") for place in range(2)
    ] + [RoundRobinMux([[2] * 30, [2] * 20]), ChainMux([[3] * 20, [3] * 20])]
    mux = StochasticMux(children, 4, 2, weights, "single_active", random_state=SEED)
    check_shares(mux, weights, 20_000)


@pytest.mark.parametrize("rate", some([3, 50]))
def test_replacement_above_does_not_change_the_shares_below(rate):
    child = ShuffledMux(endless(4), [1, 2, 3, 4])
    mux = StochasticMux([child, child, child], 2, rate, random_state=SEED)
    check_shares(mux, [1, 2, 3, 4], 20_000)


# How many items an activation gives.


N_ACTIVATIONS = 6000


def numbers_of_items(n_streams, n_active, rate, dist, mode, weights=None):
    """Return the numbers of items of many activations, and their places."""
    log = Log(n_streams)
    mux = StochasticMux(log.sources, n_active, rate, weights, mode, random_state=SEED, dist=dist)
    log.read(mux, N_ACTIVATIONS)
    return np.array(log.n_given[:N_ACTIVATIONS]), np.array(log.places[:N_ACTIVATIONS])


def check_moments(values, rate, variance):
    """Check a mean and a variance that binomial numbers have."""
    part = rate % 1
    variance = max(min(variance, rate - 1), part * (1 - part))
    check_mean(values, rate, variance**0.5)
    # The kurtosis of a binomial number is at most 3 + 1 / variance.
    squares = (values - rate) ** 2
    check_mean(squares, variance, variance * (2 + 1 / variance) ** 0.5 if variance else 0)


def check_poisson(values, rate):
    check_distribution(values, stats.poisson(rate - 1, loc=1), 2)
    total = stats.poisson((rate - 1) * len(values))  # a sum of Poisson numbers is one
    excess = values.sum() - len(values)
    p_value = 2 * min(total.cdf(excess), total.sf(excess - 1))
    refuse_unless(p_value > FALSE_ALARM / 2, f"{excess} instead of {total.mean()}")


def check_limits(dist, rate, n_active=3, mode="with_replacement"):
    values, _ = numbers_of_items(9, n_active, rate, dist, mode)
    assert values.min() >= 1
    if dist == "poisson":
        check_poisson(values, rate)
    elif dist == "constant":
        part = rate % 1
        check_counts(np.bincount(values - int(rate), minlength=2), [1 - part, part])
    else:
        check_moments(values, rate, rate / n_active)


RATES = (1, 1.25, 2, 2.5, 10 / 3, 7.9, 16)


@pytest.mark.parametrize("dist", DISTS)
@pytest.mark.parametrize("rate", some(RATES, 0, ["7.9"]))
@pytest.mark.parametrize("n_active", some([3, 1]))
def test_numbers_of_items(dist, rate, n_active):
    check_limits(dist, rate, n_active)


@pytest.mark.parametrize("dist", DISTS)
@pytest.mark.parametrize("n_active", some([5, 2, 9]))
def test_numbers_of_items_in_single_active_mode(dist, n_active):
    check_limits(dist, 5.5, n_active, "single_active")


@matrix(cover=1, rate=[0.01, 0.5, 1], dist=DISTS)
def test_a_rate_up_to_one_gives_one_item(rate, dist):
    values, _ = numbers_of_items(4, 2, rate, dist, "with_replacement")
    assert (values == 1).all()


@pytest.mark.parametrize("rate", some([2.5, 7.9]))
def test_one_slot_of_binomial_numbers_is_poisson(rate):
    # With draw probability 1, the variance is held down to that of the Poisson distribution.
    values, _ = numbers_of_items(5, 1, rate, "binomial", "with_replacement")
    check_poisson(values, rate)


@pytest.mark.parametrize(("rate", "n_active", "n", "q"), [(4, 2, 9, 1 / 3), (3, 3, 4, 0.5)])
def test_binomial_numbers(rate, n_active, n, q):
    assert n * q == pytest.approx(rate - 1)
    assert n * q * (1 - q) == pytest.approx(rate / n_active)
    values, _ = numbers_of_items(9, n_active, rate, "binomial", "with_replacement")
    check_distribution(values, stats.binom(n, q, loc=1))


@pytest.mark.parametrize("rate", some([7.5, 4]))
def test_the_variance_of_binomial_numbers_follows_the_weight(rate):
    weights = [0.1, 0.3, 0.6]
    values, places = numbers_of_items(3, 3, rate, "binomial", "single_active", weights)
    for place, weight in enumerate(weights):
        check_moments(values[places == place], rate, rate * weight)


@pytest.mark.parametrize("weights", [None, [3, 3, 2, 2]])
def test_the_variance_of_binomial_numbers_when_slots_are_gone(weights):
    # Two of the streamers give nothing, so two slots are left.
    log = Log(4, n_empty=2)
    mux = StochasticMux(
        log.sources, 4, 8, weights, "single_active", random_state=SEED, dist="binomial"
    )
    log.read(mux, N_ACTIVATIONS)
    values = np.array(log.n_given[100:N_ACTIVATIONS])
    assert values.min() >= 1
    check_moments(values, 8, 8 / 2)


@pytest.mark.parametrize("dist", ["poisson", "constant"])
def test_weights_do_not_change_the_numbers_of_items(dist):
    values, places = numbers_of_items(4, 2, 6, dist, "single_active", [1, 2, 4, 8])
    for place in range(4):
        mine = values[places == place]
        assert len(mine) > 500
        check_mean(mine, 6, 5**0.5 if dist == "poisson" else 0)


# Which streamer is opened.


def check_uniform_activation(n_streams, n_active, weights=None, mode="with_replacement"):
    log = Log(n_streams)
    mux = StochasticMux(log.sources, n_active, 2, weights, mode, random_state=SEED)
    log.read(mux, 10_000)
    weights = weights or [1] * n_streams
    places = log.places[:10_000]
    if mode == "with_replacement":
        check_draws(places, [float(weight > 0) for weight in weights])
        return
    n_positive = sum(weight > 0 for weight in weights)
    ranks = [
        [each for each in free if weights[each]].index(place)
        for place, free in zip(places[n_active:], log.free_at[n_active:])
    ]
    check_draws(ranks, np.full(n_positive - n_active + 1, 1.0))


@matrix(cover=1, n_active=[1, 2, 7], weights={"equal": None, "unequal": [0, 1, 0, 5, 9]})
def test_activation_with_replacement_is_uniform(n_active, weights):
    check_uniform_activation(5, n_active, weights)


@pytest.mark.parametrize(("n_streams", "n_active"), [(2, 1), (5, 1), (5, 2), (5, 4), (60, 20)])
def test_activation_in_single_active_mode_is_uniform_over_the_free(n_streams, n_active):
    check_uniform_activation(n_streams, n_active, mode="single_active")


@pytest.mark.parametrize("n_active", [1, 2])
def test_weights_do_not_change_what_is_activated(n_active):
    check_uniform_activation(5, n_active, [1, 0, 4, 9, 90], "single_active")


@matrix(cover=1, mode=MODES, weights={"equal": None, "unequal": [1, 0, 2, 9, 1]})
def test_the_first_working_set_is_uniform(mode, weights):
    rng = np.random.RandomState(SEED)
    counts = np.zeros((5, 5), dtype=int)
    for _ in range(1500):
        log = Log(5)
        mux = StochasticMux(log.sources, 2, None, weights, mode, random_state=rng)
        list(mux.iterate(1))
        counts[tuple(log.places)] += 1
    allowed = np.array(weights or [1] * 5) > 0
    probabilities = np.outer(allowed, allowed).astype(float)
    if mode != "with_replacement":
        np.fill_diagonal(probabilities, 0)
    check_counts(counts.ravel(), probabilities.ravel() / probabilities.sum())


def check_exhaustive_order(n_active=1, weights=None):
    """Check the order in which the streamers of each pass are opened."""
    allowed = [place for place in range(5) if weights is None or weights[place]]
    log = Log(5)
    pairs = [Streamer(itertools.islice, source, 2) for source in log.sources]
    mux = StochasticMux(pairs, n_active, None, weights, "exhaustive", random_state=SEED)
    n_passes = 2500
    assert len(list(mux.cycle(2 * len(allowed) * n_passes))) == 2 * len(allowed) * n_passes
    ranks = np.searchsorted(allowed, log.places[: len(allowed) * n_passes])
    check_orders(ranks.reshape(n_passes, -1).tolist())


@matrix(cover=1, n_active=[2, 1, 10], weights={"unequal": [1, 0, 2, 9, 1], "equal": None})
def test_the_order_of_an_exhaustive_pass_is_uniform(n_active, weights):
    check_exhaustive_order(n_active, weights)


# When streams are replaced.


def check_replacement_times(n_active, rate, dist, mode="with_replacement", weights=None):
    """Check the mean number of items between two replacements.

    Up to replacement number K, the items are those of K + n activations, but for what the n
    that are open have not given yet.
    """
    n = 3000
    log = Log(12)
    mux = StochasticMux(log.sources, n_active, rate, weights, mode, random_state=SEED, dist=dist)
    log.read(mux, n + n_active)
    part = rate % 1
    variance = {"constant": 0, "poisson": rate - 1, "binomial": rate - 1}[dist]
    deviation = max(variance, part * (1 - part)) ** 0.5
    bound = NORMAL_BOUND * deviation * (n + n_active) ** 0.5 + n_active * (rate + max(log.n_given))
    error = abs(log.times[n + n_active - 1] - n * rate)
    refuse_unless(error <= bound, f"{n} replacements are {error} items off")


@matrix(cover=1, dist=DISTS, mode=REPLACING, n_active=[1, 2, 6], rate=[1.5, 8])
def test_the_mean_time_between_replacements_is_the_rate(dist, mode, n_active, rate):
    check_replacement_times(n_active, rate, dist, mode)


@pytest.mark.parametrize("dist", DISTS)
def test_weights_do_not_change_the_mean_time_between_replacements(dist):
    check_replacement_times(3, 6, dist, "single_active", range(1, 13))


def test_a_single_slot_is_replaced_after_its_limit():
    log = Log(3)
    mux = StochasticMux(log.sources, 1, 4, random_state=SEED, dist="constant")
    log.read(mux, 1000)
    assert log.times[:1000] == list(range(0, 4000, 4))


@pytest.mark.parametrize("dist", ["poisson", "binomial"])
def test_the_times_of_a_single_slot_are_its_limits(dist):
    log = Log(3)
    mux = StochasticMux(log.sources, 1, 5.5, random_state=SEED, dist=dist)
    log.read(mux, N_ACTIVATIONS)
    check_poisson(np.diff(log.times[: N_ACTIVATIONS + 1]), 5.5)


# Orders of permuted passes.


def permuted_passes(n_streams, n_passes, random_state=SEED):
    """Return the orders of the first passes."""
    mux = RoundRobinMux([[place] for place in range(n_streams)], "permuted_cycle", random_state)
    return np.reshape(list(mux.iterate(n_streams * n_passes)), (n_passes, n_streams)).tolist()


def check_permuted_passes(n_streams):
    check_orders(permuted_passes(n_streams, 3000))


@pytest.mark.parametrize("n_streams", some([3, 2, 4]))
def test_permuted_passes_are_uniform_and_independent(n_streams):
    check_permuted_passes(n_streams)


def test_the_first_permuted_pass_is_uniform():
    rng = np.random.RandomState(SEED)
    check_orders([permuted_passes(4, 1, rng)[0] for _ in range(1500)])


# Reuse in a cache.


def check_fraction_of_new_items(prob, n_cache=5):
    stream = pescador.cache(itertools.count(), n_cache, prob, SEED)
    newest = np.maximum.accumulate(list(itertools.islice(stream, 40_000)))
    is_new = np.diff(newest[n_cache - 1 :]) > 0
    check_draws(is_new.astype(int), [1 - prob, prob])


@pytest.mark.parametrize("prob", some([0.1, 0.5, 0.9]))
def test_the_fraction_of_new_items(prob):
    check_fraction_of_new_items(prob)


def check_cached_draws(n_cache):
    # Nothing new comes in (but once in 2.5e7 such tests), so what is in the cache stays.
    stream = pescador.cache(itertools.count(), n_cache, 1e-12, SEED)
    items = list(itertools.islice(stream, n_cache, 40_000))
    check_draws(items, np.full(n_cache, 1 / n_cache))


@pytest.mark.parametrize("n_cache", some([5, 2, 8]))
def test_cached_items_are_drawn_uniformly(n_cache):
    check_cached_draws(n_cache)


def check_ages(n_cache):
    """Check how many items have come in since a cached item did, in many runs.

    An item survives each of the later ones with probability 1 - 1 / n, as the one that is
    replaced is drawn uniformly: the age of a cached item is a geometric variable.
    """
    rng = np.random.RandomState(SEED)
    ages = []
    for _ in range(3000):
        stream = pescador.cache(itertools.count(), n_cache, 0.7, rng)
        items = list(itertools.islice(stream, n_cache, 40))
        if items[-1] <= max(items[:-1]):
            ages.append(min(max(items[:-1]) - items[-1], 8))
    survival = 1 - 1 / n_cache
    probabilities = [survival**age / n_cache for age in range(8)]
    check_counts(np.bincount(ages, minlength=9), [*probabilities, survival**8])


@pytest.mark.parametrize("n_cache", some([4, 2]))
def test_the_replaced_item_is_drawn_uniformly(n_cache):
    check_ages(n_cache)


# The checks themselves: each refuses a mux that is wrong.


def changed(change):
    """Make a change to what a method returns."""
    return lambda original: lambda *args: change(original(*args))


def lower_of_two(original):
    return lambda *args: [min(pair) for pair in zip(original(*args), original(*args))]


def ordered_blocks(original):
    return lambda self, most: sorted(original(self, most))


def repeated_edges(original):
    def block(self, most):
        block = list(original(self, most))
        block[0] = getattr(self, "last", block[0])
        self.last = block[-1]
        return block

    return block


def squared_weights(original):
    return lambda self, weights: original(self, [weight**2 for weight in weights])


def wrong_aliases(original):
    def table(weights):
        keep, other = original(weights)
        return keep, np.roll(other, 1)

    return table


def low_draws(original):
    return lambda self, draw: original(self, draw**1.2)


def next_free(original):
    # Takes the next free one where one in use is drawn.
    def choose(self, draw):
        position = int(draw * self.n_left)
        while position in self._in_use:
            position = (position + 1) % self.n_left
        self._in_use = sorted([*self._in_use, position])
        return self._place_at(position)

    return choose


def nearly_sorted(original):
    def choose(self, draw):
        if not self._next and self.n_left:
            self._order = np.sort(self._order)
            i, j = int(draw * len(self._order)), -1
            self._order[[i, j]] = self._order[[j, i]]
        return original(self, draw)

    return choose


def same_every_time(original):
    return lambda self, purpose: np.random.RandomState(0)


class Changed:
    """Limits that differ from the right ones by what ``change`` does to a number."""

    def __init__(self, limits, change):
        self.limits = limits
        self.change = change

    def draw(self, uniform):
        return self.change(self.limits.draw(uniform), uniform)

    def draw_block(self, uniforms):
        return list(map(self.change, self.limits.draw_block(uniforms), uniforms.tolist()))


def changed_limits(change):
    return changed(functools.partial(Changed, change=change))


class LowDraws:
    """A random generator whose numbers are a little too small."""

    def __init__(self, rng, power=1.2):
        self.rng = rng
        self.power = power

    def random_sample(self, shape):
        return self.rng.random_sample(shape) ** self.power


class Neighbours:
    """A random generator each of whose draws for an index depends on the one before."""

    def __init__(self, rng):
        self.rng = rng

    def random_sample(self, shape):
        draws = self.rng.random_sample(shape)
        draws[..., 1::2] = draws[..., 0:-1:2]
        return draws


SLOTS = (slots.EqualSlots, "block")
WEIGHTED = (slots.WeightedSlots, "block")
LIMITS = (stochastic_run, "limits_of")
EQUAL, UNEQUAL = WEIGHTS["8 equal"], WEIGHTS["8"]
# What is changed, how, and the check that must notice.
WRONG = {
    "lower slots": (SLOTS, lower_of_two, check_shuffled_shares, EQUAL),
    "lower slots, 2": (SLOTS, lower_of_two, check_shuffled_shares, WEIGHTS["2 equal"]),
    "ordered slots": (SLOTS, ordered_blocks, check_shuffled_shares, EQUAL),
    "repeated slots": (SLOTS, repeated_edges, check_block_edges, [1, 1, 1]),
    "lower weighted slots": (WEIGHTED, lower_of_two, check_shuffled_shares, UNEQUAL),
    "ordered weighted slots": (WEIGHTED, ordered_blocks, check_shuffled_shares, UNEQUAL),
    "repeated weighted slots": (WEIGHTED, repeated_edges, check_block_edges, [1, 2, 3]),
    "squared weights": (
        (slots.WeightedSlots, "fill"),
        squared_weights,
        check_shuffled_shares,
        UNEQUAL,
    ),
    "wrong aliases": ((slots, "alias_table"), wrong_aliases, check_shuffled_shares, UNEQUAL),
    "forgotten weights": (
        (slots.WeightedSlots, "put"),
        lambda original: lambda self, slot, weight: None,
        check_shares_of_the_open,
        "single_active",
        3,
    ),
    "one more item": (LIMITS, changed_limits(lambda n, _: n + 1), check_limits, "poisson", 5.5),
    "one item less": (
        LIMITS,
        changed_limits(lambda n, _: max(1, n - 1)),
        check_limits,
        "binomial",
        5.5,
    ),
    "now and then one more": (
        LIMITS,
        changed_limits(lambda n, uniform: n + (uniform < 0.125)),
        check_replacement_times,
        2,
        6,
        "constant",
    ),
    "rounded rate": (
        LIMITS,
        lambda original: lambda dist, rate, share=1.0: original(dist, int(rate), share),
        check_limits,
        "binomial",
        7.9,
    ),
    "too little variance": (
        LIMITS,
        lambda original: lambda dist, rate, share=1.0: original("constant", rate),
        check_limits,
        "poisson",
        5.5,
    ),
    "wrong share": (
        LIMITS,
        lambda original: lambda dist, rate, share=1.0: original(dist, rate, share / 2),
        check_limits,
        "binomial",
        16,
    ),
    "a draw lost when a stream ends": (
        (random_run.ShuffledRun, "replace"),
        lambda original: lambda self, *args: original(self, *args) and False,
        check_shares_of_short_streams,
        [9, 1],
        [1, 10**9],
    ),
    "lower places": ((choosers.Replacing, "choose"), low_draws, check_uniform_activation, 5, 2),
    "lower free places": (
        (choosers.Distinct, "choose"),
        low_draws,
        functools.partial(check_uniform_activation, mode="single_active"),
        5,
        2,
    ),
    "next free place": (
        (choosers.Distinct, "choose"),
        next_free,
        functools.partial(check_uniform_activation, mode="single_active"),
        5,
        2,
    ),
    "one exchange": ((choosers.Permuted, "choose"), nearly_sorted, check_exhaustive_order),
    "same pass": ((Seed, "rng"), same_every_time, check_exhaustive_order),
    "same order": ((Seed, "rng"), same_every_time, check_permuted_passes, 3),
    "too many new items": ((Seed, "rng"), changed(LowDraws), check_fraction_of_new_items, 0.5),
    "lower cached items": ((Seed, "rng"), changed(LowDraws), check_cached_draws, 5),
    "neighbours in a cache": ((Seed, "rng"), changed(Neighbours), check_cached_draws, 5),
    "lower items replaced": (
        (Seed, "rng"),
        changed(functools.partial(LowDraws, power=3)),
        check_ages,
        4,
    ),
}


@pytest.mark.parametrize(
    ("place", "change", "check", "arguments"),
    [(place, change, check, rest) for place, change, check, *rest in WRONG.values()],
    ids=WRONG,
)
def test_a_wrong_mux_is_refused(monkeypatch, place, change, check, arguments):
    owner, name = place
    monkeypatch.setattr(owner, name, change(getattr(owner, name)))
    with pytest.raises(Refused):
        check(*arguments)
