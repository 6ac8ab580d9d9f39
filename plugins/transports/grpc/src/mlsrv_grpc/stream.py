"""ModelStreamInfer, in Triton's shape: every request of a stream is answered on its own.

Responses of ordinary models come in the order of their requests, those of models that stream as they are
made; each has the parameter ``triton_final_response``. A request that fails does not end the stream.
Source: Triton's gRPC service; the metadata key ``triton_grpc_error`` of its documentation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Coroutine
from contextlib import aclosing
from typing import Final

from attrs import frozen

from mlsrv.context import CallContext, new_request_id
from mlsrv.errors import ServerNotReady
from mlsrv.kernel import Kernel
from mlsrv_grpc.call_context import Caller, takes_empty_final
from mlsrv_grpc.metadata import trailing_metadata
from mlsrv_grpc.status import Failure, Rpc, abort, failure
from mlsrv_grpc.stream_reader import Intake
from mlsrv_grpc.threaded_codec import decoded, encoded
from mlsrv_protocol import InferenceRequest, InferenceResponse
from mlsrv_protocol.grpc import encode_stream_error, request_id_of

_AT_ONCE: Final = 64
"""Requests of one stream that are worked on at the same time; the next is read when one of them is done."""
_UNSENT: Final = 16
"""Messages that wait for a client that reads slowly; models wait then, too."""
_STRICT: Final = "triton_grpc_error"


class StreamInfer:
    """Answers a stream of requests with a stream of responses."""

    def __init__(self, kernel: Kernel, intake: Intake) -> None:
        self._kernel = kernel
        self._intake = intake

    async def __call__(self, requests: AsyncIterable[bytes], rpc: Rpc) -> None:
        await _Stream(self._kernel, self._intake, rpc).run(requests)


@frozen
class _Call:
    request: InferenceRequest
    context: CallContext
    typed: bool
    streams: bool
    empty_final: bool


class _Stream:
    def __init__(self, kernel: Kernel, intake: Intake, rpc: Rpc) -> None:
        self._kernel = kernel
        self._intake = intake
        self._rpc = rpc
        self._caller = Caller(rpc)
        self._strict = self._caller.headers.get(_STRICT) == "true"
        self._unsent: asyncio.Queue[bytes | Failure | None] = asyncio.Queue(_UNSENT)
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._trailing: dict[str, str | bytes] = {}

    async def run(self, requests: AsyncIterable[bytes]) -> None:
        problem = await self._exchange(requests)
        if problem is None and self._intake.closed:
            problem = failure(ServerNotReady("The server is stopping; open another stream."))
        if problem is not None:
            await abort(self._rpc, problem)
        self._rpc.set_trailing_metadata(tuple(self._trailing.items()))

    async def _exchange(self, requests: AsyncIterable[bytes]) -> Failure | None:
        """Read and write until there is nothing more to do. Something that ends the stream is returned."""
        reading = asyncio.create_task(self._read(requests))
        try:
            while isinstance(message := await self._unsent.get(), bytes):
                await self._rpc.write(message)
            return message
        finally:
            left = [reading, *self._tasks]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _read(self, requests: AsyncIterable[bytes]) -> None:
        before: asyncio.Task[None] | None = None
        try:
            async for body in self._intake.each(requests):
                await self._places.acquire()
                try:
                    call = await self._open(body)
                except Exception as error:  # whatever it is, it is this request's failure alone
                    context = CallContext(request_id_of(body) or new_request_id())
                    before = self._start(self._in_turn(self._failed(error, context), before))
                    continue
                if call.streams:
                    self._start(self._many(call))
                else:
                    before = self._start(self._one(call, before))
            if self._tasks:
                await asyncio.wait(self._tasks)
        except Exception as error:
            await self._unsent.put(failure(error))
        else:
            await self._unsent.put(None)

    async def _open(self, body: bytes) -> _Call:
        request, typed = await decoded(body)
        empty_final = takes_empty_final(request)
        context = self._caller.context(request)
        info = self._kernel.handle(request.model_name, request.model_version).info
        return _Call(request, context, typed, info is not None and info.streams, empty_final)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._places.release()

    async def _one(self, call: _Call, before: asyncio.Task[None] | None) -> None:
        message: bytes | Failure
        try:
            response = await self._kernel.infer(call.request, call.context)
            message = await self._encoded(response, call, final=True)
        except Exception as error:
            message = self._failed(error, call.context)
        await self._in_turn(message, before)

    async def _in_turn(self, message: bytes | Failure, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        await self._unsent.put(message)

    async def _many(self, call: _Call) -> None:
        try:
            responses = self._kernel.stream(call.request, call.context)
            async with aclosing(responses):  # type: ignore[type-var]  # it is an async generator
                async for response in responses:
                    await self._unsent.put(await self._encoded(response, call, final=False))
        except Exception as error:
            await self._unsent.put(self._failed(error, call.context))
            return
        if call.empty_final:
            request = call.request
            end = InferenceResponse(
                model_name=request.model_name, model_version=request.model_version, id=request.id
            )
            await self._unsent.put(await self._encoded(end, call, final=True))

    async def _encoded(self, response: InferenceResponse, call: _Call, *, final: bool) -> bytes:
        if response.parameters is not None and response.parameters.headers:
            self._trailing |= trailing_metadata(response.parameters.headers)
        return await encoded(response, call.typed, stream=True, final=final)

    def _failed(self, error: Exception, context: CallContext) -> bytes | Failure:
        """What is sent in the place of a response; a failure ends the stream with its status."""
        told = failure(error, context)
        return told if self._strict else encode_stream_error(told.details, context.request_id)
