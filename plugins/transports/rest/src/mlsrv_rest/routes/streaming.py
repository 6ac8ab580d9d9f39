"""Streams of responses, as server-sent events: each event is ``data: `` and the JSON of one response.

What fails before the first response is answered as any other error; later ones are events ``data: {"error":
…}``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mlsrv.context import CallContext
from mlsrv.errors import Unsupported
from mlsrv.kernel import Kernel
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters
from mlsrv_protocol.json import decode_json_object, decode_request, encode_error, encode_response
from mlsrv_rest.errors import told
from mlsrv_rest.headers import headers_of, response_headers, without_headers
from mlsrv_rest.routes import common as requests
from mlsrv_rest.routes import generate
from mlsrv_rest.routes.common import CALL, model_of

AHEAD = 64
"""Responses that may wait for a slow client before the model has to wait, too."""

Form = Callable[[InferenceResponse], bytes]


class Streaming:
    """Endpoints that stream, and ``generate``, whose form of the body the streams know, too."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def infer_stream(self, request: Request) -> Response:
        """The request of ``infer``, answered by a stream of its responses."""
        return await self._streamed(request, decode_request(await request.body()), encode_response)

    async def generate_stream(self, request: Request) -> Response:
        """The body of ``generate`` or of ``infer``, answered by a stream in the same form."""
        asked, form = self._generated(request, await request.body())
        return await self._streamed(request, asked, form)

    async def generate(self, request: Request) -> Response:
        """Input tensors as plain JSON values by name, answered likewise; the body of ``infer`` is also
        taken."""
        asked, form = self._generated(request, await request.body())
        context = self._addressed(request, asked)
        name, version = asked.model_name, asked.model_version
        info = self._kernel.handle(name, version).loaded().placement.info
        answering = (
            self._kernel.infer(asked, context)
            if info.predicts
            else _only(self._kernel.stream(asked, context), name)
        )
        response = await request.scope[CALL].answered(context, answering)
        headers = response_headers(headers_of(response))
        answer = Response(form(without_headers(response)), media_type="application/json")
        answer.raw_headers.extend(headers)
        return answer

    def routes(self) -> list[Route]:
        found = []
        for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            for endpoint in (self.infer_stream, self.generate_stream, self.generate):
                found.append(Route(f"{path}/{endpoint.__name__}", endpoint, methods=["POST"]))
        return found

    def _generated(self, request: Request, body: bytes) -> tuple[InferenceRequest, Form]:
        metadata = self._kernel.model_metadata(*model_of(request))
        fields = decode_json_object(body)
        if "inputs" in fields and all(tensor.name != "inputs" for tensor in metadata.inputs):
            return decode_request(body), encode_response
        return generate.read(fields, metadata), generate.write

    def _addressed(self, request: Request, asked: InferenceRequest) -> CallContext:
        asked.model_name, asked.model_version = model_of(request)
        context = requests.asked(request, asked.id)
        asked.id = context.request_id
        if asked.parameters is None:
            asked.parameters = Parameters()
        asked.parameters.headers = dict(context.headers)
        return context

    async def _streamed(self, request: Request, asked: InferenceRequest, form: Form) -> Response:
        context = self._addressed(request, asked)
        responses = self._kernel.stream(asked, context)
        try:
            first = await request.scope[CALL].answered(context, anext(responses, None))
        except BaseException:
            await _close(responses)
            raise
        answer = _Answer(_events(first, responses, form, context), responses)
        answer.raw_headers.append((b"content-type", b"text/event-stream; charset=utf-8"))
        answer.raw_headers.append((b"cache-control", b"no-cache"))
        if first is not None:
            answer.raw_headers.extend(response_headers(headers_of(first)))
        return answer


class _Answer(StreamingResponse):
    """Closes what it streams, however it ends: left to the garbage collector, a model would stream on to
    nobody.

    Args:
        events: what is sent.
        responses: what they are made of, to be closed even if none of them was asked for.
    """

    def __init__(self, events: AsyncIterator[bytes], responses: AsyncIterator[InferenceResponse]) -> None:
        super().__init__(events, media_type=None)
        self._responses = responses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await _close(self.body_iterator)
            await _close(self._responses)


async def _events(
    first: InferenceResponse | None,
    responses: AsyncIterator[InferenceResponse],
    form: Form,
    context: CallContext,
) -> AsyncIterator[bytes]:
    """The events; those that are ready together are one chunk."""
    ready: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD)

    async def produce() -> None:
        try:
            if first is not None:
                await ready.put(_event(form(without_headers(first))))
            async for response in responses:
                await ready.put(_event(form(without_headers(response))))
        except Exception as error:
            await ready.put(_event(encode_error(told(error, context))))
        finally:
            await _close(responses)
        await ready.put(None)

    producing = asyncio.create_task(produce())
    try:
        ended = False
        while not ended:
            chunk = [await ready.get()]
            while not ready.empty():
                chunk.append(ready.get_nowait())
            ended = chunk[-1] is None
            together = b"".join(event for event in chunk if event is not None)
            if together:
                yield together
    finally:
        # Cancelled once only, it closes the responses in peace. The one who waits here may be cancelled again
        # and again, and must not pass that on.
        producing.cancel()
        await asyncio.wait({producing})


def _event(body: bytes) -> bytes:
    return b"data: " + body + b"\n\n"


async def _only(responses: AsyncIterator[InferenceResponse], name: str) -> InferenceResponse:
    """The single response of a stream. Raises `Unsupported` if there is none, or more."""
    try:
        found = [response async for response in _at_most(responses, 2)]
    finally:
        await _close(responses)
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


async def _close(iterator: AsyncIterable[object]) -> None:
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()
