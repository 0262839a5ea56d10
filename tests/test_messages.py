"""Every message tells what was given, what the rule is, and what to do."""

import copy
import functools
import os
import pickle
import re
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import pescador
import pescador.legacy
from pescador import (
    ChainMux,
    PescadorError,
    RoundRobinMux,
    ShuffledMux,
    StochasticMux,
    Streamer,
    ZMQStreamer,
    buffer_stream,
    cache,
    keras_tuples,
    streamable,
    tuples,
)
from pescador.util import batch_length, get_rng


def numbers(start, n_items=3):
    """Yield numbers."""
    yield from range(start, start + n_items)


def number():
    """Return what is no iterable."""
    return 3


def pretending():
    """Return what is no iterable, behind a promise."""
    return 3


pretending.__wrapped__ = numbers


def stopping():
    """Fail before the first item, as ``next()`` does."""
    raise StopIteration


stopping.__wrapped__ = numbers


def dying():
    """End the process."""
    os._exit(7)
    yield


def hanging():
    """Wait for ever."""
    threading.Event().wait()
    yield


class Unmade(Streamer):
    """Does not call the constructor of its base."""

    def __init__(self):
        self.path = "a"


class UnmadeMux(ShuffledMux):
    """Does not call the constructor of its base."""

    def __init__(self):
        self.path = "a"


def used():
    streamer = Streamer(iter("ab"))
    list(streamer)
    return streamer


def drifting(n_items):
    """Return weights that turn bad in the middle of a run."""
    return [1, 1] if n_items < 1000 else [1, -2]


def closing(weights_later):
    """Return a mux that opens each streamer once, whose weights change."""
    return StochasticMux(
        [range(5000)] * 2,
        2,
        None,
        lambda n_items: weights_later if n_items else [1, 1],
        mode="exhaustive",
        random_state=0,
    )


def state(streamer=None, n_items=2):
    stream = (streamer or Streamer(range(5))).iterate()
    for _ in range(n_items):
        next(stream)
    return stream.state_dict()


def mux(**changed):
    return StochasticMux(
        **{"streamers": [range(9)] * 2, "n_active": 2, "rate": 4, "random_state": 0, **changed}
    )


def share(**changed):
    return mux(weighting="share", **{"weights": [0.9, 0.1], **changed})


def older():
    with pytest.warns(DeprecationWarning):
        return pescador.mux.Mux(["ab"], 1, revive=3)


def inside():
    """Ask for a state in the middle of an item."""
    streams = []

    def source():
        yield streams[0].state_dict()

    streams.append(Streamer(source).iterate())
    return list(streams[0])


def closing_itself():
    streams = []

    def source():
        yield streams[0].close()

    streams.append(Streamer(source).iterate())
    return list(streams[0])


def batched(*items, **options):
    return list(buffer_stream(items, len(items), **options))


def crossed(item):
    return list(ZMQStreamer(Streamer([{"x": 1}, item])))


