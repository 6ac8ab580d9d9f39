"""Small requests, by protobuf's own parser: it is faster as long as there is little to copy.

This is a short cut for what most requests are. What it cannot vouch for (parameters, mixed contents, anything
that is wrong) it leaves to the ordinary way, by answering None.
"""

from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.grpc.message_classes import message_class
from mlsrv_protocol.grpc.tensors import TYPED
from mlsrv_protocol.inference import InferenceRequest, RequestInput
from mlsrv_protocol.message import TensorData
from mlsrv_protocol.raw import from_raw
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.validation import check_name, check_shape

_ModelInferRequest = message_class("inference.ModelInferRequest")
_DATATYPES = {datatype.value: datatype for datatype in Datatype}


class _FallBack(ValueError):
    """The short cut cannot vouch for the request."""


def decode_small(body: bytes) -> tuple[InferenceRequest, bool] | None:
    """As `decode_request`, or None. The data is not a view of `body`."""
    try:
        return _decode(_ModelInferRequest.FromString(body))
    except (DecodeError, InvalidPayload, _FallBack):
        return None


def _decode(message: Any) -> tuple[InferenceRequest, bool]:
    tensors, raw = message.inputs, message.raw_input_contents
    typed = not raw
    if len(tensors) != 1 or len(raw) > 1 or message.parameters or message.outputs:
        raise _FallBack
    tensor = tensors[0]
    if tensor.parameters or tensor.HasField("contents") is not typed:
        raise _FallBack
    shape = list(tensor.shape)
    expected = check_shape(shape)
    datatype = _DATATYPES.get(tensor.datatype)
    if datatype is None:
        raise _FallBack
    if typed:
        data = _typed(tensor.contents, datatype, expected)
    else:
        data = from_raw(raw[0], 0, len(raw[0]), datatype, shape, expected)
    request = InferenceRequest.construct(
        [RequestInput.construct(check_name(tensor.name), shape, datatype, data)],
        message.id or None,
        None,
        None,
        message.model_name,
        message.model_version or None,
    )
    return request, typed


def _typed(contents: Any, datatype: Datatype, expected: int) -> TensorData:
    given = contents.ListFields()
    if len(given) != 1 or datatype not in TYPED:
        raise _FallBack
    (field, values), (name, kind) = given[0], TYPED[datatype]
    if field.name != name or len(values) != expected:
        raise _FallBack
    return list(values) if datatype is Datatype.BYTES else numeric(np.array(values, dtype=kind), datatype)
