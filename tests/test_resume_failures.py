"""A run that goes on where another one stood, where some of the sources fail."""

import contextlib
import itertools
import json
import logging

import numpy as np
import pytest
from _cases import matrix, some
from _search import examples
from hypothesis import given
from hypothesis import strategies as st

from pescador import (
    FRESH_SEED,
    ChainMux,
    PescadorError,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
)

MODES = ("with_replacement", "single_active", "exhaustive")
N_ITEMS = 40


@pytest.fixture(autouse=True)
def quiet():
    """Keep warnings about sources out of the output."""
    logger = logging.getLogger("pescador")
    before, logger.disabled = logger.disabled, True
    yield
    logger.disabled = before


def failing(label, n_items, fails_at):
    """Yield items; fail in place of one of them."""
    for index in range(n_items):
        if index == fails_at:
            raise ValueError(f"{label} is broken")
        yield label, index


def failing_at_times(label, n_items, seed):
    """Yield items; fail in place of one of them in one run of three."""
    fails_at = seed % (3 * n_items)
    yield from failing(label, n_items, fails_at)


def failing_at_its_end(label, n_items):
    """Yield items, and fail as it is closed or over."""
    try:
        for index in range(n_items):
            yield label, index
    finally:
        raise OSError(f"{label} cannot be closed")


class NotThere:
    """An iterable that cannot be opened."""

    def __init__(self, label):
        self.label = label

    def __repr__(self):
        return f"NotThere({self.label})"

    def __iter__(self):
        raise FileNotFoundError(self.label)


def source(kind, label, n_items):
    """Return a source that fails in a certain way, or does not."""
    if kind == "healthy":
        return [(label, index) for index in range(n_items)]
    if kind == "not there":
        return NotThere(label)
    if kind == "broken":
        return Streamer(failing, label, n_items + 1, n_items)
    if kind == "broken at times":
        return Streamer(failing_at_times, label, n_items + 1, FRESH_SEED)
    return Streamer(failing_at_its_end, label, n_items)


KINDS = ("healthy", "not there", "broken", "broken at times", "broken at its end")


def items_and_end(stream, n_items=None):
    """Return what a stream gives, and the type and text of the error that ends it, if one does."""
    found = []
    try:
        for item in itertools.islice(stream, n_items):
            found.append(item)
    except Exception as error:
        return found, error
    return found, None


def are_alike(error, expected):
    """Tell whether an error is another one, or stands for it."""
    if expected is None or error is None:
        return error is expected
    if isinstance(error, PescadorError) and not isinstance(expected, PescadorError):
        return f"{type(expected).__name__}: {expected}" in str(error)
    return type(error) is type(expected) and str(error) == str(expected)


def close(stream):
    """Close a stream whose sources may fail at that."""
    with contextlib.suppress(OSError):
        stream.close()


def check(make, cycle=False):
    """Interrupt a run at every position; compare the rest, its end, and the failures."""
    streamer = make()
    with contextlib.ExitStack() as stack:
        whole = streamer(N_ITEMS, cycle)
        stack.callback(close, whole)
        expected, end = items_and_end(whole)
        failures = whole.failures
    stream = streamer(N_ITEMS, cycle)
    for n_items in range(len(expected) + 1):
        other = make()
        resumed = other.resume(json.loads(json.dumps(stream.state_dict())))
        rest, rest_end = items_and_end(resumed)
        assert rest == expected[n_items:]
        assert are_alike(rest_end, end), (rest_end, end)
        assert resumed.failures == failures
        close(resumed)
        assert other.active == 0
        if n_items < len(expected):
            assert next(stream) == expected[n_items]
    close(stream)
    assert streamer.active == 0
    return expected, end


OPTIONS = {"on_error": "replace"}


