"""Serializing: checks the fields of a tensor and returns its plain data for JSON."""

from typing import Any

import numpy as np

from mlsrv_protocol import strings
from mlsrv_protocol.datatypes import Datatype, bf16_to_float32
from mlsrv_protocol.json_text import dumps
from mlsrv_protocol.message import TensorData
from mlsrv_protocol.parameters import Parameters
from mlsrv_protocol.quoting import clip
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.validation import as_integers, check_count, check_name, check_shape
from mlsrv_protocol.verbatim import Verbatim


def serialize_tensor(
    name: str, shape: list[int], datatype: Datatype, data: TensorData, parameters: Parameters | None
) -> dict[str, Any]:
    """Return an input or output as plain data; `data` is a flat array, or a flat list of `str` for BYTES.

    Raises:
        InvalidPayload: the fields do not fit each other; the sentence does not name the tensor.
    """
    name = check_name(name)
    shape = as_integers(shape)
    expected = check_shape(shape)
    datatype = Datatype(datatype) if type(datatype) is not Datatype else datatype
    extra = None if parameters is None else parameters.dict()
    values: Any
    if datatype is Datatype.BYTES:
        values, encoded = strings.texts(strings.elements(data))
        if len(values) != expected:
            shape = strings.fitting_shape(data, shape, expected)
            expected = len(values)
        if encoded:
            extra = {**(extra or {}), "content_type": "base64"}
    else:
        values = numeric(data, datatype)
        if datatype is Datatype.BF16:
            values = bf16_to_float32(values)
    if len(values) != expected:
        check_count(len(values), shape, expected)
    plain = {"name": name, "shape": shape, "datatype": datatype._value_}  # `value` is a slow property
    if extra:
        plain["parameters"] = extra
    plain["data"] = values
    return plain


def serialize_verbatim(
    name: str, shape: list[int], datatype: Datatype, data: Verbatim, parameters: Parameters | None
) -> dict[str, Any]:
    """Return an output with `Verbatim` data as plain data, without comparing its fields.

    Raises:
        InvalidPayload: the name is no text, the shape no list of lengths, or the datatype does not exist.
    """
    lengths = as_integers(shape)
    check_shape(lengths)
    plain: dict[str, Any] = {
        "name": check_name(name),
        "shape": lengths,
        "datatype": Datatype(datatype)._value_,
    }
    if parameters is not None and (extra := parameters.dict()):
        plain["parameters"] = extra
    plain["data"] = data.value
    return plain


def nest(plain: dict[str, Any]) -> dict[str, Any]:
    """Return a tensor of `serialize_tensor` with one array for each row of its data."""
    shape, data = plain["shape"], plain["data"]
    if len(shape) > 1 and len(data):
        array = np.asarray(data, dtype=None if isinstance(data, np.ndarray) else object).reshape(shape)
        plain["data"] = array if isinstance(data, np.ndarray) else array.tolist()
    return plain


def without_json_form(plain: dict[str, Any], group: str, problem: str) -> str:
    """Return the sentence for a message that cannot be written as JSON, with the tensor and the parameter.

    Args:
        plain: the message as a dict.
        group: the key of its tensors.
        problem: why it cannot be written, if no part of it alone is the reason.
    """
    parts = [
        (f"{group}[{index}] {clip(_field(tensor, 'name'))}", tensor)
        for index, tensor in enumerate(plain[group])
    ]
    for place, part in [("", plain), *parts]:
        for key, value in _parameters(part).items():
            try:
                dumps({key: value})
            except TypeError as error:
                return (
                    f"{place}{': ' if place else ''}parameters.{clip(key)[1:-1]} has no JSON form: {error}."
                )
    for place, part in parts:
        try:
            dumps(part)
        except TypeError as error:
            return f"{place} has no JSON form: {error}."
    return f"The message has no JSON form: {problem}."


def _field(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, dict) else getattr(part, name, None)


def _parameters(part: Any) -> dict[str, Any]:
    found = _field(part, "parameters")
    return found.dict() if isinstance(found, Parameters) else found or {}
