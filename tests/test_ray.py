"""ParallelStreamer on a real cluster of Ray: a few of the tests that `openers/test_actors` has."""

import importlib.util
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from _parallel_sources import TREES, items, several, slow
from _trees import read, tree

from pescador import (
    ChainMux,
    Monitor,
    ParallelStreamer,
    PescadorError,
    StochasticMux,
    Streamer,
    WorkerError,
    ZMQStreamer,
    buffer_stream,
)

pytestmark = [
    pytest.mark.full,
    # (It must not be imported before the cluster has set its environment.)
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
    # (Ray leaves sockets and files to the collector.)
    pytest.mark.filterwarnings("ignore"),
]

N = 300


@pytest.fixture(scope="module")
def cluster():
    from _ray_cluster import RayCluster

    made = RayCluster()
    made.start()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def _leaves_nothing(cluster):
    """Leave no actor behind. (Ray itself keeps descriptors and threads.)"""
    yield
    assert cluster.no_actor_is_left()


def plain(item):
    return {key: np.asarray(value).tolist() for key, value in item.items()}


def take(streamer, n_items=N):
    with streamer.iterate(n_items) as stream:
        return list(map(plain, stream))


def on_ray(streamer, n_workers=3, **options):
    return ParallelStreamer(streamer, n_workers, backend="ray", **options)


@pytest.mark.parametrize("name", TREES)
def test_the_same_items(cluster, name):
    assert take(on_ray(TREES[name]())) == take(TREES[name]())


@pytest.mark.parametrize("number", range(4))
def test_random_trees(cluster, number):
    threads = 1 + number % 2
    assert read(on_ray(tree(number), 2, threads_per_worker=threads).cycle()) == read(
        tree(number).cycle()
    )


def test_a_state_goes_everywhere(cluster):
    make = TREES["stochastic"]
    expected = take(make())
    with on_ray(make()).iterate(N) as stream:
        first = [plain(item) for item in itertools.islice(stream, 100)]
        state = json.loads(json.dumps(stream.state_dict()))
    for other in (make(), on_ray(make(), 1), ZMQStreamer(make(), start_method="spawn")):
        with other.resume(state) as stream:
            assert first + list(map(plain, stream)) == expected


def slow_mux():
    return StochasticMux(several(20, slow, 30, 0.002), 8, 20, random_state=1)


def with_faults(cluster, fault, at=(100, 300, 500), n_items=800):
    """Read a tree, with a fault after some of its items."""
    found = []
    with on_ray(slow_mux(), item_timeout=60).iterate(n_items) as stream:
        for number, item in enumerate(stream):
            found.append(plain(item))
            if number in at:
                fault()
    assert found == take(slow_mux(), n_items)


def test_actors_that_are_killed_from_outside(cluster, caplog):
    caplog.set_level(logging.WARNING, "pescador")
    with_faults(cluster, lambda: os.kill(cluster.actors()[0], signal.SIGKILL))
    lost = [each.getMessage() for each in caplog.records if "is lost" in each.getMessage()]
    assert len(lost) == 3 and all("process" in each for each in lost)


def test_a_node_that_is_removed(cluster):
    with_faults(cluster, lambda: cluster.remove(cluster.nodes[-1]), at=(200,))
    cluster.nodes.append(cluster.add_node())


def deadly(who):
    yield {"who": who}
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_source_that_kills_its_actors(cluster):
    with on_ray(ChainMux([Streamer(deadly, 7)]), 1).iterate() as stream:
        next(stream)
        with pytest.raises(
            WorkerError,
            match=r"3 workers in a row ended at the same item, after 1 item of .*deadly",
        ):
            next(stream)


def stuck(who):
    yield {"who": who}
    time.sleep(600)


def test_a_source_that_hangs(cluster):
    with on_ray(ChainMux([Streamer(stuck, 7)]), 1, item_timeout=2, timeout=0.2).iterate() as stream:
        next(stream)
        with pytest.raises(WorkerError, match=r"no item came from it in 2\.0 s") as caught:
            next(stream)
    assert isinstance(caught.value, TimeoutError)


def test_a_silent_node(cluster):
    """Its processes stand still: Ray says so after a minute only."""
    stopped = []

    def silence():
        pid = cluster.actors()[0]
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)

    found = []
    try:
        with on_ray(slow_mux(), item_timeout=5, timeout=0.5).iterate(400) as stream:
            for number, item in enumerate(stream):
                found.append(plain(item))
                if number == 100:
                    silence()
    finally:
        for pid in stopped:
            if pid in cluster.actors():
                os.kill(pid, signal.SIGCONT)
    assert found == take(slow_mux(), 400)


