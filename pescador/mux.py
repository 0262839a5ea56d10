"""Muxes: streamers that mix the items of other streamers.

These are the classes; what a mux does while it runs is in ``_mixing``.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from . import _validate
from ._mixing.lazily import LazyRun, LazyStreamers, bounded, is_lazy
from ._mixing.parts import PartOfWeights, every
from ._mixing.random_run import ShuffledRun
from ._mixing.run import Run
from ._mixing.setup import Setup, table_of_shares
from ._mixing.stochastic_run import StochasticRun
from ._mixing.turn_run import ChainRun, RoundRobinRun
from ._streaming import positions
from ._streaming.seeds import FRESH_SEED, GENERATORS, Seed
from ._streaming.survey import streamers_of
from ._warning import warn
from .core import OWN, Streamer, as_streamer, check_made
from .exceptions import PescadorError
from .util import DEPRECATED, get_rng

__all__ = ["BaseMux", "ChainMux", "Mux", "RoundRobinMux", "ShuffledMux", "StochasticMux"]

STOCHASTIC_MODES = ("with_replacement", "single_active", "exhaustive")
ROUND_ROBIN_MODES = ("exhaustive", "cycle", "permuted_cycle", "shortest")
CHAIN_MODES = ("exhaustive", "cycle")
ON_ERRORS = ("raise", "replace", "retry")
DISTS = ("poisson", "constant", "binomial")
WEIGHTINGS = ("active", "share")

_ELSEWHERE = {"PoissonMux": "it became StochasticMux(streamers, n_active, rate)"}


def __getattr__(name: str) -> object:
    raise _validate.missing_from(__name__, name, _ELSEWHERE)


class _Parameter:
    """An attribute that runs are made of: once it is assigned to, the next setup is another."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, mux: Any, owner: type | None = None) -> Any:
        if mux is None:
            return self
        try:
            return vars(mux)[self.name]
        except KeyError:
            check_made(mux)
            text = f"{type(mux).__name__!r} object has no attribute {self.name!r}"
            raise AttributeError(text) from None

    def __set__(self, mux: Any, value: Any) -> None:
        vars(mux)[self.name] = value
        mux._setup = None


def _parameter() -> Any:
    return _Parameter()


