"""Served: models with MLServer's types in a kernel of mlsrv."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import mlserver
import pytest
from mlserver import codecs, errors, types
from mlserver.repository import ModelRepository

import mlsrv
from mlsrv.errors import InferenceError, ModelAnswered, ModelFailed
from mlsrv.testing import tensor_request
from mlsrv_mlserver.presence import check_alone
from served import kernel_of, reason


class Wrong(mlserver.MLModel):
    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        return {"outputs": []}  # type: ignore[return-value]  # on purpose


class Refusing(mlserver.MLModel):
    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        raise errors.MLServerError("no", 299)


class Malformed(mlserver.MLModel):
    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        codecs.StringCodec.decode_input(payload.inputs[0])
        raise AssertionError


class Declared(mlserver.MLModel):
    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        return types.InferenceResponse(model_name=self.name, outputs=[])


class NotLoaded(mlserver.MLModel):
    async def load(self) -> bool:
        return False


class FailsToLoad(mlserver.MLModel):
    async def load(self) -> bool:
        raise errors.ModelParametersMissing(self.name, "it needs a key")


def settings(implementation: type, **fields: Any) -> mlsrv.ModelSettings:
    return mlsrv.ModelSettings(name="m", implementation=implementation, **fields)


async def failure(model: mlsrv.ModelSettings) -> Exception:
    async with kernel_of(model) as kernel:
        with pytest.raises(mlsrv.errors.MLSrvError) as caught:
            await kernel.infer(tensor_request("m", [[1, 2]]))
        assert kernel.ready
        return caught.value


async def test_something_else_than_a_response_is_the_models_fault() -> None:
    error = await failure(settings(Wrong))
    assert isinstance(error, ModelFailed)
    assert "predict returned a dict, not an InferenceResponse" in str(error)


class RefusingPlainly(mlserver.MLModel):
    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        raise errors.MLServerError("no")


async def test_an_error_without_a_status_is_the_requests_fault() -> None:
    error = await failure(settings(RefusingPlainly))
    assert isinstance(error, ModelAnswered)
    assert error.status == 400


async def test_a_status_that_is_no_error_becomes_500() -> None:
    error = await failure(settings(Refusing))
    assert isinstance(error, ModelAnswered)
    assert (error.status, str(error)) == (500, "no")


async def test_what_a_codec_refuses_is_the_requests_fault() -> None:
    error = await failure(settings(Malformed))
    assert isinstance(error, ModelAnswered)
    assert error.status == 400


INPUTS = [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]


async def test_declared_inputs_are_enforced_only_where_the_settings_say_so() -> None:
    async with kernel_of(settings(Declared, inputs=INPUTS)) as kernel:
        response = await kernel.infer(tensor_request("m", [1, 2], name="other"))
        assert response.outputs == []
        assert kernel.model_metadata("m").inputs[0].name == "x"
    error = await failure(settings(Declared, inputs=INPUTS, check_inputs=True))
    assert isinstance(error, InferenceError)


@pytest.mark.parametrize(
    ("implementation", "why"), [(NotLoaded, "returned False"), (FailsToLoad, "it needs a key")]
)
async def test_a_load_that_fails_has_its_reason_in_the_index(implementation: type, why: str) -> None:
    assert why in await reason(settings(implementation))


async def test_a_server_is_started_from_code(free_port: int) -> None:
    server = mlserver.MLServer(
        mlserver.Settings(
            host="127.0.0.1",
            http_port=free_port,
            grpc_port=0,
            metrics_port=0,
            kafka_enabled=False,
            parallel_workers=0,  # workers cannot import the classes of this file
        )
    )
    models = [mlserver.ModelSettings(name="d", implementation=Declared)]
    serving = asyncio.create_task(server.start(models))
    url = f"http://127.0.0.1:{free_port}/v2/models/d/ready"
    for _ in range(300):
        if await asyncio.to_thread(is_ready, url):
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("the server did not start")
    await server.stop()
    await asyncio.wait_for(serving, 30)


def is_ready(url: str) -> bool:
    import httpx

    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


class Repository(ModelRepository):
    async def list(self) -> Any:
        return [mlserver.ModelSettings(name="own", implementation=Declared)]


async def test_a_repository_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "own_repository", sys.modules[__name__])
    values = {
        "model_repository_root": str(tmp_path),
        "model_repository_implementation": "own_repository.Repository",
        "parallel_workers": 0,
    }
    async with mlsrv.Kernel(values) as kernel:
        await kernel.loaded()
        assert kernel.model_names() == ["own"]
        assert kernel.ready


async def test_the_plugin_refuses_to_load_beside_mlserver(monkeypatch: pytest.MonkeyPatch) -> None:
    check_alone()

    class Found:
        version = "1.7.1"
        folder = Path(check_alone.__code__.co_filename).parent.parent

        def locate_file(self, path: str) -> Path:
            return self.folder / path

    monkeypatch.setattr("mlsrv_mlserver.presence.distribution", lambda name: Found())
    with pytest.raises(ImportError, match=r"MLServer 1\.7\.1 is installed, too"):
        check_alone()
    # In a model's environment its package is hidden by ours, which is in another folder.
    monkeypatch.setattr(Found, "folder", Path("elsewhere"))
    check_alone()
    monkeypatch.setattr("mlsrv_mlserver.presence.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="is installed, too"):
        check_alone()
