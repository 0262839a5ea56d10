"""What a background process keeps of its muxes, until it is sent."""

import numpy as np
import pytest

from pescador import ShuffledMux, Streamer, ZMQStreamer, buffer_stream
from pescador._background.producer import _is_mux
from pescador._streaming.recorder import (
    END,
    FACT,
    ITEM,
    SHORT,
    WIDTH,
    Recorder,
    ends_of_items,
    opening_of,
    run_and_place,
)


def recorder_of(n_items, is_of_mux=False):
    """Return one that has heard of so many items of the activation 2."""
    recorder = Recorder(is_of_mux)

    def items():
        while True:
            recorder.events.append(2 | ITEM * is_of_mux)
            yield "item"

    made = recorder.marked(items())
    for _ in range(n_items):
        next(made)
    return recorder


@pytest.mark.parametrize(
    ("is_of_mux", "of_an_item"), [(False, [2, ITEM]), (True, [2 | ITEM])], ids=["other", "mux"]
)
def test_as_many_items_are_taken_as_are_sent(is_of_mux, of_an_item):
    recorder = recorder_of(3, is_of_mux)
    assert recorder.take(0)[0].tolist() == []
    assert recorder.take(1)[0].tolist() == of_an_item
    assert recorder.take(2)[0].tolist() == 2 * of_an_item
    recorder.tell(SHORT, 7)
    events, facts, notes = recorder.take()
    assert (events.tolist(), facts.tolist(), notes) == ([FACT], [SHORT, 7, 0, 0, 0], [])


def test_facts_belong_to_the_item_after_them():
    recorder = recorder_of(1)
    recorder.tell(SHORT, 1)
    recorder.events.extend([3, ITEM])
    recorder.tell(SHORT, 2)
    assert len(recorder.take(1)[1]) == 0
    assert recorder.take(1)[1].tolist()[:2] == [SHORT, 1]
    assert len(recorder.take()[1]) == WIDTH


def test_an_item_that_cannot_be_sent_leaves_what_else_has_happened():
    recorder = recorder_of(3)
    recorder.events.append(2 | END)
    recorder.tell(SHORT, 1)
    recorder.forget_items(1)
    assert recorder.take()[0].tolist() == [2, ITEM, 2 | END, FACT]


def test_what_is_read_again_is_not_told_whenever_items_are_sent():
    """Another thread may send those before it at the same time."""
    recorder = recorder_of(2)
    with recorder.as_known():
        recorder.events.extend([2, 2])
        assert recorder.take(1)[0].tolist() == [2, ITEM]
        recorder.tell(SHORT, 1)
    assert recorder.take()[0].tolist() == [2, ITEM]


def test_an_opening_is_a_number_of_its_own():
    pairs = [(1, 0), (1, 2**27 - 1), (2, 0), (2**35 - 1, 2**27 - 1)]
    openings = np.array([opening_of(*each) for each in pairs])
    assert openings.max() < FACT
    assert list(zip(*map(np.ndarray.tolist, run_and_place(openings)))) == pairs
    assert not len(ends_of_items(openings))


@pytest.mark.parametrize(
    ("streamer", "is_mux"),
    [
        (ShuffledMux(["ab"]), True),
        (Streamer(ShuffledMux(["ab"])), True),
        (Streamer(Streamer(ShuffledMux(["ab"]))), True),
        (Streamer("ab"), False),
        (Streamer(buffer_stream, ShuffledMux(["ab"]), 2), False),
        (ZMQStreamer(ShuffledMux(["ab"])), False),
        (Streamer(ZMQStreamer(ShuffledMux(["ab"]))), False),
    ],
    ids=str,
)
def test_a_mux_marks_its_items_itself_also_where_they_are_passed_on(streamer, is_mux):
    assert _is_mux(streamer) is is_mux
