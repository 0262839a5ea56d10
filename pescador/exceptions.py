"""The errors of the library."""


class PescadorError(Exception):
    """A wrong argument, or wrong use; the base class of the errors of the library."""


class DataError(PescadorError):
    """An item does not have the form that a map or a background process needs."""


class WorkerError(PescadorError):
    """A background process or a worker died, or raised an error that cannot be pickled."""


class WorkerTimeoutError(WorkerError, TimeoutError):
    """A background process or a worker did not start, or gave no item, in the time it had."""
