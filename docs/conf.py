"""How Sphinx makes the site: ``python -m sphinx -W -n -b html docs site``, without a network."""

import ast
import importlib.util
import multiprocessing
import os
import re
import shutil
from pathlib import Path

import pescador

HERE = Path(__file__).parent
EXAMPLES = HERE / "_build" / "examples"
KERAS_BACKENDS = ("torch", "jax", "tensorflow")

project = "pescador"
author = "the developers of pescador"
project_copyright = author
release = version = pescador.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_design",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",  # formulas are set by files of the site itself
]
exclude_patterns = ["_build", "examples/*.ipynb", "examples/*.py", "sg_execution_times.rst"]
suppress_warnings = ["config.cache"]  # the gallery's options cannot be pickled, and need not be
nitpicky = True
nitpick_ignore = [("py:obj", "keras.Model.fit")]

# Pages are Markdown; those of the reference are reStructuredText.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_fence_as_directive = {"math"}

# Docstrings have their types in words.
default_role = "py:obj"
autosummary_generate = False
autodoc_typehints = "none"
# What adapters import, where it is not installed. (Keras needs a backend.)
has = {name: importlib.util.find_spec(name) is not None for name in ("jax", "keras", "torch")}
backend = next((name for name in ("torch", "jax") if has[name]), None)
has["keras"] = has["keras"] and backend is not None
autodoc_mock_imports = [name for name, is_there in has.items() if not is_there]
if backend is not None:
    os.environ.setdefault("KERAS_BACKEND", backend)
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "furo"
pygments_dark_style = "a11y-high-contrast-dark"
html_title = f"pescador {release}"
html_copy_source = False
html_show_sphinx = False
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_favicon = "_static/icon.svg"
html_domain_indices = False  # of modules: there is one
templates_path = ["_templates"]
html_theme_options = {"navigation_with_keys": True}


# Where links lead that a page has to files of the repository which are no pages of the site.
ELSEWHERE = {
    r"\]\(\.\./ARCHITECTURE\.md": "](internals.md",
    r"\]\(\.\./CHANGELOG\.md": "](changes.md",
    r"\]\(\.\./examples/(\w+)\.py": r"](examples/\1.rst",
    r"(?<!\[)`examples/(\w+)\.py`": r"[`examples/\1.py`](examples/\1.rst)",
}


def follow_links(app, docname, source):
    """Make what a page says of files of the repository lead to pages of the site."""
    if Path(app.env.doc2path(docname)).suffix == ".md":
        for pattern, target in ELSEWHERE.items():
            source[0] = re.sub(pattern, target, source[0])


def give_levels(app, pagename, templatename, context, doctree):
    """Give the captions in the sidebar, which Sphinx marks as headings, a level."""
    key = "furo_navigation_tree"
    context[key] = context[key].replace('role="heading"', 'role="heading" aria-level="2"')


def setup(app):
    app.connect("source-read", follow_links)
    app.connect("html-page-context", give_levels, priority=900)  # after the theme


def can_run(path):
    """Tell whether an example can run here: whether what it imports is there."""
    text = path.read_text(encoding="utf-8")
    # (The gallery gives it no file, and no name under which other processes could import it.)
    if "__file__" in text or "multiprocessing" in text:
        return False
    tree = ast.parse(text)
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    if "keras" in names and not any(map(importlib.util.find_spec, KERAS_BACKENDS)):
        return False
    return all(map(importlib.util.find_spec, names))


class InOrder:
    """The order of the examples: from the one to begin with; new ones come last."""

    names = (
        "quickstart",
        "from_disk",
        "slow_source",
        "many_files",
        "resume",
        "open_streams",
        "shares",
        "mixing",
        "log_shares",
        "partial_fit",
        "imbalance",
        "keras_fit",
        "torch_dataset",
        "torch_ranks",
        "mixture_of_texts",
        "on_ray",
    )

    def __init__(self, folder):
        pass

    def __call__(self, name):
        stem = Path(name).stem
        return (self.names.index(stem) if stem in self.names else len(self.names), stem)


# Examples run where they are, and one of them saves a picture there: so they run as copies.
shutil.rmtree(EXAMPLES, ignore_errors=True)
shutil.copytree(HERE.parent / "examples", EXAMPLES, ignore=shutil.ignore_patterns("__pycache__"))
runnable = "|".join(sorted(path.stem for path in EXAMPLES.glob("*.py") if can_run(path)))

sphinx_gallery_conf = {
    "examples_dirs": str(EXAMPLES),
    "gallery_dirs": "examples",
    "filename_pattern": rf"/({runnable})\.py$",
    "within_subsection_order": InOrder,
    "notebook_extensions": set(),  # programs with options are no notebooks
    "default_thumb_file": str(HERE / "_static" / "thumbnails" / "streams.svg"),
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 3600,
}

os.environ["TQDM_DISABLE"] = "1"  # the gallery shows what goes to stderr: no progress bars

# What an example defines lies in a module that the gallery calls __main__, which a new
# interpreter could not import.
if "fork" in multiprocessing.get_all_start_methods():
    multiprocessing.set_start_method("fork", force=True)