# A misuse, and in this order: the value, the rule, and the remedy.
MISUSES = {
    # Streamers.
    "a number": (lambda: Streamer(3), "streamer=3", "is not iterable", "give an iterable"),
    "a function": (
        lambda: Streamer(number),
        "number",
        "is neither iterable nor known to make an iterator",
        "'yield'",
    ),
    "arguments of a list": (lambda: Streamer([1], 2), "[1]", "cannot be called", "give"),
    "arguments": (
        lambda: Streamer(numbers, 1, 2, 3, size=4),
        "args=(1, 2, 3), kwargs={'size': 4}",
        "does not take the arguments",
        "give what its signature asks for, (start, n_items=3)",
    ),
    "a result": (lambda: list(Streamer(pretending)), "result=3", "not iterable", "return an"),
    "a second pass": (
        lambda: list(used()),
        "iterator object",
        "can be read only once",
        "give the generator function",
    ),
    "StopIteration": (
        lambda: list(Streamer(stopping)),
        "Streamer(stopping)",
        "raised StopIteration as it started",
        "give next() a default",
    ),
    "streamable": (lambda: streamable(number), "number", "must be a generator", "'yield'"),
    "max_iter": (
        lambda: Streamer("ab").iterate(-1),
        "max_iter=-1",
        "must be a whole number >= 0",
        "give a number of items, or None for no limit",
    ),
    "cycle": (lambda: Streamer("ab")(1, cycle=2), "cycle=2", "must be True or False", "give True"),
    "two limits": (
        lambda: Streamer("ab").iterate(1, max_items=2),
        "max_items=2",
        "is the same as max_iter",
        "give only max_iter",
    ),
    "closing itself": (closing_itself, "a source", "cannot close the stream", "return instead"),
    # States.
    "no state": (
        lambda: Streamer("ab").resume([3]),
        "state=[3]",
        "is not the state of a stream",
        "give what state_dict() returned",
    ),
    "another form": (
        lambda: Streamer("ab").resume({"pescador": 99}),
        "99",
        "this release reads version 1",
        "resume with the release",
    ),
    "damage": (
        lambda: Streamer("ab").resume({**state(), "n_given": 9}),
        "'n_given': 9",
        "has been altered or damaged",
        "give what state_dict() returned",
    ),
    "what was left": (
        lambda: Streamer(range(5)).resume(state(), 0.5),
        "max_iter=0.5",
        "must be a whole number >= 0",
        "give a number, None for what was left",
    ),
    "less data": (
        lambda: Streamer("a").resume(state()),
        "Streamer('a')",
        "gave 2 items when the state was taken, and now gives only 1",
        "resume with the streamer",
    ),
    "another kind": (
        lambda: Streamer("abcd").resume(state(ShuffledMux(["ab"]))),
        "Streamer('abcd')",
        "was of another kind",
        "resume with the streamer",
    ),
    "another option": (
        lambda: mux(rate=5).resume(state(mux())),
        "StochasticMux(<2 streamers>, n_active=2, rate=5, random_state=0)",
        "had rate=4.0 when the state was taken, and has rate=5.0 now",
        "resume with the streamer",
    ),
    "another seed": (
        lambda: mux(random_state=1).resume(state(mux())),
        "random_state=1",
        "had another seed when the state was taken",
        "resume with the streamer",
    ),
    "other weights": (
        lambda: mux(weights=[3, 1]).resume(state(mux())),
        "StochasticMux(",
        "had other weights when the state was taken",
        "resume with the streamer",
    ),
    "inside": (inside, "the stream", "in the middle of an item", "between two items"),
    # Muxes.
    "no streamers": (lambda: mux(streamers=[]), "streamers=[]", "nothing to mix", "at least one"),
    "a dict": (
        lambda: ShuffledMux({"a": "b"}),
        "streamers={'a': 'b'}",
        "a dict is not a collection of streamers",
        "list(d.values())",
    ),
    "a member": (
        lambda: RoundRobinMux(["ab", 3]),
        "streamers[1]=3",
        "is not a streamer",
        "give streamers",
    ),
    "a member of a chain": (
        lambda: list(ChainMux(["ab", None])),
        "streamers[1]=None",
        "is not a streamer",
        "give streamers",
    ),
    "n_active": (lambda: mux(n_active=0), "n_active=0", "whole number >= 1", "number of streams"),
    "rate": (lambda: mux(rate=0), "rate=0", "finite number > 0", "None for no limit"),
    "mode": (lambda: mux(mode="x"), "mode='x'", "not a known option", "'single_active'"),
    "round robin": (
        lambda: RoundRobinMux(["ab"], "x"),
        "mode='x'",
        "not a known option",
        "'permuted_cycle'",
    ),
    "chain": (lambda: ChainMux([], "x"), "mode='x'", "not a known option", "'exhaustive', 'cycle'"),
    "dist": (lambda: mux(dist=0), "dist=0", "not a known option", "'poisson', 'constant'"),
    "weighting": (lambda: mux(weighting=1), "weighting=1", "not a known option", "'share'"),
    "prune": (
        lambda: mux(prune_empty_streams="no"),
        "prune_empty_streams='no'",
        "must be True or False",
        "give True",
    ),
    "random_state": (
        lambda: mux(random_state="x"),
        "random_state='x'",
        "is not a source of randomness",
        "give None, an integer >= 0",
    ),
    "n weights": (
        lambda: mux(weights=[1]),
        "weights=[1]",
        "must have one weight for each of 2 streamers, and has shape (1,)",
        "give as many finite numbers >= 0 as there are streamers (2), or None",
    ),
    "a weight": (
        lambda: mux(weights=[1, -1]),
        "weights[1]=-1",
        "must be finite and >= 0",
        "give as many finite numbers >= 0 as there are streamers (2), or None",
    ),
    "text as weight": (
        lambda: mux(weights=[1, "x"]),
        "weights[1]='x'",
        "must be a number",
        "give as many finite numbers >= 0 as there are streamers (2), or None",
    ),
    "text as weights": (
        lambda: mux(weights="xy"),
        "weights='xy'",
        "must be a sequence of numbers",
        "give as many finite numbers >= 0 as there are streamers (2), or None",
    ),
    "no weight": (
        lambda: mux(weights=[0, 0]),
        "weights=[0, 0]",
        "must have a positive weight",
        "give as many finite numbers >= 0 as there are streamers (2), or None",
    ),
    "a function of weights": (
        lambda: mux(weights=lambda n_items: None),
        "weights(0)=None",
        "must be a sequence of numbers",
        "return as many finite numbers >= 0 as there are streamers (2)",
    ),
    "weights later": (
        lambda: list(mux(weights=drifting).iterate(2000)),
        "weights(1000)[1]=-2",
        "must be finite and >= 0",
        "return as many finite numbers >= 0",
    ),
    "weights that become zero": (
        lambda: list(closing([1, 0])),
        "weights(1000)[1]=0",
        "must be zero always or never",
        "give a small positive weight",
    ),
    "share without rate": (
        lambda: share(rate=None),
        "rate=None",
        'must be a number with weighting="share"',
        "give the mean number of items",
    ),
    "share, exhaustive": (
        lambda: share(mode="exhaustive"),
        "mode='exhaustive'",
        'weighting="share" cannot hold',
        'choose "with_replacement"',
    ),
    "a large share": (
        lambda: share(mode="single_active"),
        "weights[0]=0.9",
        "no share can be more than 1/2",
        "give a smaller n_active",
    ),
    "the older mux": (older, "revive=3", "must be True or False", "give True to open"),
    "not activated": (
        lambda: mux().stream_counts_,
        "'stream_counts_'",
        "only the copy that 'with mux as active' gives has it",
        "inside the block",
    ),
    # Maps.
    "what is mapped": (
        lambda: buffer_stream("ab", 1),
        "stream='ab'",
        "must be an iterable of items",
        "give a streamer",
    ),
    "buffer_size": (
        lambda: buffer_stream([], 0),
        "buffer_size=0",
        "must be a whole number >= 1",
        "give the number of items in a batch",
    ),
    "partial": (
        lambda: buffer_stream([], 1, partial=2),
        "partial=2",
        "must be True or False",
        "give True",
    ),
    "axis": (lambda: buffer_stream([], 1, axis=0.5), "axis=0.5", "whole number", "give an axis"),
    "no mapping": (
        lambda: batched({"x": 1}, 5),
        "item=5",
        "item 1 of the stream is of type int, not a mapping",
        "yield dicts",
    ),
    "a missing key": (
        lambda: batched({"x": 1}, {}),
        "key='x'",
        "item 1 of the stream: this key is missing",
        "give all items the same keys",
    ),
    "one more key": (
        lambda: batched({"x": 1}, {"x": 1, "y": 2}),
        "key='y'",
        "item 1 of the stream: this key is not in the first item",
        "give all items the same keys",
    ),
    "a shape": (
        lambda: batched({"x": np.zeros(2)}, {"x": np.zeros(3)}),
        "value=array([0., 0., 0.])",
        "item 1 of the stream, key 'x': ndarray of shape (3,) does not fit",
        "the same shape",
    ),
    "no keys": (lambda: tuples([]), "keys=()", "at least one key", "give the keys"),
    "tuples": (lambda: list(tuples([3], "x")), "item=3", "item 0", "yield dicts"),
    "keras": (
        lambda: keras_tuples([]),
        "inputs=None",
        "inputs and outputs must not both be None",
        "give the keys of one of them",
    ),
    "keras keys": (
        lambda: keras_tuples([], inputs=[1]),
        "inputs=[1]",
        "must be a string or a sequence of strings",
        "give keys of the batches",
    ),
    "n_cache": (lambda: cache([], 0), "n_cache=0", "must be a whole number >= 1", "give"),
    "no new items": (lambda: cache([], 1, 0), "prob=0", "must be a number > 0 and <= 1", "give"),
    "prob": (lambda: cache([], 1, 2), "prob=2", "must be a number > 0 and <= 1", "give"),
    "state of a cache": (
        lambda: cache([], 1, random_state=-1),
        "random_state=-1",
        "is not a source of randomness",
        "give None",
    ),
    # Background processes.
    "ports": (
        lambda: ZMQStreamer([], 9, 8),
        "max_port=8",
        "must be a whole number >= 9 and <= 65535",
        "give a port number that is not below min_port",
    ),
    "max_tries": (lambda: ZMQStreamer([], max_tries=0), "max_tries=0", "whole number >= 1", "give"),
    "copy": (lambda: ZMQStreamer([], copy=2), "copy=2", "must be True or False", "give True"),
    "timeout": (
        lambda: ZMQStreamer([], timeout=0),
        "timeout=0",
        "must be a finite number > 0",
        "give seconds, or None to wait",
    ),
    "transport": (
        lambda: ZMQStreamer([], transport="udp"),
        "transport='udp'",
        "is not a known option",
        "'ipc', 'tcp'",
    ),
    "start_method": (
        lambda: ZMQStreamer([], start_method="x"),
        "start_method='x'",
        "is not a known option",
        "'fork', 'spawn', 'forkserver'",
    ),
    "max_bytes": (lambda: ZMQStreamer([], max_bytes=0), "max_bytes=0", ">= 1", "number of bytes"),
    "item_timeout": (
        lambda: ZMQStreamer([], item_timeout="x"),
        "item_timeout='x'",
        "must be a finite number > 0",
        "give seconds, or None for no limit",
    ),
    "no dict": (
        lambda: crossed([3]),
        "item=[3]",
        "item 1 of the stream is of type list, not a dict",
        "yield dicts of arrays",
    ),
    "a key": (
        lambda: crossed({1.5: 3}),
        "key=1.5",
        "item 1 of the stream: this key is of type float",
        "give strings or integers",
    ),
    "a value": (
        lambda: crossed({"x": [1]}),
        "value=[1]",
        "item 1 of the stream, key 'x': list cannot be sent to another process",
        "give NumPy arrays",
    ),
    "a streamer that cannot be pickled": (
        lambda: list(ZMQStreamer(Streamer(lambda: (yield 1)), start_method="spawn")),
        "Streamer(<lambda>)",
        "cannot be pickled, which start_method='spawn' needs",
        "defined in a module",
    ),
    "a process that ends": (
        lambda: list(ZMQStreamer(Streamer(dying))),
        "with exit code 7",
        "after 0 items had arrived",
        "see what it wrote to stderr",
    ),
    "a process that hangs": (
        lambda: list(ZMQStreamer(Streamer(hanging), item_timeout=0.1)),
        "in 0.1 s",
        "after 0 items had arrived",
        "give a longer item_timeout",
    ),
    # Helpers.
    "get_rng": (lambda: get_rng(1.5), "random_state=1.5", "not a source of randomness", "give"),
    "no batch": (lambda: batch_length([1]), "batch=[1]", "must be a mapping", "give a dict"),
    "no length": (lambda: batch_length({"x": 1}), "batch['x']=1", "must have a length", "an array"),
    "arguments of a partial": (
        lambda: Streamer(functools.partial(numbers, 1, 2, 3)),
        "args=(1, 2, 3)",
        "does not take the arguments",
        "give what its signature asks for",
    ),
    "a limit of a list": (
        lambda: Streamer("ab", max_iter=3),
        "streamer='ab'",
        "cannot be called with the arguments args=(), kwargs={'max_iter': 3}",
        "a limit belongs to iterate()",
    ),
    "a function that was not called": (
        lambda: buffer_stream(numbers, 3),
        "stream=<function numbers>",
        "must be an iterable of items",
        "call it first, or make a streamer of it: Streamer(numbers, ...)",
    ),
    "weights of a function of nothing": (
        lambda: mux(weights=lambda: [1, 1]),
        "weights=<function",
        "is not a function of one argument",
        "let it take the number of items so far",
    ),
    "a chain of a number": (
        lambda: ChainMux(3),
        "streamers=3",
        "is not a collection of streamers",
        "give a list of streamers",
    ),
    "samples for a buffered streamer": (
        lambda: list(pescador.legacy.BufferedStreamer([{"x": 1}], 2)),
        "batch['x']=1",
        "must have a length",
        "for single samples: Streamer(buffer_stream, streamer, size)",
    ),
    # What belongs to something else.
    "saving a streamer": (
        lambda: Streamer("ab").save("state.json"),
        "'Streamer' object has no attribute 'save'",
        "belongs to a stream",
        "stream = streamer.iterate()",
    ),
    "a number of items of a mux": (
        lambda: mux().n_given,
        "'StochasticMux' object has no attribute 'n_given'",
        "belongs to a stream",
        "stream = streamer.iterate()",
    ),
    "loading into a stream": (
        lambda: Streamer("ab").iterate().load_state_dict({}),
        "'Stream' object has no attribute 'load_state_dict'",
        "call its streamer",
        "stream = streamer.resume(state)",
    ),
    "sending to a stream": (
        lambda: Streamer("ab").iterate().send(None),
        "'Stream' object has no attribute 'send'",
        "has no attribute",
        "a generator of your own around it",
    ),
    "a mux under its oldest name": (
        lambda: pescador.PoissonMux,
        "module 'pescador' has no attribute 'PoissonMux'",
        "it became",
        "pescador.StochasticMux(streamers, n_active, rate)",
    ),
    "the same in its module": (
        lambda: pescador.mux.PoissonMux,
        "module 'pescador.mux' has no attribute 'PoissonMux'",
        "it became",
        "StochasticMux(streamers, n_active, rate)",
    ),
    "a module of 1.x": (
        lambda: pescador.buffered.BufferedStreamer,
        "module 'pescador' has no attribute 'buffered'",
        "one of pescador.legacy",
        "legacy.buffered",
    ),
    "a class of 1.x": (
        lambda: pescador.BufferedStreamer,
        "module 'pescador' has no attribute 'BufferedStreamer'",
        "one of pescador.legacy",
        "legacy.BufferedStreamer",
    ),
    "a function of 0.1": (
        lambda: pescador.batch_length,
        "module 'pescador' has no attribute 'batch_length'",
        "it is",
        "pescador.util.batch_length",
    ),
    "one of its helpers": (
        lambda: pescador.util.buffer_batch,
        "module 'pescador.util' has no attribute 'buffer_batch'",
        "one of pescador.legacy",
        "legacy.util.buffer_batch",
    ),
    "a stream that is pickled": (
        lambda: pickle.dumps(Streamer("ab").iterate()),
        "stream=<Stream of Streamer('ab'), 0 items given>",
        "can be neither pickled nor copied",
        "stream.state_dict(), and continue with streamer.resume(state)",
    ),
    "a map that is copied": (
        lambda: copy.deepcopy(buffer_stream([], 2)),
        "stream=<iterator of buffer_stream>",
        "can be neither pickled nor copied",
        "make a streamer of the map",
    ),
    "a streamer that was not made": (
        lambda: list(Unmade()),
        "this Unmade is not initialised",
        "its own __init__ has not called",
        "call super().__init__(...)",
    ),
    "a mux that was not made": (
        lambda: UnmadeMux().weights,
        "this UnmadeMux is not initialised",
        "its own __init__ has not called",
        "call super().__init__(...)",
    ),
    "two lengths": (
        lambda: batch_length({"x": [1], "y": [1, 2]}),
        "batch['y']=[1, 2]",
        "has 2 rows where batch['x'] has 1",
        "give every field the same number of rows",
    ),
}


