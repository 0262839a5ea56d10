"""How long each source was waited for, by a clock that only the sources move."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest
from _cases import matrix, some

from pescador import (
    ChainMux,
    Monitor,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
)
from pescador._mixing import metered, run, turn_run
from pescador._monitoring.counts import counts_of, inner_paths
from pescador._streaming import waits
from pescador._streaming.waits import MOST, TIMING, Stretches

FAR = 5.5  # standard deviations: once in a million, with room for what is not normal
ENDLESS = 10**9
N = 60


class Fake:
    """A clock that stands still, and what each source has taken: until first items, and in all."""

    def __init__(self):
        self.now, self.opening, self.waited = 1.0, Counter(), Counter()

    def __call__(self):
        return self.now

    def take(self, who, seconds, is_new=False):
        self.now += seconds
        self.waited[who] += seconds
        self.opening[who] += seconds * is_new

    def forget(self):
        self.opening.clear()
        self.waited.clear()


CLOCK = Fake()


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    for module in (waits, run, metered):
        monkeypatch.setattr(module, "perf_counter", CLOCK)


def slow(who, n_items):
    """Yield one's name; all takes time: the first item, each other one, and the end."""
    CLOCK.take(who, 3.0 + who % 5, is_new=True)
    for i in range(n_items):
        if i:
            CLOCK.take(who, 1.0 + who % 3)
        yield who
    CLOCK.take(who, 2.0)


def each(n_items=ENDLESS, first=0, n=N):
    return [Streamer(slow, first + i, n_items) for i in range(n)]


def all_of(stream):
    yield from stream


def chain_of_many(i):
    return ChainMux(each(5, 4 * i, 4))


def in_turn(i):
    return RoundRobinMux(each(ENDLESS, 4 * i, 4), mode="cycle")


def nested(k):
    return StochasticMux([in_turn(3 * k + i) for i in range(3)], 2, 16, random_state=k)


TREES = {
    "rate": lambda seed: StochasticMux(each(), 8, 16, random_state=seed),
    "rate 1": lambda seed: StochasticMux(each(), 8, 1, random_state=seed),
    "no rate": lambda seed: StochasticMux(each(), 8, None, random_state=seed),
    "shares": lambda seed: StochasticMux(
        each(10), 8, 16, range(1, N + 1), random_state=seed, weighting="share"
    ),
    "distinct": lambda seed: StochasticMux(
        each(20), 8, None, random_state=seed, mode="single_active"
    ),
    "once": lambda seed: StochasticMux(each(200), 8, 150, random_state=seed, mode="exhaustive"),
    "shuffled": lambda seed: ShuffledMux(each(16), random_state=seed),
    "in turn": lambda seed: RoundRobinMux(each(70), mode="cycle"),
    "few in turn": lambda seed: RoundRobinMux(each(2000, 0, 4), mode="cycle"),
    "in turns": lambda seed: RoundRobinMux(each(30), mode="permuted_cycle", random_state=seed),
    "chain": lambda seed: ChainMux(each(20), mode="cycle"),
    "long chain": lambda seed: ChainMux(each(3000), mode="cycle"),
    "chain of both": lambda seed: ChainMux([*each(1500), *each(300)], mode="cycle"),
    "in a function": lambda seed: Streamer(all_of, TREES["rate"](seed)),
    "chains": lambda seed: StochasticMux(
        [chain_of_many(i) for i in range(15)], 4, None, random_state=seed
    ),
    "nested": lambda seed: ShuffledMux([nested(k) for k in range(5)], random_state=seed),
}


def who_of(name, path):
    """Return which source a path leads to."""
    places = [place for place in path if place >= 0]
    if name == "chain of both":
        return places[0] % N
    if name == "nested":
        return 12 * places[0] + 4 * places[1] + places[2]
    return 4 * places[0] + places[1] if name == "chains" else places[0]


def told(name, monitor):
    """Return the seconds of each source as the meter knows them: until first items, and in all."""
    muxes = counts_of(monitor._meter, float("inf"))
    inner, opening, waited = inner_paths(muxes), Counter(), Counter()
    for path, mux in muxes.items():
        for place, seconds in mux.waited.items():
            if (*path, place) not in inner:
                who = who_of(name, (*path, place))
                waited[who] += seconds
                opening[who] += mux.opening[place]
    return opening, waited


