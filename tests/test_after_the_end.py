"""The state of a stream that is over: closed, interrupted (Ctrl-C) or failed.

It says where the stream stood after the last item it handed out. The trees here are interrupted at
every moment at which a source does something: as it is opened, makes an item, or is closed.
"""

import contextlib
import gc
import inspect
import itertools
import json
import signal
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from _cases import some
from _sources import TIMEOUT

import pescador
from pescador import (
    ChainMux,
    PescadorError,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    ZMQStreamer,
)
from pescador._background.consumer import Consumer
from pescador._streaming import positions
from pescador._streaming.seeds import Seed
from pescador._streaming.session import Session

N = 40  # items, of those that have no end
N_LONG = 1000  # the same, where signals interrupt
N_TRIES = 40


class Moments:
    """Counts what sources do, and raises an error at one moment."""

    def __init__(self):
        self.n_left, self.error = None, KeyboardInterrupt

    def pass_by(self):
        if self.n_left is not None:
            self.n_left -= 1
            if self.n_left < 0:
                self.n_left = None
                raise self.error


MOMENTS = Moments()


def source(name, n_items):
    MOMENTS.pass_by()
    try:
        for number in range(n_items):
            MOMENTS.pass_by()
            yield {"x": np.array([10 * name + number])}
    finally:
        MOMENTS.pass_by()


class Adding:
    """An iterator that is no generator, and has no record."""

    def __init__(self, name, n_items):
        MOMENTS.pass_by()
        self._items = iter([{"x": np.array([10 * name + number])} for number in range(n_items)])

    def __iter__(self):
        return self

    def __next__(self):
        MOMENTS.pass_by()
        return next(self._items)


def three(lengths=(3, 5, 2), function=source):
    return [Streamer(function, 1 + place, n) for place, n in enumerate(lengths)]


def stochastic(rate=3, **options):
    return StochasticMux(three(), 2, rate, random_state=3, **options)


TREES = {
    "streamer": lambda: Streamer(source, 1, 7),
    "iterators": lambda: ShuffledMux(three(function=Adding), random_state=3),
    "streamer of a streamer": lambda: Streamer(Streamer(source, 1, 7)),
    "chain": lambda: ChainMux(three()),
    "chain, cycle": lambda: ChainMux(three(), mode="cycle"),
    "round robin": lambda: RoundRobinMux(three(), mode="permuted_cycle", random_state=3),
    "round robin, exhaustive": lambda: RoundRobinMux(three()),
    "shuffled": lambda: ShuffledMux(three(), random_state=3),
    "shuffled, weights": lambda: ShuffledMux(three(), [1, 2, 3], random_state=3),
    "with_replacement": stochastic,
    "single_active": lambda: stochastic(mode="single_active"),
    "exhaustive": lambda: stochastic(mode="exhaustive"),
    "share": lambda: stochastic(weights=[1, 2, 3], weighting="share"),
    "function": lambda: stochastic(weights=lambda n_items: [1, 1 + n_items, 1]),
    "with an empty one": lambda: StochasticMux(
        three((2, 0, 3)), 2, 3, prune_empty_streams=False, random_state=3
    ),
    "nested": lambda: ShuffledMux(
        [stochastic(mode="exhaustive"), ChainMux(three()), Streamer(source, 7, 3)], random_state=5
    ),
    "batches": lambda: Streamer(pescador.buffer_stream, stochastic(), 4),
    "with a limit": lambda: Streamer(ShuffledMux(three(), random_state=3), N),
    "tuples": lambda: Streamer(pescador.tuples, stochastic(), "x"),
    "a mux of batches": lambda: ShuffledMux(
        [Streamer(pescador.buffer_stream, stochastic(), 2), Streamer(source, 7, 9)], random_state=5
    ),
}


LONG = ("nested", "batches", "round robin", "function", "shuffled, weights", "share")


def read(stream, n_items, into):
    """Read so many items; what comes before an error is kept."""
    for _, item in zip(range(n_items - len(into)), stream):
        into.append(plain(item))


