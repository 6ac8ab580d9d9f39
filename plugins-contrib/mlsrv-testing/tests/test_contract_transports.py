"""The transport suite: a toy over a socket keeps it, and each case fails for one that is wrong in that."""

import asyncio
import gc
import inspect
import json
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

import mlsrv
from mlsrv import CallContext
from mlsrv.authorization import AccessRequest, Principal
from mlsrv.errors import Code, ConfigurationError, MLSrvError
from mlsrv.kernel import Kernel
from mlsrv.kernel_api import Guard
from mlsrv.settings import setting, settings_class
from mlsrv.testing import Offering
from mlsrv.transport import Transport
from mlsrv.types import InferenceRequest, InferenceResponse
from mlsrv_testing.contracts import TransportClient, TransportContract, TransportFailure


@settings_class
class LineSettings:
    line_port: int = setting(0, help="Port of the line transport.")


class Lines(Transport):
    """One JSON line for each request, one for each answer, in order."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], bool] = {}
        self._port = 0

    @property
    def endpoints(self) -> Sequence[str]:
        return [f"tcp://127.0.0.1:{self._port}"]

    async def start(self) -> None:
        if self._server is not None:
            return
        port = self.kernel.settings.of(LineSettings).line_port
        try:
            self._server = await asyncio.start_server(self.connected, "127.0.0.1", port)
        except OSError as error:
            raise ConfigurationError(f"127.0.0.1:{port} cannot be used: {error.strerror}") from None
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self, grace: float) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task, busy in list(self._connections.items()):
            if not busy:
                task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=grace)
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = False
        try:
            while self._server is not None and (line := await reader.readline()):
                self._connections[task] = True
                answer = await self.answer_or_leave(line, reader)
                writer.write(answer + b"\n")
                await writer.drain()
                self._connections[task] = False
        except (asyncio.CancelledError, ConnectionError):
            pass  # the end of this connection is the end of this task
        finally:
            del self._connections[task]
            writer.close()

    async def answer_or_leave(self, line: bytes, reader: asyncio.StreamReader) -> bytes:
        answer = asyncio.ensure_future(self.answer(line))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ConnectionResetError
            return answer.result()
        finally:
            answer.cancel()
            gone.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)

    async def answer(self, line: bytes) -> bytes:
        message = json.loads(line)
        request = InferenceRequest.parse_obj(message["request"])
        request.model_name = message["model"]
        context = CallContext()
        try:
            if self.kernel.guard is not None:
                context.principal = await self.admit(self.kernel.guard)
            response = await self.kernel.infer(request, context)
        except MLSrvError as error:
            return json.dumps(self.describe(error)).encode()
        return self.encode(response)

    async def admit(self, guard: Guard) -> Principal | None:
        return await guard.admit(AccessRequest("infer", transport="lines"))

    def describe(self, error: MLSrvError) -> dict[str, str]:
        return {"code": error.code, "error": str(error)}

    def encode(self, response: InferenceResponse) -> bytes:
        return response.json().encode()


class LineClient(TransportClient):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._turn = asyncio.Lock()

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        message = {"model": request.model_name, "request": request.dict()}
        async with self._turn:
            self._writer.write(json.dumps(message).encode() + b"\n")
            answer = json.loads(await self._reader.readline() or b'{"code": "CANCELLED", "error": "cut"}')
        if "error" in answer:
            raise TransportFailure(Code(answer["code"]), answer["error"])
        return InferenceResponse.parse_obj(answer)

    async def close(self) -> None:
        self._writer.close()


class LinesSuite(TransportContract):
    transport = "lines"
    cls: type[Transport] = Lines

    def plugins(self) -> Sequence[object]:
        offers = mlsrv.TransportOffer("lines", self.cls), mlsrv.SettingsOffer("server", LineSettings)
        return [Offering(*offers)]

    async def connect(self, transport: Transport) -> TransportClient:
        port = int(transport.endpoints[0].rpartition(":")[2])
        return LineClient(*await asyncio.open_connection("127.0.0.1", port))

    def occupied(self, transport: Transport) -> Mapping[str, Any]:
        return {"line_port": int(transport.endpoints[0].rpartition(":")[2])}


class TestLines(LinesSuite):
    pass


# --- mutants -----------------------------------------------------------------------------------------


class StaysOpen(Lines):
    async def stop(self, grace: float) -> None:
        return None


class NoVersion(Lines):
    def encode(self, response: InferenceResponse) -> bytes:
        response.model_version = None
        return super().encode(response)


class NoIds(Lines):
    def encode(self, response: InferenceResponse) -> bytes:
        response.id = None
        return super().encode(response)


class Wordy(Lines):
    def describe(self, error: MLSrvError) -> dict[str, str]:
        return {"code": error.code, "error": f"Traceback (most recent call last): {error}"}


class NotFound(Lines):
    def describe(self, error: MLSrvError) -> dict[str, str]:
        return {"code": Code.NOT_FOUND, "error": str(error)}


class Mixed(Lines):
    async def answer(self, line: bytes) -> bytes:
        self.last = await super().answer(line)
        await asyncio.sleep(0.001)
        return self.last


class Abrupt(Lines):
    async def stop(self, grace: float) -> None:
        await super().stop(0)


class Endless(Lines):
    async def stop(self, grace: float) -> None:
        if self._server is not None:
            self._server.close()
            if self._connections:
                await asyncio.wait(self._connections)


class Indifferent(Lines):
    async def answer_or_leave(self, line: bytes, reader: asyncio.StreamReader) -> bytes:
        return await self.answer(line)


class Open(Lines):
    async def admit(self, guard: Guard) -> Principal | None:
        return None


class StartsTwice(Lines):
    async def start(self) -> None:
        self._server = None
        await super().start()


class Raw(Lines):
    async def start(self) -> None:
        port = self.kernel.settings.of(LineSettings).line_port
        self._server = await asyncio.start_server(self.connected, "127.0.0.1", port)
        self._port = self._server.sockets[0].getsockname()[1]


class Ticking(Lines):
    async def start(self) -> None:
        await super().start()
        self.ticking = asyncio.create_task(asyncio.sleep(3600))


MUTANTS: dict[str, type[Lines]] = {
    "test_it_says_where_it_listens": StaysOpen,
    "test_answers_are_complete": NoVersion,
    "test_an_id_is_made_where_there_is_none": NoIds,
    "test_errors_carry_the_kernels_code_and_sentence": Wordy,
    "test_a_model_that_is_not_ready": NotFound,
    "test_many_requests_at_once": Mixed,
    "test_a_request_in_flight_is_answered_while_it_stops": Abrupt,
    "test_a_request_that_never_ends_does_not_hold_it_up": Endless,
    "test_a_client_that_goes_away_cancels_its_request": Indifferent,
    "test_who_may_not_come_in_does_not": Open,
    "test_starting_and_stopping_are_idempotent": StartsTwice,
    "test_an_address_that_is_taken": Raw,
    "test_nothing_runs_on_after_it_stopped": Ticking,
}


def test_every_case_has_a_mutant() -> None:
    assert set(MUTANTS) == {name for name in dir(LinesSuite) if name.startswith("test_")}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("case", MUTANTS)
def test_a_case_fails_for_its_mutant(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlsrv_testing.contracts import running, transports

    async def eventually(what: str, test: Any, seconds: float = 10.0) -> None:
        await running.eventually(what, test, 0.5)

    monkeypatch.setattr(transports, "eventually", eventually)  # a mutant is not worth ten seconds
    suite = type("Suite", (LinesSuite,), {"cls": MUTANTS[case]})()
    function = getattr(suite, case)
    arguments = [tmp_path] if "tmp_path" in inspect.signature(function).parameters else []
    context = copy_context()
    context.run(running.limit.set, running.Limit(3.0))
    with pytest.raises((Exception, pytest.fail.Exception)):  # whatever shows it
        context.run(function, *arguments)
    gc.collect()  # here, where what a mutant left open may be warned of
