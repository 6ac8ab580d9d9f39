"""A model with an environment of its own, and the parts that environments are made of."""

import base64
import hashlib
import io
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from other_pythons import OTHERS, PACKAGES, make_environment

from mlsrv.settings import ModelParameters, ModelSettings
from mlsrv.testing import tensor_request

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
    """Make settings of a model that imports `tinydep`, which only its environment has."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "models.py").write_text(MODEL)

    def make(name: str = "tiny", **parameters: str) -> ModelSettings:
        source = folder / "model-settings.json"
        return ModelSettings(name, "models.Tiny", ModelParameters(**parameters), source=source)  # type: ignore[arg-type]  # no extra among them

    return make


@pytest.fixture
def site_packages() -> Path:
    """Return the folder of packages, relative to an environment's prefix."""
    return Path("lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")


def _packed(folder: Path, members: dict[str, str]) -> Path:
    """Make a tarball of files, and of links where the text begins with ``->``."""
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


@pytest.fixture
def packed() -> Any:
    return _packed


def _wheel(folder: Path) -> None:
    """Make a wheel of `tinydep` by hand, so that installing it needs no network."""
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


@pytest.fixture
def wheel() -> Any:
    return _wheel


async def _answer(kernel: Any) -> tuple[list[float], list[str]]:
    """Ask the model; return its doubled numbers and its facts."""
    response = await kernel.infer(tensor_request("tiny", np.array([1.0, 2.0])))
    double, facts = response.outputs
    return double.data.tolist(), [str(fact) for fact in facts.data]


@pytest.fixture
def answer() -> Any:
    return _answer


def _ended(pid: int) -> bool:
    """Return True if a process has ended; a zombie counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def ended() -> Any:
    return _ended


def _distribution(site: Path, name: str, version: str) -> None:
    """Declare that an environment has a version of a distribution."""
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def distribution() -> Any:
    return _distribution


@pytest.fixture(scope="session")
def environment_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Make an environment of another Python with some packages, once; skip the test if that is not there."""
    made: dict[tuple[str, ...], Path] = {}

    def make(version: str, *packages: str) -> Path:
        if (version, *packages) not in made:
            folder = tmp_path_factory.mktemp("python") / version
            made[version, *packages] = make_environment(folder, version, *packages)
        return made[version, *packages]

    return make


@pytest.fixture(params=OTHERS)
def other_python(request: pytest.FixtureRequest, environment_of: Any) -> Path:
    """Return an environment of each other Python, with what it must have."""
    found: Path = environment_of(request.param, *PACKAGES[request.param])
    return found
