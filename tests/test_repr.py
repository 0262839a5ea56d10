"""What a person at the prompt sees of a streamer: short, true, and at no cost."""

import dataclasses
import functools
import html.parser
import itertools
import sys
import threading
from collections import Counter, OrderedDict, deque, namedtuple

import numpy as np
import pytest

import pescador
from pescador import (
    ChainMux,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    ZMQStreamer,
    buffer_stream,
)

WIDTH, MOST_LINES = 88, 60
MOST_HTML = 60_000  # characters


def load(path, n_items=3):
    """Yield nothing that matters."""
    yield from range(n_items)


def taking(*_, **__):
    """Take any arguments."""
    yield from ()


def pool(n_streamers):
    return [Streamer(load, f"{number}.npz") for number in range(n_streamers)]


def lines(*texts):
    return "\n".join(texts)


# One line to a streamer.

TREES = {
    "a leaf": (Streamer(load, "a.npz", n_items=2), "Streamer(load, 'a.npz', n_items=2)"),
    "a leaf in a streamer": (Streamer(Streamer("ab")), "Streamer(Streamer('ab'))"),
    "a pool": (
        StochasticMux(pool(1000), 4, 16),
        lines(
            "StochasticMux(<1,000 streamers>, n_active=4, rate=16)",
            *(f"    Streamer(load, '{number}.npz')" for number in range(8)),
            "    ... and 992 more",
        ),
    ),
    "weights": (
        ShuffledMux(pool(2), [3, 1], random_state=7),
        lines(
            "ShuffledMux(<2 streamers>, random_state=7)",
            "    0.75    Streamer(load, '0.npz')",
            "    0.25    Streamer(load, '1.npz')",
        ),
    ),
    "weights of a function": (
        ShuffledMux(pool(1), lambda _: [1]),
        "ShuffledMux(<1 streamer>, weights=<lambda>)\n    1       Streamer(load, '0.npz')",
    ),
    "options": (
        StochasticMux(pool(1), 1, None, mode="single_active", dist="constant"),
        lines(
            "StochasticMux(<1 streamer>, n_active=1, rate=None, mode='single_active',",
            "        dist='constant')",
            "    Streamer(load, '0.npz')",
        ),
    ),
    "a background process over a map over a mux": (
        ZMQStreamer(Streamer(buffer_stream, RoundRobinMux(pool(1), "cycle"), 8), transport="tcp"),
        lines(
            "ZMQStreamer(Streamer(...), transport='tcp')",
            "    Streamer(buffer_stream, RoundRobinMux(...), 8)",
            "        RoundRobinMux(<1 streamer>, mode='cycle')",
            "            Streamer(load, '0.npz')",
        ),
    ),
    "a map behind a partial": (
        Streamer(functools.partial(buffer_stream, ChainMux([]), 8)),
        "Streamer(partial(buffer_stream, ChainMux(...), 8))\n    ChainMux(<0 streamers>)",
    ),
    "a method of a mux": (
        Streamer(ChainMux([]).iterate, 3),
        "Streamer(ChainMux(...).iterate, 3)\n    ChainMux(<0 streamers>)",
    ),
    "a lazy chain": (ChainMux(taking), "ChainMux(<streamers read lazily> from taking)"),
    "a chain over a streamer": (
        ChainMux(Streamer(load, "a")),
        "ChainMux(<streamers read lazily> from Streamer(load, 'a'))",
    ),
    "a map that is open": (
        Streamer(buffer_stream(ChainMux([]), 8)),
        "Streamer(<iterator of buffer_stream>)",
    ),
}


@pytest.mark.parametrize("streamer, expected", TREES.values(), ids=TREES)
def test_the_repr_is_a_tree(streamer, expected):
    assert repr(streamer) == expected


def test_the_older_mux_tells_what_was_given():
    with pytest.warns(DeprecationWarning):
        mux = pescador.mux.Mux(["ab"], 2, revive=True)
    assert repr(mux).startswith("Mux(<1 streamer>, k=2, revive=True)\n")


class Balanced(StochasticMux):
    """A subclass with arguments of its own."""

    def __init__(self, paths):
        super().__init__([Streamer(load, path) for path in paths], 2, 4)


class Terse(Streamer):
    """A subclass with a ``__repr__`` of its own."""

    def __repr__(self):
        return "terse\n!"


def test_a_subclass_tells_what_it_mixes_and_how():
    assert repr(Balanced("a")) == lines(
        "Balanced(<1 streamer>, n_active=2, rate=4)", "    Streamer(load, 'a')"
    )