@matrix(
    cover=1,
    max_failures=(1, 3),
    mode=MODES,
    weights={"equal": None, "unequal": [3, 1, 2, 2, 1, 1, 0, 2, 1, 1]},
)
def test_stochastic(mode, weights, max_failures):
    def make():
        sources = [source(kind, label, 4) for label, kind in enumerate(2 * KINDS)]
        return StochasticMux(
            sources, 3, 3, weights, mode, random_state=5, max_failures=max_failures, **OPTIONS
        )

    expected, _ = check(make)
    assert len({label for label, _ in expected}) > 2


@pytest.mark.parametrize("mode", MODES[:2])
def test_shares(mode):
    def make():
        sources = [source(kind, label, 4) for label, kind in enumerate(2 * KINDS)]
        weights = np.arange(1, 11) / 55
        return StochasticMux(
            sources, 3, 6, weights, mode, random_state=5, weighting="share", **OPTIONS
        )

    check(make)


@pytest.mark.parametrize(
    ("mux", "mode"),
    [
        (RoundRobinMux, "exhaustive"),
        (RoundRobinMux, "cycle"),
        (RoundRobinMux, "permuted_cycle"),
        (ChainMux, "exhaustive"),
        (ChainMux, "cycle"),
    ],
)
@pytest.mark.parametrize("cycle", some((False, True)))
def test_in_turn(mux, mode, cycle):
    def make():
        sources = [source(kind, label, 2) for label, kind in enumerate(KINDS)]
        return mux(sources, mode, random_state=5, **OPTIONS)

    check(make, cycle)


@pytest.mark.parametrize("weights", (None, [3, 1, 2, 2, 1]))
def test_shuffled(weights):
    def make():
        sources = [source(kind, label, 3) for label, kind in enumerate(KINDS)]
        return ShuffledMux(sources, weights, random_state=5, max_failures=4, **OPTIONS)

    check(make)


def read_ahead(stream):
    """Yield what a stream gives: a map of the user's own, which is read again from its start."""
    yield from stream


@pytest.mark.parametrize("call", (read_ahead, Streamer, ShuffledMux))
def test_failures_that_are_read_again_are_not_counted_again(call):
    def make():
        sources = [source(kind, label, 4) for label, kind in enumerate(2 * KINDS)]
        mux = StochasticMux(sources, 3, 3, random_state=5, **OPTIONS)
        return ShuffledMux([mux]) if call is ShuffledMux else Streamer(call, mux)

    check(make)
    stream = make().iterate()
    assert len(list(itertools.islice(stream, 30))) == 30
    assert sum(failure.count for failure in stream.failures) > 2
    close(stream)


