"""Stream and mix numerical data for machine learning.

Layout, each module resting on those above it only:

- ``exceptions``, ``version``
- ``util``, ``_validate``, ``_callables``, ``_seeds``, ``_iterator``: they know no streamers
- ``core``: streamers and streams; ``maps`` (with ``_batch``): iterators over items;
  ``_sampling``: the arithmetic of muxing
- ``mux`` (with ``_runs``): the muxes
"""

from . import core, exceptions, maps, mux, util
from .core import Stream, Streamer, streamable
from .exceptions import DataError, PescadorError, WorkerError
from .maps import buffer_stream, cache, keras_tuples, tuples
from .mux import BaseMux, ChainMux, Mux, RoundRobinMux, ShuffledMux, StochasticMux
from .version import version as __version__

__all__ = [
    "BaseMux",
    "ChainMux",
    "DataError",
    "Mux",
    "PescadorError",
    "RoundRobinMux",
    "ShuffledMux",
    "StochasticMux",
    "Stream",
    "Streamer",
    "WorkerError",
    "__version__",
    "buffer_stream",
    "cache",
    "core",
    "exceptions",
    "keras_tuples",
    "maps",
    "mux",
    "streamable",
    "tuples",
    "util",
]
