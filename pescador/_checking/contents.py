"""Sources that give nothing, fail, differ, or cannot be looked at; batches that never fill."""

from __future__ import annotations

from collections.abc import Iterable

from .. import _repr, _validate
from ..parallel import ParallelStreamer
from .items import difference, is_numerical
from .plan import MAP, MUX, OPAQUE, PROCESS, SOURCE, Node, function_of, opened_again
from .report import Report


def read_once(root: Node, report: Report) -> None:
    """Find what can be read only once, and so was not read."""
    for node in root.walk():
        if node.once:
            is_wrong = opened_again(node)
            message = f"can be read only once, and was left alone: {node.once}"
            if is_wrong:
                message += "; its mux opens it again, which is an error then"
            remedy = "give the generator function and its arguments, or a list of the items"
            severity = "error" if is_wrong else "note"
            report.add(severity, "one-shot", node, message, remedy, like=is_wrong)


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
        remedy = "leave it out, or look at what it reads: a path, a filter, a column"
        report.add("warning", "empty", node, "gives no item", remedy, like=True)


def fail(root: Node, report: Report) -> None:
    """Find sources, and maps above them, that raise errors."""
    for node in root.walk():
        if node.has_failed:
            message = "the function that makes its streamers raises an error"
            report.add("error", "fails", node, message, "call it, and mend what it tells")
    for node in reversed(list(root.walk())):
        facts = node.facts
        if facts is None or facts.error is None or _is_elsewhere(node):
            continue
        is_told = any(report.has(kind, node) for kind in ("fails", "items-differ"))
        if node.kind != SOURCE and (is_told or _survives(node.walk())):
            continue
        survives = _survives(node.all_above())
        if survives and facts.n_failed < facts.n_activations:
            continue  # it does at times, which its mux stands
        error = _validate.short(f"{type(facts.error).__name__}: {facts.error}").strip("'\"")
        message = f"raises an error after {_repr.of_items(facts.n_items)}: {error}"
        remedy = "mend it, or leave it out"
        if not survives:
            remedy += '; on_error="replace" lets a mux go on without it'
        severity = "warning" if survives else "error"
        like = (type(facts.error), survives) if node.kind == SOURCE else None
        report.add(severity, "fails", node, message, remedy, like=like)


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


def differ(root: Node, report: Report) -> None:
    """Find sources of one mux whose items have other keys, dtypes or shapes than most."""
    for node in root.walk():
        is_outermost = not any(each.kind == MUX for each in _until_map(node))
        if node.kind == MUX and is_outermost:
            _compare(list(node.producers()), report)


def _until_map(node: Node) -> list[Node]:
    found = []
    for each in node.all_above():
        if each.kind in (MAP, OPAQUE):
            break
        found.append(each)
    return found


def _compare(sources: list[Node], report: Report) -> None:
    """Group sources by the form of their items, and tell of all groups but the largest."""
    groups: list[list[Node]] = []
    for node in sources:
        if node.facts is None or node.facts.form is None:
            continue
        for group in groups:
            if _difference(node, group[0]) is None:
                group.append(node)
                break
        else:
            groups.append([node])
    groups.sort(key=len, reverse=True)
    for group in groups[1:]:
        for node in group:
            text = _difference(node, groups[0][0])
            if text is not None:
                place = groups[0][0].place
                message = f"gives other items than the source at {place}: {text}"
                remedy = "let all sources of a mux give the same keys, dtypes and shapes"
                report.add("warning", "items-differ", node, message, remedy, like=text)


def _difference(node: Node, other: Node) -> str | None:
    """Return in what the items of two sources differ, if they are data for a model."""
    assert node.facts is not None and other.facts is not None
    one, two = node.facts.form, other.facts.form
    if one is None or two is None or not (is_numerical(one) or is_numerical(two)):
        return None
    return difference(one, two)


def fill_no_batch(root: Node, report: Report) -> None:
    """Find batches that are larger than the data."""
    for node in reversed(list(root.walk())):
        facts = node.facts
        if facts is None or not facts.complaint or facts.n_items or not node.is_whole:
            continue
        if report.has("few-for-a-batch", node):
            continue
        message = facts.complaint.partition(" (to silence")[0].partition("; ")[0]
        remedy = "give partial=True to get the short one too, or a smaller buffer_size"
        like = getattr(function_of(node.streamer), "__qualname__", "")
        report.add("error", "few-for-a-batch", node, message, remedy, like=like)
