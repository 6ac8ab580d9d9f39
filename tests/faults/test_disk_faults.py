"""A disk that is full while an environment is made. The limit on the size of files stands for it: writing
fails at the same places, and it needs no rights."""

import io
import resource
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelParameters, ModelSettings

pytestmark = pytest.mark.timeout(90)

SITE = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """While no file of this process can be larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def in_environment(folder: Path) -> ModelSettings:
    """A model in an environment with a small and a large file."""
    folder.mkdir()
    (folder / "models.py").write_text(
        "import mlsrv.testing, small\n\nclass Echo(mlsrv.testing.EchoModel):\n    pass\n"
    )
    with tarfile.open(folder / "environment.tar.gz", "w:gz") as archive:
        for name, content in (("small.py", b""), ("large.bin", bytes(2**20))):
            member = tarfile.TarInfo(f"{SITE}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    parameters = ModelParameters(environment_tarball="environment.tar.gz")
    return ModelSettings("apart", "models.Echo", parameters, source=folder / "model-settings.json")


async def test_an_environment_that_does_not_fit_on_the_disk(
    faults: Any, troubled: Any, tmp_path: Path
) -> None:
    models = troubled(), in_environment(tmp_path / "apart")
    places = {"environments_dir": str(tmp_path / "envs"), "load_models_at_startup": False}
    async with faults(*models, parallel_workers=1, **places) as it:
        await it.kernel.load("model")
        for _ in range(2):
            with largest_file(2**18), pytest.raises(ModelLoadError) as caught:
                await it.kernel.load("apart")
            assert "environment_tarball" in str(caught.value)
            assert "File too large" in str(caught.value)
            assert len(await it.ask()) == 2
        # Once there is room again, nothing of the half that was unpacked is taken for the whole.
        await it.kernel.load("apart")
        assert it.kernel.model_ready("apart")
        [unpacked] = (tmp_path / "envs").glob(f"*/{SITE}/large.bin")
        assert unpacked.stat().st_size == 2**20
