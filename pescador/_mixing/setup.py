"""What a run of a mux is made of: read once, when it starts, so that nothing alters it later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _validate
from .._streaming import positions
from .._streaming.recipe import Recipe
from .design import Design, Table, are_equal, largest_share


class Setup(NamedTuple):
    """The parameters of a run. Assigning to an attribute of a mux alters none that has started."""

    mux: Recipe  # what messages name
    kind: str  # its class
    streamers: Sequence[Recipe] | Any  # (a chain may read them lazily)
    n_streams: int | None
    weights: np.ndarray | None
    weight_function: Callable | None
    on_error: str
    max_failures: int
    agreed: tuple[str, ...] = ()  # the fields of its kind that are part of a state
    # Of some kinds:
    mode: str = ""
    n_active: int = 1
    rate: float | None = None
    mean_limit: float | None = None
    prune_empty_streams: bool = True
    dist: str = ""
    weighting: str = "active"
    table: Table | None = None  # of shares that are not equal
    reader: Recipe | None = None  # gives the streamers of a chain
    # Of a part of another mux: the index of its first streamer there, and the step to the next.
    part: tuple[int, int] | None = None

    def is_outdated(self) -> bool:
        """Tell whether streamers have been added to the list since, or taken out."""
        return self.n_streams is not None and self.n_streams != len(self.streamers)

    def in_whole(self, place: int) -> int:
        """Return where the whole mux has the streamer that this part has at ``place``."""
        first, step = self.part or (0, 1)
        return first + step * place

    def facts(self) -> dict:
        """Return what a state must agree with, by its name."""
        weights = None if self.weights is None else positions.digest(self.weights.tobytes())
        if self.weight_function is not None:
            weights = f"function {weights}"
        own = {name: getattr(self, name) for name in self.agreed}
        return {"class": self.kind, "n_streams": self.n_streams, "weights": weights, **own}

    def table_for(self, weights: np.ndarray | None, n_items: int) -> Table | None:
        """Return what a run needs in order to choose streamers by weights, from an item on."""
        if weights is self.weights:
            return self.table
        assert weights is not None and self.weights is not None
        if np.array_equal(weights, self.weights):
            return self.table
        return table_of_shares(weights, f"weights({n_items})", self.mode, self.n_active)


def table_of_shares(
    weights: np.ndarray | None, name: str, mode: str, n_active: int
) -> Table | None:
    """Return what a run needs in order to choose streamers by weights; None if they are equal."""
    if weights is None or are_equal(weights):
        return None
    if mode == "with_replacement":
        return Table(weights)
    n_open = min(n_active, int(np.count_nonzero(weights)))
    index = int(weights.argmax())
    if weights[index] > largest_share(n_open):
        rule = (
            f'with {n_open} different streamers open at a time (mode="single_active"), no'
            f" share can be more than 1/{n_open}"
        )
        remedy = 'give a smaller n_active, more equal weights, or mode="with_replacement"'
        raise _validate.refuse(f"{name}[{index}]", float(f"{weights[index]:.6g}"), rule, remedy)
    return Design(weights, n_open)
