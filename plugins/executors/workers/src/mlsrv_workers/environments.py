"""Python environments of models: found, unpacked or built, and checked before a worker is started in one."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import logging
import os
import platform
import shutil
import sys
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import frozen

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv.threads import run_in_own_thread
from mlsrv_workers.installers import install
from mlsrv_workers.programs import output_of

logger = logging.getLogger("mlsrv.workers")

KINDS = ("environment_tarball", "environment_path", "environment_requirements")
"""Parameters of models that name an environment."""

_COMPLETE = ".mlsrv-complete"


@frozen
class Environment:
    """An environment that is there.

    Attributes:
        id: tells it from others.
        folder: its prefix.
        python: its interpreter, or the server's if it has none.
        sites: its ``site-packages``, if it has no interpreter that knows them.
    """

    id: str
    folder: str
    python: str
    sites: tuple[str, ...] = ()


def has_environment(model: ModelSettings) -> bool:
    """Whether a model's parameters name an environment."""
    return any(model.parameters.others.get(kind) for kind in KINDS)


class Environments:
    """The environments of one server.

    Args:
        root: folder in which environments are unpacked and built; they stay there for the next start.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    async def of(self, model: ModelSettings) -> Environment | None:
        """The environment that a model's parameters name, or None.

        Raises:
            ModelLoadError: there is none, it cannot be made, or it has another version of Python.
        """
        kinds = [kind for kind in KINDS if model.parameters.others.get(kind)]
        if not kinds:
            return None
        if len(kinds) > 1:
            raise ModelLoadError(f"Model {model.name}: {' and '.join(kinds)} exclude each other.")
        path = (model.folder or Path()) / str(model.parameters.others[kinds[0]])
        if not (path.is_dir() if kinds[0] == "environment_path" else path.is_file()):
            kind = "folder" if kinds[0] == "environment_path" else "file"
            raise ModelLoadError(f"Model {model.name}: {kinds[0]}: there is no {kind} {path}.")
        try:
            return await self._provide(kinds[0], path.absolute(), model)
        except (OSError, EOFError, ValueError, tarfile.TarError) as error:
            raise ModelLoadError(
                f"Model {model.name}: {kinds[0]} {path}: {type(error).__name__}: {error}"
            ) from error

    async def _provide(self, kind: str, path: Path, model: ModelSettings) -> Environment:
        if kind == "environment_path":
            return await _checked(hashlib.sha256(str(path).encode()).hexdigest()[:16], path)
        content = await run_in_own_thread(_digest, path)

        async def make(folder: Path) -> None:
            logger.info("Model %s: making the environment %s from %s", model.name, folder, path)
            if kind == "environment_tarball":
                await run_in_own_thread(unpack, path, folder)
            else:
                await install(path, folder, lambda line: logger.info("Model %s: %s", model.name, line))

        if kind == "environment_requirements":
            about = f"{content} {sys.version} {platform.machine()}"
            content = hashlib.sha256(about.encode()).hexdigest()
        return await _checked(content[:16], await self._kept(content, make))

    async def _kept(self, name: str, make: Callable[[Path], Awaitable[None]]) -> Path:
        """The folder of this name; made unless it is complete, by one process at a time."""
        folder = (self._root / name).absolute()
        await run_in_own_thread(folder.parent.mkdir, parents=True, exist_ok=True)
        async with _locked(folder.with_suffix(".lock")):
            if not (folder / _COMPLETE).exists():
                await run_in_own_thread(shutil.rmtree, folder, ignore_errors=True)
                folder.mkdir()
                await make(folder)
                (folder / _COMPLETE).touch()
        return folder


def unpack(tarball: Path, folder: Path) -> None:
    """Unpack a tarball, with nothing outside the folder being written or linked to.

    Raises:
        tarfile.TarError: it is none, or has such members.
    """

    def allowed(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo | None:
        try:
            return tarfile.data_filter(member, destination)
        except tarfile.AbsoluteLinkError:
            if member.issym() and Path(member.name).parts[-2:-1] == ("bin",) and "python" in member.name:
                return None  # a virtual environment's link to the machine's interpreter: the server's is used
            raise

    with tarfile.open(tarball) as archive:
        archive.extractall(folder, filter=allowed)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _checked(name: str, folder: Path) -> Environment:
    """The environment in a folder, once its interpreter was tried."""
    version = sys.version_info[:2]
    python = folder / "bin" / "python"
    if not os.access(python, os.X_OK):
        site_packages = folder / "lib" / f"python{version[0]}.{version[1]}" / "site-packages"
        if not site_packages.is_dir():
            raise ValueError(f"it has neither bin/python nor {site_packages.relative_to(folder)}")
        return Environment(name, str(folder), sys.executable, (str(site_packages),))
    code = "import json, sys; print(json.dumps(sys.version_info[:2]))"
    found = json.loads(await output_of([str(python), "-I", "-c", code]))
    if tuple(found) != version:
        raise ValueError(
            f"it has Python {found[0]}.{found[1]}, and the server Python {version[0]}.{version[1]}; "
            "they must be the same"
        )
    return Environment(name, str(folder), str(python))


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Hold a lock among processes."""
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.2)
        yield
