"""Actor: hosts one model in a process of the cluster. Ray imports this module on the nodes."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from typing import Any

import numpy.typing as npt

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError, ModelFailed, ModelLoadError
from mlsrv.hosting.catalog import Catalog
from mlsrv.hosting.model_host import ModelHost
from mlsrv.threads import run_in_own_thread
from mlsrv_executor_kit import serialization
from mlsrv_executor_kit.joining_threads import JoiningThreads
from mlsrv_executor_kit.plain_data import dump_plain
from mlsrv_executor_kit.plain_values import dump_value
from mlsrv_executor_kit.plugin_specs import PluginSpecs
from mlsrv_hosting_kit.code_snapshot import CodeSnapshot
from mlsrv_protocol.types import InferenceRequest
from mlsrv_ray.artifacts import Archive, unpack
from mlsrv_ray.calls import dump_phases, failed, unpack_call, views_of
from mlsrv_ray.events import Event, Events
from mlsrv_ray.settings import RayModelSettings
from mlsrv_telemetry_kit.default_registry import read_default_registry

STREAM_WINDOW = 8
"""Requests of a stream that wait for the model, and responses that wait for the server."""

_ENDED = 1000
"""Streams that ended last, whose late requests are dropped."""

_READ_ONLY = "read-only"


class ModelActor:
    """Hosts one model. Its methods return answers as `mlsrv_ray.calls` describes them.

    Args:
        plugins: those of the server.
        settings: of the server, as plain data.
        level: of the root logger of the server.
    """

    def __init__(self, plugins: PluginSpecs, settings: dict[str, Any], level: int) -> None:
        self._plugins, self._settings, self._level = plugins, settings, level
        self._threads = JoiningThreads((os.cpu_count() or 1) + 4, "mlsrv-ray")
        self._host: ModelHost
        self._events: Events
        self._catalog: Catalog
        self._copies = False
        self._inputs: dict[int, asyncio.Queue[InferenceRequest | None]] = {}
        self._ended: OrderedDict[int, None] = OrderedDict()

    async def load(
        self, core: str, pickled: bytes, code: CodeSnapshot | None, archive: Archive | None
    ) -> tuple[Any, ...]:
        """Load the model.

        Args:
            core: version of mlsrv-core on the server.
            pickled: settings of the model.
            code: modules of its folder, which is where it is on the server.
            archive: its files, if the nodes do not have them.
        """
        return await self._answer(lambda: self._load(core, pickled, code, archive))

    async def _load(
        self, core: str, pickled: bytes, code: CodeSnapshot | None, archive: Archive | None
    ) -> tuple[Any, ...]:
        here = version("mlsrv-core")
        if here != core:
            raise ModelLoadError(f"The cluster has mlsrv-core {here}, the server {core}.")
        self._events = Events()
        logging.getLogger().handlers = [self._events]
        logging.getLogger().setLevel(self._level)
        self._catalog = Catalog(self._plugins.load(), self._settings)
        try:
            settings = pickle.loads(pickled)
        except Exception as error:  # unpickling imports classes of the embedding application
            what = "The model's settings cannot be read on the cluster"
            raise ModelLoadError.of_unexpected(what, error) from error
        if archive is not None:
            settings = await run_in_own_thread(unpack, archive, settings)
        self._copies = settings.of(RayModelSettings).copy_inputs
        self._host = ModelHost(settings, self._catalog, self._threads, self._events.record, code)
        info = await self._host.load()
        return True, dump_plain(serialization.dump_info(info))

    async def unload(self) -> tuple[list[Event], int, bytes]:
        """Unload the model. Returns what `events` and `metrics` would, for the last time."""
        await self._host.unload()
        await self._catalog.shared.close()
        return *self._events.take(), await self.metrics()

    async def events(self) -> tuple[list[Event], int]:
        """Return log records and values of metrics, as soon as there are some."""
        return await self._events.fetch()

    async def metrics(self) -> bytes:
        """Return the metrics that code made with `prometheus_client` alone, as plain data."""
        return dump_value(await run_in_own_thread(read_default_registry))

    async def infer(self, body: bytes, *arrays: npt.NDArray[Any]) -> tuple[Any, ...]:
        """Answer one request."""
        arrived = time.monotonic_ns()
        (plain,), context = unpack_call(body)

        async def run() -> tuple[Any, ...]:
            request = serialization.load_request(plain, views_of(arrays, copy=self._copies))
            response = await self._host.infer(request, context)
            buffers: serialization.Buffers = []
            phases = dump_phases(context, arrived)
            return True, serialization.dump_response(response, buffers, phases), *buffers

        return await self._answer(run, context, arrived)

    async def call(self, body: bytes) -> tuple[Any, ...]:
        """Call a custom handler."""
        arrived = time.monotonic_ns()
        (method, arguments), context = unpack_call(body)

        async def run() -> tuple[Any, ...]:
            result = await self._host.call(method, arguments, context)
            buffers: serialization.Buffers = []
            return True, serialization.dump_result(result, buffers), *buffers

        return await self._answer(run, context, arrived)

    async def stream(self, call: int, body: bytes) -> AsyncIterator[tuple[Any, ...]]:
        """Answer a stream: responses, and at last the timeline or an error.

        Args:
            call: its number, which `feed` takes.
            body: the call.
        """
        arrived = time.monotonic_ns()
        _, context = unpack_call(body)
        inputs = self._inputs.setdefault(call, asyncio.Queue(STREAM_WINDOW))
        responses = self._host.stream(_requests(inputs), context)
        try:
            async for response in responses:
                buffers: serialization.Buffers = []
                yield True, serialization.dump_response(response, buffers), *buffers
            yield True, dump_plain((None, dump_phases(context, arrived)))
        except MLSrvError as error:
            yield failed(self._explained(error), context, arrived)
        except asyncio.CancelledError:
            context.cancel()
            raise
        finally:
            await responses.aclose()  # type: ignore[attr-defined]  # an async generator
            self._inputs.pop(call, None)
            self._ended[call] = None
            if len(self._ended) > _ENDED:
                self._ended.popitem(last=False)

    async def feed(self, call: int, plain: tuple[Any, ...] | None, *arrays: npt.NDArray[Any]) -> None:
        """Add a request to a stream, or its end (None); waits until the model has taken earlier ones."""
        if call in self._ended:
            return
        inputs = self._inputs.setdefault(call, asyncio.Queue(STREAM_WINDOW))
        request = None
        if plain is not None:
            request = serialization.load_request(plain, views_of(arrays, copy=self._copies))
        await inputs.put(request)

    async def _answer(
        self,
        run: Callable[[], Awaitable[tuple[Any, ...]]],
        context: CallContext | None = None,
        arrived: int = 0,
    ) -> tuple[Any, ...]:
        try:
            return await run()
        except MLSrvError as error:
            return failed(self._explained(error), context, arrived)
        except asyncio.CancelledError:
            if context is not None:
                context.cancel()
            raise
        except Exception as error:  # of any kind: no exception leaves an actor
            text = " ".join(str(error).split())[:300]
            made = ModelFailed(f"Internal error in a replica: {type(error).__name__}: {text}")
            made.what, made.raised = "Internal error in a replica", type(error).__name__
            made.__cause__ = error
            return failed(made, context, arrived)

    def _explained(self, error: MLSrvError) -> MLSrvError:
        """Say how a model may write into its inputs, where it failed to."""
        cause = error.__cause__
        if not self._copies and isinstance(cause, ValueError) and _READ_ONLY in str(cause):
            error.args = (f"{error} Inputs from the cluster's memory are read-only: set copy_inputs.",)
        return error


async def _requests(
    inputs: asyncio.Queue[InferenceRequest | None],
) -> AsyncIterator[InferenceRequest]:
    while (request := await inputs.get()) is not None:
        yield request
