"""Streams of responses as server-sent events: each event is ``data: `` and the JSON of one response.

An error before the first response is answered like any other error, and so is a first response that has no
JSON form; a later one is an event ``data: {"error": …}``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mlsrv.authorization import requires
from mlsrv.context import CallContext
from mlsrv.errors import Unsupported
from mlsrv.kernel_api import KernelAPI
from mlsrv.types import InferenceRequest, InferenceResponse, MetadataModelResponse, Parameters
from mlsrv_protocol.bodies import headers_of, without_headers
from mlsrv_protocol.json import decode_json_object, decode_request, encode_error, encode_response
from mlsrv_protocol.workload import is_large
from mlsrv_rest.body_decoder import BodyDecoder
from mlsrv_rest.errors import client_message
from mlsrv_rest.headers import response_headers
from mlsrv_rest.routes import generate
from mlsrv_rest.routes.common import CALL, begin_context, model_and_version

AHEAD = 64
"""Events that may wait for a slow client before the model has to wait, too."""
AHEAD_BYTES = 2**18
"""Bytes that they may have together, beside the last one."""

Encode = Callable[[InferenceResponse], bytes]


class Streaming:
    """Endpoints that stream, and ``generate``, whose bodies the streams also accept."""

    def __init__(self, kernel: KernelAPI, decoder: BodyDecoder) -> None:
        self._kernel = kernel
        self._decoder = decoder

    @requires("infer")
    async def infer_stream(self, request: Request) -> Response:
        """Answer the body of ``infer`` with a stream of its responses."""
        inference = await self._decoder.run(decode_request, await request.body())
        return await self._stream(request, inference, encode_response)

    @requires("infer")
    async def generate_stream(self, request: Request) -> Response:
        """Answer the body of ``generate`` or ``infer`` with a stream of responses of the same form."""
        inference, encode = await self._decode(request, await request.body())
        return await self._stream(request, inference, encode)

    @requires("infer")
    async def generate(self, request: Request) -> Response:
        """Answer input tensors as plain JSON values by name in the same form; accepts the body of ``infer``,
        too."""
        inference, encode = await self._decode(request, await request.body())
        context = self._prepare(request, inference)
        name, version = inference.model_name, inference.model_version
        info = self._kernel.handle(name, version).loaded().placement.info
        answer = (
            self._kernel.infer(inference, context)
            if info.predicts
            else _single_response(self._kernel.stream(inference, context), name)
        )
        result = await request.scope[CALL].wait_for(context, answer)
        headers = response_headers(headers_of(result))
        response = Response(await _encoded(result, encode), media_type="application/json")
        response.raw_headers.extend(headers)
        return response

    def routes(self) -> list[Route]:
        """Return the routes of this group."""
        found = []
        for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            for endpoint in (self.infer_stream, self.generate_stream, self.generate):
                found.append(Route(f"{path}/{endpoint.__name__}", endpoint, methods=["POST"]))
        return found

    async def _decode(self, request: Request, body: bytes) -> tuple[InferenceRequest, Encode]:
        """Return the request in a body of ``generate`` or ``infer``, and the encoder for its responses."""
        metadata = self._kernel.model_metadata(*model_and_version(request))
        return await self._decoder.run(_decode_either, body, metadata)

    def _prepare(self, request: Request, inference: InferenceRequest) -> CallContext:
        """Set model, id and headers of an inference request; returns its context."""
        inference.model_name, inference.model_version = model_and_version(request)
        context = begin_context(request, inference.id)
        inference.id = context.request_id
        if inference.parameters is None:
            inference.parameters = Parameters()
        inference.parameters.headers = dict(context.headers)
        return context

    async def _stream(self, request: Request, inference: InferenceRequest, encode: Encode) -> Response:
        context = self._prepare(request, inference)
        responses = self._kernel.stream(inference, context)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(aclosing(responses))  # type: ignore[type-var]  # an async generator
            first = await request.scope[CALL].wait_for(context, anext(responses, None))
            begin = None if first is None else await _encoded(first, encode)
            response = _EventStream(_events(begin, responses, encode, context), responses)
            response.raw_headers.append((b"content-type", b"text/event-stream; charset=utf-8"))
            response.raw_headers.append((b"cache-control", b"no-cache"))
            if first is not None:
                response.raw_headers.extend(response_headers(headers_of(first)))
            stack.pop_all()
        return response


def _decode_either(body: bytes, metadata: MetadataModelResponse) -> tuple[InferenceRequest, Encode]:
    fields = decode_json_object(body)
    if "inputs" in fields and all(tensor.name != "inputs" for tensor in metadata.inputs):
        return decode_request(body), encode_response
    return generate.decode(fields, metadata), generate.encode


class _EventStream(StreamingResponse):
    """Response that closes the stream of a model, however it ends. Otherwise the model would go on until the
    garbage collector runs.

    Args:
        events: to be sent.
        responses: from which the events are made; closed even if no event was sent.
    """

    def __init__(
        self, events: AsyncGenerator[bytes, None], responses: AsyncIterator[InferenceResponse]
    ) -> None:
        super().__init__(events, media_type=None)
        self._events = events
        self._responses = responses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._responses), aclosing(self._events):  # type: ignore[type-var]  # as above
            await super().__call__(scope, receive, send)


async def _events(
    first: bytes | None,
    responses: AsyncIterator[InferenceResponse],
    encode: Encode,
    context: CallContext,
) -> AsyncGenerator[bytes, None]:
    """Yield the events of a stream; those that are ready together are one chunk."""
    ready: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD)
    has_room = asyncio.Event()
    waiting = 0

    async def put(body: bytes) -> None:
        nonlocal waiting
        event = _event(body)
        waiting += len(event)
        await ready.put(event)
        del body, event  # the client may take its time
        if waiting > AHEAD_BYTES:
            has_room.clear()
            await has_room.wait()

    async def produce() -> None:
        nonlocal first
        try:
            async with aclosing(responses):  # type: ignore[type-var]  # as above
                if first is not None:
                    body, first = first, None
                    sending = put(body)
                    del body
                    await sending
                async for response in responses:
                    await put(await _encoded(response, encode))
        except Exception as error:
            await put(encode_error(client_message(error, context)))
        await ready.put(None)

    producer = asyncio.create_task(produce())
    try:
        ended = False
        while not ended:
            chunk = [await ready.get()]
            while not ready.empty():
                chunk.append(ready.get_nowait())
            ended = chunk[-1] is None
            waiting = 0
            has_room.set()
            joined = b"".join(event for event in chunk if event is not None)
            del chunk
            if joined:
                yield joined
            del joined
    finally:
        # The producer is cancelled once, so that it can close the responses undisturbed. This task may be
        # cancelled several times, which must not reach the producer.
        producer.cancel()
        await asyncio.wait({producer})


async def _encoded(response: InferenceResponse, encode: Encode) -> bytes:
    """Return a response without its headers as JSON; what holds very many values is written in a thread."""
    plain = without_headers(response)
    return await asyncio.to_thread(encode, plain) if is_large(plain, as_text=True) else encode(plain)


def _event(body: bytes) -> bytes:
    return b"data: " + body + b"\n\n"


async def _single_response(responses: AsyncIterator[InferenceResponse], name: str) -> InferenceResponse:
    """Return the single response of a stream. Raises `Unsupported` if there is none, or more."""
    async with aclosing(responses):  # type: ignore[type-var]  # an async generator
        found = [response async for response in _at_most(responses, 2)]
    if len(found) != 1:
        raise Unsupported(f"Model {name} does not answer with exactly one response; use generate_stream.")
    return found[0]


async def _at_most(
    responses: AsyncIterator[InferenceResponse], count: int
) -> AsyncIterator[InferenceResponse]:
    async for response in responses:
        yield response
        count -= 1
        if not count:
            return
