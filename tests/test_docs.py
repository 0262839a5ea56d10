"""Documentation: docstrings are complete, and all the code that is shown runs."""

import ast
import builtins
import configparser
import doctest
import importlib
import importlib.util
import inspect
import itertools
import json
import os
import pkgutil
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from _cases import some

import pescador

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 400  # seconds; only ever used up by an example that hangs

# Docstrings: what there is.

KERAS_BACKENDS = ["torch", "jax", "tensorflow"]


def installed(names):
    """Return which packages are installed."""
    return [name for name in names if importlib.util.find_spec(name)]


def adapted():
    """Return the frameworks that are installed; Keras with a backend, which is chosen here."""
    backends = installed(KERAS_BACKENDS)
    if backends:
        os.environ.setdefault("KERAS_BACKEND", backends[0])
    return [name for name in installed(["torch", "keras", "jax"]) if name != "keras" or backends]


MODULES = [
    "pescador",
    *(f"pescador.{module.name}" for module in pkgutil.iter_modules(pescador.__path__)),
    # Those for frameworks that are installed.
    *(f"pescador.adapters.{name}" for name in adapted()),
]


def public_objects():
    """Return the public functions and classes, by qualified name."""
    found = {}
    for name in MODULES:
        if any(part.startswith("_") for part in name.split(".")):
            continue
        module = importlib.import_module(name)
        names = getattr(module, "__all__", [key for key in vars(module) if key[0] != "_"])
        for key in names:
            value = getattr(module, key)
            is_code = inspect.isfunction(value) or inspect.isclass(value)
            if is_code and value.__module__ == name:
                found[f"{name}.{key}"] = value
    return found


def public_methods():
    """Return the public methods and properties of the public classes, by qualified name."""
    found = {}
    for name, cls in CLASSES.items():
        for key, value in vars(cls).items():
            if key == "__call__" or not key.startswith("_"):
                if isinstance(value, (classmethod, staticmethod)):
                    value = value.__func__
                if inspect.isfunction(value) or isinstance(value, property):
                    found[f"{name}.{key}"] = value
    return found


OBJECTS = public_objects()
CLASSES = {name: value for name, value in OBJECTS.items() if inspect.isclass(value)}
METHODS = public_methods()
FUNCTIONS = {
    name: value for name, value in {**OBJECTS, **METHODS}.items() if inspect.isfunction(value)
}
STREAMERS = {
    name: value
    for name, value in CLASSES.items()
    if not issubclass(value, BaseException) and value is not pescador.util.Deprecated
}
# A stream is made by a streamer, and a report by a monitor, not by the user.
MADE_FOR_USERS = (pescador.Stream, pescador.Report)
CONSTRUCTED = {name: value for name, value in STREAMERS.items() if value not in MADE_FOR_USERS}


def each_of(table):
    return pytest.mark.parametrize("name", table)


# Docstrings: what is in them.


def sections_of(value):
    """Return the text of each section of a numpydoc docstring, by its heading."""
    lines = inspect.cleandoc(value.__doc__ or "").splitlines()
    starts = [
        index
        for index, (line, below) in enumerate(itertools.pairwise(lines))
        if line and re.fullmatch("-+", below) and len(below) == len(line)
    ]
    ends = [*starts[1:], len(lines)]
    sections = {"": lines[: starts[0] if starts else len(lines)]}
    for start, end in zip(starts, ends):
        sections[lines[start]] = lines[start + 2 : end]
    return sections


def entries_of(lines):
    """Return the names that a section describes, in order."""
    heads = [line.split(" : ")[0] for line in lines if line and not line.startswith(" ")]
    return [name.strip().lstrip("*") for head in heads for name in head.split(",")]


def parameters_of(value):
    return [name for name in inspect.signature(value).parameters if name != "self"]


def test_sections_are_found():
    def documented():
        """Do something.

        In detail:
        -

        Parameters
        ----------
        x : int
            About x: much.
        *y, **z
            About both.

        Returns
        -------
        int
            One: two.
        """

    sections = sections_of(documented)
    assert list(sections) == ["", "Parameters", "Returns"]
    assert entries_of(sections["Parameters"]) == ["x", "y", "z"]
    assert entries_of(sections["Returns"]) == ["int"]


HEADINGS = [
    "Parameters",
    "Attributes",
    "Returns",
    "Yields",
    "Raises",
    "Warns",
    "See Also",
    "Notes",
    "References",
    "Examples",
]


