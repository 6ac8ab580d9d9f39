"""The contract of executors, on a real cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import mlsrv_ray.plugin
from mlsrv_testing.contracts import ExecutorContract

pytestmark = pytest.mark.timeout(180)


class TestRay(ExecutorContract):
    @property
    def executor(self) -> str:
        return "ray"

    @pytest.fixture(autouse=True)
    def _cluster(self, cluster: Mapping[str, Any]) -> None:
        self.address = cluster["address"]

    @property
    def server_settings(self) -> Mapping[str, Any]:  # type: ignore[override]  # known when the cluster runs
        return {"ray_address": self.address}

    def plugins(self) -> Sequence[object]:
        return [mlsrv_ray.plugin]
