"""What a person at the prompt sees: values in one line, streamers as a tree.

Nothing here starts, reads or consumes what is shown, or looks at more of a pool than it shows.
(This module knows streamers by what they have, since theirs are built on it.)
"""

from __future__ import annotations

import functools
import inspect
import re
import reprlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import GeneratorType
from typing import Any, NamedTuple

import numpy as np

WIDTH = 88  # of a line of a tree
_LONGEST = 160  # of a value in a message
_LONGEST_PART = 60  # of a string, or of a value among others
_LONGEST_ARGUMENT = 60  # of a value in a tree
_MOST_VALUES = 6  # of a container, or arguments of a streamer
_MOST_BITS = 10_000  # of an int whose digits are shown
_MOST_BYTES = 1000  # of an array whose values are shown
_DEEPEST_VALUE = 3
_MOST_CHILDREN = 8
_MOST_NODES = 30
_MOST_LINES = 4  # for one of them
_DEEPEST_TREE = 8

_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")

# Values.


def short(value: Any) -> str:
    """Return a ``repr`` for a message: in one line, and never long, whatever the value."""
    if is_streamer(value):
        return head(value)
    has_kind = isinstance(value, type) or inspect.isroutine(value) or _is_bare(value)
    return _short(value, repr if has_kind else _text, _LONGEST)


def named(value: Any) -> str:
    """Return what stands for a value in a tree: a shorter one, functions by their names."""
    return _short(value, _text, _LONGEST_ARGUMENT)


def _short(value: Any, text_of_value: Callable[[Any], str], width: int) -> str:
    try:
        text = text_of_value(value)
    except Exception:  # a repr that fails must not hide what is being told
        text = f"<{type(value).__name__} object>"
    return cut(_one_line(_ADDRESS.sub("", text)), width)


def cut(text: str, width: int) -> str:
    """Return a text with its middle left out, if it is longer than ``width``."""
    if len(text) <= width:
        return text
    n_first = (width - 3) // 2
    return text[:n_first].rstrip(".") + "..." + text[n_first + 3 - width :].lstrip(".")


def is_streamer(value: Any) -> bool:
    """Tell whether a value is a streamer."""
    return hasattr(type(value), "_open_run")


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    text = " ".join(text.split())
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _is_bare(value: Any) -> bool:
    return type(value).__repr__ is object.__repr__


def _text(value: Any, depth: int = _DEEPEST_VALUE) -> str:
    """Return a text for a value that is not much longer than `_LONGEST`."""
    kind = type(value)
    if is_streamer(value):
        return f"{kind.__name__}(...)"
    if inspect.ismethod(value) and is_streamer(value.__self__):
        return f"{type(value.__self__).__name__}(...).{value.__name__}"
    if isinstance(value, type) or inspect.isroutine(value):
        return _name(value)
    if type(value) is GeneratorType:  # (streams pass for them)
        return f"<generator {_name(value)}>"
    if isinstance(value, functools.partial):
        return f"partial({', '.join(_arguments(value, depth))})"
    if isinstance(value, (list, tuple, set, frozenset, deque, dict)):
        return _container(value, depth)
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"<int of {value.bit_length():,} bits>"
    if kind in (str, bytes, bytearray):
        return _string(value)
    if kind is int:
        return cut(repr(value), _LONGEST_PART)
    if _is_bare(value):
        return f"<{kind.__name__} object>"
    return _ADDRESS.sub("", cut(repr(value), 4 * _LONGEST))


def _name(value: Any) -> str:
    name = getattr(value, "__qualname__", None)
    return name.rpartition("<locals>.")[2] if isinstance(name, str) else f"<{type(value).__name__}>"


def _string(value: Any) -> str:
    if len(value) > _LONGEST_PART:  # both ends; all of it may be a gigabyte
        value = value[:_LONGEST_PART] + value[-_LONGEST_PART:]
    return cut(repr(value), _LONGEST_PART)


def _array(array: np.ndarray) -> str:
    # (Options of NumPy's own repr may ask for every value.)
    if array.size <= _MOST_VALUES and array.nbytes <= _MOST_BYTES and not array.dtype.hasobject:
        return repr(array)
    name = "array" if type(array) is np.ndarray else type(array).__name__
    return f"<{array.dtype} {name} of shape {array.shape}>"


def _arguments(call: functools.partial, depth: int) -> Iterator[str]:
    yield _name(call.func) if inspect.isroutine(call.func) else _part(call.func, depth)
    yield from _some(call.args, depth)
    yield from _some_pairs(call.keywords.items(), depth, "=", str)


