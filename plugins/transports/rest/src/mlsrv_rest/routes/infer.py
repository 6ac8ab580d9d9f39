"""Inference: the hot path, over ASGI messages without request objects."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Container
from typing import Final

from mlsrv.kernel_api import KernelAPI
from mlsrv_protocol import InferenceResponse, Parameters
from mlsrv_protocol.binary import HEADER, NONE
from mlsrv_protocol.bodies import SLOW_BYTES, DeclaredInputs, decode_request, is_quick
from mlsrv_protocol.encoded import EncodedRequest, encoded_request
from mlsrv_protocol.workload import is_large
from mlsrv_rest.asgi import Body
from mlsrv_rest.body_decoder import BodyDecoder
from mlsrv_rest.buffered_response import BufferedResponse
from mlsrv_rest.calls import Call
from mlsrv_rest.headers import accepts_gzip, context_of
from mlsrv_rest.infer_codec import encode, finished

MIN_GZIP_BYTES: Final = 500
_THREAD_BYTES: Final = 2**16


class Infer:
    """Answers inference requests.

    Args:
        kernel: answers the requests.
        decoder: decodes large bodies.
        gzip_enabled: whether responses are compressed for clients that accept it.
    """

    def __init__(self, kernel: KernelAPI, decoder: BodyDecoder, gzip_enabled: bool) -> None:
        self._kernel = kernel
        self._decoder = decoder
        self._gzip = gzip_enabled

    async def __call__(
        self,
        call: Call,
        headers: dict[str, str],
        body: Body,
        name: str,
        version: str | None,
    ) -> BufferedResponse:
        """Return the response to one request.

        Raises:
            MLSrvError: as `Kernel.infer`, or the body is invalid.
            ClientDisconnected: the client disconnected meanwhile; the call was cancelled.
        """
        length = headers.get(HEADER)
        response = None
        if length is None and len(body) < SLOW_BYTES and self._kernel.takes_encoded(name, version):
            encoded = encoded_request(body, name, version)
            if encoded is not None:
                response = await self._answer_encoded(call, headers, encoded)
        if response is None:
            response = await self._answer(call, headers, body, length, name, version)
        if self._gzip and len(response.body) >= MIN_GZIP_BYTES and accepts_gzip(headers):
            return await _compress(response)
        return response

    async def _answer_encoded(
        self, call: Call, headers: dict[str, str], request: EncodedRequest
    ) -> BufferedResponse | None:
        """Return the response to a request that is decoded where the model is, or None if it is not valid."""
        context = context_of(headers, request.id)
        context.principal = call.principal
        answer = await call.wait_for(context, self._kernel.infer(request, context))
        if answer is None:
            return None
        return finished(answer) if answer.response is None else await self._encode(answer.response, NONE)

    async def _answer(
        self,
        call: Call,
        headers: dict[str, str],
        body: Body,
        length: str | None,
        name: str,
        version: str | None,
    ) -> BufferedResponse:
        declared = self._declared_inputs(name, version)
        if is_quick(body, length):
            request, wanted = decode_request(body, length, declared)
        else:
            request, wanted = await self._decoder.run_in_thread(decode_request, body, length, declared)
        request.model_name = name
        request.model_version = version
        if request.parameters is None:
            request.parameters = Parameters()
        request.parameters.headers = headers
        context = context_of(headers, request.id)
        request.id = context.request_id
        context.principal = call.principal
        answer = await call.wait_for(context, self._kernel.infer(request, context))
        return await self._encode(answer, wanted)

    async def _encode(self, answer: InferenceResponse, wanted: Container[str]) -> BufferedResponse:
        if is_large(answer, as_text=wanted == NONE):
            return await self._decoder.run_in_thread(encode, answer, wanted)
        return encode(answer, wanted)

    def _declared_inputs(self, name: str, version: str | None) -> DeclaredInputs:
        """Return a function that looks the declared inputs up, which only a raw body needs."""
        return lambda: list(self._kernel.model_metadata(name, version).inputs)


async def _compress(response: BufferedResponse) -> BufferedResponse:
    if len(response.body) < _THREAD_BYTES:
        body = gzip.compress(response.body, 5, mtime=0)
    else:
        body = await asyncio.to_thread(gzip.compress, response.body, 5, mtime=0)
    headers = [(name, value) for name, value in response.headers if name != b"content-length"]
    headers += [
        (b"content-length", b"%d" % len(body)),
        (b"content-encoding", b"gzip"),
        (b"vary", b"accept-encoding"),
    ]
    return BufferedResponse(response.status, headers, body)
