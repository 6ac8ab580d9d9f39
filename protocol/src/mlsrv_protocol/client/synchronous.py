"""Client: a synchronous client of one server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from mlsrv_protocol.client import calls
from mlsrv_protocol.client.base import BaseClient
from mlsrv_protocol.client.channel import streaming
from mlsrv_protocol.client.result import Result
from mlsrv_protocol.client.retries import run
from mlsrv_protocol.metadata import MetadataModelResponse, MetadataServerResponse
from mlsrv_protocol.repository import RepositoryIndexResponseItem


class Client(BaseClient):
    """A synchronous client of one server; the arguments and errors are those of `BaseClient`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._channel.close()

    def infer(
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
        """Run an inference.

        Args:
            model: its name.
            inputs: arrays by name (anything that numpy takes), or a whole `InferenceRequest`.
            version: of the model; None lets the server choose.
            outputs: names of the outputs to return; None means all.
            parameters: of the request.
            id: of the request; None lets the server make one.
            as_json: over HTTP, send and receive JSON in place of binary tensors.
            repeatable: send it again if the server is overloaded or the connection breaks.

        Raises:
            InvalidPayload: the inputs cannot be sent.
        """
        request = calls.make_request(
            model, inputs, version=version, outputs=outputs, parameters=parameters, id=id
        )
        return run(self._channel, calls.infer(request, as_json=as_json, repeatable=repeatable), self._retries)

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
    ) -> Iterator[Result]:
        """Ask a model that streams, and yield each of its responses; over Kafka alone.

        The arguments are those of `infer`; the timeout is for each response. One that comes twice is yielded
        once.

        Raises:
            InvalidPayload: the inputs cannot be sent.
            ServerError: the server fails, perhaps after some responses.
        """
        request = calls.make_request(
            model, inputs, version=version, outputs=outputs, parameters=parameters, id=id
        )
        return streaming(self._channel).stream(calls.infer(request, as_json=as_json, repeatable=False))

    def live(self) -> bool:
        """Return whether the server is alive."""
        return run(self._channel, calls.live(), self._retries)

    def ready(self) -> bool:
        """Return whether every model that should be loaded is ready."""
        return run(self._channel, calls.ready(), self._retries)

    def metadata(self) -> MetadataServerResponse:
        """Return name, version and extensions of the server."""
        return run(self._channel, calls.server_metadata(), self._retries)

    def model_ready(self, name: str, version: str | None = None) -> bool:
        """Return whether a model is ready for requests."""
        return run(self._channel, calls.model_ready(name, version), self._retries)

    def model_metadata(self, name: str, version: str | None = None) -> MetadataModelResponse:
        """Return platform, versions, inputs and outputs of a model."""
        return run(self._channel, calls.model_metadata(name, version), self._retries)

    def index(self, only_ready: bool = False) -> list[RepositoryIndexResponseItem]:
        """List every version of every model with its state and reason."""
        return run(self._channel, calls.index(only_ready), self._retries)

    def load(self, name: str) -> None:
        """Load or reload all versions of a model; return when they are ready."""
        run(self._channel, calls.control(name, "load"), self._retries)

    def unload(self, name: str) -> None:
        """Unload all versions of a model."""
        run(self._channel, calls.control(name, "unload"), self._retries)

    def statistics(self, name: str | None = None, version: str | None = None) -> list[dict[str, Any]]:
        """Return the statistics of models since they were loaded: counts, and durations in nanoseconds."""
        return run(self._channel, calls.statistics(name, version), self._retries)
