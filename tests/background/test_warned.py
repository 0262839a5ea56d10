"""Warnings of a background process: they appear in the consumer, once."""

import sys
import time
import warnings

import numpy as np
import pytest
from _cases import some
from _sources import TIMEOUT

import pescador
from pescador import Streamer, WorkerError, ZMQStreamer

every_method = pytest.mark.parametrize("method", some(["fork", "spawn", "forkserver"]))


class Careless(UserWarning):
    pass


def warning_source(n_items, category=UserWarning):
    for number in range(n_items):
        warnings.warn(f"number {number}", category, stacklevel=1)
        yield {"x": np.array([number])}


def caught_of(streamer, n_times=1, rule="default"):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(rule)
        for _ in range(n_times):
            for _ in streamer:
                pass
    return caught


@every_method
def test_a_warning_of_a_source_has_its_place(method, capfd):
    caught = caught_of(ZMQStreamer(Streamer(warning_source, 3), start_method=method))
    assert [str(each.message) for each in caught] == ["number 0", "number 1", "number 2"]
    assert {(each.category, each.filename) for each in caught} == {(UserWarning, __file__)}
    assert capfd.readouterr() == ("", "")


def test_it_is_given_once_for_all_streams():
    assert len(caught_of(ZMQStreamer(Streamer(warning_source, 1)), 3)) == 1


def test_its_class_is_kept_where_it_is_known():
    (found,) = caught_of(ZMQStreamer(Streamer(warning_source, 1, Careless), start_method="fork"))
    assert found.category is Careless


@every_method
def test_a_warning_of_this_package_is_given_at_the_line_that_reads(method):
    batches = Streamer(pescador.buffer_stream, Streamer(warning_source, 0), 2)
    short = Streamer(pescador.buffer_stream, [{"x": np.zeros(1)}], 2)
    assert not caught_of(ZMQStreamer(batches, start_method=method))
    streamer = ZMQStreamer(short, start_method=method)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(streamer)
        line = sys._getframe().f_lineno - 1
    (warning,) = caught
    assert (warning.filename, warning.lineno) == (__file__, line)
    assert str(warning.message).startswith("buffer_stream gave no batch: the stream has 1 item")


def test_a_filter_that_makes_it_an_error_does_so_here():
    streamer = ZMQStreamer(Streamer(warning_source, 2), start_method="spawn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="number 0"):
            list(streamer)
    assert streamer.active == 0


class Outer:
    class Inner(RuntimeWarning):
        pass


def test_a_class_inside_a_class_is_kept_too():
    streamer = ZMQStreamer(Streamer(warning_source, 1, Outer.Inner), start_method="fork")
    (found,) = caught_of(streamer)
    assert found.category is Outer.Inner


def test_it_is_filtered_by_its_module():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", module=f"{__name__}$")
        list(ZMQStreamer(Streamer(warning_source, 1), start_method="spawn"))
    assert not caught


def waiting():
    warnings.warn("this takes long", stacklevel=1)
    time.sleep(TIMEOUT)
    yield {"x": np.zeros(1)}


def warning_at_last():
    try:
        while True:
            yield {"x": np.zeros(1)}
    finally:
        warnings.warn("at last", stacklevel=1)


def test_a_warning_comes_while_its_source_takes_long():
    streamer = ZMQStreamer(Streamer(waiting), start_method="fork", item_timeout=1, timeout=0.1)
    with warnings.catch_warnings(record=True) as caught, pytest.raises(WorkerError):
        warnings.simplefilter("always")
        list(streamer)
    assert [str(each.message) for each in caught] == ["this takes long"]


def test_a_warning_after_the_stream_was_closed_is_printed(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with ZMQStreamer(Streamer(warning_at_last), start_method="fork").iterate() as stream:
            next(stream)
    assert "UserWarning: at last" in capfd.readouterr().err
