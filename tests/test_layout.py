"""The layout: which module may import which, what importing costs, and what is on show."""

import ast
import functools
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pescador

PACKAGE = Path(pescador.__file__).parent

PLAN = (Path(__file__).resolve().parents[1] / "ARCHITECTURE.md").read_text(encoding="utf-8")


def planned_modules():
    """Return the modules that ARCHITECTURE.md draws, by their dotted names."""
    drawing = re.search(r"^```\npescador/\n(.*?)^```", PLAN, re.MULTILINE | re.DOTALL)[1]
    found, room = [], ""
    for line in drawing.splitlines():
        indent, name = re.match(r"( +)(\S+)", line).groups()
        if name.endswith("/"):
            room = f"{name[:-1]}."
        else:
            found.append((room if len(indent) > 2 else "") + name.removesuffix(".py"))
    return sorted(found)


def planned_imports():
    """Return which rooms and modules each may import, as the table in ARCHITECTURE.md says."""
    table = re.search(r"^\| who \| may import \|\n\|.*\n((?:\|.*\n)+)", PLAN, re.MULTILINE)[1]
    rules, tools = {}, set()
    for line in table.splitlines():
        who, what = (re.findall(r"`(\w+)`", cell) for cell in line.strip("|").split("|"))
        allowed = set(what)
        if "the tools" in line:
            allowed |= tools
        elif "the above" in line:
            allowed |= {name for other in rules.values() for name in other} | tools
        elif "everything" in line:
            allowed = {module.partition(".")[0] for module in MODULES}
        elif what:
            tools |= {*who, *what}
        rules |= dict.fromkeys(who, allowed)
    return rules


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

MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.parent == PACKAGE or path.name != "__init__.py"
)
ROOMS = sorted({module.partition(".")[0] for module in MODULES if "." in module})


@functools.cache
def parsed(module):
    """Return the syntax tree of a module of the package."""
    path = PACKAGE.joinpath(*module.split("."))
    return ast.parse(path.with_suffix(".py").read_text(encoding="utf-8"))


def own_imports(module, tree=None):
    """Return the modules of the package that a module imports, by absolute or relative names."""
    found = set()
    for node in ast.walk(tree or parsed(module)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {".".join(rest) or "__init__" for first, *rest in names if first == "pescador"}
        elif isinstance(node, ast.ImportFrom):
            found |= own_from(module, node)
    return found


def own_from(module, node):
    """Return the modules of the package that a ``from ... import ...`` reads."""
    path = [part for part in (node.module or "").split(".") if part]
    if node.level:
        path = [*module.split(".")[: -node.level], *path]
    elif path[:1] == ["pescador"]:
        path = path[1:]
    else:
        return set()
    if ".".join(path) in MODULES:
        return {".".join(path)}
    below = [".".join([*path, alias.name]) for alias in node.names]
    return {name if name in MODULES else ".".join([*path, "__init__"]) for name in below}


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


def test_the_plan_has_every_module_once():
    assert planned_modules() == MODULES


def test_the_files_that_make_rooms_are_empty():
    assert not [room for room in ROOMS if (PACKAGE / room / "__init__.py").read_text()]


def test_every_module_has_a_rule():
    assert {module.partition(".")[0] for module in MODULES} == planned_imports().keys()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_what_the_plan_allows(module):
    room = module.partition(".")[0]
    found = {name.partition(".")[0] for name in own_imports(module)}
    assert found - {room} <= planned_imports()[room]


def test_no_module_imports_itself_through_others():
    """Also not for types alone."""
    imports = {module: own_imports(module) & set(MODULES) for module in MODULES}
    left = set(MODULES)
    while ready := {module for module in left if not imports[module] & left}:
        left -= ready
    assert not left, "these import each other"


def test_the_reader_of_imports_sees_every_form():
    code = "import pescador.mux as a\nfrom pescador import core\nfrom .. import maps, Stream\n"
    code += "def f():\n    from ..util import get_rng\n    from .slots import c\n"
    code += "if TYPE_CHECKING:\n    from .run import Run\nimport os, numpy.random"
    found = own_imports("_mixing.limits", ast.parse(code))
    expected = {"mux", "core", "maps", "__init__", "util", "_mixing.slots", "_mixing.run"}
    assert found == expected


# What is private.


def private_accesses(module, tree=None):
    """Return the private attributes that a module reads or sets, but for those of ``self``."""
    return {
        node.attr
        for node in ast.walk(tree or parsed(module))
        if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr)
        if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }


def private_definitions(module):
    """Return the private names that a module defines, and the attributes that it gives ``self``."""
    found = set()
    for node in ast.walk(parsed(module)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def room_of(module):
    """Return the modules of the same room; those that are in none have one each."""
    room = module.partition(".")[0]
    return [each for each in MODULES if each.partition(".")[0] == room]


RECIPE = {name for name in private_definitions("_streaming.recipe") if re.match("_[a-z]", name)}
# Attributes of other packages, or what an interface of theirs asks for.
FOREIGN = {"_asdict", "_exit", "_fields", "_getframe", "_popen", "_preload_modules", "_replace"}


@pytest.mark.parametrize("module", MODULES)
def test_private_names_stay_in_their_room(module):
    """But for those of the `Recipe` protocol: what a run may ask of a streamer."""
    own = set().union(*map(private_definitions, room_of(module)))
    assert private_accesses(module) - own - RECIPE - FOREIGN == set()


def test_private_names_are_not_imported_from_another_room():
    for module in MODULES:
        room = module.rpartition(".")[0]
        for node in ast.walk(parsed(module)):
            if isinstance(node, ast.ImportFrom) and own_from(module, node):
                names = {alias.name for alias in node.names if re.match("_[a-z]", alias.name)}
                is_own_room = room and all(
                    each.startswith(f"{room}.") for each in own_from(module, node)
                )
                assert is_own_room or names <= {*MODULES, *ROOMS}, module


def test_the_reader_of_private_accesses_sees_them():
    tree = ast.parse("self._a = stream._b(x._c)[0]._d\ncls._e\nx.__dict__")
    assert private_accesses("core", tree) == {"_b", "_c", "_d"}


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
    room, _, name = module.rpartition(".")
    adapted = {name} if room == "adapters" else set()
    assert foreign_imports(module) <= IMPORT_NAMES | adapted


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
    assert shown - set(pescador.__all__) <= {*MODULES, *ROOMS}


def test_a_star_import_gives_the_public_names():
    space = {}
    exec("from pescador import *", space)
    assert set(space) - {"__builtins__"} == set(pescador.__all__)


@pytest.mark.parametrize("module", ["core", "maps", "mux", "sharding", "util", "zmq_stream"])
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
