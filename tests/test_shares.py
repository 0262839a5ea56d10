"""True shares, and weights that a function gives.

Every statistical test has a false-alarm rate of at most one in a million, for any seed. Where
activations are chosen independently of their lengths, the number of items of one streamer is a
sum of lengths times independent choices, so that Bernstein's (1924) inequality holds for it.
"""

import functools
import itertools
import pickle

import numpy as np
import pytest
from _cases import matrix
from scipy import stats

from pescador import PescadorError, RoundRobinMux, ShuffledMux, StochasticMux, Streamer
from pescador._mixing.choosers import DistinctShares
from pescador._mixing.design import Design
from pescador._streaming.seeds import Seed
from pescador._streaming.session import Session

FALSE_ALARM = 1e-6
DISTS = ("poisson", "constant", "binomial")
WEIGHTS = np.array([0.47, 0.2, 0.1, 0.06, 0.05, 0.04, 0.03, 0.02, 0.02, 0.01])
FEASIBLE = np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.06, 0.05, 0.04, 0.03, 0.02])
ALWAYS_OPEN = np.array([2, 1, 0.5, 0.5, 0.5, 0.5, 0, 0.4, 0.3, 0.3]) / 6
SINGLE = {"feasible": FEASIBLE, "always open": ALWAYS_OPEN, "equal": np.full(10, 0.1)}


def forever(place):
    while True:
        yield place


def a_few(place, n_items):
    for _ in range(n_items):
        yield place


def endless(n_streams=10):
    return [Streamer(forever, place) for place in range(n_streams)]


def short(n_streams=10):
    """Return streamers of very unequal lengths, those of the largest weights the shortest."""
    return [Streamer(a_few, place, 1 + 3 * place) for place in range(n_streams)]


def share_mux(streamers, n_active, rate, weights, mode="with_replacement", **kwargs):
    return StochasticMux(
        streamers, n_active, rate, weights, mode, random_state=0, weighting="share", **kwargs
    )


def check_shares(items, weights, rate):
    """Check shares of items whose activations are chosen independently of each other."""
    n_items = len(items)
    longest = rate + 9 * rate**0.5 + 20  # but for 1e-12: no limit is wider than Poisson's
    counts = np.bincount(items, minlength=len(weights))
    log = np.log(2 * len(weights) / FALSE_ALARM)
    variances = weights * (1 - weights) * n_items * longest  # no less than that of the sum
    bounds = longest * log / 3 + ((longest * log / 3) ** 2 + 2 * variances * log) ** 0.5
    assert (np.abs(counts - n_items * weights) <= bounds).all(), counts / n_items


def check_independent(items, weights, n_checks=1):
    """Check the numbers of independent draws."""
    counts = np.bincount(items, minlength=len(weights))
    binomial = stats.binom(len(items), weights)
    p_values = 2 * np.minimum(binomial.cdf(counts), binomial.sf(counts - 1))
    assert p_values.min() > FALSE_ALARM / len(weights) / n_checks, counts / len(items)


# Shares.


@matrix(cover=1, rate=[1, 2, 16, 200], dist=DISTS)
def test_shares_are_the_weights_whatever_the_lengths(dist, rate):
    mux = share_mux(short(), 3, rate, WEIGHTS, dist=dist)
    n_items = 50_000 + 1000 * rate
    check_shares(list(mux.iterate(n_items)), WEIGHTS, rate)


def test_the_other_rule_fails_this_check():
    mux = StochasticMux(short(), 3, 2, WEIGHTS, random_state=0)
    with pytest.raises(AssertionError):
        check_shares(list(mux.iterate(50_000)), WEIGHTS, 2)


@pytest.mark.parametrize("n_active", [1, 2, 3, 70])
def test_shares_hold_for_any_number_of_open_streams(n_active):
    mux = share_mux(endless(), n_active, 4, WEIGHTS)
    check_shares(list(mux.iterate(50_000)), WEIGHTS, 4)