@each_of({**OBJECTS, **METHODS})
def test_every_public_name_has_a_docstring_in_order(name):
    value = {**OBJECTS, **METHODS}[name]
    headings = [heading for heading in sections_of(value) if heading]
    assert headings == sorted(headings, key=HEADINGS.index)
    summary = inspect.cleandoc(value.__doc__).splitlines()[0]
    assert re.fullmatch(r"\S.*[.:]", summary)
    assert "\n\n" in inspect.cleandoc(value.__doc__) or "\n" not in value.__doc__


# Empty files:
ROOMS = [
    f"pescador.{room}"
    for room in (
        "_background",
        "_checking",
        "_mixing",
        "_monitoring",
        "_openers",
        "_streaming",
        "adapters",
    )
]


@each_of([name for name in MODULES if name not in ROOMS])
def test_every_module_says_what_it_is(name):
    assert re.match(r"\S.*", importlib.import_module(name).__doc__ or "")


def test_everything_exported_is_documented():
    documented = {id(value) for value in OBJECTS.values()}
    exported = {name: getattr(pescador, name) for name in pescador.__all__}
    code = {name: value for name, value in exported.items() if callable(value)}
    assert {name for name, value in code.items() if id(value) not in documented} == set()


@each_of({**CONSTRUCTED, **FUNCTIONS})
def test_the_parameters_are_those_of_the_signature(name):
    value = {**CONSTRUCTED, **FUNCTIONS}[name]
    assert entries_of(sections_of(value).get("Parameters", [])) == parameters_of(value)


@each_of(STREAMERS)
def test_classes_have_examples(name):
    lines = sections_of(STREAMERS[name]).get("Examples", [])
    assert any(line.startswith(">>> ") for line in lines)


def returns_something(function):
    return inspect.signature(function).return_annotation not in (None, "None")


@each_of(FUNCTIONS)
def test_functions_say_what_they_return(name):
    sections = sections_of(FUNCTIONS[name])
    has_section = "Returns" in sections or "Yields" in sections
    assert has_section == returns_something(FUNCTIONS[name])


def makes_generators(function):
    annotation = str(inspect.signature(function).return_annotation)
    return annotation.startswith(("Iterator", "Generator"))


@each_of([name for name in FUNCTIONS if makes_generators(FUNCTIONS[name])])
def test_maps_say_what_they_yield(name):
    assert len(entries_of(sections_of(FUNCTIONS[name])["Yields"])) == 1


