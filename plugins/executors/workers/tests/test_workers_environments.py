"""Models in environments of their own."""

import asyncio
import base64
import hashlib
import io
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlsrv.errors import ModelLoadError
from mlsrv.plugins import load_plugin_file
from mlsrv.settings import ModelParameters, ModelSettings
from mlsrv.testing import tensor_request
from mlsrv_workers.environments import environments
from mlsrv_workers.environments.run_program import output_of

SITE = Path("lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")

MODEL = """
import os, sys
import mlsrv, numpy, tinydep
from mlsrv.types import InferenceResponse, ResponseOutput

class Tiny(mlsrv.MLModel):
    def predict(self, payload):
        double = payload.inputs[0].data * tinydep.FACTOR
        facts = [tinydep.__file__, numpy.__version__, sys.prefix, str(os.getpid())]
        return InferenceResponse(outputs=[
            ResponseOutput("double", list(payload.inputs[0].shape), "FP64", double),
            ResponseOutput("facts", [4], "BYTES", facts),
        ])

    def load(self):
        try:
            import pytest
        except ImportError:
            return True
        raise RuntimeError("the server's packages are within reach")
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Any:
    """Makes the settings of a model whose folder has a module `tinydep` nowhere but in its environment."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "models.py").write_text(MODEL)

    def make(name: str = "tiny", **parameters: str) -> ModelSettings:
        source = folder / "model-settings.json"
        return ModelSettings(name, "models.Tiny", ModelParameters(**parameters), source=source)  # type: ignore[arg-type]  # no extra among them

    return make


def packed(folder: Path, members: dict[str, str]) -> Path:
    """A tarball with files, and a link where the text begins with ``->``."""
    path = folder / "environment.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            if text.startswith("->"):
                member.type, member.linkname = tarfile.SYMTYPE, text[2:]
                archive.addfile(member)
            else:
                member.size, member.mode = len(text), 0o755
                archive.addfile(member, io.BytesIO(text.encode()))
    return path