def changing(n_items):
    """Return weights of which each streamer has none at some times."""
    return np.roll([0, 1, 3, 1, 2], n_items // 1000)


@pytest.mark.parametrize("mode", some((*MODES[:2], None)))
def test_weights_that_change(mode):
    """States on both sides of every change."""

    def make():
        sources = [source(kind, label, 5) for label, kind in enumerate(KINDS)]
        if mode is None:
            return ShuffledMux(sources, changing, 5, max_failures=1000, **OPTIONS)
        return StochasticMux(
            sources, 2, 4, changing, mode, random_state=5, max_failures=1000, **OPTIONS
        )

    mux = make()
    with mux.iterate() as stream:
        states = []
        expected = []
        for position, item in enumerate(itertools.islice(stream, 3100)):
            if position % 1000 in (1, 500, 990, 999):
                states.append((position + 1, json.loads(json.dumps(stream.state_dict()))))
            expected.append(item)
        close(stream)
    for position, state in states:
        with contextlib.suppress(OSError), make().resume(state) as resumed:
            n_left = 3100 - position
            assert list(itertools.islice(resumed, n_left)) == expected[position:]


def test_the_last_error_is_known_after_resuming():
    def make():
        return RoundRobinMux([source("broken", 0, 1), source("broken", 1, 3)], **OPTIONS)

    expected, end = check(make)
    assert len(expected) == 4
    assert str(end) == "1 is broken"


class Called:
    """Gives three items, or none."""

    def __init__(self, seed):
        self.n_items = 3 * (seed % 4 > 0)

    def __iter__(self):
        return iter(range(self.n_items))


def state_after(streamer, n_items):
    """Return the state of a run after some items."""
    with streamer.iterate() as stream:
        for _ in itertools.islice(stream, n_items):
            pass
        return json.loads(json.dumps(stream.state_dict()))


def test_an_error_from_before_the_state_is_told():
    """Nothing fails afterwards, but what is left comes to give nothing."""

    def make():
        streamers = [source("broken", 0, 2), Streamer(Called, FRESH_SEED)]
        return ShuffledMux(streamers, random_state=5, max_failures=1, **OPTIONS)

    expected, end = check(make)
    assert len(expected) > 10
    assert isinstance(end, ValueError)
    state = state_after(make(), len(expected) - 1)
    with pytest.raises(PescadorError, match=r"before the state was taken: ValueError: 0 is broken"):
        list(make().resume(state))


@pytest.mark.parametrize(
    "make",
    (
        lambda sources: StochasticMux(sources, 2, 4, random_state=1, **OPTIONS),
        lambda sources: StochasticMux(
            sources, 2, None, mode="exhaustive", random_state=1, **OPTIONS
        ),
        lambda sources: ShuffledMux(sources, random_state=1, **OPTIONS),
        lambda sources: RoundRobinMux(sources, **OPTIONS),
        lambda sources: ChainMux(sources, **OPTIONS),
    ),
)
def test_a_source_that_cannot_be_started_again_is_replaced(make):
    """It has vanished since the state was taken."""
    streamers = [Streamer(source("healthy", label, 6)) for label in range(4)]
    stream = make(streamers).iterate()
    found = [next(stream) for _ in range(3)]
    state = stream.state_dict()
    stream.close()
    gone = found[-1][0]
    streamers[gone] = Streamer(NotThere(gone))
    mux = make(streamers)
    resumed = mux.resume(state, 40)
    rest = list(resumed)
    assert gone not in {label for label, _ in rest}
    assert {label for label, _ in rest} | {gone} == set(range(4))
    assert [failure.path for failure in resumed.failures] == [(gone,)]
    assert mux.active == 0


# Trees.


@st.composite
def muxes(draw, depth=2):
    """Draw a function that makes a tree of muxes, whose leaves may fail."""
    n_children = draw(st.integers(1, 4))
    children = []
    for label in range(n_children):
        if depth and draw(st.integers(0, 3)) == 0:
            children.append(draw(muxes(depth - 1)))
        else:
            kind, n_items = draw(st.sampled_from(KINDS)), draw(st.integers(0, 4))
            children.append(lambda kind=kind, n=n_items, at=label: source(kind, at, n))
    options = {
        "on_error": draw(st.sampled_from(("replace", "replace", "raise"))),
        "max_failures": draw(st.integers(1, 3)),
        "random_state": draw(st.integers(0, 9)),
    }
    weights = draw(
        st.none() | st.lists(st.integers(1, 5), min_size=n_children, max_size=n_children)
    )
    kind = draw(st.sampled_from((*MODES, "share", "shuffled", "round", "permuted", "chain")))
    rate = draw(st.sampled_from((1, 2, 5, None)))
    n_active = draw(st.integers(1, 4))

    def make():
        made = [child() for child in children]
        if kind in MODES:
            return StochasticMux(made, n_active, rate, weights, kind, **options)
        if kind == "share":
            return StochasticMux(made, n_active, rate or 3, weights, weighting="share", **options)
        if kind == "shuffled":
            return ShuffledMux(made, weights, **options)
        if kind == "chain":
            return ChainMux(made, "cycle" if rate == 1 else "exhaustive", **options)
        return RoundRobinMux(
            made, "permuted_cycle" if kind == "permuted" else "exhaustive", **options
        )

    return make


@examples(100)
@given(muxes(), st.booleans())
def test_any_tree(make, cycle):
    check(make, cycle)
