"""Reads the sources of a tree, all of them a little before any is read on; and what is above."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from .._streaming.failures import add_note
from . import repeats
from .clock import Clock
from .plan import MAP, OPAQUE, SOURCE, Node, function_of, limit_of, opened_again, sources_of
from .probe import MOST_COMPARED, probe
from .twin import twin_of

# How much of the time that is left, once every source has been opened, goes to what.
_FOR_SOURCES, _FOR_MAPS = 0.6, 0.8
_FEWEST_READ = 64  # items of a source, if there are so many
_MORE_THAN_REACHED = 16  # items beyond those that a mux takes


def read_sources(root: Node, n_items: int, clock: Clock) -> None:
    """Read each source a little."""
    nodes = sources_of(root)
    first_of: dict[int, Node] = {}
    for each in nodes:
        first_of.setdefault(id(each.streamer), each)
    sources = list(first_of.values())
    if len(sources) > 1:
        _read_first_items(sources, clock)
    _read_on(sources, n_items, clock.part(_FOR_SOURCES))
    for each in nodes:
        each.facts = first_of[id(each.streamer)].facts


def _read_first_items(sources: list[Node], clock: Clock) -> None:
    """Open and close every source: many that are open may be more than the system allows."""
    for node in _in_turn(sources):
        if not clock.left:
            clock.cut()
            return
        with _named(node):
            node.facts = probe(node.streamer, 1, clock, n_digests=1)


def _in_turn(sources: list[Node]) -> Iterator[Node]:
    """Yield sources, next one of the kind that has taken the least time so far.

    So slow sources do not keep others from being read, files that are missing for instance.
    """
    kinds: dict[str, list[Node]] = {}
    for node in reversed(sources):
        function = function_of(node.streamer)
        kinds.setdefault(str(getattr(function, "__qualname__", type(function))), []).append(node)
    waiting = [(0.0, number, kind) for number, kind in enumerate(reversed(kinds.values()))]
    while waiting:
        spent, number, kind = heapq.heappop(waiting)
        began = monotonic()
        yield kind.pop()
        if kind:
            heapq.heappush(waiting, (spent + monotonic() - began, number, kind))


def _read_on(sources: list[Node], n_items: int, clock: Clock) -> None:
    """Read each source on; and once more, in the time that others left, those that were cut."""
    for _ in range(2):
        cut = []
        for number, node in enumerate(sources):
            if not clock.left:
                clock.cut()
                return
            part = Clock(clock.left / (len(sources) - number))
            with _named(node):
                _read_one(node, n_items, part)
            if part.has_cut:
                cut.append(node)
        sources = cut
    if sources:
        clock.cut()


def _read_one(node: Node, n_items: int, clock: Clock) -> None:
    """Read a source as far as a mux may get, and again from the beginning if a mux does."""
    limit = limit_of(node)
    is_again = opened_again(node) or limit is not None
    n_digests, n_most = MOST_COMPARED, n_items
    if limit is not None:
        n_reached = repeats.most_of(limit)
        n_digests = n_most = min(n_items, max(_FEWEST_READ, n_reached + _MORE_THAN_REACHED))
    n_compared = min(n_items, MOST_COMPARED)
    for n_each in (n_most, n_compared, n_compared) if is_again else (n_most,):
        facts = node.facts
        if facts is not None and facts.error is not None and (facts.n_items or not is_again):
            return  # it would do so again, and has been seen to
        if facts is not None and not clock.left:
            clock.cut()
            return
        node.facts = probe(node.streamer, n_each, clock, facts, n_digests)
    if limit is not None:
        _read_beyond(node, n_items, clock)


def _read_beyond(node: Node, n_items: int, clock: Clock) -> None:
    """Look for what a source has beyond where its mux gets, if it always begins alike.

    (Whatever is wrong there does no harm.)
    """
    facts = node.facts
    if facts is None or not facts.is_alike or facts.has_ended or repeats.n_unreached(node):
        return
    if n_items <= len(facts.digests):
        return
    beyond = probe(node.streamer, n_items, clock, n_digests=n_items).digests
    if beyond[: len(facts.digests)] == facts.digests:
        facts.digests = beyond


def read_maps(root: Node, n_items: int, clock: Clock) -> None:
    """Read what maps make of the sources, and the whole tree, from below."""
    nodes = [each for each in root.walk() if each.kind in (MAP, OPAQUE)]
    if root.kind != SOURCE and root not in nodes:
        nodes.insert(0, root)
    budget = clock.part(_FOR_MAPS)
    for number, node in enumerate(reversed(nodes)):
        if not budget.left:
            budget.cut()
            return
        part = budget.part(1 / (len(nodes) - number))
        twin = twin_of(node, part)
        if twin is not None:
            with _named(node):
                node.facts = probe(twin, n_items, part)


@contextmanager
def _named(node: Node) -> Iterator[None]:
    """Say in an interrupt what was being read: it may have hung."""
    try:
        yield
    except BaseException as error:
        add_note(error, f"pescador.check was reading {node.text}, at {node.place}")
        raise
