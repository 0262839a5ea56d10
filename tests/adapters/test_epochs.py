"""Epochs as Keras reads them: by readers that come, read ahead, and are dropped."""

import itertools
import json
import logging
import random

import numpy as np
import pytest
from _search import examples
from hypothesis import given
from hypothesis import strategies as st

from pescador import ChainMux, PescadorError, Streamer
from pescador.adapters._epochs import Epochs

KEPT = 16
MOST_READ = 3  # by a reader that is dropped, far fewer than those that are kept


def numbers(n):
    yield from range(n)


def epochs(steps, n=10**6, n_kept=KEPT):
    """Return epochs of the squares of numbers."""
    return Epochs(Streamer(numbers, n), steps, lambda number: number**2, n_kept)


class Dropped:
    """A reader that nobody reads from: it reads a little, at any moment."""

    def __init__(self, read, rng):
        self._read, self._rng = read, rng
        self._n_left = MOST_READ

    def perhaps(self):
        while self._n_left and self._rng.random() < 0.3:
            self._n_left -= 1
            self._read.take(self)


def read_epoch(read, rng, dropped):
    """Return what the true reader of an epoch gets, and the reader that comes at its end."""
    dropped.perhaps()
    read.begin()
    reader, found = object(), []
    for step in range(read.size):
        if step < MOST_READ:  # it is gone soon after the true reader has come
            dropped.perhaps()
        found.append(read.take(reader))
    late = Dropped(read, rng)
    late.perhaps()
    read.end()
    return found, late


@given(st.integers(1, 40), st.integers(0, 2**32))
@examples(100)
def test_every_epoch_has_the_next_batches_whoever_reads_beside(steps, seed):
    rng = random.Random(seed)
    read, dropped, found = epochs(steps), Dropped(epochs(1), rng), []
    for _ in range(6):
        if rng.random() < 0.3:
            assert read.look(1) == (len(found) + 1) ** 2
        if rng.random() < 0.3:
            other = epochs(steps)
            other.resume(json.loads(json.dumps(read.state())))
            assert other.look(0) == len(found) ** 2
        more, dropped = read_epoch(read, rng, dropped)
        found += more
        assert len(read._ahead) <= steps + KEPT + MOST_READ
    assert found == [number**2 for number in range(6 * steps)]


@given(st.integers(1, 40), st.integers(0, 2**32))
@examples(50)
def test_passes_begin_anew_whoever_reads_beside(n, seed):
    rng = random.Random(seed)
    read, dropped = epochs(None, n), Dropped(epochs(1), rng)
    for _ in range(4):
        found, dropped = read_epoch(read, rng, dropped)
        assert found == [number**2 for number in range(n)]


def test_batches_that_only_built_a_model_come_again():
    read = epochs(5)
    for _ in range(2):
        read.begin(is_looking=True)
        builder = object()
        assert [read.take(builder), read.take(builder)] == [0, 1]
        read.end()
    found, _ = read_epoch(read, random.Random(0), Dropped(read, random.Random(0)))
    assert found == [0, 1, 4, 9, 16]


def test_the_rest_of_an_epoch_that_was_left_is_told(caplog):
    read = epochs(30)
    read.begin()
    reader = object()
    for _ in range(20):
        read.take(reader)
    with pytest.raises(PescadorError, match="between two epochs"):
        read.state()
    read.end()
    read.begin()
    with caplog.at_level(logging.WARNING, "pescador"):
        assert read.take(object()) == 400
    assert "stopped before its end" in caplog.text


def test_a_reader_that_goes_on_in_the_next_epoch_loses_nothing(caplog):
    """As Keras does that is told how many steps an epoch has."""
    read = epochs(20)
    reader, found = object(), []
    for _ in range(5):
        read.begin()
        found += [read.take(reader) for _ in range(7)]
        read.end()
    assert found == [n**2 for n in range(35)]
    assert not caplog.records


def test_a_pass_that_was_left_begins_anew():
    read = epochs(None, 30)
    for _ in range(2):
        read.begin()
        reader = object()
        assert [read.take(reader) for _ in range(20)] == [n**2 for n in range(20)]
        read.end()


def test_a_reader_that_would_lose_batches_is_refused():
    read = epochs(40)
    read.begin()
    slow, quick = object(), object()
    read.take(slow)
    for _ in range(KEPT + 5):
        read.take(quick)
    with pytest.raises(PescadorError, match="does not know"):
        read.take(slow)


@pytest.mark.parametrize("n_kept", [0, KEPT])
def test_states_are_taken_where_they_are_wanted(n_kept):
    """Not before every batch; and one that cannot be taken is told to whoever asks for it."""
    read = epochs(30, n_kept=n_kept)
    read.look(0)
    asked = []

    def failing():
        asked.append(None)
        raise PescadorError("no state")

    read._state_of_stream = failing
    for _ in range(2):
        read.begin()
        reader = object()
        for _ in range(30):
            read.take(reader)
        read.end()
    assert len(asked) <= (2 if n_kept else 0)
    read.look(0)
    with pytest.raises(PescadorError, match="no state"):
        read.state()


@pytest.mark.parametrize("steps", [1, 3])
def test_one_reader_keeps_nothing(steps):
    read = epochs(steps, n_kept=0)
    for number in range(4):
        read.begin()
        reader = object()
        found = [read.take(reader) for _ in range(steps)]
        assert found == [n**2 for n in range(number * steps, (number + 1) * steps)]
        assert not read._ahead
        read.end()


def test_streams_that_have_no_epochs():
    with pytest.raises(PescadorError, match="has no batches"):
        Epochs(ChainMux([]), None, np.asarray, 0).size
    with pytest.raises(PescadorError, match="has more than 100,000 batches"):
        Epochs(Streamer(itertools.count), None, np.asarray, 0).size
    ending = Epochs(Streamer(numbers, 3), None, np.asarray, 0)
    ending._size = 5
    ending.begin()
    reader = object()
    with pytest.raises(PescadorError, match="ended after 3 batches, and an epoch has 5"):
        list(map(ending.take, [reader] * 5))
