"""Write the golden files: pickles, states and items of every kind of streamer, as a release gives.

Run it with the release that the files are to stand for, installed or on the path, with the oldest
Python and NumPy that are supported (what older ones pickle, newer ones read):

    PYTHONPATH=CHECKOUT python tests/golden/make.py

It needs nothing of the release but what is public.
"""

import gzip
import json
import logging
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from _golden_sources import CASES, record  # noqa: E402


def text_of(recorded):
    """Return what was recorded as JSON, with a line for each streamer."""
    lines = [
        f"{json.dumps(name)}:{json.dumps(each, separators=(',', ':'))}"
        for name, each in recorded.items()
    ]
    return "{" + ",\n".join(lines) + "}\n"


def main():
    logging.disable(logging.WARNING)
    for room, cases in CASES.items():
        recorded = {name: record(make, room) for name, make in cases.items()}
        data = gzip.compress(text_of(recorded).encode(), mtime=0)
        (HERE / f"{room}.json.gz").write_bytes(data)
        print(f"{room}: {len(recorded)} streamers, {len(data):,} bytes")


if __name__ == "__main__":
    main()