def _container(value: Any, depth: int) -> str:
    kind = type(value)
    if isinstance(value, dict):  # (the methods of the base, not those of a subclass)
        pairs = _some_pairs(dict.items(value), depth, ": ", functools.partial(_part, depth=depth))
        text = "{" + ", ".join(pairs) + "}"
        return text if kind is dict else f"{kind.__name__}({text})"
    base: Any = next(each for each in (list, tuple, set, frozenset, deque) if each in kind.__mro__)
    parts = list(_some(base.__iter__(value), depth))
    if hasattr(kind, "_fields") and base is tuple:
        named = [f"{name}={part}" for name, part in zip(kind._fields, parts)]
        return f"{kind.__name__}({', '.join(named + parts[len(named) :])})"
    left, right = "{}" if base in (set, frozenset) else "()" if base is tuple else "[]"
    if base is tuple and len(parts) == 1:
        right = ",)"
    if base in (set, frozenset) and not parts:
        return f"{kind.__name__}()"
    text = left + ", ".join(parts) + right
    return text if kind in (list, tuple, set) else f"{kind.__name__}({text})"


def _some(values: Iterable, depth: int) -> Iterator[str]:
    """Yield a text for each of the first values, and dots for the rest."""
    for index, value in enumerate(islice(values, _MOST_VALUES + 1)):
        if index == _MOST_VALUES:
            yield "..."
        else:
            yield _part(value, depth)


def _some_pairs(
    pairs: Iterable, depth: int, between: str, show_key: Callable[[Any], str]
) -> Iterator[str]:
    for index, (key, value) in enumerate(islice(pairs, _MOST_VALUES + 1)):
        if index == _MOST_VALUES:
            yield "..."
        else:
            yield show_key(key) + between + _part(value, depth)


def _part(value: Any, depth: int) -> str:
    return cut(_text(value, depth - 1), _LONGEST_PART) if depth else "..."


# Streamers.


class Node(NamedTuple):
    """One streamer: how it was made, how it is doing, and what is below it."""

    name: str
    given: list[str] | None  # None if it has a __repr__ of its own, which is the name then
    notes: list[str]
    children: list[tuple[float | None, Any]]  # the first of them, each with its weight
    n_children: int

    def label(self) -> str:
        """Return it as one would write it in a program."""
        return self.name if self.given is None else f"{self.name}({', '.join(self.given)})"


class Branch(NamedTuple):
    """A node, and as much as is shown of what is below it."""

    weight: float | None
    node: Node
    below: list[Branch]
    n_more: int
    size: int


def head(streamer: Any, width: int = _LONGEST) -> str:
    """Return the streamer in one line, without what it mixes."""
    return cut(_node(streamer).label(), width)


@reprlib.recursive_repr("...")
def text_of(streamer: Any) -> str:
    """Return the streamer, and what is below it, one to a line: the ``repr`` of streamers."""
    return "\n".join(_lines(tree(streamer), 0))


def _lines(branch: Branch, depth: int) -> Iterator[str]:
    node, indent = branch.node, 4 * depth * " "
    parts = [node.label()]
    if node.given:
        parts = [f"{each}, " for each in node.given[:-1]] + [f"{node.given[-1]})"]
        parts[0] = f"{node.name}({parts[0]}"
    if node.notes:
        notes = [f"{each}, " for each in node.notes[:-1]] + [f"{node.notes[-1]}]"]
        parts += [f"  [{notes[0]}", *notes[1:]]
    if branch.weight is not None:
        parts[0] = f"{branch.weight:<7.3g} {parts[0]}"
    yield from _filled(parts, indent)
    for each in branch.below:
        yield from _lines(each, depth + 1)
    if branch.below and branch.n_more:
        yield f"{indent}    ... and {branch.n_more:,} more"


def _filled(parts: list[str], indent: str) -> Iterator[str]:
    """Yield as few lines as the parts fit in, the further ones farther in."""
    lines = [""]
    for part in parts:
        if lines[-1] and len(indent + lines[-1] + part.rstrip()) > WIDTH:
            lines.append(8 * " ")
            part = part.lstrip()
        lines[-1] += part
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES - 1 :] = [8 * " " + "..."]
    for line in lines:
        yield cut(indent + line.rstrip(), WIDTH)


def tree(
    streamer: Any,
    n_nodes: int = _MOST_NODES,
    weight: float | None = None,
    above: tuple[int, ...] = (),
) -> Branch:
    """Return a tree of at most ``n_nodes`` lines, in which no branch leaves nothing to others."""
    node = _node(streamer)
    if id(streamer) in above:
        again = node._replace(given=["..."], notes=["the same as above"], n_children=0)
        return Branch(weight, again, [], 0, 1)
    n_left = n_nodes - 1 - (node.n_children > len(node.children))
    n_shown = max(0, min(len(node.children), n_left))
    if len(above) == _DEEPEST_TREE:
        n_shown = 0
    below = []
    for index, (weight_below, child) in enumerate(node.children[:n_shown]):
        n_for_each = n_left // (n_shown - index)
        below.append(tree(child, n_for_each, weight_below, (*above, id(streamer))))
        n_left -= below[-1].size
    n_more = node.n_children - n_shown
    size = 1 + sum(each.size for each in below) + bool(below and n_more)
    return Branch(weight, node, below, n_more, size)


