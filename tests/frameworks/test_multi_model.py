"""The example with models of five frameworks: one server has them all, and they come and go."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from mlsrv.codecs import NumpyCodec
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest
from mlsrv_protocol.grpc import INFERENCE, message_class
from served import SECONDS, WIRES, Served, served

EXAMPLE = Path(__file__).parents[1] / "examples/multi-model"
FRAMEWORKS = ("sklearn", "xgboost", "lightgbm", "catboost", "onnx")
NAMES = {f"iris-{framework}" for framework in FRAMEWORKS}
FLOWERS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.6, 2.9, 3.6, 1.3]], np.float32)
SPECIES = [0, 2, 1]

# The artifact is read by every scikit-learn that we promise, also by those that did not save it.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")


def asking(name: str) -> InferenceRequest:
    return tensor_request(name, FLOWERS, name="measurements")


def species(output: Any) -> list[int]:
    """The species of each flower, from classes or from probabilities."""
    values = NumpyCodec.decode_output(output)
    if values.ndim > 1 and values.shape[1] == 3:
        return [int(number) for number in values.argmax(axis=1)]
    return [int(number) for number in values.reshape(-1)]


def over_rest(found: Served, path: str) -> Any:
    answer = httpx.post(f"{found.rest}/v2/repository/{path}", json={}, timeout=SECONDS)
    assert answer.status_code == 200, answer.text
    return answer.json() if answer.content else None


def over_grpc(found: Served, method: str, **fields: Any) -> Any:
    body = message_class(f"inference.{method}Request")(**fields).SerializeToString()
    with grpc.insecure_channel(found.grpc) as channel:
        answer = channel.unary_unary(f"/{INFERENCE}/{method}")(body, timeout=SECONDS)
    return message_class(f"inference.{method}Response").FromString(answer)


async def off_loop(function: Any, *args: Any, **kwargs: Any) -> Any:
    return await asyncio.to_thread(function, *args, **kwargs)


def test_the_artifacts_are_small_and_hold_no_code() -> None:
    files = list(EXAMPLE.glob("*/model.*"))
    assert {path.parent.name for path in files} == set(FRAMEWORKS)
    assert all(path.stat().st_size < 100_000 for path in files)
    assert {path.suffix for path in files} == {".skops", ".json", ".txt", ".cbm", ".onnx"}


@pytest.mark.parametrize("workers", [0, 1])
async def test_one_server_has_models_of_five_frameworks(workers: int) -> None:
    async with served([], model_repository_root=str(EXAMPLE), parallel_workers=workers) as found:
        assert found.kernel.problems() == []
        assert set(found.kernel.model_names()) == NAMES
        for name in sorted(NAMES):
            assert found.kernel.model_metadata(name).platform == name.removeprefix("iris-")
            for wire in WIRES:
                response = await found.infer(wire, asking(name))
                assert (response.model_name, species(response.outputs[0])) == (name, SPECIES)


async def test_models_come_and_go_over_rest_and_grpc() -> None:
    async with served([], model_repository_root=str(EXAMPLE), parallel_workers=0) as found:
        for framework in FRAMEWORKS:
            name = f"iris-{framework}"
            await off_loop(over_rest, found, f"models/{name}/unload")
            states = {item["name"]: item["state"] for item in await off_loop(over_rest, found, "index")}
            assert {other for other, state in states.items() if state == "READY"} == NAMES - {name}
            with pytest.raises(AssertionError, match=r"not ready|not found"):
                await found.infer("json", asking(name))
            await off_loop(over_rest, found, f"models/{name}/load")
            assert species((await found.infer("json", asking(name))).outputs[0]) == SPECIES
            await off_loop(over_grpc, found, "RepositoryModelUnload", model_name=name)
            index = await off_loop(over_grpc, found, "RepositoryIndex", ready=True)
            assert {item.name for item in index.models} == NAMES - {name}
            await off_loop(over_grpc, found, "RepositoryModelLoad", model_name=name)
            assert species((await found.infer("grpc", asking(name))).outputs[0]) == SPECIES
        assert found.kernel.problems() == []
