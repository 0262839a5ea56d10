"""What looks right and would go wrong without a word: it is refused, or honoured."""

import functools
import itertools
import sys

import pytest

import pescador
import pescador.legacy
from pescador import (
    FRESH_SEED,
    ChainMux,
    PescadorError,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    ZMQStreamer,
    buffer_stream,
    keras_tuples,
)


def items(n_items=15):
    """Yield items."""
    for number in range(n_items):
        yield {"x": number}


def given(*args, **kwargs):
    """Yield the arguments, once."""
    yield args, kwargs


# Sets: their order is another in every process.

SETS = {
    "a streamer": lambda some: Streamer(some("ab")),
    "a class": lambda some: Streamer(some, "ab"),
    "a process": lambda some: ZMQStreamer(some("ab")),
    "streamers": lambda some: StochasticMux(some([Streamer("a")]), 1, 2),
    "shuffled": lambda some: ShuffledMux(some(["a", "b"])),
    "in turn": lambda some: RoundRobinMux(some(["a", "b"])),
    "a chain": lambda some: ChainMux(some(["a", "b"])),
    "one of the streamers": lambda some: ShuffledMux(["a", some("b")]),
    "one of those that are read": lambda some: ShuffledMux(Streamer(["a", some("b")])),
    "one that a chain reads": lambda some: list(ChainMux(Streamer(["a", some("b")]))),
    "what a function returns": lambda some: list(Streamer(Makes(some))),
    "the stream of a map": lambda some: pescador.cache(some("ab"), 2),
    "the mux of 1.x": lambda some: pescador.legacy.Mux(some(["a"]), 1),
    "the mux of 0.1": lambda some: pescador.legacy.mux(some([Streamer("a")]), None, 1),
    "one of its seeds": lambda some: pescador.legacy.mux(["a", some("b")], None, 1),
}


class Makes:
    """Says that it makes generators, and makes something else."""

    def __init__(self, kind):
        self.kind = kind
        self.__wrapped__ = items

    def __call__(self):
        return self.kind("ab")


class OwnSet(set):
    """A set of the user's."""


@pytest.mark.parametrize("kind", [set, frozenset, OwnSet])
@pytest.mark.parametrize("name", SETS)
def test_a_set_is_refused(name, kind):
    with pytest.raises(
        PescadorError, match=r"a set has no fixed order.*; sort it into a list: sorted"
    ):
        SETS[name](kind)


def test_what_has_an_order_is_none():
    by_name = {"a": Streamer("ab"), "b": "cd"}
    assert sorted(StochasticMux(by_name.values(), 2, None, mode="exhaustive")) == list("abcd")
    assert ShuffledMux(by_name.values()).n_streams == 2
    assert list(Streamer(by_name.keys())) == ["a", "b"]
    assert list(ChainMux(by_name.values())) == list("abcd")
    assert list(Streamer(given, {"a"})) == [(({"a"},), {})]


# Iterators among the arguments: a second run would get nothing.

FINISHED = {
    "a stream": lambda: Streamer(buffer_stream, Streamer(items).iterate(), 5),
    "a stream with a limit": lambda: Streamer(buffer_stream, Streamer(items).iterate(15), 5),
    "a generator": lambda: Streamer(buffer_stream, items(), 5),
    "by keyword": lambda: Streamer(buffer_stream, stream=items(), buffer_size=5),
    "a map": lambda: Streamer(keras_tuples, buffer_stream(items(), 5), "x"),
    "in a partial": lambda: Streamer(functools.partial(buffer_stream, items()), 5),
    "beside a seed": lambda: Streamer(functools.partial(both, items()), FRESH_SEED),
    "of a function": lambda: Streamer(both, items(3), 1),
}


def both(stream, seed):
    yield from stream


@pytest.mark.parametrize("name", FINISHED)
def test_an_iterator_that_is_at_its_end_is_refused(name):
    streamer = FINISHED[name]()
    assert len(list(streamer)) in (3, 15)
    for again in (streamer.iterate, streamer.cycle):
        with pytest.raises(PescadorError, match=r"at its end; give a streamer, which starts"):
            next(again())
    assert streamer.active == 0


def test_the_second_pass_is_refused_as_the_second_run_is():
    passes = Streamer(buffer_stream, Streamer(items).iterate(), 5).cycle()
    assert len([next(passes) for _ in range(3)]) == 3
    with pytest.raises(PescadorError, match=r"^args\[0\]=<Stream of .* at its end"):
        next(passes)


def test_an_iterator_that_was_closed_is_refused():
    stream = Streamer(items).iterate()
    stream.close()
    with pytest.raises(PescadorError, match="at its end"):
        list(Streamer(buffer_stream, stream, 5))


def test_an_iterator_that_has_no_end_may_be_shared():
    numbers = itertools.count()
    streamer = Streamer(first_of, numbers)
    assert [list(streamer) for _ in range(3)] == [[0], [1], [2]]
    generator = (number for number in itertools.count())
    mux = RoundRobinMux([Streamer(first_of, generator)] * 3, "cycle")
    assert list(mux.iterate(7)) == list(range(7))


