"""Sources that fail: `on_error`, `max_failures`, notes, the log, and `Stream.failures`."""

import gc
import inspect
import itertools
import logging
import pickle
import weakref

import numpy as np
import pytest
from _cases import some
from _sources import each_of, numbers, within

import pescador
from pescador import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux, Streamer
from pescador._streaming.failures import add_note

SECONDS = 60  # only ever used up by a test that fails


def looped(name, values):
    """Run a test for each value, in one test: looking for leaks takes longer than these."""

    def decorate(test):
        def for_each(**fixtures):
            for value in values:
                if "caplog" in fixtures:
                    fixtures["caplog"].clear()
                test(**fixtures, **{name: value})

        parameters = inspect.signature(test).parameters.values()
        rest = [each for each in parameters if each.name != name]
        for_each.__signature__ = inspect.Signature(rest)
        for_each.__name__, for_each.__doc__ = test.__name__, test.__doc__
        return for_each

    return decorate


class BrokenError(Exception):
    """What the sources here raise."""


# Sources.


class Source:
    """A callable whose activations give items, and fail at a given point in given activations.

    ``point`` is "opening", "closing", or the number of items before the error.
    """

    def __init__(self, first, n_items=4, point=None, n_failing=10**9, error=BrokenError):
        self.first, self.n_items, self.point, self.error = first, n_items, point, error
        self.n_failing = n_failing
        self.n_started = self.n_open = 0

    def __repr__(self):
        return f"<{self.first}>"

    def __call__(self):
        self.n_started += 1
        fails = self.n_started <= self.n_failing
        if fails and self.point == "opening":
            raise self.error(f"at {self.first}")
        return self.items(fails)

    def items(self, fails):
        self.n_open += 1
        try:
            for number in range(self.n_items):
                if fails and number == self.point:
                    raise self.error(f"at {self.first}")
                yield self.first + number
            if fails and self.point == self.n_items:
                raise self.error(f"at {self.first}")
        finally:
            self.n_open -= 1
            if fails and self.point == "closing":
                raise self.error(f"at {self.first}")


class Iterable:
    """An iterable around a source, since starting a generator never fails."""

    def __init__(self, source):
        self.source = source

    def __repr__(self):
        return repr(self.source)

    def __iter__(self):
        return self.source()


def streamers_of(*sources):
    return [Streamer(Iterable(source)) for source in sources]


POINTS = ["opening", 0, 2, 3, 4, "closing"]

FINITE = {
    "stochastic": lambda s, **k: StochasticMux(s, 2, None, mode="exhaustive", **k),
    "stochastic, all open": lambda s, **k: StochasticMux(s, 99, None, mode="exhaustive", **k),
    "stochastic, limited": lambda s, **k: StochasticMux(s, 2, 2, mode="exhaustive", **k),
    "stochastic, weights": lambda s, **k: StochasticMux(
        s, 2, None, range(1, len(s) + 1), "exhaustive", **k
    ),
    "round robin": lambda s, **k: RoundRobinMux(s, **k),
    "chain": lambda s, **k: ChainMux(s, **k),
    "lazy chain": lambda s, **k: ChainMux(Streamer(each_of, s), **k),
}
ENDLESS = {
    "with replacement": lambda s, **k: StochasticMux(s, 2, None, **k),
    "one open": lambda s, **k: StochasticMux(s, 1, None, **k),
    "limited": lambda s, **k: StochasticMux(s, 2, 2, dist="constant", **k),
    "binomial": lambda s, **k: StochasticMux(s, 2, 2, range(1, len(s) + 1), dist="binomial", **k),
    "weights": lambda s, **k: StochasticMux(s, 2, None, range(1, len(s) + 1), **k),
    "single active": lambda s, **k: StochasticMux(s, 2, None, mode="single_active", **k),
    "single active, all": lambda s, **k: StochasticMux(s, 99, 3, mode="single_active", **k),
    "single active, weights": lambda s, **k: StochasticMux(
        s, 3, 3, range(1, len(s) + 1), "single_active", **k
    ),
    "not pruned": lambda s, **k: StochasticMux(
        s, 2, None, mode="single_active", prune_empty_streams=False, **k
    ),
    "shuffled": lambda s, **k: ShuffledMux(s, **k),
    "shuffled, weights": lambda s, **k: ShuffledMux(s, range(1, len(s) + 1), **k),
    "cycle": lambda s, **k: RoundRobinMux(s, "cycle", **k),
    "permuted cycle": lambda s, **k: RoundRobinMux(s, "permuted_cycle", **k),
    "chain cycle": lambda s, **k: ChainMux(s, "cycle", **k),
    "lazy chain cycle": lambda s, **k: ChainMux(Streamer(each_of, s), "cycle", **k),
}
MUXES = {**FINITE, **ENDLESS}

