"""A run that goes on where another one stood: `Stream.state_dict` and `Streamer.resume`."""

import functools
import itertools
import json
import multiprocessing
import subprocess
import sys
import threading

import numpy as np
import pytest
from _cases import matrix, some
from _resume_sources import (
    Counted,
    Hurried,
    Limited,
    Squares,
    main,
    n_noted,
    noted,
    pairs,
    plain,
    pool,
    seeded,
    tree,
)
from _search import examples
from hypothesis import given
from hypothesis import strategies as st

import pescador
from pescador import (
    FRESH_SEED,
    ChainMux,
    PescadorError,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    ZMQStreamer,
)

METHODS = multiprocessing.get_all_start_methods()
MODES = ("with_replacement", "single_active", "exhaustive")
WEIGHTS = [1, 2, 3, 0, 5, 1, 1]
N_ITEMS = 45

streamed = pescador.streamable(pairs)


def through_json(stream):
    """Return the state of a stream as another process would read it."""
    return json.loads(json.dumps(stream.state_dict()))


def taken(stream, n_items):
    """Take items from a stream that stays open."""
    return [plain(next(stream)) for _ in range(n_items)]


def rest(stream):
    """Return all that a stream still gives."""
    return [plain(item) for item in stream]


def check(make, max_iter=N_ITEMS, cycle=False, step=1, stride=3):
    """Interrupt a run at every position, and compare the rest; then interrupt it again and again.

    ``make`` returns the streamer, or one made alike: random generators in it start afresh.
    """
    np.random.seed(3)
    expected = list(itertools.islice(map(plain, make()(max_iter, cycle)), N_ITEMS))
    np.random.seed(3)
    streamer = make()
    stream = streamer(max_iter, cycle)
    for n_items in range(len(expected) + 1):
        if n_items % step == 0:
            state = through_json(stream)
            np.random.seed(3)  # for what has not been drawn yet
            other = make()
            with other.resume(state) as resumed:
                assert rest(itertools.islice(resumed, N_ITEMS - n_items)) == expected[n_items:]
            assert other.active == 0
        if n_items < len(expected):
            np.random.seed(3)  # drawn from once, whenever that may be
            # Taking a state has changed nothing.
            assert plain(next(stream)) == expected[n_items], n_items
    stream.close()
    assert streamer.active == 0
    check_chain(make, expected, max_iter, cycle, stride)


def check_chain(make, expected, max_iter, cycle, stride):
    """Resume what was resumed, every few items."""
    np.random.seed(3)
    streamer, found = make(), []
    stream = streamer(max_iter, cycle)
    while len(found) < len(expected):
        found += taken(stream, min(stride, len(expected) - len(found)))
        state = through_json(stream)
        stream.close()
        assert streamer.active == 0
        np.random.seed(3)
        streamer = make()
        stream = streamer.resume(state)
    stream.close()
    assert found == expected
    assert streamer.active == 0


# Every position of small trees.


class Iterable:
    """Makes iterators of a kind."""

    def __init__(self, make):
        self.make = make

    def __iter__(self):
        return self.make()


@matrix(cover=1, prune=(True, False), weights={"equal": None, "unequal": WEIGHTS}, mode=MODES)
def test_stochastic_mux(mode, weights, prune):
    for dist, rate in (("poisson", None), ("poisson", 3), ("constant", 8.5), ("binomial", 4)):
        for cycle in (False, True):
            check(
                lambda d=dist, r=rate: StochasticMux(pool(), 3, r, weights, mode, prune, 0, dist=d),
                cycle=cycle,
                step=2,
            )


@matrix(cover=1, mode=MODES, rate=(1, 20, 40))
def test_long_streams_with_weights_are_drawn_a_block_at_a_time(mode, rate):
    def make():
        streamers = [Streamer(pairs, *each) for each in enumerate((9, 50, 60, 30, 25, 11))]
        return StochasticMux(streamers, 2, rate, [1, 2, 3, 4, 5, 6], mode, random_state=1)

    stream = make().iterate(300)
    expected = rest(make().iterate(300))
    for n_items in range(len(expected) + 1):
        tail = rest(itertools.islice(make().resume(through_json(stream)), 90))
        assert tail == expected[n_items : n_items + 90], n_items
        next(stream, None)
    stream.close()


