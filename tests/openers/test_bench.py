"""A worker's loop, without a thread or a process around it."""

import itertools
import threading
from array import array

import pytest
from _sources import TIMEOUT

from pescador import Streamer
from pescador._background.inside import Stopped
from pescador._openers.bench import Bench
from pescador._openers.orders import Adopt, Ask, Close, Credit, Due, Interrupt, Moment, Open
from pescador._streaming.seeds import Seed
from pescador._streaming.session import Session

COST = 10
DUE = Due(0, array("d", [0.0]), 1.0)


class Sink:
    """Takes what a bench hands over, and calls the test at each item."""

    under_way = 0.0

    def __init__(self, at_item=lambda activation, number: None):
        self.taken, self.sent = [], []
        self._at_item = at_item

    def add(self, activation, item, number):
        self.taken.append(item)
        self._at_item(activation, number)
        return COST

    def opened(self, activation):
        self.taken.append(("opened", activation))

    def stands_at(self, activation, number, position):
        self.taken.append(("at", activation, number))

    def ended(self, activation):
        self.taken.append(("ended", activation))

    def failed(self, activation, moment, error):
        self.taken.append(("failed", activation, moment, type(error)))

    def is_due(self):
        return False

    def flush(self):
        self.sent += self.taken
        self.taken = []


def start(order):
    return order.source, Seed.received(b"", b"", [], Session(), ())


def counting(who, n_items=None):
    for count in itertools.count() if n_items is None else range(n_items):
        yield who, count


def opening(activation, limit=0, *, source=None, is_guess=False, **more):
    source = source or Streamer(counting, activation)
    return Open(
        activation, source, (b"", b"", (), []), 0, activation, limit, 0, DUE, is_guess, **more
    )


class Run:
    """A bench that works until it has nothing to do."""

    def __init__(self, max_bytes=1000, at_item=lambda activation, number: None):
        self.sink = Sink(at_item)
        self.bench = Bench(start, self.sink, max_bytes)
        self.note = [0, 0]

    def __call__(self, *orders):
        """Give orders; return what is sent until the bench waits."""
        for order in orders:
            self.bench.hear(order)
        wait = self.bench._condition.wait
        self.bench._condition.wait = self.bench.stop
        try:
            self.bench.run(self.note)
        finally:
            self.bench._condition.wait = wait
            self.bench._is_stopping = False
        sent, self.sink.sent = self.sink.sent, []
        return sent


def numbers(sent, activation):
    return [each[1] for each in sent if each[0] == activation]


def test_an_activation_is_made_as_far_as_memory_allows_and_no_further():
    run = Run(max_bytes=10 * COST)
    assert numbers(run(opening(0)), 0) == list(range(10))
    assert run() == []
    assert numbers(run(Credit(((0, 4),))), 0) == [10, 11, 12, 13]


def test_memory_is_shared():
    run = Run(max_bytes=10 * COST)
    sent = run(opening(0), opening(1))
    assert numbers(sent, 0) == numbers(sent, 1) == list(range(5))


def test_what_is_asked_for_is_made_though_there_is_no_room():
    run = Run(max_bytes=4 * COST)
    run(opening(0))
    assert numbers(run(opening(1)), 1) == []
    assert numbers(run(Ask(1, 0)), 1) == [0]
    assert numbers(run(Ask(1, 1)), 1) == [1]


def test_what_was_made_before_it_was_asked_for_is_sent():
    run = Run(at_item=lambda activation, number: None)
    run.sink.taken = [("held",)]
    run.bench.hear(Ask(0, 0))
    assert run.sink.sent == [("held",)]


def test_an_order_that_comes_in_the_middle_of_an_item_is_not_lost():
    """Another thread takes the item at once, asks for the next one, and gives credit."""

    def at_item(activation, number):
        if number < 20:
            run.bench._obey(Credit(((activation, 1),)))
            run.bench._obey(Ask(activation, number + 1))

    run = Run(max_bytes=COST, at_item=at_item)
    assert numbers(run(opening(0)), 0) == list(range(21))
    assert run.bench._ahead == COST


def test_guesses_come_after_what_is_wanted_but_are_opened_soon():
    run = Run(max_bytes=100 * COST)
    opened = []

    def noting(who):
        opened.append(who)
        yield from counting(who)

    sources = [Streamer(noting, who) for who in range(3)]
    run(
        opening(0, source=sources[0], is_guess=True),
        opening(1, source=sources[1]),
        opening(2, source=sources[2], is_guess=True),
    )
    assert opened == [1, 0, 2]