each_mux = pytest.mark.parametrize("make", MUXES.values(), ids=MUXES)
# The tests that take long leave half of them to the full suite.
every_other = pytest.mark.parametrize("make", some(MUXES, 0, list(MUXES)[::2]))
each_finite = pytest.mark.parametrize("make", FINITE.values(), ids=FINITE)
each_endless = pytest.mark.parametrize("make", ENDLESS.values(), ids=ENDLESS)


def mixed(point, **options):
    """Return two healthy sources around two that fail."""
    return [
        Source(0),
        Source(100, point=point, **options),
        Source(200),
        Source(300, point=point, **options),
    ]


def is_reached(mux, point):
    """Tell whether every source is sure to come to the point where it fails."""
    return getattr(mux, "rate", None) is None or point in ("opening", 0, "closing")


def notes_of(error):
    return list(getattr(error, "__notes__", []))


def warnings_of(caplog):
    return [each.getMessage() for each in caplog.records if each.name == "pescador"]


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.WARNING, "pescador")


# on_error="raise".


@each_mux
@looped("point", ["opening", 0, 1])
def test_an_error_comes_out_as_itself_and_says_where_it_comes_from(make, point, caplog):
    sources = mixed(point)
    sources[3] = Source(300)
    streamers = streamers_of(*sources)
    mux = make(streamers, random_state=0)
    items = []
    stream = mux.iterate(1000)
    with pytest.raises(BrokenError) as caught:
        items.extend(stream)
    assert caught.value.args == ("at 100",)
    (note,) = notes_of(caught.value)
    assert "raised by streamers[1] of " in note and "<100>" in note
    assert type(mux).__name__ in note
    n_given = 0 if point == "opening" else point
    assert f"after {n_given} item{'s' * (n_given != 1)} of this activation" in note
    assert f"(item {len(items)} of the run)" in note
    assert ("while it was opened" in note) == (point == "opening")
    assert [source.n_open for source in sources] == [0] * 4
    assert [streamer.active for streamer in streamers] == [0] * 4
    assert stream.failures == ()
    assert warnings_of(caplog) == []


def test_an_error_in_closing_a_stream_says_where_it_comes_from():
    source = Source(0, 100, point="closing")
    mux = StochasticMux(streamers_of(source), 1, 2, dist="constant")
    with pytest.raises(BrokenError) as caught:
        list(mux)
    assert "while it was closed, after 2 items" in notes_of(caught.value)[0]
    stream = StochasticMux(streamers_of(Source(0, 9, point="closing")), 1, None).iterate()
    next(stream)
    with pytest.raises(BrokenError) as caught:
        stream.close()
    assert "raised by streamers[0] of StochasticMux(<1 streamer>, " in notes_of(caught.value)[0]


