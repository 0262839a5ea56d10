"""A progress bar that also says what a stream is at."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from .._repr import counted
from ..exceptions import PescadorError
from .tables import percent


def check() -> Any:
    """Return the class of tqdm that suits terminal or notebook; say so if there is none."""
    try:
        return import_module("tqdm.auto").tqdm
    except ImportError as error:
        raise PescadorError("progress=True needs tqdm: pip install tqdm") from error


def bar(monitor: Any, items: Iterable, total: int | None, initial: int) -> Any:
    """Return a progress bar over the items of a monitor."""
    kind: Any = check()

    class Bar(kind):
        """Looks at the monitor as often as it is drawn anew."""

        monitor_interval = 0  # (else tqdm starts a thread, for good)

        def refresh(self, *args: Any, **kwargs: Any) -> Any:
            self.postfix = _told(monitor)
            return super().refresh(*args, **kwargs)

    return Bar(items, total=total, initial=initial, unit=" items", dynamic_ncols=True)


def _told(monitor: Any) -> str:
    seconds, waited = monitor.times()
    n_open = monitor.n_open()
    n_failures = monitor.n_failures()
    parts = [
        f"{counted(n_open, 'stream')} open" if n_open else "",
        f"waited {percent(waited, seconds)}",
        counted(n_failures, "failure") if n_failures else "",
    ]
    return ", ".join(filter(None, parts))
