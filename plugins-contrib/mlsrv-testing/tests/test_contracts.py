"""The contract suites on parts of the kernel and on right toys; `test_contract_mutants.py` has wrong ones."""

import asyncio
import subprocess
import sys

import pytest
from contract_toys import (
    AdderSuite,
    InlineSuite,
    JsonSuite,
    LinesSuite,
    PassingStreamsSuite,
    PassingSuite,
    TableSuite,
    TallySuite,
)

from mlsrv_testing import contracts
from mlsrv_testing.contracts.running import Limit, limit, run


class TestInline(InlineSuite):
    pass


class TestJson(JsonSuite):
    pass


class TestTable(TableSuite):
    pass


class TestAdder(AdderSuite):
    pass


class TestPassing(PassingSuite):
    pass


class TestPassingStreams(PassingStreamsSuite):
    pass


class TestLines(LinesSuite):
    pass


class TestTally(TallySuite):
    pass


SUITES = [getattr(contracts, name) for name in contracts.__all__ if name.endswith("Contract")]


@pytest.mark.parametrize("suite", SUITES)
def test_each_case_says_what_it_guards_against(suite: type) -> None:
    cases = {name: getattr(suite, name) for name in dir(suite) if name.startswith("test_")}
    assert cases
    for name, case in cases.items():
        what, _, guards = (case.__doc__ or "").partition("Guards against:")
        assert what.strip(), name
        assert len(guards.split()) > 3, name


def test_the_toys_do_not_need_pytest() -> None:
    program = "import sys, mlsrv.testing; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


async def _never() -> None:
    await asyncio.Event().wait()


async def _waits_for_never() -> None:
    await asyncio.gather(_never())


def test_a_case_that_does_not_end_says_where_it_waits() -> None:
    told: list[str] = []
    before = limit.set(Limit(0.05, told.append))
    try:
        with pytest.raises(
            AssertionError, match=r"^it did not end within 0\.05 seconds; it waits at"
        ) as caught:
            run(_waits_for_never())
    finally:
        limit.reset(before)
    assert told[0] in str(caught.value)
    named = [line.rpartition(" in ")[2] for line in told[0].splitlines()]
    assert named == ["_waits_for_never", "wait", "_never"]
