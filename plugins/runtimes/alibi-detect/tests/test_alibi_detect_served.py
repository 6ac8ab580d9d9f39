"""Detectors that are served answer what they answer directly."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from alibi_detect.saving import load_detector

from mlsrv import ModelSettings
from mlsrv.codecs import NumpyCodec
from mlsrv.testing import tensor_request
from mlsrv_protocol.json import encode_request
from served import served

LOADING = 300
"""Seconds for models to load in a worker, which imports alibi-detect and what that imports first."""
NAMES = (
    "ks",
    "cvm",
    "chisquare",
    "tabular",
    "fet",
    "mmd",
    "lsdd",
    "classifier-sklearn",
    "classifier",
    "spot-the-diff",
    "learned-kernel",
    "classifier-uncertainty",
    "regressor-uncertainty",
    "mmd-online",
    "lsdd-online",
    "cvm-online",
    "fet-online",
)
RANDOM = {
    "lsdd",
    "mmd",
    "classifier",
    "classifier-sklearn",
    "spot-the-diff",
    "learned-kernel",
    "regressor-uncertainty",
}
"""Detectors that draw numbers: permutations, rows to train with, or the weights that they begin with."""

BLIND = {
    "classifier-uncertainty",
    "regressor-uncertainty",
    "classifier",
    "spot-the-diff",
    "learned-kernel",
    "cvm-online",
}
"""Detectors whose tiny networks, or windows, need not see the drift in eight rows."""


def settings(name: str, folder: Path, implementation: str = "alibi-detect", **extra: Any) -> ModelSettings:
    return ModelSettings(
        name=name, implementation=implementation, parameters={"uri": str(folder), "extra": extra}
    )


def seed() -> None:
    torch.manual_seed(7)
    np.random.seed(7)


def loaded(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_detector(folder)


def direct(detector: Any, rows: Any) -> dict[str, Any]:
    """What a detector answers, in the form of the runtime: a row for each call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calls = (
            [detector.predict(row) for row in rows]
            if hasattr(detector, "save_state")
            else [detector.predict(rows)]
        )
    return {key: [call["data"][key] for call in calls] for key in calls[0]["data"]}


def compare(name: str, answer: Any, expected: dict[str, Any]) -> None:
    got = {output.name: NumpyCodec.decode_output(output) for output in answer.outputs}
    assert set(got) == set(expected) - {"model", "kernel"}, name  # objects
    for key, array in got.items():
        assert len(array) == len(expected[key])
        for found, value in zip(array, expected[key], strict=True):
            wanted = np.array(np.nan if value is None else value, float).reshape(-1)
            message = f"{name}: {key}"
            np.testing.assert_allclose(
                found.reshape(-1), np.broadcast_to(wanted, found.size), err_msg=message
            )


@pytest.mark.timeout(600)
async def test_every_detector_over_rest_and_grpc(saved: Any, sample: Any) -> None:
    models = [settings(f"{name}-{wire}", saved(name)) for name in NAMES for wire in ("json", "grpc")]
    async with served(models, parallel_workers=0, load_models_at_startup=False) as found:
        for name in NAMES:
            seed()
            detector = loaded(saved(name))
            seed()
            expected = direct(detector, sample(name))
            for wire in ("json", "grpc"):
                seed()
                await found.kernel.load(f"{name}-{wire}")
                seed()
                answer = await found.infer(wire, tensor_request(f"{name}-{wire}", sample(name)))
                compare(name, answer, expected)
            assert np.all(np.array(expected["is_drift"][-1]) == 1) or name in BLIND, name


@pytest.mark.timeout(600)
async def test_detectors_in_a_worker_and_the_metric(
    saved: Any, sample: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("served.LOADING", LOADING)
    names = [name for name in NAMES if name not in RANDOM and not name.endswith("online")]
    models = [settings(name, saved(name)) for name in names]
    models.append(settings("old", saved("ks"), "mlserver_alibi_detect.AlibiDetectRuntime"))
    async with served(models, parallel_workers=1) as found:
        assert found.kernel.problems() == []
        for name in names:
            expected = direct(loaded(saved(name)), sample(name))
            for wire in ("json", "binary", "grpc"):
                compare(name, await found.infer(wire, tensor_request(name, sample(name))), expected)
        body = encode_request(tensor_request("old", sample("ks")))
        url = f"{found.rest}/v2/models/old/infer"
        answer = await asyncio.to_thread(httpx.post, url, content=body, timeout=60)
        assert answer.json()["parameters"]["name"] == "KSDrift"
        assert answer.headers["x-seldon-alibi-type"] == "drift"
        assert answer.headers["x-seldon-alibi-method"] == "ks"
        url = found.kernel.transports["prometheus"].endpoints[0]
        metrics = (await asyncio.to_thread(httpx.get, url)).text
        assert 'seldon_model_drift_sum{model_name="old"' in metrics
