"""An estimator of scikit-learn that learns from a stream; the rest of ``legacy``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from itertools import islice
from typing import Any

from . import _validate
from ._callables import is_iterable
from ._streaming.closable import read
from .exceptions import DataError, PescadorError


class BatchError(DataError, RuntimeError):
    """A batch does not suit an estimator (a RuntimeError as well, as in 0.1)."""


class MissingPackageError(PescadorError, ImportError):
    """A package is missing that pescador needs for one thing only."""


class StreamLearner:
    """A scikit-learn estimator that learns from a stream.

    All methods and attributes but those described here are the estimator's own.

    Parameters
    ----------
    estimator : estimator with ``partial_fit``
        What learns.
    max_steps : int >= 0, optional
        The largest number of batches that one `iter_fit` reads; None for all.
    max_batches : int >= 0, optional
        The older name of ``max_steps``.

    Attributes
    ----------
    estimator : estimator
        As given.
    max_steps : int or None
        As given.

    Raises
    ------
    PescadorError
        If an argument is wrong; if scikit-learn is missing (an ImportError too).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import SGDClassifier
    >>> import pescador.legacy as pescador
    >>> batches = [{"X": np.array([[0.0], [1.0]]), "Y": np.array([0, 1])}] * 20
    >>> learner = pescador.StreamLearner(SGDClassifier(random_state=0), max_steps=10)
    >>> learner.iter_fit(batches, classes=[0, 1]).predict([[-3.0], [3.0]]).tolist()
    [0, 1]
    """

    __module__ = "pescador.legacy"  # where it is found

    def __init__(
        self, estimator: Any, max_steps: int | None = None, max_batches: int | None = None
    ) -> None:
        if isinstance(estimator, type) or not callable(getattr(estimator, "partial_fit", None)):
            rule, remedy = "has no partial_fit", "give an estimator that can learn step by step"
            raise _validate.refuse("estimator", estimator, rule, remedy)
        if max_steps is not None and max_batches is not None:
            rule, remedy = "is the same as max_steps", "give only max_steps"
            raise _validate.refuse("max_batches", max_batches, rule, remedy)
        _supervised_classes()
        self.estimator = estimator
        given = max_batches if max_steps is None else max_steps
        remedy = "give a number of batches, or None for no limit"
        self.max_steps = _validate.whole_or_none("max_steps", given, 0, remedy)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.estimator!r}, max_steps={self.max_steps})"

    def __getattr__(self, name: str) -> Any:
        # Special methods belong to a class, as those do by which notebooks draw an object; and a
        # copy in the making has no estimator yet.
        is_special = name.startswith("__") and name.endswith("__")
        if name == "estimator" or is_special or name.startswith("_repr_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.estimator, name)

    def __sklearn_tags__(self) -> Any:
        return self.estimator.__sklearn_tags__()

    def __sklearn_is_fitted__(self) -> bool:
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        try:
            check_is_fitted(self.estimator)
        except NotFittedError:
            return False
        return True

    def iter_fit(self, stream: Iterable[Mapping], **kwargs: Any) -> StreamLearner:
        """Learn from one batch after the other.

        Parameters
        ----------
        stream : iterable of dict
            Batches, with an array ``X`` and, for a classifier or a regressor, ``Y``. No more
            than ``max_steps`` are read.
        **kwargs
            What else to call ``partial_fit`` with: the ``classes`` of a classifier, say.

        Returns
        -------
        StreamLearner
            This one.

        Raises
        ------
        PescadorError
            If ``stream`` is not an iterable.
        DataError
            For a batch that is not a mapping, lacks ``X``, lacks ``Y`` where it is needed, or
            has it where it is not (a RuntimeError too). It names the number of the batch (from
            0).
        """
        if isinstance(stream, (str, bytes, Mapping)) or not is_iterable(stream):
            remedy = "give a streamer, a generator, or a list"
            raise _validate.refuse("stream", stream, "must be an iterable of batches", remedy)
        keys = ["X", "Y"] if isinstance(self.estimator, _supervised_classes()) else ["X"]
        with closing(read(stream)) as batches:
            for number, batch in enumerate(islice(batches, self.max_steps)):
                self._check(batch, number, keys)
                self.estimator.partial_fit(*[batch[key] for key in keys], **kwargs)
        return self

    def _check(self, batch: Any, number: int, keys: list[str]) -> None:
        given = [key for key in ("X", "Y") if isinstance(batch, Mapping) and key in batch]
        if given == keys:
            return
        needed = " and ".join(map(repr, keys))
        rule = f"batch {number} of the stream: {type(self.estimator).__name__} learns from {needed}"
        remedy = f"yield dicts with {needed}" + ("" if "Y" in keys else ", and without 'Y'")
        raise BatchError(_validate.explain("batch", batch, rule, remedy))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, as every estimator does.

        Parameters
        ----------
        deep : bool
            Whether to include those of the estimator, as ``estimator__<name>``.

        Returns
        -------
        dict
            The values, by name.
        """
        params = {"estimator": self.estimator, "max_steps": self.max_steps}
        if deep and hasattr(self.estimator, "get_params"):
            inner = self.estimator.get_params(deep=True)
            params |= {f"estimator__{name}": value for name, value in inner.items()}
        return params

    def set_params(self, **params: Any) -> StreamLearner:
        """Set parameters, as every estimator does.

        Parameters
        ----------
        **params
            Of `get_params`.

        Returns
        -------
        StreamLearner
            This one.

        Raises
        ------
        PescadorError
            If a value is wrong, or there is no such parameter.
        """
        prefix = "estimator__"
        inner = {name: value for name, value in params.items() if name.startswith(prefix)}
        own = {name: value for name, value in params.items() if name not in inner}
        unknown = own.keys() - {"estimator", "max_steps"}
        if unknown:
            rule = "is not a parameter"
            remedy = "choose 'estimator', 'max_steps', or 'estimator__' and the name of its own"
            raise _validate.refuse("name", min(unknown), rule, remedy)
        type(self).__init__(self, **{**self.get_params(deep=False), **own})
        if inner:
            self.estimator.set_params(
                **{name[len(prefix) :]: value for name, value in inner.items()}
            )
        return self


def _supervised_classes() -> tuple[type, type]:
    """Return the classes of estimators that need Y."""
    try:
        from sklearn.base import ClassifierMixin, RegressorMixin
    except ImportError as error:
        raise MissingPackageError(
            "StreamLearner needs scikit-learn; install it: python -m pip install scikit-learn"
        ) from error
    return ClassifierMixin, RegressorMixin
