"""tritonclient's HTTP clients, synchronous and asynchronous: every call that they have for what is served."""

from collections.abc import Callable

import pytest


@pytest.mark.parametrize(
    "what",
    [
        "health",
        "metadata",
        "statistics",
        "repository",
        "datatypes",
        "json",
        "options",
        "classification",
        "failures",
        "large",
        "together",
        "asynchronous",
    ],
)
def test_tritonclient_over_http(what: str, server: dict[str, str], guest: Callable[..., None]) -> None:
    guest("tritonclient", "http_calls.py", what, server["rest"])
