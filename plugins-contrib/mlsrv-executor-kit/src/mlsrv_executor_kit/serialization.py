"""Serialization: requests and responses as plain values and buffers.

Neither arrays nor classes of this project are pickled, because the other process may have another version of
numpy. What comes from a worker is plain data (see `plain_data`), of which nothing is taken on trust.
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from attrs import astuple, fields_dict

from mlsrv.authorization import Principal
from mlsrv.context import CallContext
from mlsrv.executor import ModelInfo
from mlsrv.handlers import HandlerOptions, Reply
from mlsrv.metrics import Metric
from mlsrv.timeline import Spans, Timeline
from mlsrv_executor_kit.packed_texts import PACKED, pack_texts, unpack_texts
from mlsrv_executor_kit.plain_data import dump_plain
from mlsrv_executor_kit.plain_makers import numeric_dtype
from mlsrv_executor_kit.plain_values import dump_value, make_plain, plain_value, refuse_stand_ins
from mlsrv_protocol.converters import to_datatype
from mlsrv_protocol.plain_arrays import plain_array, plain_text
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)

__all__ = [
    "BUFFER_THRESHOLD",
    "Buffers",
    "dump_context",
    "dump_info",
    "dump_metadata",
    "dump_request",
    "dump_response",
    "dump_result",
    "dump_timeline",
    "load_context",
    "load_info",
    "load_metadata",
    "load_request",
    "load_response",
    "load_result",
    "load_timeline",
]


_T = TypeVar("_T", RequestInput, ResponseOutput)

Buffers: TypeAlias = list[npt.NDArray[Any]]

BUFFER_THRESHOLD = 64 * 1024
"""Bytes from which on a numeric tensor is a buffer of its own, beside the plain values."""


def dump_request(request: InferenceRequest, buffers: Buffers) -> tuple[Any, ...]:
    """Return a request as a tuple; its large numeric arrays are appended to `buffers`."""
    outputs = request.outputs
    return (
        request.id,
        _parts(request.parameters),
        [_dump_tensor(tensor, buffers) for tensor in request.inputs],
        None if outputs is None else [(output.name, _parts(output.parameters)) for output in outputs],
        request.model_name,
        request.model_version,
    )


def load_request(plain: tuple[Any, ...], views: list[memoryview]) -> InferenceRequest:
    """Return the request that `dump_request` took apart; arrays are views over `views`."""
    request_id, parameters, inputs, outputs, name, version = plain
    return InferenceRequest.construct(
        [_load_tensor(RequestInput, tensor, views) for tensor in inputs],
        request_id,
        _joined(parameters),
        None if outputs is None else [RequestOutput(each, _joined(given)) for each, given in outputs],
        name,
        version,
    )


def dump_response(response: InferenceResponse, buffers: Buffers, *more: Any) -> bytes:
    """Return a response, and more plain values, as bytes for `load_response`.

    Its large numeric arrays are appended to `buffers`. Values that are no plain data become their wire forms.

    Raises:
        InvalidOutput: the data of an output does not fit its datatype; as without workers.
    """
    try:
        return dump_plain((_dump_response(response, buffers), *more))
    except Exception:  # of any kind: whatever cannot be sent as it is
        buffers.clear()
        return dump_plain((_dump_response(make_plain(response), buffers), *more))


def _dump_response(response: InferenceResponse, buffers: Buffers) -> tuple[Any, ...]:
    return (
        response.model_name,
        response.model_version,
        response.id,
        _parts(response.parameters),
        [_dump_tensor(tensor, buffers) for tensor in response.outputs],
    )


def load_response(plain: tuple[Any, ...], views: list[memoryview]) -> InferenceResponse:
    """Return the response that is the first value of `dump_response`; arrays are views over `views`."""
    name, version, request_id, parameters, outputs = plain
    loaded = [_load_tensor(ResponseOutput, tensor, views) for tensor in outputs]
    return InferenceResponse.construct(name, loaded, version, request_id, _joined(parameters))


def dump_result(result: Any, buffers: Buffers) -> bytes:
    """Return the result of a custom handler as bytes for `load_plain`, whose value `load_result` takes.

    Large numeric arrays of a response are appended to `buffers`.

    Raises:
        NotPlain: it holds a value that has no plain form.
    """
    if isinstance(result, Reply):
        return dump_value(((result.body, result.status, dict(result.headers)), "reply"))
    if isinstance(result, InferenceResponse):
        return dump_response(result, buffers, "response")
    try:
        return dump_plain((result, "value"))
    except Exception:  # of any kind: whatever cannot be sent as it is
        plain = plain_value(result)
        refuse_stand_ins(plain)
        return dump_plain((plain, "value"))


def load_result(plain: tuple[Any, ...], views: list[memoryview]) -> Any:
    """Return the result that `dump_result` took apart.

    Raises:
        ValueError: it is none.
    """
    value, kind = plain
    if kind == "reply":
        return Reply(*value)
    if kind == "response":
        return load_response(value, views)
    if kind != "value":
        raise ValueError("this is no result of a handler")
    return value


def dump_context(context: CallContext) -> tuple[Any, ...]:
    """Return a context as a tuple.

    The deadline is sent unchanged, because all processes of a machine share the monotonic clock. The receiver
    gets a timeline of its own, and of the principal its name alone.
    """
    return (
        context.request_id,
        context.deadline,
        context.priority,
        # As a rule this is the object in the parameters of the request, which pickle then writes once.
        context.headers if type(context.headers) is dict else dict(context.headers),
        dict(context.trace),
        context.transport,
        [(link.request_id, dict(link.trace)) for link in context.links if link.trace],
        context.timeline is not None,
        context.principal.name if context.principal is not None else None,
    )


def load_context(plain: tuple[Any, ...]) -> CallContext:
    """Return the context that `dump_context` took apart."""
    request_id, deadline, priority, headers, trace, transport, links, observed, principal = plain
    members = [CallContext(link, trace=link_trace) for link, link_trace in links]
    timeline = Timeline() if observed else None
    context = CallContext(request_id, deadline, priority, headers, trace, transport, members, timeline)
    if principal is not None:
        context.principal = Principal(principal)
    return context


def dump_timeline(context: CallContext) -> Spans | None:
    """Return the spans of a call in this process, or None if no interceptor observes it."""
    return None if context.timeline is None else context.timeline.plain()


def load_timeline(plain: Spans | None, context: CallContext) -> None:
    """Add the spans of a call in another process to its timeline."""
    if plain is not None and context.timeline is not None:
        context.timeline.extend(*plain)


def dump_metadata(tensors: tuple[MetadataTensor, ...]) -> list[tuple[Any, ...]]:
    """Return declared tensors as tuples."""
    return [
        (tensor.name, str(tensor.datatype), list(tensor.shape), _dump_parameters(tensor.parameters))
        for tensor in tensors
    ]


def load_metadata(plain: list[tuple[Any, ...]]) -> tuple[MetadataTensor, ...]:
    """Return the tensors that `dump_metadata` took apart."""
    return tuple(
        MetadataTensor(name, datatype, shape, _load_parameters(parameters))
        for name, datatype, shape, parameters in plain
    )


def dump_info(info: ModelInfo) -> dict[str, Any]:
    """Return a model's description as plain values, by field."""
    plain = {name: getattr(info, name) for name in fields_dict(ModelInfo)}
    plain |= {
        "inputs": dump_metadata(info.inputs),
        "outputs": dump_metadata(info.outputs),
        "metrics": [astuple(metric) for metric in info.metrics],
        "parameters": _dump_parameters(info.parameters),
        "handlers": {name: astuple(options) for name, options in info.handlers.items()},
    }
    found: dict[str, Any] = plain_value(plain)
    return found