def test_a_repr_of_a_subclass_stays_its_own():
    assert repr(ChainMux([Terse("ab")])) == "ChainMux(<1 streamer>)\n    terse !"
    assert "<b>terse !</b>" in ChainMux([Terse("ab")])._repr_html_()


# Bounds.


class Fails:
    """A value whose ``__repr__`` raises."""

    def __repr__(self):
        raise ZeroDivisionError


class Long:
    """A value whose ``__repr__`` is long, has many lines, and signs that no terminal should get."""

    def __repr__(self):
        return "\x1b[31m\ud800\n" * 10**5


@dataclasses.dataclass
class Config:
    """A value that has a ``__repr__`` without being asked."""

    name: str = "x" * 10**4


def itself():
    mux = ShuffledMux(["ab"])
    mux.streamers.append(mux)
    return mux


def foreign():
    mux = ShuffledMux(["ab"])
    mux.streamers.append(3)
    return mux


def of_itself():
    streamer = Streamer(load, [])
    streamer.args[0].append(streamer)
    streamer.kwargs = {"streamer": streamer}
    return streamer


def deep(wrap, n_levels=80):
    streamer = ChainMux(["ab"])
    for _ in range(n_levels):
        streamer = wrap(streamer)
    return streamer


def wide():
    mux = ShuffledMux(["ab"])
    for _ in range(9):
        mux = ShuffledMux([mux] * 9)
    return mux


