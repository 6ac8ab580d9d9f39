"""Inference codec: HTTP responses for the responses of models."""

from __future__ import annotations

from collections.abc import Container

from mlsrv.types import InferenceResponse
from mlsrv_protocol import binary, bodies
from mlsrv_protocol.encoded import EncodedResponse
from mlsrv_rest.buffered_response import JSON, BufferedResponse
from mlsrv_rest.headers import response_headers

_OCTETS = (b"content-type", b"application/octet-stream")
_HEADER = binary.HEADER.encode()


def encode(response: InferenceResponse, wanted: Container[str]) -> BufferedResponse:
    """Return the HTTP response for a response of a model. Its ``parameters.headers`` become HTTP headers and
    are left out of the body.

    Raises:
        InvalidOutput: the response cannot be written.
    """
    headers = bodies.headers_of(response)
    extra = response_headers(headers) if headers else []
    body, size = bodies.encode_response(response, wanted)
    framing = [JSON] if size is None else [_OCTETS, (_HEADER, b"%d" % size)]
    return BufferedResponse(200, [*framing, (b"content-length", b"%d" % len(body)), *extra], body)


def finished(response: EncodedResponse) -> BufferedResponse:
    """Return the HTTP response for one that is JSON already. Raises as `encode`."""
    extra = response_headers(response.headers) if response.headers else []
    return BufferedResponse(
        200, [JSON, (b"content-length", b"%d" % len(response.body)), *extra], response.body
    )