def plain(item):
    if isinstance(item, dict):
        return {key: plain(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [plain(each) for each in item]
    return item.tolist() if hasattr(item, "tolist") else item


def expected_items(make):
    items = []
    with make().iterate() as stream:
        read(stream, N, items)
    return items


def interrupted(make, moments, error=KeyboardInterrupt):
    """Read a tree that is interrupted at each moment in turn; return items, or None at the end."""
    items, state = [], None
    MOMENTS.error = error
    for moment in moments:
        stream = make().iterate() if state is None else make().resume(state)
        MOMENTS.n_left = moment
        try:
            with stream:
                read(stream, N, items)
            is_interrupted = False
        except error:
            is_interrupted = True
        n_left, MOMENTS.n_left = MOMENTS.n_left, None
        if not is_interrupted and n_left is not None:
            return None  # there are no more moments
        assert stream.n_given == len(items)
        state = json.loads(json.dumps(stream.state_dict()))
    with make().resume(state) as stream:
        read(stream, N, items)
    return items


@pytest.fixture(params=some([1.0, 0.0], 2), ids=["seldom", "often"])
def snapshots(request, monkeypatch):
    """Let positions be kept as usual (so here never), or at every chance."""
    monkeypatch.setattr("pescador._mixing.run.SNAPSHOT_EVERY", request.param)
    if not request.param:
        monkeypatch.setattr("pescador._mixing.run.SNAPSHOT_PAUSE", 0)
    monkeypatch.setattr("pescador._streaming.binding.MARK_EVERY", request.param)


@pytest.mark.parametrize("error", some([KeyboardInterrupt, ValueError, SystemExit]))
@pytest.mark.parametrize("make", TREES.values(), ids=TREES)
def test_after_an_error_at_any_moment(make, error, snapshots):
    expected = expected_items(make)
    for moment in itertools.count():
        items = interrupted(make, [moment], error)
        if items is None:
            break
        assert items == expected, moment
    assert moment > 5


def breaking(name, n_items):
    yield from source(name, n_items)
    raise ValueError(f"{name} is broken")


def with_broken_ones(make):
    streamers = [Streamer(breaking, 8, 0), *three(), Streamer(breaking, 7, 2)]
    return make(streamers, random_state=3, on_error="replace", max_failures=3)


BROKEN = {
    "with_replacement": lambda: with_broken_ones(
        lambda streamers, **how: StochasticMux(streamers, 2, 3, **how)
    ),
    "single_active": lambda: with_broken_ones(
        lambda streamers, **how: StochasticMux(streamers, 2, 3, mode="single_active", **how)
    ),
    "exhaustive": lambda: with_broken_ones(
        lambda streamers, **how: StochasticMux(streamers, 2, 3, mode="exhaustive", **how)
    ),
    "shuffled": lambda: with_broken_ones(ShuffledMux),
    "round robin": lambda: with_broken_ones(
        lambda streamers, **how: RoundRobinMux(streamers, "permuted_cycle", **how)
    ),
    "chain": lambda: with_broken_ones(lambda streamers, **how: ChainMux(streamers, "cycle", **how)),
    "nested": lambda: ShuffledMux([BROKEN["with_replacement"](), *three()], random_state=1),
}


def told(stream):
    return [(each.path, each.count, each.is_dropped) for each in stream.failures]


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN)
def test_failures_that_were_survived_count_once(make, snapshots):
    """Also those that come between the last item and the interrupt."""
    expected = []
    with make().iterate() as stream:
        read(stream, N, expected)
        expected_failures = told(stream)
    MOMENTS.error = KeyboardInterrupt
    for moment in itertools.count():
        items = []
        stream = make().iterate()
        MOMENTS.n_left = moment
        with contextlib.suppress(KeyboardInterrupt), stream:
            read(stream, N, items)
        n_left, MOMENTS.n_left = MOMENTS.n_left, None
        if n_left is not None:
            break
        with make().resume(json.loads(json.dumps(stream.state_dict()))) as stream:
            read(stream, N, items)
            assert items == expected, moment
            assert told(stream) == expected_failures, moment
    assert moment > 5


# (What a map was about to read is closed as garbage, if the interrupt comes first.)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("make", TREES.values(), ids=TREES)
def test_after_two_interrupts(make, snapshots):
    expected = expected_items(make)
    for first in itertools.count():
        items = interrupted(make, [first])
        if items is None:
            break
        for second in (0, 1, 2, 5):
            items = interrupted(make, [first, second])
            assert items is None or items == expected, (first, second)


@pytest.mark.parametrize("make", TREES.values(), ids=TREES)
def test_after_close(make):
    expected = expected_items(make)
    for n_items in range(len(expected) + 1):
        with make().iterate() as stream:
            start = []
            read(stream, n_items, start)
            state = stream.state_dict()
        assert stream.state_dict() == state
        with make().resume(json.loads(json.dumps(state))) as stream:
            read(stream, N, start)
        assert start == expected


def forked(streamer):
    return ZMQStreamer(streamer, start_method="fork")


@pytest.mark.parametrize(
    "make",
    [
        lambda: forked(stochastic()),
        lambda: ShuffledMux([forked(stochastic()), Streamer(source, 7, 9)], random_state=5),
        lambda: Streamer(pescador.buffer_stream, forked(stochastic()), 3),
    ],
    ids=["alone", "in a mux", "of batches"],
)
def test_after_an_interrupt_while_a_process_is_awaited(make, monkeypatch):
    def wait(consumer, seconds):
        raise KeyboardInterrupt

    expected = expected_items(make)
    for moment in (1, 5, 12):
        items = []
        with monkeypatch.context() as patch, make().iterate() as stream:
            read(stream, moment, items)
            patch.setattr(Consumer, "_wait", wait)
            with contextlib.suppress(KeyboardInterrupt):
                read(stream, N, items)
        assert stream.n_given == len(items)
        state = json.loads(json.dumps(stream.state_dict()))
        with make().resume(state) as stream:
            read(stream, N, items)
        assert items == expected


def test_what_is_kept_earlier_bounds_what_is_read_again(monkeypatch):
    monkeypatch.setattr("pescador._mixing.run.SNAPSHOT_EVERY", 0.0)
    monkeypatch.setattr("pescador._mixing.run.SNAPSHOT_PAUSE", 0)
    streamers = [Streamer(source, n, 1000) for n in range(9)]
    stream = StochasticMux(streamers, 2, 10, random_state=1).iterate()
    with pytest.raises(KeyboardInterrupt), stream:
        for item in stream:
            if stream.n_given > 500 and item["x"][0] % 10 == 0:
                MOMENTS.n_left = 0
    position = stream.state_dict()["position"]
    assert position.get("skip", 0) < 50


@pytest.mark.parametrize(
    "make",
    [
        lambda streamers: StochasticMux(streamers, 2, 4, mode="exhaustive"),
        lambda streamers: StochasticMux(streamers, 2, 4, [1, 2, 3], mode="exhaustive"),
        RoundRobinMux,
        ChainMux,
    ],
    ids=["exhaustive", "weights", "round robin", "chain"],
)
def test_a_run_that_has_ended_is_not_read_again(make):
    mux = make(three())
    seed = Seed.root(Session())
    source = mux._open_run(seed, 0, 0)
    position = positions.position_of(source, len(list(source)))
    assert "skip" not in position
    assert list(mux._open_at(seed, 0, 0, position)) == []


def test_what_a_map_reads_is_marked_now_and_then(monkeypatch):
    """An error in a map leaves what it reads one item ahead."""
    monkeypatch.setattr("pescador._streaming.binding.MARK_EVERY", 0.0)

    def numbered():
        for number in itertools.count():
            yield {"x": number} if number != 5000 else {"y": number}

    tree = Streamer(pescador.tuples, Streamer(numbered), "x")
    stream = tree.iterate()
    with pytest.raises(KeyError):
        list(stream)
    position = stream.state_dict()["position"]
    assert stream.n_given == 5000
    assert 5000 - position["skip"] > 4000
    with pytest.raises(KeyError):
        list(tree.resume(stream.state_dict()))


def test_the_state_of_a_stream_that_was_closed_in_an_item_is_refused():
    closing = threading.Event()

    def waiting():
        yield 1
        started.set()
        closing.wait(TIMEOUT)
        yield 2

    started = threading.Event()
    stream = Streamer(waiting).iterate()
    reader = threading.Thread(target=list, args=(stream,))
    reader.start()
    assert started.wait(TIMEOUT)
    closer = threading.Thread(target=stream.close)
    closer.start()
    while not stream._is_closed:
        time.sleep(0)
    closing.set()
    reader.join(TIMEOUT)
    closer.join(TIMEOUT)
    with pytest.raises(PescadorError, match="another thread closes it"):
        stream.state_dict()


# (Python drops what a signal handler raises in a finalizer.)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("make", [TREES[name] for name in LONG], ids=LONG)
def test_after_a_signal_at_any_moment(make):
    """Of items that have left the stream, at most the last one has not arrived at its reader."""
    with make().iterate() as stream:
        expected = [plain(item) for _, item in zip(range(N_LONG), stream)]
    rng = np.random.default_rng(20)
    n_interrupts = 0
    with interrupted_by_a_timer() as timer:
        for _ in range(N_TRIES):
            items = []
            stream = make().iterate()
            try:
                with stream:
                    timer.start(rng.uniform(1e-4, 3e-3))
                    for _, item in zip(range(N_LONG), stream):
                        items.append(item)
                    timer.stop()
            except KeyboardInterrupt:
                n_interrupts += 1
            n_given, n_items = stream.n_given, len(items)
            assert n_items <= n_given <= n_items + 1
            with make().resume(stream.state_dict()) as rest:
                items += [item for _, item in zip(range(N_LONG - n_given), rest)]
            assert list(map(plain, items)) == expected[:n_items] + expected[n_given:]
    assert n_interrupts > N_TRIES / 8


class Call:
    """Raises a KeyboardInterrupt as a call of a function of ours begins, after some others.

    (Generators are left out: CPython 3.11 crashes, if a trace function raises in them.)
    """

    def __init__(self, n_before):
        self.n_left, self.name = n_before, None

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._trace)

    def __exit__(self, *exc):
        sys.settrace(self._before)

    def _trace(self, frame, event, argument):
        code = frame.f_code
        is_ours = frame.f_globals.get("__name__", "").startswith("pescador.")
        if not is_ours or code.co_flags & inspect.CO_GENERATOR or code.co_name == "__del__":
            return
        self.n_left -= 1
        if self.n_left < 0:
            sys.settrace(self._before)
            self.name = code.co_name
            raise KeyboardInterrupt