class BaseMux(Streamer):
    """The common base of the muxes: a streamer that draws from other streamers.

    Parameters
    ----------
    streamers : iterable
        What to mix: streamers, or iterables, which are wrapped in streamers. Also a generator
        function that yields them, or a Streamer of them, if their number is finite.
    weights : array_like of float, shape (n_streams,), or callable, optional
        Finite numbers >= 0, at least one of them positive. Copied, never altered. A function
        ``f(n_items)`` is called at item 0 and every 1,000th item of a run, and returns the weights
        from then on. It should depend on that number alone.
    random_state : None, int >= 0, RandomState, Generator or SeedSequence
        Where a run gets its seed, once, when it starts.
    on_error : {"raise", "replace", "retry"}
        What an error in a source does. "raise": it comes out of the mux, with a note that says
        which streamer failed. "replace": it ends only that stream, and is logged as a warning.
        "retry": the source is opened again at the item at which it failed, as resuming does.
    max_failures : int >= 1
        With "replace": after how many failures in a run a streamer is left out. When none is left,
        the last error is raised. With "retry": after how many failures in a row at one item the mux
        does as with "replace". Before each try it waits: first 0.1 s, then twice as long each time,
        30 s at most.

    Attributes
    ----------
    streamers : list of Streamer
        What is mixed; a sequence, if streamers are made as they are opened.
    n_streams : int
        The number of streamers.
    weights : ndarray of float, shape (n_streams,)
        The weights, scaled to sum to one; equal if none were given. If a function gives them, the
        weights of item 0.
    random_state : object
        As given.
    rng : module, RandomState or Generator
        ``np.random`` if ``random_state`` is None; a RandomState for an integer.
    on_error, max_failures
        As given.

    Raises
    ------
    PescadorError
        If an argument is wrong. An empty collection is an error, except for `ChainMux`.

    Examples
    --------
    >>> import pescador
    >>> mux = pescador.ShuffledMux(["ab", "cd"], weights=[3, 1])
    >>> isinstance(mux, pescador.BaseMux), mux.n_streams, mux.weights.tolist()
    (True, 2, [0.75, 0.25])
    """

    _NOT_CALLED = Streamer._NOT_CALLED | {
        "_activate_stream",
        "_new_stream",
        "_next_sample_index",
        "_on_stream_exhausted",
        "_replace_stream",
        "_reset",
        "_setup_streams",
        "_streamers_available",
    }

    streamers: Any = _parameter()
    on_error: str = _parameter()
    max_failures: int = _parameter()

    def __init__(
        self,
        streamers: Any,
        weights: Any = None,
        random_state: Any = None,
        *,
        on_error: str = "raise",
        max_failures: int = 3,
    ) -> None:
        _refuse_disorder(streamers)
        is_read_lazily = self._READS_LAZILY and is_lazy(streamers)
        collected = LazyStreamers(streamers) if is_read_lazily else _collect(streamers)
        if not len(collected):
            rule, remedy = "there is nothing to mix", "give at least one streamer"
            raise _validate.refuse("streamers", streamers, rule, remedy)
        self._init_mux(collected, weights, random_state, on_error, max_failures)

    #: Whether a sequence that makes streamers is read as they are opened.
    _READS_LAZILY = False

    def _init_mux(
        self, streamers: Any, weights: Any, random_state: Any, on_error: str, max_failures: int
    ) -> None:
        # A mux has no source of its own: it is opened by _open_own, below.
        self.streamer, self.args, self.kwargs, self._ticket = None, (), {}, None
        self._prepare()
        self.streamers = streamers
        self._function = weights if callable(weights) else None
        self._weights = None
        if self._function is not None:
            self._weights = _validate.weights_at(self._function, 0, len(streamers))
        elif weights is not None:
            self._weights = _validate.weights(weights, len(streamers))
        self.random_state = _validate.random_state(random_state)
        self._rng = None if random_state is None else get_rng(random_state)
        self.on_error = _validate.option("on_error", on_error, ON_ERRORS)
        remedy = "give how often a streamer may fail before it is left out"
        self.max_failures = _validate.whole("max_failures", max_failures, 1, remedy)

    def _classified(self) -> tuple[int, Callable]:
        return OWN, iter

    def _forget_runs(self) -> None:
        super()._forget_runs()
        self._run: Run | None = None  # of an activated copy: the last that was started
        self._first_run: Run | None = None  # of its `stream_`
        self._setup: Setup | None = None  # of the next run, if it is known

    def _counted_copy(self) -> BaseMux:
        other: Any = super()._counted_copy()
        other._setup = self._setup  # which may be dear to make
        return other

    def __getstate__(self) -> tuple[dict, dict]:
        attributes, slots = super().__getstate__()
        del attributes["_run"], attributes["_first_run"], attributes["_setup"]
        return attributes, slots

    def _is_source(self) -> bool:
        return False

    def _chooses(self) -> bool:
        # (A function of weights, and streamers that are read lazily, are the user's.)
        is_listed = isinstance(self.streamers, list)
        return is_listed and not (self._has_own_iterate() or self._function is not None)

    def _parts(self) -> tuple[Any, ...]:
        return tuple(self.streamers) if isinstance(self.streamers, list) else (self.streamers,)

    def _remade(self, replaced: Callable) -> Any:
        other = copy.copy(self)
        if isinstance(self.streamers, list):
            other.streamers = [replaced(each) for each in self.streamers]
        return other

    def _part(self, index: int, count: int) -> Any:
        other = copy.copy(self)
        other.streamers = self.streamers[index::count]
        if self._function is not None:
            other._function = PartOfWeights(self._function, self.n_streams, index, count)
            other._weights = _validate.weights_at(other._function, 0, len(other.streamers))
        elif self._weights is not None:
            weights = self._weights[index::count]
            other._weights = _validate.weights(weights, len(other.streamers))
        other.part = _part_of(self.part, index, count)
        other._make_setup()  # which refuses shares that cannot be
        return other

    #: Of a part of another mux: the index of its first streamer there, and the step to the next.
    part: tuple[int, int] | None = None

    def _generators(self) -> tuple[Any, ...]:
        return (self.random_state,) if isinstance(self.random_state, GENERATORS) else ()

    def _weights_to_show(self) -> tuple[Any, Any]:
        return self._function, self._weights

    @property
    def n_streams(self) -> int:
        """The number of streamers."""
        return len(self.streamers)

    @property
    def weights(self) -> np.ndarray:
        """The weights of the streamers, which sum to one."""
        check_made(self)
        weights = self._weights
        if weights is None:
            weights = np.full(self.n_streams, 1 / self.n_streams)
        return np.frombuffer(weights.tobytes())  # which cannot be written to

    @property
    def rng(self) -> Any:
        """The random generator that ``random_state`` stands for."""
        check_made(self)
        return np.random if self._rng is None else self._rng

    _run_class: Callable[[Setup, Seed], Run]

    def _open_own(self, parent: Seed, place: int, number: int) -> Iterator:
        run = self._new_run(parent, place, number)
        items = run.items()
        positions.records[items] = run
        return items

    def _open_at(self, parent: Seed, place: int, number: int, position: Any) -> Iterator:
        if position == 0:
            return self._open_run(parent, place, number)
        if isinstance(position, int) and self._has_own_iterate():
            return super()._open_at(parent, place, number, position)
        if not isinstance(position, dict) or "setup" not in position:
            raise positions.misfit(self, "was of another kind when the state was taken")
        run = self._new_run(parent, place, number)
        positions.check_same(self, position["setup"], run.agreed())
        items = run.items_from(position) if position["n_items"] else run.items()
        positions.records[items] = run
        return items

    def _new_run(self, parent: Seed, place: int, number: int) -> Run:
        setup = self._setup
        if setup is None or setup.is_outdated():
            setup = self._setup = self._make_setup()
        seed = parent.child(place, number)
        _validate.depth("muxes", self, len(seed.display_path))
        run = self._run_class(setup, seed.owned_by(self.random_state))
        if self.stream_ is not None:  # an activated copy
            self._first_run, self._run = self._first_run or run, run
        return run

    def _make_setup(self, **more: Any) -> Setup:
        """Return what a run is made of, as it is now."""
        return Setup(
            mux=self,
            kind=type(self).__name__,
            streamers=self.streamers,
            n_streams=self.n_streams,
            weights=self._weights,
            weight_function=self._function,
            on_error=self.on_error,
            max_failures=self.max_failures,
            part=self.part,
            **more,
        )

    def _record(self, name: str) -> Run:
        if self._run is None:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}: only the copy that"
                " 'with mux as active' gives has it, inside the block"
            )
        try:
            self._run.fill()
        except BaseException:
            self._run.close()
            raise
        return self._run

    def _deactivate(self) -> None:
        super()._deactivate()
        assert self._first_run is not None
        self._first_run.close()
        self._run = self._first_run = None

    @property
    def streams_(self) -> list[Iterator]:
        """The open streams, one for each slot; on activated copies only."""
        return [stream for stream, _, _ in self._record("streams_").shown()]

    @property
    def stream_weights_(self) -> np.ndarray:
        """The weights of the open streams; on activated copies only."""
        run = self._record("stream_weights_")
        weights = self.weights if run.current_weights is None else run.current_weights
        is_open = set(run.places)
        shown = [weights[place] * (place in is_open) for _, place, _ in run.shown()]
        return np.array(shown, dtype=float)

    @property
    def stream_counts_(self) -> np.ndarray:
        """The numbers of items that the open streams have given; on activated copies only."""
        return np.array(
            [count for _, _, count in self._record("stream_counts_").shown()], dtype=int
        )


