"""Sources and helpers for the tests; other processes can import them."""

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


# The ways to leave a stream, each after an item or two.


def _close(streamer):
    stream = streamer.iterate()
    next(stream)
    stream.close()


def _close_cycle(streamer):
    stream = streamer.cycle()
    next(stream)
    stream.close()


def _break(streamer):
    for _ in streamer:
        break


def _break_cycle(streamer):
    for _ in streamer.cycle():
        break


def _delete(streamer):
    stream = streamer.iterate()
    next(stream)
    del stream


def _fail(streamer):
    with contextlib.suppress(ZeroDivisionError):
        for _ in streamer:
            1 / 0


def _leave_block(streamer):
    with streamer.iterate() as stream:
        next(stream)


def _leave_activated(streamer):
    with streamer as active:
        next(active.stream_)


def _limit(streamer):
    assert len(list(streamer.iterate(2))) == 2


def _slice(streamer):
    assert len(list(itertools.islice(streamer, 2))) == 2


WAYS_OUT = {
    "close": _close,
    "close a cycle": _close_cycle,
    "break": _break,
    "break a cycle": _break_cycle,
    "delete": _delete,
    "error": _fail,
    "block": _leave_block,
    "activated copy": _leave_activated,
    "limit": _limit,
    "slice": _slice,
}


# Threads.


def within(seconds, function, *args):
    """Return what a function returns, or fail if that takes too long."""
    results, errors = [], []

    def work():
        try:
            results.append(function(*args))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    if errors:
        raise errors[0]
    return results[0]


def run_together(*functions):
    """Call functions in a thread each, at the same time; return the errors they raised."""
    barrier = threading.Barrier(len(functions))
    errors = []

    def work(function):
        barrier.wait(TIMEOUT)
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(each,), daemon=True) for each in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    return errors


def read_together(stream, readers):
    """Return what each of several threads got out of one stream."""
    got = [[] for _ in readers]
    works = [functools.partial(read, stream, mine) for read, mine in zip(readers, got)]
    assert run_together(*works) == []
    return got


def by_for(stream, mine):
    for item in stream:
        mine.append(item)


def by_next(stream, mine):
    while True:
        try:
            mine.append(next(stream))
        except StopIteration:
            return


def _by_short_loops(stream, mine):
    while before := len(mine) + 1:
        for item in stream:
            mine.append(item)
            break
        if len(mine) < before:
            return


def _by_list(stream, mine):
    mine += list(stream)


READERS = {
    "for": [by_for] * 4,
    "next": [by_next] * 4,
    "short loops": [_by_short_loops] * 4,
    "mixed": [by_for, by_next, _by_short_loops, _by_list],
}


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
