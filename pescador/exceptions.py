"""The errors of the library."""


class PescadorError(Exception):
    """The base of the library's errors: a wrong argument, or a misuse."""


class DataError(PescadorError):
    """An item does not have the form that a map or a transport needs."""


class WorkerError(PescadorError):
    """A background process died, or failed with an error that cannot be passed on."""


class WorkerTimeoutError(WorkerError, TimeoutError):
    """A background process gave nothing for as long as it was allowed to."""