class StochasticMux(BaseMux):
    """Mix many streamers at random, with a few of them open at a time.

    ``n_active`` streams are open at a time. Each item comes from one of them, drawn at random by
    weight. A stream is closed when it ends, or when it reaches its limit of about ``rate`` items.
    Then a streamer for the next stream is chosen uniformly among those of positive weight. So the
    shares of the streamers drift towards equality. With ``weighting="share"``, they are the
    weights.

    Parameters
    ----------
    streamers : iterable
        What to mix: streamers, or iterables, which are wrapped in streamers. Also a generator
        function that yields them, or a Streamer of them, if their number is finite. Many millions
        of streamers can be a sequence that makes each one when it is opened: a class with
        ``__len__`` and ``__getitem__`` (derived from ``collections.abc.Sequence``, if it has
        ``__iter__`` too).
    n_active : int >= 1
        The number of streams that are open at a time. It may be larger than the number of
        streamers: in the modes ``"single_active"`` and ``"exhaustive"`` that means all.
    rate : float > 0 or None
        The mean limit of a stream: how many items it may give before it is replaced, at least 1.
        None: no limit.
    weights : array_like of float, shape (n_streams,), or callable, optional
        How likely the stream of each streamer is to be drawn, relative to the other open streams
        (but see ``weighting``). Finite, >= 0, at least one positive. A streamer of weight 0 is
        never opened. A function ``f(n_items)`` returns the weights from that item on: it is
        called at item 0 and every 1,000th item of a run, and when the mux is made.
    mode : {"with_replacement", "single_active", "exhaustive"}
        Which streamers may be opened. "with_replacement": any at any time, even twice at once.
        "single_active": each at most once at a time. "exhaustive": each once, and the mux ends when
        all have ended.
    prune_empty_streams : bool
        If true, a streamer whose activation gave nothing is not opened again in the run. If
        false, it may be; the mux ends when all candidates, one after the other, gave nothing.
    random_state : None, int >= 0, RandomState, Generator or SeedSequence
        Where a run gets its seed, once, when it starts. An integer always gives the same items.
        None takes the seed from the mux above, or from ``np.random``.
    dist : {"poisson", "constant", "binomial"}
        The distribution of the limits. The mean is ``rate`` in each case (for ``rate >= 1``).
        Poisson: 1 + Poisson(rate - 1). Constant: ``rate``, or one of the two whole numbers next
        to it. Binomial: 1 + Binomial(N, q) with variance ``rate * p``, where p is the probability
        that the slot is drawn. The variance is at most ``rate - 1``, as for Poisson, and at least
        the smallest that whole numbers with this mean can have. (Above a rate of 2**30, Poisson
        and binomial are rounded normal variables.)
    weighting : {"active", "share"}, optional
        What weights decide. None is "active", with a warning if shares may differ from weights.
        "active": which of the open streams is drawn. "share": which streamer is opened, so that the
        fraction of the items from streamer i is ``weights[i]``, for any ``n_active``, ``rate`` and
        ``dist``. Then a stream that ends before its limit is started again for the rest. "share"
        needs a ``rate``; in the mode ``"single_active"`` it needs shares of at most
        ``1 / n_active``; it does not work in the mode ``"exhaustive"``.
    on_error : {"raise", "replace", "retry"}
        What an error in a source does. "raise": it comes out of the mux, with a note that says
        which streamer failed. "replace": it is logged as a warning, and ends only that stream,
        which is replaced as after any other end. "retry": the source is opened again at the item at
        which it failed, as resuming does.
    max_failures : int >= 1
        With "replace": after how many failures in a run a streamer is left out. When none is left,
        the last error is raised. With "retry": after how many failures in a row at one item the mux
        does as with "replace". Before each try it waits: first 0.1 s, then twice as long each time,
        30 s at most. In the mode ``"exhaustive"`` a streamer is opened once, even if it fails.

    Attributes
    ----------
    streamers, n_streams, weights, random_state, rng
        See `BaseMux`.
    n_active, rate, mode, prune_empty_streams, dist, weighting, on_error, max_failures
        As given.

    Raises
    ------
    PescadorError
        If an argument is wrong, or ``streamers`` is empty. In a run, if a function returns wrong
        weights; the message names the item.

    See Also
    --------
    ShuffledMux : Keep every stream open.
    RoundRobinMux : Take turns in strict order.
    ChainMux : Read one streamer after the other.

    Notes
    -----
    The time for an item does not grow with the number of streamers, nor, with equal weights, with
    ``n_active``. With unequal weights, a replacement takes time logarithmic in ``n_active``, or in
    the number of streamers for ``weighting="share"``. The seed fixes every choice, also in every
    mux below this one.

    Examples
    --------
    >>> import pescador
    >>> streamers = [pescador.Streamer(range, 10 * k, 10 * k + 10) for k in range(5)]
    >>> mux = pescador.StochasticMux(streamers, 2, rate=4, random_state=0)
    >>> len(list(mux.iterate(max_iter=100)))
    100
    >>> epoch = pescador.StochasticMux(streamers, 2, rate=None, mode="exhaustive")
    >>> sorted(epoch) == list(range(50))
    True

    Nine of ten items come from the first streamer, although three streams are open at a time:

    >>> mux = pescador.StochasticMux(
    ...     [["a"] * 9, ["b"] * 99], 3, 8, [0.9, 0.1], weighting="share", random_state=0
    ... )
    >>> 8500 < sum(item == "a" for item in mux.iterate(10_000)) < 9500
    True

    The second streamer gives more and more, until each gives half of the items:

    >>> def curriculum(n_items):
    ...     return [1, min(n_items / 5000, 1)]
    >>> mux = pescador.ShuffledMux(["a", "b"], curriculum, random_state=0)
    >>> items = list(mux.iterate(10_000))
    >>> items[:1000].count("b"), 2000 < items[5000:].count("b") < 3000
    (0, True)
    """

    n_active: int = _parameter()
    rate: float | None = _parameter()
    mode: str = _parameter()
    prune_empty_streams: bool = _parameter()
    dist: str = _parameter()
    weighting: str = _parameter()

    def __init__(
        self,
        streamers: Any,
        n_active: int,
        rate: float | None,
        weights: Any = None,
        mode: str = "with_replacement",
        prune_empty_streams: bool = True,
        random_state: Any = None,
        *,
        dist: str = "poisson",
        weighting: str | None = None,
        on_error: str = "raise",
        max_failures: int = 3,
    ) -> None:
        super().__init__(
            streamers, weights, random_state, on_error=on_error, max_failures=max_failures
        )
        remedy = "give the number of streams to keep open"
        self.n_active = _validate.whole("n_active", n_active, 1, remedy, sys.maxsize)
        if rate is not None:
            remedy = "give the mean number of items of a stream, or None for no limit"
            rate = _validate.positive("rate", rate, remedy)
        self.rate = rate
        self.mode = _validate.option("mode", mode, STOCHASTIC_MODES)
        remedy = "give True to leave out streamers that gave nothing"
        self.prune_empty_streams = _validate.truth(
            "prune_empty_streams", prune_empty_streams, remedy
        )
        self.dist = _validate.option("dist", dist, DISTS)
        self.weighting = _validate.option(
            "weighting", "active" if weighting is None else weighting, WEIGHTINGS
        )
        self.is_weighting_given = weighting is not None  # else it may be an oversight
        if not self.is_weighting_given:
            self._warn_of_little_weight()
        self._setup = self._make_setup()  # which refuses shares that cannot be

    is_weighting_given = True  # of pickles that do not say it
    _READS_LAZILY = True

    @property
    def _run_class(self) -> Callable[[Setup, Seed], Run]:  # type: ignore[override]
        return LazyRun if isinstance(self.streamers, LazyStreamers) else StochasticRun

    _STANDS_FOR_NONE: ClassVar = {"weighting": "active"}

    def _warn_of_little_weight(self) -> None:
        """Warn if weights decide less than one might think, and could decide more."""
        if self._weights is None or self.rate is None or self.mode == "exhaustive":
            return
        positive = self._weights[self._weights > 0]
        if len(positive) > self.n_active and positive.min() < positive.max():
            which = f"(n_active={self.n_active}, of {len(positive)} streamers with a weight > 0)"
            rule = f": they choose only among the open streams {which}, so shares drift towards"
            shares = ' equality; give weighting="share" to make the weights the shares,'
            rest = f'{rule}{shares} or weighting="active" to keep it like this'
            warn("weights may decide little", rest)

    def __setstate__(self, state: tuple[dict, dict]) -> None:
        state[0].pop("_table", None)  # which pickles of earlier releases hold
        super().__setstate__(state)

    def _make_setup(self, **more: Any) -> Setup:
        table = None
        if self.weighting == "share":
            self._check_share()
            table = table_of_shares(self._weights, "weights", self.mode, self.n_active)
        names = ("n_active", "rate", "mode", "prune_empty_streams", "dist", "weighting")
        values = {name: getattr(self, name) for name in names}
        mean = self._mean_limit()
        return super()._make_setup(mean_limit=mean, table=table, agreed=names, **values, **more)

    def _check_share(self) -> None:
        if self.rate is None:
            rule = (
                'must be a number with weighting="share": without a rate, the lengths of the'
                " streams decide the shares"
            )
            remedy = "give the mean number of items of a stream"
            raise _validate.refuse("rate", self.rate, rule, remedy)
        if self.mode == "exhaustive":
            rule = 'reads every streamer once, so that weighting="share" cannot hold'
            remedy = 'choose "with_replacement", or weighting="active"'
            raise _validate.refuse("mode", self.mode, rule, remedy)

    def _mean_limit(self) -> float | None:
        """Return the mean number of items that a stream may give; None for no limit."""
        return self.rate