@pytest.mark.parametrize("misuse, value, rule, remedy", MISUSES.values(), ids=MISUSES)
def test_a_message_has_the_value_the_rule_and_the_remedy(misuse, value, rule, remedy):
    with pytest.raises((PescadorError, ValueError, RuntimeError, AttributeError)) as caught:
        misuse()
    text = str(caught.value)
    assert value in text
    assert rule in text
    assert remedy in text[text.index(rule) :]
    assert text.isprintable() and len(text) < 600


def shown_of_one():
    """Raise an error with what a report of one item says."""
    monitor = pescador.Monitor(ShuffledMux(["a"]).iterate(1))
    list(monitor)
    raise ValueError(f"{monitor.report()!r}: {monitor.report()}")


OF_ONE = {
    "gave 1 item when": lambda: next(Streamer("").resume(state(Streamer("ab"), 1))),
    "has 1 row where": lambda: batch_length({"x": [1, 2], "y": [1]}),
    "has 1 streamer, too few": lambda: pescador.shard(ShuffledMux(["a"]), 0, 2),
    "mixes 1 streamer with": lambda: pescador.shard(ShuffledMux([ShuffledMux(["a"]), "b"]), 0, 2),
    "<Report of 1 item from 1 source>": shown_of_one,
    "1 source; opened 1 time; they gave 1 item": shown_of_one,
}


