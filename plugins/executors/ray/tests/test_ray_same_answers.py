"""The same requests have the same answers on a cluster as in the server: values, refusals and failures."""

from __future__ import annotations

import itertools
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray_served import serving

from mlsrv import Kernel, ModelSettings
from mlsrv.errors import MLSrvError
from mlsrv.types import Datatype, InferenceRequest, Parameters, RequestInput
from mlsrv_protocol import json

pytestmark = pytest.mark.timeout(180)

SOURCE = Path(__file__).parents[4] / "tests/integration/mirror/model-settings.json"
TENSORS = [
    *(
        RequestInput("x", [2, 2], datatype, np.array([0, 1, 1, 0]).astype(datatype.dtype))
        for datatype in Datatype
        if datatype is not Datatype.BYTES
    ),
    RequestInput("x", [3], "BYTES", ["a", "", "Straße"]),
    RequestInput("x", [3], "FP64", np.array([np.nan, np.inf, -np.inf])),
    RequestInput("x", [2**14], "INT64", np.arange(2**14) + 2**53),
    RequestInput("x", [0, 4], "FP32", np.zeros(0, np.float32)),
]
PARAMETERS = [{}, {"trouble": "refuse"}, {"trouble": "fail"}]
OWN_VALUES = runpy.run_path(str(SOURCE.with_name("own_values.py")))["VALUES"]
"""Answers with values of classes that the server lacks, by name."""


async def answer(
    kernel: Kernel, name: str, tensor: RequestInput, parameters: dict[str, str]
) -> tuple[Any, ...]:
    """What a client would be told, without the model's name."""
    request = InferenceRequest([tensor], id="id", parameters=Parameters(**parameters), model_name=name)
    try:
        response = await kernel.infer(request)
    except MLSrvError as error:
        return type(error), error.code, str(error).replace(f"odel {name}", "odel m")
    response.model_name = "m"
    try:
        return ("answered", json.encode_response(response))
    except MLSrvError as error:
        return type(error), error.code, str(error)


async def test_the_same_answers_as_in_the_server(cluster: Any) -> None:
    models = [
        ModelSettings(name, "models.Mirror", source=SOURCE, executor=name) for name in ("inline", "ray")
    ]
    async with serving(cluster["address"], *models) as kernel:
        assert not kernel.problems()
        for tensor, parameters in itertools.product(TENSORS, PARAMETERS):
            here, there = [await answer(kernel, name, tensor, parameters) for name in ("inline", "ray")]
            assert here == there
            assert (here[0] == "answered") == (not parameters)
        for own in OWN_VALUES:
            here, there = [await answer(kernel, name, TENSORS[0], {"own": own}) for name in ("inline", "ray")]
            assert here == there, own
