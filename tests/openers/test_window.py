"""The caller's side, with workers that are made up: they delay, reorder, and die."""

import itertools
import math
import random

import pytest
from _search import examples
from _trees import read, tree
from hypothesis import given
from hypothesis import strategies as st

from pescador import RoundRobinMux, ShuffledMux, StochasticMux, Streamer, WorkerError
from pescador._openers.activation import Batch
from pescador._openers.guesses import Guesses
from pescador._openers.orders import Adopt, Ask, Close, Credit, Draw, Moment, Open
from pescador._openers.window import Window
from pescador._streaming.opener import Expected, open_at
from pescador._streaming.positions import n_given_at, position_of
from pescador._streaming.seeds import Seed
from pescador._streaming.session import Session
from pescador._streaming.survey import generators_of
from pescador.core import OWN


class Worker:
    """What it has open, and what it has not told yet."""

    name = "a worker of the test's"

    def __init__(self):
        self.unfinished, self.handed_out, self.cost, self.told = {}, {}, 0, 0.0
        self.is_connected = True
        self.works = {}


class Work:
    """An activation of one."""

    def __init__(self, order):
        self.order, self.source, self.is_over = order, None, False
        self.n_made = n_given_at(order.position)
        self.limit = order.limit


class Engine:
    """Workers that do at each look what chance says."""

    max_bytes = 1000
    can_kill = True
    n_threads = 1

    def __init__(self, rng, n_workers=3, death=0.02):
        self.rng, self.death = rng, death
        self.workers = [Worker() for _ in range(n_workers)]
        self.n_deaths = self.n_open = self.most_open = 0

    def begin(self, window):
        self.window = window

    def source_of(self, streamer):
        return streamer

    def send(self, worker, order):
        if isinstance(order, Open):
            worker.works[order.activation] = Work(order)
        elif isinstance(order, Adopt) and order.activation in worker.works:
            worker.works[order.activation].limit = order.limit
        elif isinstance(order, Close) and order.activation in worker.works:
            work = worker.works[order.activation]
            if not work.is_over:
                self.finish(worker, work, [])
        elif isinstance(order, Credit):
            assert all(n_items > 0 for _, n_items in order.handed_out)
        else:
            assert isinstance(order, (Ask, Adopt, Close, Draw))

    def take_back(self, worker, activation):
        return False

    def poll(self, seconds):
        worker = self.rng.choice(self.workers)
        if self.rng.random() < self.death:
            self.die(worker)
            return
        works = [each for each in worker.works.values() if not each.is_over]
        if works:
            self.work(worker, self.rng.choice(works))

    def die(self, worker):
        self.n_deaths += 1
        self.workers.remove(worker)
        self.workers.append(Worker())
        for each in worker.works.values():
            if each.source is not None and not each.is_over:
                self.n_open -= 1
        self.window.bury(worker, [], "a worker died", False)

    def work(self, worker, work):
        """Open it, make some items, and tell of all that, or of nothing yet."""
        name, marks, items = work.order.activation, [], []
        moment = Moment.OPENING
        try:
            if work.source is None:
                work.source = self.start(work.order)
                self.n_open += 1
                self.most_open = max(self.most_open, self.n_open)
                marks.append(("opened", name))
            moment = Moment.ITEM
            has_ended = False
            for _ in range(self.rng.randint(0, 5)):
                if work.n_made == (work.limit or -1) or (work.limit is None and items):
                    break
                item = next(work.source, None)
                if item is None:
                    has_ended = True
                    break
                items.append(item)
                work.n_made += 1
            marks.append(("at", name, work.n_made, position_of(work.source, work.n_made)))
            if has_ended or work.n_made == (work.limit or -1):
                self.finish(worker, work, marks, items)
                return
        except Exception as error:
            work.is_over = True
            self.n_open -= work.source is not None
            marks += [("error", name, error), ("failed", name, moment)]
        self.tell(worker, work, marks, items)

    def start(self, order):
        entropy, path, display_path, words = order.seed
        taken = list(zip(generators_of(order.source), words))
        seed = Seed.received(entropy, path, taken, Session(), display_path)
        return open_at(order.source, seed, order.place, order.number, order.position)

    def finish(self, worker, work, marks, items=()):
        name = work.order.activation
        work.is_over = True
        try:
            if work.source is not None:
                self.n_open -= 1
                getattr(work.source, "close", lambda: None)()
        except Exception as error:
            marks += [("error", name, error), ("failed", name, Moment.CLOSING)]
        else:
            marks.append(("ended", name))
        self.tell(worker, work, marks, items)

    def tell(self, worker, work, marks, items):
        batches = [Batch(work.order.activation, list(items), 100 * len(items))] if items else []
        self.window.take(worker, batches, marks)

    def at(self, worker):
        return []

    def kill(self, worker, why, blamed):
        self.die(worker)

    def close(self):
        for worker in self.workers:
            for work in worker.works.values():
                if not work.is_over:
                    self.finish(worker, work, [])


class Through(Streamer):
    """A streamer whose sources are opened through a window."""

    def __init__(self, streamer, engine, n_ahead):
        self.engine, self.n_ahead = engine, n_ahead
        super().__init__(streamer)

    def _classified(self):
        return OWN, iter

    def _is_source(self):
        return False

    def _below(self, parent):
        make = lambda: Window(self.engine, self.n_ahead, 5, None)  # noqa: E731
        return parent.within(parent.session.opened_by(parent.session.kept("window", make)))

    def _open_own(self, parent, place, number):
        return self.streamer._open_run(self._below(parent), place, number)