def test_more_slots_than_a_byte_can_number():
    make = functools.partial(StochasticMux, [range(50)] * 300, 280, 5, random_state=1)
    check(make, step=9)
    check(functools.partial(make, weights=range(1, 301)), step=9)


FEW = ["abcde", "", "fgh", "ij"]
SMALL = {
    "shuffled": lambda: ShuffledMux(pool(), random_state=1),
    "shuffled, weights": lambda: ShuffledMux(pool(), WEIGHTS, random_state=1),
    **{
        f"round robin, {mode}": lambda mode=mode: RoundRobinMux(FEW, mode, random_state=1)
        for mode in pescador.mux.ROUND_ROBIN_MODES
    },
    **{
        f"chain, {mode}": lambda mode=mode: ChainMux(pool()[:3], mode, random_state=1)
        for mode in ("exhaustive", "cycle")
    },
    **{
        f"lazy chain, {mode}": lambda mode=mode: ChainMux(lambda_chain, mode, random_state=1)
        for mode in ("exhaustive", "cycle")
    },
    "chain, of what a mux gives": lambda: ChainMux(
        StochasticMux([[Streamer(pairs, k, 4)] * 5 for k in range(3)], 2, 3, random_state=1)
    ),
    "list": lambda: Streamer(list(range(7))),
    "nothing": lambda: Streamer([]),
    "no item ever": lambda: ShuffledMux([[], []], random_state=1),
    "string": lambda: Streamer("a\u0394\U0001f600z"),
    "bytes": lambda: Streamer(b"abcde"),
    "array": lambda: Streamer(np.arange(12).reshape(4, 3)),
    "dict": lambda: Streamer(dict.fromkeys(range(6))),
    "long range": lambda: Streamer(range(2**70, 2**70 + 6)),
    "range, by calls": lambda: Streamer(range, 3, 30, 4),
    "nested": lambda: Streamer(Streamer(Streamer(pairs, 1, 6))),
    "nested mux": lambda: Streamer(Streamer(ShuffledMux(pool(), random_state=2))),
    "limited mux": lambda: Streamer(ShuffledMux(pool(), random_state=2), 10),
    "endless mux": lambda: Streamer(ShuffledMux(pool(), random_state=2).cycle),
    "partial": lambda: Streamer(functools.partial(pairs, 3), 6),
    "partial of streamable": lambda: Streamer(functools.partial(streamed, 3), 6),
    "fresh seed": lambda: Streamer(seeded, 1, 5, random_state=FRESH_SEED),
    "makes a mux": lambda: Streamer(StochasticMux, pool(), 2, 5, None, random_state=1),
    "makes a mux, fresh seed": lambda: Streamer(
        StochasticMux, pool(), 2, 5, None, random_state=FRESH_SEED
    ),
    "own iterate, below": lambda: ShuffledMux([Squares([1, 2, 3]), "abc"], random_state=1),
    "mux with own iterate": lambda: Limited(pool(), 2, 3, random_state=1),
    "mux with own iterate, below": lambda: ShuffledMux(
        [Limited(pool(), 2, 3), Limited(pool(), 3, 2)], random_state=1
    ),
    "mux with own iterate, nested": lambda: Streamer(Limited(pool(), 2, 3, random_state=1)),
    "buffers": lambda: Streamer(
        pescador.buffer_stream, StochasticMux(pool(), 2, 4, random_state=2), 4, partial=True
    ),
    "tuples": lambda: Streamer(
        pescador.tuples, Streamer(pescador.buffer_stream, ShuffledMux(pool()), 3), "label", "index"
    ),
    "cache": lambda: Streamer(pescador.cache, ShuffledMux(pool()), 4),
    "cached buffers": lambda: ShuffledMux(
        [
            Streamer(pescador.buffer_stream, Streamer(pescador.cache, tree(), 4), 2),
            Streamer(pescador.buffer_stream, Streamer(ShuffledMux(pool()), 7), 3),
        ]
    ),
    "tree": tree,
}


