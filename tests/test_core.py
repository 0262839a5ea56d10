"""Streamers and streams: what can be streamed, what a run promises, and how it ends."""

import array
import contextlib
import copy
import functools
import gc
import inspect
import io
import itertools
import pickle
import rlcompleter
import sys
import threading
import types
import warnings
from collections.abc import Iterator, Sized

import numpy as np
import pytest
from _cases import some
from _sources import (
    READERS,
    TIMEOUT,
    WAYS_OUT,
    Countdown,
    Counter,
    OldSequence,
    Recorder,
    Tenfold,
    Uncopyable,
    by_for,
    by_next,
    each_of,
    first_items,
    handed,
    nothing,
    numbers,
    plain_wrapper,
    read_in_child,
    read_together,
    records,
    run_together,
    streamed,
    within,
    wrapped,
)

import pescador
from pescador import PescadorError, Stream, Streamer, streamable

STARTS = {
    "iterate": lambda streamer, **limit: streamer.iterate(**limit),
    "cycle": lambda streamer, **limit: streamer.cycle(**limit),
    "generate": lambda streamer, **limit: streamer.generate(**limit),
    "call": lambda streamer, **limit: streamer(**limit),
    "call to cycle": lambda streamer, **limit: streamer(cycle=True, **limit),
}


@pytest.fixture(params=STARTS)
def start(request):
    """Return each of the ways to start a run."""
    return STARTS[request.param]


@pytest.fixture
def recorder():
    """Return what the sources of a test report to; none of them may be left open."""
    recorder = Recorder()
    yield recorder
    assert not recorder.n_open


# What can be streamed.

ACCEPTED = {
    "list": (lambda: Streamer([1, 2, 3]), [1, 2, 3]),
    "empty list": (lambda: Streamer([]), []),
    "tuple": (lambda: Streamer((1, 2)), [1, 2]),
    "dict": (lambda: Streamer({"a": 1, "b": 2}), ["a", "b"]),
    "ndarray": (lambda: Streamer(np.arange(3)), [0, 1, 2]),
    "array of the standard library": (lambda: Streamer(array.array("i", [4, 5])), [4, 5]),
    "range": (lambda: Streamer(range(2, 5)), [2, 3, 4]),
    "str": (lambda: Streamer("abc"), ["a", "b", "c"]),
    "streamer": (lambda: Streamer(Streamer([1, 2])), [1, 2]),
    "streamer in streamers": (lambda: Streamer(Streamer(Streamer(numbers, 0, 3))), [0, 1, 2]),
    "iterable object": (lambda: Streamer(Countdown(3)), [3, 2, 1]),
    "__getitem__ and __len__": (lambda: Streamer(OldSequence(7, 8)), [7, 8]),
    "generator function": (lambda: Streamer(numbers, 5, 2), [5, 6]),
    "keywords": (lambda: Streamer(numbers, n_items=2, first=5), [5, 6]),
    "no arguments": (lambda: Streamer(nothing), []),
    "local generator function": (lambda: Streamer(lambda: (yield 9)), [9]),
    "partial": (lambda: Streamer(functools.partial(numbers, 5), 2), [5, 6]),
    "partial of partial": (
        lambda: Streamer(functools.partial(functools.partial(numbers, 5), n_items=2)),
        [5, 6],
    ),
    "bound method": (lambda: Streamer(Counter(4).method, 2), [4, 5]),
    "class method": (lambda: Streamer(Counter.class_method, 2), [1, 2]),
    "static method": (lambda: Streamer(Counter.static_method, 2), [1, 2]),
    "callable object": (lambda: Streamer(Counter(4), 2), [4, 5]),
    "partial of callable object": (lambda: Streamer(functools.partial(Counter(4), 2)), [4, 5]),
    "decorated": (lambda: Streamer(wrapped, 5, 2), [5, 6]),
    "decorated twice": (lambda: Streamer(plain_wrapper(wrapped), 5, n_items=2), [5, 6]),
    "partial of decorated": (lambda: Streamer(functools.partial(wrapped, 5), 2), [5, 6]),
    "decorated method": (lambda: Streamer(plain_wrapper(Counter(4).method), 2), [4, 5]),
    "class of iterables": (lambda: Streamer(range, 3), [0, 1, 2]),
    "class of iterables, keywords": (lambda: Streamer(Countdown, 5, stop=3), [5, 4]),
    "class of sequences": (lambda: Streamer(OldSequence, 7, 8), [7, 8]),
    "class of iterators": (lambda: Streamer(zip, [1, 2], "ab"), [(1, "a"), (2, "b")]),
    "class of muxes": (lambda: Streamer(pescador.ChainMux, ["ab", "c"]), ["a", "b", "c"]),
    "streamable": (lambda: Streamer(streamed, 3), [3, 4, 5]),
    "streamable, keywords": (lambda: Streamer(streamed, 3, n_items=2, step=5), [3, 8]),
    "what streamable makes": (lambda: Streamer(streamed(3, 2)), [3, 4]),
    "partial of streamable": (lambda: Streamer(functools.partial(streamed, 3), 2), [3, 4]),
    "streamable method": (lambda: Streamer(Counter(4).streamable_method, 2), [4, 5]),
    "map": (
        lambda: Streamer(pescador.tuples, Streamer(records, 5, 2), "x"),
        [(5,), (6,)],
    ),
}


@pytest.mark.parametrize("make, expected", ACCEPTED.values(), ids=ACCEPTED)
def test_every_accepted_kind_gives_its_items_at_every_start(make, expected):
    streamer = make()
    assert list(streamer) == expected
    assert list(streamer.iterate()) == expected
    assert list(streamer.cycle(2 * len(expected))) == 2 * expected


@pytest.mark.parametrize("make, expected", ACCEPTED.values(), ids=ACCEPTED)
def test_every_accepted_kind_can_be_wrapped_and_mixed(make, expected):
    assert list(Streamer(make())) == expected
    assert list(pescador.ChainMux([make(), make()])) == 2 * expected


def returns_number():
    """Return what cannot be streamed; it must not even be called."""
    raise AssertionError("called")


async def asynchronous():
    """Make an asynchronous generator."""
    yield 1


async def coroutine():
    """Make a coroutine."""


class NotIterable:
    """Switches iteration off."""

    __iter__ = None

    def __getitem__(self, index):
        return index

    def method(self):
        return [1]


REJECTED = {
    "number": 3,
    "float": 2.5,
    "None": None,
    "bool": True,
    "object": object(),
    "0-d array": np.array(3),
    "numpy scalar": np.float32(3),
    "lambda": lambda: 3,
    "lambda that returns an iterator": lambda: iter([1]),
    "plain function": returns_number,
    "builtin function": len,
    "partial of plain function": functools.partial(returns_number),
    "decorated plain function": plain_wrapper(returns_number),
    "bound method that is no generator": NotIterable().method,
    "object without iteration": NotIterable(),
    "class without iteration": NotIterable,
    "class of numbers": int,
    "callable object that is no generator": functools.lru_cache(returns_number),
    "asynchronous generator function": asynchronous,
    "coroutine function": coroutine,
}


@pytest.mark.parametrize("given", REJECTED.values(), ids=REJECTED)
def test_what_cannot_be_streamed_is_refused_at_construction(given):
    with pytest.raises(PescadorError) as caught:
        Streamer(given)
    message = str(caught.value)
    assert message.startswith("streamer=")
    for accepted in ("iterable", "generator function", "partial", "class whose instances"):
        assert accepted in message


@pytest.mark.parametrize(
    "given, shown", [(3, "3"), (None, "None"), (returns_number, "returns_number"), (2.5, "2.5")]
)
def test_the_refusal_names_what_was_given(given, shown):
    with pytest.raises(PescadorError, match=f"streamer=.*{shown}.*:"):
        Streamer(given)


@pytest.mark.parametrize("given", [[1, 2], "abc", OldSequence(1), np.arange(3), iter([1])])
def test_arguments_for_what_cannot_be_called_are_refused(given):
    with pytest.raises(PescadorError, match="called"):
        Streamer(given, 1)