@pytest.mark.parametrize("mode", ["with_replacement", "single_active"])
def test_binomial_limits_know_that_all_slots_are_equal(mode):
    """The variance is rate / n_active. It is estimated to 1 %, and five times that is unlikely."""
    mux = share_mux(endless(), 3, 60, FEASIBLE, mode, dist="binomial")
    choices = mux._run_class(mux._make_setup(), Seed.root(Session()).owned_by(0)).choices
    limits = [next(choices.rows)[1] for _ in range(20_000)]
    assert np.mean(limits) == pytest.approx(60, abs=0.2)
    assert np.var(limits) == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize("weights", [None, [1] * 10])
def test_equal_shares_do_not_follow_the_lengths(weights):
    mux = share_mux(short(), 3, 16, weights)
    check_shares(list(mux.iterate(50_000)), np.full(10, 0.1), 16)


def test_shares_of_more_streamers_than_a_node_has_children():
    weights = np.repeat([1.0, 0, 3.0], 100)
    mux = share_mux([Streamer(forever, i // 100) for i in range(300)], 5, 2, weights)
    items = list(mux.iterate(20_000))
    check_shares(items, np.array([0.25, 0, 0.75]), 2)
    assert 1 not in items


@matrix(cover=1, weights=SINGLE, dist=DISTS)
def test_shares_of_different_streamers(dist, weights):
    """Here activations depend on each other; variances are about as large at most as those of
    independent ones (see the next test), and the check leaves room for ten times.
    """
    mux = share_mux(short(), 3, 2, weights, "single_active", dist=dist)
    items = list(mux.iterate(100_000))
    check_shares(items, weights, 20)
    counts = np.bincount(items, minlength=10)
    assert (counts[weights == 0] == 0).all()


@pytest.mark.parametrize("dist, factor", [("constant", 16), ("poisson", 17 - 1 / 16)])
def test_the_variance_of_shares_of_different_streamers(dist, factor):
    """At most that of docs/muxanalysis.md, and what the draws of slots add. The sum over the
    streamers is estimated to 5 %.
    """
    n_items, weights = 4000, FEASIBLE / FEASIBLE.sum()
    mux = share_mux(endless(), 3, 16, FEASIBLE, "single_active", dist=dist)
    items = np.fromiter(mux.iterate(200 * n_items), dtype=int).reshape(200, n_items)
    counts = (items[:, :, None] == np.arange(10)).sum(axis=1)
    variances = ((counts - n_items * weights) ** 2).mean(axis=0) / n_items
    most = weights * (1 - 3 * weights) * factor + weights
    assert variances.sum() < 1.15 * most.sum()


# From the first item on.


def nth_items(mux, n_runs=4000, n=5):
    """Return items number 1 and n of many runs."""
    runs = [list(mux.iterate(n)) for _ in range(n_runs)]
    return [run[0] for run in runs], [run[-1] for run in runs]


EXACT = {
    "with_replacement": ("with_replacement", WEIGHTS),
    **{f"single_active, {name}": ("single_active", weights) for name, weights in SINGLE.items()},
}


@pytest.mark.parametrize(
    ("mode", "weights"),
    [
        pytest.param(*case, id=name, marks=pytest.mark.full if i % 2 else ())
        for i, (name, case) in enumerate(EXACT.items())
    ],
)
def test_shares_are_exact_from_the_first_item_on(mode, weights):
    rng = np.random.RandomState(0)
    mux = StochasticMux(short(), 3, 1.5, weights, mode, random_state=rng, weighting="share")
    for items in nth_items(mux):
        check_independent(items, weights, 2)


def test_a_design_is_drawn_exactly_in_random_order():
    design = Design(FEASIBLE[:5] / FEASIBLE[:5].sum(), 2)
    rng = np.random.RandomState(0)
    orders = list(itertools.permutations(range(5), 2))
    odds = design.levels[0]
    wanted = np.array([odds[first] * odds[second] for first, second in orders])
    drawn = [orders.index(tuple(design.first(rng))) for _ in range(10_000)]
    check_independent(drawn, wanted / wanted.sum())


def test_a_replacement_keeps_the_distribution_of_the_open_set():
    design = Design(FEASIBLE, 3)
    odds = design.levels[0]
    sets = list(map(frozenset, itertools.combinations(range(10), 3)))
    before = {each: np.prod(odds[list(each)]) for each in sets}
    after = dict.fromkeys(sets, 0.0)
    draws = (np.arange(500) + 0.5) / 500
    for each in sets:
        for leaving in each:
            pool = DistinctShares(design)
            for place in each:
                pool.occupy(place)
            pool.release(leaving)
            for draw in draws:
                place = pool.choose(draw)
                after[each - {leaving} | {place}] += before[each] / 3 / len(draws)
                pool.release(place)
    # A grid of 500 points gives each interval its length to within 1 / 500.
    total = sum(before.values())
    assert max(abs(after[each] - before[each]) for each in sets) < total * 1e-3
    assert sum(after.values()) == pytest.approx(total)


# What is refused.


@pytest.mark.parametrize(
    ("match", "kwargs"),
    [
        ("weighting='shares': is not a known option", {"weighting": "shares"}),
        ("rate=None: must be a number", {"rate": None}),
        ("mode='exhaustive': reads every streamer once", {"mode": "exhaustive"}),
        (r"weights\[0\]=0.47.*more than 1/3; give a smaller n_active", {"mode": "single_active"}),
    ],
)
def test_what_cannot_hold_is_refused(match, kwargs):
    with pytest.raises(PescadorError, match=match):
        StochasticMux(
            endless(),
            **{"n_active": 3, "rate": 2, "weights": WEIGHTS, "weighting": "share", **kwargs},
        )


def test_more_slots_than_streamers_are_feasible_with_equal_shares_only():
    assert set(share_mux(endless(3), 9, 2, [3, 0, 3], "single_active").iterate(50)) == {0, 2}
    with pytest.raises(PescadorError, match="more than 1/2"):
        share_mux(endless(3), 9, 2, [3, 0, 3.1], "single_active")


@pytest.mark.parametrize("n", [3, 7, 49])
def test_rounding_does_not_make_equal_shares_infeasible(n):
    weights = [1 / n] * (n - 1) + [1 - (n - 1) * (1 / n)]
    assert len(set(share_mux(endless(n), n, 2, weights, "single_active").iterate(2000))) == n


# Short streams.


@pytest.mark.parametrize("mode", ["with_replacement", "single_active"])
@pytest.mark.parametrize("dist", DISTS)
def test_a_stream_that_ends_early_is_started_again_for_the_rest(mode, dist):
    once, again = (
        list(share_mux(streamers, 3, 16, FEASIBLE, mode, dist=dist).iterate(5000))
        for streamers in (endless(), short())
    )
    assert once == again


def test_a_restart_begins_from_the_first_item():
    mux = share_mux(["abc", "ABC"], 1, 7, [3, 1], dist="constant")
    items = "".join(mux.iterate(700))
    assert {items[i : i + 7].lower() for i in range(0, 700, 7)} == {"abcabca"}


# Streamers that give nothing.


def nothing():
    yield from ()


def with_empty(n_empty):
    return [Streamer(nothing)] * n_empty + endless()[n_empty:]


def test_the_shares_of_the_rest_are_kept():
    items = list(share_mux(with_empty(2), 3, 2, WEIGHTS).iterate(50_000))
    rest = np.where(np.arange(10) < 2, 0, WEIGHTS)
    check_shares(items, rest / rest.sum(), 2)


@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("weights", [FEASIBLE, ALWAYS_OPEN], ids=["feasible", "always open"])
def test_fewer_streamers_than_slots_may_be_left(weights, prune):
    mux = share_mux(with_empty(8), 3, 2, weights, "single_active", prune_empty_streams=prune)
    assert set(mux.iterate(1000)) == {8, 9}


@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("mode", ["with_replacement", "single_active"])
def test_if_all_are_empty_the_mux_ends(mode, prune):
    streamers = [Streamer(nothing)] * 10
    assert not list(share_mux(streamers, 3, 2, FEASIBLE, mode, prune_empty_streams=prune))


def test_a_heavy_streamer_that_gives_nothing_does_not_hold_the_others_up():
    streamers = [Streamer(nothing), Streamer(forever, 1)]
    mux = share_mux(streamers, 2, 2, [1, 1e-12], prune_empty_streams=False)
    assert list(mux.iterate(100)) == [1] * 100


class EverySecond:
    """An iterable that is empty every second time."""

    def __init__(self):
        self.n_starts = 0

    def __iter__(self):
        self.n_starts += 1
        return iter("x" * (self.n_starts % 2))


@pytest.mark.parametrize("mode", ["with_replacement", "single_active"])
def test_streamers_that_may_be_tried_again_are(mode):
    streamers = [EverySecond() for _ in range(4)]
    mux = share_mux(streamers, 2, 5, [2, 1, 1, 1], mode, prune_empty_streams=False)
    assert list(mux.iterate(500)) == ["x"] * 500
    assert min(each.n_starts for each in streamers) > 20


# Weights that a function gives.


def early(n_items):
    """Only the first streamer before item 1000, only the second one after."""
    return [1, 0, 0] if n_items < 1000 else [0, 2, 0]


def steady(n_items):
    return [3, 1, 2]


MUXES = {
    "active": functools.partial(StochasticMux, n_active=2, rate=3),
    "active, no limit": functools.partial(StochasticMux, n_active=2, rate=None),
    "active, binomial": functools.partial(StochasticMux, n_active=2, rate=3, dist="binomial"),
    "active, single": functools.partial(StochasticMux, n_active=2, rate=3, mode="single_active"),
    "share": functools.partial(StochasticMux, n_active=2, rate=3, weighting="share"),
    "share, single": functools.partial(
        StochasticMux, n_active=1, rate=3, mode="single_active", weighting="share"
    ),
    "shuffled": ShuffledMux,
}
every_mux = pytest.mark.parametrize("make", MUXES.values(), ids=MUXES)


@every_mux
def test_weights_change_at_exactly_that_item(make):
    mux = make(endless(3), weights=early, random_state=0)
    assert mux.weights.tolist() == [1, 0, 0]
    for _ in range(2):
        assert list(mux.iterate(2500)) == [0] * 1000 + [1] * 1500


@every_mux
def test_what_has_no_weight_is_not_open(make):
    """In a ShuffledMux, a stream that was open stays open."""
    streamers = endless(3)
    with make(streamers, weights=early, random_state=0).iterate() as stream:
        n_open = []
        for _ in itertools.islice(stream, 1100):
            n_open.append([each.active for each in streamers])
    assert not any(sum(each[1:]) for each in n_open[:1000])
    assert all(not each[2] for each in n_open)
    assert all(not each[0] for each in n_open[1000:]) or make is ShuffledMux
    assert [each.active for each in streamers] == [0] * 3


@every_mux
def test_a_function_is_called_at_known_points(make):
    calls = []

    def weights(n_items):
        calls.append(n_items)
        return [1, 1, 2 - n_items / 10_000]

    mux = make(short(3), weights=weights, random_state=0)
    assert calls == [0]
    for n_items in (0, 1, 1000, 1001, 3500):
        calls.clear()
        assert len(list(mux.iterate(n_items))) == n_items
        assert calls == list(range(0, n_items, 1000))
    calls.clear()
    assert len(list(RoundRobinMux([mux]).iterate(2001))) == 2001
    assert calls == [0, 1000, 2000]


def rising(n_items):
    return WEIGHTS if n_items < 20_000 else WEIGHTS[::-1]


def test_shares_on_both_sides_of_a_change():
    items = list(share_mux(short(), 3, 2, rising).iterate(60_000))
    check_shares(items[:20_000], WEIGHTS, 2)
    check_shares(items[21_000:], WEIGHTS[::-1], 2)


def test_draws_of_a_shuffled_mux_on_both_sides_of_a_change():
    items = list(ShuffledMux(short(), rising, random_state=0).iterate(40_000))
    check_independent(items[:20_000], WEIGHTS, 2)
    check_independent(items[20_000:], WEIGHTS[::-1], 2)


@pytest.mark.parametrize("rate", [5, None])
def test_draws_among_open_streams_on_both_sides_of_a_change(rate):
    """All of them are open all the time."""
    mux = StochasticMux(endless(), 10, rate, rising, "single_active", random_state=0)
    items = list(mux.iterate(40_000))
    check_independent(items[:20_000], WEIGHTS, 2)
    check_independent(items[20_000:], WEIGHTS[::-1], 2)


@pytest.mark.parametrize("weighting", ["active", "share"])
def test_slots_come_and_go_with_the_streamers_of_positive_weight(weighting):
    def weights(n_items):
        n_positive = {0: 2, 1000: 9, 2000: 1, 3000: 4}[n_items]
        return [1] * n_positive + [0] * (10 - n_positive)

    streamers = endless()
    mux = StochasticMux(
        streamers, 4, 3, weights, "single_active", random_state=0, weighting=weighting
    )
    n_open = []
    for _ in mux.iterate(4000):
        active = [each.active for each in streamers]
        assert max(active) == 1
        n_open.append(sum(active))
    # The last item that a stream may give comes while it is still open; so does its successor's.
    assert [set(n_open[i : i + 1000]) for i in range(0, 4000, 1000)] == [{2}, {4}, {1}, {4}]


@pytest.mark.parametrize("mode", ["with_replacement", "single_active"])
@pytest.mark.parametrize("weighting", ["active", "share"])
def test_dropped_streamers_stay_dropped_when_weights_change(mode, weighting):
    streamers = with_empty(3)
    starts = []

    def counted():
        starts.append(True)
        yield from ()

    streamers[0] = Streamer(counted)

    def weights(n_items):
        return np.roll(FEASIBLE, n_items // 1000)

    mux = StochasticMux(streamers, 3, 2, weights, mode, random_state=0, weighting=weighting)
    assert set(mux.iterate(9000)) == set(range(3, 10))
    assert len(starts) <= 3


def test_a_mux_ends_when_nothing_that_has_weight_is_left():
    def weights(n_items):
        return [1, 1, 0]

    streamers = [Streamer(nothing), Streamer(nothing), Streamer(forever, 0)]
    assert list(ShuffledMux(streamers, weights, random_state=0)) == []
    assert list(StochasticMux(streamers, 2, 3, weights, random_state=0)) == []


def test_an_open_stream_without_weight_does_not_keep_a_mux_waiting():
    def weights(n_items):
        return [1, 1, 0] if n_items else [0, 0, 1]

    streamers = [Streamer(nothing), Streamer(nothing), Streamer(forever, 0)]
    assert list(ShuffledMux(streamers, weights, random_state=0)) == [0] * 1000


@every_mux
def test_the_same_weights_again_change_nothing(make):
    weights = np.array([3, 1, 2]) / 6
    fixed, given = (
        make([Streamer(forever, i) for i in range(3)], weights=each, random_state=0)
        for each in (weights, lambda n_items: weights)
    )
    # (Where nothing ever ends, slots are drawn by an alias table, which is made between blocks.)
    n_items = 3500 if getattr(fixed, "rate", None) else 16
    assert list(fixed.iterate(n_items)) == list(given.iterate(n_items))


WRONG = {
    "shape": ([1, 1], r"weights\(2000\)=\[1, 1\]: must have one weight for each of 3"),
    "negative": ([1, -1, 1], r"weights\(2000\)\[1\]=-1.0"),
    "nan": ([1, 1, float("nan")], r"weights\(2000\)\[2\]=nan"),
    "zeros": (
        [0, 0, 0],
        r"weights\(2000\)=\[0, 0, 0\]: must have a positive weight, but all are zero",
    ),
    "none": (None, r"weights\(2000\)=None: must be a sequence"),
    "text": ("abc", r"weights\(2000\)='abc': must be a sequence"),
}


@pytest.mark.parametrize(("wrong", "match"), WRONG.values(), ids=WRONG)
@every_mux
def test_wrong_weights_of_a_function_are_refused_by_item(make, wrong, match):
    streamers = endless(3)
    mux = make(streamers, weights=lambda n: wrong if n == 2000 else [2, 1, 1], random_state=0)
    stream = mux.iterate()
    assert len(list(itertools.islice(stream, 2000))) == 2000
    with pytest.raises(PescadorError, match=match):
        next(stream)
    assert [each.active for each in streamers] == [0] * 3
    with pytest.raises(PescadorError, match=match.replace("2000", "0")):
        make(streamers, weights=lambda n: wrong)


def test_an_error_of_the_function_is_raised_as_it_is():
    def weights(n_items):
        return [1, 1 / (1000 - n_items)]

    stream = ShuffledMux(endless(2), weights, random_state=0).iterate()
    assert len(list(itertools.islice(stream, 1000))) == 1000
    with pytest.raises(ZeroDivisionError):
        next(stream)


def test_infeasible_shares_are_refused_when_they_come():
    def weights(n_items):
        return FEASIBLE if n_items < 3000 else WEIGHTS

    stream = share_mux(endless(), 3, 2, weights, "single_active").iterate()
    with pytest.raises(PescadorError, match=r"weights\(3000\)\[0\]=0.47.*more than 1/3"):
        list(stream)


def test_weights_of_an_epoch_change_but_no_streamer_is_left_out():
    def weights(n_items):
        return [1, 1 + n_items, 0]

    streamers = [Streamer(range(2000)), Streamer(range(2000, 4000)), Streamer("x")]
    mux = StochasticMux(streamers, 2, None, weights, "exhaustive", random_state=0)
    assert sorted(mux) == list(range(4000))

    mux = StochasticMux(streamers, 1, None, lambda n: [1, 1, n], "exhaustive")
    with pytest.raises(PescadorError, match=r"weights\(1000\)\[2\].*zero always or never"):
        list(mux)


def test_the_weights_of_open_streams_are_those_of_now():
    mux = StochasticMux(endless(3), 3, None, early, random_state=0)
    with mux as active:
        list(itertools.islice(active.stream_, 999))
        assert active.stream_weights_.tolist() == [1] * 3
        list(itertools.islice(active.stream_, 2))
        assert active.stream_weights_.tolist() == [1] * 3
    assert mux.weights.tolist() == [1, 0, 0]


# Reproducibility.


SEEDED = {
    "share": lambda: share_mux(short(), 3, 4, WEIGHTS),
    "share, single": lambda: share_mux(short(), 3, 4, FEASIBLE, "single_active"),
    "share, function": lambda: share_mux(short(), 3, 4, rising),
    "active, function": lambda: StochasticMux(short(3), 2, 4, steady, random_state=0),
    "shuffled, function": lambda: ShuffledMux(short(), rising, random_state=0),
}


@pytest.mark.parametrize("make", SEEDED.values(), ids=SEEDED)
def test_one_seed_gives_the_same_items_also_in_a_pickled_copy(make):
    mux = make()
    items = list(mux.iterate(3000))
    assert items == list(mux.iterate(3000)) == list(make().iterate(3000))
    assert items == list(pickle.loads(pickle.dumps(mux)).iterate(3000))
    assert items != list(mux.cycle(6000))[3000:]


@pytest.mark.parametrize("mode", ("with_replacement", "single_active"))
def test_a_pickle_holds_weights_and_no_table(mode):
    """A table follows from the weights; classes that no pickle names can change."""
    mux = share_mux(endless(), 3, 8, FEASIBLE, mode)
    data = pickle.dumps(mux)
    assert b"Table" not in data and b"Design" not in data
    assert list(pickle.loads(data).iterate(100)) == list(mux.iterate(100))


def test_all_copies_of_a_running_mux_have_one_table():
    mux = share_mux(endless(), 3, 8, FEASIBLE, "single_active")
    with mux as active:
        assert active._setup.table is mux._setup.table is not None
