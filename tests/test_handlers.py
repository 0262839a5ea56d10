"""Every jump of a loop inside a ``with`` or ``try`` is covered by its handlers.

Python 3.13 leaves out a jump that follows a condition at once: of ``while condition:``, and of a
``for`` whose last statement is an ``if``. An interrupt that is heard there escapes the ``with``.
So such a loop is written ``while True:`` here, and has another last statement.
"""

import dis
import sys
import types
from pathlib import Path

import pytest

import pescador

PACKAGE = Path(pescador.__file__).parent


def codes(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def uncovered(code):
    """Return the jumps back, where interrupts are heard, that a handler of their loop misses."""
    table = dis._parse_exception_table(code)
    instructions = {each.offset: each for each in dis.get_instructions(code)}

    def handlers(offset):
        found = {each.target for each in table if each.start <= offset < each.end}
        return {target for target in found if instructions[target].opname == "PUSH_EXC_INFO"}

    jumps = [each for each in instructions.values() if each.opname == "JUMP_BACKWARD"]
    return [each for each in jumps if handlers(each.argval) and not handlers(each.offset)]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no such tables before")
def test_no_interrupt_escapes_a_handler():
    for path in PACKAGE.rglob("*.py"):
        module = compile(path.read_text(encoding="utf-8"), str(path), "exec")
        missed = [code.co_qualname for code in codes(module) if uncovered(code)]
        assert not missed, path


@pytest.mark.skipif(sys.version_info[:2] != (3, 13), reason="it is known of 3.13 alone")
def test_what_is_looked_for_is_found():
    source = "def f(x):\n    with x:\n        while x:\n            x()\n"
    _, function = codes(compile(source, "f", "exec"))
    assert uncovered(function)