def wheel(folder: Path) -> None:
    """A wheel of `tinydep`, made by hand so that installing it needs no network."""
    files = {
        "tinydep.py": "FACTOR = 2.0\n",
        "tinydep-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tinydep\nVersion: 1.0\n",
        "tinydep-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text)}\n"
    with zipfile.ZipFile(folder / "tinydep-1.0-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr("tinydep-1.0.dist-info/RECORD", record + "tinydep-1.0.dist-info/RECORD,,\n")


async def answer(kernel: Any) -> tuple[list[float], list[str]]:
    response = await kernel.infer(tensor_request("tiny", np.array([1.0, 2.0])))
    double, facts = response.outputs
    return double.data.tolist(), [str(fact) for fact in facts.data]


async def test_a_folder_without_an_interpreter(serve: Any, tiny: Any, tmp_path: Path) -> None:
    site = tmp_path / "tiny" / "env" / SITE
    site.mkdir(parents=True)
    (site / "tinydep.py").write_text("FACTOR = 3.0")
    async with serve(tiny(environment_path="env")) as kernel:
        assert kernel.problems() == []
        double, facts = await answer(kernel)
        assert double == [3.0, 6.0]
        assert facts[:2] == [str(site / "tinydep.py"), np.__version__]


async def test_a_tarball(serve: Any, tiny: Any, tmp_path: Path) -> None:
    members = {
        "bin/python": "->/usr/bin/python3.99",
        f"{SITE}/tinydep.py": "FACTOR = 4.0",
        f"{SITE}/also.py": "->tinydep.py",
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
        for file in root.glob(f"*/{SITE}/also.py"):
            file.unlink(missing_ok=True)  # it is not unpacked again
    assert list(root.glob(f"*/{SITE}/also.py")) == []


async def test_an_environment_that_was_removed_is_made_again_by_a_reload(
    serve: Any, tiny: Any, tmp_path: Path, eventually: Any
) -> None:
    packed(tmp_path / "tiny", {f"{SITE}/tinydep.py": "FACTOR = 8.0"})
    root = tmp_path / "environments"
    async with serve(tiny(environment_tarball="environment.tar.gz"), environments_dir=str(root)) as kernel:
        pid = int((await answer(kernel))[1][3])
        shutil.rmtree(root)
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: "No module named 'tinydep'" in str(kernel.problems()))
        await kernel.load("tiny")
        assert kernel.problems() == []
        assert (await answer(kernel))[0] == [8.0, 16.0]


async def test_half_an_environment_is_made_again(serve: Any, tiny: Any, tmp_path: Path) -> None:
    path = packed(tmp_path / "tiny", {f"{SITE}/tinydep.py": "FACTOR = 5.0"})
    name = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    (tmp_path / "environments" / name / "bin").mkdir(parents=True)
    async with serve(
        tiny(environment_tarball=str(path)), environments_dir=str(tmp_path / "environments")
    ) as kernel:
        assert (await answer(kernel))[0] == [5.0, 10.0]


@pytest.mark.parametrize("inside", ["", ".", "env"])
async def test_a_packed_virtual_environment(serve: Any, tiny: Any, tmp_path: Path, inside: str) -> None:
    venv.create(tmp_path / "packed", symlinks=True)
    (tmp_path / "packed" / SITE / "tinydep.py").write_text("FACTOR = 6.0")
    with tarfile.open(tmp_path / "tiny" / "environment.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "packed", inside)
    root = tmp_path / "environments"
    async with serve(tiny(environment_tarball="environment.tar.gz"), environments_dir=str(root)) as kernel:
        assert kernel.problems() == []
        double, facts = await answer(kernel)
    assert double == [6.0, 12.0]
    assert Path(facts[0]).is_relative_to(root)


async def test_what_conda_pack_leaves_to_do_is_done(tiny: Any, tmp_path: Path) -> None:
    unpacker = "import pathlib; (pathlib.Path(__file__).parent / 'prefix').write_text('right')"
    members = {"bin/python": f'#!/bin/sh\nexec {sys.executable} "$@"\n', "bin/conda-unpack": unpacker}
    path = packed(tmp_path, members)
    found = await environments.Environments(tmp_path / "envs").of(tiny(environment_tarball=str(path)))
    assert found is not None
    assert Path(found.folder, "bin", "prefix").read_text() == "right"


async def test_requirements(serve: Any, tiny: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wheel(tmp_path / "tiny")
    (tmp_path / "tiny" / "requirements.txt").write_text("./tinydep-1.0-py3-none-any.whl\n")
    settings = tiny(environment_requirements="requirements.txt")
    async with serve(settings, environments_dir=str(tmp_path / "envs")) as kernel:
        assert kernel.problems() == []
        double, facts = await answer(kernel)
        assert double == [2.0, 4.0]
        assert Path(facts[2]).is_relative_to(tmp_path / "envs")
    assert "making the environment" in caplog.text
    assert "tinydep" in caplog.text


async def test_requirements_that_cannot_be_met(
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
    assert [path.suffix for path in (tmp_path / "envs").iterdir()] == [".lock"]  # nothing half made is left


async def test_a_virtual_environment_with_pip_alone(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlsrv_workers.environments import installers

    monkeypatch.setattr(installers.shutil, "which", lambda *_, **__: None)
    wheel(tmp_path)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("./tinydep-1.0-py3-none-any.whl\n")
    lines: list[str] = []
    await installers.install(requirements, tmp_path / "env", lines.append)
    assert (tmp_path / "env" / SITE / "tinydep.py").exists()
    assert any("tinydep" in line for line in lines)
    requirements.write_text("./nowhere.whl\n")
    with pytest.raises(ValueError, match=r"^python failed with exit code 1: ERROR: .*nowhere\.whl"):
        await installers.install(requirements, tmp_path / "env", lines.append)


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
"""Builds `tinydep` with nothing but a wheel of it, once it may; whoever builds it is known."""


@pytest.fixture
def slow(tiny: Any, tmp_path: Path) -> tuple[ModelSettings, Path]:
    """A model whose requirements take their time, and the folder of the package."""
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


async def test_a_build_that_is_no_longer_wanted_ends(
    slow: tuple[ModelSettings, Path], tmp_path: Path, eventually: Any
) -> None:
    settings, source = slow
    made = environments.Environments(tmp_path / "envs")
    task = asyncio.create_task(made.of(settings))
    pid = int(await eventually(lambda: (source / "building").exists() and said(source)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: ended(pid))
    assert [path.suffix for path in (tmp_path / "envs").iterdir()] == [".lock"]
    (source / "go").touch()
    assert await made.of(settings) is not None


async def test_what_an_installer_left_behind_holds_nobody_up(tiny: Any, tmp_path: Path) -> None:
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


async def test_a_server_that_is_killed_while_it_builds(
    slow: tuple[ModelSettings, Path], tmp_path: Path, eventually: Any, caplog: Any
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
        pid = int(await eventually(lambda: (source / "building").exists() and said(source)))
        server.kill()
    (source / "building").unlink()
    caplog.set_level(logging.INFO)
    task = asyncio.create_task(environments.Environments(root).of(settings))
    await eventually(lambda: "waiting until the environment" in caplog.text)
    assert not ended(pid)  # what the first one began is still going on
    assert not (source / "building").exists()
    (source / "go").touch()
    found = await task
    assert found is not None
    assert ended(pid)
    assert (Path(found.folder) / SITE / "tinydep.py").exists()


def said(source: Path) -> str:
    return (source / "building").read_text()


def ended(pid: int) -> bool:
    """Whether a process is gone; a zombie, which nobody has waited for, counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="numpy 1.26 has no wheels for it")
@pytest.mark.timeout(300)
async def test_numpy_of_another_major_version(serve: Any, tiny: Any, tmp_path: Path) -> None:
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
async def test_what_is_no_environment(
    serve: Any, tiny: Any, tmp_path: Path, parameters: dict[str, str], text: str
) -> None:
    async with serve(tiny(**parameters), environments_dir=str(tmp_path / "envs")) as kernel:
        assert text in kernel.handle("tiny").reason


async def test_another_version_of_python(serve: Any, tiny: Any, tmp_path: Path) -> None:
    python = tmp_path / "tiny" / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 3.6\n")
    python.chmod(0o755)
    async with serve(tiny(environment_path="env")) as kernel:
        assert "it has Python 3.6, and the server Python 3." in kernel.handle("tiny").reason


async def test_an_interpreter_that_warns(serve: Any, tiny: Any, tmp_path: Path) -> None:
    python = tmp_path / "tiny" / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "this is old" >&2\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    found = await environments.Environments(tmp_path / "envs").of(tiny(environment_path="env"))
    assert found is not None
    assert found.python == str(python)


async def test_an_interpreter_that_hangs(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "ANSWER_SECONDS", 0.1)
    python = tmp_path / "tiny" / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nsleep 60\n")
    python.chmod(0o755)
    with pytest.raises(ModelLoadError, match=r"its bin/python said nothing for 0 s"):
        await environments.Environments(tmp_path / "envs").of(tiny(environment_path="env"))


async def test_an_environment_in_which_no_worker_can_run(serve: Any, tiny: Any, tmp_path: Path) -> None:
    site = tmp_path / "tiny" / "env" / SITE
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


def distribution(site: Path, name: str, version: str) -> None:
    """Have an environment say that it has a distribution."""
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


async def test_an_environment_with_old_versions_of_what_a_worker_needs(
    serve: Any, tiny: Any, tmp_path: Path
) -> None:
    site = tmp_path / "tiny" / "env" / SITE
    needed = {"attrs": "attr", "cattrs": "cattrs", "orjson": "orjson", "pluggy": "pluggy"}
    for name, package in needed.items():
        distribution(site, name, "0.9.1rc2")
        (site / package).mkdir()
        (site / package / "__init__.py").write_text("raise ImportError('too old')")
    (site / "tinydep.py").write_text("FACTOR = 7.0")
    async with serve(tiny(environment_path="env")) as kernel:
        assert kernel.problems() == []
        assert (await answer(kernel))[0] == [7.0, 14.0]


async def test_a_plugin_that_needs_what_the_environment_lacks(
    serve: Any, tiny: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "checked.py").write_text("import pytest\n")
    site = tmp_path / "tiny" / "env" / SITE
    site.mkdir(parents=True)
    (site / "tinydep.py").write_text("FACTOR = 9.0")
    plugin = load_plugin_file(tmp_path / "checked.py")
    async with serve(tiny(environment_path="env"), plugins=[plugin]) as kernel:
        assert kernel.problems() == []
        assert (await answer(kernel))[0] == [9.0, 18.0]
    assert "takes no part in the environment" in caplog.text
    assert "No module named 'pytest'" in caplog.text


async def test_code_where_the_server_runs_is_found(
    serve: Any, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (tmp_path / "tinydep.py").write_text("FACTOR = 10.0")
    (tmp_path / "tiny" / "env" / SITE).mkdir(parents=True)
    async with serve(tiny(environment_path="env")) as kernel:
        assert kernel.problems() == []
        assert (await answer(kernel))[0] == [10.0, 20.0]


async def test_an_environment_needs_a_worker(serve: Any, tiny: Any, tmp_path: Path) -> None:
    (tmp_path / "tiny" / "env" / SITE).mkdir(parents=True)
    async with serve(tiny(environment_path="env"), parallel_workers=0) as kernel:
        with pytest.raises(ModelLoadError, match="set parallel_workers to 1 or more"):
            await kernel.load("tiny")


async def test_a_program_that_is_no_longer_wanted_ends_with_those_that_it_started(
    tmp_path: Path, eventually: Any
) -> None:
    pid = tmp_path / "pid"
    code = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
open({str(pid)!r}, "w").write(str(child.pid))
print("up", flush=True)
child.wait()
"""
    up = asyncio.Event()
    task = asyncio.create_task(output_of([sys.executable, "-c", code], lambda _: up.set()))
    await asyncio.wait_for(up.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: ended(int(pid.read_text())))


async def test_a_program_that_says_much_in_one_line() -> None:
    code = "print('x' * 2**20); print('y')"
    assert (await output_of([sys.executable, "-c", code])).endswith("x\ny")


def test_the_first_file_fails_aloud_without_anything_of_ours() -> None:
    from mlsrv_workers.worker import boot

    plan = json.dumps({"path": None, "sites": [], "ours": {}, "needed": {}, "lent": {}, "folders": []})
    command = [sys.executable, "-I", "-S", boot.__file__, plan, "0", "0", "0", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "mlsrv_workers" in done.stderr