def _node(streamer: Any, depth: int = 0) -> Node:
    kind: Any = type(streamer)
    if not is_streamer(streamer):  # somebody has put it into the list of a mux
        return Node(named(streamer), None, [], [], 0)
    try:
        if kind.__repr__ is not text_of:
            return Node(_one_line(cut(repr(streamer), _LONGEST)), None, [], [], 0)
        is_mux = hasattr(kind, "stream_weights_")
        given, children, n_children = (_mixed if is_mux else _called)(streamer, depth)
        given += _options(streamer)
        return Node(kind.__name__, given, _notes(streamer), children, n_children)
    except Exception:  # a debugger may show it before its __init__ has run
        return Node(kind.__name__, ["..."], [], [], 0)


_Look = tuple[list[str], list[tuple[Any, Any]], int]


def _mixed(mux: Any, depth: int) -> _Look:
    """Return what a mux was given, its first streamers, and their number."""
    streamers = mux.streamers
    if not isinstance(streamers, list):
        children: list = []
        text = _argument(streamers, depth, children)
        return [f"<streamers read lazily> from {text}"], children, len(children)
    n_streams = len(streamers)
    given = [f"<{counted(n_streams, 'streamer')}>"]
    function, weights = mux._weights_to_show()
    if function is not None:
        given.append(f"weights={named(function)}")
    shown = streamers[:_MOST_CHILDREN]
    first = [None] * len(shown) if weights is None else weights[: len(shown)].tolist()
    return given, list(zip(first, shown)), n_streams


def _called(streamer: Any, depth: int) -> _Look:
    """Return what a streamer calls and with what, and the streamers among that."""
    children: list = []
    values = [("", each) for each in (streamer.streamer, *streamer.args[:_MOST_VALUES])]
    values += [(f"{key}=", each) for key, each in islice(streamer.kwargs.items(), _MOST_VALUES)]
    given = [name + _argument(each, depth, children) for name, each in values]
    n_more = 1 + len(streamer.args) + len(streamer.kwargs) - len(values)
    if n_more:
        given.append(f"... {n_more:,} more")
    return given, children[:_MOST_CHILDREN], len(children)


def _argument(value: Any, depth: int, children: list) -> str:
    """Return a text for an argument; streamers in it that do not fit there become children."""
    if not is_streamer(value):
        children += [(None, each) for each in _inside(value)]
        return named(value)
    if depth < _DEEPEST_VALUE:
        node = _node(value, depth + 1)
        label = node.label()
        if not node.children and not node.notes and len(label) <= _LONGEST_ARGUMENT:
            return label
    children.append((None, value))
    return f"{type(value).__name__}(...)"


def _inside(value: Any) -> list:
    """Return the streamers that a call of ``value`` reads."""
    if inspect.ismethod(value) and is_streamer(value.__self__):
        return [value.__self__]
    if isinstance(value, functools.partial):
        bound = (value.func, *value.args, *value.keywords.values())
        found = [_inside(each) if not is_streamer(each) else [each] for each in bound]
        return [each for some in found for each in some]
    return []


def _options(streamer: Any) -> list[str]:
    """Return what a streamer was told besides, where that differs from the default."""
    kinds = type(streamer).__mro__
    own = next(each for each in kinds if each.__module__.partition(".")[0] == __package__)
    values = [(name, getattr(streamer, name, usual), usual) for name, usual in _usual(own)]
    return [
        f"{name}={value:.6g}" if type(value) is float else f"{name}={named(value)}"
        for name, value, usual in values
        if value is not usual and not (isinstance(value, _PLAIN) and value == usual)
    ]


_PLAIN = (int, float, str)
_SHOWN_ELSEWHERE = {"self", "streamer", "streamers", "args", "kwargs", "weights"}


@functools.cache
def _usual(kind: type) -> list[tuple[str, Any]]:
    """Return the parameters of a class of the library, with their defaults."""
    parameters = inspect.signature(kind).parameters.values()
    none = getattr(kind, "_STANDS_FOR_NONE", {})
    return [
        (each.name, none.get(each.name, each.default))
        for each in parameters
        if each.name not in _SHOWN_ELSEWHERE
    ]


def _notes(streamer: Any) -> list[str]:
    """Return how a streamer is doing."""
    notes = []
    if streamer.active_count_:
        notes.append(f"{streamer.active_count_:,} active")
    if streamer.stream_ is not None:
        notes.append(f"activated copy, {of_items(streamer.stream_.n_given)} given")
        notes += _open_streams(getattr(streamer, "_run", None))
    return notes


def _open_streams(run: Any) -> list[str]:
    """Return what the first open streams of a run have given, by the numbers of the streamers."""
    if run is None:
        return []
    places = run.places[:_MOST_CHILDREN]
    try:
        texts = [f"#{place} gave {run.n_given(slot):,}" for slot, place in enumerate(places)]
    except IndexError:  # another thread has just closed one
        return []
    if not texts:
        return []
    n_more = len(run.places) - len(texts)
    return [f"open: {', '.join(texts)}" + (f" and {n_more:,} more" if n_more > 0 else "")]


def of_items(number: int) -> str:
    """Return a number of items, in words."""
    return counted(number, "item")


def counted(number: int, what: str) -> str:
    """Return a number of things, in words."""
    ending = "es" if what.endswith("ch") else "s"
    return f"{number:,} {what}" + ("" if number == 1 else ending)