@pytest.mark.parametrize("make", some(TREES, 0, ["with a limit", "nested"]))
def test_after_an_interrupt_in_any_call(make):
    """As a signal may: also while the stream is opened, or closed."""
    expected = expected_items(make)
    for n_before in itertools.count():
        items, call = [], Call(n_before)
        tree = make()
        stream = tree.iterate()
        with contextlib.suppress(KeyboardInterrupt), call, stream:
            for _, item in zip(range(12), stream):
                items.append(plain(item))
        if call.name is None:
            break
        stream.close()
        if call.name != "_release":  # the call itself that counts
            assert tree.active_count_ == 0
        n_given, n_items = stream.n_given, len(items)
        assert n_items <= n_given <= n_items + 1
        with make().resume(json.loads(json.dumps(stream.state_dict()))) as rest:
            items += [plain(item) for _, item in zip(range(len(expected) - n_given), rest)]
        assert items == expected[:n_items] + expected[n_given:], call.name
    assert n_before > 20


class Timer:
    """Raises one KeyboardInterrupt after some seconds, and none once it was stopped."""

    is_running = False

    def start(self, seconds):
        self.is_running = True
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def stop(self):
        self.is_running = False  # a signal may still be under way
        signal.setitimer(signal.ITIMER_REAL, 0)

    def interrupt(self, number, frame):
        if self.is_running:
            self.is_running = False
            raise KeyboardInterrupt


