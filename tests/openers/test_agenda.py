"""Which activation a worker works on next."""

import math
from array import array

import pytest

from pescador._openers.agenda import Agenda
from pescador._openers.orders import Due, Open
from pescador._openers.work import Work


def due(*times, interval=1.0):
    return Due(0, array("d", times), interval)


def work(name, when, *, is_open=True, is_guess=False, limit=0):
    made = Work(Open(name, None, (b"", b"", (), []), 0, name, limit, 0, when, is_guess))
    made.source = iter(()) if is_open else None
    return made


class Room:
    """Whether there is memory."""

    is_there = True

    def __call__(self, work):
        return self.is_there


@pytest.fixture
def room():
    return Room()


def order(agenda):
    """Return what is worked on, each for one item."""
    names = []
    while len(names) < 20 and (chosen := agenda.next()) is not None:
        names.append(chosen.order.activation)
        if chosen.source is None:
            chosen.source = iter(())
        else:
            chosen.n_made += 1
        agenda.put(chosen)
    return names


def agenda_of(room, *works):
    agenda = Agenda(room)
    for each in works:
        agenda.put(each)
    return agenda


def test_items_are_made_in_the_order_in_which_they_are_needed(room):
    never = math.inf
    agenda = agenda_of(
        room,
        work(0, due(3.0, 4.0, never)),
        work(1, due(1.0, 6.0, never)),
        work(2, due(2.0, 5.0, 7.0, never)),
    )
    assert order(agenda) == [1, 2, 0, 0, 2, 1, 2]


def test_what_the_caller_waits_for_comes_first_though_there_is_no_room(room):
    agenda = agenda_of(room, first := work(0, due(1.0)), work(1, due(2.0)))
    room.is_there = False
    assert agenda.next() is None
    asked = work(2, due(9.0, math.inf))
    asked.asked_for = 0
    agenda.put(asked)
    assert order(agenda) == [2]
    room.is_there = True
    first.due = due(1.0, math.inf)
    assert order(agenda)[:3] == [0, 1, 1]


def test_a_guess_is_opened_when_it_is_time(room):
    wanted = work(0, due(*map(float, range(0, 50, 2)), math.inf, interval=2.0))
    agenda = agenda_of(room, wanted, work(1, due(13.0), is_open=False, is_guess=True))
    assert order(agenda)[:6] == [0, 0, 0, 1, 0, 0]  # 13 - 4 * 2 = 5


def test_a_guess_is_opened_if_there_is_nothing_else(room):
    agenda = agenda_of(
        room,
        work(0, due(1.0)),
        work(1, due(99.0), is_open=False, is_guess=True),
        work(2, due(98.0), is_open=False, is_guess=True),
    )
    room.is_there = False
    assert order(agenda) == [2, 1]


def test_the_items_of_guesses_come_last(room):
    guess = work(0, due(0.0), is_guess=True)
    guess.n_most = 2
    agenda = agenda_of(room, guess, work(1, due(50.0, 51.0, math.inf)))
    assert order(agenda) == [1, 1, 0, 0]


def test_what_has_changed_is_looked_at_again(room):
    works = [work(n, due(float(n), math.inf)) for n in range(4)]
    agenda = agenda_of(room, *works)
    works[0].is_over = True
    works[1].is_busy = True
    works[2].due = due(9.0, math.inf)
    agenda.put(works[2])
    assert order(agenda) == [3, 2]


def test_what_is_to_be_closed_needs_no_room(room):
    room.is_there = False
    closing, full = work(0, due(5.0)), work(1, due(4.0), limit=3)
    closing.is_closing, full.n_made = True, 3
    agenda = agenda_of(room, closing, full)
    assert [agenda.next(), agenda.next(), agenda.next()] == [closing, full, None]


def test_nothing_piles_up(room):
    """Guesses that were wanted in the end, and times that are told again and again."""
    wanted = work(0, due(*map(float, range(1000))))
    never = work(1, due(math.inf))
    agenda = agenda_of(room, wanted)
    for number in range(100):
        guess = work(2 + number, due(5.0), is_guess=True)
        agenda.put(guess)
        guess.is_guess, guess.is_over = False, number % 2 == 0
        agenda.put(never)
        assert agenda.next() is wanted
        wanted.n_made += 1
        agenda.put(wanted)
    assert len(agenda._open_guesses) <= 1
    assert len(agenda._open) <= 2
    never.asked_for = 0
    agenda.put(never)
    assert agenda.next() is never
