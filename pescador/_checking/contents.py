"""Sources that give nothing, fail, or cannot be looked at; batches that never fill."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from .. import _repr
from ..core import Stream
from ..parallel import ParallelStreamer
from .plan import MAP, MUX, OPAQUE, PROCESS, SOURCE, Node, function_of, opened_again, sources_of
from .report import Report, error_text


def read_once(root: Node, report: Report) -> None:
    """Find what can be read only once, and so was not read."""
    has_read = any(each.facts is not None for each in root.walk())
    for node in root.walk():
        if node.once:
            is_wrong = opened_again(node)
            message = f"can be read only once, so it was not checked: {node.once}"
            if is_wrong:
                message += "; its mux opens it again, which raises an error"
            if not has_read:
                message += "; so no source was read"
            severity = "error" if is_wrong else "note" if has_read else "warning"
            remedy = _instead_of(node.once_value)
            report.add(severity, "one-shot", node, message, remedy, like=(is_wrong, remedy))


def _instead_of(value: Any) -> str:
    """Return what to give instead of what can be read only once."""
    if isinstance(value, Stream):
        return "give the streamer itself, not its stream: mux, not mux.iterate()"
    if isinstance(value, io.IOBase):
        return "give the path, and open the file in the source"
    return "give the generator function and its arguments, or a list of the items"


def are_not_read(root: Node, n_items: int, report: Report) -> None:
    """Find sources that there was no time for, or for no more than their first items."""
    sources = sources_of(root)
    unread = [each for each in sources if each.facts is None]
    n_not_reached = sum(each.n_not_reached for each in root.walk())
    n_all = len(sources) + n_not_reached
    remedy = "give more time: max_seconds=60, or --max-seconds 60 in a shell"
    n_unread = len(unread) + n_not_reached
    were = "was" if n_unread == 1 else "were"
    all_sources = _repr.counted(n_all, "source")
    message = f"{n_unread:,} of {all_sources} {were} not read: there was no time left"
    for node in unread or ([root] if n_not_reached else []):
        report.add("warning", "not-read", node, message, remedy, like="", is_of_tree=True)
    begun = [each for each in sources if n_items > 1 and _is_just_begun(each)]
    message = f"there was time for only the first item of {len(begun):,} of {all_sources}"
    for node in begun:
        report.add("note", "not-read", node, message, remedy, like="begun", is_of_tree=True)


def _is_just_begun(node: Node) -> bool:
    """Tell whether nothing but the first item of a source is known."""
    facts = node.facts
    if facts is None or facts.has_ended or facts.error is not None:
        return False
    return facts.n_items == 1


def give_nothing(root: Node, report: Report) -> None:
    """Find sources without an item."""
    for node in root.walk():
        facts = node.facts
        if facts is None or node.kind == MUX or facts.n_items or facts.error or facts.complaint:
            continue
        if not facts.has_ended or any(report.has("empty", each) for each in node.below):
            continue
        if node.kind in (MAP, OPAQUE) and not node.is_whole:
            continue
        remedy = "leave it out, or check what it reads: a path, a filter, a column"
        report.add("warning", "empty", node, "gives no item", remedy, like=True)


def fail(root: Node, report: Report) -> None:
    """Find sources, and maps above them, that raise errors."""
    for node in root.walk():
        if node.has_failed:
            message = "the function that makes its streamers raises an error"
            remedy = "call that function yourself, and correct the error"
            report.add("error", "fails", node, message, remedy)
    for node in reversed(list(root.walk())):
        facts = node.facts
        if facts is None or facts.error is None or _is_elsewhere(node):
            continue
        is_told = any(report.has(kind, node) for kind in ("fails", "items-differ"))
        if node.kind != SOURCE and (is_told or _survives(node.walk())):
            continue
        survives = _survives(node.all_above())
        if survives and facts.n_fine > facts.failed_at:
            continue  # it does at times, which its mux stands
        error = error_text(facts.error)
        message = f"raises an error after {_repr.of_items(facts.failed_at)}: {error}"
        severity = "warning" if survives else "error"
        like = (type(facts.error), survives) if node.kind == SOURCE else None
        remedy = _remedy_of(node, facts.error, survives)
        report.add(severity, "fails", node, message, remedy, like=like)


def _remedy_of(node: Node, error: Exception, survives: bool) -> str:
    """Return what to do about an error."""
    keys = _keys_below(node) if isinstance(error, KeyError) else ""
    if keys:
        return f"use a key that the items have: {keys}"
    if survives or node.mux is None:
        return "correct the error, or leave the source out"
    remedy = 'correct the error, or leave the source out; or give its mux on_error="replace"'
    return f"{remedy}, and it goes on without the source"


def _keys_below(node: Node) -> str:
    """Return the keys of the items that a map reads, if they are dicts."""
    makers = [maker for below in node.below for maker in below.producers()]
    for each in makers if node.kind == MAP else []:
        form = None if each.facts is None else each.facts.form
        if form is not None and form.kind == "dict" and form.inside:
            return ", ".join(_repr.short(key) for key in form.inside)
    return ""


def _survives(nodes: Iterable[Node]) -> bool:
    """Tell whether a mux among some nodes goes on when a source fails."""
    return any(each.kind == MUX and each.streamer.on_error != "raise" for each in nodes)


def _is_elsewhere(node: Node) -> bool:
    """Tell whether a source needs what only its workers have."""
    return any(
        isinstance(each.streamer, ParallelStreamer)
        and (each.streamer.worker_init is not None or each.streamer.backend == "ray")
        for each in node.all_above()
        if each.kind == PROCESS
    )


def fill_no_batch(root: Node, report: Report) -> None:
    """Find batches that are larger than the data."""
    for node in reversed(list(root.walk())):
        facts = node.facts
        if facts is None or not facts.complaint or facts.n_items or not node.is_whole:
            continue
        if report.has("few-for-a-batch", node):
            continue
        message = facts.complaint.partition(" (to silence")[0].partition("; ")[0]
        remedy = "give partial=True to get smaller batches too, or a smaller buffer_size"
        like = getattr(function_of(node.streamer), "__qualname__", "")
        report.add("error", "few-for-a-batch", node, message, remedy, like=like)