def lambda_chain():
    """Yield streamers, one after the other."""
    for label in range(4):
        yield Streamer(pairs, label, label + 2)


@pytest.mark.parametrize("name", some(dict(zip(SMALL, SMALL)), 0, list(SMALL)[::2]))
def test_small_trees(name):
    for cycle in (False, True):
        check(SMALL[name], cycle=cycle)
    check(SMALL[name], max_iter=None)
    check(SMALL[name], max_iter=10, cycle=True)


# Random trees.

SEEDS = st.sampled_from((0, 1, "global", "Generator", "RandomState"))
LEAVES = st.one_of(
    st.tuples(st.sampled_from(("list", "range", "array", "string")), st.integers(0, 9)),
    st.tuples(st.sampled_from(("generator", "fresh", "own", "nested")), st.integers(0, 9)),
)


def muxes(children):
    """Return a strategy for what stands for a mux, or a map over one."""
    children = st.lists(children, min_size=1, max_size=5)
    rate = st.sampled_from((None, 1, 2.5, 12))
    draws = st.tuples(st.sampled_from(MODES), rate, st.integers(1, 4), st.booleans())
    dist = st.sampled_from(("poisson", "constant", "binomial"))
    weighted = st.booleans()
    return st.one_of(
        st.tuples(st.just("stochastic"), children, SEEDS, draws, dist, weighted),
        st.tuples(st.just("shuffled"), children, SEEDS, weighted),
        st.tuples(st.just("round"), children, SEEDS, st.integers(0, 2)),
        st.tuples(st.just("chain"), children, SEEDS, st.integers(0, 1)),
        st.tuples(st.sampled_from(("cache", "tuples", "limited")), children, SEEDS),
    )


TREES = muxes(LEAVES | muxes(LEAVES | muxes(LEAVES)))


def leaf(kind, n_items):
    """Make a source."""
    if kind == "fresh":
        return Streamer(seeded, 0, n_items, random_state=FRESH_SEED)
    make = {
        "list": lambda n: list(range(n)),
        "range": range,
        "array": np.arange,
        "string": lambda n: "abcdefghi"[:n],
        "generator": functools.partial(Streamer, pairs, 0),
        "own": lambda n: Squares(range(n)),
        "nested": lambda n: Streamer(Streamer(range(n))),
    }
    return make[kind](n_items)


def grown(spec, seeds):
    """Make the tree that a specification tells; ``seeds`` are the shared generators."""
    kind, *rest_of_it = spec
    if not isinstance(rest_of_it[0], list):
        return leaf(kind, *rest_of_it)
    children, seed, *options = rest_of_it
    children, seed = [grown(child, seeds) for child in children], seeds.get(seed, seed)
    weights = [1 + (3 * index) % 4 for index in range(len(children))]
    if kind == "stochastic":
        (mode, rate, n_active, prune), dist, weighted = options
        weights = weights if weighted else None
        return StochasticMux(children, n_active, rate, weights, mode, prune, seed, dist=dist)
    if kind == "round":
        return RoundRobinMux(children, ("exhaustive", "cycle", "permuted_cycle")[options[0]], seed)
    if kind == "chain":
        return ChainMux(children, ("exhaustive", "cycle")[options[0]], seed)
    if kind == "shuffled":
        return ShuffledMux(children, weights if options[0] else None, seed)
    mux = ShuffledMux(children, random_state=seed)
    if kind == "limited":
        return Streamer(mux, 6)
    if kind == "cache":
        return Streamer(pescador.cache, mux, 2)
    return Streamer(pescador.tuples, Streamer(keyed, mux), "key")


