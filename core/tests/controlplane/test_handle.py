"""One version of a model as the control plane knows it: its state, and why it does not answer."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from mlsrv import ModelSettings
from mlsrv.context import CallContext
from mlsrv.controlplane.handle import ModelHandle
from mlsrv.dataplane.admission import Admission
from mlsrv.dataplane.instance import Instance
from mlsrv.errors import ModelNotReady
from mlsrv.handlers import Arguments
from mlsrv.placement import ModelInfo, Placement
from mlsrv.types import InferenceRequest, InferenceResponse, State


class Placed(Placement):
    """A model that is somewhere, and is asked for nothing."""

    def __init__(self, problem: str | None = None) -> None:
        self.info = ModelInfo()
        self._problem = problem

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        raise AssertionError("a handle asks for no inference")

    def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        raise AssertionError("a handle asks for no stream")

    async def call(self, method: str, arguments: Arguments, context: CallContext) -> Any:
        raise AssertionError("a handle calls no handler")

    async def unload(self) -> None:
        raise AssertionError("a handle unloads nothing itself")

    @property
    def problem(self) -> str | None:
        return self._problem


def instance_of(placement: Placement) -> Instance:
    return Instance(
        ModelSettings(name="m"), placement, [], AsyncExitStack(), Admission("Model m", "model", 10, 1000)
    )


def test_the_problem_of_a_handle_that_does_not_answer() -> None:
    handle = ModelHandle("m", "v1")
    assert (handle.label, handle.ready, handle.info) == ("m version v1", False, None)
    assert handle.problem == "its state is UNAVAILABLE"
    handle.reason = "no such weights"
    assert handle.problem == "no such weights"
    with pytest.raises(
        ModelNotReady, match=r"^Model m with version v1 is not ready \(UNAVAILABLE\): no such"
    ):
        handle.loaded()
    handle.instance = instance_of(Placed())
    handle.state, handle.reason = State.READY, "The last reload failed: no such weights"
    assert handle.ready
    assert handle.loaded() is handle.instance


def test_a_placement_with_a_problem_is_not_ready() -> None:
    handle = ModelHandle("m", None)
    handle.instance, handle.state = instance_of(Placed("its worker is being replaced")), State.READY
    assert (handle.ready, handle.problem) == (False, "its worker is being replaced")
