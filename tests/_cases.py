"""Which cases of a test run by default, and which in the full suite only.

By default runs what holds a case of every promise; repetition is marked ``full``.
"""

import itertools
import re

import pytest


def matrix(*, cover=2, **axes):
    """Parametrize a test by all combinations of the values of some axes.

    Those that are needed to cover every pair of values (or, with ``cover=1``, every value) run by
    default, the others in the full suite. An axis is a collection of values, or a dict of them by
    their ids.
    """
    named = [_named(name, values) for name, values in axes.items()]
    chosen = _covering([list(each) for each in named], cover)
    cases = [
        pytest.param(
            *(values[name] for values, name in zip(named, names)),
            id="-".join(names),
            marks=() if names in chosen else pytest.mark.full,
        )
        for names in itertools.product(*named)
    ]
    return pytest.mark.parametrize(",".join(axes), cases)


def some(values, n=1, also=()):
    """Return the values of a parameter, of which the first ``n`` run by default.

    So do those whose ids are in ``also``. ``values`` may be a dict of values by their ids.
    """
    named = _named("value", values)
    unknown = set(also) - set(named)
    assert not unknown, unknown
    return [
        pytest.param(value, id=name, marks=() if i < n or name in also else pytest.mark.full)
        for i, (name, value) in enumerate(named.items())
    ]


def _named(name, values):
    """Return the values of an axis by their ids, which are the same in every process."""
    if isinstance(values, dict):
        return dict(values)
    named = {_id_of(value) or f"{name}{i}": value for i, value in enumerate(values)}
    assert len(named) == len(values), "two values have one id: give a dict"
    return named


def _id_of(value):
    if value is None or isinstance(value, (str, int, float)):
        return str(value)
    return getattr(value, "__name__", None)


def _covering(axes, strength):
    """Return combinations that cover every choice of values of so many axes; not many more."""
    strength = min(strength, len(axes))
    left = {
        tuple(zip(places, values))
        for places in itertools.combinations(range(len(axes)), strength)
        for values in itertools.product(*(axes[place] for place in places))
    }
    chosen = []
    while left:
        best = max(itertools.product(*axes), key=lambda each: len(_choices(each, strength) & left))
        left -= _choices(best, strength)
        chosen.append(best)
    return chosen


def _choices(names, strength):
    return set(itertools.combinations(enumerate(names), strength))


def shown(value):
    """Return the ``repr`` of a value, for the name of a case: without an address."""
    return re.sub(" at 0x[0-9a-fA-F]+", "", repr(value))
