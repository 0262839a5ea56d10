"""A walk through a tree of streamers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .._repr import is_streamer
from .recipe import Recipe


def survey(streamer: Recipe) -> tuple[list, list[Recipe]]:
    """Return what a run of ``streamer`` may use up, however deep.

    That is the random generators it draws from, and the streamers that can be started only once.
    """
    found = list(streamers_of(streamer))
    one_shots = [each for each in found if each._ticket is not None]
    return list(generators_among(found)), one_shots


def generators_of(streamer: Recipe) -> Iterator:
    """Yield the random generators that a run of ``streamer`` draws from, from the top down."""
    return generators_among(streamers_of(streamer))


def generators_among(streamers: Iterable[Recipe]) -> Iterator:
    """Yield the random generators that some streamers draw from themselves."""
    seen = set()
    of_sources: list[Any] = []
    for each in streamers:
        found = each._generators()
        if (
            each._is_source()
        ):  # last: states know generators by their number, older ones muxes' alone
            of_sources += found
            continue
        for generator in found:
            if id(generator) not in seen:
                seen.add(id(generator))
                yield generator
    for generator in of_sources:
        if id(generator) not in seen:
            seen.add(id(generator))
            yield generator


def streamers_in(values: Iterable) -> Iterator[Recipe]:
    """Yield the streamers among some values of a call, those behind a method or a partial too."""
    for each in values:
        if is_streamer(each):
            yield each
        elif isinstance(each, functools.partial):
            yield from streamers_in((each.func, *each.args, *each.keywords.values()))
        elif inspect.ismethod(each):
            yield from streamers_in([each.__self__])


def with_others(value: Any, replaced: Callable[[Recipe], Recipe]) -> Any:
    """Return a value of a call with others in place of the streamers that are in it."""
    if is_streamer(value):
        return replaced(value)
    if isinstance(value, functools.partial):
        parts = (value.func, *value.args)
        function, *args = [with_others(each, replaced) for each in parts]
        keywords = {name: with_others(each, replaced) for name, each in value.keywords.items()}
        return functools.partial(function, *args, **keywords)
    owner: Any = getattr(value, "__self__", None)
    if inspect.ismethod(value) and is_streamer(owner):
        return getattr(replaced(owner), value.__name__)
    return value


def streamers_of(streamer: Recipe) -> Iterator[Recipe]:
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