def test_a_guess_whose_limit_is_not_known_makes_one_item():
    run = Run()
    assert numbers(run(opening(0, None, is_guess=True)), 0) == [0]
    assert run(Adopt(0, 1, DUE)) == [("ended", 0)]
    run = Run()
    run(opening(0, None, is_guess=True))
    assert numbers(run(Adopt(0, 3, DUE)), 0) == [1, 2]


def test_it_is_closed_after_its_limit():
    run = Run()
    assert run(opening(0, 3)) == [("opened", 0), (0, 0), (0, 1), (0, 2), ("ended", 0)]
    assert run(Credit(((0, 3),))) == []
    assert not run.bench._works
    assert run.bench._ahead == 0


def test_what_is_closed_early_gives_its_memory_back():
    run = Run(max_bytes=4 * COST)
    run(opening(0))
    assert run(Close(0)) == [("ended", 0)]
    assert run.bench._ahead == 0
    assert numbers(run(opening(1)), 1) == [0, 1, 2, 3]


def test_errors_are_told_with_their_moment():
    def failing():
        yield 0, 0
        raise ValueError

    class Opened:
        def __iter__(self):
            raise KeyError

    def closing():
        try:
            yield from counting(0)
        finally:
            raise OSError

    run = Run(max_bytes=3 * COST)
    assert run(opening(0, source=Streamer(failing)))[-1] == (
        "failed",
        0,
        Moment.ITEM,
        ValueError,
    )
    assert run(opening(1, source=Streamer(Opened()))) == [("failed", 1, Moment.OPENING, KeyError)]
    run(opening(2, source=Streamer(closing)))
    assert run(Close(2)) == [("failed", 2, Moment.CLOSING, OSError)]


def test_up_to_where_a_worker_has_died_each_item_is_sent_at_once():
    seen = []
    run = Run(at_item=lambda activation, number: seen.append(len(run.sink.sent)))
    run(opening(0, 4, careful_until=2))
    assert seen == [0, 2, 3, 3]


def test_an_interrupt_comes_inside_the_source_only():
    def at_item(activation, number):
        run.bench.hear(Interrupt(0))
        run.bench.interrupt(run.note)  # here it does nothing
        reached.append(number)

    def waiting():
        yield 0, 0
        run.bench.interrupt(run.note)  # as the handler of a signal does
        yield 0, 1

    reached = []
    run = Run(at_item=at_item)
    assert run(opening(0, source=Streamer(waiting)))[-1] == ("ended", 0)
    assert reached == [0]


def test_an_interrupt_of_another_activation_does_nothing():
    def waiting():
        yield 0, 0
        run.bench.hear(Interrupt(1))
        run.bench.interrupt(run.note)
        yield 0, 1

    run = Run()
    assert numbers(run(opening(0, source=Streamer(waiting)), opening(1)), 0) == [0, 1]


def test_a_stop_that_nobody_has_ordered_ends_the_loop():
    """It is that of the whole process."""

    def stopped():
        yield 0, 0
        raise Stopped

    run = Run()
    with pytest.raises(Stopped):
        run(opening(0, source=Streamer(stopped)))


def test_several_threads_share_a_bench():
    sink = Sink()
    bench = Bench(start, sink, 10**6)
    threads = [threading.Thread(target=bench.run, args=([0, 0],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for activation in range(20):
        bench.hear(opening(activation, 50))
    seen = set()
    while len(seen) < 20:
        bench.hear(Ask(0, 50))
        seen = {each[1] for each in list(sink.sent) if each[0] == "ended"}
    bench.stop()
    for thread in threads:
        thread.join(TIMEOUT)
    for activation in range(20):
        assert numbers(sink.sent, activation) == list(range(50))


def test_the_last_item_is_sent_before_its_source_is_closed():
    sent_before = []

    def closing_slowly():
        try:
            yield 7, 0
        finally:
            sent_before.extend(run.sink.sent)

    run = Run()
    run(opening(0, 1, source=Streamer(closing_slowly)), Ask(0, 0))
    assert (7, 0) in sent_before


def test_who_asks_for_what_has_just_ended_is_told_at_once():
    """The order comes while the source is at its last item; another source follows."""
    told = []

    def ending():
        yield 5, 0
        run.bench._orders.append(Ask(0, 1))

    def following():
        told.extend(run.sink.sent)
        yield 6, 0

    run = Run()
    run(opening(0, source=Streamer(ending)), opening(1, source=Streamer(following)))
    assert ("ended", 0) in told