def failing_init():
    raise OSError("no such database")


def test_an_error_of_worker_init(cluster):
    with pytest.raises(OSError, match="no such database"):
        take(on_ray(slow_mux(), worker_init=failing_init))


def test_a_module_that_is_missing_there(cluster, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def source():\n    yield {'x': 1}\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    with pytest.raises(WorkerError, match=r"only_here.*runtime_env"):
        take(on_ray(ChainMux([Streamer(only_here.source)])))


def test_resources_that_never_come(cluster):
    wanted = on_ray(slow_mux(), start_timeout=3, ray_remote_args={"num_cpus": 1000})
    with pytest.raises(WorkerError, match=r"'num_cpus': 1000.*'CPU': 6\.0") as caught:
        take(wanted)
    assert isinstance(caught.value, TimeoutError)


class Broken(Exception):
    """An error of a module that is there."""


def failing():
    yield from items(1, 2)
    raise StopAsyncIteration("here", 3)


def test_errors_are_values(cluster):
    with on_ray(ChainMux([Streamer(failing)])).iterate() as stream:
        next(stream), next(stream)
        with pytest.raises(StopAsyncIteration) as caught:
            next(stream)
    assert caught.value.args == ("here", 3)


def big(who):
    for count in range(40):
        yield {"x": np.full(2**18, who + count, np.float64)}  # 2 MiB


def test_nothing_is_spilled_however_slow_the_reader_is(cluster):
    mux = StochasticMux([Streamer(big, 100 * who) for who in range(6)], 6, None, random_state=1)
    with on_ray(mux, max_bytes=2**25).iterate(200) as stream:
        for number, item in enumerate(stream):
            assert item["x"].flags.writeable
            if number % 50 == 0:
                time.sleep(1)  # what is made ahead is all there
    assert not cluster.spilled()


PROGRAM = """
import os, signal, sys, ray, pescador
from _parallel_sources import several, slow

ray.init(address=sys.argv[1], log_to_driver=False)
mux = pescador.StochasticMux(several(20, slow, 30, 0.002), 8, 20, random_state=1)
stream = pescador.ParallelStreamer(mux, 2, backend="ray").iterate()
for _ in range(50):
    next(stream)
print("running", flush=True)
{end}
"""
ENDS = {
    "its last line": "",
    "sys.exit": "sys.exit(3)",
    "an error": "raise ValueError",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "os._exit": "os._exit(4)",
}


@pytest.mark.parametrize("end", ENDS)
def test_however_the_program_ends_no_actor_is_left(cluster, end):
    code = textwrap.dedent(PROGRAM).format(end=ENDS[end])
    done = subprocess.run(
        [sys.executable, "-c", code, cluster.address],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout == "running\n", done.stderr
    assert cluster.no_actor_is_left(60)


def batches():
    return Streamer(buffer_stream, on_ray(TREES["stochastic"](), 1), 8)


def test_inside_a_task_and_an_actor(cluster):
    import ray

    expected = take(Streamer(buffer_stream, TREES["stochastic"](), 8), 20)

    @ray.remote
    class Reader:
        def read(self, streamer):
            return take(streamer, 20)

    assert ray.get(ray.remote(take).remote(batches(), 20), timeout=100) == expected
    assert ray.get(Reader.remote().read.remote(batches()), timeout=100) == expected


def test_inside_a_worker_of_ray_train(cluster, tmp_path):
    try:
        from ray.train import ScalingConfig
        from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
    except ImportError:
        pytest.skip("ray[train] is not installed")
    from ray.train import RunConfig

    expected = take(Streamer(buffer_stream, TREES["stochastic"](), 8), 20)
    target = tmp_path / "items.json"

    def train(config):
        Path(config["target"]).write_text(json.dumps(take(batches(), 20)))

    DataParallelTrainer(
        train,
        train_loop_config={"target": str(target)},
        scaling_config=ScalingConfig(num_workers=1),
        run_config=RunConfig(storage_path=str(tmp_path), name="test"),
    ).fit()
    assert json.loads(target.read_text()) == expected


def test_a_monitor_counts_the_same(cluster):
    """Muxes run in the program, and shares are counted there."""
    reports = []
    for streamer in (slow_mux(), on_ray(slow_mux())):
        with Monitor(streamer.iterate(200)) as monitor:
            for _ in monitor:
                pass
        reports.append(monitor.report())
    here, there = ([row[:-1] for row in report.sources] for report in reports)
    assert there == here
    assert reports[1].waited <= reports[1].seconds


def test_without_a_cluster(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(PescadorError, match=r"ray\.init\(\)"):
        take(on_ray(slow_mux()))
