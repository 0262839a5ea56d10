"""``python -m pescador``: what it prints, and its exit codes."""

import json
import subprocess
import sys

import pytest

from pescador import __main__ as command

MODULE = """
import pescador

def rows(n):
    for value in range(n):
        yield {"x": value}

good = pescador.ShuffledMux([pescador.Streamer(rows, 3)])

def bad():
    return pescador.ChainMux([pescador.Streamer(rows, 3), pescador.Streamer(rows, 0)])

class space:
    inner = good

def breaks():
    raise OSError("no such disk")

def needs(k, *more, seed, default=1, **options):
    return good

def has_a_note():
    return pescador.ShuffledMux([pescador.Streamer(rows, n) for n in (3, 4)], [1, 0])

def breaks_below():
    return breaks()

number = 3
"""


@pytest.fixture
def trees(tmp_path, monkeypatch):
    """Return the name of a module in the current folder."""
    name = f"trees_of_{tmp_path.name}"
    tmp_path.joinpath(f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["good", "space.inner"])
def test_nothing_is_found(name, trees, capsys):
    assert command.main(["check", f"{trees}:{name}"]) == 0
    assert capsys.readouterr().out == "no findings; 1 source read\n"


def test_something_is_found(trees, capsys):
    arguments = ["check", f"{trees}:bad", "--n-items", "5", "--seed", "1"]
    assert command.main(arguments) == 1
    assert "warning (empty) at (1,), Streamer(rows, 0):" in capsys.readouterr().out
    assert command.main([*arguments, "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert (found["kind"], found["place"]) == ("empty", [1])
    assert command.main([*arguments, "--ignore", "empty"]) == 0


WRONG = {
    "no colon": (["check", "trees"], "not of the form module:streamer"),
    "no module": (["check", "no_such_module:x"], "No module named 'no_such_module'"),
    "no name": (["check", "TREES:missing"], "has no 'missing'"),
    "no streamer": (["check", "TREES:number"], "is a int: give a streamer"),
    "wrong number": (["check", "TREES:good", "--n-items", "0"], "n_items=0: "),
    "no number": (["check", "TREES:good", "--seed", "x"], "invalid int value"),
    "no command": ([], "required: command"),
    "no such kind": (["check", "TREES:good", "--ignore", "never_read"], "choose from"),
    "no severity": (["check", "TREES:good", "--severity", "worse"], "choose from"),
    "no number of sources": (["check", "TREES:good", "--n-sources", "x"], "neither a number nor"),
    "a file": (["check", "TREES.py:good"], "is a file: give the module, TREES:good"),
    "a file in a folder": (["check", "./a/TREES.py:good"], "give the module, a.TREES:good"),
    "arguments": (["check", "TREES:needs"], "needs arguments: k, seed"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use(case, trees, capsys):
    arguments, message = WRONG[case]
    with pytest.raises(SystemExit) as caught:
        command.main([each.replace("TREES", trees) for each in arguments])
    assert caught.value.code == 2
    assert message.replace("TREES", trees) in capsys.readouterr().err


def test_an_error_in_the_module_does_not_pass_for_findings(trees, capsys):
    assert command.main(["check", f"{trees}:breaks_below"]) == 2
    first, *lines, last = capsys.readouterr().err.splitlines()
    assert (first, last) == ("Traceback (most recent call last):", "OSError: no such disk")
    files = [line for line in lines if line.startswith("  File")]
    assert len(files) == 2 and all(f"{trees}.py" in line for line in files)


@pytest.mark.parametrize(
    "text, message", [("import no_such_module", "no_such_module'"), ("def", "invalid syntax")]
)
def test_a_module_that_cannot_be_imported(text, message, trees, capsys, tmp_path):
    tmp_path.joinpath(f"{trees}_broken.py").write_text(text)
    assert command.main(["check", f"{trees}_broken:x"]) == 2
    told = capsys.readouterr().err
    assert message in told and "importlib" not in told and "__main__" not in told


def test_the_least_severity_that_counts(trees, capsys):
    arguments = ["check", f"{trees}:has_a_note", "--n-sources", "all"]
    assert command.main(arguments) == 1
    assert "note (never-read)" in capsys.readouterr().out
    assert command.main([*arguments, "--severity", "warning"]) == 0
    assert capsys.readouterr().out == "no findings; 1 source read\n"


def test_from_a_shell(trees):
    program = [sys.executable, "-m", "pescador", "check", f"{trees}:bad"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.endswith("1 finding; 2 sources read\n")