@pytest.mark.parametrize(
    "given, args, kwargs",
    [
        (numbers, (), {}),
        (numbers, (1,), {}),
        (numbers, (1, 2, 3), {}),
        (numbers, (1,), {"n": 2}),
        (wrapped, (1,), {}),
        (streamed, (), {}),
        (Counter(), (), {}),
        (Countdown, (), {"begin": 1}),
        (functools.partial(numbers, 1), (2, 3), {}),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_construction(given, args, kwargs):
    with pytest.raises(PescadorError, match="argument"):
        Streamer(given, *args, **kwargs)


def test_a_function_behind_a_wrapper_that_returns_no_iterable_is_named():
    def lying():
        return 3

    lying.__wrapped__ = nothing
    with pytest.raises(PescadorError, match=r"result=3.*not iterable"):
        list(Streamer(lying))


def test_a_failing_repr_does_not_hide_the_refusal():
    class Shy:
        def __repr__(self):
            raise RuntimeError("no repr")

    with pytest.raises(PescadorError, match="Shy"):
        Streamer(Shy())


# Attributes.


def test_a_streamer_shows_what_it_was_given():
    values = [1]
    streamer = Streamer(numbers, values, n_items=3)
    assert streamer.streamer is numbers
    assert streamer.args == (values,) and streamer.args[0] is values
    assert streamer.kwargs == {"n_items": 3}


def test_a_new_streamer_has_no_runs():
    streamer = Streamer([1])
    assert (streamer.active, streamer.active_count_, streamer.stream_) == (0, 0, None)
    assert streamer.is_activated_copy is False


@pytest.mark.parametrize("name", ["active", "is_activated_copy"])
def test_what_follows_from_the_runs_cannot_be_set(name):
    with pytest.raises(AttributeError):
        setattr(Streamer([1]), name, 1)


def test_a_streamer_takes_attributes_of_the_users():
    streamer = Streamer([1])
    streamer.note = "validation"
    assert copy.copy(streamer).note == pickle.loads(pickle.dumps(streamer)).note == "validation"


def test_a_streamer_is_a_recipe_and_not_an_iterator():
    streamer = Streamer([1, 2])
    assert not isinstance(streamer, Iterator)
    with pytest.raises(TypeError):
        next(streamer)
    assert next(iter(streamer)) == next(iter(streamer)) == 1


# Arguments are handed over as they are.

OBJECTS = {
    "list": lambda: [1, 2],
    "array": lambda: np.zeros(3),
    "read-only array": lambda: np.broadcast_to(1.0, (2,)),
    "object that refuses copies": Uncopyable,
    "generator object": lambda: numbers(0, 3),
    "lock": threading.Lock,
    "text file": lambda: io.StringIO("text"),
    "RandomState": lambda: np.random.RandomState(0),
    "function": lambda: returns_number,
    "list of streamers": lambda: [Streamer([1])],
}


@pytest.mark.parametrize("make", OBJECTS.values(), ids=OBJECTS)
def test_arguments_reach_the_function_as_the_same_objects(make, start):
    given, named = make(), make()
    ((args, kwargs),) = start(Streamer(handed, given, name=named), max_iter=1)
    assert args[0] is given
    assert kwargs["name"] is named


@pytest.mark.parametrize("make", OBJECTS.values(), ids=OBJECTS)
def test_arguments_stay_the_same_objects_at_any_depth(make):
    given = make()
    nested = pescador.ChainMux([Streamer(Streamer(handed, given)), Streamer(handed, given)])
    with nested as active:
        found = [args[0] for args, _ in active.stream_]
    assert len(found) == 2
    assert all(each is given for each in found)


def test_no_argument_is_copied_however_many_streamers_there_are():
    """A pool of streamers over large arrays costs no more to start than a single one."""
    streamers = [Streamer(handed, Uncopyable()) for _ in range(100)]
    muxes = [pescador.StochasticMux(streamers, 3, 2), pescador.ShuffledMux(streamers)]
    nested = pescador.RoundRobinMux([*muxes, pescador.ChainMux(streamers)])
    assert len(list(nested.iterate(max_iter=300))) == 300


def test_a_streamer_among_the_arguments_is_counted_and_not_changed():
    inner = Streamer(records, 0, 4)
    outer = Streamer(pescador.tuples, inner, "x")
    stream = outer.iterate()
    assert next(stream) == (0,)
    assert (outer.active, inner.active) == (1, 1)
    stream.close()
    assert (outer.active, inner.active) == (0, 0)
    assert outer.args[0] is inner


def test_a_streamer_among_the_arguments_hands_its_own_on():
    given = Uncopyable()
    outer = Streamer(each_of, Streamer(handed, given))
    ((args, _),) = outer
    assert args[0] is given


# Runs are independent.


def test_every_run_starts_afresh(start):
    counter = Counter()
    streamer = Streamer(counter.method, 3)
    assert [list(start(streamer, max_iter=2)) for _ in range(3)] == [[1, 2]] * 3
    assert counter.n_started == 3


def test_what_a_method_changes_in_its_object_stays_changed():
    counter = Counter()
    list(Streamer(counter.method, 2))
    assert counter.n_started == 1


def test_iter_is_called_for_every_run():
    class Counted:
        n_started = 0

        def __iter__(self):
            self.n_started += 1
            return iter([self.n_started])

    counted = Counted()
    streamer = Streamer(counted)
    assert list(streamer) + list(streamer) + list(streamer.cycle(2)) == [1, 2, 3, 4]


@pytest.mark.parametrize("make, expected", ACCEPTED.values(), ids=ACCEPTED)
def test_runs_can_be_interleaved(make, expected):
    streamer = make()
    one, other = streamer.iterate(), streamer.iterate()
    pairs = list(itertools.zip_longest(one, other))
    assert pairs == list(zip(expected, expected))


def test_a_random_generator_among_the_arguments_goes_on_from_run_to_run():
    def draws(rng):
        yield from rng.randint(10**9, size=3).tolist()

    streamer = Streamer(draws, np.random.RandomState(0))
    both = [*streamer, *streamer]
    assert both == np.random.RandomState(0).randint(10**9, size=6).tolist()


def test_a_run_does_not_change_the_streamer():
    streamer = Streamer(numbers, 0, 5)
    before = pickle.dumps(streamer)
    list(streamer.cycle(7))
    with streamer as active:
        next(active.stream_)
    assert pickle.dumps(streamer) == before


def test_runs_of_a_mux_among_the_arguments_do_not_repeat():
    """Neither do the passes of a cycle of it, and one seed above decides them all."""

    def three_epochs(mux):
        yield tuple(mux.cycle(40))
        yield tuple(mux)

    mux = pescador.StochasticMux([[each] for each in range(20)], 5, None, mode="exhaustive")
    root = pescador.ChainMux([Streamer(three_epochs, mux)], random_state=0)
    cycle, last = root
    epochs = [cycle[:20], cycle[20:], last]
    assert len(set(epochs)) == 3
    assert [sorted(epoch) for epoch in epochs] == [list(range(20))] * 3
    assert list(root) == [cycle, last]


# Iterators that can be read once.


class Ticking:
    """An iterator that is no generator."""

    def __init__(self, n_items):
        self.left = n_items

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        self.left -= 1
        return self.left


ONE_SHOTS = {
    "generator": (lambda: numbers(0, 3), [0, 1, 2]),
    "generator expression": (lambda: (each for each in "ab"), ["a", "b"]),
    "iterator of a list": (lambda: iter([1, 2]), [1, 2]),
    "builtin iterator": (lambda: map(str, range(3)), ["0", "1", "2"]),
    "text file": (lambda: io.StringIO("a\nb\n"), ["a\n", "b\n"]),
    "iterator object": (lambda: Ticking(2), [1, 0]),
    "stream": (lambda: Streamer(numbers, 0, 3).iterate(), [0, 1, 2]),
    "map": (lambda: pescador.tuples(records(0, 2), "x"), [(0,), (1,)]),
}


@pytest.fixture(params=ONE_SHOTS)
def one_shot(request):
    """Return an iterator that can be read once, and its items."""
    make, expected = ONE_SHOTS[request.param]
    return make(), expected


def refused(function, *args):
    """Call what starts a one-shot iterator again."""
    with pytest.raises(PescadorError, match=r"once.*; give the generator function"):
        function(*args)


def test_a_one_shot_iterator_gives_its_pass_and_then_a_remedy(one_shot):
    iterator, expected = one_shot
    streamer = Streamer(iterator)
    assert list(streamer) == expected
    refused(list, streamer)
    refused(next, streamer.iterate())
    refused(next, streamer.cycle())
    refused(streamer.__enter__)
    assert streamer.active == 0


def test_a_copy_of_a_streamer_over_a_one_shot_iterator_knows_that_it_was_read(one_shot):
    iterator, expected = one_shot
    streamer = Streamer(iterator)
    other = copy.copy(streamer)
    assert list(other) == expected
    refused(list, streamer)
    refused(list, other)
    refused(list, copy.copy(streamer))


def test_a_second_streamer_over_a_generator_that_was_read_gives_a_remedy():
    generator = numbers(0, 3)
    assert list(Streamer(generator)) == [0, 1, 2]
    refused(list, Streamer(generator))


@pytest.mark.parametrize("kind", ["stream", "map"])
def test_a_second_streamer_over_a_stream_that_was_read_gives_a_remedy(kind):
    """The library's own iterators know that they are over: no pass is silently empty."""
    iterator = ONE_SHOTS[kind][0]()
    assert list(Streamer(iterator))
    refused(list, Streamer(iterator))


def test_a_one_shot_iterator_that_was_partly_read_is_not_started_again(one_shot):
    streamer = Streamer(one_shot[0])
    next(streamer.iterate())
    refused(list, streamer)


def test_cycling_over_a_one_shot_iterator_gives_its_pass_and_then_a_remedy(one_shot):
    iterator, expected = one_shot
    stream = Streamer(iterator).cycle()
    assert [next(stream) for _ in expected] == expected
    refused(next, stream)


def test_cycling_is_no_error_while_the_one_pass_lasts(one_shot):
    iterator, expected = one_shot
    assert list(Streamer(iterator).cycle(len(expected))) == expected


def test_a_mux_does_not_start_a_one_shot_iterator_again(one_shot):
    iterator, expected = one_shot
    mux = pescador.ChainMux([iterator], mode="cycle").iterate()
    assert [next(mux) for _ in expected] == expected
    refused(next, mux)


def test_batches_can_be_streamed_in_a_for_loop():
    source = Streamer(records, 0, 10)
    batches = [batch["x"] for batch in Streamer(pescador.buffer_stream(source, 4))]
    assert np.concatenate(batches).tolist() == list(range(8))
    assert source.active == 0


def test_a_file_is_read_once_and_left_open(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("a\nb\nc\n", encoding="utf-8")
    with path.open(encoding="utf-8") as file:
        streamer = Streamer(file)
        assert list(streamer.iterate(2)) == ["a\n", "b\n"]
        assert not file.closed
        refused(list, streamer)


@pytest.mark.parametrize("wrap", [Streamer, lambda each: pescador.ChainMux([each])])
def test_a_generator_is_closed_with_its_stream(wrap, recorder):
    generator = recorder.source()
    stream = wrap(generator).iterate()
    next(stream)
    stream.close()
    assert recorder.n_closed == 1
    assert next(generator, None) is None


# Limits.


@pytest.mark.parametrize("n_items", [0, 1, 2, 7, 7.0, np.int16(7), np.float32(7), np.array(7)])
def test_exactly_as_many_items_are_pulled_as_are_asked_for(n_items, start, recorder):
    streamer = Streamer(recorder.source)
    assert len(list(start(streamer, max_iter=n_items))) == n_items
    assert recorder.n_pulled == n_items


@pytest.mark.parametrize("n_items", [0, 1, 5])
def test_exactly_as_many_are_pulled_through_any_depth(n_items, start, recorder):
    streamer = Streamer(Streamer(pescador.tuples, Streamer(recorder.source), "x"))
    assert len(list(start(streamer, max_iter=n_items))) == n_items
    assert recorder.n_pulled == n_items


def test_nothing_is_opened_for_no_items(start, recorder):
    assert list(start(Streamer(recorder.source), max_iter=0)) == []
    assert recorder.n_started == 0


def test_nothing_is_opened_before_the_first_item(start, recorder):
    streamer = Streamer(recorder.source)
    stream = start(streamer)
    assert (recorder.n_started, streamer.active) == (0, 0)
    next(stream)
    assert (recorder.n_started, recorder.n_pulled, streamer.active) == (1, 1, 1)
    stream.close()


def test_a_limit_may_be_an_integral_float(start):
    assert len(list(start(Streamer(range(1000)), max_iter=1e2))) == 100


def test_no_limit_is_none(start):
    assert first_items(start(Streamer(range(30)), max_iter=None), 30) == list(range(30))


def test_a_limit_may_be_given_by_position(start):
    assert list(Streamer("abc").iterate(2)) == list(Streamer("abc").generate(2)) == ["a", "b"]
    assert list(Streamer("abc").cycle(4)) == list(Streamer("abc")(4, True)) == list("abca")


def test_a_limit_larger_than_the_source_changes_nothing():
    assert list(Streamer("abc").iterate(10**20)) == list("abc")


@pytest.mark.parametrize("limit", [float("inf"), np.float32("inf")])
def test_an_infinite_limit_is_none(limit, start):
    assert "".join(itertools.islice(start(Streamer("abc"), max_iter=limit), 3)) == "abc"
    assert start(Streamer("abc"), max_iter=limit).max_iter is None
    state = Streamer("abc").iterate(2).state_dict()
    assert Streamer("abc").resume(state, limit).max_iter is None


BAD_LIMITS = [-1, -1.0, 2.5, float("nan"), -float("inf"), "3", True, np.True_, [3], 1j]


@pytest.mark.parametrize("limit", BAD_LIMITS, ids=repr)
def test_a_bad_limit_is_refused_at_once_and_shown(limit, start, recorder):
    with pytest.raises(PescadorError) as caught:
        start(Streamer(recorder.source), max_iter=limit)
    assert str(caught.value).startswith(f"max_iter={limit!r}: must be a whole number >= 0; ")


@pytest.mark.parametrize("name", ["max_items", "max_batches"])
def test_the_older_names_of_the_limit_work_with_a_warning(name, start):
    with pytest.warns(DeprecationWarning, match=f"{name}.*max_iter") as caught:
        stream = start(Streamer("abc"), **{name: 2})
    assert list(stream) == ["a", "b"]
    assert len(caught) == 1


@pytest.mark.parametrize("name", ["max_items", "max_batches"])
def test_the_warning_points_at_the_line_that_uses_the_older_name(name, start):
    """Python shows a DeprecationWarning by default only where it points at the user's code."""
    with pytest.warns(DeprecationWarning) as caught:
        start(Streamer("abc"), **{name: 2})
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["max_items", "max_batches"])
def test_a_bad_limit_is_refused_under_its_older_name_too(name, start):
    with pytest.warns(DeprecationWarning), pytest.raises(PescadorError, match="=-1: must be"):
        start(Streamer("abc"), **{name: -1})


def test_a_limit_is_given_once(start):
    with pytest.raises(PescadorError, match="max_items=3"):
        start(Streamer("abc"), max_iter=2, max_items=3)


def test_an_unknown_keyword_is_a_type_error(start):
    with pytest.raises(TypeError, match="max_steps"):
        start(Streamer("abc"), max_steps=2)


@pytest.mark.parametrize("value", ["yes", None, 2, [True]])
def test_whether_to_cycle_is_true_or_false(value):
    with pytest.raises(PescadorError, match=r"cycle=.*True or False"):
        Streamer("abc")(cycle=value)


# Cycles.

EMPTY = {
    "list": lambda: Streamer([]),
    "generator function": lambda: Streamer(nothing),
    "streamer": lambda: Streamer(Streamer([])),
    "mux": lambda: pescador.RoundRobinMux([[], Streamer(nothing)]),
    "map": lambda: Streamer(pescador.buffer_stream, Streamer(records, 0, 0), 4),
}


@pytest.mark.parametrize("limit", [None, 0, 5])
@pytest.mark.parametrize("make", EMPTY.values(), ids=EMPTY)
def test_cycling_over_nothing_ends(make, limit):
    assert within(TIMEOUT, lambda: list(make().cycle(limit))) == []


def test_a_pass_that_gives_nothing_ends_a_cycle():
    """However many passes there were before it."""
    passes = []

    def shrinking():
        passes.append(3 - len(passes))
        yield from range(passes[-1])

    assert within(TIMEOUT, lambda: list(Streamer(shrinking).cycle())) == [0, 1, 2, 0, 1, 0]
    assert passes == [3, 2, 1, 0]


def test_a_cycle_has_no_end_of_its_own():
    stream = Streamer("abc").cycle()
    assert list(itertools.islice(stream, 1000)) == list("abc") * 333 + ["a"]


def test_a_cycle_closes_each_pass_before_the_next(recorder):
    open_at_start = []

    def source():
        open_at_start.append(recorder.n_open)
        yield from recorder.source(n_items=2)

    assert len(list(Streamer(source).cycle(9))) == 9
    assert open_at_start == [0] * 5


def test_a_cycle_is_one_run():
    streamer = Streamer("ab")
    stream = streamer.cycle()
    assert {(next(stream), streamer.active) for _ in range(10)} == {("a", 1), ("b", 1)}


def test_an_unlimited_run_is_not_restarted():
    stream = Streamer("ab").iterate()
    assert list(stream) == ["a", "b"]
    assert list(stream) == []


# Streams.


def test_a_stream_is_a_public_kind_of_iterator(start):
    stream = start(Streamer("abc"))
    assert isinstance(stream, Stream) and isinstance(stream, Iterator)
    assert pescador.Stream is Stream
    assert isinstance(iter(Streamer("abc")), Stream)


def test_reading_goes_on_where_it_was_left():
    stream = Streamer(range(6)).iterate()
    assert next(stream) == 0
    assert list(itertools.islice(stream, 2)) == [1, 2]
    for item in stream:
        assert item == 3
        break
    assert next(iter(stream)) == 4
    assert list(stream) == [5]
    assert next(stream, "over") == "over"


def test_a_with_block_gives_the_stream_and_closes_it(recorder):
    stream = Streamer(recorder.source).iterate()
    with stream as same:
        assert same is stream
        next(stream)
        assert recorder.n_open == 1
    assert recorder.n_open == 0
    assert next(stream, "over") == "over"


def test_a_closed_stream_is_over_and_can_be_closed_again(start, recorder):
    stream = start(Streamer(recorder.source))
    next(stream)
    assert stream.close() is None
    assert stream.close() is None
    assert recorder.n_closed == 1
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(stream)
    assert list(stream) == []


def test_a_stream_that_was_closed_before_its_start_opens_nothing(start, recorder):
    stream = start(Streamer(recorder.source))
    stream.close()
    assert list(stream) == []
    assert recorder.n_started == 0


def test_a_stream_stays_over(start):
    stream = start(Streamer("ab"), max_iter=2)
    assert list(stream) == ["a", "b"]
    assert [next(stream, None) for _ in range(3)] == [None] * 3


@pytest.mark.parametrize("items", [[None, 0, False], [StopIteration, StopIteration(), ...]])
def test_any_object_is_an_item(items, start):
    assert list(start(Streamer(items), max_iter=3)) == items


# The count of open runs.


def test_a_run_counts_until_it_is_exhausted(start):
    streamer = Streamer("ab")
    stream = start(streamer, max_iter=2)
    counts = [streamer.active]
    for _ in stream:
        counts.append(streamer.active)
    assert [*counts, streamer.active] == [0, 1, 1, 0]


def test_a_run_counts_until_it_is_closed(start):
    streamer = Streamer("ab")
    streams = [start(streamer) for _ in range(3)]
    counts = [streamer.active]
    for stream in streams:
        next(stream)
        counts.append(streamer.active)
    for stream in streams:
        stream.close()
        stream.close()
        counts.append(streamer.active)
    assert counts == [0, 1, 2, 3, 2, 1, 0]


def test_a_run_counts_until_it_is_deleted(start):
    streamer = Streamer("ab")
    stream = start(streamer)
    next(stream)
    assert streamer.active == 1
    del stream
    assert streamer.active == 0


def test_a_run_counts_until_a_loop_is_left(start):
    streamer = Streamer("ab")
    for _ in start(streamer):
        assert streamer.active == 1
        break
    assert streamer.active == 0


def test_a_run_counts_until_its_source_fails(start, recorder):
    streamer = Streamer(recorder.source, fails_after=1)
    stream = start(streamer)
    next(stream)
    assert streamer.active == 1
    with pytest.raises(KeyError, match="the source failed"):
        next(stream)
    assert streamer.active == 0


@pytest.mark.parametrize("nest", ["one", "streamers", "muxes"])
def test_a_run_that_cannot_start_does_not_count(start, nest):
    class Failing:
        def __iter__(self):
            raise OSError("no such file")

    streamer = Streamer(Failing())
    nested = NESTED[nest](streamer)
    with pytest.raises(OSError, match="no such file"):
        next(start(nested))
    assert (streamer.active, streamer.active_count_) == (0, 0)
    assert (nested.active, nested.active_count_) == (0, 0)


def test_inner_streamers_count_their_runs_too():
    inner = Streamer("ab")
    middle = Streamer(inner)
    outer = pescador.RoundRobinMux([middle, inner, inner])
    stream = outer.iterate()
    next(stream)
    assert (outer.active, middle.active, inner.active) == (1, 1, 3)
    stream.close()
    assert (outer.active, middle.active, inner.active) == (0, 0, 0)


def test_runs_in_several_threads_are_all_counted():
    streamer = Streamer(range(3))
    counts = []

    def work():
        for _ in range(200):
            with streamer.iterate() as stream:
                next(stream)
                counts.append(streamer.active)

    assert run_together(*[work] * 4) == []
    assert streamer.active == 0
    assert set(counts) <= {1, 2, 3, 4}


# Activated copies.


def test_a_with_block_gives_an_activated_copy(recorder):
    streamer = Streamer(recorder.source)
    with streamer as active:
        assert active is not streamer and type(active) is Streamer
        assert active.is_activated_copy and not streamer.is_activated_copy
        assert isinstance(active.stream_, Stream) and streamer.stream_ is None
        assert first_items(active.stream_, 3) == [{"x": 0}, {"x": 1}, {"x": 2}]
    assert recorder.n_closed == 1


def test_an_activated_copy_counts_for_the_streamer_it_came_from():
    streamer = Streamer(range(5))
    with streamer as active:
        next(active.stream_)
        assert (streamer.active, active.active) == (1, 0)
        with active.iterate() as stream:
            next(stream)
            assert (streamer.active, active.active) == (2, 0)
    assert (streamer.active, active.active) == (0, 0)


def test_an_activated_copy_is_open_from_the_start():
    streamer = Streamer(range(5))
    with streamer:
        assert streamer.active == 1
    assert streamer.active == 0


def test_entering_an_activated_copy_returns_itself():
    streamer = Streamer(range(5))
    with streamer as active:
        with active as same:
            assert same is active
            assert streamer.active == 1
        assert next(active.stream_) == 0, "leaving the inner block ends nothing"
    assert next(active.stream_, "over") == "over"


def test_blocks_can_be_nested(recorder):
    streamer = Streamer(recorder.source)
    with streamer as outer:
        next(outer.stream_)
        with streamer as inner:
            assert inner is not outer
            assert next(inner.stream_) == {"x": 0}
            assert (streamer.active, recorder.n_open) == (2, 2)
        assert next(inner.stream_, "over") == "over"
        assert next(outer.stream_) == {"x": 1}
        assert (streamer.active, recorder.n_open) == (1, 1)
    assert (streamer.active, recorder.n_open) == (0, 0)


def test_blocks_in_several_threads_do_not_mix():
    streamer = Streamer(range(3))
    barrier = threading.Barrier(4)

    def work():
        with streamer as active:
            barrier.wait(TIMEOUT)
            assert list(active.stream_) == [0, 1, 2]
            barrier.wait(TIMEOUT)

    assert run_together(*[work] * 4) == []
    assert streamer.active == 0


@pytest.mark.parametrize("leave", [Stream.close, list], ids=["close", "exhaust"])
def test_a_block_may_be_left_in_another_thread_than_it_was_entered_in(leave):
    """That happens to a block inside a source, when threads share its stream."""

    def through_block():
        with inner as active:
            yield from active.stream_

    inner = Streamer(range(5))
    outer = Streamer(through_block)
    stream = outer.iterate()
    assert next(stream) == 0
    assert run_together(functools.partial(leave, stream)) == []
    assert (outer.active, inner.active) == (0, 0)


def test_a_block_that_fails_is_closed(recorder):
    streamer = Streamer(recorder.source)
    with pytest.raises(ZeroDivisionError):
        with streamer as active:
            next(active.stream_)
            1 / 0
    assert (recorder.n_open, streamer.active) == (0, 0)


def test_an_activated_copy_is_of_the_same_class():
    mux = pescador.ShuffledMux(["ab", "cd"], random_state=0)
    with mux as active:
        assert type(active) is pescador.ShuffledMux
        assert len(active.streams_) == len(active.stream_weights_) == 2
    with pytest.raises(AttributeError, match="with mux as"):
        mux.streams_


# Copies and pickles.


def test_a_shallow_copy_shares_everything():
    values = [1, 2]
    streamer = Streamer(handed, values, name=values)
    other = copy.copy(streamer)
    assert other is not streamer
    assert other.streamer is handed
    assert other.args[0] is values and other.kwargs["name"] is values


def test_a_deep_copy_copies():
    values = [1, 2]
    streamer = Streamer(each_of, values)
    other = copy.deepcopy(streamer)
    values.append(3)
    assert (list(streamer), list(other)) == ([1, 2, 3], [1, 2])


def test_a_deep_copy_of_what_was_not_read_is_independent():
    streamer = Streamer(iter([1, 2]))
    other = copy.deepcopy(streamer)
    assert (list(streamer), list(other)) == ([1, 2], [1, 2])


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda streamer: pickle.loads(pickle.dumps(streamer)),
}


@pytest.mark.parametrize("clone", COPIES.values(), ids=COPIES)
def test_copies_have_runs_of_their_own(clone):
    streamer = Streamer(numbers, 0, 3)
    stream = streamer.iterate()
    next(stream)
    other = clone(streamer)
    assert (streamer.active, other.active) == (1, 0)
    assert list(other) == [0, 1, 2]
    assert list(stream) == [1, 2]


@pytest.mark.parametrize("clone", COPIES.values(), ids=COPIES)
def test_a_copy_of_an_activated_copy_is_not_activated(clone):
    with Streamer(numbers, 0, 3) as active:
        other = clone(active)
        assert not other.is_activated_copy and other.stream_ is None
        assert list(other) == [0, 1, 2]
        assert other.active == 0


@pytest.mark.parametrize("clone", COPIES.values(), ids=COPIES)
def test_copies_of_a_subclass_stay_of_it(clone):
    other = clone(Tenfold([1, 2]))
    assert type(other) is Tenfold
    assert list(other) == [10, 20]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_every_newer_pickle_protocol_works(protocol):
    assert list(pickle.loads(pickle.dumps(Streamer(numbers, 1, 2), protocol))) == [1, 2]


PICKLED = {
    "list": (Streamer([1, 2]), [1, 2]),
    "array": (Streamer(np.arange(3)), [0, 1, 2]),
    "generator function": (Streamer(numbers, 5, n_items=2), [5, 6]),
    "partial": (Streamer(functools.partial(numbers, 5), 2), [5, 6]),
    "bound method": (Streamer(Counter(4).method, 2), [4, 5]),
    "callable object": (Streamer(Counter(4), 2), [4, 5]),
    "decorated": (Streamer(wrapped, 5, 2), [5, 6]),
    "class": (Streamer(range, 3), [0, 1, 2]),
    "streamer": (Streamer(Streamer(numbers, 5, 2)), [5, 6]),
    "map": (Streamer(pescador.tuples, Streamer(records, 5, 1), "x"), [(5,)]),
    "streamable": (streamed(3), [3, 4, 5]),
    "streamable, keywords": (streamed(3, step=2, n_items=2), [3, 5]),
    "streamable in a streamer": (Streamer(streamed, 3, 2), [3, 4]),
    "streamable method": (Counter(4).streamable_method(2), [4, 5]),
    "mux of streamables": (pescador.RoundRobinMux([streamed(0, 2), streamed(5, 1)]), [0, 5, 1]),
    "subclass": (Tenfold(numbers, 1, 2), [10, 20]),
    "iterator of a list": (Streamer(iter([1, 2])), [1, 2]),
}


@pytest.mark.parametrize("streamer, expected", PICKLED.values(), ids=PICKLED)
def test_a_pickled_streamer_gives_the_same_items(streamer, expected):
    assert list(pickle.loads(pickle.dumps(streamer))) == expected


@pytest.mark.parametrize("start_method", some(["spawn", "forkserver"]))
def test_streamers_can_be_sent_to_a_process(start_method):
    pickles = {name: pickle.dumps(streamer) for name, (streamer, _) in PICKLED.items()}
    expected = {name: items for name, (_, items) in PICKLED.items()}
    assert read_in_child(start_method, pickles) == expected


def test_a_one_shot_iterator_that_was_read_is_still_so_in_a_pickle():
    streamer = Streamer(iter([1, 2]))
    list(streamer)
    refused(list, pickle.loads(pickle.dumps(streamer)))
    refused(list, copy.deepcopy(streamer))


# Closing reaches the generators underneath.


def _generator_over(streamer):
    for item in streamer:
        _ = item  # not 'yield from', which would pass the closing on
        yield item


def _delegating_to(streamer):
    yield from streamer.iterate()


NESTED = {
    "one": lambda leaf: leaf,
    "streamers": lambda leaf: Streamer(Streamer(Streamer(leaf))),
    "maps": lambda leaf: Streamer(
        pescador.buffer_stream, Streamer(pescador.cache, Streamer(leaf), 2), 2
    ),
    "map object": lambda leaf: Streamer(pescador.buffer_stream(leaf, 2)),
    "loop in a generator function": lambda leaf: Streamer(_generator_over, Streamer(leaf)),
    "delegation in a generator function": lambda leaf: Streamer(_delegating_to, Streamer(leaf)),
    "generator object": lambda leaf: Streamer(_generator_over(leaf)),
    "muxes": lambda leaf: pescador.ShuffledMux(
        [
            pescador.StochasticMux([leaf, Streamer(leaf)], 3, 2, random_state=0),
            pescador.RoundRobinMux([leaf, pescador.ChainMux([leaf])]),
        ],
        random_state=0,
    ),
    "mux in a map in a streamer": lambda leaf: Streamer(
        Streamer(pescador.buffer_stream, pescador.RoundRobinMux([leaf, leaf]), 3)
    ),
}


@pytest.fixture
def no_garbage_collection():
    """Keep the garbage collector from closing what should have been closed at once."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize("leave", WAYS_OUT.values(), ids=WAYS_OUT)
@pytest.mark.parametrize("nest", NESTED.values(), ids=NESTED)
def test_leaving_a_stream_closes_every_generator_at_once(nest, leave, recorder):
    leaf = Streamer(recorder.source)
    streamer = nest(leaf)
    leave(streamer)
    assert recorder.n_started >= 1
    assert recorder.n_open == 0
    assert (streamer.active, leaf.active) == (0, 0)


@pytest.mark.parametrize("nest", NESTED.values(), ids=NESTED)
def test_nothing_is_closed_before_its_time(nest, recorder):
    stream = nest(Streamer(recorder.source)).iterate()
    next(stream)
    assert recorder.n_open == recorder.n_started >= 1
    stream.close()


class Handles:
    """An iterable whose iterators have a ``close()`` of their own."""

    def __init__(self, n_items):
        self.n_items = n_items
        self.made = []

    def __iter__(self):
        self.made.append(Handle(self.n_items))
        return self.made[-1]

    def closed(self):
        """Return whether each of the iterators has been closed."""
        return [handle.is_closed for handle in self.made]


class Handle(Ticking):
    """An iterator that can be closed."""

    is_closed = False

    def close(self):
        self.is_closed = True


@pytest.mark.parametrize("leave", WAYS_OUT.values(), ids=WAYS_OUT)
@pytest.mark.parametrize("nest", ["one", "streamers", "loop in a generator function", "muxes"])
def test_leaving_a_stream_closes_iterators_that_are_no_generators(nest, leave):
    handles = Handles(5)
    leave(NESTED[nest](Streamer(handles)))
    assert handles.made
    assert all(handles.closed())


def test_every_pass_of_a_cycle_closes_its_iterator():
    handles = Handles(2)
    stream = Streamer(handles).cycle()
    assert list(itertools.islice(stream, 5)) == [1, 0, 1, 0, 1]
    assert handles.closed() == [True, True, False]
    stream.close()
    assert handles.closed() == [True] * 3


def test_a_mux_closes_what_it_replaces():
    handles = Handles(9)
    stream = pescador.StochasticMux([handles], 1, rate=2, dist="constant").iterate()
    assert list(itertools.islice(stream, 5)) == [8, 7, 8, 7, 8]
    assert handles.closed() == [True, True, False]
    stream.close()
    assert handles.closed() == [True] * 3


def test_an_error_while_closing_reaches_the_caller():
    def source():
        try:
            yield 1
        finally:
            raise OSError("cannot flush")

    streamer = Streamer(source)
    stream = streamer.iterate()
    next(stream)
    with pytest.raises(OSError, match="cannot flush"):
        stream.close()
    assert streamer.active == 0
    assert next(stream, "over") == "over"


# Errors inside a source.


@pytest.mark.parametrize("nest", NESTED.values(), ids=NESTED)
def test_an_error_in_a_source_arrives_as_itself_and_closes_everything(nest, recorder):
    leaf = Streamer(recorder.source, fails_after=3)
    streamer = nest(leaf)
    stream = streamer.iterate()
    with pytest.raises(KeyError, match="the source failed"):
        list(stream)
    assert recorder.n_open == 0
    assert (streamer.active, leaf.active) == (0, 0)
    assert list(stream) == []


@pytest.mark.parametrize(
    "error",
    [ValueError("generator already executing"), TypeError("t"), PescadorError("p"), OSError(5)],
    ids=repr,
)
@pytest.mark.parametrize("nest", ["one", "streamers", "muxes"])
def test_an_error_is_passed_on_whatever_it_says(error, nest):
    def source():
        yield 1
        raise error

    stream = NESTED[nest](Streamer(source)).iterate()
    with pytest.raises(type(error)) as caught:
        within(TIMEOUT, list, stream)
    assert caught.value is error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interruption_is_passed_on_too(error, recorder):
    def source():
        yield from recorder.source(n_items=1)
        raise error

    streamer = Streamer(source)
    stream = streamer.iterate()
    next(stream)
    with pytest.raises(error):
        next(stream)
    assert streamer.active == 0


@pytest.mark.parametrize("wrap", [lambda streamer: streamer, Streamer], ids=["alone", "nested"])
def test_a_stop_iteration_while_starting_is_no_end(wrap):
    """A source that fails to start must not look like a source without items."""

    class Careless:
        def __init__(self):
            next(iter([]))

        def __iter__(self):
            return iter([1, 2])

    with pytest.raises((RuntimeError, PescadorError)):
        print(next(wrap(Streamer(Careless)).iterate(), "silent end"))


def test_an_error_between_passes_ends_a_cycle():
    class Failing(list):
        n_passes = 0

        def __iter__(self):
            self.n_passes += 1
            if self.n_passes == 3:
                raise OSError("gone")
            return super().__iter__()

    streamer = Streamer(Failing("ab"))
    stream = streamer.cycle()
    assert [next(stream) for _ in range(4)] == list("abab")
    with pytest.raises(OSError, match="gone"):
        next(stream)
    assert (next(stream, "over"), streamer.active) == ("over", 0)


# A loop over a streamer reads a stream by way of something that is quicker.


def test_what_a_loop_over_a_streamer_reads_stands_for_a_stream():
    streamer = Streamer(range(5))
    items = iter(streamer)
    assert isinstance(items, Stream) and isinstance(items, types.GeneratorType)
    assert (next(items), items.n_given, items.max_iter, items.failures) == (0, 1, None, ())
    assert repr(items) == repr(_read(streamer, 1))
    state = items.state_dict()
    assert list(items) == list(streamer.resume(state)) == [1, 2, 3, 4]


def _read(streamer, n_items):
    stream = streamer.iterate()
    for _ in range(n_items):
        next(stream)
    return stream


@pytest.mark.parametrize("leave", ["close", "with", "drop"])
def test_leaving_what_a_loop_reads_closes_the_stream(recorder, leave):
    streamer = Streamer(recorder.source)
    items = iter(streamer)
    next(items)
    assert (recorder.n_open, streamer.active) == (1, 1)
    if leave == "close":
        items.close()
    elif leave == "with":
        with items as same:
            assert same is items
    else:
        del items
    assert (recorder.n_open, streamer.active) == (0, 0)
    if leave != "drop":
        assert next(items, "over") == "over"


def test_an_error_closes_what_a_loop_reads(recorder):
    streamer = Streamer(recorder.source, fails_after=3)
    items = iter(streamer)
    with pytest.raises(KeyError):
        list(items)
    assert (recorder.n_open, streamer.active) == (0, 0)
    assert next(items, "over") == "over"


@pytest.mark.usefixtures("many_switches")
def test_threads_may_loop_over_what_a_loop_reads():
    got = read_together(iter(Streamer(_slow_numbers, N_ITEMS)), [by_for] * 4)
    assert sorted(itertools.chain(*got)) == list(range(N_ITEMS))


# Several threads.

N_ITEMS = 2000


@pytest.fixture
def many_switches():
    """Make threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def _slow_numbers(n_items):
    """Yield numbers, with many points where another thread may take over."""
    for value in range(n_items):
        for _ in range(3):
            str(value)
        yield value


SHARED = {
    "generator function": lambda: Streamer(_slow_numbers, N_ITEMS).iterate(),
    "sequence": lambda: Streamer(range(N_ITEMS)).iterate(),
    "iterator object": lambda: Streamer(Ticking(N_ITEMS)).iterate(),
    "generator object": lambda: Streamer(_slow_numbers(N_ITEMS)).iterate(),
    "nested": lambda: Streamer(Streamer(Streamer(_slow_numbers, N_ITEMS))).iterate(),
    "limit": lambda: Streamer(_slow_numbers, 2 * N_ITEMS).iterate(N_ITEMS),
    "limited sequence": lambda: Streamer(range(2 * N_ITEMS)).iterate(N_ITEMS),
    "mux": lambda: pescador.ShuffledMux(
        [Streamer(range(each, N_ITEMS, 5)) for each in range(5)], random_state=0
    ).iterate(N_ITEMS // 10),
}


def _is_ascending(items):
    return all(one < other for one, other in itertools.pairwise(items))


@pytest.mark.usefixtures("many_switches")
@pytest.mark.parametrize("readers", READERS.values(), ids=READERS)
@pytest.mark.parametrize("kind", ["generator function", "sequence", "generator object", "limit"])
def test_threads_that_share_a_stream_get_each_item_once(kind, readers):
    got = read_together(SHARED[kind](), readers)
    assert sorted(itertools.chain(*got)) == list(range(N_ITEMS))
    assert all(map(_is_ascending, got))


@pytest.mark.usefixtures("many_switches")
@pytest.mark.parametrize("kind", ["iterator object", "nested", "limited sequence"])
def test_threads_may_share_a_stream_of_any_kind(kind):
    got = read_together(SHARED[kind](), READERS["mixed"])
    assert sorted(itertools.chain(*got)) == list(range(N_ITEMS))


@pytest.mark.usefixtures("many_switches")
def test_threads_may_share_a_mux():
    alone = list(SHARED["mux"]())
    got = read_together(SHARED["mux"](), READERS["mixed"])
    assert sorted(itertools.chain(*got)) == sorted(alone)


@pytest.mark.usefixtures("many_switches")
def test_threads_may_share_a_cycle(recorder):
    streamer = Streamer(recorder.source, n_items=7)
    got = read_together(streamer.cycle(N_ITEMS), READERS["mixed"])
    values = sorted(item["x"] for item in itertools.chain(*got))
    assert values == sorted(value % 7 for value in range(N_ITEMS))
    assert (recorder.n_pulled, streamer.active) == (N_ITEMS, 0)


@pytest.mark.usefixtures("many_switches")
@pytest.mark.parametrize("readers", READERS.values(), ids=READERS)
def test_threads_pull_no_more_than_the_limit(recorder, readers):
    streamer = Streamer(recorder.source)
    got = read_together(streamer.iterate(N_ITEMS), readers)
    assert sum(map(len, got)) == recorder.n_pulled == N_ITEMS
    assert (recorder.n_open, streamer.active) == (0, 0)


@pytest.mark.usefixtures("many_switches")
@pytest.mark.parametrize("limit", [1, 2, 3, 50])
def test_threads_that_collide_at_the_limit_pull_no_more(limit):
    pulled = []

    def source():
        for value in _slow_numbers(N_ITEMS):
            pulled.append(value)
            yield value

    for _ in range(N_ITEMS // 10 // limit):
        pulled.clear()
        stream = Streamer(source).iterate(limit)
        got = read_together(stream, READERS["mixed"])
        assert sorted(itertools.chain(*got)) == pulled == list(range(limit))
        assert stream.n_given == limit


def collide(share, reader, limit=None):
    """Let a thread read what ``share`` makes of a stream while another is in its source."""
    entered, go_on = threading.Event(), threading.Event()

    def source():
        entered.set()
        assert go_on.wait(TIMEOUT)
        yield from range(10)

    shared = share(Streamer(source).iterate(limit))
    got = []

    def second():
        assert entered.wait(TIMEOUT)
        threading.Timer(0.01, go_on.set).start()  # most likely while this thread waits
        reader(shared, got)

    assert run_together(functools.partial(reader, shared, got), second) == []
    return sorted(got)


@pytest.mark.parametrize("limit", [None, 1, 7, 10, 11])
@pytest.mark.parametrize("reader", [by_for, by_next], ids=["for", "next"])
def test_a_thread_waits_while_another_is_in_the_source(reader, limit):
    n_items = 10 if limit is None else min(limit, 10)
    assert collide(lambda stream: stream, reader, limit) == list(range(n_items))


def test_every_thread_that_finds_another_in_the_source_waits():
    """The second one's error ends what all of them read; a third one finds only that end."""
    entered, go_on, has_met = threading.Event(), threading.Event(), threading.Event()

    def source():
        entered.set()
        assert go_on.wait(TIMEOUT)
        yield from range(10)

    class Watched(pescador.Stream):
        __slots__ = ()

        def _wait_until_idle(self):
            has_met.set()
            return super()._wait_until_idle()

        def _wait_for_turn(self):
            go_on.set()
            super()._wait_for_turn()

    streamer = Streamer(source)
    stream = Watched(streamer, 4, False, streamer._open_run)
    got = []

    def late():
        assert has_met.wait(TIMEOUT)
        by_next(stream, got)

    def second():
        assert entered.wait(TIMEOUT)
        by_next(stream, got)

    assert run_together(functools.partial(by_next, stream, got), second, late) == []
    assert sorted(got) == [0, 1, 2, 3]
    assert (stream.n_given, streamer.active) == (4, 0)


@pytest.mark.usefixtures("many_switches")
def test_one_thread_gets_the_error_and_the_others_an_end(recorder):
    stream = Streamer(recorder.source, fails_after=500).iterate()
    got = [[] for _ in range(4)]
    errors = run_together(*[functools.partial(by_for, stream, mine) for mine in got])
    assert [type(error) for error in errors] == [KeyError]
    assert sum(map(len, got)) == 500


@pytest.mark.usefixtures("many_switches")
@pytest.mark.parametrize("limit", [None, 10**9])
@pytest.mark.parametrize("reader", [by_for, by_next])
def test_a_stream_may_be_closed_while_others_read_it(reader, limit, recorder):
    streamer = Streamer(recorder.source)
    stream = streamer.iterate(limit)
    started = threading.Event()

    def close():
        assert started.wait(TIMEOUT)
        stream.close()

    class Noting(list):
        def append(self, item):
            super().append(item)
            started.set()

    got = [Noting() for _ in range(3)]
    errors = run_together(close, *[functools.partial(reader, stream, mine) for mine in got])
    assert errors == []
    n_given = sum(map(len, got))
    assert 1 <= n_given <= recorder.n_pulled <= n_given + len(got)  # each may have been at one
    assert (recorder.n_open, streamer.active) == (0, 0)


def test_closing_lets_an_item_in_the_making_be_finished(recorder):
    entered, closing = threading.Event(), threading.Event()

    def source():
        entered.set()
        assert closing.wait(TIMEOUT)
        yield from recorder.source()

    stream = Streamer(source).iterate()
    got = []

    def close():
        assert entered.wait(TIMEOUT)
        closing.set()
        stream.close()

    assert run_together(functools.partial(by_next, stream, got), close) == []
    assert len(got) <= recorder.n_pulled == 1  # it may be made too late to be given
    assert recorder.n_open == 0


def test_a_stream_may_be_closed_in_another_thread(recorder):
    streamer = Streamer(recorder.source)
    stream = streamer.iterate()
    next(stream)
    assert run_together(stream.close) == []
    assert (recorder.n_closed, streamer.active) == (1, 0)
    assert next(stream, "over") == "over"


# A source that uses its own stream.


def _own_next(stream):
    next(stream)


def _own_for(stream):
    for _ in stream:
        break


def _own_list(stream):
    list(stream)


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("use", [_own_next, _own_for, _own_list])
@pytest.mark.parametrize("nest", ["one", "streamers", "maps", "muxes"])
def test_a_source_that_reads_its_own_stream_gets_an_error(nest, use, limit):
    streams, seen = [], []

    def source():
        try:
            use(streams[0])
        except Exception as error:
            seen.append(error)
            raise
        yield {"x": 1}

    streamer = NESTED[nest](Streamer(source))
    streams.append(streamer.iterate(limit))
    with pytest.raises(Exception) as caught:
        within(TIMEOUT, next, streams[0])
    assert caught.value is seen[0]
    assert streamer.active == 0
    assert next(streams[0], "over") == "over"


@pytest.mark.parametrize("limit", [None, 5])
def test_a_class_that_reads_its_own_stream_gets_an_error(limit):
    streams = []

    class Source:
        def __init__(self):
            next(streams[0])

        def __iter__(self):
            return iter([1])

    streams.append(Streamer(Source).iterate(limit))
    with pytest.raises(Exception):
        within(TIMEOUT, next, streams[0])


def test_a_source_that_survives_reading_its_own_stream_is_closed_all_the_same(recorder):
    streams = []

    def source():
        with contextlib.suppress(Exception):
            next(streams[0])
        yield from recorder.source()

    streamer = Streamer(source)
    streams.append(streamer.iterate())
    within(TIMEOUT, next, streams[0])
    streams[0].close()
    assert (recorder.n_open, streamer.active) == (0, 0)


def test_a_source_that_survives_reading_its_own_stream_gives_all_up_to_the_limit():
    streams, errors = [], []

    def source():
        for value in range(9):
            for _ in range(3):
                try:
                    next(streams[0])
                except ValueError as error:
                    errors.append(str(error))
            yield value

    streams.append(Streamer(source).iterate(4))
    assert within(TIMEOUT, list, streams[0]) == [0, 1, 2, 3]
    assert errors == 12 * ["generator already executing"]


def test_a_source_that_closes_its_own_stream_does_not_hang(recorder):
    streams = []

    def source():
        for item in recorder.source():
            yield item
            streams[0].close()

    streamer = Streamer(source)
    streams.append(streamer.iterate())
    with contextlib.suppress(ValueError):
        within(TIMEOUT, list, streams[0])
    assert recorder.n_pulled <= 2
    assert streamer.active == 0
    assert next(streams[0], "over") == "over"


# Subclasses.


def test_a_subclass_may_change_the_items():
    streamer = Tenfold([1, 2])
    assert list(streamer) == [10, 20]
    assert list(streamer.cycle(3)) == [10, 20, 10]
    assert list(Streamer(streamer)) == [10, 20]
    assert list(pescador.RoundRobinMux([streamer, "a"])) == [10, "a", 20]


def test_a_run_of_a_subclass_counts_once():
    streamer = Tenfold([1, 2])
    for outer in (streamer, Streamer(streamer), pescador.ChainMux([streamer])):
        stream = outer.iterate()
        next(stream)
        assert streamer.active == 1
        stream.close()
        assert streamer.active == 0


def test_a_subclass_may_have_a_constructor_of_its_own():
    class Squares(Streamer):
        def __init__(self, n_items):
            super().__init__(self.squares)
            self.n_items = n_items

        def squares(self):
            yield from (value**2 for value in range(self.n_items))

    assert list(Squares(4)) == [0, 1, 4, 9]


# streamable.


def test_a_streamable_function_makes_streamers():
    streamer = streamed(3)
    assert type(streamer) is Streamer
    assert list(streamer) == list(streamer) == [3, 4, 5]
    assert list(streamed(0, step=2, n_items=2)) == [0, 2]


def test_a_streamable_function_is_not_started_by_the_call():
    started = []

    @streamable
    def source():
        started.append(True)
        yield 1

    streamer = source()
    assert not started
    assert list(streamer) == [1] and started == [True]


def test_a_streamable_function_keeps_its_looks():
    assert streamed.__name__ == streamed.__qualname__ == "streamed"
    assert streamed.__doc__ == "Count up, in steps."
    assert streamed.__module__ == numbers.__module__
    assert str(inspect.signature(streamed)) == "(first, n_items=3, *, step=1)"


def test_a_streamable_function_checks_its_arguments():
    with pytest.raises(TypeError, match="first"):
        streamed()
    with pytest.raises(TypeError, match="colour"):
        streamed(1, colour=2)


def test_arguments_of_a_streamable_function_are_the_same_objects():
    given = Uncopyable()

    @streamable
    def source(value, *more, name=None):
        yield value, more[0], name

    ((one, two, three),) = source(given, given, name=given)
    assert one is two is three is given


def test_a_streamable_method_makes_streamers():
    counter = Counter(4)
    assert list(counter.streamable_method(2)) == [4, 5]
    assert counter.n_started == 1


def test_the_name_of_a_streamable_function_can_be_pickled():
    assert pickle.loads(pickle.dumps(streamed)) is streamed


@pytest.mark.parametrize("given", [returns_number, len, 3, None, [1], Counter, lambda: [1]])
def test_only_generator_functions_are_streamable(given):
    with pytest.raises(PescadorError, match=r"function=.*generator function.*yield"):
        streamable(given)


# repr.


@pytest.mark.parametrize(
    "streamer, expected",
    [
        (Streamer(numbers, 1, n_items=2), "Streamer(numbers, 1, n_items=2)"),
        (Streamer([1, 2]), "Streamer([1, 2])"),
        (Streamer(range, 3), "Streamer(range, 3)"),
        (Streamer(Streamer("ab")), "Streamer(Streamer('ab'))"),
        (streamed(1), "Streamer(streamed, 1, 3, step=1)"),
        (Tenfold("ab"), "Tenfold('ab')"),
    ],
    ids=repr,
)
def test_the_repr_of_a_streamer_shows_what_it_was_given(streamer, expected):
    assert repr(streamer) == expected


@pytest.mark.parametrize(
    "given", [list(range(10**5)), np.zeros((1000, 1000)), "x" * 10**6, {"key": "y" * 10**5}]
)
def test_a_repr_is_short(given):
    for streamer in (Streamer(given), Streamer(handed, given, name=given)):
        assert len(repr(streamer)) < 300
        assert repr(streamer).count("\n") < 4


def test_a_repr_starts_nothing(recorder):
    streamer = Streamer(recorder.source)
    stream = streamer.iterate()
    assert "Recorder.source" in repr(streamer)
    assert repr(streamer) in repr(stream)
    assert recorder.n_started == 0


def test_the_repr_of_a_stream_tells_how_far_it_is():
    stream = Streamer("abc").cycle()
    texts = [repr(stream)]
    for _ in range(4):
        next(stream)
        texts.append(repr(stream))
    assert [str(number) in text for number, text in enumerate(texts)] == [True] * 5
    assert len(set(texts)) == 5


def test_no_warning_is_given_in_normal_use():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Streamer(streamed(3)) as active:
            list(active.stream_)
    assert caught == []


# At the prompt.

OPEN = {
    "a stream": lambda: Streamer("ab").iterate(),
    "a map": lambda: pescador.buffer_stream([], 2),
}


@pytest.mark.parametrize("make", OPEN.values(), ids=OPEN)
def test_what_is_listed_of_an_open_stream_is_what_its_class_has(make):
    stream = make()
    assert dir(stream) == dir(type(stream))
    assert "close" in dir(stream)
    assert not {"send", "throw", "gi_frame", "gi_running"} & {*dir(stream)}
    assert isinstance(stream, types.GeneratorType)  # as Model.fit of Keras asks
    found = rlcompleter.Completer({"stream": stream}).attr_matches("stream.")
    assert {each.rstrip("()") for each in found} == {
        f"stream.{name}" for name in dir(stream) if not name.startswith("_")
    }


@pytest.mark.parametrize("make", OPEN.values(), ids=OPEN)
@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy])
def test_an_open_stream_cannot_leave(make, leave):
    stream = make()
    for kind in (TypeError, PescadorError):
        with pytest.raises(kind, match=r"neither pickled nor copied; .*state_dict"):
            leave(stream)
    stream.close()


def test_a_streamer_is_no_iterator_and_has_no_length():
    for streamer in (Streamer("ab"), pescador.ShuffledMux(["ab"]), pescador.ZMQStreamer("ab")):
        assert not isinstance(streamer, (Iterator, Sized))
        assert not hasattr(streamer, "state_dict")
        assert getattr(streamer, "n_given", 5) == 5


def test_names_that_nobody_has_are_answered_as_usual():
    for value in (Streamer("ab"), pescador.ShuffledMux(["ab"]), Streamer("ab").iterate()):
        with pytest.raises(AttributeError, match=r"object has no attribute 'lenght'$") as caught:
            value.lenght
        assert (caught.value.name, caught.value.obj) == ("lenght", value)


def test_an_error_of_a_property_comes_out_as_it_is():
    class Own(Streamer):
        @property
        def size(self):
            return self.streamer.size

    with pytest.raises(AttributeError, match="'str' object has no attribute 'size'"):
        Own("ab").size
