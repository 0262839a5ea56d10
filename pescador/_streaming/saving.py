"""A state in a file: written whole or not at all, and read again."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from typing import Any

from .. import _validate


def save(state: Mapping, path: Any) -> None:
    """Write a state to a file. Whatever happens, the file then holds it, or what it held before."""
    path = os.path.abspath(os.fspath(path))
    text = json.dumps(state).encode()
    # In the same folder: a file can be renamed within one file system only.
    descriptor, temporary = tempfile.mkstemp(
        dir=os.path.dirname(path), prefix=f".{os.path.basename(path)}."
    )
    try:
        with open(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def load(path: Any) -> Mapping:
    """Return the state that a file holds."""
    remedy = "give a file that stream.save() has written, or what state_dict() returned"
    if isinstance(path, str) and path.lstrip().startswith("{"):
        rule, remedy = "is JSON text, not a path", "give json.loads(state), or the path of a file"
        raise _validate.refuse("state", path, rule, remedy)
    try:
        with open(path, "rb") as file:
            state = json.load(file)
    except OSError as error:
        raise _validate.refuse(
            "state", os.fspath(path), f"cannot be read ({error})", remedy
        ) from error
    except ValueError as error:
        rule = "is a file that holds no state"
        raise _validate.refuse("state", os.fspath(path), rule, remedy) from error
    if not isinstance(state, Mapping) or "pescador" not in state:
        raise _validate.refuse("state", os.fspath(path), "is a file that holds no state", remedy)
    return state
