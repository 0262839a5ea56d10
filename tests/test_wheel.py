"""What is published: it holds every package, and works away from the checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 600  # seconds, for a command that may download packages
NO_SOURCES = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "_build")

SPAWNED = """
import sys
from pathlib import Path

import pescador


def numbers(n_items):
    for value in range(n_items):
        yield {"x": value}


if __name__ == "__main__":
    assert Path(pescador.__file__).is_relative_to(sys.prefix), pescador.__file__
    mux = pescador.StochasticMux([pescador.Streamer(numbers, 10)] * 3, 2, 4, random_state=0)
    stream = pescador.ZMQStreamer(mux, start_method="spawn").iterate(40)
    assert [int(item["x"]) for item in stream] == [item["x"] for item in mux.iterate(40)]
    print("as expected")
"""


def run(*command, cwd):
    """Run a command that knows nothing of this environment, and return what it prints."""
    strange = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name not in strange},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build from a copy of the sources, and return the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "sources", ignore=NO_SOURCES)
    run(sys.executable, "-m", "build", "--outdir", folder, "sources", cwd=folder)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_and_the_sdist_hold_every_file_of_the_package(built):
    wheel, sdist = built
    files = {
        str(path.relative_to(ROOT))
        for path in ROOT.glob("pescador/**/*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert len({Path(name).parent for name in files}) > 3
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name for name in names if ".dist-info/" not in name} == files
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names > files | {"LICENSE", "README.md", "pyproject.toml", "setup.cfg"}


def test_the_wheel_works_away_from_the_checkout(built, tmp_path):
    """In an environment of its own: the quickstart, and a process that is spawned."""
    wheel, _ = built
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", f"{wheel}[sklearn]", "tqdm", cwd=tmp_path)
    shutil.copy(ROOT / "examples" / "quickstart.py", tmp_path)
    assert "accuracy" in run(python, "quickstart.py", "--quick", cwd=tmp_path)
    tmp_path.joinpath("spawned.py").write_text(SPAWNED)
    assert run(python, "spawned.py", cwd=tmp_path) == "as expected\n"
