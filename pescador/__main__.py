"""The command line: ``python -m pescador check module:streamer``."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from ._checking.findings import KINDS, SEVERITIES
from .checking import check
from .core import Streamer
from .exceptions import PescadorError

_NOTHING_FOUND, _FOUND, _WRONG_USE = range(3)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pescador", description="Tools for streams of numerical data."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    text = "find likely mistakes in a streamer or a mux, in a dry run"
    epilog = "The exit code is 0 if nothing was found, 1 if something was, and 2 for wrong use."
    one = commands.add_parser(
        "check", help=text, description=f"{text}.".capitalize(), epilog=epilog
    )
    one.add_argument(
        "target",
        metavar="module:streamer",
        help="a streamer in a module, or a function without arguments that returns one",
    )
    _add_options(one)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--n-items", type=int, default=1000, help="how many items to read at most, of each source")
    text = "about how many sources to look at, or all"
    add("--n-sources", type=_number_or_all, default=256, metavar="N|all", help=text)
    text = "chooses which streamers of a large mux are looked at"
    add("--seed", type=int, default=0, help=text)
    add("--max-seconds", type=float, default=5.0, help="about how many seconds it may take")
    text = "a kind of finding to leave out, such as weights-decide-little"
    add("--ignore", metavar="KIND", action="append", choices=KINDS, default=[], help=text)
    text = "the lowest severity to show and to count"
    add("--severity", choices=SEVERITIES, default=SEVERITIES[-1], help=text)
    add("--json", action="store_true", help="print the findings as JSON")


def _number_or_all(text: str) -> int | None:
    if text == "all":
        return None
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor all") from error


class _WrongUseError(Exception):
    """The command line does not lead to a streamer."""


def _streamer_of(target: str) -> Streamer:
    """Return the streamer that a text such as "module:streamer" names."""
    name, colon, path = target.partition(":")
    if not (name and colon and path):
        raise _WrongUseError(f"{target!r} is not of the form module:streamer")
    if name.endswith(".py"):
        module = ".".join(os.path.normpath(name[:-3]).split(os.sep))
        raise _WrongUseError(f"{name} is a file: give the module, {module}:{path}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        value: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise  # of what the module imports
        raise _WrongUseError(f"{target!r}: {error}") from error
    for each in path.split("."):
        if not hasattr(value, each):
            raise _WrongUseError(f"{target!r}: {name} has no {each!r}")
        value = getattr(value, each)
    if not isinstance(value, Streamer) and callable(value):
        value = _called(value, target)
    if not isinstance(value, Streamer):
        kind = type(value).__name__
        raise _WrongUseError(f"{target!r} is a {kind}: give a streamer, or what returns one")
    return value


def _called(function: Callable, target: str) -> Any:
    """Return what a function returns, if it needs no arguments."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # written in C
        parameters = []
    any_number = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        each.name
        for each in parameters
        if each.default is each.empty and each.kind not in any_number
    ]
    if needed:
        text = f"{target!r} needs arguments: {', '.join(needed)}"
        raise _WrongUseError(f"{text}; name a function that needs none")
    return function()


def _print_error(error: BaseException) -> None:
    """Print an error of the user's module, with what is called there."""
    where = error.__traceback__
    while where is not None and _is_on_the_way(where.tb_frame.f_code.co_filename):
        where = where.tb_next
    traceback.print_exception(type(error), error, where)


def _is_on_the_way(file: str) -> bool:
    """Tell whether a file only calls or imports the user's."""
    return file in (__file__, importlib.__file__) or file.startswith("<frozen importlib")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        streamer = _streamer_of(options.target)
    except _WrongUseError as error:
        parser.error(str(error))
    except Exception as error:  # of the user's module: 1 would pass for findings
        _print_error(error)
        return _WRONG_USE
    try:
        findings: Any = check(
            streamer,
            options.n_items,
            options.seed,
            n_sources=options.n_sources,
            max_seconds=options.max_seconds,
        )
    except PescadorError as error:
        parser.error(str(error))
    findings = findings.without(options.ignore).at_least(options.severity)
    print(json.dumps(findings.to_dict(), indent=2) if options.json else findings)
    return _FOUND if findings else _NOTHING_FOUND


if __name__ == "__main__":
    sys.exit(main())
