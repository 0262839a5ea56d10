"""Helpers, deprecation tools and errors."""

import inspect
import math
import pickle
import re
import warnings
from types import MappingProxyType

import numpy as np
import pytest
from _cases import shown

import pescador
from pescador import DataError, PescadorError, WorkerError
from pescador.util import (
    Deprecated,
    batch_length,
    deprecated,
    get_rng,
    moved,
    rename_kw,
)

# batch_length.


@pytest.mark.parametrize(
    "batch, n_rows",
    [
        ({}, None),
        ({"X": np.zeros((3, 2))}, 3),
        ({"X": np.zeros((3, 2)), "Y": np.zeros(3), "Z": [1, 2, 3]}, 3),
        ({"X": np.zeros((0, 2)), "Y": []}, 0),
        ({"X": [], "Y": ()}, 0),
        ({"X": ["a", "b"], 0: range(2), None: {1, 2}}, 2),
        (MappingProxyType({"X": [1]}), 1),
        ({"X": np.ma.array([1, 2], mask=[True, False])}, 2),
    ],
    ids=str,
)
def test_batch_length(batch, n_rows):
    assert batch_length(batch) == n_rows


def test_batch_length_of_a_batch_of_buffer_stream():
    (batch,) = pescador.buffer_stream([{"X": [1, 2], "Y": 3}] * 5, 5)
    assert batch_length(batch) == 5


@pytest.mark.parametrize(
    "batch, key",
    [
        ({"X": [1], "Y": [1, 2]}, "Y"),
        ({"X": np.zeros((2, 3)), "Y": np.zeros((3, 2))}, "Y"),
        ({"X": [1], "Y": [1], "Z": []}, "Z"),
        ({"X": [], "Y": [1]}, "Y"),
    ],
    ids=str,
)
def test_fields_of_unequal_length(batch, key):
    with pytest.raises(PescadorError, match=rf"^batch\['{key}'\]=") as caught:
        batch_length(batch)
    assert isinstance(caught.value, RuntimeError)
    assert isinstance(caught.value, DataError)


@pytest.mark.parametrize("value", [3, None, np.array(3), np.float64(1), iter([1])], ids=shown)
def test_a_field_without_a_length(value):
    with pytest.raises(DataError, match=r"^batch\['Y'\]=.*length") as caught:
        batch_length({"X": [1], "Y": value})
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize("batch", [None, 3, [1, 2], "text", np.zeros(3), ()], ids=repr)
def test_only_mappings_are_batches(batch):
    with pytest.raises(DataError, match=r"^batch=.*mapping"):
        batch_length(batch)


# get_rng.


def test_no_seed_stands_for_the_global_generator():
    assert get_rng(None) is np.random


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_a_generator_stands_for_itself(make):
    rng = make(0)
    assert get_rng(rng) is rng


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_an_integer_stands_for_the_random_state_of_that_seed(seed):
    rng = get_rng(seed)
    assert isinstance(rng, np.random.RandomState)
    expected = np.random.RandomState(seed).randint(10**6, size=5)
    assert rng.randint(10**6, size=5).tolist() == expected.tolist()
    assert get_rng(seed) is not get_rng(seed)


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int64, np.uint64])
def test_integers_of_every_type_are_seeds(kind):
    assert get_rng(kind(7)).randint(10**6) == get_rng(7).randint(10**6)


@pytest.mark.parametrize(
    "seed", [2**32, 2**64 + 1, 10**40, np.random.SeedSequence(7)], ids=["33 bits", "65", "133", ""]
)
def test_larger_seeds_name_one_sequence_too(seed):
    rngs = [get_rng(seed) for _ in range(2)]
    assert all(isinstance(rng, np.random.RandomState) for rng in rngs)
    one, other = (rng.randint(10**6, size=5).tolist() for rng in rngs)
    assert one == other
    assert one != get_rng(2**32 + 1).randint(10**6, size=5).tolist()


@pytest.mark.parametrize(
    "value",
    [
        -1,
        np.int64(-1),
        True,
        np.True_,
        1.0,
        math.nan,
        "7",
        b"7",
        [7],
        (1, 2),
        object(),
        np.zeros(2),
    ],
    ids=shown,
)
def test_what_is_no_source_of_randomness(value):
    with pytest.raises(PescadorError, match=r"^random_state=.*; give None, an integer"):
        get_rng(value)


