"""Placement: what one that only infers does with streams, handlers and its end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mlsrv.context import CallContext
from mlsrv.errors import Unsupported
from mlsrv.placement import Placement
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, InferenceResponse


class Namesake(Placement):
    """Answers with the id of a request as its model's name."""

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        return InferenceResponse(request.id or "", [])


async def requests() -> AsyncIterator[InferenceRequest]:
    for name in ("a", "b"):
        yield text_request("m", [""], id=name)


async def test_a_stream_is_answered_request_by_request() -> None:
    answers = Namesake().stream(requests(), CallContext())
    assert [answer.model_name async for answer in answers] == ["a", "b"]


async def test_there_are_no_handlers() -> None:
    with pytest.raises(Unsupported, match="Model m has no handler explain"):
        await Namesake().call("explain", {}, CallContext(model="m"))


async def test_it_can_be_unloaded_again_and_again() -> None:
    placement = Namesake()
    await placement.unload()
    await placement.unload()
    assert placement.problem is None