@pytest.mark.parametrize("text", OF_ONE)
def test_one_is_no_plural(text):
    with pytest.raises((PescadorError, ValueError)) as caught:
        OF_ONE[text]()
    assert text in str(caught.value)


COUNTED = "items|streamers|streams|sources|workers|actors|times|failures|batches|rows|ports|bytes"
NEVER_ONE = {"entry.count", "n_streams", "activation.n_deaths", "len(positive)", "_LONGEST_PATH"}
NEVER_ONE |= {"MOST_COUNTED:,", "rate:,.0f"}
OF_DAMAGE = {"frames.py", "memory.py", "actors.py"}  # (errors that nobody causes)


def test_no_number_that_may_be_one_is_before_a_plural():
    paths = [*Path(pescador.__file__).parent.rglob("*.py")]
    assert len(paths) > 100
    for path in paths:
        text = path.read_text(encoding="utf-8")
        numbers = set(re.findall(rf"\{{([^{{}}]*)\}} (?:{COUNTED})\b", text))
        assert path.name in OF_DAMAGE or numbers <= NEVER_ONE, path


LIKELY_MISTAKES = {
    "weights that decide little": (
        lambda: mux(streamers=["a"] * 4, weights=[97, 1, 1, 1]),
        "weights may decide little: they choose only among the open streams (n_active=2, of 4",
        'give weighting="share" to make the weights the shares, or weighting="active"',
    ),
    "weights of a function": (
        lambda: mux(streamers=["a"] * 4, weights=lambda n_items: [97, 1, 1, 1]),
        "weights may decide little: they choose only among the open streams (n_active=2, of 4",
        'give weighting="share" to make the weights the shares, or weighting="active"',
    ),
    "different ones": (
        lambda: mux(streamers=["a"] * 4, weights=[4, 3, 2, 0], mode="single_active"),
        "weights may decide little: they choose only among the open streams (n_active=2, of 3",
        'give weighting="share" to make the weights the shares, or weighting="active"',
    ),
    "too few items": (
        lambda: list(buffer_stream([{"x": 1}], 2)),
        "buffer_stream gave no batch: the stream has 1 item, fewer than buffer_size=2",
        "give partial=True",
    ),
}


