"""What a monitor tells of a stream, in a form that can be compared."""

from pescador import Monitor


def take(iterator, n_items):
    for _ in range(n_items):
        next(iterator)


def counted(monitor):
    """Return all that a report says, but for times."""
    report = monitor.report()
    deepest = max((len(row.path) for row in report.sources), default=0)
    rows = [row for depth in range(1, deepest + 1) for row in report.at(depth)]
    told = [
        (*row[:1], *row[5:10], *(x if x is None else round(x, 9) for x in (row[2], row[4])))
        for row in rows
    ]
    failures = [(each.path, each.count, each.is_dropped) for each in monitor.stream.failures]
    return report.n_items, report.n_opened, sorted(told, key=str), failures


def outcome_of(streamer, n_before, n_items):
    """Return what a monitor tells after some items, and whether the stream has ended, or failed."""
    stream = streamer.cycle()
    try:
        take(stream, n_before)
    except (StopIteration, Exception):
        return None
    with Monitor(stream) as monitor:
        try:
            take(monitor, n_items)
            end = ""
        except (StopIteration, Exception) as error:
            end = type(error).__name__
        return end, counted(monitor)
