"""Plain values: responses without values of classes that are no plain data.

A model may put values of any classes into a response: members of enumerations, dataclasses, named tuples,
subclasses of built-in types. The server takes nothing of them but plain data (see `plain_data`). Such values
become what the wire forms would have written of them: a member of an enumeration its value, a dataclass its
fields, an instance of a subclass the built-in value. What has no wire form becomes a stand-in that fails as
the value itself would.
"""

from __future__ import annotations

import dataclasses
import pickle
from enum import Enum
from typing import Any

import numpy as np

from mlsrv_executor_kit.plain_data import NotPlain, StandIn, dump_plain
from mlsrv_protocol import strings
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidOutput, InvalidPayload
from mlsrv_protocol.plain_arrays import plain_text
from mlsrv_protocol.quoting import clip
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.types import InferenceResponse, Parameters, ResponseOutput
from mlsrv_protocol.verbatim import Verbatim

__all__ = [
    "dump",
    "dump_value",
    "make_plain",
    "plain_data",
    "plain_value",
    "refuse_stand_ins",
]


_PLAIN = frozenset({str, int, float, bool, bytes, bytearray, type(None)})


def dump(payload: Any) -> bytes:
    """Pickle a payload for a worker, which trusts the server.

    Raises:
        Exception: the errors of pickling.
    """
    return pickle.dumps(payload, protocol=5)


def dump_value(value: Any) -> bytes:
    """Return a value as bytes for `load_plain`; what is no plain data in it becomes its wire form.

    Raises:
        Exception: the value is nested too deep.
    """
    try:
        return dump_plain(value)
    except Exception:  # of any kind: whatever cannot be sent as it is
        return dump_plain(plain_value(value))


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
        return Verbatim.of(plain_value(output.data.value))
    try:
        if datatype is Datatype.BYTES:
            return [plain_text(element) for element in strings.elements(output.data)]
        return numeric(output.data, datatype)
    except InvalidPayload as error:
        raise InvalidOutput(f"outputs[{index}] {clip(output.name)}: {error}") from None


def plain_value(value: Any) -> Any:
    """Return a value of parameters as plain data."""
    if type(value) in _PLAIN or isinstance(value, StandIn):
        return value
    if isinstance(value, dict):
        return {plain_value(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        made = [plain_value(item) for item in value]
        return tuple(made) if isinstance(value, tuple) else made
    if _is_plain(value):
        return value
    if isinstance(value, Enum):
        return plain_value(value.value)
    for kind in (str, int, float, bytes):
        if isinstance(value, kind):
            return _base_value(value, kind)
    if hasattr(type(value), "to_plain"):
        return plain_value(value.to_plain())
    if isinstance(value, np.ndarray):
        return plain_value(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: plain_value(item) for name, item in _fields(value).items()}
    return StandIn(type(value).__name__)


def refuse_stand_ins(plain: Any) -> None:
    """Refuse plain values with stand-ins in them.

    Raises:
        NotPlain: there is one.
    """
    if isinstance(plain, StandIn):
        raise NotPlain(f"a {plain.name} has no plain form")
    if isinstance(plain, list | tuple | dict):
        for item in (*plain, *plain.values()) if isinstance(plain, dict) else plain:
            refuse_stand_ins(item)


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


def _is_plain(value: Any) -> bool:
    try:
        dump_plain(value)
    except Exception:  # of any kind: whatever cannot be sent as it is
        return False
    return True
