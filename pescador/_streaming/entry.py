"""What a loop over a streamer reads."""

from __future__ import annotations

from itertools import chain
from types import GeneratorType
from typing import Any

from .stream import Stream


class Entry(chain):
    """A new stream, for the loop of one thread: ``for item in streamer``.

    A loop asks the object that ``iter()`` gave for each item. `Stream` answers by a method, which
    takes twice as long as a generator; this one answers in C, from the generator that
    ``iter(stream)`` returns. For everything else it stands for the stream, and goes with it.
    """

    __slots__ = ("__weakref__", "_stream")
    __class__ = property(lambda self: GeneratorType)  # as of streams

    def __new__(cls, stream: Stream) -> Entry:
        return super().__new__(cls, iter(stream))

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __iter__(self) -> Any:
        return iter(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __repr__(self) -> str:
        return repr(self._stream)

    def __enter__(self) -> Entry:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.close()


Stream.register(Entry)
