"""What a monitor tells of random trees is the same, however they are run, from any item on."""

import logging

import pytest
from _monitored import outcome_of
from _trees import tree

from pescador import ParallelStreamer, ZMQStreamer

pytestmark = pytest.mark.nightly

# How to run a tree.
WAYS = {
    "in a process": lambda streamer: ZMQStreamer(streamer, start_method="fork"),
    "in two": lambda streamer: ZMQStreamer(
        ZMQStreamer(streamer, start_method="fork"), start_method="fork"
    ),
    "on threads": lambda streamer: ParallelStreamer(streamer, 3, backend="threads"),
}


@pytest.mark.parametrize("way", WAYS)
def test_reports_do_not_depend_on_the_way(way, search, caplog):
    caplog.set_level(logging.CRITICAL)

    def check(rng):
        number, n_before, n_items = map(int, rng.integers([2**32, 40, 60]))
        expected = outcome_of(tree(number), n_before, n_items)
        assert outcome_of(WAYS[way](tree(number)), n_before, n_items) == expected

    search(check)
