"""Plain values: responses without values of classes that only the worker has.

A model may put values of its own classes into a response: members of enumerations, dataclasses, named tuples,
subclasses of built-in types. The server cannot import the model's module. Such values become what the wire
forms would have written of them: a member of an enumeration its value, a dataclass its fields, an instance of
a subclass the built-in value. What has no wire form becomes a stand-in that fails as the value itself would.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
import sys
from enum import Enum
from types import BuiltinFunctionType, FunctionType
from typing import Any

from mlsrv_protocol import strings
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidOutput, InvalidPayload
from mlsrv_protocol.plain_arrays import plain_text
from mlsrv_protocol.quoting import clip
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.types import InferenceResponse, Parameters, ResponseOutput
from mlsrv_protocol.verbatim import Verbatim

__all__ = [
    "NotShared",
    "StandIn",
    "dump",
    "dump_shared",
    "make_plain",
    "plain_data",
    "plain_value",
]


_SHARED = (sys.stdlib_module_names - {"__main__"}) | {"numpy", "mlsrv", "mlsrv_protocol"}
"""Top-level packages that the server has, too."""

_PLAIN = frozenset({str, int, float, bool, bytes, bytearray, type(None)})


class NotShared(Exception):
    """A value is of a class, or is a function, that the server may not be able to import."""


class StandIn:
    """A value of a class that the server lacks and that has no wire form; it is unpickled under the name of
    its class, which error messages show."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _stand_in, (self._name,)


def _stand_in(name: str) -> object:
    return type(name, (), {})()


class _SharedPickler(pickle.Pickler):
    """Pickles values of classes that the server has; called back for others than built-in ones only."""

    def reducer_override(self, value: Any) -> Any:
        if not _is_shared(value):
            raise NotShared
        return NotImplemented


def dump(payload: Any) -> bytes:
    """Pickle a payload.

    Raises:
        Exception: the errors of pickling.
    """
    return pickle.dumps(payload, protocol=5)


def dump_shared(payload: Any) -> bytes:
    """Pickle a payload as `dump` does.

    Raises:
        NotShared: it holds a value of a class that the server may lack.
        Exception: the errors of pickling.
    """
    file = io.BytesIO()
    _SharedPickler(file, protocol=5).dump(payload)
    return file.getvalue()


def make_plain(response: InferenceResponse) -> InferenceResponse:
    """Return a response with the same wire forms whose values can be pickled for the server.

    Raises:
        InvalidOutput: the data of an output does not fit its datatype; as without workers.
    """
    outputs = [_plain_output(index, output) for index, output in enumerate(response.outputs)]
    return InferenceResponse.construct(
        plain_text(response.model_name),
        outputs,
        plain_text(response.model_version),
        plain_text(response.id),
        _plain_parameters(response.parameters),
    )


def plain_data(index: int, output: ResponseOutput) -> Any:
    """Return the data of an output as a numpy array, or as a list of `str` and `bytes` for BYTES.

    Raises:
        InvalidOutput: it does not fit the datatype; as without workers.
    """
    datatype = Datatype(output.datatype)
    if type(output.data) is Verbatim:
        return Verbatim(plain_value(list(output.data)))
    try:
        if datatype is Datatype.BYTES:
            return [plain_text(element) for element in strings.elements(output.data)]
        return numeric(output.data, datatype)
    except InvalidPayload as error:
        raise InvalidOutput(f"outputs[{index}] {clip(output.name)}: {error}") from None


def plain_value(value: Any) -> Any:
    """Return a value of parameters as built-in values where its class is not shared with the server."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Enum) and not _is_shared(value):
        return plain_value(value.value)
    for kind in (str, int, float, bytes):
        if isinstance(value, kind):
            return value if _is_shared(value) else _base_value(value, kind)
    if isinstance(value, dict):
        return {plain_value(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        made = [plain_value(item) for item in value]
        return tuple(made) if isinstance(value, tuple) else made
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: plain_value(item) for name, item in _fields(value).items()}
    if not _is_shared(value) and hasattr(type(value), "to_plain"):
        return plain_value(value.to_plain())
    if _is_shared(value):
        try:
            pickle.loads(dump_shared(value))
        except Exception:  # it has no plain form, such as a lock or a generator
            return StandIn(type(value).__name__)
        return value
    return StandIn(type(value).__name__)


def _plain_output(index: int, output: ResponseOutput) -> ResponseOutput:
    return ResponseOutput.construct(
        plain_text(output.name),
        [plain_value(length) for length in output.shape],
        Datatype(output.datatype),
        plain_data(index, output),
        _plain_parameters(output.parameters),
        output.nested,
    )


def _plain_parameters(parameters: Parameters | None) -> Parameters | None:
    return None if parameters is None else Parameters(**plain_value(parameters.dict()))


def _base_value(value: Any, kind: type) -> Any:
    """Return an instance of a subclass of a built-in type as an instance of the type itself."""
    if kind is str:
        return str.__str__(value)
    if kind is int:
        return int.__int__(value)
    return float.__float__(value) if kind is float else bytes(memoryview(value))


def _fields(value: Any) -> dict[str, Any]:
    """Return the attributes of a dataclass that its JSON form has: all that do not begin with "_"."""
    if hasattr(value, "__dict__"):
        found = vars(value)
    else:
        found = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {name: item for name, item in found.items() if not name.startswith("_")}


def _is_shared(value: Any) -> bool:
    """Return True if the server can import the class of a value, or the class or function that it is."""
    named = value if isinstance(value, type | FunctionType | BuiltinFunctionType) else type(value)
    return str(named.__module__).partition(".")[0] in _SHARED
