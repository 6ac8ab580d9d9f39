"""KServe's REST and gRPC clients."""

from collections.abc import Callable

import pytest


@pytest.mark.parametrize("what", ["rest", "grpc"])
def test_kserve(what: str, server: dict[str, str], guest: Callable[..., None]) -> None:
    guest("kserve", "calls.py", what, server[what])
