"""States in files: written whole or not at all."""

import errno
import json
import os

import pytest

import pescador
from pescador import PescadorError, ShuffledMux


@pytest.fixture
def mux():
    return ShuffledMux([range(10), range(100, 120)], random_state=0)


@pytest.mark.parametrize("as_path", [str, lambda path: path], ids=["str", "Path"])
def test_a_stream_goes_on_from_a_file(mux, tmp_path, as_path):
    path = tmp_path / "state.json"
    stream = mux.iterate(50)
    for _ in range(7):
        next(stream)
    stream.save(as_path(path))
    assert json.loads(path.read_text()) == stream.state_dict()
    assert list(mux.resume(as_path(path))) == list(stream)
    assert os.listdir(tmp_path) == ["state.json"]


def test_a_file_is_replaced(mux, tmp_path):
    path = tmp_path / "state.json"
    with mux.iterate() as stream:
        for _ in range(3):
            next(stream)
            stream.save(path)
        assert json.loads(path.read_text())["n_given"] == 3


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_full_disk_leaves_the_older_file(mux, tmp_path, monkeypatch, name):
    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "state.json"
    with mux.iterate() as stream:
        next(stream)
        stream.save(path)
        before = path.read_bytes()
        next(stream)
        monkeypatch.setattr(os, name, fail)
        with pytest.raises(OSError, match="No space left"):
            stream.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["state.json"]


def test_a_folder_that_is_not_there_is_told(mux, tmp_path):
    with mux.iterate() as stream, pytest.raises(FileNotFoundError, match="missing"):
        stream.save(tmp_path / "missing" / "state.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"{}", b"\xff", b"null"])
def test_a_file_without_a_state_is_refused(mux, tmp_path, content):
    path = tmp_path / "state.json"
    path.write_bytes(content)
    with pytest.raises(PescadorError, match=r"state\.json.*holds no state.*stream\.save\(\)"):
        mux.resume(path)


def test_a_file_that_is_missing_is_refused(mux, tmp_path):
    with pytest.raises(PescadorError, match=r"none\.json.*cannot be read.*No such file"):
        mux.resume(tmp_path / "none.json")


def test_a_damaged_file_is_refused(mux, tmp_path):
    path = tmp_path / "state.json"
    with mux.iterate() as stream:
        next(stream)
        stream.save(path)
    path.write_text(path.read_text().replace('"n_given": 1', '"n_given": 2'))
    with pytest.raises(PescadorError, match="altered or damaged"):
        mux.resume(path)


def test_a_progress_bar_finds_its_bounds(mux):
    with mux.iterate(50) as stream:
        next(stream)
        assert (stream.n_given, stream.max_iter) == (1, 50)
        with mux.resume(stream.state_dict()) as again:
            assert (again.n_given, again.max_iter) == (1, 50)
    assert mux.iterate().max_iter is None
    assert pescador.Streamer(range, 3).iterate().n_given == 0
