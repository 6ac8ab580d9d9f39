"""The request parameters timeout and priority."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mlsrv import CallContext, Kernel, ModelSettings
from mlsrv.authorization import Limits, Principal
from mlsrv.dataplane.schedule_policy import apply_schedule
from mlsrv.errors import DeadlineExceeded, InvalidPayload
from mlsrv.testing import SlowModel, text_request
from mlsrv.types import InferenceRequest, Parameters


def asked(**parameters: Any) -> InferenceRequest:
    return InferenceRequest([], parameters=Parameters(**parameters))


def test_a_timeout_is_a_deadline_and_only_shortens() -> None:
    context = CallContext()
    apply_schedule(asked(timeout=2_000_000, priority=3), context)
    assert context.deadline is not None
    assert 1.5 < context.deadline - time.monotonic() <= 2.0
    assert context.priority == 3
    sooner = context.deadline
    apply_schedule(asked(timeout=60_000_000), context)
    assert context.deadline == sooner


def test_a_timeout_of_zero_is_no_timeout() -> None:
    context = CallContext()
    apply_schedule(asked(timeout=0, priority=0), context)
    apply_schedule(InferenceRequest([]), context)
    assert (context.deadline, context.priority) == (None, 0)


@pytest.mark.parametrize("wrong", [-1, 1.5, "1", True, [1]])
@pytest.mark.parametrize("name", ["timeout", "priority"])
def test_values_that_are_not_whole_numbers_are_refused(name: str, wrong: object) -> None:
    with pytest.raises(InvalidPayload, match=name):
        apply_schedule(asked(**{name: wrong}), CallContext())


async def test_the_kernel_applies_timeout_and_priority() -> None:
    slow = ModelSettings(name="slow", implementation=SlowModel, parameters={"extra": {"seconds": 20}})
    async with Kernel(models=[slow], discover=False) as kernel:
        await kernel.loaded()
        request = text_request("slow", ["a"])
        request.parameters = Parameters(timeout=20_000)
        with pytest.raises(DeadlineExceeded):
            await kernel.infer(request)


@pytest.mark.parametrize(("wanted", "given"), [(1, 3), (3, 3), (7, 7), (0, 0)])
def test_a_principal_may_have_a_lower_priority_limit(wanted: int, given: int) -> None:
    context = CallContext(principal=Principal("robot", limits=Limits(priority=3)))
    apply_schedule(asked(priority=wanted), context)
    assert context.priority == given