# (Weights that decide little, and others that are warned of.)
@pytest.mark.filterwarnings("ignore::UserWarning")
@given(
    number=st.integers(0, 2**32),
    n_ahead=st.sampled_from([0, 1, 4, 16]),
    seed=st.integers(0, 2**32),
)
@examples(150)
def test_random_trees_with_workers_that_die(number, n_ahead, seed):
    expected = read(tree(number).cycle())
    engine = Engine(random.Random(seed))
    assert read(Through(tree(number), engine, n_ahead).cycle()) == expected
    assert engine.n_open == 0


def counting(who, n_items):
    for count in range(n_items):
        yield {"who": who, "count": count}


@pytest.mark.parametrize("death", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_open_is_bounded(death, seed):
    mux = StochasticMux([Streamer(counting, n, 9) for n in range(30)], 4, 3, random_state=seed)
    expected = read(mux.iterate(), 200)
    engine = Engine(random.Random(seed), death=death)
    assert read(Through(mux, engine, 5).iterate(), 200) == expected
    assert engine.most_open <= 4 + 5
    assert bool(engine.n_deaths) == bool(death)


def test_a_source_at_which_workers_die_three_times_fails_there():
    class Deadly(Engine):
        def work(self, worker, work):
            if work.order.source.args[0] == 1 and work.n_made == 2:
                self.workers.remove(worker)
                self.workers.append(Worker())
                self.window.bury(worker, [(work.order.activation, 2)], "it died", False)
            else:
                super().work(worker, work)

        def start(self, order):
            return itertools.islice(super().start(order), 100)

    rng = random.Random(1)
    rng.randint = lambda low, high: 1
    mux = RoundRobinMux([Streamer(counting, 0, 9), Streamer(counting, 1, 9)])
    stream = Through(mux, Deadly(rng, death=0.0), 0).iterate()
    found = []
    with pytest.raises(
        WorkerError, match=r"it died.*3 workers in a row ended at the same item, after 2 items of"
    ):
        for item in stream:
            found.append(tuple(item.values()))
    assert found == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]


# Guesses.


class Opened:
    """An activation, as far as guesses know it."""

    def __init__(self, expected):
        self.parent, self.number = expected.parent, expected.number
        self.place, self.streamer, self.limit = expected.place, expected.streamer, expected.limit
        self.start = expected.position


STREAMER = Streamer(counting, 0, 1)


def expected(number, place=0, limit=3, parent=None):
    return Expected(STREAMER, parent or PARENT, place, number, limit)


PARENT = Seed.root(Session()).child(0, 0)


def wishes(guesses):
    """Return what is to be opened ahead, opening it."""
    found = []
    while (wish := guesses.next_wish()) is not None:
        guesses.add(Opened(wish[1]))
        found.append(wish[1].number)
    return found


def test_as_many_are_open_ahead_as_may_be():
    guesses = Guesses(3)
    guesses.expect([expected(number) for number in range(9)], 9 * [0.0])
    assert wishes(guesses) == [0, 1, 2]
    found, wrong = guesses.settle(expected(0))
    assert (found.number, wrong) == (0, [])
    assert wishes(guesses) == [3]


def test_a_wrong_guess_is_given_back():
    guesses = Guesses(3)
    guesses.expect([expected(number) for number in range(3)], 3 * [0.0])
    wishes(guesses)
    found, wrong = guesses.settle(expected(0, place=1))
    assert found is None
    assert [each.number for each in wrong] == [0]
    found, wrong = guesses.settle(expected(2, limit=4))
    assert found is None
    assert sorted(each.number for each in wrong) == [1, 2]


def test_a_limit_that_was_not_known_fits_any():
    guesses = Guesses(3)
    guesses.expect([expected(0, limit=None)], [0.0])
    wishes(guesses)
    assert guesses.settle(expected(0, limit=7))[0].number == 0


def test_what_is_known_of_runs_is_bounded():
    guesses = Guesses(2)
    for number in range(3000):
        inner = PARENT.child(0, number)
        guesses.settle(expected(0, parent=inner))
        guesses.expect([expected(1, parent=inner)], [0.0])
        guesses.plan(0.0, expected(number), inner.path, [])
    assert len(guesses._runs) <= 1001
    assert len(guesses._planned) <= 1001


def test_inner_runs_that_open_often_come_first():
    guesses = Guesses(4)
    often, seldom = PARENT.child(1, 0), PARENT.child(2, 0)
    for n_items in range(100):
        guesses.n_items = n_items
        if n_items % 10 == 0:
            guesses.settle(expected(n_items // 10, parent=often))
        if n_items % 50 == 0:
            guesses.settle(expected(n_items // 50, parent=seldom))
    guesses.expect([expected(number, parent=seldom) for number in range(2, 9)], 7 * [math.inf])
    guesses.expect([expected(number, parent=often) for number in range(10, 19)], 9 * [math.inf])
    assert wishes(guesses) == [10, 11, 12, 13]


def test_a_shuffled_mux_expects_its_sources_once():
    mux = ShuffledMux([Streamer(counting, n, 5) for n in range(6)], random_state=1)
    engine = Engine(random.Random(1), death=0.0)
    assert read(Through(mux, engine, 3).iterate()) == read(mux.iterate())