@pytest.mark.parametrize("use, rule, remedy", LIKELY_MISTAKES.values(), ids=LIKELY_MISTAKES)
def test_a_likely_mistake_is_told_once_with_a_remedy_and_how_to_silence_it(use, rule, remedy):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        use()
        use()
    (warning,) = caught
    assert (warning.category, warning.filename) == (UserWarning, __file__)
    text = str(warning.message)
    assert text.startswith(rule)
    assert remedy in text
    assert text.isprintable() and len(text) < 600
    silence = re.search(r"\(to silence this: (.*)\)$", text)[1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        eval(silence)
        use()
    assert not caught


@pytest.mark.parametrize(
    "changed",
    [
        {"weights": [97, 1, 1, 1], "weighting": "active"},
        {"weights": [3, 1, 1, 1], "weighting": "share"},
        {"weights": [97, 1, 1, 1], "n_active": 4},
        {"weights": [97, 1, 0, 0]},
        {"weights": [2, 2, 2, 0]},
        {"weights": [97, 1, 1, 1], "rate": None},
        {"weights": [97, 1, 1, 1], "mode": "exhaustive"},
        {},
    ],
    ids=repr,
)
def test_weights_that_decide_are_no_mistake(changed):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = mux(streamers=["a"] * 4, **changed)
    assert made.weighting == changed.get("weighting", "active")
    assert "active'" not in repr(made)


def test_the_muxes_of_older_versions_have_no_other_way():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        pescador.Mux(["a"] * 4, 2, 4, [97, 1, 1, 1])
        pescador.legacy.Mux(["a"] * 4, 2, 4, [97, 1, 1, 1])
        pescador.legacy.mux(["a"] * 4, None, 2, 4, [97, 1, 1, 1])


@pytest.mark.parametrize("n_active", [0, -1, 1.5, None])
def test_a_rule_that_nobody_needs_is_not_told(n_active):
    with pytest.raises(PescadorError, match=r"must be a whole number >= 1; give"):
        mux(n_active=n_active)
    with pytest.raises(PescadorError, match=r"must be a whole number >= 1 and <= \d+; give"):
        mux(n_active=10**30)


WARNINGS = {
    "max_items": (lambda: Streamer("ab").iterate(max_items=1), ["max_items", "max_iter"]),
    "max_batches": (lambda: Streamer("ab").cycle(max_batches=1), ["max_batches", "max_iter"]),
    "lam": (lambda: pescador.mux.Mux(["ab"], 1, lam=2), ["'lam'", "'rate'", "removed in 3.0"]),
    "Mux": (
        lambda: pescador.mux.Mux(["ab"], 1),
        ["Mux is deprecated", "since pescador 2.0", "use StochasticMux(streamers, n_active, rate"],
    ),
}


@pytest.mark.parametrize("use, words", WARNINGS.values(), ids=WARNINGS)
def test_a_warning_names_what_is_old_and_what_is_new(use, words):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        use()
    texts = [str(each.message) for each in caught]
    assert any(all(word in text for word in words) for text in texts)
    assert {each.filename for each in caught} == {__file__}
