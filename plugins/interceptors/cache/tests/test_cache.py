"""Cache: requests to real models in a kernel."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import numpy as np
import pytest

import mlsrv_cache.cache
import mlsrv_cache.plugin
from mlsrv import CallContext, Kernel, MLModel, ModelSettings
from mlsrv.context import current_context
from mlsrv.errors import ConfigurationError, ModelFailed
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput
from mlsrv_cache.cache import ResponseCache
from mlsrv_cache.noted_headers import NotedHeaders
from mlsrv_cache.settings import CacheModelSettings


class Counting(MLModel):
    """Answers with its number of earlier calls; `fail` fails. Holds calls while the gate is closed."""

    calls: int
    gate: asyncio.Event

    async def load(self) -> bool:
        type(self).calls, type(self).gate = 0, asyncio.Event()
        self.gate.set()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        number, type(self).calls = self.calls, self.calls + 1
        await self.gate.wait()
        if "fail" in payload.inputs[0].data:
            raise ValueError("as asked")
        output = ResponseOutput("n", [1], "INT64", np.array([number]), Parameters(content_type="np"))
        return InferenceResponse(outputs=[output], parameters=Parameters(headers={"x": "y"}))


class Named(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(outputs=[ResponseOutput("who", [1], "BYTES", [self.name])])


@asynccontextmanager
async def cached(*models: ModelSettings, **settings: Any) -> AsyncIterator[Kernel]:
    chosen = models or (ModelSettings(name="m", implementation=Counting, cache_enabled=True),)
    values = {"cache_enabled": True, **settings}
    async with Kernel(values, models=chosen, plugins=[mlsrv_cache.plugin], discover=False) as kernel:
        await kernel.loaded()
        assert kernel.ready
        yield kernel


async def number(kernel: Kernel, text: str, **fields: Any) -> int:
    response = await kernel.infer(text_request("m", [text], **fields))
    return int(response.outputs[0].data[0])


def cache_of(kernel: Kernel, name: str = "m") -> ResponseCache:
    [found] = [i for i in kernel.handle(name).loaded().interceptors if isinstance(i, ResponseCache)]
    return found


async def test_equal_requests_run_once_and_keep_their_ids() -> None:
    async with cached() as kernel:
        first = await kernel.infer(text_request("m", ["a"], id="1"))
        second = await kernel.infer(text_request("m", ["a"], id="2"))
        assert (first.id, second.id) == ("1", "2")
        assert Counting.calls == 1
        assert first.parameters == Parameters(headers={"x": "y"})
        assert second.parameters is None
        assert second.outputs[0].parameters == Parameters(content_type="np")
        assert await number(kernel, "b") == 1
        [statistics] = kernel.statistics("m")
        assert statistics["inference_stats"]["cache_hit"]["count"] == 1
        assert statistics["inference_stats"]["cache_miss"]["count"] == 2
        assert (statistics["inference_count"], statistics["execution_count"]) == (3, 2)


async def test_changes_to_a_response_do_not_reach_the_cache() -> None:
    async with cached() as kernel:
        for _ in range(3):
            response = await kernel.infer(text_request("m", ["a"]))
            assert response.outputs[0].data.tolist() == [0]
            assert response.outputs[0].parameters == Parameters(content_type="np")
            response.outputs[0].parameters.content_type = "changed"
            response.outputs.clear()


async def test_models_do_not_share_answers() -> None:
    models = [ModelSettings(name=name, implementation=Named, cache_enabled=True) for name in ("a", "b")]
    async with cached(*models) as kernel:
        for name in ("a", "b", "a", "b"):
            assert (await kernel.infer(text_request(name, ["same"]))).outputs[0].data == [name]


async def test_versions_do_not_share_answers() -> None:
    models = [
        ModelSettings(name="m", implementation=Counting, cache_enabled=True, parameters={"version": version})
        for version in ("1", "2")
    ]
    async with cached(*models) as kernel:
        for version in ("1", "2"):
            request = text_request("m", ["same"])
            request.model_version = version
            assert (await kernel.infer(request)).model_version == version
        assert Counting.calls == 2


async def test_a_reload_starts_empty() -> None:
    async with cached() as kernel:
        assert [await number(kernel, "a") for _ in range(2)] == [0, 0]
        await number(kernel, "b")
        await kernel.load("m")
        assert len(cache_of(kernel)) == 0
        assert Counting.calls == 0
        assert await number(kernel, "b") == 0


async def test_concurrent_equal_requests_run_once() -> None:
    async with cached() as kernel:
        Counting.gate.clear()
        tasks = [asyncio.create_task(number(kernel, "a")) for _ in range(10)]
        await asyncio.sleep(0)
        Counting.gate.set()
        assert await asyncio.gather(*tasks) == [0] * 10
        assert Counting.calls == 1


async def test_if_the_first_request_is_cancelled_another_one_runs() -> None:
    async with cached() as kernel:
        Counting.gate.clear()
        first = asyncio.create_task(number(kernel, "a"))
        await asyncio.sleep(0)
        others = [asyncio.create_task(number(kernel, "a")) for _ in range(3)]
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        Counting.gate.set()
        assert await asyncio.gather(*others) == [1] * 3
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_cancelling_a_waiting_request_does_not_affect_the_first() -> None:
    async with cached() as kernel:
        Counting.gate.clear()
        first = asyncio.create_task(number(kernel, "a"))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(number(kernel, "a"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        Counting.gate.set()
        assert await first == 0


async def test_failures_are_not_cached() -> None:
    async with cached() as kernel:
        for _ in range(2):
            with pytest.raises(ModelFailed):
                await number(kernel, "fail")
        assert Counting.calls == 2
        assert len(cache_of(kernel)) == 0


class Private(MLModel):
    """Answers with the header authorization, and sets a cookie."""

    calls: ClassVar[list[str]] = []

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        assert payload.parameters is not None
        user = (payload.parameters.headers or {}).get("authorization", "")
        self.calls.append(user)
        await asyncio.sleep(0)
        headers = {"set-cookie": f"session={user}"}
        output = ResponseOutput("who", [1], "BYTES", [user], Parameters(headers=headers, kept=1))
        return InferenceResponse(outputs=[output], parameters=Parameters(headers=headers, kept=2))


async def whoami(kernel: Kernel, user: str | None, **more: str) -> InferenceResponse:
    headers = {**({} if user is None else {"authorization": user}), **more}
    request = text_request("m", ["who am I?"])
    request.parameters = Parameters(headers=headers)
    return await kernel.infer(request, CallContext("id", headers=headers))


@pytest.mark.parametrize("together", [True, False])
async def test_headers_of_a_response_reach_one_client_alone(together: bool) -> None:
    model = ModelSettings(name="m", implementation=Private, cache_enabled=True)
    async with cached(model) as kernel:
        Private.calls.clear()
        if together:
            found = await asyncio.gather(whoami(kernel, "alice"), whoami(kernel, "bob"))
        else:
            found = [await whoami(kernel, "alice"), await whoami(kernel, "bob")]
        assert Private.calls == ["alice"]
        assert [one.parameters for one in found] == [
            Parameters(headers={"set-cookie": "session=alice"}, kept=2),
            Parameters(kept=2),
        ]
        assert found[1].outputs[0].parameters == Parameters(kept=1)


@pytest.mark.parametrize("vary", [["authorization"], ["X-Tenant", "Authorization", "authorization"]])
async def test_headers_that_the_answer_depends_on_are_part_of_the_key(vary: list[str]) -> None:
    model = ModelSettings(name="m", implementation=Private, cache_enabled=True, cache_vary=vary)
    async with cached(model) as kernel:
        Private.calls.clear()
        for _ in range(2):
            for user in ("alice", "bob", None, ""):
                answer = await whoami(kernel, user, accept=f"{len(Private.calls)}")
                assert answer.outputs[0].data == [user or ""]
        assert Private.calls == ["alice", "bob", "", ""]
        await whoami(kernel, "alice", **{"x-tenant": "t"})
        assert len(Private.calls) == (5 if "X-Tenant" in vary else 4)


class Reading(MLModel):
    """Reads headers of its context; of a request whose text is "not", none."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        context = current_context.get()
        assert context is not None
        if payload.inputs[0].data != ["not"]:
            assert context.headers["x-tenant"] == "t"
        return InferenceResponse(outputs=[])


