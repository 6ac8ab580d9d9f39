"""Verdicts: what waits, what is tried again, what is given up."""

from __future__ import annotations

import pytest

from mlsrv.context import CallContext
from mlsrv.errors import Code, MLSrvError, Overloaded
from mlsrv_kafka.verdicts import Attempts, Verdict

FAIL, RETRY, WAIT = Verdict.FAIL, Verdict.RETRY, Verdict.WAIT


def error(code: Code) -> MLSrvError:
    made = MLSrvError("x")
    made.code = code
    return made


@pytest.mark.parametrize("code", sorted(Code, key=lambda code: code.name), ids=lambda code: code.name)
def test_each_code(code: Code) -> None:
    waits = {Code.OVERLOADED, Code.NOT_READY}
    tried = {Code.INTERNAL, Code.CANCELLED, Code.DEADLINE_EXCEEDED}
    verdict, _ = Attempts(3, 300.0).judge(error(code), CallContext())
    assert verdict is (WAIT if code in waits else RETRY if code in tried else FAIL)


def test_retries_end() -> None:
    attempts = Attempts(2, None)
    found = [attempts.judge(error(Code.INTERNAL), None) for _ in range(3)]
    assert [verdict for verdict, _ in found] == [RETRY, RETRY, FAIL]
    assert found[0][1] < found[1][1]


def test_overload_waits_for_ever_and_never_long_at_once() -> None:
    attempts = Attempts(0, 0.0)
    refusal = Overloaded("full")
    refusal.retry_after = 60.0
    pauses = [attempts.judge(refusal, None) for _ in range(50)]
    assert {verdict for verdict, _ in pauses} == {WAIT}
    assert 0 < pauses[0][1] < pauses[-1][1] <= 1.0


def test_a_model_that_is_never_ready() -> None:
    assert Attempts(0, None).judge(error(Code.NOT_READY), None)[0] is WAIT
    assert Attempts(0, 0.0).judge(error(Code.NOT_READY), None)[0] is FAIL


@pytest.mark.parametrize("code", [Code.OVERLOADED, Code.NOT_READY, Code.INTERNAL, Code.DEADLINE_EXCEEDED])
def test_nothing_is_tried_after_the_clients_deadline(code: Code) -> None:
    late = CallContext(deadline=0.0)
    assert Attempts(9, None).judge(error(code), late) == (FAIL, 0.0)
