"""Stands in for Ray, in this process: actors are objects, calls run in threads.

Answers come late and in any order; actors die, with what they have not told, when chance says so.
"""

import contextlib
import pickle
import random
import threading
import types
from concurrent.futures import ThreadPoolExecutor

from _sources import TIMEOUT

from pescador._openers import actors, host


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class ActorDiedError(RayError):
    pass


class ObjectLostError(RayError):
    pass


class Ref:
    """The answer to a call, or something that was put."""

    def __init__(self, ray, owner=None):
        self._ray, self.owner = ray, owner
        self.is_there, self.value, self.error = False, None, None

    def set(self, value=None, error=None):
        with self._ray.condition:
            if not self.is_there:
                self.is_there, self.value, self.error = True, value, error
                self._ray.condition.notify_all()


class Handle:
    """An actor."""

    def __init__(self, ray, cls, args, options):
        self._ray, self.options = ray, options
        self.is_alive, self.refs = ray.has_room(), []
        self.is_pending = not self.is_alive
        self._pool = ThreadPoolExecutor(options["max_concurrency"])
        self.instance = cls(*args)

    def __getattr__(self, name):
        return types.SimpleNamespace(remote=lambda *args: self._call(name, args))

    def _call(self, name, args):
        ref = Ref(self._ray, self)
        if self.is_pending:
            return ref
        if not self.is_alive:
            ref.set(error=ActorDiedError("it is dead"))
            return ref
        self.refs.append(ref)
        args = [each.value if isinstance(each, Ref) else each for each in args]
        self._pool.submit(self._run, ref, name, args)
        return ref

    def _run(self, ref, name, args):
        self._ray.pause()
        try:
            value = getattr(self.instance, name)(*args)
        except BaseException as error:
            ref.set(error=RayTaskError(error))
            return
        if not self.is_alive:  # it died in the meantime
            self._stop()
        self._ray.pause()
        if name == "pull" and self._ray.chance() < self._ray.death:
            self._ray.n_deaths += 1
            self.die()
        if name == "pull" and self._ray.chance() < self._ray.loss:
            self._ray.n_deaths += 1
            ref.set(error=ObjectLostError("its node is gone"))
        ref.set(value if self.is_alive else None, None if self.is_alive else ActorDiedError("died"))

    def die(self, error=None):
        self.is_alive = False
        for ref in self.refs:
            ref.set(error=error or ActorDiedError("it was killed"))
        self._stop()
        self._pool.shutdown(wait=False)

    def _stop(self):
        with contextlib.suppress(AttributeError):  # it may not have begun
            self.instance._outbox.close()
            self.instance._bench.stop()

    def wait(self):
        """Wait until nothing of it runs."""
        self._pool.shutdown(wait=True)
        for thread in getattr(self.instance, "_threads", ()):
            thread.join(TIMEOUT)


class Ray:
    """What is used of the module."""

    def __init__(self, seed=0, death=0.0, loss=0.0, delay=0.0, room=1000, pickles=True):
        self.death, self.loss, self.delay, self.room = death, loss, delay, room
        self.pickles = pickles
        self.n_deaths, self.handles, self.is_up = 0, [], True
        self.condition = threading.Condition()
        self._rng, self._lock = random.Random(seed), threading.Lock()
        self.cloudpickle = types.SimpleNamespace(dumps=pickle.dumps)
        self.exceptions = types.SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def chance(self):
        with self._lock:
            return self._rng.random()

    def pause(self):
        if self.delay:
            threading.Event().wait(self.chance() * self.delay)

    def has_room(self):
        return sum(each.is_alive for each in self.handles) < self.room

    def is_initialized(self):
        return self.is_up

    def put(self, value):
        if self.pickles:
            pickle.dumps(value)
        ref = Ref(self)
        ref.set(value)
        return ref

    def remote(self, **options):
        def of_class(cls):
            return types.SimpleNamespace(remote=lambda *args: self._start(cls, args, options))

        return of_class

    def _start(self, cls, args, options):
        self.handles.append(Handle(self, cls, args, options))
        return self.handles[-1]

    def wait(self, refs, num_returns=1, timeout=None):
        assert len(set(map(id, refs))) == len(refs) >= num_returns > 0
        with self.condition:
            self.condition.wait_for(
                lambda: sum(each.is_there for each in refs) >= num_returns, timeout
            )
            ready = [each for each in refs if each.is_there]
        self._rng.shuffle(ready)
        ready = ready[:num_returns]
        return ready, [each for each in refs if each not in ready]

    def get(self, ref):
        with self.condition:
            self.condition.wait_for(lambda: ref.is_there)
        if ref.error is not None:
            raise ref.error
        return ref.value

    def kill(self, handle):
        handle.die()

    def cluster_resources(self):
        return {"CPU": float(self.room)}


@contextlib.contextmanager
def ray_in(monkeypatch, **options):
    """Let actors be of this kind; in this process, they leave its warnings and generators alone."""
    ray = Ray(**options)
    monkeypatch.setattr(actors, "_started_ray", lambda: ray)
    monkeypatch.setattr(host, "heard", lambda *_: host.deque())
    monkeypatch.setattr(host, "fresh_generators", lambda: None)
    monkeypatch.setattr(host.Generators, "enter", lambda *_: None)
    try:
        yield ray
    finally:
        alive = [each for each in ray.handles if each.is_alive]
        for each in alive:
            each.die()
        for each in ray.handles:
            each.wait()
        assert not alive, "actors are left"
