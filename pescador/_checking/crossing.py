"""Background processes and workers: what cannot go there, and whether they are worth it."""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any

from .. import _repr
from .._repr import is_streamer
from ..parallel import ParallelStreamer
from .clock import Clock, OutOfTime
from .plan import MAP, MUX, OPAQUE, PROCESS, SOURCE, Node, limit_of, may_open_again
from .report import Report, error_text

# A small item costs two or three microseconds to cross; a source that is worth a process or a
# worker takes far longer. What is between these two is not told of.
_FREE_SECONDS = 5e-6
_FREE_BYTES = 4096
_SLOW_SECONDS = 1e-3
_START_SECONDS = {"fork": 0.01}
_OTHER_START_SECONDS = 0.3
_WORTH = 10  # times its start, a process should work
_MANY_ITEMS = 10_000  # in an activation: then its start does not matter


def goes_across(node: Node) -> bool:
    """Tell whether what a node stands for runs in other processes."""
    streamer = node.streamer
    is_here = isinstance(streamer, ParallelStreamer) and streamer.backend == "threads"
    return node.kind == PROCESS and not is_here


def _senders(node: Node) -> Iterator[Node]:
    """Yield what makes the items that go from the processes of a node to the program."""
    if not isinstance(node.streamer, ParallelStreamer):
        for below in node.below:
            yield from below.producers()
        return
    for mux in node.walk():
        for each in mux.below if mux.kind == MUX else ():
            if not any(below.kind == MUX for below in each.walk()):
                yield from each.producers()


def cannot_cross(root: Node, report: Report) -> None:
    """Find items that another process cannot send."""
    for node in filter(goes_across, root.walk()):
        for each in _senders(node):
            if each.facts is not None and each.facts.cross_error:
                message, _, remedy = each.facts.cross_error.rpartition("; ")
                message = message or each.facts.cross_error
                if isinstance(node.streamer, ParallelStreamer):
                    remedy += '; or use backend="threads", which takes items of any type'
                report.add("error", "cannot-cross", each, message, remedy, like=remedy)


# What is pickled.


def cannot_be_pickled(root: Node, clock: Clock, report: Report) -> None:
    """Find what the start methods spawn and forkserver cannot send to a process."""
    for node in filter(goes_across, root.walk()):
        if getattr(node.streamer, "backend", "") == "ray":
            continue  # it pickles functions by value
        method = _method_of(node)
        seen: set[int] = set()
        for each in node.walk():
            for value in _sent_of(each):
                if id(value) in seen or not clock.left:
                    continue
                seen.add(id(value))
                error = _pickle_error(value, clock)
                if error:
                    _tell(each, value, method, error, report)


def _method_of(node: Node) -> str:
    """Return the start method of a process, without fixing the default for the program."""
    method = node.streamer.start_method or multiprocessing.get_start_method(allow_none=True)
    return method or multiprocessing.get_all_start_methods()[0]


def _sent_of(node: Node) -> list[Any]:
    """Return what a streamer takes along to a process, but for other streamers."""
    streamer = node.streamer
    if node.kind == MUX:
        values = [streamer._weights_to_show()[0]]
        values += [] if isinstance(streamer.streamers, list) else [streamer.streamers]
    elif node.kind == PROCESS:
        values = [getattr(streamer, "worker_init", None)]
    elif node.once:
        return []
    else:
        values = list(streamer._parts())
    return [each for each in values if each is not None and not is_streamer(each)]


class _Sink:
    """Takes what a pickler writes, and keeps nothing of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def write(self, data: Any) -> int:
        """Look at the clock."""
        if not self._clock.left:
            raise OutOfTime
        return len(data)


def _pickle_error(value: Any, clock: Clock) -> str:
    """Return why a value cannot be pickled; "" if it can, or there is no time to know."""
    try:
        ForkingPickler(_Sink(clock)).dump(value)
    except OutOfTime:
        clock.cut()
    except Exception as error:
        return error_text(error)
    return ""


def _tell(node: Node, value: Any, method: str, error: str, report: Report) -> None:
    is_needed = method != "fork"
    message = f"{_repr.named(value)} cannot be pickled, which"
    message += f" start_method={method!r} needs" if is_needed else " spawn and forkserver need"
    remedy = "use functions and classes of a module, and open files and locks in the source itself"
    if is_needed and "fork" in multiprocessing.get_all_start_methods():
        remedy += ', or start_method="fork"'
    severity = "error" if is_needed else "note"
    report.add(severity, "not-picklable", node, f"{message} ({error})", remedy, like=True)


# What it costs.


def _made_below(node: Node) -> list[Node]:
    """Return the nodes whose items were timed, and that a node's workers would make."""
    senders = _senders(node) if node.kind == PROCESS else node.producers()
    return [each for each in senders if each.facts is not None and each.facts.n_items]


