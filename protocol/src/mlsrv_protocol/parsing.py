"""Parsing: checks plain data, from a JSON text or a user's dict, and returns the fields of messages."""

from typing import Any, Protocol

import numpy as np

from mlsrv_protocol import strings
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.large_json import NESTED
from mlsrv_protocol.message import TensorData
from mlsrv_protocol.parameters import Parameters
from mlsrv_protocol.quoting import clip
from mlsrv_protocol.tensors import numeric, numeric_list
from mlsrv_protocol.validation import (
    MAX_PARAMETER_VALUES,
    check_count,
    check_name,
    check_parameter_values,
    check_shape,
    refuse_shared_memory,
)

_DATATYPES: dict[Any, Datatype] = {datatype.value: datatype for datatype in Datatype}
_SCALARS = frozenset({str, int, bool})
_ELSEWHERE = ("binary_data_size", "shared_memory_region")


def parse_object(value: object, what: str) -> dict[str, Any]:
    """Return `value` if it is a JSON object, else raise InvalidPayload; `what` names it in the sentence."""
    if type(value) is dict:
        return value
    raise _not_an_object(value, what)


def parse_array(value: object, what: str) -> list[Any]:
    """Return `value` if it is a JSON array, else raise InvalidPayload; `what` names it in the sentence."""
    if type(value) is list:
        return value
    if value is None:
        raise InvalidPayload(f"{what} is missing; it must be an array.")
    raise InvalidPayload(f"{what} is {clip(value)}; it must be an array.")


def parse_text(value: object, what: str) -> str:
    """Return `value` if it is a string, else raise InvalidPayload; `what` names it in the sentence."""
    if type(value) is str:
        return value
    if value is None:
        raise InvalidPayload(f"{what} is missing; it must be a string.")
    raise InvalidPayload(f"{what} is {clip(value)}; it must be a string.")


def parse_optional_text(value: object, what: str) -> str | None:
    """Return `value` if it is a string or None, else raise InvalidPayload."""
    if value is None or type(value) is str:
        return value
    return parse_text(value, what)


def parse_parameters(value: object) -> Parameters | None:
    """Return the parameters of a message or tensor; None when they are absent, null or empty.

    Raises:
        InvalidPayload: they are not an object, or a value is not allowed.
    """
    if value is None or value == {}:
        return None
    values = parse_object(value, "parameters")
    if len(values) > MAX_PARAMETER_VALUES:
        check_parameter_values(values)
    for inner in values.values():
        if type(inner) not in _SCALARS:
            check_parameter_values(values)
            break
    return Parameters(**values)


def parse_datatype(value: object) -> Datatype:
    """Return the datatype of that name. Raises InvalidPayload."""
    if isinstance(value, str):
        return _DATATYPES.get(value) or Datatype(value)
    if value is None:
        raise InvalidPayload(f"datatype is missing; it is one of {', '.join(Datatype)}.")
    raise InvalidPayload(f"datatype is {clip(value)}; it is one of {', '.join(Datatype)}.")


class BinaryData(Protocol):
    """The binary data behind a JSON text, read tensor by tensor."""

    def take(self, size: object, datatype: Datatype, shape: list[int], expected: int) -> TensorData:
        """Return the elements in the next `size` bytes. Raises InvalidPayload."""


def parse_tensor(
    value: object, group: str, index: int, binary_data: BinaryData | None = None
) -> tuple[str, list[int], Datatype, TensorData, Parameters | None, bool]:
    """Return name, shape, datatype, data and parameters of one entry of `inputs`, or of `outputs` of a
    response, and whether its data was written in nested arrays.

    The data is a flat array of the datatype's dtype, or a flat list for BYTES: of `str` from JSON, of `bytes`
    from `binary_data`. Its length fits the shape (except of a `BareText`). A tensor with the parameter
    `binary_data_size` takes its data from `binary_data`.

    Raises:
        InvalidPayload: a rule of the protocol is broken; the sentence starts with the tensor, such as
            `inputs[0] "x"`.
    """
    try:
        if type(value) is not dict:
            raise _not_an_object(value, "the tensor")
        fields = value
        name = check_name(fields.get("name"))
        shape: Any = fields.get("shape")
        expected = check_shape(shape)
        datatype = parse_datatype(fields.get("datatype"))
        given = fields.get("parameters")
        parameters = None if given is None else parse_parameters(given)
        if binary_data is not None and parameters is not None and "binary_data_size" in parameters.extra:
            if fields.get("data") is not None:
                raise InvalidPayload("data and parameters.binary_data_size are both set; send one of them.")
            size = parameters.extra.pop("binary_data_size")
            return name, shape, datatype, binary_data.take(size, datatype, shape, expected), parameters, False
        given_data = fields.get("data")
        data = _parse_data(given_data, datatype, expected, parameters)
        nested = type(given_data) is list and len(given_data) > 0 and type(given_data[0]) is list
        if len(data) != expected:
            if datatype is not Datatype.BYTES:
                check_count(len(data), shape, expected)
            elif type(data) is not strings.BareText:
                shape = strings.fitting_shape(data, shape, expected)
        return name, shape, datatype, data, parameters, nested or fields.get(NESTED) is True
    except InvalidPayload as error:
        problem = str(error)
    raise InvalidPayload(f"{_place(value, group, index)}: {problem}")


def parse_requested_output(value: object, index: int) -> tuple[str, Parameters | None]:
    """Return name and parameters of one entry of `outputs` of a request. Raises InvalidPayload."""
    try:
        fields = parse_object(value, "the output")
        parameters = parse_parameters(fields.get("parameters"))
        refuse_shared_memory(parameters)
        return check_name(fields.get("name")), parameters
    except InvalidPayload as error:
        problem = str(error)
    raise InvalidPayload(f"{_place(value, 'outputs', index)}: {problem}")


def _parse_data(data: Any, datatype: Datatype, expected: int, parameters: Parameters | None) -> TensorData:
    if parameters is not None and parameters.extra:
        for key in _ELSEWHERE:
            if key in parameters.extra:
                raise InvalidPayload(
                    f"parameters.{key} is set, but the data of this request is JSON; leave it out."
                )
    if data is None:
        if expected:
            raise InvalidPayload("data is missing; it must be an array.")
        data = []  # some clients send null for a tensor without elements
    if type(data) is list:
        return strings.from_json(data) if datatype is Datatype.BYTES else numeric_list(data, datatype)
    if isinstance(data, list | np.ndarray):  # from the short cut, or from a dict that Python code made
        if datatype is not Datatype.BYTES:
            return numeric(data, datatype)
        return strings.from_json(data if isinstance(data, list) else data.tolist())
    if isinstance(data, str) and datatype is Datatype.BYTES:
        return strings.BareText([data])
    raise InvalidPayload(f"data is {clip(data)}; it must be an array.")


def _not_an_object(value: object, what: str) -> InvalidPayload:
    return InvalidPayload(f"{what} is {clip(value)}; it must be a JSON object.")


def _place(value: object, group: str, index: int) -> str:
    name = value.get("name") if isinstance(value, dict) else None
    return f"{group}[{index}] {clip(name)}" if isinstance(name, str) else f"{group}[{index}]"
