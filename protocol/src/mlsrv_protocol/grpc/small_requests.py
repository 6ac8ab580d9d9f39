"""Small requests: decoded by protobuf's own parser, which is faster when there is little to copy.

It decodes the common case. For anything else (parameters, mixed contents, errors) it returns None, and the
general decoder in `mlsrv_protocol.grpc.inference` decides.
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

_DATATYPES = {datatype.value: datatype for datatype in Datatype}


class _FallBack(ValueError):
    """The request needs the general decoder."""


def decode_small(body: bytes) -> tuple[InferenceRequest, bool] | None:
    """Return what `decode_request` returns, with data that is not a view of `body`; or None, when the request
    needs the general decoder."""
    try:
        return _decode(message_class("inference.ModelInferRequest").FromString(body))
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
    shape = tensor.shape[:]  # a slice is a list, made in one go
    expected = check_shape(shape)
    datatype = _DATATYPES.get(tensor.datatype)
    if datatype is None:
        raise _FallBack
    if typed:
        data = _decode_typed(tensor.contents, datatype, expected)
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


def _decode_typed(contents: Any, datatype: Datatype, expected: int) -> TensorData:
    given = contents.ListFields()
    if len(given) != 1 or datatype not in TYPED:
        raise _FallBack
    (field, values), (name, kind) = given[0], TYPED[datatype]
    if field.name != name or len(values) != expected:
        raise _FallBack
    listed = values[:]
    return listed if datatype is Datatype.BYTES else numeric(np.array(listed, dtype=kind), datatype)
