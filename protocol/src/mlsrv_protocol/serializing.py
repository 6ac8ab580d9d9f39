"""Serializing: checks the fields of a tensor and returns its plain data for JSON."""

from typing import Any

from mlsrv_protocol import strings
from mlsrv_protocol.datatypes import Datatype, bf16_to_float32
from mlsrv_protocol.message import TensorData
from mlsrv_protocol.parameters import Parameters
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.validation import as_integers, check_count, check_name, check_shape


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
