"""A custom model of a folder, here and in a worker process: its own routes, its warm-up, and what happens to
the others when one does not load."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from served import served

MODEL = """
from mlsrv import MLModel
from mlsrv.handlers import Reply, custom_handler
from mlsrv.types import InferenceResponse, ResponseOutput

class Model(MLModel):
    answered = 0

    async def predict(self, payload):
        self.answered += 1
        return InferenceResponse(outputs=[ResponseOutput("n", [1], "INT64", [self.answered])])

    @custom_handler("/greet/{name}")
    def greet(self, body: dict, name: str, loud: bool = False) -> dict:
        return {"hello": name.upper() if loud else name, "body": body}

    @custom_handler("/invocations", root=True)
    async def invocations(self, body: bytes) -> Reply:
        return Reply(body[::-1], 202, {"x-size": str(len(body))})
"""
REQUEST = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}]}


def folder(root: Path, name: str, code: str, **settings: object) -> None:
    path = root / name
    path.mkdir()
    (path / "models.py").write_text(code)
    described = {"name": name, "implementation": "models.Model"} | settings
    (path / "model-settings.json").write_text(json.dumps(described))


@pytest.mark.parametrize("workers", [0, 1])
async def test_a_custom_model_and_its_broken_neighbours(tmp_path: Path, workers: int) -> None:
    folder(tmp_path, "good", MODEL, warm_up=REQUEST)
    folder(tmp_path, "clashing", MODEL.replace("/greet/{name}", "/other"))
    folder(tmp_path, "raising", "import surely_missing")
    folder(tmp_path, "cold", MODEL.replace("self.answered += 1", "raise KeyError('cold')"), warm_up=[REQUEST])
    names = ["good", "raising", "cold"]
    async with served(
        [], model_repository_root=str(tmp_path), parallel_workers=workers, on_load_failure="serve"
    ) as server:
        async with httpx.AsyncClient(base_url=server.rest, timeout=30) as client:
            reasons = {name: server.kernel.handle(name).reason for name in [*names, "clashing"]}
            # Which of the two that want one path at the root was first is open.
            (loser,) = [name for name in ("good", "clashing") if "at the root of the server" in reasons[name]]
            if loser == "good":
                await server.kernel.unload("clashing")
                await server.kernel.load("good")
            assert "No module named 'surely_missing'" in reasons["raising"]
            assert "raising/models.py, line 1" in reasons["raising"]
            assert "Model cold failed its warm-up: Model cold failed: KeyError: 'cold'" in reasons["cold"]

            answer = await client.post("/v2/models/good/infer", json=REQUEST)
            assert answer.json()["outputs"][0]["data"] == [2]  # the warm-up was the first
            answer = await client.post("/v2/models/good/greet/you?loud=true", json={"a": 1})
            assert (answer.status_code, answer.json()) == (200, {"hello": "YOU", "body": {"a": 1}})
            answer = await client.post("/v2/models/good/greet/you", content=b"[")
            assert (answer.status_code, list(answer.json())) == (400, ["error"])
            answer = await client.post("/invocations", content=b"abc")
            assert (answer.status_code, answer.content, answer.headers["x-size"]) == (202, b"cba", "3")
            answers = await asyncio.gather(
                *(client.post("/v2/models/good/infer", json=REQUEST) for _ in range(20))
            )
            assert sorted(answer.json()["outputs"][0]["data"][0] for answer in answers) == list(range(3, 23))