def keyed(stream):
    """Yield dicts for items of any kind."""
    for item in stream:
        yield {"key": item}


@examples(30)
@given(TREES, st.booleans())
def test_random_trees(spec, cycle):
    def make():
        return grown(
            spec,
            {
                "global": None,
                "Generator": np.random.default_rng(5),
                "RandomState": np.random.RandomState(5),
            },
        )

    check(make, cycle=cycle, step=7, stride=11)


# Other processes.


def run(*arguments):
    """Run the program that takes a state, or goes on from one."""
    program = [sys.executable, sys.modules[main.__module__].__file__, *map(str, arguments)]
    subprocess.run(program, check=True, timeout=60)


@pytest.mark.parametrize("method", some(("none", *METHODS), 2))
def test_another_process_goes_on(method, tmp_path):
    path = tmp_path / "state.json"
    run(method, "take", path)
    expected = rest(tree(None if method == "none" else method).iterate(60))[23:]
    run(method, "go on", path)
    assert json.loads(path.read_text()) == expected


# Background processes.

needs_fork = pytest.mark.skipif("fork" not in METHODS, reason="there is no fork here")


forked = functools.partial(ZMQStreamer, start_method="fork")
BACKGROUND = {
    "streamer": lambda: forked(Streamer(pairs, 0, 30)),
    "list": lambda: forked([{"x": index} for index in range(30)]),
    "tree": lambda: forked(tree()),
    "hurried": lambda: ShuffledMux(
        [Hurried(Streamer(pairs, 0, 9), start_method="fork")], random_state=1
    ),
    "of batches": lambda: forked(Streamer(pescador.buffer_stream, forked(tree()), 4)),
    "in a mux": lambda: StochasticMux([forked(tree()), *pool()], 2, 7, random_state=3),
}


@needs_fork
@matrix(cover=1, every=[0, 1000], make=BACKGROUND)
def test_what_counts_is_what_has_been_received(every, make, monkeypatch):
    monkeypatch.setattr("pescador._background.producer._POSITION_EVERY", every)
    check(make, max_iter=26, step=9, stride=11)


@needs_fork
def test_notes_do_not_disturb_sources_of_any_kind(monkeypatch):
    monkeypatch.setattr("pescador._background.producer._POSITION_EVERY", 0)
    for make in (
        functools.partial(map, dict, [{"x": 1}] * 9),
        functools.partial(itertools.chain, [{"x": 1}] * 9),
        functools.partial(pairs, 0, 9),
    ):
        source = Streamer(Iterable(make))
        check(
            functools.partial(ZMQStreamer, source, start_method="fork", max_bytes=1),
            step=5,
            stride=7,
        )


@needs_fork
def test_a_background_process_replays_little(monkeypatch, tmp_path):
    monkeypatch.setattr("pescador._background.producer._POSITION_EVERY", 0)
    path, n_items = str(tmp_path / "made"), 300
    n_noted(path)
    mux = StochasticMux([Streamer(noted, path, 50)] * 4, 2, 5, random_state=1)
    # It may be one item ahead, so every item is a message, and a note follows it.
    streamer = ZMQStreamer(mux, start_method="fork", max_bytes=1)
    with streamer.iterate(n_items + 20) as stream:
        taken(stream, n_items)
        state = through_json(stream)
    assert n_noted(path) >= n_items
    assert len(rest(streamer.resume(state))) == 20
    assert n_noted(path) <= 20 + 2 * 5 * 4


# How a source gets to where it stood.


def test_sequences_jump():
    counted = Counted(1000)
    mux = ShuffledMux([Streamer(counted), Streamer(Streamer(counted))], random_state=1)
    with mux.iterate(600) as stream:
        taken(stream, 580)
        state = through_json(stream)
    counted.n_reads = 0
    assert len(rest(mux.resume(state))) == 20
    assert counted.n_reads == 20


