"""How much is searched: the examples of Hypothesis, and searches that last as long as they may."""

import contextlib
import os
import secrets
import signal
import time
from pathlib import Path

import numpy as np
from _leaks import LeakGuard
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

LIMIT = 300  # seconds, for one seed: only ever used up by one that hangs
_QUICK = 20  # examples at most
_ROOT = Path(__file__).resolve().parents[1]
_profile = "quick"


def load_profile(config):
    """Choose how much Hypothesis searches, by what else is chosen to run."""
    global _profile
    chosen = config.option.markexpr
    if "not nightly" in chosen:
        _profile = "quick" if "not full" in chosen else "full"
    elif "nightly" in chosen:
        _profile = "nightly"
    else:
        _profile = "full"


def examples(n):
    """Return the settings of a test: ``n`` examples in the full suite.

    By default there are 20 at most. A nightly search has five times as many, different ones each
    time, and begins with those that have failed before.
    """
    if _profile == "nightly":
        database = DirectoryBasedExampleDatabase(_ROOT / ".hypothesis" / "examples")
        # (Hypothesis itself would search at random nowhere but outside of CI.)
        more = {"derandomize": False, "database": database, "print_blob": True}
        return settings(max_examples=5 * n, deadline=None, **more)
    most = min(n, _QUICK) if _profile == "quick" else n
    return settings(max_examples=most, deadline=None, derandomize=True, database=None)


class Search:
    """Calls a check with one fresh seed after the other, for its share of the time."""

    def __init__(self, request):
        self._node = request.node
        self._seed = request.config.option.seed
        n_searches = sum("search" in each.fixturenames for each in request.session.items)
        n_processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
        self._seconds = 60 * request.config.option.minutes * n_processes / n_searches

    def __call__(self, check):
        """Call ``check(rng)`` until the time is over, or it fails or leaves something behind."""
        if self._seed is not None:
            return self._try(check, self._seed)
        end, n_tried = time.monotonic() + self._seconds, 0
        while not n_tried or time.monotonic() < end:
            self._try(check, secrets.randbits(32))
            n_tried += 1
        self._node.user_properties.append(("seeds", n_tried))

    def _try(self, check, seed):
        guard = LeakGuard()
        try:
            with _time_limit():
                check(np.random.default_rng(seed))
            assert guard.leaked() == []
        except (Exception, _Hangs) as error:
            name = self._node.nodeid.partition("@")[0]
            raise AssertionError(
                f"seed {seed} fails. To repeat it:\n"
                f'python -m pytest -n 0 -m nightly "{name}" --seed {seed}'
            ) from error


class _Hangs(BaseException):
    """(No mux takes it for the failure of a source.)"""


@contextlib.contextmanager
def _time_limit():
    def stop(number, frame):
        raise _Hangs

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
