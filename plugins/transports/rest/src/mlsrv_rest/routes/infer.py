"""Inference: the hot path. Plain functions over the ASGI messages, no request objects."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Container
from typing import Final

from mlsrv.kernel import Kernel
from mlsrv_protocol import Parameters
from mlsrv_protocol.binary import HEADER, NONE, pop_binary_outputs
from mlsrv_protocol.json import decode_request
from mlsrv_rest.calls import Call
from mlsrv_rest.headers import accepts_gzip, context_of
from mlsrv_rest.inference_wire import Declared, decode, encode
from mlsrv_rest.reply import Reply

GZIP_FROM: Final = 500
_IN_A_THREAD: Final = 2**16


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
        wanted: Container[str] = NONE
        if HEADER in headers:
            request, wanted = decode(body, headers[HEADER], self._declared(name, version))
        else:
            request = decode_request(body)
            if request.outputs is not None or request.parameters is not None:
                wanted = pop_binary_outputs(request)
        request.model_name = name
        request.model_version = version
        if request.parameters is None:
            request.parameters = Parameters()
        request.parameters.headers = headers
        context = context_of(headers, request.id)
        request.id = context.request_id
        response = await call.answered(context, self._kernel.infer(request, context))
        reply = encode(response, wanted)
        if self._compress and len(reply.body) >= GZIP_FROM and accepts_gzip(headers):
            return await _compressed(reply)
        return reply

    def _declared(self, name: str, version: str | None) -> Declared:
        """Asks for the declared inputs only when a raw body needs them."""
        return lambda: list(self._kernel.model_metadata(name, version).inputs)


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
