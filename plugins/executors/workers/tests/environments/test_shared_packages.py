"""Shared packages: the server's packages in environments of models."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlsrv_numpy.plugin
from mlsrv.plugins import load_plugin_file
from mlsrv.testing import tensor_request


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="numpy 1.26 has no wheels for it")
@pytest.mark.timeout(300)
async def test_numpy_of_another_major_version(
    serve: Any, tiny: Any, tmp_path: Path, wheel: Any, answer: Any
) -> None:
    wanted = "numpy>=2" if np.__version__.startswith("1.") else "numpy<2"
    wheel(tmp_path / "tiny")
    (tmp_path / "tiny" / "requirements.txt").write_text(
        f"{tmp_path}/tiny/tinydep-1.0-py3-none-any.whl\n{wanted}\n"
    )
    settings = tiny(environment_requirements="requirements.txt")
    async with serve(settings, environments_dir=str(tmp_path / "envs")) as kernel:
        assert kernel.problems() == []
        double, facts = await answer(kernel)
        assert double == [2.0, 4.0]
        assert facts[1].partition(".")[0] != np.__version__.partition(".")[0]
        big = await kernel.infer(tensor_request("tiny", np.arange(100_000.0)))
        assert big.outputs[0].data[-1] == 2 * 99_999.0


async def test_an_environment_whose_packages_fail_to_import_fails_the_load(
    serve: Any, tiny: Any, tmp_path: Path, distribution: Any, site_packages: Path
) -> None:
    site = tmp_path / "tiny" / "env" / site_packages
    distribution(site, "attrs", "99.0")
    (site / "attr").mkdir()
    (site / "attr" / "__init__.py").write_text("raise ImportError('too new')")
    (site / "numpy.py").write_text("raise ImportError('not for this machine')")
    async with serve(tiny(environment_path="env")) as kernel:
        assert "ended unexpectedly" in kernel.handle("tiny").reason
    shutil.rmtree(site / "attr")
    shutil.rmtree(site / "attrs-99.0.dist-info")
    async with serve(tiny(environment_path="env")) as kernel:
        assert "A worker cannot run in the environment: ImportError: not for this machine" in (
            kernel.handle("tiny").reason
        )


async def test_newer_packages_of_the_server_replace_old_ones_of_the_environment(
    serve: Any, tiny: Any, tmp_path: Path, answer: Any, distribution: Any, site_packages: Path
) -> None:
    site = tmp_path / "tiny" / "env" / site_packages
    needed = {"attrs": "attr", "cattrs": "cattrs", "orjson": "orjson", "pluggy": "pluggy"}
    for name, package in needed.items():
        distribution(site, name, "0.9.1rc2")
        (site / package).mkdir()
        (site / package / "__init__.py").write_text("raise ImportError('too old')")
    (site / "tinydep.py").write_text("FACTOR = 7.0")
    async with serve(tiny(environment_path="env")) as kernel:
        assert kernel.problems() == []
        assert (await answer(kernel))[0] == [7.0, 14.0]


async def test_a_plugin_whose_imports_the_environment_lacks_is_left_out(
    serve: Any, tiny: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: Any, site_packages: Path
) -> None:
    (tmp_path / "checked.py").write_text("import pytest\n")
    site = tmp_path / "tiny" / "env" / site_packages
    site.mkdir(parents=True)
    (site / "tinydep.py").write_text("FACTOR = 9.0")
    plugin = load_plugin_file(tmp_path / "checked.py")
    async with serve(tiny(environment_path="env"), plugins=[plugin]) as kernel:
        assert kernel.problems() == []
        assert (await answer(kernel))[0] == [9.0, 18.0]
    assert "is left out in the environment" in caplog.text
    assert "No module named 'pytest'" in caplog.text


async def test_code_in_the_working_directory_of_the_server_is_found(
    serve: Any, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, site_packages: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (tmp_path / "tinydep.py").write_text("FACTOR = 10.0")
    (tmp_path / "tiny" / "env" / site_packages).mkdir(parents=True)
    async with serve(tiny(environment_path="env")) as kernel:
        assert kernel.problems() == []
        assert (await answer(kernel))[0] == [10.0, 20.0]


async def test_the_kits_of_the_server_are_there(
    serve: Any, tiny: Any, tmp_path: Path, answer: Any, site_packages: Path
) -> None:
    site = tmp_path / "tiny" / "env" / site_packages
    site.mkdir(parents=True)
    (site / "tinydep.py").write_text("FACTOR = 3.0")
    code = tmp_path / "tiny" / "models.py"
    kits = "import mlsrv_runtime_kit\nfrom mlsrv.codecs import decode_args\n"
    code.write_text(kits + code.read_text(encoding="utf-8"))
    async with serve(tiny(environment_path="env")) as kernel:
        assert kernel.problems() == []
        assert (await answer(kernel))[0] == [3.0, 6.0]


async def test_plugins_of_the_server_are_found_as_installed(
    serve: Any, tiny: Any, tmp_path: Path, answer: Any, site_packages: Path
) -> None:
    site = tmp_path / "tiny" / "env" / site_packages
    site.mkdir(parents=True)
    (site / "tinydep.py").write_text("FACTOR = 3.0")
    code = tmp_path / "tiny" / "models.py"
    found = (
        "import importlib.metadata\nfrom mlsrv.codecs.installed import installed_registry\n"
        "assert importlib.metadata.version('mlsrv_numpy')\nassert installed_registry().input_codec('np')\n"
    )
    code.write_text(found + code.read_text(encoding="utf-8"))
    async with serve(tiny(environment_path="env"), plugins=[mlsrv_numpy.plugin]) as kernel:
        assert kernel.problems() == []
        assert (await answer(kernel))[0] == [3.0, 6.0]
