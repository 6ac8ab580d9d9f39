"""grpc.health.v1 over a real connection."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from mlsrv import MLModel, ModelSettings
from mlsrv_protocol.grpc import HEALTH, INFERENCE, REFLECTION, message_class

Request = message_class("grpc.health.v1.HealthCheckRequest")
Response = message_class("grpc.health.v1.HealthCheckResponse")
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
SECONDS = 20


class Late(MLModel):
    """Loads when it is let go."""

    async def load(self) -> bool:
        type(self).go_on = asyncio.Event()
        type(self).loading.set()
        await self.go_on.wait()
        return True


def check(served: Any, service: str = "") -> int:
    body = served.method("Check", HEALTH)(Request(service=service).SerializeToString(), timeout=SECONDS)
    return int(Response.FromString(body).status)


def watch(served: Any, service: str = "") -> Any:
    method = served.channel.unary_stream(f"/{HEALTH}/Watch")
    return method(Request(service=service).SerializeToString(), timeout=SECONDS)


def told(call: Any) -> int:
    return int(Response.FromString(next(call)).status)


@pytest.mark.parametrize("service", ["", INFERENCE, HEALTH, *REFLECTION])
def test_the_services_are_as_ready_as_the_server(served: Any, service: str) -> None:
    assert check(served, service) == SERVING


def test_an_unknown_service(served: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        check(served, "nope")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    call = watch(served, "nope")
    assert told(call) == SERVICE_UNKNOWN
    call.cancel()


@pytest.mark.parametrize("name", ["Check", "Watch"])
def test_an_invalid_message_is_refused(served: Any, name: str) -> None:
    kind = served.channel.unary_unary if name == "Check" else served.channel.unary_stream
    with pytest.raises(grpc.RpcError) as caught:
        list(kind(f"/{HEALTH}/{name}")(b"\xff", timeout=SECONDS))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_watching_a_server_from_start_to_end(serve: Any) -> None:
    Late.loading = asyncio.Event()
    served = serve([ModelSettings(name="late", implementation=Late)], ready=False)
    calls = [watch(served), watch(served, INFERENCE)]
    assert [told(call) for call in calls] == [NOT_SERVING, NOT_SERVING]
    assert check(served) == NOT_SERVING

    async def let_go() -> None:
        async with asyncio.timeout(SECONDS):
            await Late.loading.wait()
        Late.go_on.set()

    served.do(let_go())
    assert [told(call) for call in calls] == [SERVING, SERVING]
    assert check(served) == SERVING
    served.stop()
    for call in calls:
        assert told(call) == NOT_SERVING
        with pytest.raises(grpc.RpcError) as caught:
            next(call)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def readers() -> int:
    """Return the number of tasks that poll the readiness of servers."""
    return sum(task.get_name() == "mlsrv-grpc-readiness" for task in asyncio.all_tasks())


def test_readiness_is_polled_only_while_there_are_watchers(serve: Any) -> None:
    served = serve([])
    call = watch(served)
    assert told(call) == SERVING
    assert served.do(readers()) >= 1
    call.cancel()

    async def left() -> None:
        async with asyncio.timeout(SECONDS):
            while await readers():
                await asyncio.sleep(0.01)

    served.do(left())
