"""KServe's REST and gRPC clients, and manifests for it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workspace import ROOT

MANIFESTS = sorted((ROOT / "cli/deploy/kserve").glob("*.yaml"))


@pytest.mark.parametrize("what", ["rest", "grpc"])
def test_kserve(what: str, server: dict[str, str], guest: Callable[..., None]) -> None:
    guest("kserve", "calls.py", what, server[what])


def test_manifests_have_fields_that_kserve_knows(guest: Callable[..., None]) -> None:
    assert len(MANIFESTS) >= 5
    guest("kserve", "manifests.py", *map(str, MANIFESTS))


def test_an_exported_manifest(guest: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "service.yaml"
    export = [sys.executable, "-m", "mlsrv_cli", "export", "kserve", str(tmp_path), "--image", "a/b:1"]
    subprocess.run([*export, "--name", "iris", "--output", str(file)], check=True, timeout=60)
    guest("kserve", "manifests.py", str(file))


def test_an_unknown_field_is_found(guest: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    runtime = (ROOT / "cli/deploy/kserve/runtime.yaml").read_text(encoding="utf-8")
    file.write_text(runtime.replace("autoSelect", "autoselect"), encoding="utf-8")
    with pytest.raises(AssertionError, match="autoselect: there is no such field"):
        guest("kserve", "manifests.py", str(file))
