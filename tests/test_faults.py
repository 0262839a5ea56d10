"""What happens when things go wrong around background processes.

Each fault has a program in `_fault_programs`; those that disturb nothing else share a process.
Four run at a time, before the first test looks at what came of them. No program may outlast its
time, leave a process or a temporary file, or print anything beyond the one line in which it tells
what it saw.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

if not Path("/proc/self/stat").exists():
    pytest.skip("who is alive is looked up in /proc", allow_module_level=True)

import _fault_programs
from _fault_programs import relatives

METHODS = ("fork", "spawn", "forkserver")
PICKLING = ("spawn", "forkserver")

LIMIT = 120  # seconds for one program; only ever used up by one that hangs
LIMIT_OF_CALL = 20  # more for each call that a program makes
N_AT_ONCE = 4
N_BY_DEFAULT = 1  # arguments of a test whose programs share no process, in the default run
SLACK = 1.5  # seconds more than promised, on a machine that is quick
SLACK_IN_STARTS = 4  # the same on any: so many times what the slowest program took to start
NOTICE = 1  # seconds until a death is noticed
ORPHAN = 2  # until a process without a consumer is gone, or a consumer that exits

_TESTS = Path(__file__).parent
_MAIN = "import _fault_programs; _fault_programs.main()"


class Program(NamedTuple):
    """What to run: a function of `_fault_programs`, or a script, and its arguments."""

    name: str
    method: str
    args: tuple = ()

    def __str__(self):
        return "-".join((self.method, *map(str, self.args)))

    def command(self, calls):
        """Return the arguments of Python."""
        what = [self.name] if self.name.endswith(".py") else ["-c", _MAIN, self.name]
        return ["-W", "error", *what, self.method, *(calls or map(str, self.args))]


class Run(NamedTuple):
    """What came of a program."""

    program: Program
    begin: float  # when it was started
    code: int | None  # None if it did not end in time
    out: str
    err: str
    end: float  # when it ended
    orphans: dict  # processes it left, and that did not end in time
    seconds_of_orphans: float  # until the others had ended
    files: list  # temporary files it left

    @property
    def seen(self):
        """What the program told, after which it ended well, and in silence."""
        assert (self.code, self.err) == (0, ""), self
        return self.told

    @property
    def told(self):
        """What the program told."""
        lines = self.out.splitlines()
        assert len(lines) == 1, self
        told = json.loads(lines[0])
        assert told.get("left", []) == []
        return told

    @property
    def seconds_to_begin(self):
        """How long the program took to be loaded, if it got as far as to tell."""
        told = re.search(r'"began": ([\d.]+)', self.out)
        return float(told[1]) - self.begin if told else 0.0

    @property
    def seconds_to_end(self):
        """How long the program took to end, after it told something."""
        return self.end - self.told["now"]


def programs(name, *args, methods=METHODS):
    """Run a test for each start method and each of some arguments of a program."""
    runs = [
        Program(name, method, each if isinstance(each, tuple) else (each,))
        for each in args or ((),)
        for method in methods
    ]
    n_default = N_BY_DEFAULT * len(methods)
    cases = [
        pytest.param(
            run, marks=marks_of(run.method, methods) if i < n_default else pytest.mark.full
        )
        for i, run in enumerate(runs)
    ]
    return pytest.mark.parametrize("run", cases, indirect=True, ids=str)


def marks_of(method, methods, is_default=True):
    """Return the marks of the cases of a start method: by default, the first one runs."""
    return () if is_default and method == methods[0] else pytest.mark.full


def grouped(name, *args, methods=METHODS):
    """The same, of programs that disturb no other: all those of a start method share a process.

    (Those whose source fails, which are many, share another one.)
    """
    group = "failing" if name == "failing" else "other"
    runs = [
        (Program("group", method, (group,)), "/".join(filter(None, (name, arg))))
        for arg in args or ("",)
        for method in methods
    ]
    ids = [f"{run.method}-{call.partition('/')[2] or name}" for run, call in runs]
    cases = [
        pytest.param(*each, id=name, marks=marks_of(each[0].method, methods))
        for each, name in zip(runs, ids)
    ]
    return pytest.mark.parametrize(("run", "call"), cases, indirect=["run"])


@pytest.fixture
def call():
    """Return None, where no test is one of a group."""


@pytest.fixture
def seen(run, call):
    """Return what the program told; of the call in question, if it is a group of several."""
    if call is None:
        return run.seen
    seen = run.seen["each"][call]
    assert seen["left"] == []
    return seen


@pytest.fixture
def arg(call):
    """Return the arguments of a call of one of a group."""
    return call.partition("/")[2]


def _finish(program, calls):
    """Run a program, and wait until it and all that it has started are gone."""
    folder, temporary = tempfile.mkdtemp(), tempfile.mkdtemp()
    path = os.pathsep.join([str(_TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": temporary}
    out, err = Path(folder, "out"), Path(folder, "err")
    Path(folder, UNGUARDED).write_text(SCRIPT)
    try:
        begin = time.monotonic()
        with out.open("w") as to_out, err.open("w") as to_err:
            process = subprocess.Popen(
                [sys.executable, *program.command(calls)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=to_out,
                stderr=to_err,
                start_new_session=True,
            )
        try:
            code = process.wait(LIMIT + LIMIT_OF_CALL * len(calls))
        except subprocess.TimeoutExpired:
            code = None
        end = time.monotonic()
        session = process.pid
        try:
            while relatives(session) and time.monotonic() < end + LIMIT / 3 and code is not None:
                time.sleep(0.01)
            seconds, orphans = time.monotonic() - end, relatives(session)
        finally:
            if code is None or orphans:
                os.killpg(session, signal.SIGKILL)
                process.wait()
        # (The folder of multiprocessing's own server stays where its consumer was killed.)
        files = [name for name in os.listdir(temporary) if not name.startswith("pymp-")]
        texts = out.read_text(), err.read_text()
        return Run(program, begin, code, *texts, end, orphans, seconds, files)
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(temporary)


@pytest.fixture(scope="module")
def finished(request):
    """Run the programs of all tests that were chosen."""
    chosen = {}
    for item in request.session.items:
        if item.path == request.path and "run" in item.callspec.params:
            calls = chosen.setdefault(item.callspec.params["run"], {})
            if "call" in item.callspec.params:
                calls[item.callspec.params["call"]] = None
    longest_first = dict(sorted(chosen.items(), key=lambda each: -len(each[1])))
    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        runs = pool.map(_finish, longest_first, longest_first.values())
        return dict(zip(longest_first, runs))


@pytest.fixture(scope="module")
def slack(finished):
    """Return how many seconds longer than promised anything may take, as busy as it was here."""
    slowest = max((run.seconds_to_begin for run in finished.values()), default=0)
    return max(SLACK, SLACK_IN_STARTS * slowest)


@pytest.fixture
def notice(slack):
    """Return within how many seconds a death must have been noticed."""
    return NOTICE + slack


@pytest.fixture
def orphan(slack):
    """Return within how many seconds a process must be gone, or a consumer that exits."""
    return ORPHAN + slack


@pytest.fixture
def run(request, finished):
    """Return what came of a program, which ended in time and left nothing."""
    run = finished[request.param]
    assert run.code is not None, f"it hangs: {run}"
    assert run.orphans == {}, run
    if run.program.name != "dies" or run.program.args[0] not in EARLY:
        assert run.files == [], run
    return run


def assert_error(seen, kind, *args):
    """Check the type and the arguments of the error that ended a stream."""
    assert (seen["error"]["type"], seen["error"]["args"]) == (kind, list(args))


def assert_worker_error(seen, *texts):
    """Check that it is a WorkerError that says something."""
    assert seen["error"]["type"] == "WorkerError"
    for text in texts:
        assert text in seen["error"]["text"]


def assert_traced(seen, function="fails"):
    """Check that the cause of the error shows where in the source it was raised."""
    lines = Path(_fault_programs.__file__).read_text().splitlines()
    (number,) = (n for n, line in enumerate(lines, 1) if line.endswith("# it breaks here"))
    place = f'File "{_fault_programs.__file__}", line {number}, in {function}\n'
    assert place in seen["error"]["cause"]


def assert_prefix(values, most):
    """Check that some first items came, in order."""
    assert values == list(range(len(values)))
    assert len(values) <= most


# Errors in the source.


CROSSING = {
    "ValueError": ("ValueError", ["x", 7], "ValueError: ('x', 7)"),
    "KeyError": ("KeyError", ["k"], "KeyError: 'k'"),
    "UnicodeDecodeError": (
        "UnicodeDecodeError",
        ["utf-8", "a\xff", 1, 2, "invalid start byte"],
        "can't decode byte 0xff in position 1",
    ),
    "StopIteration": ("RuntimeError", ["generator raised StopIteration"], "StopIteration: early"),
    "mute": ("Mute", [1], "Mute: <"),
    "surrogate": ("ValueError", ["\udcff"], "ValueError: \\udcff"),
}


@grouped("failing", *CROSSING)
def test_an_error_comes_after_all_items_as_itself(seen, arg):
    kind, args, text = CROSSING[arg]
    assert seen["values"] == [0, 1, 2]
    assert_error(seen, kind, *args)
    assert_traced(seen)
    assert text in seen["error"]["cause"]


@grouped("failing", "ValueError:0:1", "ValueError:2500:1", "ValueError:11:1000000")
def test_an_error_comes_in_its_place(seen, arg):
    assert seen["values"] == list(range(int(arg.split(":")[1])))
    assert seen["are_right"]
    assert_error(seen, "ValueError", "x", 7)


@programs("hurried", 40, methods=["fork"])
def test_an_error_does_not_overtake_the_items(seen):
    assert seen["ends"] == [[[0, 1, 2], "ValueError"]] * 40


def _chain_of_errors():
    links = ["ZeroDivisionError: the cause of the cause", "KeyError: 'the cause'"]
    links += ["direct cause of the following exception", "ValueError: the end of the chain"]
    return links + ["a note"] * (sys.version_info >= (3, 11))


CHAINS = {
    "chain": ("ValueError", _chain_of_errors()),
    "context": (
        "ValueError",
        ["KeyError: 'what was handled'", "During handling", "ValueError: what came of it"],
    ),
}
if sys.version_info >= (3, 11):
    CHAINS["group"] = (
        "ExceptionGroup",
        ["a group (2 sub-exceptions)", "ValueError: its first", "KeyError: 'its second'"],
    )


@grouped("failing", *CHAINS)
def test_the_cause_shows_everything_that_led_to_an_error(seen, arg):
    kind, texts = CHAINS[arg]
    assert seen["values"] == [0, 1, 2]
    assert seen["error"]["type"] == kind
    assert_traced(seen)
    for text in texts:
        assert text in seen["error"]["cause"]
    if "a note" in texts:
        assert seen["error"]["notes"] == ["a note"]


@grouped("failing", "huge")
def test_an_error_may_be_large(seen):
    assert seen["values"] == [0, 1, 2]
    assert seen["error"]["type"] == "ValueError"
    (text,) = seen["error"]["args"]
    assert (text["length"], text["set"]) == (5 * 10**6, ["x"])
    assert "_fault_programs.py" in seen["error"]["cause"]["begin"]


STRANDED = {
    "TwoArguments": "one and two",
    "Locked": "in its hand",
    "BadReduce": "the text",
    "BadState": "the text",
    "Deadly": "the text",
    "Impostor": "the text",
    "LocalError": "of a class that nobody else can find",
}


@grouped("failing", *STRANDED)
def test_an_error_that_cannot_cross_is_told(seen, arg):
    assert seen["values"] == [0, 1, 2]
    assert_worker_error(seen, arg, STRANDED[arg])
    assert_traced(seen)
    assert f"{arg}: {STRANDED[arg]}" in seen["error"]["cause"]


@grouped("failing", "exit(0)", "exit(3)", "exit('bye')")
def test_an_exit_of_the_source_is_an_error(seen, arg):
    assert seen["values"] == [0, 1, 2]
    assert_worker_error(seen, f"System{arg.replace('e', 'E', 1)}")
    assert_traced(seen)


@grouped("unstartable", "ValueError", "StopIteration")
def test_an_error_of_the_call_of_a_source_comes_first(seen, arg):
    assert seen["values"] == []
    if arg == "ValueError":
        assert_error(seen, "ValueError", "not today")
        assert ", in _not_started\n" in seen["error"]["cause"]
    else:  # which would pass for an empty stream
        assert seen["error"]["type"] == "RuntimeError"
        assert "StopIteration" in seen["error"]["text"]


@grouped("uncollected", "ValueError", "Locked", "SIGKILL")
def test_a_stream_that_failed_needs_no_garbage_collector(seen, arg):
    assert seen["uncollected"] == []


# Sources that do not reach the process.


@grouped("unpicklable", methods=PICKLING)
def test_a_source_that_cannot_be_pickled_is_refused(seen):
    assert seen["values"] == []
    assert seen["error"]["type"] == "PescadorError"
    for text in ("<lambda>", "cannot be pickled", "defined in a module", "start_method='fork'"):
        assert text in seen["error"]["text"]


@grouped("unloadable", "KeyError", "exit(3)", "_exit(7)", "SIGKILL", methods=PICKLING)
def test_a_source_that_cannot_be_loaded_is_an_error(seen, arg):
    assert seen["values"] == []
    if arg in DEATHS:
        assert_worker_error(seen, DEATHS[arg], "0 items")
        return
    if arg == "KeyError":
        assert_error(seen, "KeyError", "k")
    else:
        assert_worker_error(seen, "SystemExit(3)")
    assert ", in __setstate__\n" in seen["error"]["cause"]


@grouped("only_here", methods=PICKLING)
def test_a_module_that_the_process_lacks_is_an_error(seen):
    assert seen["values"] == []
    assert_error(seen, "ModuleNotFoundError", "No module named 'only_here'")
    assert "only_here" in seen["error"]["cause"]


@grouped("interactive", methods=PICKLING)
def test_a_source_that_was_typed_in_is_an_error(seen):
    assert seen["values"] == []
    assert seen["error"]["type"] == "PescadorError"
    for text in ("'typed'", "defined in a module", "start_method='fork'"):
        assert text in seen["error"]["text"]


UNGUARDED = "unguarded.py"
SCRIPT = """
import sys
from pathlib import Path
import pescador
from _fault_programs import items

