"""States that do not fit are found at once, however deep."""

import pickle

import numpy as np
import pytest
from _resume_sources import pairs
from test_resume import mux_of, state_of, taken, through_json

import pescador
from pescador import ChainMux, PescadorError, ShuffledMux, StochasticMux, Streamer, ZMQStreamer
from pescador._streaming import positions


def misfits():
    """Return functions that make a tree around an inner mux, by name."""
    return {
        "a map": lambda inner: Streamer(pescador.buffer_stream, inner, 3),
        "a limit": lambda inner: Streamer(inner, 50),
        "a map of a map": lambda inner: Streamer(
            pescador.tuples, Streamer(pescador.buffer_stream, inner, 3), "index"
        ),
        "a chain": lambda inner: ChainMux([Streamer(pescador.buffer_stream, inner, 3)]),
        "replacing": lambda inner: StochasticMux(
            [Streamer(pescador.buffer_stream, inner, 3)],
            1,
            None,
            on_error="replace",
            random_state=1,
        ),
    }


@pytest.mark.parametrize("name", misfits())
def test_a_misfit_below_something_is_found_at_once(name):
    wrap = misfits()[name]
    state = state_of(wrap(mux_of(random_state=1)), 4)
    other = wrap(mux_of(random_state=2))
    with pytest.raises(PescadorError, match="another seed"):
        other.resume(state)
    assert other.active == 0
    with pytest.raises(PescadorError, match="had rate="):
        wrap(mux_of(random_state=1, rate=9)).resume(state)


def test_a_misfit_in_a_background_process_is_never_taken_for_a_source_that_fails():
    def make(seed):
        inner = ZMQStreamer(mux_of(random_state=seed))
        return StochasticMux([inner], 1, None, on_error="replace", random_state=1)

    state = state_of(make(1), 9)
    with pytest.raises(PescadorError, match="another seed"):
        taken(make(2).resume(state), 9)


@pytest.mark.parametrize(
    "other",
    (
        lambda mux: Streamer(pescador.buffer_stream, mux, 4),
        lambda mux: Streamer(pescador.buffer_stream, mux, 3, partial=True),
        lambda mux: Streamer(pescador.tuples, mux, "index"),
        lambda mux: Streamer(mux, 50),
    ),
)
def test_another_call_is_a_misfit(other):
    state = state_of(Streamer(pescador.buffer_stream, mux_of(), 3), 4)
    with pytest.raises(PescadorError, match="does not fit"):
        other(mux_of()).resume(state)


OTHER_CALLS = {
    "a size": (lambda mux: Streamer(pescador.buffer_stream, mux, 4), "buffer_size=3", "=4"),
    "an option": (
        lambda mux: Streamer(pescador.buffer_stream, mux, 3, partial=True),
        "partial=False",
        "=True",
    ),
    "by its name": (
        lambda mux: Streamer(pescador.buffer_stream, mux, buffer_size=4),
        "buffer_size=3",
        "=4",
    ),
    "an axis": (
        lambda mux: Streamer(pescador.buffer_stream, mux, 3, axis=np.int8(0)),
        "axis=None",
        "=0",
    ),
}


@pytest.mark.parametrize("name", OTHER_CALLS)
def test_another_argument_is_named_with_both_values(name):
    make, before, now = OTHER_CALLS[name]
    state = state_of(Streamer(pescador.buffer_stream, mux_of(), 3), 4)
    argument = before.partition("=")[0]
    text = rf"buffer_stream\(\.\.\.\) had {before} when .* taken, and has {argument}{now} now"
    with pytest.raises(PescadorError, match=text):
        make(mux_of()).resume(state)


def test_another_key_and_one_more_are_named_with_both_values():
    state = state_of(Streamer(pescador.tuples, mux_of(), "index"), 4)
    with pytest.raises(PescadorError, match=r"had args\[1\]='index' .* has args\[1\]='name' now"):
        Streamer(pescador.tuples, mux_of(), "name").resume(state)
    with pytest.raises(PescadorError, match=r"had args\[2\]=nothing .* has args\[2\]='name' now"):
        Streamer(pescador.tuples, mux_of(), "index", "name").resume(state)


