"""What a custom handler changes in a model is there for all requests, where the model has one process."""

import asyncio

import pytest
from probing_models import Learning

from mlsrv import CallContext, ModelSettings
from mlsrv.testing import tensor_request
from served import served


@pytest.mark.parametrize("workers", [0, 1])
async def test_a_model_of_one_process_learns_for_all_requests(workers: int) -> None:
    model = ModelSettings("learning", Learning, parallel_workers=workers)
    async with served([model], parallel_workers=2) as it:
        for _ in range(5):
            await it.kernel.call("learning", None, "learn", {}, CallContext())
        answers = await asyncio.gather(
            *(it.kernel.infer(tensor_request("learning", [1.0])) for _ in range(10))
        )
    assert {int(answer.outputs[0].data[0]) for answer in answers} == {5}