def _seconds_of(node: Node) -> float:
    """Return the seconds for an item of a source, its opening included."""
    facts = node.facts
    assert facts is not None
    n_items = float(facts.n_items)
    limit = limit_of(node)
    return facts.seconds(n_items if limit is None else min(limit, n_items))


def cost_more(root: Node, report: Report) -> None:
    """Find processes and workers whose items are cheaper to make than to bring."""
    for node in root.walk():
        made = _made_below(node) if node.kind == PROCESS else []
        if not made or any(each.facts.n_bytes > _FREE_BYTES for each in made if each.facts):
            continue
        seconds = statistics.fmean(map(_seconds_of, made))
        if seconds < _FREE_SECONDS:
            message = f"making an item takes {_time_text(seconds)}, less than sending it from a"
            message += " process to the program"
            remedy = "leave the process out, or let it send whole batches:"
            remedy += " ZMQStreamer(Streamer(buffer_stream, mux, n))"
            report.add("note", "costs-more", node, message, remedy)


def would_save(root: Node, report: Report) -> None:
    """Find slow sources in the program itself."""
    here = [
        each
        for each in root.walk()
        if each.kind == SOURCE
        and each.facts is not None
        and (each.facts.n_items > 2 or each.facts.n_activations > 2)
        and not any(above.kind == PROCESS for above in each.all_above())
    ]
    if not here:
        return
    seconds = statistics.fmean(map(_seconds_of, here))
    slowest = max(here, key=_seconds_of)
    if seconds > _SLOW_SECONDS:
        message = f"making an item takes {_time_text(_seconds_of(slowest))}"
        if len(here) > 1:
            message += f" ({_time_text(seconds)} on average over all sources)"
        message += ", and the training loop waits for it"
        remedy = "make items in a background process: pescador.ZMQStreamer(streamer)"
        if any(each.kind == MUX for each in root.walk()):
            remedy += ", or in workers: pescador.ParallelStreamer(mux, n_workers=4)"
        report.add("note", "would-save", slowest, message, remedy)


def start_often(root: Node, report: Report) -> None:
    """Find processes that a mux starts again and again for few items."""
    for node in filter(goes_across, root.walk()):
        mux, made = node.mux, _made_below(node)
        if mux is None or not may_open_again(mux.streamer) or not made:
            continue
        n_items = _n_of_activation(node, made)
        start = _START_SECONDS.get(_method_of(node), _OTHER_START_SECONDS)
        seconds = n_items * statistics.fmean(map(_seconds_of, made))
        if n_items < _MANY_ITEMS and seconds < _WORTH * start:
            n_each = _repr.of_items(round(n_items)).removeprefix("1 ")
            message = f"its mux starts a new process for about every {n_each}"
            remedy = "use one process for the whole mux: ZMQStreamer(mux); or use ParallelStreamer"
            remedy += "(mux, n_workers); or give the mux a larger rate"
            report.add("warning", "starts-often", node, message, remedy, like=True)


def _n_of_activation(node: Node, made: list[Node]) -> float:
    """Return how many items a process gives until it is replaced; many, if that is not known."""
    limit = limit_of(node)
    if limit is not None:
        return limit
    has_ended = all(each.facts is not None and each.facts.has_ended for each in made)
    is_one = len(made) == 1 and made[0].kind in (SOURCE, MAP, OPAQUE)
    if has_ended and is_one and made[0].facts is not None:
        return made[0].facts.n_items
    return float("inf")


def _time_text(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.2g} microseconds"
