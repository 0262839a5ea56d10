"""Which slot comes next, against the weights."""

import functools
import math
import random
from itertools import accumulate

import numpy as np
import pytest
from _cases import matrix

from pescador._mixing import choosers
from pescador._mixing import slots as slots_module
from pescador._mixing.slots import EqualSlots, WeightedSlots, alias_table

LARGEST = 1 - 2.0**-53  # the largest number that is drawn


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


N_SLOTS = (1, 2, 3, 63, 64, 65, 128, 300, 1000, 4096, 4097, 5000)


def check_tree(slots, weights):
    """Check that every node of the tree holds the cumulative sums of what is below it."""
    leaves = slots._levels[0]
    assert leaves[: len(weights)] == weights
    assert not any(leaves[len(weights) :])
    for below, nodes, above in zip(slots._levels, slots._cumulative, slots._levels[1:]):
        assert [total for node in nodes for total in node] == [
            total
            for start in range(0, len(below), slots._fanout)
            for total in accumulate(below[start : start + slots._fanout])
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


@matrix(
    make=[EqualSlots, WeightedSlots],
    n_slots=[1, 3, 64, 65, 300, 5000],
    draw=[0.0, 2.0**-53, 0.5, LARGEST],
)
def test_draws_at_the_ends(make, n_slots, draw):
    class Same:
        def random_sample(self, size):
            return np.full(size, draw)

    slots = make(Same(), n_slots)
    slots.fill([0.1 + slot % 3 for slot in range(n_slots)])
    for _ in range(8):
        assert set(slots.block()) <= set(range(n_slots))


@matrix(cover=1, draw=[0.0, LARGEST], n_slots=[5, 64, 70, 300])
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


def made_slots(kind, n_slots):
    rng = np.random.RandomState(7)
    if kind == "equal":
        return EqualSlots(rng, n_slots)
    slots = WeightedSlots(rng, n_slots)
    slots.fill(list(np.random.RandomState(1).random_sample(n_slots)))
    return slots


@pytest.mark.parametrize("n_slots", [1, 5, 64, 300])
@pytest.mark.parametrize("kind", ["equal", "weighted"])
def test_what_is_foreseen_is_drawn(kind, n_slots):
    slots, alone = made_slots(kind, n_slots), made_slots(kind, n_slots)
    all_drawn, ends = [], []
    for n_blocks in range(9):
        block = iter(slots.block())
        begin = [next(block) for _ in range(n_blocks)]
        foreseen = slots.foresee().tolist()
        state = slots.position
        assert slots.foresee().tolist() == foreseen
        assert slots.position == state
        rest = list(block)
        all_drawn += begin + rest
        ends.append((len(all_drawn) - len(rest), foreseen))
    assert all_drawn == [slot for _ in range(9) for slot in alone.block()]
    for start, foreseen in ends[:-1]:
        assert foreseen == all_drawn[start : start + len(foreseen)]


def test_what_is_foreseen_of_weights_that_have_changed_fits_them():
    slots = made_slots("weighted", 5)
    iter(slots.block())
    slots.fill([0.0, 0.0, 1.0, 0.0, 0.0])
    assert set(slots.foresee().tolist()) == {2}


@pytest.mark.parametrize("kind", ["equal", "weighted"])
def test_where_there_is_nothing_to_draw_nothing_is_foreseen(kind):
    slots = made_slots(kind, 3)
    for _ in range(3):
        slots.shrink()
    assert not len(slots.foresee())
    slots = made_slots("weighted", 3)
    slots.fill([0.0, 0.0, 0.0])
    assert not len(slots.foresee())
