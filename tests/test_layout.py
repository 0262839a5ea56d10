"""The layout: which module may import which, what importing costs, and what is on show."""

import ast
import contextlib
import functools
import importlib.metadata
import multiprocessing.shared_memory
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

import pescador

PACKAGE = Path(pescador.__file__).parent

FLOORS = (
    {"exceptions", "version"},
    {
        "util",
        "_validate",
        "_callables",
        "_seeds",
        "_iterator",
        "_failures",
        "_host",
        "_positions",
        "_repr",
        "_html",
    },
    {
        "core",
        "maps",
        "_batch",
        "_sampling",
        "_shares",
        "_frames",
        "_layouts",
        "_shared",
        "_worker",
        "_channel",
    },
    {"_runs"},
    {"_pool_runs", "_turn_runs"},
    {"mux", "_stochastic_run", "zmq_stream", "_transport"},
    {"__init__", "legacy", "_learner"},
)
# A module of the same floor that belongs to this one alone.
COMPANIONS = {
    "maps": {"_batch"},
    "mux": {"_stochastic_run"},
    "_frames": {"_layouts"},
    "zmq_stream": {"_transport"},
    "legacy": {"_learner"},
}
# Types are not needed at run time.
FOR_TYPES = {name: {"mux"} for name in ("_runs", "_pool_runs", "_stochastic_run", "_turn_runs")}
TOOLS = 1  # the floor whose modules may use each other

DEPENDENCIES = {"numpy", "pyzmq", "six", "decorator"}
IMPORT_NAMES = {"numpy", "zmq", "six", "decorator"}
HEAVY = {
    "keras",
    "matplotlib",
    "multiprocessing",
    "scipy",
    "sklearn",
    "tensorflow",
    "torch",
    "tqdm",
    "zmq",
}

MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))


def floor_of(module):
    """Return the number of the floor that a module is on."""
    (floor,) = [number for number, modules in enumerate(FLOORS) if module in modules]
    return floor


def allowed_imports(module):
    """Return the modules of the package that ``module`` may import."""
    floor = floor_of(module)
    allowed = set().union(*FLOORS[:floor], COMPANIONS.get(module, ()))
    if floor == TOOLS:
        allowed |= FLOORS[floor] - {module}
    return allowed


@functools.cache
def parsed(module):
    """Return the syntax tree of a module of the package."""
    return ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))


def is_for_types(node):
    """Tell whether a statement is there for type checkers only."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def statements(node):
    """Yield the nodes of a syntax tree, but for those that only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if not is_for_types(child):
            yield child
            yield from statements(child)


def own_imports(nodes):
    """Return the modules of the package that are imported, by absolute or relative names."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {(*rest, "__init__")[0] for first, *rest in names if first == "pescador"}
        elif isinstance(node, ast.ImportFrom):
            found |= own_from(node)
    return found


def own_from(node):
    """Return the modules of the package that a ``from ... import ...`` reads."""
    path = (node.module or "").split(".")
    if not node.level:
        if path[0] != "pescador":
            return set()
        path = path[1:] or [""]
    if path[0]:
        return {path[0]}
    return {alias.name if alias.name in MODULES else "__init__" for alias in node.names}


def foreign_imports(module):
    """Return the top-level packages that a module needs in order to be imported."""
    found = set()
    for node in parsed(module).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found - sys.stdlib_module_names


def run_python(code):
    """Return what a fresh interpreter prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


# Imports inside the package.


def test_every_module_is_on_one_floor():
    assert sorted(module for floor in FLOORS for module in floor) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_lower_floors_only(module):
    assert own_imports(statements(parsed(module))) <= allowed_imports(module)


@pytest.mark.parametrize("module", MODULES)
def test_imports_for_types_are_few(module):
    every = own_imports(ast.walk(parsed(module)))
    assert every - allowed_imports(module) <= FOR_TYPES.get(module, set())


@pytest.mark.parametrize("module", MODULES)
def test_a_companion_belongs_to_one_module(module):
    strangers = {
        each for owner, each_of in COMPANIONS.items() if owner != module for each in each_of
    }
    assert not own_imports(statements(parsed(module))) & strangers


def test_no_module_imports_itself_through_others():
    imports = {module: own_imports(statements(parsed(module))) for module in MODULES}
    left = set(MODULES)
    while ready := {module for module in left if not imports[module] & left}:
        left -= ready
    assert not left, "these import each other"


