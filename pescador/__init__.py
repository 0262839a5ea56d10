"""Stream and mix numerical data for machine learning.

ARCHITECTURE.md draws the plan of the package.
"""

from . import (
    _validate,
    checking,
    core,
    exceptions,
    maps,
    monitor,
    mux,
    parallel,
    sharding,
    util,
    zmq_stream,
)
from .checking import check
from .core import FRESH_SEED, Stream, Streamer, streamable
from .exceptions import DataError, PescadorError, WorkerError
from .maps import buffer_stream, cache, keras_tuples, tuples
from .monitor import Monitor, Report
from .mux import BaseMux, ChainMux, Mux, RoundRobinMux, ShuffledMux, StochasticMux
from .parallel import ParallelStreamer
from .sharding import shard
from .version import version as __version__
from .zmq_stream import ZMQStreamer

__all__ = [
    "FRESH_SEED",
    "BaseMux",
    "ChainMux",
    "DataError",
    "Monitor",
    "Mux",
    "ParallelStreamer",
    "PescadorError",
    "Report",
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
    "check",
    "checking",
    "core",
    "exceptions",
    "keras_tuples",
    "maps",
    "monitor",
    "mux",
    "parallel",
    "shard",
    "sharding",
    "streamable",
    "tuples",
    "util",
    "zmq_stream",
]

_ELSEWHERE = {
    name: f"it is one of pescador.legacy: import pescador.legacy, then legacy.{name}"
    for name in ("BufferedStreamer", "StreamLearner", "buffer_batch", "buffer_streamer")
}
_ELSEWHERE["PoissonMux"] = "it became pescador.StochasticMux(streamers, n_active, rate)"
_ELSEWHERE["batch_length"] = "it is pescador.util.batch_length"
_ELSEWHERE["buffered"] = (
    "give pescador.buffer_stream to a Streamer, Streamer(buffer_stream, streamer, n); the"
    " BufferedStreamer of 1.x is one of pescador.legacy: import pescador.legacy, then"
    " legacy.buffered"
)


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "legacy":  # which few programs need
        return import_module(".legacy", __name__)
    raise _validate.missing_from(__name__, name, _ELSEWHERE)
