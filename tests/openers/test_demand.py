"""When items will be needed, and sources opened."""

import math

import numpy as np
import pytest

from pescador._openers.demand import Demand

OUTER, INNER = b"outer", b"inner"


class Source:
    """What a run reads."""


def drawn(demand, path, sources, counts, slots):
    """Let a run draw; return when the items of each source will be needed."""
    dues = dict(demand.draw(path, sources, [sum(counts), *counts], np.array(slots)))
    return [dues[id(each)] for each in sources]


def flat(limits=(0, 0)):
    """Return what has been drawn by a mux of two, and what it reads."""
    demand, sources = Demand(), [Source(), Source()]
    for each, limit in zip(sources, limits):
        demand.put(OUTER, None, id(each), limit)
    return demand, sources


def test_the_times_of_a_mux_are_the_places_of_its_draws():
    demand, sources = flat()
    one, other = drawn(demand, OUTER, sources, [10, 20], [0, 0, 1, 0, 1, 1, 0, 1])
    assert [one.at(number) for number in range(10, 14)] == [30, 31, 33, 36]
    assert [other.at(number) for number in range(20, 24)] == [32, 34, 35, 37]
    assert one.at(14) == 36 + 2  # the mean of what is known
    assert one.at(24) == 36 + 22


def test_a_source_that_is_not_drawn_comes_last():
    demand, sources = flat()
    one, other = drawn(demand, OUTER, sources, [0, 0], [0, 0, 0, 0])
    assert other.at(0) > one.at(3)
    assert other.end > 10**9


def test_what_is_opened_in_a_slot_takes_over_its_times():
    demand, sources = flat()
    drawn(demand, OUTER, sources, [0, 0], [0, 0, 1, 0, 1, 1, 0, 1])
    demand.end(id(sources[0]), 2)  # at time 1
    slot, due = demand.take(OUTER, 0)
    assert (slot, [due.at(number) for number in range(3)]) == (0, [3, 6, 8])
    assert demand.take(OUTER, 0)[0] is None


@pytest.mark.parametrize("limits", [(3, 2), (2, 3), (1, 1)])
def test_openings_follow_from_limits(limits):
    """Compared with a mux that really opens them."""
    slots = np.random.RandomState(0).randint(2, size=60)
    demand, sources = flat(limits)
    drawn(demand, OUTER, sources, [0, 0], slots)
    times, left, following = [], list(limits), [4, 1, 2, 3, 5, 1]
    for time, slot in enumerate(slots):
        if not left[slot]:
            times.append(time)
            left[slot] = following[len(times) - 1]
            if len(times) == len(following):
                break
        left[slot] -= 1
    assert demand.openings(OUTER, following) == times


def test_without_limits_openings_are_not_known():
    demand, sources = flat()
    assert demand.openings(OUTER, [3, 3]) == [0, 0]  # the first ones
    assert demand.openings(OUTER, [3]) == [math.inf]
    drawn(demand, OUTER, sources, [0, 0], [0, 1, 0, 1])
    assert demand.openings(OUTER, [3, 3]) == [math.inf, math.inf]


def nested(limit):
    """Return what has been drawn by a mux of a mux and a source, and what these read."""
    demand, sources, below = Demand(), [Source(), Source()], [Source(), Source()]
    demand.begin(OUTER, INNER, id(sources[0]), limit)
    demand.put(OUTER, None, id(sources[1]), 0)
    drawn(demand, OUTER, sources, [0, 0], [0, 1, 1, 0, 0, 1, 0, 0])
    for each in below:
        demand.put(INNER, None, id(each), 2)
    return demand, sources, below


def test_those_of_an_inner_mux_are_those_at_which_it_is_read():
    demand, _, below = nested(0)
    one, other = drawn(demand, INNER, below, [0, 0], [1, 0, 0, 1])
    assert [other.at(0), one.at(0), one.at(1), other.at(1)] == [0, 3, 4, 6]


def test_what_is_beyond_the_limit_of_an_inner_mux_is_never_needed():
    demand, _, below = nested(3)
    one, other = drawn(demand, INNER, below, [0, 0], [1, 0, 0, 1, 0, 1])
    assert [one.at(0), one.at(1), one.at(2), one.at(99)] == [3, 4, math.inf, math.inf]
    assert [other.at(0), other.at(1)] == [0, math.inf]
    assert (one.end, other.end) == (2, 1)
    assert demand.openings(INNER, [2, 2]) == []  # it is over before


def test_an_inner_mux_that_takes_the_place_of_another_one():
    demand, sources, _ = nested(3)
    demand.end(id(sources[0]))
    after, below = Source(), [Source()]
    demand._pass(4.0)
    demand.begin(OUTER, b"another", id(after), 0)
    (due,) = drawn(demand, b"another", below, [0], [0, 0])
    assert [due.at(0), due.at(1)] == [6, 7]


def test_what_is_known_is_bounded():
    demand = Demand()
    for number in range(3000):
        source = Source()
        demand.begin(OUTER, b"%d" % number, id(source), 5)
        demand.end(id(source))
    assert len(demand._runs) <= 1000
    assert not demand._slots and not demand._limits
    demand.clear()
    assert not demand._runs