def test_the_reader_of_imports_sees_every_form():
    code = "import pescador.mux as a\nfrom pescador import core\nfrom . import maps, Stream\n"
    code += (
        "def f():\n    from .util import get_rng\n    from .a.b import c\nimport os, numpy.random"
    )
    found = own_imports(ast.walk(ast.parse(code)))
    assert found == {"mux", "core", "maps", "__init__", "util", "a"}


def test_nothing_is_imported_with_a_star():
    stars = [
        module
        for module in MODULES
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
    ]
    assert not stars


# Imports of other packages.


@pytest.mark.parametrize("module", MODULES)
def test_a_module_needs_declared_packages_only(module):
    assert foreign_imports(module) <= IMPORT_NAMES


def test_importing_the_package_loads_nothing_heavy():
    """NumPy may load some of these itself, which is not this package's doing."""
    code = "import sys, numpy, decorator; before = set(sys.modules); import pescador;"
    loaded = run_python(code + "print(*(set(sys.modules) - before))").split()
    assert "pescador.mux" in loaded
    assert not {name.partition(".")[0] for name in loaded} & HEAVY


def test_the_old_interface_is_imported_on_demand_and_loads_nothing_heavy():
    code = "import sys, numpy, pescador; before = set(sys.modules); import pescador.legacy;"
    loaded = run_python(code + "print(*(set(sys.modules) - before))").split()
    assert "pescador.legacy" in loaded
    assert not {name.partition(".")[0] for name in loaded} & HEAVY


def test_importing_the_package_gives_no_output():
    assert run_python("import pescador") == ""


# What is on show.


def test_every_public_name_exists_once():
    assert len(set(pescador.__all__)) == len(pescador.__all__)
    assert not [name for name in pescador.__all__ if not hasattr(pescador, name)]


def test_no_other_name_leaks():
    """Modules such as np, copy and inspect are not part of the interface."""
    shown = {name for name in dir(pescador) if not name.startswith("_")}
    assert shown - set(pescador.__all__) <= set(MODULES)


def test_a_star_import_gives_the_public_names():
    space = {}
    exec("from pescador import *", space)
    assert set(space) - {"__builtins__"} == set(pescador.__all__)


@pytest.mark.parametrize("module", ["core", "maps", "mux", "util", "zmq_stream"])
def test_every_public_module_lists_what_it_defines(module):
    public = getattr(pescador, module)
    assert public.__all__
    for name in public.__all__:
        assert getattr(public, name).__module__ == public.__name__


# Metadata.


def test_the_metadata_tells_which_python_is_needed():
    """Installers read it, so that no release ends up on a Python that it cannot run on."""
    assert importlib.metadata.metadata("pescador")["Requires-Python"] == ">=3.10"


def test_the_metadata_lists_the_dependencies():
    required = importlib.metadata.requires("pescador")
    needed = [each for each in required if "extra ==" not in each]
    assert {re.match(r"[\w.-]+", each)[0] for each in needed} == DEPENDENCIES


def test_the_version_is_that_of_the_metadata():
    assert pescador.__version__ == importlib.metadata.version("pescador")


def test_the_types_are_shipped():
    assert (PACKAGE / "py.typed").exists()


# The guard that looks at what every test leaves behind.


@contextlib.contextmanager
def _thread():
    done = threading.Event()
    thread = threading.Thread(target=done.wait, args=(60,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("conftest._TIMEOUT", 0.01)
        thread.start()
        yield
    done.set()
    thread.join()


@contextlib.contextmanager
def _process():
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield
        process.communicate(b"\n")


@contextlib.contextmanager
def _descriptor():
    number = os.open(os.devnull, os.O_RDONLY)
    yield
    os.close(number)


@contextlib.contextmanager
def _temporary_folder():
    with tempfile.TemporaryDirectory():
        yield


@contextlib.contextmanager
def _shared_memory():
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=8)
    yield
    memory.close()
    memory.unlink()


LEAKS = {
    "thread": _thread,
    "child process": _process,
    "file descriptor": _descriptor,
    "temporary file": _temporary_folder,
    "shared memory": _shared_memory,
}


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and /dev/shm")
@pytest.mark.parametrize("kind", LEAKS)
def test_a_leak_is_noticed_while_it_lasts(kind, leak_guard):
    with LEAKS[kind]():
        assert any(each.startswith(kind) for each in leak_guard.leaked())
    assert not leak_guard.leaked()


def test_garbage_is_no_leak(leak_guard):
    loop = [open(os.devnull)]  # noqa: SIM115 - it is left open on purpose
    loop.append(loop)
    with pytest.warns(ResourceWarning, match="unclosed"):
        del loop
        assert not leak_guard.leaked()
