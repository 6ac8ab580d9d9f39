"""Installers: virtual environments from lists of requirements."""

from pathlib import Path
from typing import Any

import pytest


async def test_a_virtual_environment_with_pip_alone(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheel: Any, site_packages: Path
) -> None:
    from mlsrv_workers.environments import installers

    monkeypatch.setattr(installers.shutil, "which", lambda *_, **__: None)
    wheel(tmp_path)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("./tinydep-1.0-py3-none-any.whl\n")
    lines: list[str] = []
    await installers.install(requirements, tmp_path / "env", lines.append)
    assert (tmp_path / "env" / site_packages / "tinydep.py").exists()
    assert any("tinydep" in line for line in lines)
    requirements.write_text("./nowhere.whl\n")
    with pytest.raises(ValueError, match=r"^python failed with exit code 1: ERROR: .*nowhere\.whl"):
        await installers.install(requirements, tmp_path / "env", lines.append)
