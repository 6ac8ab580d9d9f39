"""Environments: found, unpacked and built for models."""

import asyncio
import hashlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv_workers.environments import environments


async def test_a_folder_without_an_interpreter(
    serve: Any, tiny: Any, tmp_path: Path, answer: Any, site_packages: Path
) -> None:
    site = tmp_path / "tiny" / "env" / site_packages
    site.mkdir(parents=True)
    (site / "tinydep.py").write_text("FACTOR = 3.0")
    async with serve(tiny(environment_path="env")) as kernel:
        assert kernel.problems() == []
        double, facts = await answer(kernel)
        assert double == [3.0, 6.0]
        assert facts[:2] == [str(site / "tinydep.py"), np.__version__]


async def test_a_tarball_is_unpacked_once(
    serve: Any, tiny: Any, tmp_path: Path, packed: Any, answer: Any, site_packages: Path
) -> None:
    members = {
        "bin/python": "->/usr/bin/python3.99",
        f"{site_packages}/tinydep.py": "FACTOR = 4.0",
        f"{site_packages}/also.py": "->tinydep.py",
    }
    packed(tmp_path / "tiny", members)
    root = tmp_path / "environments"
    for _ in range(2):
        async with serve(
            tiny(environment_tarball="./environment.tar.gz"), environments_dir=str(root)
        ) as kernel:
            double, facts = await answer(kernel)
            assert double == [4.0, 8.0]
            assert Path(facts[0]).is_relative_to(root)
        assert len([path for path in root.iterdir() if path.is_dir()]) == 1
        for file in root.glob(f"*/{site_packages}/also.py"):
            file.unlink(missing_ok=True)  # is missing unless it is unpacked again
    assert list(root.glob(f"*/{site_packages}/also.py")) == []


async def test_an_environment_that_others_may_have_changed_is_refused(
    serve: Any, tiny: Any, tmp_path: Path, packed: Any, site_packages: Path
) -> None:
    packed(tmp_path / "tiny", {f"{site_packages}/tinydep.py": "FACTOR = 4.0"})
    root = tmp_path / "environments"
    model = tiny(environment_tarball="environment.tar.gz")
    async with serve(model, environments_dir=str(root)) as kernel:
        assert kernel.problems() == []
    [folder] = [path for path in root.iterdir() if path.is_dir()]

    def open_to_all() -> None:
        folder.chmod(0o777)

    def anothers() -> None:
        folder.chmod(0o755)
        os.chown(folder, 54321, -1)

    def linked() -> None:
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")

    for change in [open_to_all, *([anothers] if os.geteuid() == 0 else []), linked]:
        change()
        async with serve(model, environments_dir=str(root)) as kernel:
            [problem] = kernel.problems()
            assert f"{folder} does not belong to the user of this server" in str(problem)


async def test_an_environment_that_was_removed_is_built_again_by_a_reload(
    serve: Any, tiny: Any, tmp_path: Path, eventually: Any, packed: Any, answer: Any, site_packages: Path
) -> None:
    packed(tmp_path / "tiny", {f"{site_packages}/tinydep.py": "FACTOR = 8.0"})
    root = tmp_path / "environments"
    async with serve(tiny(environment_tarball="environment.tar.gz"), environments_dir=str(root)) as kernel:
        pid = int((await answer(kernel))[1][3])
        shutil.rmtree(root)
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: "cannot reload it" in str(kernel.problems()))
        await kernel.load("tiny")
        assert kernel.problems() == []
        assert (await answer(kernel))[0] == [8.0, 16.0]


async def test_an_incomplete_environment_is_built_again(
    serve: Any, tiny: Any, tmp_path: Path, packed: Any, answer: Any, site_packages: Path
) -> None:
    path = packed(tmp_path / "tiny", {f"{site_packages}/tinydep.py": "FACTOR = 5.0"})
    name = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    (tmp_path / "environments" / name / "bin").mkdir(parents=True)
    async with serve(
        tiny(environment_tarball=str(path)), environments_dir=str(tmp_path / "environments")
    ) as kernel:
        assert (await answer(kernel))[0] == [5.0, 10.0]