def test_a_seed_has_the_same_meaning_in_a_mux():
    mux = pescador.ShuffledMux(["ab"], random_state=7)
    assert mux.rng.randint(10**6) == get_rng(7).randint(10**6)
    assert pescador.ShuffledMux(["ab"]).rng is np.random


# Deprecation tools.


def caught_warnings(call):
    """Return what a call returns, and the warnings it gives, however often it gives them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, caught


def line_of(function):
    return inspect.getsourcelines(function)[1]


def documented(first, second=2, *others, option="default"):
    """Return the arguments."""
    return first, second, others, option


DECORATORS = {
    "deprecated": (deprecated("2.2", "3.0"), ["documented", "deprecated", "2.2", "3.0"]),
    "moved": (moved("older.place", "2.2", "3.0"), ["older.place", "documented", "2.2", "3.0"]),
}
each_decorator = pytest.mark.parametrize("decorate, words", DECORATORS.values(), ids=DECORATORS)


@each_decorator
def test_decorated_functions_warn_at_every_call(decorate, words):
    function = decorate(documented)
    for _ in range(2):
        _, (warning,) = caught_warnings(lambda: function(1))
        assert warning.category is DeprecationWarning
        for word in words:
            assert word in str(warning.message)


@each_decorator
def test_the_warning_points_at_the_call(decorate, words):
    function = decorate(documented)

    def call():
        return function(1)

    _, (warning,) = caught_warnings(call)
    assert warning.filename == __file__
    assert warning.lineno == line_of(call) + 1


@each_decorator
def test_decorating_gives_no_warning(decorate, words):
    function, caught = caught_warnings(lambda: decorate(documented))
    assert callable(function)
    assert caught == []


@each_decorator
def test_decorated_functions_keep_their_looks_and_work(decorate, words):
    function = decorate(documented)
    assert function is not documented
    assert inspect.signature(function) == inspect.signature(documented)
    assert function.__name__ == "documented"
    assert function.__module__ == __name__
    assert function.__doc__ == "Return the arguments."
    result, _ = caught_warnings(lambda: function(1, 3, 4, option="other"))
    assert result == (1, 3, (4,), "other")


@each_decorator
def test_decorated_functions_pass_errors_on(decorate, words):
    @decorate
    def failing():
        raise ZeroDivisionError

    def call():
        with pytest.raises(ZeroDivisionError):
            failing()

    assert len(caught_warnings(call)[1]) == 1


def renamed(new=1, old=None):
    """Take a keyword under two names."""
    old = Deprecated() if old is None else old
    return rename_kw("old", old, "new", new, "2.2", "3.0")


def test_the_new_name_of_a_keyword_gives_no_warning():
    assert caught_warnings(renamed) == (1, [])
    assert caught_warnings(lambda: renamed(new=5)) == (5, [])


def test_the_old_name_of_a_keyword_gives_a_warning():
    def call():
        return renamed(old=7)

    result, (warning,) = caught_warnings(call)
    assert result == 7
    assert warning.category is DeprecationWarning
    for word in ["'old'", "'new'", "2.2", "3.0"]:
        assert word in str(warning.message)
    assert warning.filename == __file__
    assert warning.lineno == line_of(call) + 1


@pytest.mark.parametrize("value", [None, 0, False, ""])
def test_the_value_under_the_old_name_may_be_false(value):
    result, caught = caught_warnings(lambda: rename_kw("old", value, "new", 1, "2.2", "3.0"))
    assert result is value
    assert len(caught) == 1


def test_the_mark_of_a_deprecated_parameter():
    assert repr(Deprecated()) == "<DEPRECATED parameter>"


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: pescador.Mux(["ab"], 1, rate=2), ["Mux", "StochasticMux"]),
        (lambda: pescador.Streamer("abc").iterate(max_items=2), ["max_items", "max_iter"]),
        (lambda: pescador.Streamer("abc").iterate(max_batches=2), ["max_batches", "max_iter"]),
        (lambda: pescador.Streamer("abc").cycle(max_items=2), ["max_items", "max_iter"]),
    ],
    ids=["Mux", "max_items", "max_batches", "cycle"],
)
def test_older_names_in_the_library_point_at_the_call(call, words):
    _, (warning,) = caught_warnings(call)
    assert warning.category is DeprecationWarning
    assert all(word in str(warning.message) for word in words)
    assert (warning.filename, warning.lineno) == (__file__, line_of(call))


def test_both_old_names_of_the_mux_point_at_the_call():
    def call():
        return pescador.Mux(["ab"], 1, lam=2)

    mux, caught = caught_warnings(call)
    assert mux.rate == 2
    assert [each.lineno for each in caught] == [line_of(call) + 1] * 2
    assert {each.filename for each in caught} == {__file__}


# Errors.


def test_the_family_of_errors():
    assert issubclass(PescadorError, Exception)
    assert issubclass(DataError, PescadorError)
    assert issubclass(WorkerError, PescadorError)
    assert not issubclass(WorkerError, DataError)
    for error in (PescadorError, DataError, WorkerError):
        assert getattr(pescador.exceptions, error.__name__) is error


REFUSALS = {
    "buffer_stream": (lambda: pescador.buffer_stream([], -3), "buffer_size=-3"),
    "partial": (lambda: pescador.buffer_stream([], 3, "no"), "partial='no'"),
    "cache": (lambda: pescador.cache([], 3, prob=1.5), "prob=1.5"),
    "tuples": (lambda: pescador.tuples([]), "keys=()"),
    "keras_tuples": (lambda: pescador.keras_tuples([], 3), "inputs=3"),
    "stream": (lambda: pescador.tuples(None, "x"), "stream=None"),
    "get_rng": (lambda: get_rng(-1), "random_state=-1"),
    "batch_length": (lambda: batch_length(3), "batch=3"),
    "Streamer": (lambda: pescador.Streamer(3), "streamer=3"),
    "iterate": (lambda: pescador.Streamer("a").iterate(-1), "max_iter=-1"),
    "mux": (lambda: pescador.StochasticMux(["a"], 0, 1), "n_active=0"),
    "rate": (lambda: pescador.StochasticMux(["a"], 1, 0), "rate=0"),
    "mode": (lambda: pescador.ChainMux(["a"], "bogus"), "mode='bogus'"),
    "weights": (lambda: pescador.ShuffledMux(["a", "b"], [1, -1]), "weights[1]="),
    "empty": (lambda: pescador.ShuffledMux([]), "streamers=[]"),
    "dict": (lambda: pescador.ShuffledMux({}), "streamers={}"),
}


@pytest.mark.parametrize("call, given", REFUSALS.values(), ids=REFUSALS)
def test_messages_give_the_value_the_rule_and_the_remedy(call, given):
    with pytest.raises(PescadorError) as caught:
        call()
    assert re.fullmatch(re.escape(given) + r"[^\n]*?: [^;]+; \S[^\n]*", str(caught.value))


@pytest.mark.parametrize("value", ["x" * 10**6, [0] * 10**6, np.zeros(10**6)], ids=type)
def test_messages_stay_short_whatever_the_value(value):
    with pytest.raises(PescadorError) as caught:
        pescador.buffer_stream([], value)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_a_repr_that_fails_does_not_hide_the_error():
    class Unspeakable:
        def __repr__(self):
            raise ZeroDivisionError

    with pytest.raises(PescadorError, match=r"^buffer_size=<.*Unspeakable.*>: must be"):
        pescador.buffer_stream([], Unspeakable())


@pytest.mark.parametrize(
    "place, name",
    [
        ("util", "PescadorError"),
        ("maps", "PescadorError"),
        ("maps", "DataError"),
        ("core", "PescadorError"),
        ("mux", "PescadorError"),
        ("zmq_stream", "DataError"),
        ("maps", "get_rng"),
        ("mux", "get_rng"),
    ],
)
def test_names_are_where_programs_of_2_and_3_find_them(place, name):
    home = pescador.util if name == "get_rng" else pescador.exceptions
    assert getattr(getattr(pescador, place), name) is getattr(home, name)


@pytest.mark.parametrize("package", [pescador, pescador.legacy])
def test_the_version_is_where_older_programs_find_it(package):
    assert package.version.version == package.__version__ == pescador.__version__


def an_error_of(call):
    with pytest.raises(PescadorError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize(
    "call",
    [
        lambda: get_rng(-1),
        lambda: batch_length({"X": [1], "Y": []}),
        lambda: list(pescador.tuples([3], "x")),
    ],
    ids=["PescadorError", "unequal", "DataError"],
)
def test_errors_can_be_sent_to_another_process(call):
    error = an_error_of(call)
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is type(error)
    assert str(copied) == str(error)