with open("starts", "a") as starts:
    starts.write("started\\n")
    n_starts = starts.tell() // 8
streamer = pescador.ZMQStreamer(pescador.Streamer(items, 3), start_method=sys.argv[1])
try:
    print(list(streamer))
except pescador.WorkerError as error:
    print(f'{{"text": "{error}", "n_starts": {n_starts}}}')
"""


@programs(UNGUARDED, methods=PICKLING)
def test_a_script_without_a_guard_fails_and_ends(run):
    assert run.code == 0
    assert "exit code 1" in run.told["text"]
    assert "stderr" in run.told["text"]
    assert "if __name__ == '__main__':" in run.err
    assert run.err.count("Traceback") == 1  # one process was started, and no more


@programs("daemonic")
def test_a_daemon_is_told_that_it_may_not_start_processes(run):
    assert run.seen["values"] == []
    assert run.seen["error"]["type"] == "PescadorError"
    for text in ("daemon", "daemon=False", "without a ZMQStreamer"):
        assert text in run.seen["error"]["text"]


# The process dies.


DEATHS = {
    "SIGKILL": "killed by SIGKILL",
    "SIGSEGV": "killed by SIGSEGV",
    "SIGABRT": "killed by SIGABRT",
    "_exit(0)": "exit code 0",
    "_exit(7)": "exit code 7",
}
NOISY = {"SIGSEGV": "Segmentation fault", "SIGABRT": "Aborted"}  # as faulthandler says


@grouped("failing", *(death for death in DEATHS if death not in NOISY))
def test_a_process_that_dies_is_told_how(seen, arg, notice):
    assert_prefix(seen["values"], 3)
    assert seen["are_right"]
    assert_worker_error(seen, DEATHS[arg])
    assert seen["seconds"] <= notice


@programs("failing", *NOISY)
def test_a_process_that_crashes_is_told_how_and_shows_where(run, notice):
    (how,) = run.program.args
    assert run.code == 0
    assert_prefix(run.told["values"], 3)
    assert_worker_error(run.told, DEATHS[how])
    assert run.told["seconds"] <= notice
    assert run.err.startswith(f"Fatal Python error: {NOISY[how]}")
    assert "_fault_programs.py" in run.err


@grouped("killed", "sleep", "credit")
def test_a_busy_process_that_is_killed_is_noticed(seen, arg, notice):
    most = 0 if arg == "sleep" else 5  # one has been read
    assert seen["values"] == list(range(1, 1 + len(seen["values"])))
    assert len(seen["values"]) <= most
    assert seen["are_right"]
    assert_worker_error(seen, DEATHS["SIGKILL"])
    assert seen["seconds"] <= notice


@grouped("killed", "uninvited", "0.0", "0.01", "0.1")
def test_a_process_that_is_killed_as_it_starts_is_noticed(seen, arg, notice):
    assert_prefix(seen["values"], 100)
    assert_worker_error(seen, DEATHS["SIGKILL"])
    assert seen["seconds"] <= notice


@grouped("sibling_killed")
def test_a_process_that_is_killed_is_noticed_though_a_later_one_lives(seen, notice):
    assert_worker_error(seen, DEATHS["SIGKILL"])
    assert seen["seconds"] <= notice
    assert seen["others"] == list(range(1, 100))


@grouped("haunting", "fork", "subprocess")
def test_a_process_that_is_killed_is_noticed_though_a_child_of_it_lives(seen, orphan):
    assert seen["was_haunted"]
    assert_prefix(seen["values"], 3)
    assert_worker_error(seen, DEATHS["SIGKILL"])
    assert seen["seconds"] <= orphan


@grouped("nested_killed")
def test_a_process_that_is_killed_takes_its_own_along(seen, notice, orphan):
    assert seen["were_there"]
    assert_worker_error(seen, DEATHS["SIGKILL"])
    assert seen["seconds"] <= notice
    assert seen["seconds_of_inner"] <= orphan


@grouped("timed_out", "sleep", "SIGSTOP")
def test_a_process_that_hangs_is_given_up(seen, arg, slack):
    assert seen["values"] == []
    assert {"WorkerError", "TimeoutError"} <= set(seen["error"]["kinds"])
    assert "after 1 item had" in seen["error"]["text"]
    # One that is stopped does not obey: killing it takes another second and a half.
    assert 0.9 <= seen["seconds"] <= 1 + slack + 1.5 * (arg == "SIGSTOP")


@grouped("signalled_process")
def test_the_process_ignores_what_is_for_the_consumer(seen):
    assert seen["values"] == list(range(100))


@programs("bombarded", (40,), methods=["fork"])
def test_signals_to_the_whole_program_are_the_consumers(run, seen):
    assert seen["ends"] == [[list(range(20)), None]] * run.program.args[0]


@programs("bombarded", (6,), methods=PICKLING)
def test_signals_to_the_whole_program_are_the_consumers_also_in_a_slow_start(run, seen):
    assert seen["ends"] == [[list(range(20)), None]] * run.program.args[0]


@programs("server_killed", methods=["forkserver"])
def test_the_end_of_the_forkserver_is_not_that_of_its_processes(seen):
    assert seen["values"] == list(range(100))
    assert seen["error"] is None
    assert seen["again"] == [0, 1, 2]


# The consumer dies.

EARLY = (
    "uninvited",
    "half invited",
    "0.02",
)  # so early that nobody may know of its temporary folder


@programs("dies", "fast", "credit", "sleep", "C", *EARLY)
def test_the_process_of_a_dead_consumer_ends(run, orphan):
    (state,) = run.program.args
    assert run.code == -signal.SIGKILL
    assert run.seconds_of_orphans <= orphan + 3 * (state == "C")
    # (Where multiprocessing had not told the process what it is for, that shows a traceback.)
    assert run.err == "" or state == "0.02"


EXITS = {"return": 0, "sys.exit": 3, "_exit": 4, "SIGTERM": -signal.SIGTERM}


@programs("ends", *EXITS, "SIGHUP")
def test_a_consumer_ends_at_once_and_in_silence(run, orphan):
    assert run.code == EXITS.get(run.program.args[0], -signal.SIGHUP)
    assert run.seconds_to_end <= orphan
    assert run.seconds_of_orphans <= orphan
    assert run.err == ""


@programs("ends", "error", "SIGINT")
def test_a_consumer_ends_at_once_with_its_own_traceback_alone(run, orphan):
    is_error = run.program.args[0] == "error"
    assert run.code == (1 if is_error else -signal.SIGINT)
    assert run.seconds_to_end <= orphan
    assert run.seconds_of_orphans <= orphan
    assert_one_traceback(run.err, "ValueError: not caught" if is_error else "KeyboardInterrupt")


def assert_one_traceback(text, end):
    """Check that a text is a single traceback, with a given last line."""
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.count("Traceback") == 1, text
    assert text.splitlines()[-1] == end, text


@programs("ends", ("return", "stubborn"), ("return", "C"))
def test_a_consumer_ends_in_time_though_its_process_does_not_obey(run, orphan):
    assert run.code == 0
    assert run.seconds_to_end <= orphan
    assert run.err == ""


@programs("ends_in_del")
def test_a_stream_may_be_closed_as_the_interpreter_ends(run, orphan):
    assert run.code == 0
    assert run.seconds_to_end <= orphan
    assert run.err == ""


@programs("ends_with_arrays")
def test_arrays_may_be_kept_until_the_interpreter_ends(run, orphan):
    assert run.code == 0
    assert run.seconds_to_end <= orphan
    assert run.err == ""


# The consumer has had enough.


@grouped("leaves", "break", "close", "del", "error", "close in a thread", "never started")
def test_a_stream_that_is_left_leaves_nothing(seen, arg, notice):
    assert seen["seconds"] <= notice
    assert seen["is_started"] == (arg != "never started")
    if seen["is_started"]:
        assert seen["was_there"]
        assert seen["value"] == 0
    if arg == "close":
        assert seen["after"] == []


@grouped("closes", "sleep/60")
def test_closing_cuts_a_wait_short_and_the_source_ends_in_order(seen, notice):
    assert seen["seconds"] <= notice
    assert seen["is_left"]
    assert not seen["is_there"]


@grouped("closes", "stubborn/1", "C/1")
def test_closing_ends_a_source_that_does_not_obey(seen, notice):
    assert 0.9 <= seen["seconds"] <= 1 + notice
    assert not seen["is_there"]


# Ctrl-C.


@programs("interrupted", "next", "user", "0.05")
def test_an_interrupt_is_the_consumers_alone(run, orphan):
    assert run.code == -signal.SIGINT
    assert run.seconds_to_end <= orphan
    assert_one_traceback(run.err, "KeyboardInterrupt")


@programs("interrupted_again", (40, 0.0005), methods=["fork"])
def test_an_interrupt_may_come_at_any_moment(run, seen):
    assert seen["n_interrupts"] == run.program.args[0]


@programs("interrupted_again", (12, 0.02), methods=PICKLING)
def test_an_interrupt_may_come_at_any_moment_of_a_slow_start(run, seen):
    assert seen["n_interrupts"] == run.program.args[0]


# How much, and how many.


@programs("slow", (60, 10**6, 8 * 2**20, 0.01), (1000, 4000, 2**20, 0.0005))
def test_a_slow_consumer_holds_the_source_back(run):
    n_items, size, max_bytes, _ = run.program.args
    assert run.seen["values"] == list(range(n_items))
    assert run.seen["n_ahead"] <= max_bytes // size
    # Besides three items: what the allocators and ZeroMQ take.
    allowed = max_bytes + 3 * size + 3 * 2**20
    assert run.seen["own_growth"] <= allowed
    assert run.seen["others_growth"] <= allowed


@grouped("oversize")
def test_an_item_may_be_larger_than_what_may_be_ahead(seen):
    assert seen["values"] == list(range(100))
    assert seen["are_right"]
    assert seen["error"] is None


@programs("many", 200_000)
def test_many_small_items_come_in_order(run):
    assert run.seen["n_items"] == 200_000
    assert run.seen["wrong"] is None


# Forks.


@grouped("forked", "del", "close", "next")
def test_a_fork_of_the_consumer_does_not_touch_the_stream(seen, arg):
    assert seen["code"] == 0
    assert seen["values"] == list(range(3000))
    assert seen["error"] is None


@programs("forked", "exit")
def test_a_fork_of_the_consumer_may_end_like_any_program(seen):
    assert seen["code"] == 0
    assert seen["values"] == list(range(3000))
    assert seen["error"] is None


@grouped("together")
def test_streams_together_cause_no_warning(seen):
    assert seen["rounds"] == [[number] * 3 for number in range(50)]
