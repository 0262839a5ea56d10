"""What pickles of earlier releases name: tables of shares, where those were once defined.

A table follows from the weights, so a mux makes its own, and what was pickled is thrown away.
"""

from __future__ import annotations


class Table:
    """Stands for a table in an old pickle, and keeps nothing of it."""

    def __setstate__(self, state: dict) -> None:
        pass


class Design(Table):
    """The same for different streamers at a time."""