class ShuffledMux(BaseMux):
    """Keep every stream open, and draw items from them at random by weight.

    A stream that ends is started again; one that gave nothing is left out for the rest of the
    run. The mux ends when none is left.

    Parameters
    ----------
    streamers : iterable
        What to mix: streamers, or iterables, which are wrapped in streamers.
    weights : array_like of float, shape (n_streams,), or callable, optional
        The fractions of items that come from each streamer; their sum does not matter. Finite,
        >= 0, at least one positive. A streamer of weight 0 is not opened. A function ``f(n_items)``
        returns the weights from that item on: it is called at item 0 and every 1,000th item of
        a run, and when the mux is made.
    random_state : None, int >= 0, RandomState, Generator or SeedSequence
        Where a run gets its seed, once, when it starts.
    on_error : {"raise", "replace", "retry"}
        What an error in a source does. "raise": it comes out of the mux, with a note that says
        which streamer failed. "replace": it is logged as a warning, and ends only that stream,
        and its streamer is started again. "retry": the source is opened again at the item at
        which it failed, as resuming does.
    max_failures : int >= 1
        With "replace": after how many failures in a run a streamer is left out. When none is left,
        the last error is raised. With "retry": after how many failures in a row at one item the mux
        does as with "replace". Before each try it waits: first 0.1 s, then twice as long each time,
        30 s at most.

    Attributes
    ----------
    streamers, n_streams, weights, random_state, rng
        See `BaseMux`.
    on_error, max_failures
        As given.

    Raises
    ------
    PescadorError
        If an argument is wrong, or ``streamers`` is empty.

    See Also
    --------
    StochasticMux : Keep only some of them open.

    Notes
    -----
    The time for an item does not grow with the number of streamers, while none of them ends.

    Examples
    --------
    >>> import pescador
    >>> mux = pescador.ShuffledMux(["a", "b"], weights=[0.9, 0.1], random_state=0)
    >>> 850 < sum(item == "a" for item in mux.iterate(max_iter=1000)) < 950
    True
    """

    def __init__(
        self,
        streamers: Any,
        weights: Any = None,
        random_state: Any = None,
        *,
        on_error: str = "raise",
        max_failures: int = 3,
    ) -> None:
        super().__init__(
            streamers, weights, random_state, on_error=on_error, max_failures=max_failures
        )

    _run_class = ShuffledRun


