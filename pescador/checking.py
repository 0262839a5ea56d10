"""A dry run of a tree of streamers, which says what is probably wrong."""

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
    """Say what is probably wrong with a tree of streamers, before a long training.

    It reads a few items of every source, in this process, and looks at the muxes, maps and
    processes above them. It leaves nothing open, and starts no process.

    Parameters
    ----------
    streamer : Streamer
        The tree: what a training loop iterates over.
    n_items : int >= 1
        The largest number of items to read, from the stream and from each source. If a rate closes
        a source earlier, it reads only a few items more than the source may give (further only to
        find a ``rest-unreached``).
    seed : int in 0..2**32 - 1
        Decides which streamers of a large mux are read. During the check, it is also the seed of
        the global generators of NumPy and ``random``, and of every `FRESH_SEED`.
    n_sources : int >= 1, optional
        About how many sources to read: a sample of a mux that has more, and the first
        ``n_sources / 8`` of a mux that reads its streamers lazily. None: all.
    max_seconds : float > 0
        About how long it may take. It cannot interrupt a source that hangs: press Ctrl-C, and the
        error names the source.

    Returns
    -------
    tuple
        The findings, the worst first; empty when all is well. A finding is a named tuple:
        ``severity`` ("error", "warning" or "note"), ``kind`` (a short name, see Notes),
        ``place`` (the index of a streamer in the outermost mux, then in the mux there, and so
        on), ``streamer`` (as text), ``message``, ``remedy``, and ``others``: more places and
        streamers with the same finding. Print the tuple for a report. Its ``to_dict()`` is for
        JSON. Its ``without(kinds)`` and ``at_least(severity)`` leave findings out. ``n_sources`` is
        how many sources were read, ``n_left_out`` how many streamers were left out on purpose, and
        ``is_complete`` whether there was time to read everything.

    Raises
    ------
    PescadorError
        If an argument is wrong.

    Notes
    -----
    The kinds are:

    - ``"begins-alike"``: a source draws random numbers, and gives the same ones whenever it is
      opened; or it draws from a generator that is copied to a process.
    - ``"rest-unreached"``: a source always begins with the same items, and a rate closes it
      before the others.
    - ``"weights-decide-little"``: weights choose only among the open streams.
    - ``"n-active"``: more streams are open than there are streamers.
    - ``"never-read"``: a source has weight 0; or it comes after an endless stream in a chain; or
      endless streams take all slots of its mux. (A stream is known to be endless if its function
      ends in a ``while True`` that it cannot leave, or if it is a mux that begins again.)
    - ``"never-ends"``: a mux reads each of its streams to the end, and one of them is endless.
    - ``"shared-generator"``: several sources draw from one random generator.
    - ``"empty"``, ``"fails"``: a source gives nothing, or raises an error.
    - ``"not-read"``: there was no time to read some sources (a note, if the first item of each was
      read).
    - ``"one-shot"``: an iterator can be read only once. It is not read, and neither are streamers
      that need it.
    - ``"items-differ"``: a source has other keys, dtypes or shapes than most sources of its mux; or
      its dtypes change.
    - ``"few-for-a-batch"``: a `buffer_stream` gets too few items for one batch.
    - ``"cannot-cross"``: an item cannot go to another process.
    - ``"not-picklable"``: the start methods "spawn" and "forkserver" cannot send a streamer to a
      process (a note, if neither is used).
    - ``"costs-more"``: items of a process or worker take less than 5 microseconds to make.
    - ``"would-save"``: items of sources in the program take more than a millisecond to make.
    - ``"starts-often"``: a mux starts a process again and again, for few items each.

    The first item of every source is read before any source is read further. The sources share the
    time. No items are kept.

    Afterwards the streamer gives the same items as without a check. The generators of NumPy and
    ``random`` are reset, and so are generators among the arguments of sources, in their objects,
    and in the globals and closures of their functions. Other effects of a source remain: a file
    that it writes, a list that it empties.

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
