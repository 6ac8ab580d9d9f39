"""Every route and every call of every installed plugin, with every kind of key: the exact status.

The routes are those of the running server, so that a route without a decision fails here.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from attrs import frozen
from confluent_kafka import Message
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from mlsrv import Kernel, ModelSettings
from mlsrv.authorization import ACTIONS, Action
from mlsrv.handlers import custom_handler
from mlsrv.testing import EchoModel
from mlsrv_keys.key_file import Key, write_keys
from mlsrv_protocol.grpc import HEALTH, INFERENCE, REFLECTION, file_of
from mlsrv_rest.app import RestApp
from mock_broker import Mock

TENSOR = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}'
SECONDS = 20

OWN: dict[str, Action | None] = {
    "/v1/chat/completions": "infer",
    "/v1/completions": "infer",
    "/v1/embeddings": "infer",
    "/v1/models": "metadata",
    "/v1/rerank": "infer",
    "/v2": "metadata",
    "/v2/console": "health",
    "/v2/docs": "docs",
    "/v2/health/live": "health",
    "/v2/health/ready": "health",
    "/v2/models": "metadata",
    "/v2/models/stats": "metadata",
    "/v2/models/{model}": "metadata",
    "/v2/models/{model}/batching": "metadata",
    "/v2/models/{model}/config": "metadata",
    "/v2/models/{model}/docs": "docs",
    "/v2/models/{model}/generate": "infer",
    "/v2/models/{model}/generate_stream": "infer",
    "/v2/models/{model}/infer": "infer",
    "/v2/models/{model}/infer_stream": "infer",
    "/v2/models/{model}/ready": "health",
    "/v2/models/{model}/stats": "metadata",
    "/v2/repository/index": "repository",
    "/v2/repository/models/{model}/load": "repository",
    "/v2/repository/models/{model}/unload": "repository",
}
"""The rights of the most important routes, by hand."""

OPENAI = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "a"}]},
    "/v1/completions": {"prompt": "a"},
    "/v1/embeddings": {"input": "a"},
    "/v1/rerank": {"query": "a", "documents": ["b"]},
}

CALLS: dict[str, Action | None] = {
    f"/{INFERENCE}/ModelConfig": "metadata",
    f"/{INFERENCE}/ModelInfer": "infer",
    f"/{INFERENCE}/ModelMetadata": "metadata",
    f"/{INFERENCE}/ModelReady": "health",
    f"/{INFERENCE}/ModelStatistics": "metadata",
    f"/{INFERENCE}/ModelStreamInfer": "infer",
    f"/{INFERENCE}/RepositoryIndex": "repository",
    f"/{INFERENCE}/RepositoryModelLoad": "repository",
    f"/{INFERENCE}/RepositoryModelUnload": "repository",
    f"/{INFERENCE}/ServerLive": "health",
    f"/{INFERENCE}/ServerMetadata": "metadata",
    f"/{INFERENCE}/ServerReady": "health",
    f"/{HEALTH}/Check": "health",
    f"/{HEALTH}/Watch": "health",
    **{f"/{name}/ServerReflectionInfo": "docs" for name in REFLECTION},
}


class Handling(EchoModel):
    """Has a custom handler."""

    @custom_handler(rest_path="/handled", rest_method="GET")
    async def handled(self) -> str:
        return "handled"


@frozen
class Served:
    kernel: Kernel
    rest: str
    grpc: str
    metrics: str
    keys: dict[str, str]


def make_keys(path: Path) -> dict[str, str]:
    """Write a file of keys; returns their texts by name."""
    found, kept = {}, {}
    for action in ACTIONS:
        for name, models in ((action, ("echo",)), (f"{action} of others", ("other",))):
            key, found[name] = Key.make(name, {action: models})
            kept[key.id] = key
    key, found["expired"] = Key.make("expired", dict.fromkeys(ACTIONS, ("*",)), time.time() - 1)
    kept[key.id] = key
    _, found["revoked"] = Key.make("revoked", dict.fromkeys(ACTIONS, ("*",)))
    write_keys(path, kept)
    return found


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Served]:
    keys = make_keys(folder / "keys.json")
    models = [ModelSettings(name=name, implementation=Handling) for name in ("echo", "other")]
    settings = {
        "host": "127.0.0.1",
        "http_port": 0,
        "grpc_port": 0,
        "metrics_port": 0,
        "keys_file": str(folder / "keys.json"),
    }
    stop, listening = asyncio.Event(), asyncio.Event()
    async with Kernel(settings, models=models, block=["kafka", "workers", "files"]) as kernel:
        await kernel.loaded()
        task = asyncio.create_task(kernel.serve(stop.wait, listening.set))
        await asyncio.wait({task, asyncio.ensure_future(listening.wait())}, return_when="FIRST_COMPLETED")
        if task.done():
            await task
        urls = {name: next(iter(transport.endpoints)) for name, transport in kernel.transports.items()}
        yield Served(kernel, urls["rest"], urls["grpc"], urls["prometheus"], keys)
        stop.set()
        await task


def expected(name: str, action: Action | None, of_a_model: bool) -> int | None:
    """The status of a refusal; None if the request is let in."""
    if name in ("none", "wrong", "expired", "revoked"):
        return 401
    right, _, others = name.partition(" ")
    if action is None or (right == action and not (others and of_a_model)):
        return None
    return 403


def headers(served: Served, name: str) -> dict[str, str]:
    if name == "none":
        return {}
    return {"authorization": f"Bearer {served.keys.get(name, 'mlsrv_0123456789abcdef_wrong')}"}


@pytest.mark.timeout(300)
async def test_every_route_with_every_kind_of_key(tmp_path: Path) -> None:
    wrong: list[str] = []
    async with serving(tmp_path) as served, httpx.AsyncClient(base_url=served.rest, timeout=60) as client:
        app = RestApp(served.kernel)
        routes = app.routes
        app.close()
        assert [route.path for route in routes if not route.is_marked] == []
        assert {route.path: route.action for route in routes if route.path in OWN} == OWN
        for route in routes:
            path = route.path
            for part in ("{model}", "{version}", "{repository}"):
                path = path.replace(part, "echo")
            path = path.replace("{file}", "swagger-ui.css").split("{")[0]
            for method in (one for one in route.methods if one != "HEAD"):
                for name in ("none", "wrong", *served.keys):
                    body = TENSOR if route.action == "infer" and method == "POST" else b""
                    async with client.stream(
                        method, path, headers=headers(served, name), content=body
                    ) as response:
                        status = response.status_code
                    want = expected(name, route.action, "{model}" in route.path)
                    refused = status if status in (401, 403) else None
                    if refused != want:
                        wrong.append(f"{method} {path} with {name}: {status}, expected {want}")
        for name in ("none", "wrong", *served.keys):
            # Custom handlers, and what might be one; the right is asked for before either is looked up.
            for path in ("/v2/models/echo/handled", "/v2/models/echo/nothing"):
                for method in ("GET", "POST", "PUT", "OPTIONS"):
                    status = (await client.request(method, path, headers=headers(served, name))).status_code
                    want = expected(name, "infer", of_a_model=True)
                    if (status if status in (401, 403) else None) != want:
                        wrong.append(f"{method} {path} with {name}: {status}, expected {want}")
            # The body names the model.
            for path, more in OPENAI.items():
                body = {"model": "echo", **more}
                status = (await client.post(path, headers=headers(served, name), json=body)).status_code
                want = expected(name, "infer", of_a_model=True)
                if (status if status in (401, 403) else None) != want:
                    wrong.append(f"POST {path} for echo with {name}: {status}, expected {want}")
            for url, action in ((served.metrics, "metrics"), (f"{served.rest}/nowhere", None)):
                status = (await client.get(url, headers=headers(served, name))).status_code
                if (status if status in (401, 403) else None) != expected(name, action, of_a_model=False):
                    wrong.append(f"GET {url} with {name}: {status}")
    assert wrong == []


@pytest.mark.timeout(300)
async def test_every_call_with_every_kind_of_key(tmp_path: Path) -> None:
    statuses = {grpc.StatusCode.UNAUTHENTICATED: 401, grpc.StatusCode.PERMISSION_DENIED: 403}
    wrong: list[str] = []
    async with serving(tmp_path) as served:
        async with grpc.aio.insecure_channel(served.grpc.removeprefix("grpc://")) as channel:
            for service in (INFERENCE, HEALTH, *REFLECTION):
                for method in methods_of(service):
                    action = CALLS.get(method)
                    for name in ("none", "wrong", *served.keys):
                        status = await call(channel, method, headers(served, name))
                        # No message names a model here: the right counts, whatever its models are.
                        want = expected(name, action, of_a_model=False)
                        if name in (f"{action}", f"{action} of others") and statuses.get(status) == 403:
                            continue  # let in, and then refused for the model with the empty name
                        if statuses.get(status) != want:
                            wrong.append(f"{method} with {name}: {status}, expected {want}")
    assert set(CALLS) <= {method for name in (INFERENCE, HEALTH, *REFLECTION) for method in methods_of(name)}
    assert wrong == []


def methods_of(service: str) -> list[str]:
    file = FileDescriptorProto.FromString(file_of(service))
    (found,) = [one for one in file.service if f"{file.package}.{one.name}" == service]
    return [f"/{service}/{method.name}" for method in found.method]


async def call(channel: grpc.aio.Channel, method: str, metadata: dict[str, str]) -> grpc.StatusCode:
    """The status of a call with an empty message; OK once there is an answer."""
    # A client that streams may still be sending when it is refused, which grpc.aio reports as INTERNAL.
    running = channel.unary_stream(method)(b"", metadata=tuple(metadata.items()), timeout=SECONDS)
    try:
        answer = await running.read()
        if answer is not grpc.aio.EOF:
            running.cancel()
            return grpc.StatusCode.OK
    except grpc.aio.AioRpcError as error:
        return error.code()
    return await running.code()


@pytest.mark.timeout(300)
async def test_every_topic_with_every_kind_of_key(tmp_path: Path) -> None:
    mock = Mock()
    keys = make_keys(tmp_path / "keys.json")
    models = [ModelSettings(name=name, implementation=EchoModel) for name in ("echo", "other")]
    settings = mock.settings(keys_file=str(tmp_path / "keys.json"))
    stop, listening = asyncio.Event(), asyncio.Event()
    blocked = ["rest", "grpc", "prometheus", "workers", "files"]
    async with Kernel(settings, models=models, block=blocked) as kernel:
        await kernel.loaded()
        task = asyncio.create_task(kernel.serve(stop.wait, listening.set))
        await asyncio.wait_for(listening.wait(), 60)
        names = ("none", "wrong", *keys)
        served = Served(kernel, "", "", "", keys)
        for name in names:
            await asyncio.to_thread(
                mock.send, TENSOR, mlsrv_model="echo", x_request_id=name, **headers(served, name)
            )
        let_in = [name for name in names if expected(name, "infer", of_a_model=True) is None]
        answered = await asyncio.to_thread(mock.receive, "out", len(let_in))
        failed = await asyncio.to_thread(mock.receive, "errors", len(names) - len(let_in))
        stop.set()
        await task
    assert let_in == ["infer"]
    assert {texts(one)["x-request-id"] for one in answered} == set(let_in)
    codes = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
    assert {texts(one)["x-request-id"]: texts(one)["mlsrv-error-code"] for one in failed} == {
        name: codes[status] for name in names if (status := expected(name, "infer", of_a_model=True))
    }


def texts(message: Message) -> dict[str, str]:
    """The headers of a record."""
    return {name: value.decode() for name, value in message.headers() or () if isinstance(value, bytes)}