def test_a_state_that_has_only_a_digest_of_a_call_is_read():
    streamer = Streamer(pescador.buffer_stream, mux_of(), 3)
    fields = {**state_of(streamer, 4)}
    expected = [repr(each) for each in taken(streamer.resume(fields), 5)]
    fields["position"] = {**fields["position"], "call": fields["position"]["call"][:2]}
    del fields["checksum"]
    older = pescador._streaming.positions.sealed(fields)
    assert [repr(each) for each in taken(streamer.resume(older), 5)] == expected
    with pytest.raises(PescadorError, match="had other arguments"):
        Streamer(pescador.buffer_stream, mux_of(), 4).resume(older)


def test_another_limit_is_a_misfit():
    state = state_of(Streamer(Streamer(range, 9), 7), 4)
    with pytest.raises(PescadorError, match=r"had max_iter=7 .* has max_iter=2 now"):
        Streamer(Streamer(range, 9), 2).resume(state)


def test_other_weights_of_a_function_are_a_misfit():
    def make(weights):
        return ShuffledMux([range(10), range(10)], weights, random_state=0)

    before = make(lambda n_items: [1, 1 + (n_items >= 1000)])
    state = state_of(before, 1500)
    assert len(taken(make(lambda n_items: [1, 1 + (n_items >= 1000)]).resume(state), 9)) == 9
    for other in (lambda n_items: [1, 1], [1, 1], None):
        with pytest.raises(PescadorError, match="had other weights"):
            make(other).resume(state)


def test_what_was_open_below_a_map_is_open_again():
    closed = []

    def source():
        try:
            yield from pairs(0, 50)
        finally:
            closed.append(True)

    streamer = Streamer(pescador.buffer_stream, ShuffledMux([Streamer(source)]), 3)
    state = state_of(streamer, 4)
    closed.clear()
    resumed = streamer.resume(state)
    assert through_json(resumed)["n_given"] == 4
    resumed.close()
    del resumed
    assert closed == [True]
    assert streamer.active == 0


def test_a_state_that_another_thread_reads_past_is_refused():
    """It is whole, or it is an error: a source that asks for the state in mid-air stands for it."""

    class Sly:
        """Lets the stream go on while its state is taken."""

        def position(self, n_given):
            next(stream)
            return n_given

    mux = ShuffledMux([range(10), range(10)], random_state=0)
    stream = mux.iterate()
    next(stream)
    pescador._streaming.positions.records[stream._source] = Sly()
    with pytest.raises(PescadorError, match="in the middle of an item"):
        stream.state_dict()


def test_generators_are_looked_for_no_longer_than_needed():
    """A pool of a million is not walked for the sake of a generator at its root."""

    class Shy(Streamer):
        """Must not be asked for its parts."""

        def _parts(self):
            raise AssertionError("nobody needs to know")

    for make in (np.random.RandomState, np.random.default_rng):
        mux = StochasticMux([Shy(range, 9)] * 5, 2, 3, random_state=make(0))
        state = state_of(mux, 7)
        expected = taken(mux.resume(state), 9)
        again = StochasticMux([Shy(range, 9)] * 5, 2, 3, random_state=make(7))
        assert taken(again.resume(state), 9) == expected


def test_the_error_is_a_pescador_error_and_nothing_else():
    """Also as its class shows in a traceback, and in another process."""
    stream = pescador.Streamer(range, 5).iterate()
    next(stream)
    state = stream.state_dict()
    with pytest.raises(pescador.PescadorError) as caught:
        pescador.ShuffledMux(["ab"]).resume(state)
    assert type(caught.value) is pescador.PescadorError
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert positions.is_misfit(copy)
