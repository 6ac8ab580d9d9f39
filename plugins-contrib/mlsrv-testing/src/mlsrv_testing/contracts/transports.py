"""Contract of transports: the cases that each must pass."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mlsrv.authorization import AccessRequest, Authorizer, Principal
from mlsrv.errors import Code, ConfigurationError, MLSrvError, PermissionDenied, Unauthenticated
from mlsrv.kernel.kernel import Kernel
from mlsrv.plugins.markers import hookimpl
from mlsrv.settings import ModelSettings
from mlsrv.testing.models import EchoModel, FailingModel
from mlsrv.testing.requests import tensor_request, text_request
from mlsrv.transport import Transport
from mlsrv_protocol.types import InferenceRequest, InferenceResponse
from mlsrv_testing.contracts.running import eventually, notes, run
from mlsrv_testing.scripted_model import ScriptedModel


class TransportFailure(Exception):
    """Raised by a `TransportClient` that gets an error, with its code and its sentence."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


class TransportClient(ABC):
    """Talks to one transport, as its users do: over a real connection."""

    @abstractmethod
    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Send a request to the model that it names.

        Raises:
            TransportFailure: the answer is an error.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close its connection, also while a request is on its way. Idempotent."""


class TransportContract(ABC):
    """Cases for a `Transport`. Override `transport`, `plugins` and `connect`.

    Attributes:
        server_settings: settings that let it listen on 127.0.0.1, on a port that it chooses itself.
    """

    server_settings: ClassVar[Mapping[str, Any]] = {}

    @property
    @abstractmethod
    def transport(self) -> str:
        """The name under which it is offered."""

    @abstractmethod
    def plugins(self) -> Sequence[object]:
        """The plugins that offer it and its settings; no others are loaded."""

    @abstractmethod
    async def connect(self, transport: Transport) -> TransportClient:
        """A client of a transport that was started; its `endpoints` say where it is."""

    def occupied(self, transport: Transport) -> Mapping[str, Any]:
        """Server settings with which another server would use the address of this one."""
        pytest.skip("this transport has no address of its own")

    def test_it_says_where_it_listens(self) -> None:
        """A started transport has endpoints, a stopped one takes no connection.

        Guards against: a log line with port 0, and sockets that stay open.
        """

        async def case() -> None:
            async with self._served(_model(EchoModel)) as (_, transport):
                assert transport.endpoints, "there are no endpoints"
                assert not any(endpoint.endswith(":0") for endpoint in transport.endpoints)
                client = await self._connect(transport)
                await client.infer(text_request("m", ["a"]))
                await client.close()
                await transport.stop(1)
                assert not await self._answers(transport), "a stopped transport answers"

        run(case())

    def test_answers_are_complete(self) -> None:
        """Name, version, id, and data of texts and numbers.

        Guards against: parts of a message that a transport leaves out.
        """

        async def case() -> None:
            async with self._client(_model(EchoModel, version="v1")) as (_, client):
                response = await client.infer(text_request("m", ["a", "é"], id="mine"))
                assert (response.model_name, response.model_version, response.id) == ("m", "v1", "mine")
                assert [_text(one) for one in response.outputs[0].data] == ["a", "é"]
                response = await client.infer(tensor_request("m", [[1.5, 2.5]], name="x"))
                (output,) = response.outputs
                assert (output.name, output.shape, list(output.data)) == ("x", [1, 2], [1.5, 2.5])

        run(case())

    def test_an_id_is_made_where_there_is_none(self) -> None:
        """Two requests without id get two ids.

        Guards against: answers that cannot be found in the log.
        """

        async def case() -> None:
            async with self._client(_model(EchoModel)) as (_, client):
                ids = {(await client.infer(text_request("m", ["a"]))).id for _ in range(2)}
                assert len(ids) == 2
                assert all(ids)

        run(case())

    def test_errors_carry_the_kernels_code_and_sentence(self) -> None:
        """Each failure is reported with its code and the kernel's own sentence, and no traceback.

        Guards against: one failure that reads differently over each transport, and tracebacks for clients.
        """

        async def case() -> None:
            models = [_model(FailingModel, "bad"), _model(ScriptedModel)]
            async with self._client(*models) as (kernel, client):
                for request in (
                    text_request("unknown", ["a"]),
                    text_request("bad", ["a"]),
                    text_request("m", ["refuse"]),
                    text_request("m", ["exit"]),
                ):
                    with pytest.raises(MLSrvError) as expected:
                        await kernel.infer(request)
                    with pytest.raises(TransportFailure) as caught:
                        await client.infer(request)
                    assert caught.value.code == expected.value.code
                    assert str(caught.value) == str(expected.value)
                    assert "Traceback" not in str(caught.value)
                assert (await client.infer(text_request("m", ["echo"]))).outputs

        run(case())

    def test_a_model_that_is_not_ready(self) -> None:
        """A model that was unloaded is known, and not ready.

        Guards against: "not found" where "try again" is meant.
        """

        async def case() -> None:
            async with self._client(_model(EchoModel)) as (kernel, client):
                await kernel.unload("m")
                with pytest.raises(TransportFailure) as caught:
                    await client.infer(text_request("m", ["a"]))
                assert caught.value.code is Code.NOT_READY

        run(case())

    def test_many_requests_at_once(self) -> None:
        """Each of many concurrent requests, over several connections, gets its own answer.

        Guards against: answers that are matched to the wrong request.
        """

        async def case() -> None:
            async with self._served(_model(EchoModel)) as (_, transport):
                clients = [await self._connect(transport) for _ in range(4)]

                async def ask(number: int) -> str:
                    request = text_request("m", [str(number)])
                    return _text((await clients[number % 4].infer(request)).outputs[0].data[0])

                assert await asyncio.gather(*map(ask, range(40))) == [str(number) for number in range(40)]

        run(case())

    def test_a_request_in_flight_is_answered_while_it_stops(self, tmp_path: Path) -> None:
        """Accepted requests are finished within the grace period.

        Guards against: requests that a rolling update loses.
        """

        async def case() -> None:
            path = tmp_path / "notes"
            slow = _model(_Patient, notes=str(path))
            async with self._served(slow) as (_, transport):
                client = await self._connect(transport)
                running = asyncio.ensure_future(client.infer(text_request("m", ["a"])))
                await eventually("the request", lambda: "waiting" in notes(path))
                stopping = asyncio.ensure_future(transport.stop(20))
                await asyncio.sleep(0.05)
                path.with_suffix(".go").touch()
                assert _text((await running).outputs[0].data[0]) == "a"
                await client.close()
                await asyncio.wait_for(stopping, 10)

        run(case())

    def test_a_request_that_never_ends_does_not_hold_it_up(self, tmp_path: Path) -> None:
        """After the grace period it is cut, and the transport stops.

        Guards against: a server that can only be killed.
        """

        async def case() -> None:
            path = tmp_path / "notes"
            async with self._served(_model(ScriptedModel, notes=str(path))) as (_, transport):
                client = await self._connect(transport)
                running = asyncio.ensure_future(client.infer(text_request("m", ["wait"])))
                await eventually("the request", lambda: "waiting" in notes(path))
                await asyncio.wait_for(transport.stop(0.1), 10)
                await asyncio.wait({running}, timeout=10)
                assert running.done(), "the client still waits"
                running.exception()
                await client.close()

        run(case())

    def test_a_client_that_goes_away_cancels_its_request(self, tmp_path: Path) -> None:
        """The model's work is cancelled, and other requests are answered.

        Guards against: work without a reader, and a server whose loop dies with a connection.
        """

        async def case() -> None:
            path = tmp_path / "notes"
            async with self._served(_model(ScriptedModel, notes=str(path))) as (_, transport):
                client = await self._connect(transport)
                running = asyncio.ensure_future(client.infer(text_request("m", ["wait"])))
                await eventually("the request", lambda: "waiting" in notes(path))
                running.cancel()
                await asyncio.wait({running}, timeout=10)
                await client.close()
                await eventually("the cancellation", lambda: "cancelled" in notes(path))
                other = await self._connect(transport)
                assert (await other.infer(text_request("m", ["echo"]))).outputs
                await other.close()

        run(case())

    def test_who_may_not_come_in_does_not(self) -> None:
        """With an authorizer, the transport asks before it hands a request to the kernel, and reports the
        refusal with its code; the model of an admitted request sees its principal.

        Guards against: a transport through which everything is open, whatever the others ask for.
        """

        async def case() -> None:
            authorizer = _ScriptedAuthorizer()
            models = _model(ScriptedModel), _model(EchoModel, "other")
            async with self._client(*models, authorizer=authorizer) as (_, client):
                request = text_request("m", ["echo"])
                for error, code in (
                    (Unauthenticated("Who are you?"), Code.UNAUTHENTICATED),
                    (PermissionDenied("Not you."), Code.PERMISSION_DENIED),
                ):
                    authorizer.error = error
                    with pytest.raises(TransportFailure) as caught:
                        await client.infer(request)
                    assert (caught.value.code, str(caught.value)) == (code, str(error))
                authorizer.error = None
                assert (await client.infer(request)).outputs
                with pytest.raises(TransportFailure) as caught:
                    await client.infer(text_request("other", ["a"]))
                assert caught.value.code is Code.PERMISSION_DENIED, "the principal is not in the context"
                assert {access.action for access in authorizer.asked} == {"infer"}
                assert all(access.transport for access in authorizer.asked), (
                    "the transport does not say its name"
                )

        run(case())

    def test_starting_and_stopping_are_idempotent(self) -> None:
        """Start twice, stop twice, stop before a start: nothing happens the second time.

        Guards against: a second socket, and errors at the end that hide the first one.
        """

        async def case() -> None:
            async with self._kernel(_model(EchoModel)) as kernel:
                transport = self._make(kernel)
                await transport.stop(0)
                await transport.start()
                endpoints = list(transport.endpoints)
                await transport.start()
                assert list(transport.endpoints) == endpoints
                client = await self._connect(transport)
                assert (await client.infer(text_request("m", ["a"]))).outputs
                await client.close()
                await transport.stop(1)
                await transport.stop(1)

        run(case())

    def test_an_address_that_is_taken(self) -> None:
        """It is one sentence with the address in it, and nothing is left open.

        Guards against: a server that looks alive and cannot be reached, and a traceback for a busy port.
        """

        async def case() -> None:
            async with self._served(_model(EchoModel)) as (_, transport):
                async with self._kernel(_model(EchoModel), **self.occupied(transport)) as kernel:
                    second = self._make(kernel)
                    with pytest.raises(ConfigurationError) as caught:
                        await second.start()
                    assert "\n" not in str(caught.value)
                    port = transport.endpoints[0].rpartition(":")[2].rstrip("/")
                    assert port in str(caught.value)
                    await second.stop(0)

        run(case())

    def test_nothing_runs_on_after_it_stopped(self) -> None:
        """No task is left.

        Guards against: keep-alive timers and accept loops that hold the process.
        """

        async def case() -> None:
            before = asyncio.all_tasks()
            async with self._client(_model(EchoModel)) as (_, client):
                await client.infer(text_request("m", ["a"]))

            def ended() -> bool:
                return not (asyncio.all_tasks() - before)

            await eventually("the end of all tasks", ended)

        run(case())

    def _make(self, kernel: Kernel) -> Transport:
        from mlsrv.plugins.factory import make_offered
        from mlsrv.plugins.offers import TransportOffer

        (offer,) = [one for one in kernel.plugins.offers(TransportOffer) if one.name == self.transport]
        transport: Transport = make_offered(offer, kernel, Transport)
        return transport

    @asynccontextmanager
    async def _kernel(
        self, *models: ModelSettings, authorizer: _ScriptedAuthorizer | None = None, **settings: Any
    ) -> AsyncIterator[Kernel]:
        plugins = [*self.plugins(), *([] if authorizer is None else [authorizer])]
        kernel = Kernel({**self.server_settings, **settings}, plugins=plugins, models=models, discover=False)
        async with kernel:
            await kernel.loaded()
            yield kernel

    @asynccontextmanager
    async def _served(
        self, *models: ModelSettings, authorizer: _ScriptedAuthorizer | None = None
    ) -> AsyncIterator[tuple[Kernel, Transport]]:
        async with self._kernel(*models, authorizer=authorizer) as kernel:
            transport = self._make(kernel)
            await transport.start()
            try:
                yield kernel, transport
            finally:
                await self._close_clients()
                await transport.stop(1)

    async def _connect(self, transport: Transport) -> TransportClient:
        client = await self.connect(transport)
        self.__dict__.setdefault("_clients", []).append(client)
        return client

    async def _close_clients(self) -> None:
        for client in self.__dict__.pop("_clients", ()):
            await client.close()

    @asynccontextmanager
    async def _client(
        self, *models: ModelSettings, authorizer: _ScriptedAuthorizer | None = None
    ) -> AsyncIterator[tuple[Kernel, TransportClient]]:
        async with self._served(*models, authorizer=authorizer) as (kernel, transport):
            yield kernel, await self._connect(transport)

    async def _answers(self, transport: Transport) -> bool:
        try:
            client = await self._connect(transport)
            await asyncio.wait_for(client.infer(text_request("m", ["a"])), 10)
        except Exception:  # each client has its own for a connection that is refused
            return False
        finally:
            await self._close_clients()
        return True


class _ScriptedAuthorizer(Authorizer):
    """An authorizer, and the plugin that has it: refuses with `error`, or admits a principal that may ask the
    model "m" alone."""

    def __init__(self) -> None:
        self.error: MLSrvError | None = None
        self.asked: list[AccessRequest] = []

    @hookimpl
    def mlsrv_authorize(self) -> Authorizer:
        return self

    async def authorize(self, access: AccessRequest) -> Principal:
        self.asked.append(access)
        if self.error is not None:
            raise self.error
        return Principal("guest", {"infer": ["m"]})


class _Patient(EchoModel):
    """Answers once a file beside its notes is there."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        path = Path(self.settings.parameters.extra["notes"])
        await asyncio.to_thread(path.write_text, "waiting\n", encoding="utf-8")
        await eventually("the permission to go on", path.with_suffix(".go").exists)
        return await super().predict(payload)


def _model(
    implementation: type, name: str = "m", version: str | None = None, notes: str | None = None
) -> ModelSettings:
    return ModelSettings(
        name=name,
        implementation=implementation,
        parameters={"version": version, "extra": {"notes": notes} if notes else {}},
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
