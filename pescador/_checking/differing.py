"""Sources of one mux whose items differ, and those whose items change."""

from __future__ import annotations

from .items import Difference, Form, difference, free_along, is_numerical
from .plan import MAP, MUX, OPAQUE, SOURCE, Node, axis_of
from .report import Report


def differ(root: Node, report: Report) -> None:
    """Find sources of one mux whose items have other keys, dtypes or shapes than most."""
    for node in root.walk():
        is_outermost = not any(each.kind == MUX for each in _until_map(node))
        if node.kind == MUX and is_outermost:
            _compare(list(node.producers()), _axis_above(node), report)


def _until_map(node: Node) -> list[Node]:
    found = []
    for each in node.all_above():
        if each.kind in (MAP, OPAQUE):
            break
        found.append(each)
    return found


def _axis_above(node: Node) -> int | None:
    """Return the axis along which the map above joins items, if it does."""
    above = next((each for each in node.all_above() if each.kind in (MAP, OPAQUE)), None)
    return None if above is None else axis_of(above)


def _compare(sources: list[Node], axis: int | None, report: Report) -> None:
    """Group sources by the form of their items, and tell of all groups but the largest."""
    groups: list[list[tuple[Node, Form]]] = []
    for node in sources:
        form = None if node.facts is None else node.facts.form
        if form is None:
            continue
        if axis is not None:
            form = free_along(form, axis)
        for group in groups:
            if _difference(form, group[0][1]) is None:
                group.append((node, form))
                break
        else:
            groups.append([(node, form)])
    groups.sort(key=len, reverse=True)
    for group in groups[1:]:
        for node, form in group:
            _tell(node, form, *groups[0][0], report)


def _difference(one: Form, two: Form) -> Difference | None:
    """Return in what items differ, if they are data for a model."""
    if not (is_numerical(one) or is_numerical(two)):
        return None
    return difference(one, two)


def _tell(node: Node, form: Form, usual: Node, usual_form: Form, report: Report) -> None:
    found = _difference(form, usual_form)
    if found is not None:
        message = f"its items differ from those of the source at {usual.place}: {found.text}"
        remedy = "let all sources of a mux give the same keys, dtypes and shapes"
        report.add("warning", "items-differ", node, message, remedy, like=found.reason)


def change(root: Node, report: Report) -> None:
    """Find sources whose items change their dtypes."""
    for node in root.walk():
        facts = node.facts
        if node.kind != SOURCE or facts is None or not facts.change or facts.form is None:
            continue
        if is_numerical(facts.form):
            message = f"its items change: {facts.change}"
            remedy = "give all items the same dtypes, so that all batches have the same"
            report.add("warning", "items-differ", node, message, remedy, like="change")
