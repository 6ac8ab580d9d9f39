"""Placement: a model on the cluster."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray.exceptions import RayError

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError
from mlsrv.handlers import Arguments, HandlerRequest
from mlsrv.placement import ModelInfo, Placement
from mlsrv_executor_kit import serialization
from mlsrv_protocol.types import InferenceRequest, InferenceResponse
from mlsrv_ray.actor import STREAM_WINDOW
from mlsrv_ray.calls import answer_of, load_phases, pack_call
from mlsrv_ray.replica import Replica
from mlsrv_ray.replicas import Replicas

_streams = itertools.count(1)


class RayPlacement(Placement):
    """The placement of a model on a cluster.

    Args:
        name: of the model.
        info: its description.
        replicas: its replicas.
        cluster_problem: returns why the cluster cannot be used, or None.
        on_unload: called when the model was unloaded.
    """

    def __init__(
        self,
        name: str,
        info: ModelInfo,
        replicas: Replicas,
        cluster_problem: Callable[[], str | None],
        on_unload: Callable[[RayPlacement], None],
    ) -> None:
        self.info = info
        self.replicas = replicas
        self._name = name
        self._cluster_problem = cluster_problem
        self._on_unload = on_unload

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        buffers: serialization.Buffers = []
        body = pack_call(self._name, (serialization.dump_request(request, buffers),), context)
        replica = await self._reserve(context)
        asked = time.monotonic_ns()
        with self._served(replica):
            answer = await replica.ask("infer", body, *buffers)
        (plain, phases), views = answer_of(answer, context, asked)
        load_phases(phases, context, asked)
        return serialization.load_response(plain, views)

    async def call(self, method: str, arguments: Arguments, context: CallContext) -> Any:
        given = arguments if isinstance(arguments, HandlerRequest) else dict(arguments)
        body = pack_call(self._name, (method, given), context)
        replica = await self._reserve(context)
        asked = time.monotonic_ns()
        with self._served(replica):
            answer = await replica.ask("call", body)
        return serialization.load_result(*answer_of(answer, context, asked))

    async def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        body = pack_call(self._name, (), context)
        replica = await self._reserve(context)
        call = next(_streams)
        asked = time.monotonic_ns()
        with self._served(replica):
            try:
                answers = replica.stream(call, body, STREAM_WINDOW)
                feeder = asyncio.create_task(self._feed(replica, call, requests, answers))
                try:
                    while (answer := await replica.next_of(answers)) is not None:
                        (plain, *rest), views = answer_of(answer, context, asked)
                        if plain is None:
                            load_phases(rest[0], context, asked)
                        else:
                            yield serialization.load_response(plain, views)
                    if feeder.done() and not feeder.cancelled() and feeder.exception() is not None:
                        await feeder
                except RayError as error:
                    raise self._refused(feeder) or replica.failure(error) from error
                finally:
                    feeder.cancel()
                    replica.cancel(answers)
                    await asyncio.gather(feeder, return_exceptions=True)
            finally:
                replica.running -= 1

    async def unload(self) -> None:
        await self.replicas.close()
        self._on_unload(self)

    @property
    def problem(self) -> str | None:
        if self.replicas.count:
            return None
        return self._cluster_problem() or self.replicas.problem

    async def _reserve(self, context: CallContext) -> Replica:
        replica = await self.replicas.reserve()
        context.worker = replica.number
        return replica

    @contextmanager
    def _served(self, replica: Replica) -> Iterator[None]:
        try:
            yield
        finally:
            replica.idle_since = asyncio.get_running_loop().time()
            self.replicas.serve()

    async def _feed(
        self, replica: Replica, call: int, requests: AsyncIterator[InferenceRequest], answers: Any
    ) -> None:
        # One at a time: calls to an actor may overtake each other.
        try:
            async for request in requests:
                buffers: serialization.Buffers = []
                plain = serialization.dump_request(request, buffers)
                await replica.feed(call, plain, *buffers)
            await replica.feed(call, None)
        except Exception:
            # An interceptor or the transport refused a request: its error ends the stream.
            replica.cancel(answers)
            raise

    @staticmethod
    def _refused(feeder: asyncio.Task[None]) -> BaseException | None:
        """Return the error of a request that was refused, which ended the stream."""
        if not feeder.done() or feeder.cancelled():
            return None
        error = feeder.exception()
        return error if isinstance(error, MLSrvError) else None