@pytest.mark.parametrize("vary", [[], ["x-tenant"]])
@pytest.mark.parametrize("implementation", [Reading, Private])
async def test_a_model_that_reads_headers_is_warned_of_once(
    implementation: type[MLModel], vary: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    model = ModelSettings(name="m", implementation=implementation, cache_enabled=True, cache_vary=vary)

    async def ask(kernel: Kernel, text: str) -> None:
        request = text_request("m", [text])
        request.parameters = Parameters(headers={"x-tenant": "t"})
        context = CallContext(headers={"x-tenant": "t"})
        await kernel.infer(request, context)
        assert (type(context.headers), type(request.parameters.headers)) == (dict, dict)

    async with cached(model) as kernel:
        await ask(kernel, "not")
        if implementation is Reading:
            assert "reads headers" not in caplog.text
        for text in ("a", "b"):
            await ask(kernel, text)
    assert caplog.text.count("Model m reads headers of its requests") == (0 if vary else 1)


def test_noted_headers_are_sent_and_copied_as_plain_ones() -> None:
    headers = NotedHeaders(a="b")
    for other in (pickle.loads(pickle.dumps(headers)), dict(headers), headers.copy()):
        assert type(other) is dict
        assert other == {"a": "b"}
    assert not headers.were_read
    for look in (lambda: headers["a"], lambda: headers.get("c"), lambda: "a" in headers, headers.items):
        headers.were_read = False
        look()
        assert headers.were_read


@pytest.mark.parametrize("name", ["", "*", "two words", "x:y", "ü"])
def test_a_name_that_no_header_can_have_is_refused(name: str) -> None:
    model = ModelSettings(name="m", implementation=Private, cache_vary=[name])
    with pytest.raises((ConfigurationError, ValueError), match="cache_vary: expected names of headers"):
        model.of(CacheModelSettings)


async def test_the_least_recently_used_responses_are_evicted_first() -> None:
    async with cached(cache_size=2) as kernel:
        for text in ("a", "b", "a", "c"):
            await number(kernel, text)
        assert len(cache_of(kernel)) == 2
        assert await number(kernel, "a") == 0
        assert await number(kernel, "b") == 3


async def test_the_size_in_bytes_is_bounded() -> None:
    async with cached(cache_max_bytes=500) as kernel:
        for text in "abcdef":
            await number(kernel, text)
        cache = cache_of(kernel)
        assert cache.stored_bytes <= 500
        assert 0 < len(cache) < 6


@pytest.mark.parametrize(("server", "model"), [(False, True), (True, False)])
async def test_the_server_and_the_model_must_enable_the_cache(server: bool, model: bool) -> None:
    settings = ModelSettings(name="m", implementation=Counting, cache_enabled=model)
    async with cached(settings, cache_enabled=server) as kernel:
        assert [await number(kernel, "a") for _ in range(2)] == [0, 1]


async def test_large_requests_are_kept_as_small_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    content_key = mlsrv_cache.cache.content_key

    def noting(*arguments: Any) -> bytes:
        threads.append(threading.get_ident())
        return content_key(*arguments)

    monkeypatch.setattr("mlsrv_cache.cache.content_key", noting)
    async with cached() as kernel:
        for expected in (0, 0):
            large = text_request("m", ["a"] * 200_000)
            response = await kernel.infer(large)
            assert response.outputs[0].data[0] == expected
        assert await number(kernel, "a") == 1
    assert [thread == threading.get_ident() for thread in threads] == [False, False, True]
