"""Waiting for what takes its time."""

import time
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Waits until a condition holds, and gives what it returned."""

    def wait(condition: Callable[[], Any], seconds: float = 90.0) -> Any:
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.1)
        return found

    return wait
