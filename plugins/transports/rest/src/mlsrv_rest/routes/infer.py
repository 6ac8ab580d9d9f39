"""Inference: the hot path. Plain functions over the ASGI messages, no request objects."""

from __future__ import annotations

import asyncio
import gzip
import re
from typing import Final

from mlsrv.context import CallContext, new_request_id
from mlsrv.errors import InvalidPayload, Unsupported
from mlsrv.kernel import Kernel
from mlsrv_protocol import InferenceRequest, InferenceResponse, InvalidOutput, Parameters
from mlsrv_protocol.json import decode_request, encode_response
from mlsrv_rest.errors import ClientGone
from mlsrv_rest.inflight import Call
from mlsrv_rest.reply import JSON, Reply

GZIP_FROM: Final = 500
_IN_A_THREAD: Final = 2**16
_HEADER_LENGTH: Final = "inference-header-content-length"
_REQUEST_ID: Final = "x-request-id"
_LONGEST_ID: Final = 200
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
# The server itself decides about these, whatever a model (that may just echo what it got) says.
_OWN = frozenset(
    (
        "accept-ranges",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "keep-alive",
        "proxy-connection",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_TRACE: Final = ("traceparent", "tracestate")


class Infer:
    """Answers inference requests.

    Args:
        kernel: has the models.
        compress: whether responses are compressed for clients that accept it.
    """

    def __init__(self, kernel: Kernel, compress: bool) -> None:
        self._kernel = kernel
        self._compress = compress

    async def __call__(
        self,
        call: Call,
        headers: dict[str, str],
        body: bytes | bytearray,
        name: str,
        version: str | None,
    ) -> Reply:
        """The answer to one request, whose body has been read.

        Raises:
            MLSrvError: see `Kernel.infer`, or the body is wrong.
            ClientGone: the client went away meanwhile; the call was cancelled.
        """
        request = decode(body, headers)
        request.model_name = name
        request.model_version = version
        request_id = request.id or _given_id(headers) or new_request_id()
        request.id = request_id
        if request.parameters is None:
            request.parameters = Parameters()
        request.parameters.headers = headers
        context = CallContext(request_id, headers=headers, transport="rest")
        if "traceparent" in headers:
            context.trace = {key: headers[key] for key in _TRACE if key in headers}
        call.watch(context)
        try:
            response = await self._kernel.infer(request, context)
        except asyncio.CancelledError:
            if not call.gone:
                raise
            call.task.uncancel()
            raise ClientGone from None
        finally:
            call.unwatch()
        reply = encode(response)
        if self._compress and len(reply.body) >= GZIP_FROM and "gzip" in headers.get("accept-encoding", ""):
            return await _compressed(reply)
        return reply


def decode(body: bytes | bytearray, headers: dict[str, str]) -> InferenceRequest:
    """The request that a body holds. Whether it is JSON is told by the header
    ``Inference-Header-Content-Length`` alone: content types say nothing, clients send whatever they like."""
    if _HEADER_LENGTH in headers:
        length = headers[_HEADER_LENGTH]
        if not length.isdecimal() or not length.isascii() or len(length) > 19 or int(length) > len(body):
            raise InvalidPayload(
                f'The header Inference-Header-Content-Length is "{length[:40]}"; '
                f"it must be a number of bytes of the body, which has {len(body)}."
            )
        if int(length) != len(body):
            raise Unsupported("Binary tensor data is not supported over REST; send the tensors as JSON.")
    return decode_request(body)


def encode(response: InferenceResponse) -> Reply:
    """The answer that carries a response. Its ``parameters.headers`` become headers and leave the body."""
    parameters = response.parameters
    if parameters is None or not parameters.headers:
        body = encode_response(response)
        return Reply(200, [JSON, (b"content-length", b"%d" % len(body))], body)
    extra = response_headers(parameters.headers)
    # The response may live on in a cache: it is not changed, the copy shares its tensors.
    rest = Parameters(parameters.content_type, **parameters.extra)
    body = encode_response(
        InferenceResponse(
            model_name=response.model_name,
            model_version=response.model_version,
            id=response.id,
            parameters=rest if rest.keys() else None,
            outputs=response.outputs,
        )
    )
    return Reply(200, [JSON, (b"content-length", b"%d" % len(body)), *extra], body)


def response_headers(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers that a model wants, in the form of ASGI. Those that belong to the server are left out.

    Raises:
        InvalidOutput: a name or a value cannot be a header; a line break would begin another one.
    """
    found = []
    for name, value in headers.items():
        lower = str(name).lower()
        if lower in _OWN:
            continue
        text = str(value)
        if not _NAME.fullmatch(lower) or not _VALUE.fullmatch(text):
            raise InvalidOutput(
                f"The model returned the header {lower[:60]!r}, which HTTP cannot carry: "
                "names are single words, values one line of Latin-1 text."
            )
        found.append((lower.encode("ascii"), text.strip().encode("latin-1")))
    return found


def _given_id(headers: dict[str, str]) -> str | None:
    given = headers.get(_REQUEST_ID)
    return given if given and len(given) <= _LONGEST_ID else None


async def _compressed(reply: Reply) -> Reply:
    if len(reply.body) < _IN_A_THREAD:
        body = gzip.compress(reply.body, 5, mtime=0)
    else:
        body = await asyncio.to_thread(gzip.compress, reply.body, 5, mtime=0)
    headers = [(name, value) for name, value in reply.headers if name != b"content-length"]
    headers += [
        (b"content-length", b"%d" % len(body)),
        (b"content-encoding", b"gzip"),
        (b"vary", b"accept-encoding"),
    ]
    return Reply(reply.status, headers, body)
