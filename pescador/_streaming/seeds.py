"""Where randomness comes from: one seed at the root, a derived one for every run below it.

A run is named by an *entropy* (what the user's ``random_state`` gave) and a *path* (which pass,
which activation of which child, from the root down). Every random sequence of the run is a
PCG64 stream whose 256-bit state is BLAKE2b(entropy, path, purpose), so that no two runs, and no
two purposes inside a run, share one. ``RandomState`` is used on top of it because NumPy freezes
its streams for good (NEP 19).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import numpy as np

from .. import _validate
from ..exceptions import PescadorError

_PLACE = struct.Struct("<qq")
_WORD = np.dtype("<u8")

# What is drawn from once for a whole tree of runs, and so advances.
GENERATORS = (np.random.RandomState, np.random.Generator)


def entropy_of(random_state: Any) -> bytes:
    """Take what one run needs from a ``random_state``.

    An integer or a SeedSequence always gives the same bytes. None draws from NumPy's global
    generator, a RandomState or a Generator from itself, so that the next call differs.
    """
    words: np.ndarray
    if random_state is None:
        words = np.random.randint(0, 2**32, size=4, dtype=np.uint32)
    elif isinstance(random_state, np.random.RandomState):
        words = random_state.randint(0, 2**32, size=4, dtype=np.uint32)
    elif isinstance(random_state, np.random.Generator):
        words = random_state.integers(0, 2**32, size=4, dtype=np.uint32)
    elif isinstance(random_state, np.random.SeedSequence):
        words = random_state.generate_state(4)
    else:
        return b"int:%d" % int(random_state)
    return b"words:" + words.astype("<u4").tobytes()


def misplaced(name: str, value: Any) -> PescadorError:
    """Return the error for a FRESH_SEED that is no argument of a streamer."""
    rule = "FRESH_SEED is replaced by a seed only where it is itself an argument of a Streamer"
    remedy = "give it as an argument of its own, and use the integer that comes in its place"
    return _validate.refuse(name, value, rule, remedy)


class FreshSeed:
    """An argument for a streamer whose function draws random numbers.

    Each start of the streamer gets a new seed in its place: an integer from 0 to 2**32 - 1. The
    ``random_state`` of the outermost mux fixes these integers, so the same program gives the same
    items. It has to be an argument of its own, not part of a list or a dict::

        Streamer(noisy, X, random_state=pescador.FRESH_SEED)
    """

    __module__ = "pescador.core"  # where users find it
    _only: FreshSeed | None = None

    def __new__(cls) -> FreshSeed:
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __repr__(self) -> str:
        return "FRESH_SEED"

    def __reduce__(self) -> str:
        return "FRESH_SEED"

    def _refuse(self) -> int:
        """Say where it belongs, to whoever takes it for the seed that it stands for."""
        raise misplaced("FRESH_SEED", self)

    # What seeds are asked for: by NumPy, by ``int()``, by a test whether one was given.
    __index__ = __int__ = __float__ = __len__ = _refuse


FRESH_SEED = FreshSeed()  # the only one; on it, help() and the site show the docstring of its type


class _Root:
    """What a whole tree has taken from sources of randomness, each of them once."""

    __slots__ = ("_origin", "_taken")

    def __init__(self, origin: bytes | None = None) -> None:
        self._origin = origin  # what other processes know this one by
        self._taken: dict[int, tuple[Any, bytes]] = {}  # by id; the object is kept with it

    def entropy(self, random_state: Any) -> bytes:
        if random_state is None or isinstance(random_state, GENERATORS):
            if id(random_state) not in self._taken:
                words = entropy_of(random_state)
                if self._origin is not None:
                    # A copy, made for this process: it is in the same state in the next one.
                    words += b"of:" + self._origin
                self._taken[id(random_state)] = random_state, words
            return self._taken[id(random_state)][1]
        return entropy_of(random_state)


class _State(np.random.bit_generator.ISeedSequence):
    """Hands a bit generator its state ready made: 50 times faster than a SeedSequence."""

    def __init__(self, words: np.ndarray) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        words = self._words if dtype is np.uint64 else self._words.view(dtype)
        return words[:n_words]


class Seed:
    """The name of one run: an entropy, and the path from the root to it.

    ``display_path`` is the path for people: the places of the streamers in their muxes, and a
    negative number for every argument of a function that a run has come through. ``session`` is
    what the runs of the tree share. Neither has an influence on chance.
    """

    __slots__ = ("_entropy", "_from", "_is_above", "_path", "_root", "display_path", "session")

    _from: tuple[Seed, int, int]  # its parent, and the arguments of `child`, where they count

    def __init__(
        self,
        root: _Root,
        entropy: bytes | None,
        path: bytes | None,
        session: Any,
        display_path: tuple[int, ...] = (),
        is_above: bool = True,
    ) -> None:
        self._root = root
        self._entropy = entropy  # None: not needed yet
        self._path = path  # None: not needed yet; it follows from `_from`
        self.session = session
        self.display_path = display_path
        self._is_above = is_above  # its one child is at the same place

    @classmethod
    def root(cls, session: Any) -> Seed:
        """Return the seed above a whole tree; it follows ``np.random.seed``, if it is used."""
        return cls(_Root(), None, b"", session)

    def child(self, place: int, number: int) -> Seed:
        """Return the seed of activation ``number`` of the child at ``place``."""
        child = Seed(self._root, self._entropy, None, self.session, self.shown(place), False)
        child._from = self, place, number
        return child

    @property
    def path(self) -> bytes:
        """The path from the root to the run, of which its random sequences are made."""
        if self._path is None:
            parent, place, number = self._from
            path = hashlib.blake2b(parent.path + _PLACE.pack(place, number), digest_size=16)
            self._path = path.digest()
        return self._path

    def shown(self, place: int) -> tuple[int, ...]:
        """Return the path for people of the child at ``place``."""
        return self.display_path if self._is_above else (*self.display_path, place)

    def above(self, place: int, number: int) -> Seed:
        """Return the seed above a stream of a streamer that a function has for an argument."""
        shown = (*self.display_path, min(place, -1))
        below = self.child(place, number)
        return Seed(below._root, below._entropy, below.path, self.session, shown)

    @property
    def is_above(self) -> bool:
        """Whether it is that of a stream, whose one child is at the same place for people."""
        return self._is_above

    def named(self, place: int) -> Seed:
        """Return this seed, but that children are known to be at ``place``."""
        shown = (*self.display_path, place)
        return Seed(self._root, self._entropy, self.path, self.session, shown)

    def part(self, index: int, count: int) -> Seed:
        """Return the seed of a part of what is below: another one for every part."""
        named = _PLACE.pack(index, count)
        path = hashlib.blake2b(self.path + named, digest_size=16, person=b"part").digest()
        copy = Seed(self._root, self._entropy, path, self.session)
        copy.display_path, copy._is_above = self.display_path, self._is_above
        return copy

    def within(self, session: Any) -> Seed:
        """Return this seed with another session, for the runs below it."""
        copy = Seed(self._root, self._entropy, self.path, session)
        copy.display_path, copy._is_above = self.display_path, self._is_above
        return copy

    def owned_by(self, random_state: Any) -> Seed:
        """Return the seed for a run that may have a ``random_state`` of its own.

        What it needs is taken now; from a generator, once for the whole tree.
        """
        if random_state is None and self._entropy is not None:
            return self
        entropy = self._root.entropy(random_state)
        shown, is_above = self.display_path, self._is_above
        return Seed(self._root, entropy, self.path, self.session, shown, is_above)

    def sent(self, generators: Iterable) -> tuple[bytes, bytes, list]:
        """Return what another process needs in order to make this seed.

        That is all that its tree takes from sources of randomness, the given generators among
        them: those of this process must advance, not their copies over there.
        """
        taken = [(each, self._root.entropy(each)) for each in generators]
        if self._entropy is None:
            self._entropy = self._root.entropy(None)
        return self._entropy, self.path, taken

    @classmethod
    def received(
        cls,
        entropy: bytes,
        path: bytes,
        taken: list,
        session: Any,
        display_path: tuple[int, ...] | None = None,
    ) -> Seed:
        """Make the seed from what `sent` returned, for runs that share a session.

        ``display_path`` is that of the seed, if it is not above a whole tree.
        """
        root = _Root(entropy + path)
        root._taken = {id(each): (each, words) for each, words in taken}
        return cls(root, entropy, path, session, display_path or (), display_path is None)

    def taken(self, generators: Callable[[], Iterable]) -> list[list]:
        """Return what this tree has taken from sources of randomness, as JSON can hold it.

        Each is a number and what was taken: the ``generators()`` are counted from zero, and -1 is
        NumPy's global one. They are looked for no longer than needed.
        """
        taken = self._root._taken
        numbers = {id(None): -1}
        missing = set(taken) - set(numbers)
        for number, each in enumerate(generators() if missing else ()):
            numbers[id(each)] = number
            missing.discard(id(each))
            if not missing:
                break
        pairs = ((numbers.get(key), words) for key, (_, words) in taken.items())
        return sorted([number, words.hex()] for number, words in pairs if number is not None)

    def take(self, taken: list, find: Callable[[], Iterable]) -> None:
        """Take, for this tree, what another one has taken; ``find`` is as for `taken`."""
        highest = max((number for number, _ in taken), default=-1)
        generators = list(islice(find(), highest + 1)) if highest >= 0 else []
        for number, words in taken:
            if number >= len(generators):
                raise PescadorError(
                    "the state does not fit the streamer: it had drawn from more random generators;"
                    " resume with the streamer that the state was taken of"
                )
            each = None if number < 0 else generators[number]
            self._root._taken[id(each)] = each, bytes.fromhex(words)

    def words(self, purpose: bytes) -> np.ndarray:
        """Return 256 bits, as four uint64, that belong to this run and ``purpose`` alone."""
        digest = hashlib.blake2b(self.path, digest_size=32, person=purpose)
        if self._entropy is None:
            self._entropy = self._root.entropy(None)
        digest.update(self._entropy)
        words = np.frombuffer(digest.digest(), _WORD)
        return words if _WORD.isnative else words.astype(np.uint64)

    def fresh(self, place: int, number: int, index: int) -> int:
        """Return an integer below 2**32 for argument ``index`` of an activation of a child.

        Integers for different numbers differ: an odd multiple, a sum, an exclusive or, and the
        last step of MurmurHash3 (A. Appleby, 2011) map 32 bits one to one.
        """
        factor, offset, mask, _ = self.words(b"fresh%d,%d" % (min(place, 0), index)).tolist()
        return _mixed(number * (2 * factor + 1) + offset) ^ (mask % 2**32)

    def rng(self, purpose: bytes, n_drawn: int = 0) -> np.random.RandomState:
        """Return this run's generator for ``purpose`` (at most 16 bytes).

        It is at its beginning, or where ``n_drawn`` calls for a uniform number would leave it.
        """
        bits = np.random.PCG64(_State(self.words(purpose)))  # type: ignore[arg-type]
        if n_drawn:
            bits.advance(n_drawn)
        return np.random.RandomState(bits)


def _mixed(value: int) -> int:
    """Return 32 bits that all depend on all of the lowest 32 bits of ``value``, one to one."""
    value %= 2**32
    value = ((value ^ value >> 16) * 0x85EBCA6B) % 2**32
    value = ((value ^ value >> 13) * 0xC2B2AE35) % 2**32
    return value ^ value >> 16
