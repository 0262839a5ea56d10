"""One activation that is open elsewhere; and what a window asks of those who have it open."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple, Protocol

from .._streaming import positions
from .._streaming.opener import Expected
from .._streaming.recipe import Recipe
from .orders import Due, Moment, Order


class Batch(NamedTuple):
    """Items in a row of an activation, as they came from a worker."""

    activation: int
    items: list[Any]
    cost: int  # bytes


class Worker(Protocol):
    """A worker, as a window sees it."""

    name: str
    #: Its activations that are not over.
    unfinished: dict[int, Activation]
    #: How many items of its activations have been handed out, since it was told.
    handed_out: dict[int, int]
    #: What these cost, in bytes.
    cost: int
    #: When it was told last.
    told: float
    #: Whether it has started.
    is_connected: bool


class Engine(Protocol):
    """Carries orders to workers, and brings back what they send."""

    max_bytes: int  # how far one worker may be ahead
    n_threads: int  # that one worker has
    can_kill: bool
    workers: list[Any]

    def begin(self, window: Any) -> None:
        """Start the workers, and hand over to the window (`Window.take`) what they send."""

    def source_of(self, streamer: Recipe) -> Any:
        """Return what an order names a streamer by; None if no worker can find it."""

    def send(self, worker: Any, order: Order) -> None:
        """Send an order."""

    def take_back(self, worker: Any, activation: int) -> bool:
        """Take back the order to open an activation, if it has not been sent; tell whether."""

    def poll(self, seconds: float) -> None:
        """Hand over what has come; wait for it so long at most."""

    def at(self, worker: Any) -> list[tuple[int, int]]:
        """Return what it works on: activations, and how many items it has made of each."""

    def kill(self, worker: Any, why: str, blamed: int | None) -> None:
        """End a worker that hangs, by the fault of an activation. It counts as dead from now on."""

    def close(self) -> None:
        """End all workers."""


class Activation:
    """One activation that is open elsewhere."""

    __slots__ = (
        "batches",
        "due",
        "error",
        "in_hand",
        "is_asked",
        "is_closing",
        "is_guess",
        "is_open",
        "limit",
        "moment",
        "n_deaths",
        "n_deaths_at",
        "n_received",
        "name",
        "number",
        "outcome",
        "parent",
        "place",
        "places",
        "source",
        "start",
        "streamer",
        "told_to_close",
        "worker",
    )

    def __init__(self, name: int, source: Any, guess: Expected, due: Due) -> None:
        self.name = name
        self.source = source
        self.streamer, self.parent, self.place, self.number, self.limit, self.start = guess
        self.due, self.is_guess = due, False
        self.worker: Any = None
        n_before = positions.n_given_at(self.start)
        self.n_received = n_before
        # Where the source stood after so many items, the last ones known.
        self.places: deque[tuple[int, Any]] = deque([(n_before, self.start)])
        self.batches: deque[tuple[Batch, Any]] = deque()  # that nobody has asked for yet
        # What is being handed out: how many items, their cost, and whose they are.
        self.in_hand: tuple[int, int, Any] | None = None
        self.is_open = self.is_asked = self.is_closing = False
        # None: it goes on. Else how it ended: well, or by an error at a moment.
        self.outcome: str | None = None
        self.moment = Moment.ITEM
        self.error: BaseException | None = None
        self.n_deaths, self.n_deaths_at = 0, -1  # of workers, at this item
        self.told_to_close = 0.0  # when

    def reads(self) -> list:
        """Return nothing: it is read elsewhere, and has no mux in it."""
        return []

    def position(self, n_given: int) -> Any:
        """Return where it stands, after so many items."""
        before = [each for each in self.places if each[0] <= n_given]
        n_at, position = before[-1] if before else (0, 0)
        if isinstance(position, int):
            return n_given
        return positions.skipping(position, n_given - n_at)

    def note_place(self, n_items: int, position: Any, n_in_hand: int) -> None:
        """Know where it stood after so many items; forget what is older than what is in hand."""
        self.places.append((n_items, position))
        while len(self.places) > 1 and self.places[1][0] <= n_in_hand:
            self.places.popleft()

    @property
    def n_begun(self) -> int:
        """How many items have been handed out, or are in hand."""
        return self.n_received - sum(len(batch.items) for batch, _ in self.batches)

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.outcome is not None

    def end(self, outcome: str = "ended", moment: Moment = Moment.ITEM) -> None:
        """Know how it ended."""
        self.outcome, self.moment = outcome, moment
        if self.worker is not None:
            self.worker.unfinished.pop(self.name, None)

    def fail(self, error: BaseException) -> None:
        """Fail here, at the next item or as it is opened."""
        self.error = error
        self.end("failed", Moment.ITEM if self.is_open else Moment.OPENING)