def test_every_mux_on_the_way_adds_a_note():
    inner = ChainMux(streamers_of(Source(0), Source(10, point=2)))
    middle = RoundRobinMux([[], inner])
    outer = StochasticMux([middle], 1, None)
    items = []
    with pytest.raises(BrokenError) as caught:
        items.extend(outer)
    first, second, third = notes_of(caught.value)
    assert "streamers[1] of ChainMux(<2 streamers>), Streamer(<10>), after 2 items" in first
    assert "streamers[1] of RoundRobinMux(<2 streamers>), ChainMux" in second
    assert "after 6 items of this activation (item 6 of the run)" in second
    assert "streamers[0] of StochasticMux(<1 streamer>, n_active=1, rate=None), Rou" in third


class Frozen(Exception):
    """An error that refuses attributes."""

    __slots__ = ()

    def __setattr__(self, name, value):
        raise AttributeError(name)

    def __str__(self):
        raise ValueError("no text either")


class BadNotes(Exception):
    __notes__ = 5


@pytest.mark.parametrize("error", [Frozen, BadNotes])
@pytest.mark.parametrize("on_error", ["raise", "replace"])
@pytest.mark.parametrize("point", ["opening", 2, "closing"])
def test_an_error_that_refuses_notes_is_raised_all_the_same(error, on_error, point):
    source = Source(0, point=point, error=error)
    mux = StochasticMux(streamers_of(source, source), 1, None, on_error=on_error)
    with pytest.raises(error):
        list(mux.iterate(10**5))


class Old:
    """Stands for an error of Python 3.10, which has no add_note()."""


def test_notes_are_kept_where_python_has_none():
    error = Old()
    add_note(error, "first")
    add_note(error, "second")
    assert error.__notes__ == ["first", "second"]


def stopping():
    if False:
        yield
    next(iter(()))


@each_mux
def test_a_stray_stop_iteration_is_an_error_like_any_other(make):
    with pytest.raises(RuntimeError, match="generator raised StopIteration") as caught:
        list(make([Streamer(stopping)] * 2))
    assert "raised by streamers[" in notes_of(caught.value)[0]
    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        list(make([Streamer(stopping)] * 2, on_error="replace"))


@each_mux
@pytest.mark.parametrize("on_error", ["raise", "replace"])
def test_a_stop_iteration_from_what_opens_a_stream_is_no_end_of_data(make, on_error):
    with pytest.raises((RuntimeError, StopIteration)):
        for _ in make(
            streamers_of(Source(0, point="opening", error=StopIteration)), on_error=on_error
        ):
            raise AssertionError("an item")


def test_an_error_of_what_gives_the_streamers_is_never_swallowed():
    def streamers():
        yield "ab"
        raise BrokenError("no more")

    mux = ChainMux(streamers, "cycle", on_error="replace")
    stream = mux.iterate()
    assert [next(stream), next(stream)] == ["a", "b"]
    with pytest.raises(BrokenError) as caught:
        next(stream)
    assert (
        "the iterable that gives the streamers of ChainMux(<streamers read lazily>"
        in notes_of(caught.value)[0]
    )
    mux = (
        ChainMux(iter, on_error="replace") if False else ChainMux(no_streamers, on_error="replace")
    )
    with pytest.raises(pescador.PescadorError, match=r"streamers\[0\]"):
        list(mux)


def no_streamers():
    yield 5


# Other exceptions.


@each_mux
@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, SystemExit])
@looped("on_error", ["raise", "replace"])
@looped("point", ["opening", 0, 2, "closing"])
def test_what_is_no_exception_is_never_swallowed(make, point, error, on_error, caplog):
    if error is GeneratorExit and point == "closing":
        return  # raised while a generator is closed, that is what closing does
    sources = mixed(point, error=error)
    mux = make(streamers_of(*sources), on_error=on_error, random_state=1)
    if not is_reached(mux, point):
        return
    stream = mux.iterate(1000)
    with pytest.raises(error):
        list(stream)
    assert stream.failures == ()
    assert warnings_of(caplog) == []
    assert [source.n_open for source in sources] == [0] * 4
    assert mux.active == 0


