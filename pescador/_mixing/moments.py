"""At which moment an error has ended the loop of a run, by the line that its traceback names.

An interrupt may come between two lines of the loop itself, where what was drawn, taken or handed
out is told by the line alone. To note it in a variable would cost something for each item.
"""

from __future__ import annotations

import dis
import functools
from types import CodeType, TracebackType

from .._streaming.waits import Timed

_TIMED = Timed.__next__.__code__


def came_while_drawing(error: BaseException) -> bool:
    """Tell whether the error came out of the ``next()`` of a source: it gave no item."""
    first = here = error.__traceback__
    while first is not None and here is not None:
        # (An error that has been caught, and raised again, has passed the frame twice.)
        is_below = here.tb_frame is first.tb_frame and _comes_from_below(here.tb_next)
        if is_below and here.tb_lineno in lines(first.tb_frame.f_code)[0]:
            return True
        here = here.tb_next
    return False


def _comes_from_below(traceback: TracebackType | None) -> bool:
    """Tell whether an error comes from a source, and not from what times it, which had an item."""
    while traceback is not None and traceback.tb_frame.f_code is _TIMED:
        if traceback.tb_lineno not in lines(_TIMED)[0]:
            return False
        traceback = traceback.tb_next
    return traceback is not None


def came_between_items(error: BaseException) -> bool:
    """Tell whether the error came when an item had been handed out, and the next was not drawn."""
    here = error.__traceback__
    return here is not None and here.tb_lineno in lines(here.tb_frame.f_code)[1]


@functools.lru_cache(maxsize=64)
def lines(code: CodeType) -> tuple[set[int], set[int]]:
    """Return the lines of a loop that call ``next``; and those from a ``yield`` to a jump."""
    drawing, between = set(), set()
    line, has_yielded = 0, False
    for each in dis.get_instructions(code):
        starts = each.starts_line
        if starts is not None and starts is not False:
            line = getattr(each, "line_number", None) or starts  # (another attribute since 3.13)
        if each.opname == "LOAD_GLOBAL" and each.argval == "next":
            drawing.add(line)
        has_yielded = has_yielded or each.opname in ("YIELD_VALUE", "YIELD_FROM")
        if has_yielded:
            between.add(line)
        if "JUMP" in each.opname or each.opname.startswith("STORE"):
            has_yielded = False
    return drawing, between - drawing
