"""A model gives the same bytes on a cluster as in the server, with and without batching."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from attrs import define
from hypothesis import HealthCheck, example, given, settings
from mirrored import SOURCE, answers, asking_for, inference_requests, own_values

import mlsrv_batching.plugin
import mlsrv_ray.plugin
from mlsrv import Kernel, ModelSettings
from mlsrv.errors import MLSrvError
from mlsrv.kernel.blocking import BlockingKernel
from mlsrv.types import InferenceRequest, RequestInput
from mlsrv_protocol import json

pytestmark = pytest.mark.timeout(180)

WAYS: list[dict[str, Any]] = [
    {"executor": "inline"},
    {"executor": "ray", "ray_replicas": 2},
    {"executor": "ray", "max_batch_size": 8, "max_batch_time": 0.02},
]
LARGE = RequestInput("x", [1, 2**14], "INT64", np.arange(2**14) + 2**53)
"""A tensor that lies in the memory of the cluster on its way."""


@define
class Way:
    """One kernel with the model."""

    kernel: BlockingKernel

    def ask(self, request: InferenceRequest) -> bytes:
        """The answer as JSON, or what a client would be told of the error."""
        try:
            return json.encode_response(self.kernel.infer(request))
        except MLSrvError as error:
            return f"{type(error).__name__}, {error.code}: {error}".encode()


@pytest.fixture(scope="module")
def ways(cluster: Any) -> Iterator[list[Way]]:
    """In the server, on the cluster, and there with batching."""
    with ExitStack() as stack:
        found = []
        for fields in WAYS:
            model = ModelSettings("m", "models.Mirror", source=SOURCE, **fields)
            plugins = [mlsrv_ray.plugin, mlsrv_batching.plugin]
            kernel = Kernel(
                {"ray_address": cluster["address"]}, plugins=plugins, models=[model], discover=False
            )
            found.append(Way(stack.enter_context(kernel.blocking())))
            assert not kernel.problems()
        yield found


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(request=inference_requests())
@example(request=InferenceRequest([LARGE], id="id", model_name="m"))
def test_the_same_answers_as_in_the_server(ways: list[Way], request: InferenceRequest) -> None:
    found = answers(ways, request)
    assert len(found) == 1, [each[:300] for each in found]
    (answer,) = found
    is_refused = request.parameters is not None and "trouble" in request.parameters
    assert (b'"outputs"' in answer) != is_refused


def test_values_of_the_models_own_classes_have_the_same_answers(ways: list[Way]) -> None:
    for own in own_values():
        found = {way.ask(asking_for(own)) for way in ways}
        assert len(found) == 1, (own, found)