def raises_errors(function):
    """Tell whether errors are raised in the code of a function itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            return True
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "_validate":
            return True
    return False


@each_of([name for name in FUNCTIONS if raises_errors(FUNCTIONS[name])])
def test_functions_say_what_they_raise(name):
    errors = entries_of(sections_of(FUNCTIONS[name]).get("Raises", []))
    assert errors
    for error in errors:
        cls = getattr(pescador, error, None) or getattr(builtins, error)
        assert issubclass(cls, Exception)


@each_of(CONSTRUCTED)
def test_classes_say_what_they_raise(name):
    assert entries_of(sections_of(CONSTRUCTED[name]).get("Raises", []))[:1] == ["PescadorError"]


OPTION_TUPLES = [
    name
    for name, value in vars(pescador.mux).items()
    if name.isupper() and isinstance(value, tuple) and isinstance(value[0], str)
]


@each_of(OPTION_TUPLES)
def test_docstrings_name_all_options(name):
    shown = ", ".join(f'"{option}"' for option in getattr(pescador.mux, name))
    classes = [cls for cls in CLASSES.values() if cls.__module__ == "pescador.mux"]
    assert any(f" : {{{shown}}}" in cls.__doc__ for cls in classes)


@pytest.mark.parametrize(
    "make, parameter, options",
    [
        (pescador.StochasticMux, "mode", pescador.mux.STOCHASTIC_MODES),
        (pescador.StochasticMux, "dist", pescador.mux.DISTS),
        (pescador.RoundRobinMux, "mode", pescador.mux.ROUND_ROBIN_MODES),
        (pescador.ChainMux, "mode", pescador.mux.CHAIN_MODES),
    ],
)
def test_docstrings_and_errors_agree_about_options(make, parameter, options):
    shown = ", ".join(f'"{option}"' for option in options)
    assert f"{parameter} : {{{shown}}}" in make.__doc__
    arguments = {"n_active": 1, "rate": None} if make is pescador.StochasticMux else {}
    with pytest.raises(pescador.PescadorError) as caught:
        make(["ab"], **arguments, **{parameter: "none of them"})
    assert all(repr(option) in str(caught.value) for option in options)


# Docstrings: the examples run.


@each_of(MODULES)
def test_examples_in_docstrings(name):
    tests = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    report = []
    runner = doctest.DocTestRunner()
    for test in tests:
        runner.run(test, out=report.append)
    assert not runner.summarize(verbose=False).failed, "".join(report)


def test_functions_with_examples_are_found_by_doctest():
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in MODULES]
    found = {test.name for module in modules for test in finder.find(module) if test.examples}
    shown = {name for name, value in OBJECTS.items() if "Examples" in sections_of(value)}
    assert shown <= found


# Pages: the code in them runs.


def python_blocks(text):
    """Return the blocks of Python code of a page, with the number of the line each starts at."""
    pattern = re.compile(
        r"^(?P<fence>[ ]*(?:```+|:::+))[ ]*(?:\{code(?:-block)?\}[ ]*)?(?:python|py|pycon)\b"
        r"[^\n]*\n(?:[ ]*:[^\n]*\n)*(?P<fenced>.*?)^(?P=fence)"
        r"|^(?P<margin>[ ]*)\.\. code(?:-block)?:: (?:python|pycon)\n(?:(?P=margin)[ ]+:[^\n]*\n)*"
        r"(?P<indented>(?:[ ]*\n|(?P=margin)[ ]+[^\n]*(?:\n|\Z))+)",
        re.MULTILINE | re.DOTALL,
    )
    blocks = []
    for match in pattern.finditer(text):
        kind = "fenced" if match["fenced"] is not None else "indented"
        line = text.count("\n", 0, match.start(kind)) + 1
        blocks.append((line, textwrap.dedent(match[kind])))
    return blocks


def test_python_blocks_are_found():
    page = textwrap.dedent(
        """\
        ```python
        x = 1

        y = 2
        ```
        ```sh
        ls
        ```
          ``` pycon
          >>> x
          1
          ```
        ```
        plain
        ```
        ```{code-block} python
        :caption: A caption

        w = 2
        ```
        :::{code} python
        w = 3
        :::

        .. code-block:: python

            z = 3

            if z:
                z = 4

        Text.

        .. code-block:: sh

            ls
        """
    )
    blocks = [(line, code.strip()) for line, code in python_blocks(page)]
    assert blocks == [
        (2, "x = 1\n\ny = 2"),
        (10, ">>> x\n1"),
        (18, "w = 2"),
        (22, "w = 3"),
        (26, "z = 3\n\nif z:\n    z = 4"),
    ]


def run_block(code, namespace, path, line):
    """Run a block, which is either a program or a session with its output."""
    if not code.lstrip().startswith(">>>"):
        exec(compile("\n" * (line - 1) + code, str(path), "exec"), namespace)
        return
    test = doctest.DocTestParser().get_doctest(code, {}, path.name, str(path), line - 1)
    test.globs = namespace
    report = []
    failed, _ = doctest.DocTestRunner().run(test, out=report.append, clear_globs=False)
    assert not failed, "".join(report)


# What snippets may need beyond the packages that the tests install. A block that imports one that
# is missing is left out, and the test of the page is skipped, which says so. Anything else that is
# missing is an error.
FRAMEWORKS = {"keras", "torch"}
OPTIONAL = {"datasets", "fsspec", "h5py", "pyarrow"} | FRAMEWORKS
BACKENDS = [each for each in KERAS_BACKENDS if importlib.util.find_spec(each)]


def imported_packages(code):
    """Return the packages that code imports."""
    return {*re.findall(r"^[ ]*(?:>>> )?(?:import|from) (\w+)", code, re.MULTILINE)}


def missing_packages(code):
    """Return the optional packages that a block imports and this environment lacks."""
    needed = imported_packages(code) & OPTIONAL
    lacking = sorted(each for each in needed if importlib.util.find_spec(each) is None)
    return lacking + ["a backend of keras"] * ("keras" in needed and not BACKENDS)


def run_page(path):
    """Run the blocks of a page one after the other, in one namespace; tell what was left out."""
    namespace = {"__name__": "__main__"}
    left_out = []
    for line, code in python_blocks(path.read_text(encoding="utf-8")):
        missing = missing_packages(code)
        if missing:
            left_out.append(f"the block at line {line} needs {', '.join(missing)}")
        else:
            run_block(code, namespace, path, line)
    return left_out


@pytest.mark.parametrize(
    "code, error",
    [
        ("```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n", AssertionError),
        ("```python\n>>> 1 + 1\n3\n```\n", AssertionError),
        ("```python\nx = 1\n```\n\n```python\n>>> x\n2\n```\n", AssertionError),
        ("```python\nif True\n```\n", SyntaxError),
    ],
)
def test_a_page_with_wrong_code_fails(tmp_path, code, error):
    path = tmp_path / "page.md"
    path.write_text(code)
    with pytest.raises(error):
        run_page(path)


def test_a_block_is_left_out_only_if_an_optional_package_is_missing(tmp_path, monkeypatch):
    path = tmp_path / "page.md"
    path.write_text("```python\nimport no_such_thing.a as b\nx = 1\n```\n")
    with pytest.raises(ModuleNotFoundError):
        run_page(path)
    monkeypatch.setattr(sys.modules[__name__], "OPTIONAL", {"no_such_thing", "json"})
    assert run_page(path) == ["the block at line 2 needs no_such_thing"]
    path.write_text("```python\nfrom json import loads\nassert loads('0')\n```\n")
    with pytest.raises(AssertionError):
        run_page(path)


@pytest.mark.parametrize("backends, lacking", [([], ["a backend of keras"]), (["jax"], [])])
def test_keras_needs_a_backend(monkeypatch, backends, lacking):
    monkeypatch.setattr(sys.modules[__name__], "BACKENDS", backends)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert missing_packages("import keras\n") == lacking
    assert missing_packages("import torch\n") == []


# What Sphinx makes; the examples among it run below.
MADE = {ROOT / "docs" / "_build", ROOT / "docs" / "examples"}
PAGES = [
    ROOT / "README.md",
    *(
        path
        for suffix in ("md", "rst")
        for path in sorted(ROOT.glob(f"docs/**/*.{suffix}"))
        if not MADE & {*path.parents}
    ),
]


def framework_environment(folder):
    """Return the environment of programs that use frameworks, which keep things in a folder."""
    return {
        **os.environ,
        "PYTHONPATH": str(Path(pescador.__path__[0]).parent),
        "OMP_NUM_THREADS": "1",  # models are small: more threads only wait for each other
        "HF_HOME": str(folder / "huggingface"),
        "KERAS_HOME": str(folder / "keras"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "torch"),
    }


def run_page_alone(path, folder):
    """Run a page in a process of its own: frameworks start threads, and keep them."""
    code = """