@pytest.mark.parametrize("on_error", ["raise", "replace"])
def test_an_error_in_closing_does_not_hide_an_interrupt_or_the_first_error(on_error, caplog):
    for error in (KeyboardInterrupt, BrokenError):
        sources = Source(0, 9, "closing", error=ValueError), Source(10, 9, 1, error=error)
        mux = RoundRobinMux(streamers_of(*sources))
        caplog.clear()
        with pytest.raises(error):
            list(mux)
        assert ["ValueError: at 0" in each for each in warnings_of(caplog)] == [True]


# on_error="replace".


def expected_of(source):
    """Return what one activation gives before it fails."""
    stop = {"opening": 0, "closing": 4, None: 4}.get(source.point, source.point)
    return list(range(source.first, source.first + stop))


@each_finite
@looped("point", POINTS)
@looped("max_failures", [1, 3])
def test_in_a_pass_every_item_comes_once(make, point, max_failures, caplog):
    sources = mixed(point)
    streamers = streamers_of(*sources)
    mux = make(streamers, on_error="replace", max_failures=max_failures, random_state=0)
    stream = mux.iterate()
    items = list(stream)
    if not is_reached(mux, point) or getattr(mux, "rate", None):
        assert set(items) <= set().union(*map(expected_of, sources))
        assert len(set(items)) == len(items)
    else:
        assert sorted(items) == sorted(itertools.chain(*map(expected_of, sources)))
        assert sorted(each.path for each in stream.failures) == [(1,), (3,)]
        for failure in stream.failures:
            assert failure.count == 1 and failure.is_dropped
            assert failure.error == f"BrokenError: at {failure.path[0]}00"
            assert failure.streamer == f"Streamer(<{failure.path[0]}00>)"
        assert len(warnings_of(caplog)) == 2
    assert [source.n_started for source in sources] == [1] * 4
    assert [source.n_open for source in sources] == [0] * 4
    assert [streamer.active for streamer in streamers] == [0] * 4


