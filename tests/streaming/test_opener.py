"""Openers: whoever opens the sources, at any time, the items are the same."""

import json

import pytest
from _cases import some
from _search import examples
from _trees import plain, read, tree
from hypothesis import given
from hypothesis import strategies as st

import pescador
from pescador import Streamer
from pescador._streaming import positions
from pescador._streaming.opener import IN_PLACE, InPlace
from pescador._streaming.survey import streamers_of
from pescador.core import OWN


class Through(Streamer):
    """A streamer whose sources are opened by another opener."""

    def __init__(self, streamer, opener):
        self.opener = opener
        super().__init__(streamer)

    def _classified(self):
        return OWN, iter

    def _below(self, parent):
        return parent.within(parent.session.opened_by(self.opener))

    def _open_own(self, parent, place, number):
        return self.streamer._open_run(self._below(parent), place, number)

    def _open_at(self, parent, place, number, position):
        return self.streamer._open_at(self._below(parent), place, number, position)


def is_source(streamer):
    """Tell whether there is no mux below a streamer."""
    return not any(isinstance(each, pescador.BaseMux) for each in streamers_of(streamer))


class Counting(InPlace):
    """Opens in place, and knows what is open."""

    def __init__(self, n_ahead=0):
        self.n_ahead = n_ahead
        self.n_opened = self.n_open = self.n_hits = 0
        self.ahead = {}

    def open(self, streamer, parent, place, number, limit, position=0):
        source = self.start(streamer, parent, place, number, limit, position)
        self.n_opened += 1
        self.n_open += 1
        return source

    def start(self, *activation):
        """Start an activation."""
        return super().open(*activation)

    def end(self, streamer, source):
        self.n_open -= 1
        super().end(streamer, source)

    def finish(self):
        """Close what was opened ahead and never asked for."""
        for streamer, source in self.ahead.values():
            IN_PLACE.end(streamer, source)
        self.ahead.clear()


class Ahead(Counting):
    """Opens what is announced at once, and hands it over when it is asked for."""

    def start(self, streamer, parent, place, number, limit, position):
        found = self.ahead.pop((parent.path, place, number), None)
        if found is not None and found[0] is streamer:
            self.n_hits += 1
            return found[1]
        assert found is None
        return IN_PLACE.open(streamer, parent, place, number, limit, position)

    def expect(self, likely):
        for streamer, parent, place, number, limit, position in likely:
            key = parent.path, place, number
            if key not in self.ahead and is_source(streamer):
                try:
                    source = IN_PLACE.open(streamer, parent, place, number, limit or 0, position)
                except Exception:
                    continue  # it will be told when it is asked for, if it is
                self.ahead[key] = streamer, source
        while len(self.ahead) > 4 * self.n_ahead:
            streamer, source = self.ahead.pop(next(iter(self.ahead)))
            IN_PLACE.end(streamer, source)


class Wrong(Counting):
    """Opens something else than what is announced, reads of it, and throws it away."""

    def expect(self, likely):
        for streamer, parent, place, number, *_ in likely:
            if is_source(streamer):
                source = IN_PLACE.open(streamer, parent, place, number + 12345, 0)
                try:
                    next(source, None)
                except Exception:
                    pass
                finally:
                    IN_PLACE.end(streamer, source)


class Delayed(Counting):
    """Opens a source only when its first item is asked for."""

    def start(self, *activation):
        record = _Delayed(activation)
        items = record.items()
        next(items)
        positions.records[items] = record
        return items

    def end(self, streamer, source):
        self.n_open -= 1
        source.close()


class _Delayed:
    def __init__(self, activation):
        self.activation = activation
        self.source = None

    def items(self):
        yield None
        self.source = IN_PLACE.open(*self.activation)
        try:
            yield from self.source
        finally:
            IN_PLACE.end(self.activation[0], self.source)

    def position(self, n_given):
        if self.source is None:
            return self.activation[-1]
        return positions.position_of(self.source, n_given)


