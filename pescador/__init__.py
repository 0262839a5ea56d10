"""Stream and mix numerical data for machine learning.

ARCHITECTURE.md draws the plan of the package.
"""

from . import core, exceptions, maps, mux, parallel, util, zmq_stream
from .core import FRESH_SEED, Stream, Streamer, streamable
from .exceptions import DataError, PescadorError, WorkerError
from .maps import buffer_stream, cache, keras_tuples, tuples
from .mux import BaseMux, ChainMux, Mux, RoundRobinMux, ShuffledMux, StochasticMux
from .parallel import ParallelStreamer
from .version import version as __version__
from .zmq_stream import ZMQStreamer

__all__ = [
    "FRESH_SEED",
    "BaseMux",
    "ChainMux",
    "DataError",
    "Mux",
    "ParallelStreamer",
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
    "parallel",
    "streamable",
    "tuples",
    "util",
    "zmq_stream",
]

_OLDER = {"BufferedStreamer", "StreamLearner", "buffer_batch", "buffer_streamer"}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "legacy":  # which few programs need
        return import_module(".legacy", __name__)
    if name in _OLDER:
        hint = f"; it is one of pescador.legacy: import pescador.legacy, then legacy.{name}"
    else:
        hint = ""
    text = f"module {__name__!r} has no attribute {name!r}{hint}"
    raise AttributeError(text, name=name, obj=import_module(__name__))