def shorten(monkeypatch, n_items=32):
    """Let stretches be shorter than most runs, and than long streams."""
    for module in (metered, turn_run):
        monkeypatch.setattr(module, "STRETCH", n_items)
    for module in (metered, run):
        monkeypatch.setattr(module, "FIRST_STRETCH", 2 * n_items)


def read(name, seed, is_resumed=False, n_items=6000):
    """Return what is told at the end of a tree that is monitored, perhaps from its middle on."""
    np.random.seed(seed)
    streamer = TREES[name](seed)
    if is_resumed:
        with streamer.iterate(n_items) as stream:
            list(itertools.islice(stream, n_items // 2))
            stream = streamer.resume(stream.state_dict())
    else:
        stream = streamer.iterate(n_items)
    monitor = Monitor(stream)
    CLOCK.forget()  # (what it took to go back there)
    assert len(list(monitor)) == n_items // (1 + is_resumed)
    return told(name, monitor)


@matrix(name=list(TREES), is_resumed={"begun": False, "resumed": True}, cover=1)
def test_times_are_exact_if_all_are_taken(name, is_resumed, monkeypatch):
    monkeypatch.setattr(Stretches, "weight", lambda *_: 1.0)
    opening, waited = read(name, 1, is_resumed)
    assert waited == CLOCK.waited
    assert +opening == +CLOCK.opening


@pytest.mark.parametrize("name", some(list(TREES), 3))
def test_times_of_some_are_right_in_the_mean(name, monkeypatch):
    """Each stretch is timed once in four times; over so many runs, no sum is far from the truth."""
    rng, errors = random.Random(7), []
    shorten(monkeypatch, 256)
    monkeypatch.setattr(Stretches, "weight", lambda *_: 4.0 * (rng.random() < 0.25))
    for seed in range(24):
        opening, waited = read(name, seed)
        sums = zip((waited, opening), (CLOCK.waited, CLOCK.opening))
        errors.append([told.total() / truth.total() - 1 for told, truth in sums])
        errors[-1] += [waited[who] - CLOCK.waited[who] for who in range(4)]
    errors = np.array(errors)
    deviations = errors.std(axis=0, ddof=1) / len(errors) ** 0.5
    assert (abs(errors.mean(axis=0)) <= FAR * deviations).all()
    assert (deviations[:2] > 0).all()


@pytest.mark.parametrize("name", some(list(TREES), 3))
def test_to_time_some_alters_nothing(name, monkeypatch):
    """Neither items nor states nor counts, whichever stretches are timed."""
    np.random.seed(0)
    with TREES[name](3).iterate(4000) as stream:
        expected = list(itertools.islice(stream, 2500))
        state = stream.state_dict()
        expected += stream
    rng, drawn = random.Random(3), []

    def weight(*_):
        drawn.append(rng.choice([0.0, 3.0]))
        return drawn[-1]

    monkeypatch.setattr(Stretches, "weight", weight)
    shorten(monkeypatch)
    np.random.seed(0)
    monitor = Monitor(TREES[name](3).iterate(4000))
    items = list(itertools.islice(monitor, 2500))
    assert monitor.stream.state_dict() == state
    items += monitor
    assert items == expected
    assert {0.0, 3.0} <= set(drawn)
    counts = Counter()
    for row in monitor.report().sources:
        counts[who_of(name, row.path)] += row.n_items
    assert +counts == Counter(expected)


@pytest.mark.parametrize("pace", [1e-7, 1e-5, 1e-3])
def test_timing_takes_a_small_part_of_the_time(pace):
    """A hundredth, or all stretches are timed; but for what is timed at first."""
    stretches, n_items, cost = Stretches(), 1000, 0.0
    begin = CLOCK.now
    weights = []
    for _ in range(3000):
        weights.append(stretches.weight(n_items))
        cost += TIMING * n_items * (weights[-1] > 0)
        CLOCK.now += pace * n_items
    seconds = CLOCK.now - begin
    assert cost <= max(1.5 * MOST * seconds, 15 * TIMING * n_items)
    if pace == 1e-3:
        assert set(weights) == {1.0}
    total = sum(weights[100:])
    assert total == pytest.approx(len(weights) - 100, rel=0.7)


@pytest.mark.parametrize("n_items", [1, 10, 300])
@pytest.mark.parametrize("kind", ["chain", "in turn", "pool"])
def test_so_many_items_are_timed_as_were_counted_on(n_items, kind, monkeypatch):
    """Whatever runs are made of: else timing would take more of the time than it is to take."""
    counted, timed = [0], [0]

    def weight(_, n_timings):
        counted[0] += n_timings
        return 1.0

    def add(clock, seconds):
        timed[0] += 1

    monkeypatch.setattr(Stretches, "weight", weight)
    monkeypatch.setattr(waits.Clock, "add", add)
    streamers = each(n_items, n=100)
    kinds = {
        "chain": lambda: ChainMux(streamers, mode="cycle"),
        "in turn": lambda: RoundRobinMux(streamers, mode="cycle"),
        "pool": lambda: StochasticMux(streamers, 64, None, random_state=0),
    }
    list(Monitor(kinds[kind]().iterate(20_000)))
    assert timed[0] < 4 * counted[0]


def test_failing_and_closing_takes_time_too(monkeypatch):
    class Fails:
        def __iter__(self):
            CLOCK.take(0, 0.5, is_new=True)
            raise OSError

    def closes(who):
        try:
            yield from itertools.repeat(who)
        finally:
            CLOCK.take(who, 0.25)

    monkeypatch.setattr(Stretches, "weight", lambda *_: 1.0)
    streamers = [Streamer(Fails()), *(Streamer(closes, who) for who in range(1, 9))]
    mux = StochasticMux(streamers, 4, 8, random_state=0, on_error="replace", max_failures=9)
    CLOCK.forget()
    with Monitor(mux.iterate()) as monitor:
        list(itertools.islice(monitor, 500))
        opening, waited = told("rate", monitor)
        assert +waited == CLOCK.waited
        assert +opening == +CLOCK.opening
        assert waited[0] and waited[1]


def test_an_interrupt_while_an_item_is_timed_loses_nothing(monkeypatch):
    """Also if it comes between the last item of a mux below, and the loop."""
    left = [0]

    def clock():
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return 1.0

    def tree():
        below = [
            ShuffledMux([[10 * k + i for i in range(10)] for k in range(3)], random_state=seed)
            for seed in range(2)
        ]
        return StochasticMux(below, 1, 3, dist="constant", random_state=1)

    monkeypatch.setattr(Stretches, "weight", lambda *_: 1.0)
    monkeypatch.setattr(waits, "perf_counter", clock)
    expected = list(tree().iterate(40))
    for moment in itertools.count(1):
        left[0], found = moment, []
        with tree().iterate(14) as stream:
            try:
                for item in Monitor(stream):
                    found.append(item)
            except KeyboardInterrupt:
                left[0] = 0
                found += itertools.islice(tree().resume(stream.state_dict()), 10)
        assert found == expected[: len(found)], moment
        if left[0] > 0:
            break
    assert moment > 50


def test_what_is_read_again_takes_no_time():
    """A function that reads streams in its own way begins again where its stream is monitored."""
    streamer = TREES["in a function"](1)
    with streamer.iterate(100) as stream:
        list(itertools.islice(stream, 50))
        monitor = Monitor(stream)
        CLOCK.forget()
        list(monitor)
        _, waited = told("in a function", monitor)
    assert waited == CLOCK.waited


def test_no_source_has_taken_longer_than_the_loop(monkeypatch):
    """An item that stands for many may have been the only one that took long."""
    monkeypatch.setattr(Stretches, "weight", lambda *_: 1e9)
    monitor = Monitor(TREES["rate"](1).iterate(1000))
    list(monitor)
    report = monitor.report()
    assert 0 < report.opening <= report.waited <= report.seconds
    assert sum(row.waited for row in report.sources) == pytest.approx(report.waited)
