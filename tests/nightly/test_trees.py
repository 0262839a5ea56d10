"""Random trees of all muxes: however they are run, closed or resumed, their items are the same.

A new way to run a tree is a line in `WAYS`.
"""

import contextlib
import copy
import itertools
import json
import pickle

import pytest
from _trees import OPEN, Broken, plain, read, tree

from pescador import Streamer, ZMQStreamer

pytestmark = pytest.mark.nightly

MOST_ITEMS = 150


def in_process(streamer, method="fork"):
    return ZMQStreamer(streamer, start_method=method)


# How to run a tree.
WAYS = {
    "inline": lambda streamer: streamer,
    "nested": Streamer,
    "copied": copy.deepcopy,
    "pickled": lambda streamer: pickle.loads(pickle.dumps(streamer)),
    "in a process": in_process,
    "in a spawned process": lambda streamer: in_process(streamer, "spawn"),
}


def number_of(rng):
    """Return the number of a tree."""
    return int(rng.integers(2**32))


def limits(rng):
    """Return the arguments of a call that starts a stream."""
    return (int(rng.integers(MOST_ITEMS)) if rng.random() < 0.3 else None, bool(rng.integers(2)))


def parts_of(streamer):
    """Yield a streamer and those below it, as far as they are in lists or are given themselves."""
    yield streamer
    below = getattr(streamer, "streamers", None) or [streamer.streamer]
    for each in below if isinstance(below, list) else [below]:
        if isinstance(each, Streamer):
            yield from parts_of(each)


def assert_closed(*streamers):
    """Check that nothing of some trees is open."""
    assert [each for streamer in streamers for each in parts_of(streamer) if each.active] == []
    assert not OPEN


@pytest.mark.parametrize("way", [way for way in WAYS if way != "inline"])
def test_the_items_do_not_depend_on_the_way(way, search):
    def check(rng):
        number, how = number_of(rng), limits(rng)
        expected = read(tree(number)(*how), MOST_ITEMS)
        streamer = WAYS[way](tree(number))
        assert read(streamer(*how), MOST_ITEMS) == expected
        assert_closed(streamer)

    search(check)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "in a spawned process"])
def test_a_stream_that_is_resumed_goes_on_as_it_would_have(way, search):
    """Resumed at a random moment, and that again and again."""

    def check(rng):
        number, how = number_of(rng), limits(rng)
        expected = read(tree(number)(*how), MOST_ITEMS)
        found, streamer = [], WAYS[way](tree(number))
        stream = streamer(*how)
        while (n_items := int(rng.integers(1, 40))) + len(found) < len(expected):
            found += [plain(item) for item in itertools.islice(stream, n_items)]
            assert found == expected[: len(found)]
            state = json.loads(json.dumps(stream.state_dict()))
            stream.close()
            assert_closed(streamer)
            streamer = WAYS[way](tree(number))
            stream = streamer.resume(state)
        found += read(stream, MOST_ITEMS - len(found))
        if found != expected:
            # An error of before the state was taken is only known by its text.
            assert found[:-1] == expected[:-1]
            assert found[-1].startswith("PescadorError: a source failed before the state was taken")
            assert expected[-1].partition("\n")[0] in found[-1]
        assert_closed(streamer)

    search(check)


def _close(stream):
    stream.close()


def _drop(stream):
    """The caller drops the last reference."""


def _leave(stream):
    with contextlib.suppress(ZeroDivisionError, Broken), stream:
        next(stream, None)
        1 / 0


ENDS = {"close": _close, "drop": _drop, "leave": _leave}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("way", ["inline", "in a process"])
def test_a_stream_that_ends_at_any_moment_leaves_nothing_open(way, end, search):
    def check(rng):
        streamer = WAYS[way](tree(number_of(rng)))
        with contextlib.ExitStack() as others:
            for _ in range(rng.integers(3)):
                other = others.enter_context(streamer(*limits(rng)))
                others.callback(_read, other, rng)
                _read(other, rng)
            ENDS[end](_read(streamer(*limits(rng)), rng))
        assert_closed(streamer)

    search(check)


def _read(stream, rng):
    """Read some items; return the stream, which is open unless it has come to its end."""
    with contextlib.suppress(Broken):
        for _ in itertools.islice(stream, int(rng.integers(MOST_ITEMS))):
            pass
    return stream