@pytest.mark.parametrize("kind", (list, tuple, range, np.arange))
def test_sequences_of_any_kind_jump(kind):
    source = kind(300_000) if kind in (range, np.arange) else kind(range(300_000))
    streamer = Streamer(source)
    stream = streamer.iterate()
    next(itertools.islice(stream, 299_990, 299_990), None)
    iterator = streamer.resume(through_json(stream))
    stream.close()
    assert rest(iterator) == list(range(299_990, 300_000))


def test_generators_read_again_what_their_activation_gave(tmp_path):
    path, rate = str(tmp_path / "made"), 5
    mux = StochasticMux([Streamer(noted, path, 100)] * 6, 3, rate, random_state=1, dist="constant")
    with mux.iterate(200) as stream:
        taken(stream, 173)
        state = through_json(stream)
    n_open = sum(each[3] for each in state["position"]["open"])
    n_noted(path)
    resumed = mux.resume(state)
    assert n_noted(path) <= n_open < 3 * rate
    assert len(rest(resumed)) == 27


# Errors.

BASE = {"n_active": 2, "rate": 4, "weights": None, "mode": "single_active", "random_state": 1}


def mux_of(streamers=None, **changes):
    """Return a mux that differs in what is given."""
    return StochasticMux(streamers or pool(), **{**BASE, **changes})


def state_of(streamer, n_items=7, **limits):
    """Return the state after some items."""
    with streamer.iterate(**limits) as stream:
        taken(stream, n_items)
        return through_json(stream)


@pytest.mark.parametrize("state", (None, [], 1, {}, {"a": 1}, [state_of(mux_of())]))
def test_what_is_not_a_state(state):
    with pytest.raises(PescadorError, match=r"is not the state of a stream.*state_dict"):
        mux_of().resume(state)


def test_a_state_as_text_is_told_from_a_path():
    with pytest.raises(PescadorError, match=r"is JSON text, not a path.*give json\.loads\(state\)"):
        mux_of().resume(json.dumps(state_of(mux_of())))


def test_other_versions():
    with pytest.raises(PescadorError, match="is of version 2, and this release reads version 1"):
        mux_of().resume({**state_of(mux_of()), "pescador": 2})


def damaged(value):
    """Yield all that differs from a value in one place."""
    yield from ({"a": 1}, [1], "text", None, 5.5)
    if isinstance(value, (int, float)):
        yield from (value + 1, -1 - value, value != 1)
    if isinstance(value, dict):
        yield {**value, "more": 0}
        for key in value:
            yield {other: value[other] for other in value if other != key}
            yield from ({**value, key: each} for each in damaged(value[key]))
    if isinstance(value, list):
        yield [*value, 0]
        for index in range(len(value)):
            yield value[:index] + value[index + 1 :]
            for each in damaged(value[index]):
                yield [*value[:index], each, *value[index + 1 :]]


def test_damaged_states():
    streamer = mux_of([mux_of(), *pool()], weights=[1, 2, 3, 4, 5, 1, 1, 1])
    state = state_of(streamer, 20, max_iter=40)
    changes = [each for each in damaged(state) if each != state]
    assert len(changes) > 300
    for each in changes:
        with pytest.raises(PescadorError, match="state"):
            streamer.resume(each)
    assert streamer.active == 0


