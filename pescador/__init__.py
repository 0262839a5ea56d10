"""Stream and mix numerical data for machine learning.

Layout, each module resting on those above it only:

- ``exceptions``, ``version``
- ``util``, ``_validate``, ``_callables``, ``_seeds``, ``_iterator``, ``_host``: they know no
  streamers
- ``_activation``: how a streamer gets its iterator
- ``core`` (with ``_stream``): streamers and streams
- ``maps`` (with ``_batch``): iterators over items;
  ``_sampling``: the arithmetic of muxing; ``_frames``, ``_shared``, ``_worker``, ``_channel``:
  arrays as bytes, shared memory, the life of a process, the socket to it
- ``_runs``, then ``_pool_runs`` and ``_turn_runs``: one run of a mux
- ``mux`` (with ``_stochastic_run``): the muxes; ``zmq_stream`` (with ``_transport``): background
  processes
- ``legacy`` (with ``_learner``): the interface of 0.1, which is imported on demand only
"""

from . import core, exceptions, maps, mux, util, zmq_stream
from .core import FRESH_SEED, Stream, Streamer, streamable
from .exceptions import DataError, PescadorError, WorkerError
from .maps import buffer_stream, cache, keras_tuples, tuples
from .mux import BaseMux, ChainMux, Mux, RoundRobinMux, ShuffledMux, StochasticMux
from .version import version as __version__
from .zmq_stream import ZMQStreamer

__all__ = [
    "FRESH_SEED",
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
    "ZMQStreamer",
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
    "zmq_stream",
]

_OLDER = {"BufferedStreamer", "StreamLearner", "buffer_batch", "buffer_streamer"}


def __getattr__(name: str) -> object:
    if name == "legacy":  # which few programs need
        from importlib import import_module

        return import_module(".legacy", __name__)
    if name in _OLDER:
        hint = f"; it is one of pescador.legacy: import pescador.legacy, then legacy.{name}"
    else:
        hint = ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