class RoundRobinMux(BaseMux):
    """Take one item from each stream in turn, in strict order.

    A stream that ends is left out of the round. A pass ends when all streams have ended, or with
    the first one (``mode="shortest"``).

    Parameters
    ----------
    streamers : iterable
        What to mix: streamers, or iterables, which are wrapped in streamers.
    mode : {"exhaustive", "cycle", "permuted_cycle", "shortest"}
        What follows a pass. "exhaustive": nothing. "cycle": another pass. "permuted_cycle": another
        pass in a new random order; the first pass has a random order, too. "shortest": the mux ends
        at the turn of the first stream that has no more items (but a stream that fails, with
        ``on_error="replace"``, is left out). A pass that gives nothing ends the mux.
    random_state : None, int >= 0, RandomState, Generator or SeedSequence
        Where a run gets its seed, once, when it starts.
    on_error : {"raise", "replace", "retry"}
        What an error in a source does. "raise": it comes out of the mux, with a note that says
        which streamer failed. "replace": it is logged as a warning, and ends only that stream,
        which is left out for the rest of the pass. "retry": the source is opened again at the item
        at which it failed, as resuming does.
    max_failures : int >= 1
        With "replace": after how many failures in a run a streamer is left out. When none is left,
        the last error is raised. With "retry": after how many failures in a row at one item the mux
        does as with "replace". Before each try it waits: first 0.1 s, then twice as long each time,
        30 s at most.

    Attributes
    ----------
    streamers, n_streams, weights, random_state, rng
        See `BaseMux`.
    mode, on_error, max_failures
        As given.

    Raises
    ------
    PescadorError
        If an argument is wrong, or ``streamers`` is empty.

    Examples
    --------
    >>> import pescador
    >>> list(pescador.RoundRobinMux(["abc", "x"]))
    ['a', 'x', 'b', 'c']
    >>> list(pescador.RoundRobinMux(["abc", "x"], mode="shortest"))
    ['a', 'x', 'b']
    """

    mode: str = _parameter()

    def __init__(
        self,
        streamers: Any,
        mode: str = "exhaustive",
        random_state: Any = None,
        *,
        on_error: str = "raise",
        max_failures: int = 3,
    ) -> None:
        super().__init__(
            streamers, None, random_state, on_error=on_error, max_failures=max_failures
        )
        self.mode = _validate.option("mode", mode, ROUND_ROBIN_MODES)

    _run_class = RoundRobinRun

    def _make_setup(self, **more: Any) -> Setup:
        return super()._make_setup(mode=self.mode, agreed=("mode",), **more)


