"""What orders name sources by; how a worker elsewhere finds them, and what they draw from."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from .._background.producer import seed_globals
from .._streaming.recipe import Recipe
from .._streaming.seeds import Seed
from .._streaming.session import Session
from .._streaming.survey import generators_of
from .orders import Open
from .work import Work


def fresh_generators() -> None:
    """Seed the global generators anew: those of a fork begin where the program's were."""
    np.random.set_bit_generator(np.random.MT19937())  # type: ignore[attr-defined]
    random.seed()


class Names:
    """What orders name streamers by: a number, or the pickle of one that was made later.

    Parameters
    ----------
    streamers : list of Recipe
        Those that the workers have.
    dumps : callable
        Pickles the others.
    """

    def __init__(self, streamers: list[Recipe], dumps: Callable[[Recipe], Any]) -> None:
        self._streamers = streamers
        self._dumps = dumps
        self._numbers = {id(each): number for number, each in enumerate(streamers)}

    def of(self, streamer: Recipe) -> Any:
        """Return the name of a streamer; None if it has none."""
        number = self._numbers.get(id(streamer))
        if number is not None and self._streamers[number] is streamer:
            return number
        try:
            return bytes(self._dumps(streamer))
        except Exception:
            return None


class Catalogue:
    """Finds the streamers that orders name."""

    def __init__(self, streamers: list[Recipe]) -> None:
        self._streamers = streamers

    def start(self, order: Open) -> tuple[Recipe, Seed]:
        """Return the streamer of an order, and the seed above it."""
        source = order.source
        streamer = pickle.loads(source) if isinstance(source, bytes) else self._streamers[source]
        entropy, path, display_path, words = order.seed
        taken = list(zip(generators_of(streamer), words)) if words else []
        return streamer, Seed.received(entropy, path, taken, Session(), display_path)


class Generators:
    """The global generators of NumPy and ``random``: each activation has a pair of its own.

    So what a source draws from them does not depend on which others its worker has.
    """

    def __init__(self) -> None:
        self._at: Work | None = None
        self._states: dict[int, tuple[Any, Any]] = {}
        self._free: list[Any] = []  # generators of NumPy, which take long to make

    def enter(self, work: Work) -> None:
        """Let the next activation draw from its own."""
        before, self._at = self._at, work
        if before is work:
            return
        if before is not None:
            bits = np.random.get_bit_generator()  # type: ignore[attr-defined]
            if before.is_over:
                self._free.append(bits)
            else:
                self._states[before.order.activation] = bits, random.getstate()
        state = self._states.pop(work.order.activation, None)
        if state is None:
            self._seed(work.order)
        else:
            np.random.set_bit_generator(state[0])  # type: ignore[attr-defined]
            random.setstate(state[1])

    def _seed(self, order: Open) -> None:
        entropy, path, *_ = order.seed
        seed = Seed.received(entropy, path, [], None).child(order.place, order.number)
        seed_globals(seed, self._free.pop() if self._free else None)