def load_info(plain: dict[str, Any], replicas: int) -> ModelInfo:
    """Return the description that `dump_info` took apart, for a model with this number of replicas."""
    declared = {name: load_metadata(plain[name]) for name in ("inputs", "outputs")}
    rest = {
        "metrics": tuple(Metric(*fields) for fields in plain["metrics"]),
        "parameters": _load_parameters(plain["parameters"]),
        "handlers": {name: HandlerOptions(*fields) for name, fields in plain["handlers"].items()},
        "replicas": replicas,
    }
    return ModelInfo(**plain | declared | rest)


def _dump_parameters(parameters: Parameters | None) -> dict[str, Any] | None:
    return None if parameters is None else parameters.dict()


def _load_parameters(plain: dict[str, Any] | None) -> Parameters | None:
    return None if plain is None else Parameters(**plain)


def _parts(parameters: Parameters | None) -> tuple[str | None, dict[str, str] | None, dict[str, Any]] | None:
    if parameters is None:
        return None
    return parameters.content_type, parameters.headers, parameters.extra


def _joined(parts: tuple[Any, ...] | None) -> Parameters | None:
    return None if parts is None else Parameters.construct(*parts)


def _dump_tensor(tensor: RequestInput | ResponseOutput, buffers: Buffers) -> tuple[Any, ...]:
    """Return a tensor as a tuple.

    Its last but one item holds the elements of a numeric array as bytes, the index of a large array in
    `buffers`, or a long list of texts in packed form.
    """
    data = tensor.data
    datatype = tensor.datatype
    array_type: tuple[str, tuple[int, ...]] | None = None
    if isinstance(data, np.ndarray):
        if type(data) is not np.ndarray:
            data = numeric(data, datatype) if datatype is not Datatype.BYTES else plain_array(data)
        if data.dtype.kind in "biufc":
            array = data if data.flags.c_contiguous else data.copy(order="C")
            array_type = (array.dtype.str, array.shape)
            if array.nbytes < BUFFER_THRESHOLD:
                data = bytearray(array.data)  # unpickled as a writable copy
            else:
                data = len(buffers)
                buffers.append(array)
        else:
            data = data.tolist()
    if type(data) is list:
        packed = pack_texts(data)
        if packed is not None:
            array_type, data = PACKED, packed
    return (
        tensor.name if type(tensor.name) is str else plain_text(tensor.name),
        tensor.shape if type(tensor.shape) is list else list(tensor.shape),
        str.__str__(datatype),
        _parts(tensor.parameters),
        array_type,
        data,
        tensor.nested,
    )


def _load_tensor(cls: type[_T], plain: tuple[Any, ...], views: list[memoryview]) -> _T:
    """Return the tensor that `_dump_tensor` took apart."""
    name, shape, datatype, parameters, array_type, data, nested = plain
    if array_type == PACKED:
        data = unpack_texts(data)
    elif array_type is not None:
        dtype, array_shape = array_type
        data = np.ndarray(array_shape, numeric_dtype(dtype), views[data] if type(data) is int else data)
    return cls.construct(name, shape, to_datatype(datatype), data, _joined(parameters), nested)
