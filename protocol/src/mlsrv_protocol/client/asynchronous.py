"""Async client: an asyncio client of one server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from mlsrv_protocol.client import calls
from mlsrv_protocol.client.base import BaseClient
from mlsrv_protocol.client.channel import streaming
from mlsrv_protocol.client.result import Result
from mlsrv_protocol.client.retries import run_async
from mlsrv_protocol.metadata import MetadataModelResponse, MetadataServerResponse
from mlsrv_protocol.repository import RepositoryIndexResponseItem


class AsyncClient(BaseClient):
    """A client of one server, for asyncio; the arguments and errors are those of `BaseClient`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._channel.close_async()

    async def infer(
        self,
        model: str,
        inputs: calls.Inputs,
        *,
        version: str | None = None,
        outputs: Sequence[str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        id: str | None = None,
        as_json: bool = False,
        repeatable: bool = False,
    ) -> Result:
        """Run an inference; see `Client.infer` for its arguments and errors."""
        request = calls.make_request(
            model, inputs, version=version, outputs=outputs, parameters=parameters, id=id
        )
        return await run_async(
            self._channel, calls.infer(request, as_json=as_json, repeatable=repeatable), self._retries
        )

    def stream(
        self,
        model: str,
        inputs: calls.Inputs,
        *,
        version: str | None = None,
        outputs: Sequence[str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        id: str | None = None,
        as_json: bool = False,
    ) -> AsyncIterator[Result]:
        """Ask a model that streams, and yield each of its responses; see `Client.stream`."""
        request = calls.make_request(
            model, inputs, version=version, outputs=outputs, parameters=parameters, id=id
        )
        return streaming(self._channel).stream_async(calls.infer(request, as_json=as_json, repeatable=False))

    async def live(self) -> bool:
        """Return whether the server is alive."""
        return await run_async(self._channel, calls.live(), self._retries)

    async def ready(self) -> bool:
        """Return whether every model that should be loaded is ready."""
        return await run_async(self._channel, calls.ready(), self._retries)

    async def metadata(self) -> MetadataServerResponse:
        """Return name, version and extensions of the server."""
        return await run_async(self._channel, calls.server_metadata(), self._retries)

    async def model_ready(self, name: str, version: str | None = None) -> bool:
        """Return whether a model is ready for requests."""
        return await run_async(self._channel, calls.model_ready(name, version), self._retries)

    async def model_metadata(self, name: str, version: str | None = None) -> MetadataModelResponse:
        """Return platform, versions, inputs and outputs of a model."""
        return await run_async(self._channel, calls.model_metadata(name, version), self._retries)

    async def index(self, only_ready: bool = False) -> list[RepositoryIndexResponseItem]:
        """List every version of every model with its state and reason."""
        return await run_async(self._channel, calls.index(only_ready), self._retries)

    async def load(self, name: str) -> None:
        """Load or reload all versions of a model; return when they are ready."""
        await run_async(self._channel, calls.control(name, "load"), self._retries)

    async def unload(self, name: str) -> None:
        """Unload all versions of a model."""
        await run_async(self._channel, calls.control(name, "unload"), self._retries)

    async def statistics(self, name: str | None = None, version: str | None = None) -> list[dict[str, Any]]:
        """Return the statistics of models since they were loaded: counts, and durations in nanoseconds."""
        return await run_async(self._channel, calls.statistics(name, version), self._retries)
