"""The site: it has every public name, it can be built, and the check of it finds faults."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pescador

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TIMEOUT = 300  # seconds; only ever used up by a build that hangs
TOOLS = (
    "sphinx",
    "myst_parser",
    "numpydoc",
    "sphinx_design",
    "sphinx_gallery",
    "furo",
    "sphinx-mathjax-offline",
    "matplotlib",
)


def load(name):
    """Import a script of the documentation."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHECK = load("check_site")

# The reference has everything.


def names_in_reference():
    """Return what the pages of the reference describe, by the name that programs use."""
    found = set()
    for path in DOCS.glob("reference/*.rst"):
        text = path.read_text(encoding="utf-8")
        names = re.findall(r"^\.\. auto(?:class|function|exception|data):: ([\w.]+)", text, re.M)
        found |= {name.removeprefix("pescador.") for name in names}
        for module, members in re.findall(
            r"^\.\. automodule:: pescador\.(\w+)\n   :members: (.*)", text, re.M
        ):
            found |= {f"{module}.{name}" for name in members.split(", ")}
    return found


def is_module(name):
    return (Path(pescador.__path__[0]) / f"{name}.py").exists()


def test_the_reference_has_every_public_name():
    names = {name for name in pescador.__all__ if not is_module(name) and name[0] != "_"}
    names |= {f"util.{name}" for name in pescador.util.__all__}
    assert names <= names_in_reference()


def test_the_contents_name_every_page():
    pages = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.glob("*.md")}
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert pages - {"index"} <= set(index.splitlines())


def test_the_picture_of_a_mixture_is_as_drawn():
    pictures = load("pictures")
    assert pictures.PATH.read_text(encoding="utf-8") == pictures.mixture()


# The check of links.

GOOD = {
    "index.html": '<a href="sub/page.html#here">x</a><img src="a%20b.png"><a href="#top">x</a>'
    '<h1 id="top"></h1><a href="https://example.org">x</a><a href="sub/">x</a>',
    "sub/page.html": '<p id="here"></p><a href="../index.html">x</a><a href="mailto:a@b">x</a>',
    "sub/index.html": '<link rel="stylesheet" href="../look.css">',
    "a b.png": "",
    "look.css": "a { background: url(a.png) }",
}


@pytest.mark.parametrize(
    "name, content, fault",
    [
        ("look.css", "", None),
        ("index.html", '<a href="gone.html">x</a>', "no such file"),
        ("index.html", '<a href="sub/page.html#gone">x</a>', "no such place"),
        ("index.html", '<a href="#gone">x</a>', "no such place"),
        ("index.html", '<img src="gone.png">', "no such file"),
        ("index.html", '<script src="gone.js"></script>', "no such file"),
        ("index.html", '<script src="https://example.org/x.js"></script>', "from elsewhere"),
        ("index.html", '<link rel="stylesheet" href="//example.org/x.css">', "from elsewhere"),
        ("index.html", '<a href="../secret.html">x</a>', "outside"),
        ("index.html", '<a href="https://example.org:80/a/?b=c#d">x</a>', None),
        ("index.html", '<a href="http://example.org">x</a>', "well-formed"),
        ("index.html", '<a href="https://example">x</a>', "well-formed"),
        ("index.html", '<a href="https:/example.org">x</a>', "well-formed"),
        ("index.html", '<a href="https://example.org/a b">x</a>', "well-formed"),
        ("index.html", '<a href="//example.org">x</a>', "well-formed"),
        ("look.css", "@import 'https://example.org/x.css';", "from elsewhere"),
        ("look.css", "a { background: url(//example.org/a.png) }", "from elsewhere"),
    ],
)
def test_the_check_of_links_finds_faults(tmp_path, name, content, fault):
    for file, text in {**GOOD, name: content}.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    found = CHECK.faults(tmp_path)
    assert (fault is None) == (found == [])
    assert len(found) <= 1
    assert all(line.startswith(name) and fault in line for line in found)


def test_a_site_without_pages_is_a_fault(tmp_path):
    assert CHECK.faults(tmp_path)


# The site as a whole, where the tools for it are installed. (The extra "docs" has them.)


# Examples whose pictures are on pages: on which, and how many.
PICTURES = {
    "open_streams": ("muxing.html", 9),
    "mixing": ("muxanalysis.html", 6),
    "shares": ("muxanalysis.html", 1),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site from a copy, and run the examples whose pictures pages show.

    Or return the one that the variable ``SITE`` names.
    """
    for name in TOOLS:
        pytest.importorskip(name)
    if "SITE" in os.environ:
        return Path(os.environ["SITE"])
    folder = tmp_path_factory.mktemp("site")
    made = shutil.ignore_patterns("_build", "__pycache__", "examples")
    shutil.copytree(DOCS, folder / "docs", ignore=made)
    for part in ("examples", "benchmarks/results"):
        shutil.copytree(ROOT / part, folder / part)
    for path in ROOT.glob("*.md"):
        shutil.copy(path, folder)
    options = ["-q", "-W", "--keep-going", "-b", "html"]
    options += ["-D", f"sphinx_gallery_conf.filename_pattern=/({'|'.join(PICTURES)})[.]py$"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, folder / "docs", folder / "html"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_links_of_the_site_lead_somewhere(site):
    assert CHECK.faults(site) == []


@pytest.mark.parametrize("example", PICTURES)
def test_pages_show_all_pictures_of_an_example(site, example):
    page, number = PICTURES[example]
    text = (site / page).read_text(encoding="utf-8")
    pictures = [path.name for path in (site / "_images").glob(f"sphx_glr_{example}_00*.png")]
    assert len(pictures) == number
    assert all(name in text for name in pictures)


def test_formulas_are_set_by_files_of_the_site(site):
    loads = {
        path.name: "_static/mathjax/tex-chtml.js" in path.read_text(encoding="utf-8")
        for path in site.glob("*.html")
    }
    assert [name for name, does in loads.items() if does] == ["muxanalysis.html"]
    assert (site / "_static" / "mathjax" / "tex-chtml.js").is_file()


def test_a_browser_finds_no_fault(site):
    browser = load("browser")
    program = browser.find()
    if program is None:
        pytest.skip("there is no Chromium")
    assert browser.faults(site, program) == []
