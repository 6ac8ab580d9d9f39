"""Plain makers: the closed list of functions that make values of plain data beside built-in ones.

Each checks what it is given, since that may come from code that the server need not trust. None takes or
returns a class, a function or a type of elements that may hold references.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from mlsrv_protocol.verbatim import Verbatim

__all__ = [
    "MAKERS",
    "NotPlain",
    "StandIn",
    "arguments_of",
    "numeric_dtype",
]

_NUMERIC = re.compile(r"[<>|=]?[biufc]\d{1,2}")
_ELEMENTS = re.compile(r"[<>|=]?(?:[biufcSU]\d{1,9}|[Mm]8(?:\[\d{0,9}[A-Za-z]{1,2}\])?)")
_KINDS = "biufcSUMm"


class NotPlain(Exception):
    """Data holds, or bytes name, what is not in the closed list of what a worker may send."""


class StandIn:
    """A value that has no wire form and is of a class that is not in the list.

    The server gets an object of an empty class with the same name, which error messages show.
    """

    def __init__(self, name: str) -> None:
        self.name = name


@lru_cache(256)
def numeric_dtype(name: str) -> np.dtype[Any]:
    """Return the type of elements with this name, such as ``"<f4"``, for arrays over memory of a worker.

    Raises:
        NotPlain: it is no type of booleans or numbers; elements of other types may be references.
    """
    return _dtype_of(name, _NUMERIC)


@lru_cache(256)
def _plain_dtype(name: str) -> np.dtype[Any]:
    return _dtype_of(name, _ELEMENTS)


def _dtype_of(name: str, allowed: re.Pattern[str]) -> np.dtype[Any]:
    if type(name) is not str or not allowed.fullmatch(name):
        raise NotPlain(f"{name!r:.60} is not the name of a type of plain elements")
    return np.dtype(name)


def make_array(dtype: str, shape: tuple[int, ...], data: bytes) -> npt.NDArray[Any]:
    return np.ndarray(shape, _plain_dtype(dtype), bytearray(data))


def make_complex(real: float, imaginary: float) -> complex:
    return complex(real, imaginary)


def make_date(text: str) -> date:
    return date.fromisoformat(text)


def make_datetime(text: str) -> datetime:
    return datetime.fromisoformat(text)


def make_decimal(text: str) -> Decimal:
    return Decimal(_text(text))


def make_scalar(dtype: str, data: bytes) -> Any:
    return np.frombuffer(data, _plain_dtype(dtype), 1)[0]


def make_stand_in(name: str) -> object:
    return type(_text(name), (), {})()


def make_time(text: str) -> time:
    return time.fromisoformat(text)


def make_timedelta(days: int, seconds: int, microseconds: int) -> timedelta:
    return timedelta(days, seconds, microseconds)


def make_uuid(text: str) -> UUID:
    return UUID(_text(text))


def make_verbatim(value: Any) -> Verbatim:
    return Verbatim.of(value)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise NotPlain("a value is no text")
    return value


MAKERS: dict[str, Callable[..., Any]] = {
    made.__name__: made
    for made in (
        make_array,
        make_complex,
        make_date,
        make_datetime,
        make_decimal,
        make_scalar,
        make_stand_in,
        make_time,
        make_timedelta,
        make_uuid,
        make_verbatim,
    )
}
"""The closed list, by name."""


def arguments_of(value: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return the function of the list, and its arguments, that make a value equal to this one.

    Raises:
        NotPlain: there is none for its class.
    """
    take_apart = _APART.get(type(value))
    if take_apart is not None:
        return take_apart(value)
    if isinstance(value, np.generic) and value.dtype.kind in _KINDS:
        return make_scalar, (value.dtype.str, value.tobytes())
    raise NotPlain(f"a {type(value).__name__} is not in the list of what a worker may send")


def _array_arguments(value: npt.NDArray[Any]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    if value.dtype.kind not in _KINDS:
        raise NotPlain(f"an array of {value.dtype} is not in the list of what a worker may send")
    return make_array, (value.dtype.str, value.shape, value.tobytes())


_APART: dict[type, Callable[[Any], tuple[Callable[..., Any], tuple[Any, ...]]]] = {
    np.ndarray: _array_arguments,
    StandIn: lambda value: (make_stand_in, (value.name,)),
    Verbatim: lambda value: (make_verbatim, (value.value,)),
    complex: lambda value: (make_complex, (value.real, value.imag)),
    date: lambda value: (make_date, (value.isoformat(),)),
    datetime: lambda value: (make_datetime, (value.isoformat(),)),
    Decimal: lambda value: (make_decimal, (str(value),)),
    time: lambda value: (make_time, (value.isoformat(),)),
    timedelta: lambda value: (make_timedelta, (value.days, value.seconds, value.microseconds)),
    UUID: lambda value: (make_uuid, (str(value),)),
}
