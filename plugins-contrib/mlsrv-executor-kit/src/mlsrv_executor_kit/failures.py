"""Failures: errors of a model in another process, as plain values."""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable
from typing import Any

from mlsrv import errors
from mlsrv.errors import Code, ConfigurationError, MLSrvError, ModelAnswered, ModelsFailed
from mlsrv_executor_kit.plain_values import plain_value
from mlsrv_protocol.errors import InvalidOutput

__all__ = [
    "RemoteTraceback",
    "dump_error",
    "load_error",
]

_CLASSES: dict[str, type[MLSrvError]] = {
    name: found
    for name, found in {**vars(errors), "InvalidOutput": InvalidOutput}.items()
    if inspect.isclass(found) and issubclass(found, MLSrvError)
}
"""The errors that keep their class; others become the nearest of these."""

_ATTRIBUTES: dict[str, Callable[[Any], bool]] = {
    "what": lambda value: type(value) is str,
    "raised": lambda value: type(value) is str,
    "reason": lambda value: type(value) is str,
    "retry_after": lambda value: type(value) in (int, float) and 0 <= value < math.inf,
    "status": lambda value: type(value) is int and 400 <= value <= 599,
    "problems": lambda value: type(value) is list and all(type(item) is str for item in value),
}
"""The attributes that an error keeps, and what their values must be."""

_NEEDED: dict[str, Any] = {"status": ModelAnswered, "problems": (ConfigurationError, ModelsFailed)}
"""The attributes that errors of these classes always have."""


class RemoteTraceback(Exception):
    """The cause of an error that was raised in another process: its traceback there."""

    def __str__(self) -> str:
        return f"in another process\n{self.args[0].rstrip()}"


def dump_error(error: MLSrvError) -> tuple[Any, ...]:
    """Return an error as plain values.

    They are the name of its class, or of the nearest one of `mlsrv.errors`, its text and code, its attributes
    and its traceback unless the client caused it.
    """
    name = next(each.__name__ for each in type(error).__mro__ if _CLASSES.get(each.__name__) is each)
    held = {key: plain_value(getattr(error, key, None)) for key in _ATTRIBUTES}
    trace = None
    if error.code is Code.INTERNAL:
        trace = "".join(traceback.format_exception(error.__cause__ or error))
    return name, str(error), error.code.value, held, trace


def load_error(plain: tuple[Any, ...]) -> MLSrvError:
    """Return the error that `dump_error` took apart, caused by a `RemoteTraceback` if it has one.

    Raises:
        ValueError: the values are not those of an error.
    """
    name, text, code, held, trace = plain
    if type(name) is not str or type(text) is not str or type(held) is not dict:
        raise ValueError("the values are not those of an error")
    kind = _CLASSES.get(name, MLSrvError)
    error = kind.__new__(kind, text)
    error.code = Code(code)
    for key, fits in _ATTRIBUTES.items():
        value = held.get(key)
        if value is not None and fits(value) and not isinstance(getattr(kind, key, None), property):
            setattr(error, key, value)
    if any(isinstance(error, kinds) and not hasattr(error, key) for key, kinds in _NEEDED.items()):
        raise ValueError(f"the values of a {name} are not complete")
    if trace is not None:
        error.__cause__ = RemoteTraceback(str(trace))
    return error