Point = namedtuple("Point", "x y")
HUGE = {
    "an array": np.zeros((1000, 1000)),
    "an array of objects": np.array([Fails()]),
    "text": "x" * 10**6,
    "bytes": b"x" * 10**6,
    "a list": list(range(10**6)),
    "a dict": dict.fromkeys(range(10**6)),
    "a set": set(range(10**5)),
    "other containers": [deque(range(10**5)), Counter(range(10**5)), OrderedDict(a=1), {}, set()],
    "a named tuple": Point("x" * 10**5, Point(1, 2)),
    "an integer": 1 << 10**6,
    "nested lists": functools.reduce(lambda inner, _: [inner], range(10**5), []),
    "a dataclass": Config(),
    "one that fails": Fails(),
    "one that is long": Long(),
    "streamers in a list": [itself()] * 5,
    "a partial": functools.partial(load, *range(1000), **{f"n{n}": n for n in range(1000)}),
}
UNUSUAL = {
    **{
        name: functools.partial(Streamer, taking, value, name=value) for name, value in HUGE.items()
    },
    "many arguments": lambda: Streamer(taking, *range(10**5)),
    "many streamers as arguments": lambda: Streamer(taking, *[itself() for _ in range(1000)]),
    "a mux in itself": itself,
    "a streamer in itself": of_itself,
    "deep muxes": lambda: deep(lambda each: ShuffledMux([each])),
    "deep streamers": lambda: deep(Streamer),
    "deep arguments": lambda: deep(lambda each: Streamer(buffer_stream, each, 1)),
    "wide": wide,
    "before __init__": lambda: object.__new__(StochasticMux),
    "a streamer before __init__": lambda: object.__new__(Streamer),
    "a foreign value among streamers": foreign,
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_a_repr_is_bounded(name):
    streamer = UNUSUAL[name]()
    text = repr(streamer)
    assert text.startswith(type(streamer).__name__ + "(")
    assert text.count("\n") < MOST_LINES and max(map(len, text.splitlines())) <= WIDTH
    assert all(line.isprintable() for line in text.splitlines())
    assert len(streamer._repr_html_()) < MOST_HTML


def test_options_of_numpy_do_not_write_out_an_array():
    with np.printoptions(threshold=sys.maxsize):
        assert "<float64 array of shape (300, 300)>" in repr(Streamer(load, np.zeros((300, 300))))


class Counting(list):
    """A list that counts how many of its values are looked at."""

    n_seen = 0

    def __iter__(self):
        raise AssertionError("nobody needs all of them")

    def __getitem__(self, key):
        assert isinstance(key, slice)
        self.n_seen += key.stop
        return super().__getitem__(key)


def test_no_more_of_a_pool_is_looked_at_than_is_shown():
    mux = ShuffledMux(pool(1000), range(1, 1001))
    mux.streamers = Counting(mux.streamers)
    assert "992 more" in repr(mux) and "992 more" in mux._repr_html_()
    assert mux.streamers.n_seen <= 2 * 8


def test_nothing_is_started_or_read():
    def fails(*_):
        raise AssertionError("started")
        yield

    one_shot = iter("abc")
    streamers = [
        Streamer(one_shot),
        Streamer(fails),
        ChainMux(fails),
        ChainMux(Streamer(fails)),
        ZMQStreamer(Streamer(fails)),
        Streamer(buffer_stream, Streamer(fails), 1),
        Streamer(buffer_stream(Streamer(fails), 1)),
    ]
    mux = ShuffledMux(streamers)
    assert "fails" in repr(mux) and "fails" in mux._repr_html_()
    assert [each.active for each in (mux, *streamers)] == [0] * 8
    assert list(streamers[0]) == ["a", "b", "c"]


def test_a_value_that_shows_its_streamer_ends():
    class Owner:
        def __repr__(self):
            return f"Owner of {self.streamer!r}"

    owner = Owner()
    owner.streamer = Streamer(load, owner)
    assert repr(owner.streamer) == "Streamer(load, Owner of ...)"


# What is running.


def test_runs_are_counted():
    mux = RoundRobinMux([range(9), range(9)])
    with mux.iterate() as stream:
        next(stream)
        assert repr(mux) == lines(
            "RoundRobinMux(<2 streamers>)  [1 active]",
            "    Streamer(range(0, 9))  [1 active]",
            "    Streamer(range(0, 9))  [1 active]",
        )
        assert repr(stream) == "<Stream of RoundRobinMux(<2 streamers>), 1 item given>"
    assert "active" not in repr(mux)


def test_an_activated_copy_tells_what_its_streams_have_given():
    mux = ShuffledMux([range(99), range(99)], random_state=0)
    with mux as active:
        assert repr(active).splitlines()[0].endswith("[activated copy, 0 items given]") or (
            "#0 gave 0" in repr(active)
        )
        for _ in range(10):
            next(active.stream_)
        first, second = active.stream_counts_
        expected = f"[activated copy, 10 items given, open: #0 gave {first}, #1 gave {second}]"
        assert expected in " ".join(repr(active).split())
        assert f"open: #0 gave {first}, #1 gave {second}" in active._repr_html_()


def test_many_open_streams_are_summed_up():
    with ShuffledMux(["ab"] * 50) as active:
        next(active.stream_)
        assert "#7 gave" in repr(active) and "and 42 more]" in repr(active)


def test_a_repr_of_what_another_thread_runs():
    mux, stop, failures = StochasticMux(["a"] * 20, 5, 1), threading.Event(), []
    with mux as active:

        def look():
            while not stop.is_set():
                try:
                    repr(active), repr(mux)
                except Exception as error:
                    failures.append(error)

        thread = threading.Thread(target=look)
        thread.start()
        for _ in itertools.islice(active.stream_, 2000):
            pass
        stop.set()
        thread.join()
    assert not failures


# HTML.


TAGS = {"div", "style", "details", "summary", "ul", "li", "b", "i", "em", "span"}


class Outline(html.parser.HTMLParser):
    """Reads HTML, and sees to it that all that is opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], Counter(), [], ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags[tag] += 1
        self.attributes += [name for name, _ in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data


@pytest.mark.parametrize("streamer, expected", TREES.values(), ids=TREES)
def test_a_notebook_shows_the_same(streamer, expected):
    outline = Outline(streamer._repr_html_())
    assert "".join(outline.text.split()) == "".join(expected.split())
    assert {*outline.tags} <= TAGS
    assert {*outline.attributes} <= {"class", "style", "open"}


def test_a_notebook_opens_what_leaves_no_choice():
    text = Streamer(Streamer, ShuffledMux([ChainMux(["ab"]), ChainMux(["ab"])]))._repr_html_()
    assert Outline(text).tags["details"] == 4
    assert text.count("<details open>") == 2


def test_a_notebook_shows_text_as_text():
    hostile = "<script>alert('&amp;')</script>"
    kind = type("<b onclick=x>", (Streamer,), {})
    text = ShuffledMux([Streamer(load, hostile), kind(hostile)])._repr_html_()
    assert "<script" not in text and "<b onclick" not in text
    assert hostile in Outline(text).text and "<b onclick=x>(" in Outline(text).text


@pytest.mark.parametrize("name", UNUSUAL)
def test_a_notebook_gets_whole_html(name):
    streamer = UNUSUAL[name]()
    Outline(streamer._repr_html_()).text.encode()


def test_styles_keep_to_their_tree():
    text = Streamer("ab")._repr_html_()
    style = text.partition("<style>")[2].partition("</style>")[0]
    selectors = [each.rpartition("}")[2].strip() for each in style.split("{")[:-1]]
    named = [each for each in selectors if not each.startswith("@media")]
    assert named and all(".pescador-tree" in each for each in named)
    assert "prefers-color-scheme: dark" in style and "--jp-layout-color1" in style
