"""Predictor: makes a model of one annotated function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from mlsrv.model import MLModel
from mlsrv_arguments.decorator import decorated

_F = TypeVar("_F", bound=Callable[..., Any])


def predictor(function: _F) -> _F:
    """Make a model of a function, by the rules of `decode_args`; a generator becomes a model that streams.

    ::

        @mlsrv.predictor
        def double(x: np.ndarray) -> np.ndarray:
            return 2 * x

    The function stays as it is. ``implementation`` of a model names it, as a dotted path or as the function
    itself; ``mlsrv start models.py`` serves every such function of a file under its name. Code at the top of
    its module runs when the model is loaded.

    Raises:
        TypeError: an argument has no annotation, or cannot be passed by name.
    """
    streams = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    members = {
        "predict_stream" if streams else "predict": decorated(function, is_method=False),
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "__doc__": function.__doc__,
    }
    function.__mlsrv_model__ = type(function.__name__, (MLModel,), members)  # type: ignore[attr-defined]  # for the kernel
    return function
