"""Bodies: the wire form of requests and responses where headers travel beside them, as over HTTP and Kafka.

A body is JSON alone, or JSON followed by binary tensors. The header `Inference-Header-Content-Length` alone
tells the two apart; content types are ignored, because clients send arbitrary ones.
"""

from collections.abc import Callable, Container
from typing import TypeAlias

from mlsrv_protocol import binary
from mlsrv_protocol.inference import InferenceRequest, InferenceResponse
from mlsrv_protocol.json import decode_request as decode_json
from mlsrv_protocol.json import encode_response as encode_json
from mlsrv_protocol.metadata import MetadataTensor
from mlsrv_protocol.parameters import Parameters

Body: TypeAlias = bytes | bytearray | memoryview

DeclaredInputs: TypeAlias = Callable[[], list[MetadataTensor]]
"""Returns the inputs that the model declares."""

SLOW_BYTES = 2**16
"""Bytes of JSON from which decoding takes long enough to hold others up."""


def decode_request(
    body: Body, length: str | None, declared: DeclaredInputs
) -> tuple[InferenceRequest, Container[str]]:
    """Return the request in a body, and the names of the outputs that the client wants binary.

    A length of 0 means that the whole body is the data of the model's single input.

    Args:
        body: decompressed.
        length: the value of the header `Inference-Header-Content-Length`; None without it.
        declared: called only if the length is 0.

    Raises:
        InvalidPayload: the body breaks a rule of the protocol.
    """
    if length is None:
        request = decode_json(body)
        if request.outputs is None and request.parameters is None:
            return request, binary.NONE
    else:
        size = binary.read_header(length, len(body))
        request = binary.decode_request(body, size) if size else binary.raw_request(body, declared())
    return request, binary.pop_binary_outputs(request)


def is_quick(body: Body, length: str | None) -> bool:
    """Return whether a body is decoded in a short time: it is small, or the JSON before its binary tensors
    is, and none of these is of BYTES, whose elements are decoded one by one."""
    if len(body) < SLOW_BYTES:
        return True
    if length is None or len(length) > 5 or not length.isdecimal() or int(length) >= SLOW_BYTES:
        return False
    text = body[: int(length)]
    # A backslash may begin an escape sequence of a letter of BYTES.
    return b"BYTES" not in text and b"\\" not in text


def encode_response(response: InferenceResponse, wanted: Container[str]) -> tuple[bytes, int | None]:
    """Return the body of a response, and the length of its JSON where binary tensors follow, else None.

    Its `parameters.headers` are left out: they travel beside the body, see `headers_of`.

    Args:
        response: is not changed.
        wanted: names of the outputs that the client wants binary.

    Raises:
        InvalidOutput: the response cannot be written.
    """
    plain = without_headers(response)
    if wanted == binary.NONE or not any(output.name in wanted for output in plain.outputs):
        return encode_json(plain), None
    size, pieces = binary.encode_response(plain, wanted)
    return b"".join(pieces), size


def headers_of(response: InferenceResponse) -> dict[str, str]:
    """Return the headers that a model set on its response."""
    return (response.parameters.headers if response.parameters is not None else None) or {}


def without_headers(response: InferenceResponse) -> InferenceResponse:
    """Return the response without its headers. The given one, which a cache may hold, is not changed; a copy
    shares its tensors."""
    parameters = response.parameters
    if parameters is None or not parameters.headers:
        return response
    rest = Parameters(parameters.content_type, **parameters.extra)
    return InferenceResponse.construct(
        response.model_name,
        response.outputs,
        response.model_version,
        response.id,
        rest if rest.keys() else None,
    )
