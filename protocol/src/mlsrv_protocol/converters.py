"""Converters: turn the values that authors give to the constructors of messages into those of the fields.

Decoders do not need them: they use `construct`.
"""

from collections.abc import Iterable
from typing import Any, TypeGuard, TypeVar

from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.parameters import Parameters

M = TypeVar("M")

_DATATYPES = dict(Datatype.__members__)


def to_datatype(value: Datatype | str) -> Datatype:
    """Return the datatype of that name. Raises InvalidPayload for an unknown one."""
    if type(value) is Datatype:
        return value
    known = _DATATYPES.get(value) if type(value) is str else None
    return known or Datatype(value)


def to_parameters(value: Parameters | dict[str, Any] | None) -> Parameters | None:
    """Return a dict as `Parameters`; anything else as it is."""
    return Parameters(**value) if isinstance(value, dict) else value


def to_shape(value: Iterable[int]) -> list[int]:
    """Return a shape as a list; numpy's `array.shape` is a tuple."""
    return value if type(value) is list else list(value)


def to_list(cls: type[M], values: Iterable[M | dict[str, Any]]) -> list[M]:
    """Return messages as a list, dicts among them made instances of `cls`. A list of such instances is
    returned as it is, not copied.
    """
    if isinstance(values, list) and all_are(cls, values):
        return values
    return [cls(**value) if isinstance(value, dict) else value for value in values]


def all_are(cls: type[M], values: list[Any]) -> TypeGuard[list[M]]:
    """Return whether the type of every value is exactly `cls`."""
    for value in values:  # noqa: SIM110  # a generator inside all() costs more than the whole loop
        if type(value) is not cls:
            return False
    return True
