"""A real Ray cluster on the loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from ray_served import running_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[dict[str, Any]]:
    """A cluster of two nodes for all tests of a session, as `running_cluster` describes it;
    ``MLSRV_TEST_RAY`` names another one, without its processes."""
    if "MLSRV_TEST_RAY" in os.environ:
        yield {"address": os.environ["MLSRV_TEST_RAY"], "processes": {}}
        return
    with running_cluster() as found:
        yield found