@pytest.mark.parametrize("inside", ["", ".", "env"])
async def test_a_packed_virtual_environment(
    serve: Any, tiny: Any, tmp_path: Path, inside: str, answer: Any, site_packages: Path
) -> None:
    venv.create(tmp_path / "packed", symlinks=True)
    (tmp_path / "packed" / site_packages / "tinydep.py").write_text("FACTOR = 6.0")
    with tarfile.open(tmp_path / "tiny" / "environment.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "packed", inside)
    root = tmp_path / "environments"
    async with serve(tiny(environment_tarball="environment.tar.gz"), environments_dir=str(root)) as kernel:
        assert kernel.problems() == []
        double, facts = await answer(kernel)
    assert double == [6.0, 12.0]
    assert Path(facts[0]).is_relative_to(root)


async def test_conda_unpack_is_run(tiny: Any, tmp_path: Path, packed: Any) -> None:
    unpacker = "import pathlib; (pathlib.Path(__file__).parent / 'prefix').write_text('right')"
    members = {"bin/python": f'#!/bin/sh\nexec {sys.executable} "$@"\n', "bin/conda-unpack": unpacker}
    path = packed(tmp_path, members)
    found = await environments.Environments(tmp_path / "envs").of(tiny(environment_tarball=str(path)))
    assert found is not None
    assert Path(found.folder, "bin", "prefix").read_text() == "right"


async def test_requirements_are_installed(
    serve: Any, tiny: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, wheel: Any, answer: Any
) -> None:
    wheel(tmp_path / "tiny")
    (tmp_path / "tiny" / "requirements.txt").write_text("./tinydep-1.0-py3-none-any.whl\n")
    settings = tiny(environment_requirements="requirements.txt")
    async with serve(settings, environments_dir=str(tmp_path / "envs")) as kernel:
        assert kernel.problems() == []
        double, facts = await answer(kernel)
        assert double == [2.0, 4.0]
        assert Path(facts[2]).is_relative_to(tmp_path / "envs")
    assert "building the environment" in caplog.text
    assert "tinydep" in caplog.text


async def test_requirements_that_cannot_be_installed_fail_the_load(
    serve: Any, tiny: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tiny" / "requirements.txt").write_text(f"{tmp_path}/nowhere.whl\n")
    settings = tiny(environment_requirements="requirements.txt")
    async with serve(settings, environments_dir=str(tmp_path / "envs")) as kernel:
        reason = kernel.handle("tiny").reason
    assert "environment_requirements" in reason
    assert re.search(r"uv failed with exit code \d+: error: ", reason)
    assert "nowhere.whl" in reason
    assert len(reason.splitlines()) == 1
    assert "Traceback" not in caplog.text
    assert [path.suffix for path in (tmp_path / "envs").iterdir()] == [
        ".lock"
    ]  # no incomplete folder is left


BACKEND = """
import os, pathlib, shutil, time
here = pathlib.Path(__file__).parent

def build_wheel(folder, config_settings=None, metadata_directory=None):
    (here / "building").write_text(str(os.getpid()))
    end = time.monotonic() + 60
    while not (here / "go").exists() and time.monotonic() < end:
        time.sleep(0.01)
    return pathlib.Path(shutil.copy(here / "tinydep-1.0-py3-none-any.whl", folder)).name
"""
"""A build backend that writes its process id and returns a wheel of `tinydep` once the file `go` exists."""


@pytest.fixture
def slow(tiny: Any, tmp_path: Path, wheel: Any) -> tuple[ModelSettings, Path]:
    """Return a model whose requirements are built slowly, and the folder of the package."""
    source = tmp_path / "tiny" / "source"
    source.mkdir()
    wheel(source)
    (source / "backend.py").write_text(BACKEND)
    (source / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
        "[project]\nname = 'tinydep'\nversion = '1.0'\n"
    )
    (tmp_path / "tiny" / "requirements.txt").write_text("./source\n")
    return tiny(environment_requirements="requirements.txt"), source


async def test_a_cancelled_build_ends_its_processes(
    slow: tuple[ModelSettings, Path], tmp_path: Path, eventually: Any, ended: Any
) -> None:
    settings, source = slow
    made = environments.Environments(tmp_path / "envs")
    task = asyncio.create_task(made.of(settings))
    pid = int(await eventually(lambda: (source / "building").exists() and builder(source)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: ended(pid))
    assert [path.suffix for path in (tmp_path / "envs").iterdir()] == [".lock"]
    (source / "go").touch()
    assert await made.of(settings) is not None


async def test_a_program_left_running_by_an_installer_does_not_block_others(
    tiny: Any, tmp_path: Path, packed: Any, ended: Any
) -> None:
    python = f"""#!/bin/sh
case "$1" in
    */conda-unpack) sleep 120 > /dev/null 2>&1 & echo $! > {tmp_path}/pid ;;
    *) exec {sys.executable} "$@" ;;
esac
"""
    path = packed(tmp_path, {"bin/python": python, "bin/conda-unpack": ""})
    made = environments.Environments(tmp_path / "envs")
    found = [await asyncio.wait_for(made.of(tiny(environment_tarball=str(path))), 20) for _ in range(2)]
    assert found[0] == found[1]
    pid = int((tmp_path / "pid").read_text())
    assert not ended(pid)
    os.kill(pid, signal.SIGKILL)


async def test_a_build_ends_with_a_server_that_is_killed_and_begins_anew_with_the_next(
    slow: tuple[ModelSettings, Path],
    tmp_path: Path,
    eventually: Any,
    ended: Any,
    site_packages: Path,
) -> None:
    settings, source = slow
    root = tmp_path / "envs"
    code = f"""
import asyncio, pathlib
from mlsrv.settings import ModelParameters, ModelSettings
from mlsrv_workers.environments.environments import Environments
model = ModelSettings("tiny", "models.Tiny", ModelParameters(environment_requirements="requirements.txt"),
    source=pathlib.Path({str(settings.source)!r}))
asyncio.run(Environments(pathlib.Path({str(root)!r})).of(model))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL) as server:
        pid = int(await eventually(lambda: (source / "building").exists() and builder(source)))
        server.kill()
    await eventually(lambda: ended(pid))
    (source / "go").touch()
    found = await environments.Environments(root).of(settings)
    assert found is not None
    assert (Path(found.folder) / site_packages / "tinydep.py").exists()


async def test_a_build_that_takes_too_long_fails_the_load_and_ends(
    slow: tuple[ModelSettings, Path], tmp_path: Path, eventually: Any, ended: Any
) -> None:
    settings, source = slow
    with pytest.raises(ModelLoadError, match=r"was not ready within 3 s \(environment_timeout\)"):
        await environments.Environments(tmp_path / "envs", 3.0).of(settings)
    await eventually(lambda: ended(int(builder(source))))


async def test_a_second_server_waits_for_a_build(
    slow: tuple[ModelSettings, Path], tmp_path: Path, eventually: Any, caplog: Any
) -> None:
    settings, source = slow
    caplog.set_level(logging.INFO)
    tasks = [asyncio.create_task(environments.Environments(tmp_path / "envs").of(settings)) for _ in range(2)]
    await eventually(lambda: (source / "building").exists())
    await eventually(lambda: "waiting until the environment" in caplog.text)
    (source / "go").touch()
    first, second = await asyncio.gather(*tasks)
    assert first == second


def builder(source: Path) -> str:
    return (source / "building").read_text()


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"environment_path": "nowhere"}, "environment_path: there is no folder"),
        ({"environment_tarball": "nowhere"}, "environment_tarball: there is no file"),
        ({"environment_tarball": "models.py"}, "ReadError"),
        ({"environment_path": ".", "environment_tarball": "models.py"}, "exclude each other"),
        ({"environment_path": "."}, "it has neither bin/python nor lib/python"),
    ],
)
async def test_parameters_that_name_no_environment_fail_the_load(
    serve: Any, tiny: Any, tmp_path: Path, parameters: dict[str, str], text: str
) -> None:
    async with serve(tiny(**parameters), environments_dir=str(tmp_path / "envs")) as kernel:
        assert text in kernel.handle("tiny").reason


async def test_a_python_that_is_too_old_is_refused(serve: Any, tiny: Any, tmp_path: Path) -> None:
    python = tmp_path / "tiny" / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 3.6\n")
    python.chmod(0o755)
    async with serve(tiny(environment_path="env")) as kernel:
        assert "it has Python 3.6, and workers need 3.9 or newer" in kernel.handle("tiny").reason


async def test_warnings_of_an_interpreter_are_ignored(serve: Any, tiny: Any, tmp_path: Path) -> None:
    python = tmp_path / "tiny" / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "this is old" >&2\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    found = await environments.Environments(tmp_path / "envs").of(tiny(environment_path="env"))
    assert found is not None
    assert found.python == str(python)


async def test_an_interpreter_that_hangs_fails_the_load(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "VERSION_TIMEOUT", 0.1)
    python = tmp_path / "tiny" / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nsleep 60\n")
    python.chmod(0o755)
    with pytest.raises(ModelLoadError, match=r"its bin/python said nothing for 0 s"):
        await environments.Environments(tmp_path / "envs").of(tiny(environment_path="env"))


async def test_an_environment_needs_a_worker(
    serve: Any, tiny: Any, tmp_path: Path, site_packages: Path
) -> None:
    (tmp_path / "tiny" / "env" / site_packages).mkdir(parents=True)
    async with serve(tiny(environment_path="env"), parallel_workers=0) as kernel:
        with pytest.raises(ModelLoadError, match="set parallel_workers to 1 or more"):
            await kernel.load("tiny")