class ChainMux(BaseMux):
    """Read one streamer after the other.

    Parameters
    ----------
    streamers : iterable, generator function or Streamer
        What to read: streamers, or iterables, which are wrapped in streamers. A list or tuple is
        read at once. Anything else is read lazily, one streamer at a time, and again in every
        pass, so it may be endless. It may be empty.
    mode : {"exhaustive", "cycle"}
        What follows a pass: nothing, or another one. A pass that gives nothing ends the mux.
    random_state : None, int >= 0, RandomState, Generator or SeedSequence
        Where a run gets its seed, once, when it starts.
    on_error : {"raise", "replace", "retry"}
        What an error in a source does. "raise": it comes out of the mux, with a note that says
        which streamer failed. "replace": it is logged as a warning, and ends only that stream,
        and the next one is read. "retry": the source is opened again at the item at
        which it failed, as resuming does.
    max_failures : int >= 1
        With "replace": after how many failures in a run a streamer is left out. When none is left,
        the last error is raised. With "retry": after how many failures in a row at one item the mux
        does as with "replace". Before each try it waits: first 0.1 s, then twice as long each time,
        30 s at most.
        If streamers are read lazily, the failures of streamer number n of a pass are counted
        together in all passes. The last error is raised after 10,000 failures without an item
        between them.

    Attributes
    ----------
    streamers : list of Streamer, or object
        What is read; as given, if it is read lazily.
    n_streams : int or None
        The number of streamers; None if they are read lazily.
    random_state, rng
        See `BaseMux`.
    mode, on_error, max_failures
        As given.

    Raises
    ------
    PescadorError
        If an argument is wrong.

    Examples
    --------
    >>> import pescador
    >>> list(pescador.ChainMux([range(2), "ab"]))
    [0, 1, 'a', 'b']
    """

    mode: str = _parameter()

    def __init__(
        self,
        streamers: Any,
        mode: str = "exhaustive",
        random_state: Any = None,
        *,
        on_error: str = "raise",
        max_failures: int = 3,
    ) -> None:
        _refuse_disorder(streamers)
        self.reader = _reader_of(bounded(streamers))
        if isinstance(streamers, (list, tuple)):
            streamers = [as_streamer(each, index) for index, each in enumerate(streamers)]
        self._init_mux(streamers, None, random_state, on_error, max_failures)
        self.mode = _validate.option("mode", mode, CHAIN_MODES)

    @property
    def n_streams(self) -> int | None:  # type: ignore[override]
        """The number of streamers; None if they are read lazily."""
        return len(self.streamers) if isinstance(self.streamers, list) else None

    @property
    def weights(self) -> np.ndarray | None:  # type: ignore[override]
        """None: the streamers of a chain have no weights."""
        return None

    @property
    def stream_weights_(self) -> np.ndarray:
        """An array with a one for each open stream; on activated copies only."""
        return np.ones(len(self._record("stream_weights_").places))

    _run_class = ChainRun

    def _part(self, index: int, count: int) -> Any:
        if isinstance(self.streamers, list):
            return super()._part(index, count)
        if any(map(_draws, streamers_of(self.reader))):
            rule = "reads its streamers lazily, in an order that depends on the seed of the run,"
            rule += " and each part has another seed"
            remedy = "give the function that yields them a fixed number as a seed"
            raise _validate.refuse("mux", self, rule, remedy)
        other = copy.copy(self)
        other.streamers = other.reader = Streamer(every, self.reader, index, count)
        other.part = _part_of(self.part, index, count)
        return other

    def _make_setup(self, **more: Any) -> Setup:
        more |= {"mode": self.mode, "reader": self.reader, "agreed": ("mode",)}
        return super()._make_setup(**more)


