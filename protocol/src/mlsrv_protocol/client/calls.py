"""The calls, without any transport: each has its form over HTTP and over gRPC, and knows how to read the
answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

import numpy as np
from attrs import field, frozen

from mlsrv_protocol import binary
from mlsrv_protocol.client.result import Result
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.inference import InferenceRequest, InferenceResponse, RequestInput, RequestOutput
from mlsrv_protocol.json import decode_response, encode_request
from mlsrv_protocol.jsontext import dumps, loads
from mlsrv_protocol.metadata import MetadataModelResponse, MetadataServerResponse
from mlsrv_protocol.parameters import Parameters
from mlsrv_protocol.repository import RepositoryIndexResponse, RepositoryIndexResponseItem

T = TypeVar("T")

Inputs: TypeAlias = InferenceRequest | Mapping[str, Any]
"""What a model is asked: a request, or arrays (anything numpy takes) by the name of the input."""


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
class Reply:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@frozen
class Call(Generic[T]):
    """One call.

    Attributes:
        rpc: its name in gRPC.
        fields: of its gRPC message; an inference is given as its request instead.
        read_message: the meaning of gRPC's response message.
        method, path, body, headers: its HTTP form.
        read_reply: the meaning of an HTTP answer.
        asks: whether the statuses of health calls are answers, not failures.
        repeatable: whether it may be sent again if it is not known whether the server has got it.
    """

    rpc: str
    fields: Mapping[str, Any] | InferenceRequest
    read_message: Callable[[Any], T]
    method: str
    path: str
    read_reply: Callable[[Reply], T]
    body: bytes = b""
    headers: Mapping[str, str] = field(factory=dict)
    asks: bool = False
    repeatable: bool = True


def live() -> Call[bool]:
    """Whether the server is alive."""
    return _health("ServerLive", {}, "/v2/health/live", "live")


def ready() -> Call[bool]:
    """Whether the server is ready."""
    return _health("ServerReady", {}, "/v2/health/ready", "ready")


def model_ready(name: str, version: str | None) -> Call[bool]:
    """Whether a model is ready."""
    return _health("ModelReady", _named(name, version), _path(name, version) + "/ready", "ready")


def server_metadata() -> Call[MetadataServerResponse]:
    """What the server is."""
    return Call(
        "ServerMetadata",
        {},
        lambda message: MetadataServerResponse(message.name, message.version, list(message.extensions)),
        "GET",
        "/v2",
        lambda reply: MetadataServerResponse.parse_raw(reply.body),
    )


def model_metadata(name: str, version: str | None) -> Call[MetadataModelResponse]:
    """What a model is."""

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
        _named(name, version),
        read,
        "GET",
        _path(name, version),
        lambda reply: MetadataModelResponse.parse_raw(reply.body),
    )


def index(only_ready: bool) -> Call[list[RepositoryIndexResponseItem]]:
    """The models of the repository."""

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
        lambda reply: RepositoryIndexResponse.parse_raw(reply.body).items,
        dumps({"ready": True}) if only_ready else b"{}",
    )


def control(name: str, verb: str) -> Call[None]:
    """Load or unload a model."""
    return Call(
        f"RepositoryModel{verb.capitalize()}",
        {"model_name": name},
        lambda message: None,
        "POST",
        f"/v2/repository/models/{quote(name, safe='')}/{verb}",
        lambda reply: None,
        b"{}",
        repeatable=False,
    )


def statistics(name: str | None, version: str | None) -> Call[list[dict[str, Any]]]:
    """What models have done."""

    def read(message: Any) -> list[dict[str, Any]]:
        return [_statistics(one) for one in message.model_stats]

    return Call(
        "ModelStatistics",
        _named(name or "", version),
        read,
        "GET",
        "/v2/models/stats" if name is None else _path(name, version) + "/stats",
        lambda reply: list(loads(reply.body)["model_stats"]),
    )


def infer(request: InferenceRequest, *, as_json: bool, repeatable: bool) -> Call[Result]:
    """An inference: binary tensors over HTTP unless JSON is asked for."""
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
        _path(request.model_name, request.model_version) + "/infer",
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
    """The request for some inputs; a finished one is addressed and otherwise left as it is.

    Raises:
        InvalidPayload: an array has no datatype of the protocol.
    """
    if isinstance(inputs, InferenceRequest):
        request = inputs
    else:
        request = InferenceRequest([_tensor(name, value) for name, value in inputs.items()])
    wanted = request.outputs if outputs is None else [RequestOutput(name) for name in outputs]
    return InferenceRequest(
        request.inputs,
        id or request.id,
        Parameters(**parameters) if parameters is not None else request.parameters,
        wanted,
        model,
        version,
    )


def _tensor(name: str, value: Any) -> RequestInput:
    array = np.asarray(value)
    datatype = Datatype.from_numpy(array.dtype)
    data: Any = array.reshape(-1)
    if datatype is Datatype.BYTES:
        data = data.tolist()
    elif datatype is Datatype.BF16:
        data = data.view(np.uint16)
    return RequestInput(name, list(array.shape), datatype, data)


def _read_inference(reply: Reply) -> Result:
    length = reply.headers.get(binary.HEADER)
    response: InferenceResponse
    if length is None:
        response = decode_response(reply.body)
    else:
        response = binary.decode_response(reply.body, binary.read_header(length, len(reply.body)))
    return Result(response)


def _health(rpc: str, fields: Mapping[str, Any], path: str, name: str) -> Call[bool]:
    return Call(
        rpc,
        fields,
        lambda message: bool(getattr(message, name)),
        "GET",
        path,
        lambda reply: reply.status == 200,
        asks=True,
    )


def _statistics(message: Any) -> dict[str, Any]:
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


def _named(name: str, version: str | None) -> dict[str, str]:
    return {"name": name, "version": version or ""}


def _path(name: str, version: str | None) -> str:
    path = f"/v2/models/{quote(name, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"
