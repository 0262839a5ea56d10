"""The table of activations that are open in another process."""

import random

import numpy as np

from pescador._background.activations import Activations


def numbers(*values):
    return np.array(values, np.int64)


def test_activations_are_opened_counted_and_ended():
    table = Activations()
    table.open(numbers(2, 3, 5), numbers(1, 2, 1), numbers(7, 8, 9))
    table.add(numbers(3, 2, 3, 5, 3))
    assert table.runs_of(numbers(5, 3)).tolist() == [1, 2]
    assert [each.tolist() for each in table.of_run(1)] == [[2, 5], [1, 1], [7, 9], [1, 1]]
    assert [each.tolist() for each in table.end(numbers(3))] == [[3], [2], [8], [3]]
    assert not len(table.of_run(2).numbers)
    table.end_run(1)
    assert not len(table.of_run(1).numbers)


def test_a_table_is_what_a_dict_would_be():
    """Random orders, in any number at a time, with room to be made again and again."""
    rng = random.Random(0)
    table, known, next_number, biggest = Activations(), {}, 2, 0
    for _ in range(600):
        new = range(next_number, next_number + rng.randrange(30))
        next_number += len(new) + rng.randrange(3)
        rows = [(number, rng.randrange(1, 5), rng.randrange(9)) for number in new]
        if rows:
            table.open(*map(numbers, *rows))
            known |= {number: [number, run, place, 0] for number, run, place in rows}
        given = rng.choices(sorted(known), k=rng.randrange(40)) if known else []
        table.add(numbers(*given))
        for number in given:
            known[number][3] += 1
        over = rng.sample(sorted(known), min(len(known), rng.randrange(31)))
        ended = table.end(numbers(*over))
        assert list(zip(*(each.tolist() for each in ended))) == [tuple(known.pop(n)) for n in over]
        if rng.random() < 0.05:
            table.end_run(3)
            known = {number: row for number, row in known.items() if row[1] != 3}
        for run in range(1, 5):
            of_run = zip(*(each.tolist() for each in table.of_run(run)))
            assert list(of_run) == [tuple(row) for row in known.values() if row[1] == run]
        biggest = max(biggest, len(known))
    assert table._table.shape[1] < 5 * biggest + 64  # room of what is over is used again
