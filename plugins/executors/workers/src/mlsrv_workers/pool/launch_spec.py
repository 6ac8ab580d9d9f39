"""Launch spec: how a pool's processes are started."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from mlsrv_executor_kit.plugin_specs import PluginSpecs
from mlsrv_workers.environments import shared_packages
from mlsrv_workers.environments.environments import Environment
from mlsrv_workers.pool.questions import Asker
from mlsrv_workers.worker import boot

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads of OpenMP sleep while they wait for each other: where a core is busy, the others would spin for it,
which takes several times the processor time of the work itself."""


@frozen
class LaunchSpec:
    """Description of how the worker processes of a pool are started.

    Attributes:
        plugins: the plugins that they load.
        settings: settings of the server, as plain data.
        threads: limit for the threads of numeric libraries, unless environment variables set their own.
        shared_memory: bytes of shared memory for each direction.
        record: called with values of metrics: (fields of the metric, value, labels).
        ask: takes questions of models in them to other models.
        environment: the Python environment of the models; None is the server's own.
        path: ``sys.path`` of a process in the server's own environment.
    """

    plugins: PluginSpecs
    settings: Mapping[str, Any]
    threads: int
    shared_memory: int
    record: Callable[[tuple[Any, ...], float, tuple[str, ...]], None]
    ask: Asker
    environment: Environment | None = None
    path: tuple[str, ...] = field(factory=lambda: tuple(entry or os.getcwd() for entry in sys.path))

    def command(self, *descriptors: int) -> list[str]:
        """Return the command line of the process."""
        arguments = [
            str(Path(boot.__file__)),
            json.dumps(self._plan()),
            *map(str, descriptors),
            str(os.getpid()),
        ]
        if self.environment is None:
            return [sys.executable, "-P", *arguments]
        without_site = ["-S"] if self.environment.sites else []
        return [self.environment.python, "-I", *without_site, *arguments]

    def variables(self) -> dict[str, str]:
        """Return the environment variables of the process."""
        values = {name: str(self.threads) for name in _THREAD_VARIABLES} | _WAITING | dict(os.environ)
        if self.environment is not None:
            executables = str(Path(self.environment.folder) / "bin")
            values["PATH"] = os.pathsep.join(filter(None, (executables, values.get("PATH"))))
        return values

    def _plan(self) -> dict[str, Any]:
        """Return the import plan that `mlsrv_workers.worker.boot` describes."""
        if self.environment is None:
            return {"path": self.path, "sites": (), "folders": ()}
        plan = shared_packages.import_plan(self.environment.version, self.plugins.packages)
        return {"path": None, "sites": self.environment.sites, "folders": self._code_folders(), **plan}

    def _code_folders(self) -> list[str]:
        """Return the folders of code that is not installed: the working directory and that of the models."""
        root = self.settings.get("model_repository_root") or "."
        return [entry for entry in self.path if entry in (os.getcwd(), os.path.abspath(root))]
