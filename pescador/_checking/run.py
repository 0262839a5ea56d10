"""One check, end to end: the tree, what its sources give, and then what is wrong with it."""

from __future__ import annotations

from typing import Any

from . import contents, crossing, differing, mixing, repeats
from .clock import Clock
from .findings import Findings
from .plan import Node, Planner, sources_of
from .reading import read_maps, read_sources
from .report import Report
from .traces import Kept

_FOR_PLAN = 0.2  # of the time


def run(streamer: Any, n_items: int, seed: int, n_streamers: int, max_seconds: float) -> Findings:
    """Return what is found."""
    clock = Clock(max_seconds)
    with Kept(seed) as kept:
        root = Planner(kept, seed, clock.part(_FOR_PLAN)).plan(streamer, n_streamers)
        read_sources(root, n_items, clock)
        read_maps(root, n_items, clock)
        n_sources = sum(each.facts is not None for each in sources_of(root))
        report = Report()
        _look(root, n_items, clock, report)
    n_left_out = sum(each.n_left_out for each in root.walk())
    return Findings(report.findings(), n_sources, n_left_out, not clock.has_cut)


def _look(root: Node, n_items: int, clock: Clock, report: Report) -> None:
    """Make all checks. (Those that keep quiet about what others have told come later.)"""
    contents.read_once(root, report)
    contents.are_not_read(root, n_items, report)
    contents.give_nothing(root, report)
    differing.differ(root, report)
    differing.change(root, report)
    contents.fail(root, report)
    contents.fill_no_batch(root, report)
    mixing.parameters(root, n_items, report)
    repeats.begin_alike(root, report)
    repeats.same_in_every_process(root, report)
    repeats.share_a_generator(root, report)
    crossing.cannot_cross(root, report)
    crossing.cannot_be_pickled(root, clock, report)
    crossing.cost_more(root, report)
    crossing.would_save(root, report)
    crossing.start_often(root, report)