import json, multiprocessing, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_docs
if "fork" in multiprocessing.get_all_start_methods():  # the code of a page cannot be imported
    multiprocessing.set_start_method("fork", force=True)
print(json.dumps(test_docs.run_page(Path(sys.argv[2]))))
"""
    program = [sys.executable, "-W", "default::ResourceWarning", "-c", code]
    result = subprocess.run(
        [*program, str(ROOT / "tests"), str(path)],
        cwd=folder,
        env={"KERAS_BACKEND": "".join(BACKENDS[:1]), **framework_environment(folder)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert result.returncode == 0, result.stderr
    assert complaints(result.stderr) == []
    return json.loads(result.stdout.splitlines()[-1])


def uses_frameworks(path):
    blocks = python_blocks(path.read_text(encoding="utf-8"))
    return any(imported_packages(code) & FRAMEWORKS for _, code in blocks)


@pytest.mark.parametrize(
    "code, error", [("assert 0", "line 2"), ("import warnings; warnings.warn('beware')", "beware")]
)
def test_a_page_that_runs_alone_can_fail(tmp_path, code, error):
    path = tmp_path / "page.md"
    path.write_text(f"```python\n{code}\n```\n")
    with pytest.raises(AssertionError, match=error):
        run_page_alone(path, tmp_path)
    path.write_text("Nothing to run.\n")
    assert run_page_alone(path, tmp_path) == []


@pytest.mark.parametrize("path", some({str(path.relative_to(ROOT)): path for path in PAGES}, 4))
def test_code_on_pages_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    left_out = run_page_alone(path, tmp_path) if uses_frameworks(path) else run_page(path)
    if left_out:
        pytest.skip("; ".join(left_out))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_have_no_code_without_a_language(path):
    """Such code would not be run."""
    text = path.read_text(encoding="utf-8")
    opened = []  # a directive may be in another one
    for fence, info in re.findall(r"^[ ]*(```+|:::+)[ ]*([^\n]*)", text, re.MULTILINE):
        if opened and not info:
            assert fence == opened.pop()
        else:
            assert info
            opened.append(fence)
    assert not opened


# The list of changes is that of the repository.
TEXTS = [path for path in PAGES if path.suffix == ".md" and path.stem != "changes"]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_pages_begin_with_a_title_and_a_paragraph_of_text(path):
    text = path.read_text(encoding="utf-8")
    assert re.match(r"# [^\n]+\n\n[A-Z`][^\n]{20,}", text)
    assert "After this page you" not in text


def test_the_readme_shows_code():
    assert python_blocks((ROOT / "README.md").read_text(encoding="utf-8"))


# Examples: they run, and have nothing to complain about.

EXAMPLES = sorted(ROOT.glob("examples/*.py"))
# A progress bar ends with the time gone and to go, and the speed.
PROGRESS = re.compile(r"\[\d+:\d\d.*\](\x1b\[A)?\s*")


# What examples are there to make.
OUTPUTS = {"from_disk.png", "imbalance.png", "keras_fit.png", "log_shares.png", "many_files.png"}
OUTPUTS |= {"partial_fit.png", "shares.png", "slow_source.png", "torch_dataset.png"}
OUTPUTS |= {f"mixing_{what}.png" for what in ("correlation", "distinct", "effect", "gaps")}
OUTPUTS |= {f"mixing_{what}.png" for what in ("stays", "waves")}
OUTPUTS |= {f"open_{mux}Mux_{n}.png" for mux in ("Stochastic", "RoundRobin") for n in (1, 2, 3)}
OUTPUTS |= {"open_ShuffledMux_1.png", "open_ChainMux_1.png", "open_ChainMux_2.png"}

# What an example needs beyond the packages of the tests: one of each group.
NEEDED = {
    "keras_fit.py": [["keras"], KERAS_BACKENDS],
    "on_ray.py": [["ray"]],
    "torch_dataset.py": [["torch"]],
    "torch_ranks.py": [["torch"]],
    "mixture_of_texts.py": [["torch"], ["datasets"]],
}
# What those that train print, and the least that it has to be (of 10 digits).
LEAST_ACCURACY = {
    "partial_fit.py": 0.75,
    "keras_fit.py": 0.7,
    "mixture_of_texts.py": 0.5,
    "torch_dataset.py": 0.7,
    "torch_ranks.py": 0.7,
}


def missing(name):
    """Return the packages that an example lacks."""
    return [
        " or ".join(group)
        for group in NEEDED.get(name, [])
        if not any(importlib.util.find_spec(each) for each in group)
    ]


def complaints(errors):
    """Return what was written to stderr, but for progress bars."""
    return [
        line for line in re.split(r"[\r\n]+", errors) if line.strip() and not PROGRESS.search(line)
    ]


def test_complaints_are_told_from_progress_bars():
    bars = "\r  0%|          | 0/9 [00:00<?, ?it/s]\r100%|####| 9/9 [00:01<00:00, 8.53it/s]\n"
    assert complaints(bars + "5it [00:00, 10.00it/s]\n\n") == []
    assert complaints(bars + "page.py:3: UserWarning: beware\n") == [
        "page.py:3: UserWarning: beware"
    ]


def test_the_examples_are_there():
    assert {"quickstart.py", "from_disk.py"} <= {path.name for path in EXAMPLES}


@pytest.mark.parametrize("path", some({path.name: path for path in EXAMPLES}, 0, ["quickstart.py"]))
def test_examples_run(path, tmp_path, tmp_path_factory):
    if missing(path.name):
        pytest.skip(f"not installed: {', '.join(missing(path.name))}")
    result = subprocess.run(
        [sys.executable, "-W", "default::ResourceWarning", str(path), "--quick"],
        cwd=tmp_path,
        env=framework_environment(tmp_path_factory.mktemp("frameworks")),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert result.returncode == 0, result.stderr
    assert complaints(result.stderr) == []
    assert result.stdout.strip()
    assert {each.name for each in tmp_path.iterdir()} <= OUTPUTS
    accuracies = re.findall(r"accuracy: (\d\.\d+)", result.stdout)
    least = LEAST_ACCURACY.get(path.name, 0)
    assert accuracies or not least
    assert all(float(accuracy) > least for accuracy in accuracies)


MESSAGES = [
    ("partial_fit.py", "sklearn", "examples"),
    ("imbalance.py", "sklearn", "examples"),
    ("keras_fit.py", "keras", "keras"),
    ("torch_dataset.py", "torch", "pytorch"),
    ("torch_ranks.py", "torch", "pytorch"),
    ("on_ray.py", "ray", "ray"),
]


@pytest.mark.parametrize(("name", "package", "extra"), MESSAGES)
def test_an_example_tells_how_to_install_what_it_lacks(name, package, extra, monkeypatch):
    for module in [package, *(each for each in sys.modules if each.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("KERAS_BACKEND", "none")
    with pytest.raises(SystemExit, match=re.escape(f'python -m pip install -e ".[{extra}]"')):
        runpy.run_path(str(ROOT / "examples" / name))
    extras = configparser.ConfigParser()
    extras.read(ROOT / "setup.cfg")
    distribution = {"sklearn": "scikit-learn"}.get(package, package)
    assert distribution in extras["options.extras_require"][extra]
