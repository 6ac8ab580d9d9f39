"""Programs that make and check manifests."""

from __future__ import annotations

import os
import sys

import pytest
from programs import Run, run


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs Helm, with folders of its own."""
    if "MLSRV_TEST_HELM" not in os.environ:
        pytest.skip("Helm is installed by: nox -s deploy")
    home = str(tmp_path_factory.mktemp("helm"))
    folders = dict.fromkeys(("HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME"), home)
    return lambda *arguments: run(os.environ["MLSRV_TEST_HELM"], *arguments, **folders)


@pytest.fixture(scope="session")
def mlsrv() -> Run:
    """Runs the command mlsrv."""
    return lambda *arguments: run(sys.executable, "-m", "mlsrv_cli", *arguments)