@contextlib.contextmanager
def interrupted_by_a_timer():
    timer = Timer()
    before = signal.signal(signal.SIGALRM, timer.interrupt)
    gc.disable()  # what is raised in a finalizer is not heard of
    try:
        yield timer
    finally:
        gc.enable()
        timer.stop()
        signal.signal(signal.SIGALRM, before)


def failing(n_items):
    yield from range(n_items)
    raise ValueError("broken")


@pytest.mark.parametrize(
    "make",
    [
        lambda streamers, **how: ShuffledMux(streamers, random_state=1, **how),
        lambda streamers, **how: StochasticMux(streamers, 2, 2, random_state=1, **how),
        lambda streamers, **how: RoundRobinMux(streamers, mode="cycle", **how),
        lambda streamers, **how: ChainMux(streamers, mode="cycle", **how),
    ],
    ids=["shuffled", "stochastic", "round robin", "chain"],
)
def test_when_all_have_failed_whoever_resumes_is_told_too(make):
    how = {"on_error": "replace", "max_failures": 1}
    inner = make([Streamer(failing, 3), Streamer(failing, 2)], **how)
    for mux in (inner, ShuffledMux([inner, Streamer(failing, 0)], **how)):
        stream = mux.iterate()
        with pytest.raises(ValueError, match="broken"):
            list(stream)
        with pytest.raises(ValueError, match="broken"):
            list(mux.resume(stream.state_dict()))