OPENERS = {
    "in place": Counting,
    "in place, announced": lambda: Counting(3),
    "a step ahead": lambda: Ahead(1),
    "ahead": lambda: Ahead(7),
    "wrong": lambda: Wrong(4),
    "delayed": Delayed,
}
some_openers = pytest.mark.parametrize(
    "kind", some(list(OPENERS), 0, ["ahead", "wrong", "delayed"])
)


@some_openers
@given(number=st.integers(0, 2**32 - 1))
@examples(50)
def test_the_items_do_not_depend_on_the_opener(kind, number):
    # (What opens later fails later, and so counts at another moment.)
    may_fail = kind != "delayed"
    inline = read(tree(number, may_fail).iterate())
    opener = OPENERS[kind]()
    assert read(Through(tree(number, may_fail), opener).iterate()) == inline
    opener.finish()
    assert not opener.n_open


@some_openers
@given(number=st.integers(0, 2**32 - 1), n_first=st.integers(0, 40))
@examples(50)
def test_a_state_does_not_depend_on_the_opener(kind, number, n_first):
    """What has been announced, or opened ahead, leaves no trace in it."""

    def state_after(stream):
        with stream:
            start = [plain(item) for _, item in zip(range(n_first), stream)]
            state = json.loads(json.dumps(stream.state_dict()))
            return start, state, read(stream)

    inline = state_after(tree(number, False).iterate())
    through = Through(tree(number, False), OPENERS[kind]())
    start, state, rest = state_after(through.iterate())
    assert (start, rest) == (inline[0], inline[2])
    if kind != "delayed":  # (What is not open yet is known by its position alone.)
        assert state == inline[1]
    through.opener.finish()
    resumed = Through(tree(number, False), OPENERS[kind]())
    assert read(resumed.resume(state)) == inline[2]
    resumed.opener.finish()
    assert not resumed.opener.n_open


@pytest.mark.parametrize("mode", ["with_replacement", "exhaustive"])
def test_all_that_is_opened_was_announced_where_it_can_be_known(mode):
    sources = [Streamer(range, 100 * k, 100 * k + 9) for k in range(50)]
    mux = pescador.StochasticMux(sources, 4, 3, mode=mode, random_state=0)
    opener = Ahead(8)
    assert list(Through(mux, opener).iterate(100)) == list(mux.iterate(100))
    assert opener.n_hits == opener.n_opened > 20
    opener.finish()


def test_most_replacements_of_different_streamers_are_known():
    """But for those whose choice depends on which stream ends first: at most n_active of n."""
    sources = [Streamer(range, 100 * k, 100 * k + 9) for k in range(50)]
    mux = pescador.StochasticMux(sources, 4, 3, mode="single_active", random_state=0)
    opener = Ahead(8)
    assert list(Through(mux, opener).iterate(600)) == list(mux.iterate(600))
    assert opener.n_hits > 0.8 * opener.n_opened > 100
    opener.finish()


def test_an_opener_beside_another_mux_sees_nothing_of_it():
    sources = [Streamer(range, k) for k in range(4, 9)]
    left, right = Counting(), Counting()
    halves = [
        Through(pescador.RoundRobinMux(sources), left),
        Through(pescador.RoundRobinMux(sources[:3]), right),
    ]
    assert len(list(pescador.ChainMux(halves))) == sum([4, 5, 6, 7, 8]) + sum([4, 5, 6])
    assert (left.n_opened, right.n_opened) == (5, 3)


def test_an_opener_is_told_the_limit():
    seen = []

    class Limits(Counting):
        def start(self, streamer, parent, place, number, limit, position):
            seen.append(limit)
            return IN_PLACE.open(streamer, parent, place, number, limit, position)

    mux = pescador.StochasticMux(["abcdefgh"] * 3, 2, 4, dist="constant", random_state=0)
    assert len(list(Through(mux, Limits()).iterate(30))) == 30
    assert set(seen) == {4}
    seen.clear()
    assert len(list(Through(pescador.ShuffledMux(["abc"]), Limits()).iterate(5))) == 5
    assert set(seen) == {0}
