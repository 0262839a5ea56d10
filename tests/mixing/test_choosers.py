"""Which streamer comes next, against simple models."""

import collections
import random

import numpy as np
import pytest
from _cases import some

from pescador._mixing.choosers import Distinct, Permuted, Replacing

LARGEST = 1 - 2.0**-53  # the largest number that is drawn


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
@pytest.mark.parametrize("seed", some(range(5)))
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