def test_an_interrupt_while_the_position_is_kept_leaves_nothing_open(monkeypatch):
    def interrupt(source, n_given):
        raise KeyboardInterrupt

    closed = []

    def noting(number):
        try:
            while True:
                yield number
        finally:
            closed.append(number)

    stream = RoundRobinMux([Streamer(noting, number) for number in range(3)]).iterate()
    list(itertools.islice(stream, 9))
    monkeypatch.setattr("pescador._streaming.positions.position_of", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stream.close()
    assert sorted(closed) == [0, 1, 2]


def test_an_interrupt_as_a_large_item_is_unpacked_does_not_lose_it():
    def large():
        for number in itertools.count():
            yield {"x": np.full(5000, number)}

    def trace(frame, event, argument):
        if frame.f_code.co_name == "_handed_out":
            sys.settrace(None)
            raise KeyboardInterrupt

    streamer = forked(Streamer(large))
    before = sys.gettrace()
    with streamer.iterate() as stream, contextlib.suppress(KeyboardInterrupt):
        list(itertools.islice(stream, 4))
        sys.settrace(trace)
        try:
            next(stream)
        finally:
            sys.settrace(before)
    with streamer.resume(stream.state_dict()) as rest:
        assert next(rest)["x"][0] == stream.n_given


def test_what_a_map_read_goes_with_it():
    """A closed stream knows where it stood, but is in no cycle that holds what it read."""
    items = Held({"x": np.zeros(1)} for _ in range(9))
    stream = Streamer(pescador.tuples, Streamer(Streamer(items), 5), "x").iterate()
    known = weakref.ref(items)
    list(stream)
    gc.disable()
    try:
        del items, stream
        assert known() is None
    finally:
        gc.enable()


class Held(list):
    """A list that can be referred to weakly."""


class Around:
    """An iterator of a user's, which has an attribute with a name of ours."""

    def __init__(self, streamer):
        self._streamer, self._items = streamer, iter(streamer)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._items)


def around(streamer):
    yield from pescador.buffer_stream(Around(streamer), 2)


def test_an_iterator_of_the_users_may_have_any_attributes(monkeypatch):
    monkeypatch.setattr("pescador._streaming.binding.MARK_EVERY", 0.0)
    assert len(list(Streamer(around, Streamer(source, 1, 9)))) == 4


def test_a_state_of_an_older_release_without_a_number_of_items():
    make = TREES["batches"]
    expected = expected_items(make)
    with make().iterate() as stream:
        read(stream, 2, items := [])
        state = stream.state_dict()
    fields = json.loads(json.dumps(state))
    del fields["position"]["n_items"], fields["pescador"], fields["checksum"]
    MOMENTS.error = KeyboardInterrupt
    resumed = make().resume(positions.sealed(fields))
    MOMENTS.n_left = 5
    with contextlib.suppress(KeyboardInterrupt), resumed:
        read(resumed, N, items)
    MOMENTS.n_left = None
    with make().resume(resumed.state_dict()) as stream:
        read(stream, N, items)
    assert items == expected


@pytest.mark.parametrize("name", ["with a limit", "tuples"])
def test_an_error_below_a_call_that_passes_items_on_costs_no_item_twice(name):
    MOMENTS.error = ValueError
    stream = TREES[name]().iterate()
    items = []
    with pytest.raises(ValueError), stream:
        read(stream, 20, items)
        while MOMENTS.n_left is None:
            MOMENTS.n_left = 0
            read(stream, 21, items)
    position = stream.state_dict()["position"]
    assert "skip" not in position and position["streams"][0]["n_given"] == len(items)
