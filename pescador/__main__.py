"""The command line: ``python -m pescador check module:streamer``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from .checking import check
from .core import Streamer
from .exceptions import PescadorError

_NOTHING_FOUND, _FOUND, _WRONG_USE = range(3)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pescador", description="Tools for streams of numerical data."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    text = "tell what is likely to be wrong with a tree of streamers, in a dry run"
    epilog = "The exit code is 0 if nothing was found, 1 if something was, and 2 for wrong use."
    one = commands.add_parser(
        "check", help=text, description=f"{text}.".capitalize(), epilog=epilog
    )
    one.add_argument(
        "target",
        metavar="module:streamer",
        help="a streamer in a module, or a function without arguments that returns one",
    )
    one.add_argument("--n-items", type=int, default=1000, help="how many items to read at most")
    one.add_argument("--seed", type=int, default=0, help="what is random in the check itself")
    one.add_argument("--max-seconds", type=float, default=5.0, help="about how long it may take")
    one.add_argument(
        "--ignore",
        metavar="KIND",
        action="append",
        default=[],
        help="a kind of finding that does not count, such as weights-decide-little",
    )
    one.add_argument("--json", action="store_true", help="print the findings as JSON")
    return parser


class _WrongUseError(Exception):
    """The command line does not lead to a streamer."""


def _streamer_of(target: str) -> Streamer:
    """Return the streamer that a text such as "module:streamer" names."""
    name, colon, path = target.partition(":")
    if not (name and colon and path):
        raise _WrongUseError(f"{target!r} is not of the form module:streamer")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        value: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise _WrongUseError(f"{target!r}: {error}") from error
    for each in path.split("."):
        if not hasattr(value, each):
            raise _WrongUseError(f"{target!r}: {name} has no {each!r}")
        value = getattr(value, each)
    if not isinstance(value, Streamer) and callable(value):
        value = value()
    if not isinstance(value, Streamer):
        kind = type(value).__name__
        raise _WrongUseError(f"{target!r} is a {kind}: give a streamer, or what returns one")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        streamer = _streamer_of(options.target)
    except _WrongUseError as error:
        parser.error(str(error))
    except Exception:  # of the user's module: an exit code of 1 would pass for findings
        traceback.print_exc()
        return _WRONG_USE
    try:
        findings: Any = check(
            streamer, options.n_items, options.seed, max_seconds=options.max_seconds
        )
    except PescadorError as error:
        parser.error(str(error))
    findings = findings.without(options.ignore)
    print(json.dumps(findings.to_dict(), indent=2) if options.json else findings)
    return _FOUND if findings else _NOTHING_FOUND


if __name__ == "__main__":
    sys.exit(main())
