"""Python environments of models: found, unpacked or built, and checked before a worker is started in one."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import platform
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from attrs import frozen

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv.threads import run_in_own_thread
from mlsrv_workers.environments import unpack as unpacking
from mlsrv_workers.environments.installers import install
from mlsrv_workers.environments.run_program import output_of

logger = logging.getLogger("mlsrv.workers")

KINDS = ("environment_tarball", "environment_path", "environment_requirements")
"""Parameters of models that name an environment."""

ANSWER_SECONDS = 60.0
"""Seconds in which an interpreter must say which version it is."""

Make: TypeAlias = Callable[[Path, int], Awaitable[None]]
"""Makes an environment in a folder; its programs inherit a descriptor."""

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
        except (OSError, ValueError) as error:
            reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
            raise ModelLoadError(f"Model {model.name}: {kinds[0]} {path}: {reason}") from None

    async def _provide(self, kind: str, path: Path, model: ModelSettings) -> Environment:
        if kind == "environment_path":
            return await _checked(hashlib.sha256(str(path).encode()).hexdigest()[:16], path)

        def progress(line: str) -> None:
            logger.info("Model %s: %s", model.name, line)

        async def make(folder: Path, lock: int) -> None:
            progress(f"making the environment {folder} from {path}")
            if kind == "environment_tarball":
                await _unpack(path, folder, progress, lock)
            else:
                await install(path, folder, progress, [lock])

        content = await run_in_own_thread(_digest, path)
        if kind == "environment_requirements":
            about = f"{content} {sys.version} {platform.machine()}"
            content = hashlib.sha256(about.encode()).hexdigest()
        folder = await self._kept(content, make, progress)
        # What is made again after somebody removed it is not for the workers that knew the former.
        made = (folder / _COMPLETE).stat().st_mtime_ns
        return await _checked(f"{content[:16]}-{made}", _prefix(folder))

    async def _kept(self, name: str, make: Make, progress: Callable[[str], None]) -> Path:
        """The folder of this name; made unless it is complete, by one process at a time."""
        folder = (self._root / name).absolute()
        # Not only with the lock: a program that an installer left behind may hold that for long.
        if not (folder / _COMPLETE).exists():
            await run_in_own_thread(folder.parent.mkdir, parents=True, exist_ok=True)
            async with _locked(folder.with_suffix(".lock"), progress) as lock:
                if not (folder / _COMPLETE).exists():
                    await _make(folder, lock, make)
        return folder


async def _make(folder: Path, lock: int, make: Make) -> None:
    """Make a folder complete, or leave none. `make` has its programs inherit the lock: they may outlive the
    server."""
    await _remove(folder)
    try:
        await run_in_own_thread(folder.mkdir)
        await make(folder, lock)
        (folder / _COMPLETE).touch()
    except BaseException:
        await _remove(folder)
        raise


async def _remove(folder: Path) -> None:
    """Remove a folder, if it is there; it is gone even when this is cancelled."""
    removal = asyncio.ensure_future(run_in_own_thread(shutil.rmtree, folder, ignore_errors=True))
    try:
        await asyncio.shield(removal)
    finally:
        await removal


async def _unpack(tarball: Path, folder: Path, progress: Callable[[str], None], lock: int) -> None:
    command = [sys.executable, "-I", "-S", unpacking.__file__, str(tarball), str(folder)]
    await output_of(command, progress, descriptors=[lock])
    programs = _prefix(folder) / "bin"
    if (programs / "conda-unpack").exists():
        command = [str(programs / "python"), str(programs / "conda-unpack")]
        await output_of(command, progress, descriptors=[lock])


def _prefix(folder: Path) -> Path:
    """The environment in an unpacked tarball: all of it, or the only folder in it."""
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    return folder / names[0] if len(names) == 1 and names[0] not in ("bin", "lib") else folder


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _checked(name: str, folder: Path) -> Environment:
    """The environment in a folder, once its interpreter was tried."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    python = shutil.which("python", path=str(folder / "bin"))
    if python is None:
        site_packages = folder / "lib" / f"python{version}" / "site-packages"
        if not site_packages.is_dir():
            raise ValueError(f"it has neither bin/python nor {site_packages.relative_to(folder)}")
        return Environment(name, str(folder), sys.executable, (str(site_packages),))
    found = await _version(python)
    if found != version:
        raise ValueError(f"it has Python {found}, and the server Python {version}; they must be the same")
    return Environment(name, str(folder), python)


async def _version(python: str) -> str:
    """What an interpreter says that it is; warnings may come before."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            said = await output_of([python, "-I", "-c", code])
    except TimeoutError:
        raise ValueError(f"its bin/python said nothing for {ANSWER_SECONDS:.0f} s") from None
    return said.rpartition("\n")[2]


@asynccontextmanager
async def _locked(path: Path, progress: Callable[[str], None]) -> AsyncIterator[int]:
    """Hold a lock among processes: those that inherit its descriptor hold it, too."""
    with path.open("w") as file:
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    progress(f"waiting until the environment {path.with_suffix('')} is made")
                waiting = True
                await asyncio.sleep(0.2)
        yield file.fileno()
