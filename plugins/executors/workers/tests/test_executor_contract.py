"""Executor: the contract that every executor fulfils."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import mlsrv_workers.plugin
from mlsrv_testing.contracts import ExecutorContract


class TestWorkers(ExecutorContract):
    server_settings: ClassVar[Mapping[str, Any]] = {"parallel_workers": 1}

    @property
    def executor(self) -> str:
        return "workers"

    def plugins(self) -> Sequence[object]:
        return [mlsrv_workers.plugin]
