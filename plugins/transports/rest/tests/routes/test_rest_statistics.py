"""Statistics and configurations, over real sockets."""

from __future__ import annotations

from typing import Any

from mlsrv import ModelSettings
from mlsrv.testing import EchoModel

BODY = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
DECLARED = ModelSettings(
    name="d", implementation=EchoModel, inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
)


async def test_statistics_count_over_http(serve: Any) -> None:
    async with serve(models=[DECLARED]) as served:
        for _ in range(3):
            await served.client.post("/v2/models/d/infer", json=BODY)
        for path in ("/v2/models/d/stats", "/v2/models/stats"):
            [found] = (await served.client.get(path)).json()["model_stats"]
            assert (found["name"], found["version"], found["inference_count"]) == ("d", "1", 3)
            assert found["inference_stats"]["success"]["count"] == 3
        assert (await served.client.get("/v2/models/nope/stats")).status_code == 404
        assert (await served.client.get("/v2/models/d/versions/7/stats")).status_code == 404


async def test_inferences_over_http_are_counted_by_rows(serve: Any) -> None:
    body = {"inputs": [{"name": "x", "shape": [3, 2], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}]}
    async with serve(models=[DECLARED]) as served:
        for _ in range(2):
            assert (await served.client.post("/v2/models/d/infer", json=body)).status_code == 200
        [found] = (await served.client.get("/v2/models/d/stats")).json()["model_stats"]
        assert (found["inference_count"], found["execution_count"]) == (6, 2)
        assert found["inference_stats"]["success"]["count"] == 2


async def test_the_configuration_agrees_with_the_metadata(serve: Any) -> None:
    async with serve(models=[DECLARED]) as served:
        config = (await served.client.get("/v2/models/d/config")).json()
        assert (config["name"], config["max_batch_size"]) == ("d", 0)
        assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 2]}]
        assert config["model_transaction_policy"] == {"decoupled": False}
        assert (await served.client.get("/v2/models/nope/config")).status_code == 404