@pytest.mark.parametrize(
    ("other", "words"),
    (
        (ShuffledMux(pool()), "class='StochasticMux'"),
        (RoundRobinMux(pool()), "class='StochasticMux'"),
        (Streamer(pairs, 0, 50), "pairs"),
        (Streamer(list(range(50))), "Streamer"),
        (Streamer(pescador.buffer_stream, mux_of(), 2), "buffer_stream"),
        (mux_of(pool()[:6]), "n_streams=7 .* has n_streams=6"),
        (mux_of(n_active=3), "n_active=2 .* has n_active=3"),
        (mux_of(mode="exhaustive"), "mode='single_active' .* has mode='exhaustive'"),
        (mux_of(rate=5), "rate=4"),
        (mux_of(dist="constant"), "dist='poisson' .* has dist='constant'"),
        (mux_of(weights=WEIGHTS), "other weights"),
        (mux_of(random_state=2), "another seed"),
        (mux_of([mux_of(random_state=None)] * 7), "kind"),
        (mux_of([[]] * 7), r"\[\].* gave \d items when the state was taken"),
        (mux_of([range(1)] * 7), r"range.* gave \d items when the state was taken"),
        (mux_of([Streamer(pairs, 0, 1)] * 7), r"pairs.*, 0, 1\) gave \d items"),
    ),
)
def test_other_streamers(other, words):
    state = state_of(mux_of(), 9)
    with pytest.raises(PescadorError, match=f"the state does not fit the streamer: .*{words}"):
        other.resume(state)
    assert other.active == 0
    assert all(each.active == 0 for each in getattr(other, "streamers", ()))


@pytest.mark.parametrize("max_iter", (-1, 1.5, "3", True, [3]))
def test_max_iter_is_checked(max_iter):
    with pytest.raises(PescadorError, match="max_iter"):
        mux_of().resume(state_of(mux_of()), max_iter=max_iter)


class Prying:
    """Takes the state of the stream that reads it."""

    def __init__(self, when):
        self.when = when
        self.stream = None

    def __iter__(self):
        if self.when == "opening":
            self.stream.state_dict()
        return self.items()

    def items(self):
        """Yield items."""
        yield 1
        if self.when == "reading":
            self.stream.state_dict()


@pytest.mark.parametrize("when", ("opening", "reading"))
@pytest.mark.parametrize("kind", (Streamer, lambda source: ShuffledMux([source])))
def test_there_is_no_state_in_the_middle_of_an_item(when, kind):
    source = Prying(when)
    streamer = kind(source)
    source.stream = streamer.iterate()
    with pytest.raises(PescadorError, match="in the middle of an item"):
        rest(source.stream)
    source.stream = None
    assert streamer.active == 0


def test_another_thread_is_in_the_middle_of_an_item():
    entered, may_leave = threading.Event(), threading.Event()

    def waiting():
        yield 0
        entered.set()
        may_leave.wait(60)
        yield 1

    stream = ShuffledMux([Streamer(waiting)]).iterate()
    next(stream)
    thread = threading.Thread(target=next, args=(stream,))
    thread.start()
    entered.wait(60)
    try:
        with pytest.raises(PescadorError, match="in the middle of an item"):
            stream.state_dict()
    finally:
        may_leave.set()
        thread.join()
    state = through_json(stream)
    stream.close()
    assert state["n_given"] == 2


# The beginning, the end, and limits.


def test_before_the_first_item_and_after_the_last():
    mux = mux_of(mode="exhaustive")
    state = through_json(mux.iterate())
    expected = rest(mux.iterate())
    assert rest(mux.resume(state)) == expected
    assert rest(mux.resume(state, 3)) == expected[:3]
    stream = mux.iterate()
    assert rest(stream) == expected
    ended = mux.resume(through_json(stream))
    assert rest(ended) == rest(mux.resume(through_json(stream), 5)) == []
    assert rest(mux.resume(through_json(ended))) == []
    assert mux.active == 0


@pytest.mark.parametrize("has_been_read_out", (False, True))
def test_limits(has_been_read_out):
    mux = mux_of()
    expected = taken(mux.iterate(), 40)
    stream = mux.iterate(max_iter=12)
    found = taken(stream, 12)
    if has_been_read_out:  # as a loop does
        assert next(stream, None) is None
    state = through_json(stream)
    stream.close()
    assert rest(mux.resume(state)) == rest(mux.resume(state, 0)) == []
    resumed = mux.resume(state, np.int64(10))
    found += taken(resumed, 4)
    half_way = through_json(resumed)
    assert half_way["max_iter"] == 22
    assert found + rest(resumed) == expected[:22]
    assert rest(mux.resume(half_way)) == expected[16:22]
    assert rest(mux.resume(half_way, 24)) == expected[16:]


