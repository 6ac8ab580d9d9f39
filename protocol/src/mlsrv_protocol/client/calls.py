"""Calls: each with its HTTP and its gRPC form, and the functions that read the responses.

No transport is involved; a `Channel` makes a call.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

import numpy as np
from attrs import field, frozen

from mlsrv_protocol import binary
from mlsrv_protocol.client.result import Result
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.inference import InferenceRequest, RequestInput, RequestOutput
from mlsrv_protocol.json import decode_response, encode_request
from mlsrv_protocol.json_text import dumps, loads
from mlsrv_protocol.metadata import MetadataModelResponse, MetadataServerResponse
from mlsrv_protocol.parameters import Parameters
from mlsrv_protocol.repository import RepositoryIndexResponse, RepositoryIndexResponseItem

T = TypeVar("T")

Inputs: TypeAlias = InferenceRequest | Mapping[str, Any]
"""A request, or arrays (anything numpy takes) by the name of the input."""


_DURATIONS = (
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
)


@frozen
class HttpResponse:
    """An HTTP response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@frozen
class Call(Generic[T]):
    """One call.

    Attributes:
        rpc: its method of the gRPC service.
        fields: of its gRPC request message; for an inference, the `InferenceRequest`.
        read_grpc: returns the result for the gRPC response message (for an inference, the
            `InferenceResponse`).
        method, path, body, headers: of its HTTP request.
        read_http: returns the result for the HTTP response.
        is_health_check: statuses 400 and 503 are results, not failures.
        repeatable: safe to send again when the server may already have received it.
    """

    rpc: str
    fields: Mapping[str, Any] | InferenceRequest
    read_grpc: Callable[[Any], T]
    method: str
    path: str
    read_http: Callable[[HttpResponse], T]
    body: bytes = b""
    headers: Mapping[str, str] = field(factory=dict)
    is_health_check: bool = False
    repeatable: bool = True


def live() -> Call[bool]:
    """Return the call that asks whether the server is alive."""
    return _health_call("ServerLive", {}, "/v2/health/live", "live")


def ready() -> Call[bool]:
    """Return the call that asks whether the server is ready."""
    return _health_call("ServerReady", {}, "/v2/health/ready", "ready")


def model_ready(name: str, version: str | None) -> Call[bool]:
    """Return the call that asks whether a model is ready."""
    return _health_call(
        "ModelReady", _model_fields(name, version), _model_path(name, version) + "/ready", "ready"
    )


def server_metadata() -> Call[MetadataServerResponse]:
    """Return the call for the metadata of the server."""
    return Call(
        "ServerMetadata",
        {},
        lambda message: MetadataServerResponse(message.name, message.version, list(message.extensions)),
        "GET",
        "/v2",
        lambda response: MetadataServerResponse.parse_raw(response.body),
    )


def model_metadata(name: str, version: str | None) -> Call[MetadataModelResponse]:
    """Return the call for the metadata of a model."""

    def read(message: Any) -> MetadataModelResponse:
        def tensors(found: Any) -> list[Any]:
            return [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in found]

        return MetadataModelResponse(
            name=message.name,
            platform=message.platform,
            versions=list(message.versions),
            inputs=tensors(message.inputs),
            outputs=tensors(message.outputs),
        )

    return Call(
        "ModelMetadata",
        _model_fields(name, version),
        read,
        "GET",
        _model_path(name, version),
        lambda response: MetadataModelResponse.parse_raw(response.body),
    )


def index(only_ready: bool) -> Call[list[RepositoryIndexResponseItem]]:
    """Return the call for the index of the repository."""

    def read(message: Any) -> list[RepositoryIndexResponseItem]:
        return [
            RepositoryIndexResponseItem(item.name, item.state, item.version or None, item.reason)
            for item in message.models
        ]

    return Call(
        "RepositoryIndex",
        {"ready": only_ready},
        read,
        "POST",
        "/v2/repository/index",
        lambda response: RepositoryIndexResponse.parse_raw(response.body).items,
        dumps({"ready": True}) if only_ready else b"{}",
    )


