"""A walk through a tree of streamers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .._repr import is_streamer

if TYPE_CHECKING:
    from ..core import Streamer


def survey(streamer: Streamer) -> tuple[list, list[Streamer]]:
    """Return what a run of ``streamer`` may use up, however deep.

    That is the random generators it draws from, and the streamers that can be started only once.
    """
    found = list(_streamers_of(streamer))
    one_shots = [each for each in found if each._ticket is not None]
    return list(_generators_of(found)), one_shots


def generators_of(streamer: Streamer) -> Iterator:
    """Yield the random generators that a run of ``streamer`` draws from, from the top down."""
    return _generators_of(_streamers_of(streamer))


def _generators_of(streamers: Iterable[Streamer]) -> Iterator:
    seen = set()
    for each in streamers:
        for generator in each._generators():
            if id(generator) not in seen:
                seen.add(id(generator))
                yield generator


def _streamers_of(streamer: Streamer) -> Iterator[Streamer]:
    """Yield a streamer and those that it is made of, however deep."""
    seen = set()
    left: list[Any] = [streamer]
    while left:
        each = left.pop()
        if isinstance(each, functools.partial):
            left += (each.func, *each.args, *each.keywords.values())
        elif inspect.ismethod(each):
            left.append(each.__self__)
        elif is_streamer(each) and id(each) not in seen:
            seen.add(id(each))
            yield each
            left += each._parts()