def test_numbers_of_numpy():
    state = state_of(mux_of(n_active=np.int32(2), rate=np.float32(4)), max_iter=np.uint8(9))
    assert len(rest(mux_of().resume(state))) == 2


def test_a_state_is_small():
    streamers = [Streamer(pairs, 0, 40)] * 100_000
    for mode in MODES:
        mux = StochasticMux(streamers, 64, 16, mode=mode, random_state=1)
        assert len(json.dumps(state_of(mux, 3000))) < 2**16


def test_activated_copies():
    mux = mux_of()
    expected = taken(mux.iterate(), 12)
    with mux as active:
        assert len(active.stream_weights_) == 2
        states = [through_json(active.stream_)]
        assert taken(active.stream_, 5) == expected[:5]
        states.append(through_json(active.stream_))
    assert rest(mux.resume(states[0], 12)) == expected
    assert rest(mux.resume(states[1], 7)) == expected[5:]
    assert mux.active == 0


# Random states.


def test_the_global_generator_may_go_its_way():
    mux = StochasticMux([Streamer(seeded, 0, 50, FRESH_SEED)] * 5, 2, 4)
    np.random.seed(1)
    stream = mux.iterate(30)
    taken(stream, 11)
    np.random.seed(2)
    before = np.random.get_state(legacy=False)
    state = through_json(stream)
    resumed = mux.resume(state)
    after = np.random.get_state(legacy=False)
    assert rest(resumed) == rest(stream)
    np.testing.assert_equal(after, before)


@pytest.mark.parametrize("kind", (np.random.RandomState, np.random.default_rng))
def test_generators_of_several_muxes(kind):
    def make():
        shared, own = kind(1), kind(2)
        return RoundRobinMux(
            [ShuffledMux(pool(), None, each) for each in (shared, own, shared, None)], "cycle"
        )

    check(make, step=5)
    with pytest.raises(PescadorError, match="random generators"):
        mux_of(random_state=1).resume(state_of(mux_of(random_state=kind(1))))


# What is left out.


def empty_at_times(log, every):
    """Yield three items at every few calls."""
    log.append(every)
    if len(log) % every == 0:
        yield from ({"every": every, "index": index} for index in range(3))


@matrix(cover=1, prune=(True, False), mode=MODES, weights=(None, "some"))
def test_streamers_that_give_nothing(mode, prune, weights):
    sources = [[], range(3), [], [], (), range(2), "", range(6), []] * 2
    weights = weights and [1 + index % 3 for index in range(len(sources))]
    for rate in (None, 2, 4):
        for n_active in (1, 5, 18):
            make = functools.partial(
                StochasticMux, sources, n_active, rate, weights, mode, prune, random_state=3
            )
            check(make, step=3)


class Unhashable:
    """An iterator that cannot be the key of anything."""

    def __init__(self):
        self.left = iter(range(5))

    def __eq__(self, other):
        return True

    __hash__ = None

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.left)


@pytest.mark.parametrize(
    "make",
    (
        Unhashable,
        functools.partial(zip, range(5), "abcde"),
        functools.partial(map, abs, range(5)),
        functools.partial(itertools.chain, "ab", "cd"),
        functools.partial(iter, {1: 2, 3: 4}),
        functools.partial(iter, {1: 2, 3: 4}.items()),
        functools.partial(iter, set(range(5))),
        functools.partial(reversed, range(5)),
    ),
)
def test_iterators_of_any_kind(make):
    check(lambda: Streamer(Iterable(make)))
    check(lambda: ShuffledMux([Iterable(make), Iterable(make)], random_state=1), cycle=True)


