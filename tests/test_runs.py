"""What happens to runs at awkward moments, and where their randomness comes from."""

import itertools
import threading

import numpy as np
import pytest

import pescador
from pescador import ChainMux, RoundRobinMux, ShuffledMux, StochasticMux, Streamer

TIMEOUT = 30


def counting():
    yield from itertools.count()


@pytest.mark.parametrize(
    "start",
    [
        lambda: Streamer(counting).iterate(),
        lambda: Streamer("abc").cycle(),
        lambda: ShuffledMux([Streamer(counting)] * 3).iterate(),
        lambda: pescador.buffer_stream(Streamer(dicts), 2),
    ],
    ids=["iterate", "cycle", "mux", "map"],
)
def test_close_ends_the_loops_of_other_threads(start):
    stream, is_read = start(), threading.Event()

    def read():
        for _ in stream:
            is_read.set()

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    assert is_read.wait(TIMEOUT)
    stream.close()
    for reader in readers:
        reader.join(TIMEOUT)
    assert not any(reader.is_alive() for reader in readers)


def dicts():
    for number in itertools.count():
        yield {"x": number}


class Passing(ShuffledMux):
    """A mux whose class defines its own iterate()."""

    n_runs = 0

    def iterate(self, max_iter=None):
        self.n_runs += 1
        yield from super().iterate(max_iter)


def numbers(start, stop):
    yield from range(start, stop)


@pytest.mark.parametrize("seed", [None, 3])
def test_a_class_with_its_own_iterate_gets_seeds_like_any_other(seed):
    child = Passing([Streamer(numbers, 0, 1000), Streamer(numbers, 1000, 2000)], random_state=seed)
    mux = StochasticMux([child], 1, 16, random_state=0, dist="constant")
    once, again = list(mux.iterate(160)), list(mux.iterate(160))
    assert once == again
    activations = {tuple(once[i : i + 16]) for i in range(0, 160, 16)}
    assert len(activations) > 5
    assert child.n_runs >= 20
    assert (child.active, mux.active) == (0, 0)


class Loud:
    """A mixin that defines iterate() beside Streamer."""

    def iterate(self, max_iter=None):
        for item in super().iterate(max_iter):
            yield str(item).upper()


class LoudStreamer(Loud, Streamer):
    pass


def test_an_iterate_from_a_mixin_counts():
    assert list(ChainMux([LoudStreamer("ab")])) == ["A", "B"]
    assert list(LoudStreamer("ab").cycle(3)) == ["A", "B", "A"]


@pytest.mark.parametrize("seed", [None, 7])
def test_one_seed_fixes_a_cache_below_it(seed):
    cached = Streamer(pescador.cache, Streamer(numbers, 0, 100), 5, random_state=seed)
    mux = StochasticMux([cached], 1, 20, random_state=0, dist="constant")
    once, again = list(mux.iterate(200)), list(mux.iterate(200))
    assert once == again
    assert len({tuple(once[i : i + 20]) for i in range(0, 200, 20)}) > 5


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_a_run_draws_from_the_users_generator_once(make):
    generator, other = make(5), make(5)
    mux = ShuffledMux(["abc", "defg"], random_state=generator)
    list(StochasticMux([mux], 1, 3, random_state=generator).cycle(200))
    list(ShuffledMux(["x"], random_state=other).iterate(1))
    assert generator.bytes(8) == other.bytes(8)


def test_a_run_takes_its_seed_when_it_starts():
    def rest(disturb):
        np.random.seed(0)
        stream = ChainMux([[0], ShuffledMux(["abcdefgh", "ijklmnop"])]).iterate(50)
        items = [next(stream)]
        if disturb:
            np.random.rand()
        return items + list(stream)

    assert rest(disturb=True) == rest(disturb=False)


class EmptyAtFirst:
    """An iterable that gives nothing the first time."""

    def __init__(self):
        self.n_starts = 0

    def __iter__(self):
        self.n_starts += 1
        return iter("") if self.n_starts == 1 else iter("late")


def test_a_slot_that_was_given_up_is_opened_again():
    late = EmptyAtFirst()
    mux = StochasticMux(
        [late, Streamer(counting)], 2, None, mode="single_active", prune_empty_streams=False
    )
    items = list(mux.iterate(6000))
    assert late.n_starts > 2
    assert {"l", "a", "t", "e"} <= set(map(str, items))


class Interrupting:
    """A source whose closing is interrupted."""

    def __init__(self, log, error):
        self.log, self.error = log, error

    def __call__(self):
        try:
            yield from itertools.count()
        finally:
            self.log.append(self)
            if self.error is not None:
                raise self.error


@pytest.mark.parametrize("mux", [ShuffledMux, RoundRobinMux])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("late")])
def test_an_error_in_closing_one_stream_leaves_none_open(mux, error):
    log = []
    streamers = [Streamer(Interrupting(log, each)) for each in (None, error, OSError("x"), None)]
    stream = mux(streamers).iterate()
    for _ in range(100):
        next(stream)
    with pytest.raises(type(error)) as caught:
        stream.close()
    assert isinstance(caught.value.__context__, (OSError, GeneratorExit))
    assert len(log) == 4
    assert [streamer.active for streamer in streamers] == [0] * 4


def test_streams_that_cannot_be_opened_leave_a_closed_copy():
    def failing():
        raise OSError("gone")

    class Failing:
        def __iter__(self):
            failing()

    good = Streamer(counting)
    mux = ShuffledMux([good, Streamer(Failing())])
    with mux as active:
        with pytest.raises(OSError, match="gone"):
            active.streams_
        assert good.active == 0


def test_a_source_that_raises_generator_exit_ends_the_stream():
    def bad():
        yield 1
        raise GeneratorExit

    good = Streamer("ab")
    mux = RoundRobinMux([Streamer(bad), good])
    stream = mux.iterate()
    with pytest.raises(GeneratorExit):
        list(stream)
    assert (mux.active, good.active) == (0, 0)
    assert next(stream, "over") == "over"
