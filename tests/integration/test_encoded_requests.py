"""Small requests travel to a worker as their JSON: what clients and operators see is the same as without."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import mlsrv_classification.plugin
import mlsrv_prometheus.plugin
import mlsrv_rest.plugin
import mlsrv_workers.plugin
from mlsrv import Kernel, ModelSettings, hookimpl
from mlsrv.authorization import Limits, Principal
from mlsrv.context import CallContext
from mlsrv.interceptor import Interceptor, Phase
from mlsrv_prometheus.meter import meter_of
from mlsrv_protocol.encoded import EncodedRequest
from mlsrv_rest import create_app
from mlsrv_rest.routes import infer

MODELS = '''
import numpy as np
import mlsrv
from mlsrv.errors import InferenceError
from mlsrv.types import InferenceResponse, MetadataModelResponse, MetadataTensor, Parameters, ResponseOutput

class Told(mlsrv.MLModel):
    """Answers with what reached it; the first number of the input chooses how."""
    async def predict(self, payload):
        told = [payload.id, payload.model_name, str(payload.model_version)]
        told += [payload.parameters.headers["x-mine"], str(sorted(payload.parameters.extra))]
        first = payload.inputs[0].data.reshape(-1)[:1] if payload.inputs else []
        kind = int(first[0]) if len(first) and first[0] == first[0] else 0
        outputs = [
            ResponseOutput("told", [len(told)], "BYTES", told),
            ResponseOutput("half", payload.inputs[0].shape, "FP64", payload.inputs[0].data / 2),
        ]
        if kind == 1:
            raise ValueError("went wrong")
        if kind == 2:
            raise InferenceError("refused")
        if kind == 3:
            return InferenceResponse(outputs=outputs, parameters=Parameters(headers={"X-Own": "yes"}, kept=1))
        if kind == 4:
            return InferenceResponse(outputs=[ResponseOutput("many", [100_000], "FP64", np.ones(100_000))])
        if kind == 5:
            return InferenceResponse(outputs=[ResponseOutput("many", [40_000], "BYTES", ["a"] * 40_000)])
        if kind == 6:
            return InferenceResponse(outputs=[ResponseOutput("wrong", [3], "INT8", ["no number"] * 3)])
        if kind == 7:
            return InferenceResponse(outputs=outputs, parameters=Parameters(headers={"X-Own": "a\\nb"}))
        if kind == 8:
            payload.inputs[0].shape[0] = 99
        return InferenceResponse(outputs=outputs)

class Declared(mlsrv.MLModel):
    async def load(self):
        self.inputs = [MetadataTensor("x", "FP32", [-1, 2])]
        self.outputs = [MetadataTensor("y", "FP32", [-1])]
        return True
    async def metadata(self):
        return MetadataModelResponse(self.name, "mine", inputs=self.inputs, outputs=self.outputs)
    async def predict(self, payload):
        data = payload.inputs[0].data.reshape(-1)
        return InferenceResponse(outputs=[ResponseOutput("y", [data.size], "FP32", data)])
'''
NOT_WHOLE = b'{"inputs":[{"name":"x"'


def body(*numbers: float, **fields: Any) -> bytes:
    tensor = {"name": "x", "shape": [1, len(numbers)], "datatype": "FP32", "data": list(numbers)}
    return json.dumps({"inputs": [tensor | fields]}, allow_nan=True).encode()


BODIES = {
    "usual": body(0.5, 1),
    "id": b'{"id":"mine",' + body(0.5)[1:],
    "later id": body(0.5)[:-1] + b',"id":"mine"}',
    "nan": body(float("nan"), 1),
    "parameters": body(0.5, parameters={"a": 1}),
    "no body": b"",
    "not whole": NOT_WHOLE,
    "not JSON": b"\xff\xfe",
    "no object": b"[1]",
    "no inputs": b"{}",
    "empty inputs": b'{"inputs":[]}',
    "twice": b'{"inputs":[' + b",".join([body(0.5)[11:-2]] * 2) + b"]}",
    "wrong datatype": body(0.5, datatype="FP31"),
    "wrong shape": body(0.5, shape=[7]),
    "wrong data": body(0.5, data=["a"]),
    "too many": body(0.5, datatype="INT8", data=[300]),
    "other name": body(0.5, 1, name="z"),
    "other shape": body(0.5, 1, 2),
    "declared datatype": body(0.5, 1, datatype="FP64"),
    "asks for half": body(0.5)[:-1] + b',"outputs":[{"name":"half"}]}',
    "asks for none": body(0.5)[:-1] + b',"outputs":[{"name":"nope"}]}',
    "raises": body(1),
    "refuses": body(2),
    "headers": body(3),
    "many numbers": body(4),
    "many texts": body(5),
    "wrong output": body(6),
    "wrong header": body(7),
    "changes its input": body(8),
    "empty tensor": body(shape=[0]),
    "large": body(*[0.5] * 20_000),
    "many texts sent": json.dumps(
        {"inputs": [{"name": "x", "shape": [9000], "datatype": "BYTES", "data": ["abc"] * 9000}]}
    ).encode(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "encoded_models.py").write_text(MODELS, encoding="utf-8")
    return folder


@asynccontextmanager
async def served(
    folder: Path, workers: int, *more: object, **settings: Any
) -> AsyncIterator[tuple[Kernel, httpx.AsyncClient]]:
    models = [
        ModelSettings(name, f"encoded_models.{name.title()}", source=folder / "model-settings.json")
        for name in ("told", "declared")
    ]
    plugins = [
        mlsrv_rest.plugin,
        mlsrv_workers.plugin,
        mlsrv_classification.plugin,
        mlsrv_prometheus.plugin,
        *more,
    ]
    settings |= {"parallel_workers": workers}
    async with Kernel(settings, models=models, plugins=plugins, discover=False) as kernel:
        await kernel.loaded()
        assert kernel.problems() == []
        transport = httpx.ASGITransport(create_app(kernel))
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
            yield kernel, client


async def answers(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for model in ("told", "declared", "nope"):
        for name, content in BODIES.items():
            headers = {"x-mine": "1", "x-request-id": "fixed"}
            response = await client.post(f"/v2/models/{model}/infer", content=content, headers=headers)
            kept = {key: response.headers.get(key) for key in ("content-type", "content-length", "x-own")}
            found[f"{model}, {name}"] = response.status_code, kept, response.content
    return found


def counts(kernel: Kernel) -> list[Any]:
    """What operators see of the requests, without times."""
    found = []
    for row in kernel.statistics():
        states = {state: each["count"] for state, each in row["inference_stats"].items()}
        found.append((row["name"], row["inference_count"], row["execution_count"], states))
    meter = meter_of(kernel)
    assert meter is not None
    sizes = [
        (sample.name, sorted(sample.labels.items()), sample.value)
        for family in meter.collect([])
        if family.name.endswith("_payload_bytes")
        for sample in family.samples
        if sample.name.endswith(("_sum", "_count"))
    ]
    assert len(sizes) > 4
    return [*found, sorted(sizes)]


async def test_clients_and_operators_see_the_same_as_without_workers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    find = infer.encoded_request

    def watched(*arguments: Any) -> Any:
        made.append(find(*arguments))
        return made[-1]

    async with served(folder, 0) as (kernel, client):
        assert not kernel.takes_encoded("told")
        expected, expected_counts = await answers(client), counts(kernel)
    monkeypatch.setattr(infer, "encoded_request", watched)
    async with served(folder, 1) as (kernel, client):
        assert kernel.takes_encoded("told")
        found, found_counts = await answers(client), counts(kernel)
    assert sum(each is not None for each in made) > 30
    different = {name: (expected[name], found[name]) for name in expected if expected[name] != found[name]}
    assert different == {}
    statuses = {status for status, _, _ in expected.values()}
    assert {200, 400, 404, 500} <= statuses
    assert found_counts == expected_counts


async def test_an_interceptor_that_looks_into_requests_gets_them_decoded(folder: Path) -> None:
    seen: list[Any] = []

    class Looks(Interceptor):
        phase = Phase.GUARD

        async def __call__(self, request: Any, context: Any, call_next: Any) -> Any:
            seen.append(request.inputs[0].data.tolist())
            return await call_next(request, context)

    class Plugin:
        @hookimpl
        def mlsrv_interceptors(self, model: ModelSettings) -> Interceptor:
            return Looks()

    async with served(folder, 1, Plugin()) as (kernel, client):
        assert not kernel.takes_encoded("told")
        response = await client.post(
            "/v2/models/told/infer", content=BODIES["usual"], headers={"x-mine": "1"}
        )
        assert response.status_code == 200
    assert seen == [[0.5, 1.0]]


async def test_a_model_that_is_replaced_by_one_that_takes_none_answers_all_the_same(folder: Path) -> None:
    async with served(folder, 0) as (kernel, client):
        # As if the model had been reloaded since the transport asked.
        kernel.takes_encoded = lambda name, version=None: True  # type: ignore[method-assign]  # for this test
        response = await client.post(
            "/v2/models/told/infer", content=BODIES["usual"], headers={"x-mine": "1"}
        )
        assert response.status_code == 200
        assert kernel.statistics("told")[0]["inference_stats"]["success"]["count"] == 1


async def test_where_bytes_are_limited_those_of_the_data_count(folder: Path) -> None:
    request = EncodedRequest(BODIES["usual"], None, "told", None)
    async with served(folder, 1) as (kernel, _):
        limits = Limits(in_flight_bytes=100)
        rights: Any = {"infer": ["*"]}
        for given, is_taken in ((None, True), (Limits(in_flight=9), True), (limits, False)):
            principal = Principal("a", rights, limits=given)
            context = CallContext(headers={"x-mine": "1"}, principal=principal)
            assert (await kernel.infer(request, context) is not None) == is_taken
    async with served(folder, 1, max_in_flight_bytes=8) as (kernel, client):
        assert not kernel.takes_encoded("told")
        headers = {"x-mine": "1"}
        response = await client.post("/v2/models/told/infer", content=BODIES["usual"], headers=headers)
        assert response.status_code == 200
        response = await client.post("/v2/models/told/infer", content=body(0.5, 1, 2), headers=headers)
        assert response.status_code == 413
