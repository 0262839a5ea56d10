"""
Log what a mixture does while a model learns
============================================

A model learns from a mixture of ten digits with unequal shares. You will see the expected and the
real share of each digit, and how many standard deviations lie between them.

Every hundred batches, the example logs the shares, and how long the loop has waited. It writes to
TensorBoard if this is installed, else to a file of JSON lines. Each digit has two curves, expected
and real, which should come together.
"""

# %%
# One streamer for each digit, and shares that fall from a third to a thirtieth.

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import pescador

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from sklearn.datasets import load_digits
    from sklearn.linear_model import SGDClassifier
except ImportError:
    sys.exit('This needs scikit-learn, and more: python -m pip install -e ".[examples]"')

CLASSES = np.arange(10)
SHARES = 1 / (CLASSES + 1.0)
SHARES /= SHARES.sum()
LOG_EVERY = 100  # batches


@pescador.streamable
def rows_of_class(x, y, label, seed):
    """Yield the rows of a class in a random order."""
    for row in np.random.default_rng(seed).permutation(np.flatnonzero(y == label)):
        yield {"X": x[row], "Y": y[row]}


def batches_of(x, y):
    """Return a streamer of batches from all digits, four of which are open at a time."""
    digits = [rows_of_class(x, y, label, pescador.FRESH_SEED) for label in range(10)]
    mux = pescador.StochasticMux(digits, 4, 16, SHARES, random_state=0, weighting="share")
    return pescador.Streamer(pescador.buffer_stream, mux, 32)


# %%
# A logger is a function of the step and a report. ``to_dict()`` gives a whole report for JSON. For
# TensorBoard, the logger writes the two curves of a digit into one diagram.


def tensorboard_logger(folder):
    """Return what writes to TensorBoard; None if it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    writer = SummaryWriter(folder)

    def log(step, report):
        for row in report.sources:
            curves = {"expected": row.expected, "real": row.share}
            writer.add_scalars(f"share of {row.path[0]}", curves, step)
        writer.add_scalar("waited", report.waited / report.seconds, step)
        writer.flush()

    return log


def json_logger(folder):
    """Return what writes a line of JSON for each report."""
    path = Path(folder, "reports.jsonl")

    def log(step, report):
        with path.open("a") as file:
            file.write(json.dumps({"step": step, **report.to_dict()}) + "\n")

    return log


# %%
# The loop iterates the monitor in place of the stream.


def train(n_batches, log):
    """Train a classifier; return the last report."""
    data = load_digits()
    model = SGDClassifier(random_state=0)
    batches = batches_of(data.data / 16, data.target)
    with pescador.Monitor(batches.iterate(n_batches), progress=True) as monitor:
        for step, batch in enumerate(monitor, 1):
            model.partial_fit(batch["X"], batch["Y"], classes=CLASSES)
            if step % LOG_EVERY == 0:
                log(step, monitor.report())
        return monitor.report()


# %%
# A report can also draw itself.


def draw(report, path):
    """Save a picture of the expected and the real shares."""
    figure, axes = plt.subplots(figsize=(6, 3.5), dpi=144, layout="constrained")
    report.plot(axes)
    axes.set_title("Expected and real shares")
    axes.set_yticks(CLASSES, [f"digit {label}" for label in CLASSES])
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="train on fewer batches")
    parser.add_argument("--logs", help="folder of the logs; a temporary one if it is left out")
    parser.add_argument("--out", default="log_shares.png", help="where to save the picture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pescador-") as temporary:
        folder = options.logs or temporary
        log = tensorboard_logger(folder) or json_logger(folder)
        report = train(200 if options.quick else 1000, log)
        files = [path.name for path in Path(folder).rglob("*") if path.is_file()]
    print(report)
    print(f"A record for every {LOG_EVERY} batches in files such as {min(files)}")
    draw(report, options.out)
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()

# %%
# For your own data
# -----------------
#
# Iterate ``pescador.Monitor(stream)`` in place of your stream, and write a logger as above for your
# tool. Most tools take numbers by name, and ``report.to_dict()`` has all of them. If a share is
# more than 5.5 standard deviations away from the expected one, look for a mistake.