@each_endless
@looped("point", POINTS)
@looped("max_failures", [1, 2, 3])
def test_a_source_is_dropped_after_so_many_failures(make, point, max_failures, caplog):
    sources = mixed(point)
    streamers = streamers_of(*sources)
    mux = make(streamers, on_error="replace", max_failures=max_failures, random_state=0)
    stream = mux.iterate(2000)
    items = list(stream)
    assert len(items) == 2000
    if not is_reached(mux, point):
        return
    # (Two streams of one streamer may be open when it is dropped.)
    slack = 1 if getattr(mux, "mode", "") == "with_replacement" and mux.n_active > 1 else 0
    for failure in stream.failures:
        assert failure.is_dropped
        assert max_failures <= failure.count <= max_failures + slack
    assert sorted(each.path for each in stream.failures) == [(1,), (3,)]
    for source in (sources[1], sources[3]):
        assert source.n_started <= max_failures + slack + (point == "closing") * 2000
    assert {item // 100 for item in items[-500:]} == {0, 2}
    messages = warnings_of(caplog)
    for name in ("streamers[1]", "streamers[3]"):
        mine = [each for each in messages if name in each]
        assert len(mine) == min(max_failures, 2)
        assert "BrokenError: at" in mine[0] and type(mux).__name__ in mine[0]
        assert mine[-1].endswith("it is left out")
    assert [source.n_open for source in sources] == [0] * 4
    assert [streamer.active for streamer in streamers] == [0] * 4


@pytest.mark.parametrize("is_monitored", [False, True])
def test_sources_are_dropped_in_the_order_of_their_last_failures(is_monitored):
    """Also while the first streams are opened: what is chosen next depends on that order."""
    failed = []

    class Failing:
        def __init__(self, number):
            if number in (1, 2, 5):
                failed.append(number)
                raise BrokenError(number)

        def __iter__(self):
            return iter(range(5))

    for seed in range(5):
        failed.clear()
        streamers = [Streamer(Failing, number) for number in range(8)]
        mux = StochasticMux(streamers, 24, 3, random_state=seed, on_error="replace", max_failures=3)
        with mux.iterate() as stream:
            next(iter(pescador.Monitor(stream)) if is_monitored else stream)
            dropped = stream.state_dict()["position"]["pool"]
        counts = [failed[: index + 1].count(number) for index, number in enumerate(failed)]
        assert dropped == [number for number, count in zip(failed, counts) if count == 3]
        assert len(dropped) > 1


@each_endless
@pytest.mark.parametrize("point", ["opening", 0])
def test_a_source_that_recovers_is_kept(make, point, caplog):
    sources = [Source(0), Source(100, point=point, n_failing=2), Source(200)]
    mux = make(streamers_of(*sources), on_error="replace", random_state=0)
    stream = mux.iterate(3000)
    items = list(stream)
    (failure,) = stream.failures
    assert (failure.path, failure.count, failure.is_dropped) == ((1,), 2, False)
    assert {0, 1, 2} == {item // 100 for item in items[-1000:]}
    assert len(warnings_of(caplog)) == 1


@every_other
@looped("point", POINTS)
@looped("max_failures", [1, 2, 50])
def test_when_all_have_failed_the_last_error_is_raised(make, point, max_failures):
    sources = [Source(100 * k, point=point) for k in range(5)]
    streamers = streamers_of(*sources)
    mux = make(streamers, on_error="replace", max_failures=max_failures, random_state=0)
    if not is_reached(mux, point):
        return
    stream = mux.iterate()
    items = []

    def read():
        for item in stream:
            items.append(item)

    with pytest.raises(BrokenError) as caught:
        within(SECONDS, read)
    last = int(str(caught.value).split()[-1]) // 100
    first, second = notes_of(caught.value)
    assert f"raised by streamers[{last}] of" in first
    assert f"no streamer is left, after {len(items):,} items of the run" in first
    assert second.startswith("where it was raised:\nTraceback") and ", in " in second
    is_finite = make in FINITE.values()
    assert len(stream.failures) == 5
    assert all(each.count >= (1 if is_finite else max_failures) for each in stream.failures)
    assert sum(source.n_started for source in sources) <= 5 * (max_failures + 1)
    assert [source.n_open for source in sources] == [0] * 5
    assert [streamer.active for streamer in streamers] == [0] * 5
    assert next(stream, "over") == "over"


@every_other
def test_many_that_all_fail_end_soon_and_without_recursion(make):
    sources = [Source(k, point="opening") for k in range(600)]
    mux = make(streamers_of(*sources), on_error="replace", max_failures=2)
    with pytest.raises(BrokenError):
        within(SECONDS, list, mux)
    assert sum(source.n_started for source in sources) <= 1200


def failing_for_ever():
    while True:
        yield Streamer(Iterable(Source(0, point=0)))


def test_endlessly_many_streamers_that_all_fail_come_to_an_end(monkeypatch):
    monkeypatch.setattr("pescador._mixing.turn_run._MOST_FRUITLESS", 500)
    with pytest.raises(BrokenError):
        within(SECONDS, list, ChainMux(failing_for_ever, on_error="replace"))


@each_endless
def test_where_only_empty_streamers_are_left_the_last_error_is_raised(make):
    sources = [Source(0, 0), Source(100, point=1), Source(200, 0)]
    mux = make(streamers_of(*sources), on_error="replace", random_state=0)
    with pytest.raises(BrokenError):
        within(SECONDS, list, mux)


@each_finite
def test_a_pass_with_one_healthy_streamer_just_ends(make):
    sources = [Source(0, point=1), Source(100, 0), Source(200, point="opening")]
    assert len(list(make(streamers_of(*sources), on_error="replace"))) <= 1


@each_mux
def test_a_stream_that_fails_before_its_first_item_is_not_empty(make):
    """An empty one would be left out at once."""
    source = Source(0, point=0, n_failing=1)
    mux = make(streamers_of(source, Source(10)), on_error="replace", random_state=0)
    items = list(mux.iterate(500))
    assert (0 in items) == (make in ENDLESS.values())


@each_mux
def test_the_same_seed_gives_the_same_items_again(make):
    def run():
        mux = make(streamers_of(*mixed(2)), on_error="replace", random_state=3)
        stream = mux.iterate(300)
        return list(stream), stream.failures

    assert run() == run()


@each_finite
def test_a_failure_takes_nothing_from_the_others(make):
    items = list(make(streamers_of(*mixed(2)), on_error="replace", random_state=0))
    for first in (0, 200):
        mine = [item for item in items if first <= item < first + 100]
        assert mine == list(range(first, first + len(mine)))


def test_a_draw_whose_stream_failed_is_taken_over_by_its_successor():
    """Else those that fail after an item would get less than their share of the draws.

    False alarm: less than 1e-12, by Hoeffding's inequality.
    """
    short = Source(0, 1, point=1, n_failing=10**9)
    mux = ShuffledMux(
        streamers_of(short, Source(100, 50)), on_error="replace", max_failures=10**9, random_state=0
    )
    items = list(mux.iterate(4_000))
    assert abs(items.count(0) / 4_000 - 0.5) < 0.06


# Closing.


class ClosesBadly:
    """An iterator that fails, and then cannot be closed either."""

    def __init__(self):
        self.items = iter([1])

    def __iter__(self):
        return self

    def __next__(self):
        for item in self.items:
            return item
        raise BrokenError("first")

    def close(self):
        raise OSError("second")


@each_mux
def test_an_error_of_closing_a_source_that_failed_is_logged(make, caplog):
    opened = Streamer(ClosesBadlyEachTime())
    mux = make([opened], on_error="replace", max_failures=1)
    if getattr(mux, "rate", None):
        return
    with pytest.raises(BrokenError, match="first"):
        list(mux)
    first, second = warnings_of(caplog)[:2]
    assert "BrokenError: first" in first
    assert "closing" in second and "OSError: second" in second
    assert opened.active == 0


class ClosesBadlyEachTime:
    def __iter__(self):
        return ClosesBadly()


def holding(witness):
    held = np.zeros(3)
    witness.append(weakref.ref(held))
    try:
        raise KeyError("a cause")
    except KeyError as error:
        raise BrokenError("it") from error
    yield held


@each_endless
def test_a_failure_holds_no_frame(make):
    witness = []
    gc.disable()
    try:
        mux = make(
            [Streamer(holding, witness), Streamer(numbers, 0, 9)],
            on_error="replace",
            max_failures=2,
            random_state=0,
        )
        with mux.iterate() as stream:
            list(itertools.islice(stream, 500))
            assert len(witness) >= 2
            assert [ref() for ref in witness] == [None] * len(witness)
    finally:
        gc.enable()


def test_the_last_error_tells_its_causes():
    with pytest.raises(BrokenError) as caught:
        list(ShuffledMux([Streamer(holding, [])], on_error="replace"))
    text = notes_of(caught.value)[1]
    assert "KeyError: 'a cause'" in text and "direct cause" in text and "in holding" in text


# Trees.


def inner_mux(on_error="raise", **options):
    sources = [Source(0, 50), Source(100, point=1), Source(200, 50)]
    return ShuffledMux(streamers_of(*sources), on_error=on_error, **options)


def test_a_mux_that_raises_is_a_source_that_fails(caplog):
    inner = inner_mux()
    outer = StochasticMux([inner, Streamer(numbers, 1000, 5)], 2, None, on_error="replace")
    stream = outer.iterate(500)
    assert set(list(stream)[-100:]) == set(range(1000, 1005))
    (failure,) = stream.failures
    assert failure[0] == (0,) and failure[2] >= 3 and failure.is_dropped
    assert failure.streamer == "ShuffledMux(<3 streamers>)"
    assert failure.error.startswith("BrokenError: at 100 raised by streamers[1] of ShuffledMux")
    assert inner.active == 0


@pytest.mark.parametrize(
    "wrap",
    [
        lambda mux: mux,
        lambda mux: Streamer(mux),
        lambda mux: Streamer(mux.iterate),
        lambda mux: Streamer(pass_on, mux),
        lambda mux: Streamer(pass_on, stream=mux),
        lambda mux: Own(mux),
    ],
    ids=["mux", "streamer", "method", "argument", "keyword", "iterate"],
)
def test_failures_of_a_whole_tree_are_read_at_its_root(wrap, caplog):
    middle = ChainMux([["x"], wrap(inner_mux("replace", max_failures=2))], "cycle")
    outer = wrap(RoundRobinMux([["y"], wrap(middle)], "cycle", random_state=0))
    if isinstance(outer, Own):
        outer = Streamer(outer)  # the iterate() of the class itself gives a generator
    stream = outer.iterate(300)
    assert stream.failures == ()
    list(stream)
    (failure,) = stream.failures
    assert failure == ((1, 1, 1), "Streamer(<100>)", 2, "BrokenError: at 100", True)
    assert ["(path (1, 1, 1))" in each for each in warnings_of(caplog)] == [True, True]
    again = outer.iterate(3)
    list(again)
    assert again.failures == ()


def pass_on(stream):
    yield from stream


class Own(Streamer):
    """A streamer that overrides iterate."""

    def iterate(self, max_iter=None):
        yield from super().iterate(max_iter)


def test_two_muxes_among_the_arguments_are_told_apart():
    stream = Streamer(in_turn, inner_mux("replace"), inner_mux("replace")).iterate(400)
    list(stream)
    assert [failure.path for failure in stream.failures] == [(1,), (1,)]
    assert [failure.count for failure in stream.failures] == [3, 3]


def in_turn(first, second):
    yield from itertools.chain.from_iterable(zip(first, second))


def test_a_source_is_logged_once_however_often_its_mux_is_started(caplog):
    outer = StochasticMux([inner_mux("replace", max_failures=2)], 1, 40, random_state=0)
    stream = outer.iterate(2000)
    list(stream)
    (failure,) = stream.failures
    assert failure.count > 10
    assert len(warnings_of(caplog)) == 2


def test_all_passes_of_a_cycle_count():
    mux = ChainMux(streamers_of(Source(0), Source(10, point=1)), on_error="replace")
    stream = mux.cycle(51)
    list(stream)
    assert [(each.path, each.count) for each in stream.failures] == [((1,), 10)]
    assert stream.failures == stream.failures


def test_seeds_do_not_depend_on_what_is_known_of_the_tree():
    """What is shown to people plays no part in what is drawn."""
    mux = ChainMux([ShuffledMux(["ab", "cd"])] * 2, random_state=5)
    other = ChainMux([ShuffledMux(["ab", "cd"])] * 2, random_state=5, on_error="replace")
    assert list(mux.iterate(50)) == list(other.iterate(50))


def test_failures_in_a_background_process_do_not_stop_it():
    mux = ChainMux([Streamer(records_then_fail)] * 2 + [[]], on_error="replace")
    stream = pescador.ZMQStreamer(mux).iterate()
    assert [int(item["x"]) for item in stream] == [0, 0]
    assert [(each.path, each.count) for each in stream.failures] == [((0,), 1), ((1,), 1)]


def records_then_fail():
    yield {"x": 0}
    raise BrokenError("there")


def test_a_mux_keeps_its_options_when_it_is_pickled():
    mux = pickle.loads(pickle.dumps(ShuffledMux(["ab"], on_error="replace", max_failures=5)))
    assert (mux.on_error, mux.max_failures) == ("replace", 5)


# The arguments.


@each_mux
def test_the_options_are_checked(make):
    mux = make(["ab"])
    assert (mux.on_error, mux.max_failures) == ("raise", 3)
    with pytest.raises(pescador.PescadorError, match=r"on_error='ignore'.*'raise', 'replace'"):
        make(["ab"], on_error="ignore")
    for value in (0, -1, 1.5, "x", None, True):
        with pytest.raises(pescador.PescadorError, match="max_failures="):
            make(["ab"], max_failures=value)


@pytest.mark.parametrize("on_error", ["raise", "replace"])
def test_activated_copies_can_fail_as_they_are_looked_at(on_error):
    mux = ShuffledMux(streamers_of(*mixed("opening")), on_error=on_error)
    with mux as active:
        if on_error == "raise":
            with pytest.raises(BrokenError):
                active.streams_
        else:
            # Those that were given up keep a slot, of weight 0.
            assert len(active.streams_) == 4
            assert active.stream_weights_.tolist() == [0.25, 0, 0.25, 0]
            assert active.stream_counts_.tolist() == [0, 0, 0, 0]


# Files.

N_FILES, N_ROWS = 1000, 5
TRUNCATED = set(range(7, 907, 30))
VANISHING = {100, 200, 300, 400, 500}
HALFWAY = 650


def rows_of(path, opened):
    """Yield the rows of a file; one of them stops halfway, some vanish once they have been read."""
    array = np.load(path)
    number = int(path.stem)
    opened.append(number)
    if number in VANISHING:
        path.unlink()
    for row in range(N_ROWS):
        if number == HALFWAY and row == 3:
            raise OverflowError("halfway")
        yield int(array[row])


@pytest.fixture
def files(tmp_path):
    for number in range(N_FILES):
        path = tmp_path / f"{number}.npy"
        np.save(path, np.arange(number * N_ROWS, (number + 1) * N_ROWS))
        if number in TRUNCATED:
            path.write_bytes(path.read_bytes()[:-20])
    return [tmp_path / f"{number}.npy" for number in range(N_FILES)]


def test_an_epoch_over_files_some_of_which_are_broken(files, caplog):
    opened = []
    streamers = [Streamer(rows_of, path, opened) for path in files]
    mux = StochasticMux(streamers, 32, None, mode="exhaustive", on_error="replace", random_state=0)
    for epoch in range(2):
        caplog.clear()
        stream = mux.iterate()
        rows = list(stream)
        missing = VANISHING if epoch else set()
        bad = TRUNCATED | missing | {HALFWAY}
        expected = [
            row
            for number in range(N_FILES)
            if number not in bad
            for row in range(number * N_ROWS, (number + 1) * N_ROWS)
        ]
        expected += range(HALFWAY * N_ROWS, HALFWAY * N_ROWS + 3)
        assert sorted(rows) == sorted(expected)
        kinds = {path[0]: error.partition(":")[0] for path, _, _, error, _ in stream.failures}
        assert kinds == {
            **dict.fromkeys(TRUNCATED, "ValueError"),
            **dict.fromkeys(missing, "FileNotFoundError"),
            HALFWAY: "OverflowError",
        }
        assert all(each.count == 1 and each.is_dropped for each in stream.failures)
        messages = warnings_of(caplog)
        assert len(messages) == len(bad)
        for number in bad:
            (message,) = [each for each in messages if f"streamers[{number}] of" in each]
            assert kinds[number] in message
    assert mux.active == 0
    assert not any(streamer.active for streamer in streamers)


def test_an_endless_mixture_of_files_some_of_which_are_broken(files, caplog):
    opened = []
    streamers = [Streamer(rows_of, path, opened) for path in files[:120]]
    mux = StochasticMux(streamers, 16, 3, on_error="replace", max_failures=2, random_state=0)
    stream = mux.iterate(20_000)
    rows = set(stream)
    bad = {number for number in TRUNCATED | VANISHING if number < 120}
    assert {each.path[0] for each in stream.failures} == bad
    assert all(each.is_dropped and 2 <= each.count <= 17 for each in stream.failures)
    healthy = set(range(120)) - bad
    assert {row // N_ROWS for row in rows} == healthy | {100}
    assert len(warnings_of(caplog)) == 2 * len(bad)
