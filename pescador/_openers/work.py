"""One activation, as its worker sees it."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator

from .._streaming import positions
from .._streaming.closable import close_iterator
from .._streaming.recipe import Recipe
from .._streaming.seeds import Seed
from .orders import Open


class Work:
    """An activation: how far it is, and what is wanted of it."""

    __slots__ = (
        "ahead",
        "asked_for",
        "costs",
        "due",
        "is_busy",
        "is_closing",
        "is_guess",
        "is_inside",
        "is_over",
        "last_cost",
        "n_made",
        "n_most",
        "n_owed",
        "next_position",
        "order",
        "seed",
        "source",
        "stop",
        "streamer",
    )

    def __init__(self, order: Open) -> None:
        self.order = order
        self.streamer: Recipe | None = None
        self.seed: Seed | None = None  # above it
        self.source: Iterator | None = None
        self.due, self.is_guess = order.due, order.is_guess
        self.n_made = positions.n_given_at(order.position)
        self.stop = order.limit or -1  # the number of items after which it is closed
        # Of a guess whose limit is not known, one item at most.
        self.n_most = self.n_made + 1 if order.limit is None else sys.maxsize
        self.asked_for = -1  # the number of the item that the caller waits for
        self.costs: deque[int] = deque()  # of the items that have not been handed out
        self.n_owed = 0  # items that were handed out before their costs were noted
        self.ahead = 0  # bytes of these
        self.last_cost = 0
        self.is_busy = self.is_closing = self.is_over = False
        self.is_inside = False  # its thread is in code of the user's
        self.next_position = 0.0

    @property
    def is_asked(self) -> bool:
        """Whether the caller waits for the next item."""
        return self.n_made <= self.asked_for

    def close(self) -> None:
        """Close its source."""
        try:
            if self.source is not None:
                close_iterator(self.source)
        finally:
            if self.seed is not None:
                self.seed.session.close()  # (a function may have made a tree with processes)
