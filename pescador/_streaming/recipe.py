"""What a run may ask of a streamer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from .seeds import Seed


class Recipe(Protocol):
    """A streamer, as the rooms see it: these names, and no other private ones.

    An *activation* is one run of a streamer by its parent. ``place`` says which child of the
    parent it is, and ``number`` how many activations the parent has opened before.
    """

    #: How many runs are open.
    active_count_: int

    @property
    def _origin(self) -> Recipe | None:
        """The streamer whose runs the runs of this copy are; None: its own."""

    @property
    def _binding(self) -> Any:
        """What a copy that was made for one call knows of the run around it (a `Binding`)."""

    @property
    def _ticket(self) -> list | None:
        """A list that is empty until a one-shot iterator is started; None for all others."""

    def _open_run(self, parent: Seed, place: int, number: int) -> Iterator:
        """Return an iterator over the items of a fresh activation."""

    def _open_at(self, parent: Seed, place: int, number: int, position: Any) -> Iterator:
        """Return the same for an activation that goes on at a position."""

    def _passes_on(self) -> bool:
        """Tell whether its position is that of the one streamer whose items it passes on."""

    def _is_source(self) -> bool:
        """Tell whether it makes its items itself, but for what it is made of: it is no mux."""

    def _chooses(self) -> bool:
        """Tell whether opening it only chooses what it opens in its turn: it is a mux."""

    def _starts_lazily(self) -> bool:
        """Tell whether opening it runs nothing of the user's, and so cannot fail."""

    def _kind(self) -> str:
        """Return the name of the class that makes the items, whoever passes them on."""

    def _counted_by(self) -> Recipe:
        """Return the streamer whose ``active_count_`` counts the runs of this one."""

    def _counted_copy(self) -> Recipe:
        """Return a shallow copy whose runs count as runs of this streamer."""

    def _has_own_iterate(self) -> bool:
        """Tell whether a class of the user's has another ``iterate()``, which is then called."""

    def _use_ticket(self) -> None:
        """Refuse to start a one-shot iterator a second time."""

    def _parts(self) -> tuple[Any, ...]:
        """Return what the streamer is made of, where other streamers may be found."""

    def _remade(self, replaced: Callable[[Recipe], Recipe]) -> Recipe:
        """Return a copy with other streamers in place of those among its parts."""

    def _part(self, index: int, count: int) -> Recipe:
        """Return the same of a mux with every ``count``-th of its streamers alone, from one on."""

    def _generators(self) -> tuple[Any, ...]:
        """Return the random generators that runs of this very streamer draw from."""

    def _weights_to_show(self) -> tuple[Any, Any]:
        """Return what gives the weights of its streamers, and those of item 0; None for none."""

    def iterate(self, max_iter: int | None = None) -> Any:
        """Return a fresh stream."""