@pytest.mark.parametrize("seed", range(6))
def test_dropped_streamers_stay_dropped(seed):
    mux = mux_of([*pool(), *([[]] * 20)], random_state=seed, n_active=4)
    state = state_of(mux, 60)
    dropped = state["position"]["pool"]
    assert len(dropped) > 5
    streamers = mux.streamers.copy()
    for place in dropped:
        streamers[place] = Streamer(noted, "/no/such/file", 1)  # fails when it is opened
    other = mux_of(streamers, random_state=seed, n_active=4)
    assert rest(other.resume(state, 100)) == rest(mux.resume(state, 100))


# Where items are made leaves no trace in a state.


def _rows(first, n_items):
    for value in range(first, first + n_items):
        yield {"x": value}


def _mixed(wrap):
    """Return a tree with background processes, or others that pass items on, at many places."""
    leaves = [wrap(Streamer(_rows, 10 * n, 7)) for n in range(6)]
    inner = wrap(StochasticMux(leaves, 2, 3, mode="exhaustive"))
    batches = wrap(Streamer(pescador.buffer_stream, wrap(inner), 2))
    return wrap(ChainMux([wrap(RoundRobinMux([batches, wrap([{"x": 1}] * 3)])), batches]))


def _as_it_is(streamer):
    return streamer if isinstance(streamer, Streamer) else Streamer(streamer)


WRAPPERS = {
    "here": _as_it_is,
    "bare": lambda streamer: Streamer(_as_it_is(streamer)),
    "there": lambda streamer: pescador.ZMQStreamer(streamer, start_method="fork"),
    "top": _as_it_is,
}


def _tree(name):
    streamer = _mixed(WRAPPERS[name])
    return pescador.ZMQStreamer(streamer, start_method="fork") if name == "top" else streamer


def _plain(items):
    return [{key: np.asarray(value).tolist() for key, value in item.items()} for item in items]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("n_given", some([5, 0, 1, 20], 1))
@pytest.mark.parametrize("every", [0, 1000], ids=["with positions", "without"])
@pytest.mark.parametrize("before", ["here", "bare", "top"])
@pytest.mark.parametrize("after", ["here", "bare", "top"])
def test_a_state_does_not_depend_on_where_items_are_made(
    before, after, every, n_given, monkeypatch
):
    monkeypatch.setattr("pescador._background.producer._POSITION_EVERY", every)
    np.random.seed(0)
    expected = _plain(_tree("here").iterate())
    np.random.seed(0)
    with _tree(before).iterate() as stream:
        assert _plain(itertools.islice(stream, n_given)) == expected[:n_given]
        state = json.loads(json.dumps(stream.state_dict()))
    with _tree(after).resume(state) as stream:
        assert _plain(itertools.islice(stream, 3)) == expected[n_given : n_given + 3]
        again = json.loads(json.dumps(stream.state_dict()))
    with _tree(before).resume(again) as stream:
        assert _plain(stream) == expected[n_given + 3 :]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_state_fits_with_a_process_for_every_streamer():
    np.random.seed(0)
    expected = _plain(_tree("here").iterate(9))
    np.random.seed(0)
    with _tree("there").iterate(9) as stream:
        assert _plain(itertools.islice(stream, 4)) == expected[:4]
        state = stream.state_dict()
    assert _plain(_tree("here").resume(state)) == expected[4:]
    np.random.seed(0)
    with _tree("here").iterate(9) as stream:
        list(itertools.islice(stream, 4))
        state = stream.state_dict()
    assert _plain(_tree("there").resume(state)) == expected[4:]


@pytest.mark.parametrize("make", [range, lambda n: list(range(n)), lambda n: Streamer(range, n)])
def test_a_bare_streamer_leaves_no_trace(make):
    source = make(9)
    states = []
    for streamer in (_as_it_is(source), Streamer(_as_it_is(source)), Streamer(Streamer(source))):
        stream = streamer.iterate()
        list(itertools.islice(stream, 4))
        states.append(stream.state_dict())
    assert states[0] == states[1] == states[2]
    assert states[0]["position"] == 4
