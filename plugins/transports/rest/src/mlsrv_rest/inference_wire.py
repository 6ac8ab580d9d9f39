"""Bodies of inference in either form: JSON alone, or JSON followed by binary tensors."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TypeAlias

from mlsrv.types import InferenceRequest, InferenceResponse, MetadataTensor
from mlsrv_protocol import binary
from mlsrv_protocol.json import encode_response
from mlsrv_rest.headers import headers_of, response_headers, without_headers
from mlsrv_rest.reply import JSON, Reply

Declared: TypeAlias = Callable[[], list[MetadataTensor]]
"""Gives the inputs that the model declares."""

_OCTETS = (b"content-type", b"application/octet-stream")
_HEADER = binary.HEADER.encode()


def decode(
    body: bytes | bytearray, length: str, declared: Declared
) -> tuple[InferenceRequest, Container[str]]:
    """The request in a body whose header ``Inference-Header-Content-Length`` is `length`, and the outputs
    that the client wants binary.

    That header alone tells JSON from binary: content types say nothing, clients send whatever they like. A
    length of 0 means that the whole body is the data of the model's single input.

    Raises:
        InvalidPayload: the body breaks a rule of the protocol.
    """
    size = binary.read_header(length, len(body))
    request = binary.decode_request(body, size) if size else binary.raw_request(body, declared())
    return request, binary.pop_binary_outputs(request)


def encode(response: InferenceResponse, wanted: Container[str]) -> Reply:
    """The answer that carries a response. Its ``parameters.headers`` become headers and leave the body.

    Raises:
        InvalidOutput: the response cannot be written.
    """
    headers = headers_of(response)
    extra = response_headers(headers) if headers else []
    shown = without_headers(response)
    if wanted == binary.NONE or not any(output.name in wanted for output in shown.outputs):
        body = encode_response(shown)
        return Reply(200, [JSON, (b"content-length", b"%d" % len(body)), *extra], body)
    size, pieces = binary.encode_response(shown, wanted)
    body = b"".join(pieces)
    framing = [_OCTETS, (b"content-length", b"%d" % len(body)), (_HEADER, b"%d" % size)]
    return Reply(200, [*framing, *extra], body)
