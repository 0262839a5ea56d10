"""Measure cases in one interpreter, on request: a JSON list a line in, nanoseconds a line out.

A request is [name of a case, its arguments, items to read first, items to time].
"""

import gc
import itertools
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cases


def drain(iterator, n_items):
    """Read (at most) so many items, in the way that costs least."""
    for _ in itertools.islice(iterator, n_items):
        pass


def measure(name, arguments, n_first, n_items):
    """Return the nanoseconds an item takes, once ``n_first`` have been read.

    A case is an iterator, or a function that reads so many items, from the start.
    """
    iterator = getattr(cases, name)(*arguments)
    if callable(iterator):
        iterator(n_first)
        gc.collect()
        start = time.perf_counter()
        iterator(n_items)
        return (time.perf_counter() - start) / n_items * 1e9
    drain(iterator, n_first)
    gc.collect()  # (else it may pass over a million new streamers in the middle, or may not)
    start = time.perf_counter()
    drain(iterator, n_items)
    elapsed = time.perf_counter() - start
    iterator.close()
    return elapsed / n_items * 1e9


def main():
    for line in sys.stdin:
        print(measure(*json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
