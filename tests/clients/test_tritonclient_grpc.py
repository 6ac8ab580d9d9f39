"""tritonclient's gRPC clients, synchronous and asynchronous: every call that they have for what is served."""

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
        "options",
        "classification",
        "failures",
        "large",
        "callbacks",
        "stream",
        "together",
        "asynchronous",
    ],
)
def test_tritonclient_over_grpc(what: str, server: dict[str, str], guest: Callable[..., None]) -> None:
    guest("tritonclient", "grpc_calls.py", what, server["grpc"])