_RATE_OF_1 = 256.0


class Mux(StochasticMux):
    """The mux of pescador 1.x and 2.0; use `StochasticMux` instead.

    Parameters
    ----------
    streamers : iterable
        What to mix.
    k : int >= 1
        The number of streams that are open at a time.
    rate : float > 0 or None
        A stream may give 1 + Poisson(rate) items; None for no limit.
    weights : array_like of float, shape (n_streams,), or callable, optional
        As for `StochasticMux`.
    with_replacement : bool
        If true, any streamer may be opened at any time.
    prune_empty_streams : bool
        As for `StochasticMux`.
    revive : bool
        Without replacement: whether a streamer may be opened again after its stream has ended.
    random_state : None, int >= 0, RandomState, Generator or SeedSequence
        Where a run gets its seed, once, when it starts.
    lam, pool_weights, prune_empty_seeds, seed_pool : object
        The older names of ``rate``, ``weights``, ``prune_empty_streams`` and ``streamers``.

    Raises
    ------
    PescadorError
        If an argument is wrong, or ``streamers`` is empty.

    Examples
    --------
    >>> import warnings
    >>> import pescador
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", DeprecationWarning)
    ...     mux = pescador.mux.Mux(["ab", "cd"], 2, with_replacement=False, rate=None)
    >>> sorted(mux)
    ['a', 'b', 'c', 'd']
    """

    def __init__(
        self,
        streamers: Any = DEPRECATED,
        k: Any = DEPRECATED,
        rate: float | None = _RATE_OF_1,
        weights: Any = None,
        with_replacement: bool = True,
        prune_empty_streams: bool = True,
        revive: bool = False,
        random_state: Any = None,
        lam: Any = DEPRECATED,
        *,
        pool_weights: Any = DEPRECATED,
        prune_empty_seeds: Any = DEPRECATED,
        seed_pool: Any = DEPRECATED,
    ) -> None:
        instead = "; use StochasticMux(streamers, n_active, rate, mode=...)"
        self._tell("Mux is deprecated", f" since pescador 2.0{instead}")
        rename = self._renamed
        streamers = rename("streamers", streamers, DEPRECATED, "seed_pool", seed_pool)
        rate = rename("rate", rate, _RATE_OF_1, "lam", lam)
        weights = rename("weights", weights, None, "pool_weights", pool_weights)
        prunes = rename(
            "prune_empty_streams", prune_empty_streams, True, "prune_empty_seeds", prune_empty_seeds
        )
        for name, value in (("streamers", streamers), ("k", k)):
            if value is DEPRECATED:
                raise TypeError(f"{type(self).__name__}() missing required argument: {name!r}")
        if rate is not None:
            remedy = "give the mean number of items of a stream, or None for no limit"
            rate = _validate.positive("rate", rate, remedy)
        remedy = "give True to allow any streamer at any time"
        self.with_replacement = _validate.truth("with_replacement", with_replacement, remedy)
        remedy = "give True to open streamers again that have ended"
        self.revive = _validate.truth("revive", revive, remedy)
        without = "single_active" if self.revive else "exhaustive"
        super().__init__(
            streamers,
            _validate.whole("k", k, 1, "give the number of streams to keep open"),
            rate,
            weights,
            "with_replacement" if self.with_replacement else without,
            prunes,
            random_state,
            weighting="active",  # the only one that it had
        )
        self.k = self.n_active

    def _renamed(self, name: str, value: Any, default: Any, old_name: str, old_value: Any) -> Any:
        """Return the value of a parameter that may have been given by its older name."""
        if old_value is DEPRECATED:
            return value
        if value is not default:
            raise _validate.refuse(old_name, old_value, f"is the same as {name}", f"give {name}")
        rest = " in pescador 2.0; the old name will be removed in 3.0"
        self._tell(f"The keyword {old_name!r} was renamed {name!r}", rest)
        return old_value

    def _tell(self, start: str, rest: str) -> None:
        warn(start, rest, DeprecationWarning)

    def _mean_limit(self) -> float | None:
        return None if self.rate is None else self.rate + 1


