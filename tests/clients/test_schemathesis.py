"""schemathesis tries what the OpenAPI document promises: no failures, answers as they are described."""

from collections.abc import Callable

import pytest

MODELS = ["echo", "versioned", "declared"]
"""Those that answer at once, and never fail on purpose."""


@pytest.mark.timeout(180)
def test_schemathesis(server: dict[str, str], guest: Callable[..., None]) -> None:
    guest("schemathesis", "run.py", server["rest"])
