"""Sources for the tests, at module level so that other processes can import them."""

import contextlib
import functools
import itertools
import multiprocessing
import pickle
import threading

import numpy as np

import pescador

TIMEOUT = 60  # seconds; only ever used up by a test that fails


# Generator functions.


def numbers(first, n_items):
    """Yield whole numbers from ``first`` on."""
    yield from range(first, first + n_items)


def records(first, n_items):
    """Yield dicts that hold whole numbers from ``first`` on."""
    for value in range(first, first + n_items):
        yield {"x": value}


def handed(*args, **kwargs):
    """Yield the very objects that were given as arguments."""
    yield args, kwargs


def nothing():
    """Yield nothing."""
    yield from ()


def each_of(values):
    """Yield the elements of a collection."""
    yield from values


@pescador.streamable
def streamed(first, n_items=3, *, step=1):
    """Count up, in steps."""
    yield from range(first, first + n_items * step, step)


# What wraps a generator function, in all the ways there are.


def plain_wrapper(function):
    """Decorate with a plain function that sets ``__wrapped__``."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@plain_wrapper
def wrapped(first, n_items):
    """Count up, behind a decorator."""
    yield from range(first, first + n_items)


class Counter:
    """A callable object with generator methods, which counts how often they were started."""

    def __init__(self, first=1):
        self.first = first
        self.n_started = 0

    def __call__(self, n_items):
        self.n_started += 1
        yield from range(self.first, self.first + n_items)

    def method(self, n_items):
        yield from self(n_items)

    @pescador.streamable
    def streamable_method(self, n_items):
        yield from self(n_items)

    @classmethod
    def class_method(cls, n_items):
        yield from cls()(n_items)

    @staticmethod
    def static_method(n_items):
        yield from Counter()(n_items)


# Iterables.


class Countdown:
    """An iterable whose instances start afresh for every loop."""

    def __init__(self, start, stop=0):
        self.start = start
        self.stop = stop

    def __iter__(self):
        return iter(range(self.start, self.stop, -1))


class OldSequence:
    """A sequence by ``__getitem__`` and ``__len__`` alone."""

    def __init__(self, *values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return self.values[index]


class Tenfold(pescador.Streamer):
    """A streamer of a user's own, which changes the items on their way."""

    def iterate(self, max_iter=None):
        for item in super().iterate(max_iter):
            yield 10 * item


# What happens to a source.


class Recorder:
    """Counts what happens to the sources that report to it."""

    def __init__(self):
        self.n_started = 0
        self.n_pulled = 0
        self.n_closed = 0
        self._lock = threading.Lock()

    @property
    def n_open(self):
        """The number of sources that have started and not been closed."""
        return self.n_started - self.n_closed

    def source(self, first=0, n_items=None, fails_after=None):
        """Yield dicts of whole numbers; fail with a KeyError after some of them."""
        with self._lock:
            self.n_started += 1
        try:
            values = itertools.count(first)
            for position, value in enumerate(itertools.islice(values, n_items)):
                if position == fails_after:
                    raise KeyError("the source failed")
                self.n_pulled += 1
                yield {"x": value}
        finally:
            with self._lock:
                self.n_closed += 1


class Uncopyable:
    """An object that refuses to be copied or pickled."""

    def __copy__(self):
        raise AssertionError("copied")

    def __deepcopy__(self, memo):
        raise AssertionError("deep-copied")

    def __reduce_ex__(self, protocol):
        raise AssertionError("pickled")


# Other processes.


def plain(item):
    """Return an item with its arrays made into lists, so that ``==`` compares it."""
    if isinstance(item, dict):
        return {key: plain(value) for key, value in item.items()}
    return item.tolist() if isinstance(item, (np.ndarray, np.generic)) else item


def first_items(iterable, n_items=20):
    """Return the first items of an iterable, and end its iteration."""
    return [plain(item) for item in itertools.islice(iterable, n_items)]


def _read_pickles(connection):
    with connection:
        pickles = connection.recv()
        connection.send({name: _read_pickle(data) for name, data in pickles.items()})


def _read_pickle(data):
    try:
        return first_items(pickle.loads(data))
    except Exception as error:  # shown by the comparison with the items that were expected
        return repr(error)


def read_in_child(start_method, pickles):
    """Return the first items of pickled iterables, unpickled and read in another process."""
    context = multiprocessing.get_context(start_method)
    ours, theirs = context.Pipe()
    child = context.Process(target=_read_pickles, args=(theirs,))
    with contextlib.closing(ours):
        with contextlib.closing(theirs):
            child.start()
        ours.send(pickles)
        assert ours.poll(TIMEOUT), "the process gave no answer"
        results = ours.recv()
    child.join(TIMEOUT)
    assert child.exitcode == 0
    child.close()
    return results
