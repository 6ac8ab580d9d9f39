"""Inference codec: bodies of JSON alone, and of JSON followed by binary tensors."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TypeAlias

from mlsrv.types import InferenceRequest, InferenceResponse, MetadataTensor
from mlsrv_protocol import binary
from mlsrv_protocol.json import decode_request, encode_response
from mlsrv_rest.asgi import Body
from mlsrv_rest.body_decoder import THREAD_BYTES
from mlsrv_rest.buffered_response import JSON, BufferedResponse
from mlsrv_rest.headers import headers_of, response_headers, without_headers

DeclaredInputs: TypeAlias = Callable[[], list[MetadataTensor]]
"""Returns the inputs that the model declares."""

_OCTETS = (b"content-type", b"application/octet-stream")
_HEADER = binary.HEADER.encode()


def decode(
    body: Body, length: str | None, declared: DeclaredInputs
) -> tuple[InferenceRequest, Container[str]]:
    """Return the request in a body, and the names of the outputs that the client wants binary.

    The header ``Inference-Header-Content-Length`` alone tells JSON from binary; content types are ignored,
    because clients send arbitrary ones. A length of 0 means that the whole body is the data of the model's
    single input.

    Args:
        body: decompressed.
        length: the value of that header; None without it.
        declared: called only if the length is 0.

    Raises:
        InvalidPayload: the body breaks a rule of the protocol.
    """
    if length is None:
        request = decode_request(body)
        if request.outputs is None and request.parameters is None:
            return request, binary.NONE
    else:
        size = binary.read_header(length, len(body))
        request = binary.decode_request(body, size) if size else binary.raw_request(body, declared())
    return request, binary.pop_binary_outputs(request)


def is_quick(body: Body, length: str | None) -> bool:
    """Return whether a body is decoded in a short time: it is small, or the JSON before its binary tensors
    is, and none of these is of BYTES, whose elements are decoded one by one."""
    if len(body) < THREAD_BYTES:
        return True
    if length is None or len(length) > 5 or not length.isdecimal() or int(length) >= THREAD_BYTES:
        return False
    text = body[: int(length)]
    # A backslash may begin an escape sequence of a letter of BYTES.
    return b"BYTES" not in text and b"\\" not in text


def encode(response: InferenceResponse, wanted: Container[str]) -> BufferedResponse:
    """Return the HTTP response for a response of a model. Its ``parameters.headers`` become HTTP headers and
    are left out of the body.

    Raises:
        InvalidOutput: the response cannot be written.
    """
    headers = headers_of(response)
    extra = response_headers(headers) if headers else []
    plain = without_headers(response)
    if wanted == binary.NONE or not any(output.name in wanted for output in plain.outputs):
        body = encode_response(plain)
        return BufferedResponse(200, [JSON, (b"content-length", b"%d" % len(body)), *extra], body)
    size, pieces = binary.encode_response(plain, wanted)
    body = b"".join(pieces)
    framing = [_OCTETS, (b"content-length", b"%d" % len(body)), (_HEADER, b"%d" % size)]
    return BufferedResponse(200, [*framing, *extra], body)
