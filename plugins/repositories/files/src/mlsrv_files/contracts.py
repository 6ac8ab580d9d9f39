"""Contract suites: the contract of repositories tried with files, for the tests and for ``mlsrv plugins
check``."""

from __future__ import annotations

import json
from pathlib import Path

from mlsrv.repository import ModelRepository
from mlsrv_files import FilesRepository
from mlsrv_testing.contracts import RepositoryContract


class TestFilesRepository(RepositoryContract):
    def make(self, root: Path) -> ModelRepository:
        return FilesRepository(str(root))

    def add(self, root: Path, name: str, version: str | None = None) -> None:
        folder = root / name / (version or "")
        folder.mkdir(parents=True)
        settings = {
            "name": name,
            "implementation": "mlsrv.testing.EchoModel",
            "parameters": {"version": version},
        }
        (folder / "model-settings.json").write_text(json.dumps(settings))

    def spoil(self, root: Path, name: str) -> None:
        (root / name).mkdir()
        (root / name / "model-settings.json").write_text("{")
