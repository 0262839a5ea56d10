"""A dry run of a tree of streamers, which tells what is likely to be wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from . import _validate
from .core import Streamer, check_made

__all__ = ["check"]

_MOST_SEED = 2**32 - 1


def check(
    streamer: Any,
    n_items: int = 1000,
    seed: int = 0,
    *,
    n_sources: int | None = 256,
    max_seconds: float = 5.0,
) -> tuple:
    """Tell what is likely to be wrong with a tree of streamers, before a night of training.

    The sources of the tree are opened and read a little, here in the program, and the muxes, maps
    and processes above them are looked at. Nothing is left open, and no process is started.

    Parameters
    ----------
    streamer : Streamer
        The tree: what a training loop iterates over.
    n_items : int >= 1
        How many items to read at most: of the stream, and of each source. Of a source that a
        rate closes, only as many are read as it may give until then, and a few more.
    seed : int in 0..2**32 - 1
        Chooses which streamers of a large mux are looked at, and fixes what sources draw meanwhile
        from the global generators of NumPy and ``random`` and from `FRESH_SEED`.
    n_sources : int >= 1, optional
        About how many sources to look at: of a mux with more of them a sample, and of one that is
        read lazily the first, eight times fewer. None: all.
    max_seconds : float > 0
        About how long it may take. A source that hangs in an item is waited for; Ctrl-C then
        tells which one it is.

    Returns
    -------
    tuple
        The findings, the worst first; empty when all is well. A finding is a named tuple:
        ``severity`` ("error", "warning" or "note"), ``kind`` (a short name, see Notes),
        ``place`` (the index of a streamer in the outermost mux, then in the mux there, and so
        on), ``streamer`` (as text), ``message``, ``remedy``, and ``others``: the places and
        streamers of which the same is to say. Printed, the tuple is a report; its ``to_dict()`` is
        for JSON, and its ``without(kinds)`` and ``at_least(severity)`` are parts of it.
        ``n_sources`` is how many sources were read, ``n_left_out`` how many streamers were left out
        on purpose, ``is_complete`` whether there was time to read as far as was asked for.

    Raises
    ------
    PescadorError
        If an argument is wrong.

    Notes
    -----
    The kinds are:

    - ``"begins-alike"``: a source draws at random, and begins with the same items whenever it is
      opened; or it draws from a generator that is copied to a process.
    - ``"rest-unreached"``: a source always begins with the same items, and a rate closes it
      before it gets to the others.
    - ``"weights-decide-little"``: weights choose among the open streams only.
    - ``"n-active"``: more streams are open than there are streamers.
    - ``"never-read"``: its weight is 0; or the stream before it in a chain never ends; or all slots
      of the mux are taken by endless streams. (Only those are known for endless that end in a
      ``while True`` without a way out, and muxes that begin again.)
    - ``"never-ends"``: an endless stream among others, in a mux that reads each to its end.
    - ``"shared-generator"``: a random generator that several sources draw from.
    - ``"empty"``, ``"fails"``: a source without an item, or with an error.
    - ``"not-read"``: sources that there was no time for; a note, if it was for one item of each.
    - ``"one-shot"``: an iterator that can be read only once. It is not read, nor what needs it.
    - ``"items-differ"``: keys, dtypes or shapes that most other sources of a mux do not have; or a
      source whose dtypes change.
    - ``"few-for-a-batch"``: a `buffer_stream` that gets too few items for one batch.
    - ``"cannot-cross"``, ``"not-picklable"``: what cannot go to another process, and what the start
      methods "spawn" and "forkserver" cannot send there; a note, where neither is used.
    - ``"costs-more"``: a process or worker whose items take less than 5 microseconds to make.
    - ``"would-save"``: sources without one whose items take more than a millisecond.
    - ``"starts-often"``: a mux that starts a process again and again, for few items each.

    Every source is opened for its first item before any is read on, and time is shared out among
    them. No items are kept.

    The streamer gives the same afterwards as it would have: the generators of NumPy and ``random``
    are put back, and so are those among the arguments of sources, in their objects, and in the
    globals and closures of their functions. What else a source does when it is read, stays done:
    a file that it writes, a list that it empties.

    Examples
    --------
    >>> import numpy as np
    >>> import pescador
    >>> def noisy(label, seed):
    ...     rng = np.random.default_rng(seed)
    ...     while True:
    ...         yield {"X": rng.normal(size=3), "Y": label}
    >>> def mixture(seed):
    ...     streamers = [pescador.Streamer(noisy, label, seed) for label in range(5)]
    ...     return pescador.StochasticMux(streamers, 2, rate=16)
    >>> pescador.check(mixture(pescador.FRESH_SEED))
    no findings; 5 sources read
    >>> for finding in pescador.check(mixture(7)):
    ...     print(finding.kind, finding.remedy)
    begins-alike give pescador.FRESH_SEED in place of seed=7
    """
    from ._checking.run import run  # few programs need it

    if not isinstance(streamer, Streamer):
        rule, remedy = "is not a streamer", "give the streamer itself, or Streamer(iterable)"
        if isinstance(streamer, Iterator) and type(streamer).__module__.startswith(__package__):
            rule, remedy = "is a stream, not a streamer", "give the streamer that it came from"
        raise _validate.refuse("streamer", streamer, rule, remedy)
    check_made(streamer)
    n_items = _validate.whole("n_items", n_items, 1, "give how many items to read at most")
    seed = _validate.whole("seed", seed, 0, "give a number, 0 for instance", _MOST_SEED)
    remedy = "give how many sources to look at, or None for all"
    n_sources = _validate.whole_or_none("n_sources", n_sources, 1, remedy)
    max_seconds = _validate.positive("max_seconds", max_seconds, "give seconds")
    return run(streamer, n_items, seed, n_sources or sys.maxsize, max_seconds)