# What a mux is given.


def _collect(streamers: Any) -> list[Streamer]:
    """Return the streamers of a finite collection, in its order."""
    if not isinstance(streamers, (list, tuple)):
        streamers = _reader_of(bounded(streamers)).iterate()
    return [
        each if isinstance(each, Streamer) else as_streamer(each, index)
        for index, each in enumerate(streamers)
    ]


def _draws(streamer: Any) -> bool:
    """Tell whether what a streamer gives follows from the seed of a run."""
    given = (*streamer.args, *streamer.kwargs.values())
    return isinstance(streamer, BaseMux) or FRESH_SEED in given or bool(streamer._generators())


def _part_of(known: tuple[int, int] | None, index: int, count: int) -> tuple[int, int]:
    """Return which part of a mux a part of a part of it is."""
    first, step = known or (0, 1)
    return first + step * index, step * count


def _reader_of(streamers: Any) -> Streamer:
    """Return a streamer of what gives streamers."""
    try:
        return Streamer(streamers)
    except PescadorError as error:
        rule = "is not a collection of streamers"
        remedy = "give a list of streamers, or a generator function or a Streamer that gives them"
        raise _validate.refuse("streamers", streamers, rule, remedy) from error


def _refuse_disorder(streamers: Any) -> None:
    """Refuse what is no sequence of streamers, though it can be iterated."""
    _validate.ordered("streamers", streamers)
    if isinstance(streamers, (Mapping, str, bytes)):
        rule = f"a {type(streamers).__name__} is not a collection of streamers"
        remedy = "give a list of streamers (of a dict d, list(d.values()))"
        raise _validate.refuse("streamers", streamers, rule, remedy)