def first_of(iterator):
    yield next(iterator)


# Attributes that are assigned to.


def test_keywords_and_arguments_that_are_assigned_later_are_honoured():
    streamer = Streamer(given)
    streamer.kwargs = {"n": 2}
    assert list(streamer) == [((), {"n": 2})]
    streamer.args = (1,)
    assert list(streamer.cycle(2)) == [((1,), {"n": 2})] * 2
    streamer.kwargs = {}
    assert list(ChainMux([streamer])) == [((1,), {})]
    assert (streamer.args, streamer.kwargs) == ((1,), {})


def test_seeds_and_streamers_that_are_assigned_later_are_replaced_like_others():
    streamer = Streamer(given)
    streamer.args, streamer.kwargs = (FRESH_SEED,), {"other": Streamer("ab")}
    (((seed,), kwargs),) = streamer
    assert isinstance(seed, int)
    assert list(kwargs["other"]) == ["a", "b"]
    streamer.kwargs = {"seeds": [FRESH_SEED]}
    with pytest.raises(PescadorError, match=r"^seeds=\[FRESH_SEED\]"):
        next(streamer.iterate())


def test_a_source_that_is_assigned_later_is_honoured():
    streamer = Streamer(range, 3)
    streamer.streamer, streamer.args = "abc", ()
    assert list(streamer) == ["a", "b", "c"]
    streamer.streamer = iter("de")
    assert list(streamer) == ["d", "e"]
    with pytest.raises(PescadorError, match="can be read only once"):
        list(streamer)
    streamer.streamer = 3
    with pytest.raises(PescadorError, match="streamer=3: is not iterable"):
        list(streamer)


def test_arguments_that_are_wrong_are_refused_at_the_next_start():
    def take(one):
        yield one

    streamer = Streamer(take, 1)
    streamer.args = (1, 2)
    with pytest.raises(PescadorError, match="does not take the arguments"):
        list(streamer)
    streamer.args = (3,)
    assert list(streamer) == [3]


def test_a_run_that_has_started_keeps_its_arguments():
    streamer = Streamer(range, 5)
    stream = streamer.iterate()
    assert next(stream) == 0
    streamer.args = (2,)
    assert list(stream) == [1, 2, 3, 4]
    assert list(streamer) == [0, 1]
    state = stream_state(streamer)
    assert list(streamer.resume(state)) == [1]


def stream_state(streamer):
    stream = streamer.iterate()
    next(stream)
    return stream.state_dict()


# Subclasses.


@pytest.mark.parametrize(
    "base, name",
    [
        (Streamer, "_activate"),
        (ZMQStreamer, "_activate"),
        (pescador.legacy.Streamer, "_activate"),
        (StochasticMux, "_activate"),
        (StochasticMux, "_next_sample_index"),
        (ShuffledMux, "_new_stream"),
        (RoundRobinMux, "_setup_streams"),
        (ChainMux, "_replace_stream"),
        (pescador.BaseMux, "_on_stream_exhausted"),
        (pescador.legacy.Mux, "_streamers_available"),
    ],
)
def test_a_method_that_nobody_calls_any_more_is_refused_in_a_subclass(base, name):
    with pytest.raises(
        PescadorError, match=rf"^Own.{name}=.*nothing calls it now; override iterate"
    ):
        type("Own", (base,), {name: lambda self: None})
    assert type("Own", (base,), {"_helper": lambda self: None})


def test_a_streamer_may_have_helpers_of_any_other_name():
    class Own(Streamer):
        def _reset(self):
            return 5

    assert Own("ab")._reset() == 5


# Depth: each level of a tree takes some of the nested calls that Python allows.

LEVELS = {
    "chain": lambda below: ChainMux([below]),
    "shuffled": lambda below: ShuffledMux([below]),
    "stochastic": lambda below: StochasticMux([below], 1, 2),
    "in turn": lambda below: RoundRobinMux([below]),
    "in streamers": lambda below: ShuffledMux([Streamer(below)]),
    "streamers": Streamer,
    "calls": lambda below: Streamer(relayed, below),
}


def relayed(stream):
    yield from stream


def nested(make, n_levels):
    streamer = Streamer(range, 5)
    for _ in range(n_levels):
        streamer = make(streamer)
    return streamer


@pytest.mark.parametrize("name", LEVELS)
def test_a_deep_tree_is_read_closed_and_resumed(name):
    streamer = nested(LEVELS[name], 50)
    with streamer.iterate(3) as stream:
        assert next(stream) == 0
        state = stream.state_dict()
    assert len(list(streamer.resume(state))) == 2
    assert streamer.active == 0


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("n_levels", [190, 1000])
def test_a_tree_that_is_too_deep_is_refused_when_it_is_opened(name, n_levels):
    with pytest.raises(PescadorError, match=r"nested more than 83 levels deep.*; nest them less"):
        next(nested(LEVELS[name], n_levels).iterate())


def test_more_nested_calls_allow_more_levels():
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(3000)
    try:
        streamer = nested(LEVELS["chain"], 190)
        assert list(streamer) == list(range(5))
    finally:
        sys.setrecursionlimit(before)
