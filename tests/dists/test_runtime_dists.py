"""Each runtime serves the example of its framework from its wheel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from snippets import Player
from workspace import ROOT

# Building and installing happen in fixtures, and the first time needs downloads.
pytestmark = pytest.mark.timeout(600)

EXAMPLE = ROOT / "tests/examples/multi-model"
"""Irises told apart by a model of each framework."""

FRAMEWORKS = sorted(path.parent.name for path in EXAMPLE.glob("*/model-settings.json"))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_runtime_serves_from_its_wheel(
    framework: str, installed: Callable[..., Path], player: Player, tmp_path: Path
) -> None:
    player.programs = installed(tmp_path, "mlsrv-grpc", f"mlsrv-{framework}")
    player.variables = {"MLSRV_GRPC_PORT": "0"}
    player.start(["mlsrv", "start", str(EXAMPLE / framework)])
    flowers = {"name": "measurements", "shape": [2, 4], "datatype": "FP32"}
    request = {"inputs": [flowers | {"data": [5.1, 3.5, 1.4, 0.2, 6.7, 3.0, 5.2, 2.3]}]}
    answer = httpx.post(f"http://127.0.0.1:{player.port}/v2/models/iris-{framework}/infer", json=request)
    assert answer.status_code == 200, answer.text
    output = answer.json()["outputs"][0]
    # Some tell the species, some the probability of each.
    found = np.array(output["data"]).reshape(output["shape"]).reshape(2, -1)
    assert [int(row.argmax() if len(row) == 3 else row[0]) for row in found] == [0, 2]
    player.stop()
