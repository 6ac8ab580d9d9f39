"""ModelStreamInfer: a stream of requests, each of which is answered independently, as Triton does.

Responses of models that do not stream are sent in the order of their requests, those of models that stream as
they are made; each has the parameter ``triton_final_response``. A request that fails does not end the stream.
Source: Triton's gRPC service; the metadata key ``triton_grpc_error`` of its documentation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Coroutine
from contextlib import aclosing
from functools import partial
from typing import Final

from attrs import frozen

from mlsrv.authorization import requires
from mlsrv.context import CallContext, new_request_id
from mlsrv.errors import Overloaded, ServerNotReady
from mlsrv.kernel_api import KernelAPI
from mlsrv_grpc.call_context import ContextFactory, pop_empty_final
from mlsrv_grpc.delivery import Delivery
from mlsrv_grpc.guarded import check_model
from mlsrv_grpc.message_budget import MessageBudget
from mlsrv_grpc.metadata import trailing_metadata
from mlsrv_grpc.received_messages import received
from mlsrv_grpc.status import Failure, Rpc, abort, failure
from mlsrv_grpc.stream_reader import StreamReader
from mlsrv_grpc.threaded_codec import decode, encode
from mlsrv_protocol import InferenceRequest, InferenceResponse
from mlsrv_protocol.grpc import encode_stream_error, request_id_of

_MAX_CONCURRENT: Final = 64
"""Requests of one stream that are answered concurrently; the next is read when one of them is answered."""
_QUEUE_SIZE: Final = 16
"""Messages that may wait for a slow client before models have to wait, too."""
_ERROR_AS_STATUS: Final = "triton_grpc_error"


class StreamInfer:
    """Answers a stream of requests with a stream of responses.

    Args:
        kernel: answers the requests.
        reader: reads them.
        delivery: notes what clients have not read yet.
        budget: counts the messages whose requests are not answered yet.
        plain: whether a response is a message of its own, instead of a field of one.
    """

    def __init__(
        self,
        kernel: KernelAPI,
        reader: StreamReader,
        delivery: Delivery,
        budget: MessageBudget,
        *,
        plain: bool = False,
    ) -> None:
        self._kernel = kernel
        self._reader = reader
        self._delivery = delivery
        self._budget = budget
        self._plain = plain

    @requires("infer")
    async def __call__(self, requests: AsyncIterable[bytes], rpc: Rpc) -> None:
        stream = _Stream(self._kernel, self._reader, self._delivery, self._budget, rpc, plain=self._plain)
        await stream.run(requests)


@frozen
class _Call:
    request: InferenceRequest
    context: CallContext
    typed: bool
    streams: bool
    empty_final: bool
    counted: int


class _Stream:
    def __init__(
        self,
        kernel: KernelAPI,
        reader: StreamReader,
        delivery: Delivery,
        budget: MessageBudget,
        rpc: Rpc,
        *,
        plain: bool,
    ) -> None:
        self._delivery = delivery
        self._budget = budget
        self._unsent = 0
        self._over = False
        self._kernel = kernel
        self._reader = reader
        self._rpc = rpc
        self._contexts = ContextFactory(rpc)
        self._plain = plain
        # A plain message has no field for an error.
        self._error_as_status = plain or self._contexts.headers.get(_ERROR_AS_STATUS) == "true"
        self._send_queue: asyncio.Queue[bytes | Failure | None] = asyncio.Queue(_QUEUE_SIZE)
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._trailing: dict[str, str | bytes] = {}

    async def run(self, requests: AsyncIterable[bytes]) -> None:
        problem = await self._exchange(requests)
        if problem is None and self._reader.closed:
            problem = failure(ServerNotReady("The server is stopping; open another stream."))
        if problem is not None:
            await abort(self._rpc, problem)
        self._rpc.set_trailing_metadata(tuple(self._trailing.items()))

    async def _exchange(self, requests: AsyncIterable[bytes]) -> Failure | None:
        """Read requests and write responses until all are answered. Returns the failure that ends the stream,
        if any."""
        task = asyncio.current_task()
        assert task is not None
        read_task = asyncio.create_task(self._read(requests))
        try:
            while isinstance(message := await self._send_queue.get(), bytes):
                self._unsent -= len(message)
                self._delivery.watch(task, self._rpc, len(message))
                await self._rpc.write(message)
                self._delivery.end(task)
                del message
            return message
        finally:
            remaining = [read_task, *self._tasks]
            for task in remaining:
                task.cancel()
            try:
                await asyncio.gather(*remaining, return_exceptions=True)
            finally:  # gRPC may cancel this task more than once
                self._over = True
                self._delivery.release(self._unsent)

    async def _read(self, requests: AsyncIterable[bytes]) -> None:
        before: asyncio.Task[None] | None = None
        try:
            async for body in self._reader.read(received(requests, self._rpc)):
                await self._slots.acquire()
                before = await self._begin(body, before)
                del body  # the next one may be long in coming
            if self._tasks:
                await asyncio.wait(self._tasks)
        except Exception as error:
            await self._send_queue.put(failure(error))
        else:
            await self._send_queue.put(None)

    async def _begin(self, body: bytes, before: asyncio.Task[None] | None) -> asyncio.Task[None] | None:
        """Begin to answer a request; return the task after which the next answer is sent."""
        try:
            call = await self._open(body)
        except Exception as error:  # any error is the failure of this request alone
            context = CallContext(request_id_of(body) or new_request_id())
            return self._start(self._send_after(self._error_message(error, context), before))
        if not call.streams:
            return self._start(self._answer_once(call, before), call.counted)
        self._start(self._answer_stream(call), call.counted)
        return before

    async def _open(self, body: bytes) -> _Call:
        counted = self._budget.hold(body)
        try:
            request, typed = await decode(body)
            empty_final = pop_empty_final(request)
            context = self._contexts.context(request)
            check_model(request.model_name)
            info = self._kernel.handle(request.model_name, request.model_version).info
        except BaseException:
            self._budget.release(counted)
            raise
        return _Call(request, context, typed, info is not None and info.streams, empty_final, counted)

    def _start(self, work: Coroutine[None, None, None], counted: int = 0) -> asyncio.Task[None]:
        """Start a task that answers a request, of whose message so many bytes are counted."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, counted))
        return task

    def _ended(self, counted: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.release()
        self._budget.release(counted)

    async def _answer_once(self, call: _Call, before: asyncio.Task[None] | None) -> None:
        message: bytes | Failure
        try:
            response = await self._kernel.infer(call.request, call.context)
            message = await self._encode(response, call, final=True)
        except Exception as error:
            message = self._error_message(error, call.context)
        await self._send_after(message, before)

    async def _send_after(self, message: bytes | Failure, before: asyncio.Task[None] | None) -> None:
        message = self._held(message)
        if before is not None:
            await asyncio.wait({before})
        await self._send_queue.put(message)

    def _held(self, message: bytes | Failure) -> bytes | Failure:
        """Count a message that is to be sent; return the failure that ends the stream if there is no room."""
        if isinstance(message, bytes) and not self._over:
            try:
                self._delivery.hold(len(message))
            except Overloaded as error:
                return failure(error)
            self._unsent += len(message)
        return message

    async def _answer_stream(self, call: _Call) -> None:
        try:
            responses = self._kernel.stream(call.request, call.context)
            async with aclosing(responses):  # type: ignore[type-var]  # it is an async generator
                async for response in responses:
                    await self._send_queue.put(self._held(await self._encode(response, call, final=False)))
        except Exception as error:
            await self._send_queue.put(self._held(self._error_message(error, call.context)))
            return
        if call.empty_final:
            request = call.request
            end = InferenceResponse(
                model_name=request.model_name, model_version=request.model_version, id=request.id
            )
            await self._send_queue.put(self._held(await self._encode(end, call, final=True)))

    async def _encode(self, response: InferenceResponse, call: _Call, *, final: bool) -> bytes:
        if response.parameters is not None and response.parameters.headers:
            self._trailing |= trailing_metadata(response.parameters.headers)
        if self._plain:
            return await encode(response, call.typed)
        return await encode(response, call.typed, stream=True, final=final)

    def _error_message(self, error: Exception, context: CallContext) -> bytes | Failure:
        """Return the message to send in place of a response; a `Failure` ends the stream with its status."""
        reported = failure(error, context)
        return (
            reported if self._error_as_status else encode_stream_error(reported.details, context.request_id)
        )