def control(name: str, verb: str) -> Call[None]:
    """Return the call that loads or unloads a model; `verb` is `load` or `unload`."""
    return Call(
        f"RepositoryModel{verb.capitalize()}",
        {"model_name": name},
        lambda message: None,
        "POST",
        f"/v2/repository/models/{quote(name, safe='')}/{verb}",
        lambda response: None,
        b"{}",
        repeatable=False,
    )


def statistics(name: str | None, version: str | None) -> Call[list[dict[str, Any]]]:
    """Return the call for the statistics of one model, or of all when `name` is None."""

    def read(message: Any) -> list[dict[str, Any]]:
        return [_plain_statistics(one) for one in message.model_stats]

    return Call(
        "ModelStatistics",
        _model_fields(name or "", version),
        read,
        "GET",
        "/v2/models/stats" if name is None else _model_path(name, version) + "/stats",
        lambda response: list(loads(response.body)["model_stats"]),
    )


def infer(request: InferenceRequest, *, as_json: bool, repeatable: bool) -> Call[Result]:
    """Return the call for an inference; over HTTP with binary tensors, or with JSON if `as_json`.

    Raises:
        InvalidPayload: the request cannot be written.
    """
    headers: dict[str, str] = {}
    if as_json:
        body = encode_request(request)
    else:
        length, pieces = binary.encode_request(request)
        body = b"".join(pieces)
        headers[binary.HEADER] = str(length)
    return Call(
        "ModelInfer",
        request,
        Result,
        "POST",
        _model_path(request.model_name, request.model_version) + "/infer",
        _read_inference,
        body,
        headers,
        repeatable=repeatable,
    )


def make_request(
    model: str,
    inputs: Inputs,
    *,
    version: str | None,
    outputs: Sequence[str] | None,
    parameters: Mapping[str, Any] | None,
    id: str | None,
) -> InferenceRequest:
    """Return the request for some inputs; of a given `InferenceRequest`, a copy addressed to the model.

    Raises:
        InvalidPayload: an array has no datatype of the protocol.
    """
    if isinstance(inputs, InferenceRequest):
        request = inputs
    else:
        request = InferenceRequest([_make_input(name, value) for name, value in inputs.items()])
    requested = request.outputs if outputs is None else [RequestOutput(name) for name in outputs]
    return InferenceRequest(
        request.inputs,
        id or request.id,
        Parameters(**parameters) if parameters is not None else request.parameters,
        requested,
        model,
        version,
    )


def _make_input(name: str, value: Any) -> RequestInput:
    array = np.asarray(value)
    datatype = Datatype.from_numpy(array.dtype)
    data: Any = array.reshape(-1)
    if datatype is Datatype.BYTES:
        data = data.tolist()
    elif datatype is Datatype.BF16:
        data = data.view(np.uint16)
    return RequestInput(name, list(array.shape), datatype, data)


def _read_inference(response: HttpResponse) -> Result:
    length = response.headers.get(binary.HEADER)
    if length is None:
        return Result(decode_response(response.body))
    json_length = binary.read_header(length, len(response.body))
    return Result(binary.decode_response(response.body, json_length))


def _health_call(rpc: str, fields: Mapping[str, Any], path: str, name: str) -> Call[bool]:
    return Call(
        rpc,
        fields,
        lambda message: bool(getattr(message, name)),
        "GET",
        path,
        lambda response: response.status == 200,
        is_health_check=True,
    )


def _plain_statistics(message: Any) -> dict[str, Any]:
    numbers = ("last_inference", "inference_count", "execution_count")
    found = message.inference_stats
    durations = {name: getattr(found, name) for name in _DURATIONS}
    return {
        "name": message.name,
        "version": message.version,
        **{name: int(getattr(message, name)) for name in numbers},
        "inference_stats": {
            name: {"count": int(one.count), "ns": int(one.ns)} for name, one in durations.items()
        },
    }


def _model_fields(name: str, version: str | None) -> dict[str, str]:
    return {"name": name, "version": version or ""}


def _model_path(name: str, version: str | None) -> str:
    path = f"/v2/models/{quote(name, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"
