"""Environments: Python environments of models, unpacked or built once and checked before use."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import platform
import shutil
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from attrs import frozen

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv.threads import run_in_own_thread
from mlsrv_workers.environments import unpack
from mlsrv_workers.environments.installers import install
from mlsrv_workers.environments.run_program import run_program
from mlsrv_workers.environments.shared_packages import OWN_VERSION
from mlsrv_workers.settings import ENVIRONMENT_PARAMETERS

logger = logging.getLogger("mlsrv.workers")

OLDEST = (3, 9)
"""The oldest Python in which workers run."""

VERSION_TIMEOUT = 60.0
"""Seconds in which an interpreter must print its version."""

Build: TypeAlias = Callable[[Path, int], Awaitable[None]]
"""Builds an environment in a folder; its programs inherit a descriptor."""

_COMPLETE = ".mlsrv-complete"


@frozen
class Environment:
    """A Python environment that is ready for use.

    Attributes:
        id: unique for its contents.
        folder: its prefix.
        python: its interpreter; if it has none, the server's, or another one of its version.
        version: Python's minor version in it.
        sites: its ``site-packages``, if `python` is not its own.
    """

    id: str
    folder: str
    python: str
    version: tuple[int, int]
    sites: tuple[str, ...] = ()


def has_environment(model: ModelSettings) -> bool:
    """Return True if a model's parameters name an environment."""
    return any(model.parameters.others.get(kind) for kind in ENVIRONMENT_PARAMETERS)


def source_of(model: ModelSettings) -> tuple[str, Path]:
    """Return the parameter that names a model's environment, and the file or folder that it names.

    Raises:
        ModelLoadError: the file does not exist, or there are several parameters.
    """
    kinds = [kind for kind in ENVIRONMENT_PARAMETERS if model.parameters.others.get(kind)]
    if len(kinds) > 1:
        raise ModelLoadError(f"Model {model.name}: {' and '.join(kinds)} exclude each other.")
    kind = kinds[0]
    path = (model.folder or Path()) / str(model.parameters.others[kind])
    if not (path.is_dir() if kind == "environment_path" else path.is_file()):
        what = "folder" if kind == "environment_path" else "file"
        raise ModelLoadError(f"Model {model.name}: {kind}: there is no {what} {path}.")
    return kind, path


class Environments:
    """The environments of one server.

    Args:
        root: folder in which environments are unpacked and built; they are kept for the next start.
        timeout: seconds in which an environment must be ready, or None.
    """

    def __init__(self, root: Path, timeout: float | None = None) -> None:
        self._root = root
        self._timeout = timeout

    async def of(self, model: ModelSettings) -> Environment | None:
        """Return the environment that a model's parameters name, or None.

        Raises:
            ModelLoadError: it does not exist, cannot be built, or has a Python that is too old.
        """
        if not has_environment(model):
            return None
        kind, path = source_of(model)
        try:
            async with asyncio.timeout(self._timeout) as timer:
                return await self._provide(kind, path.absolute(), model)
        except TimeoutError:
            if not timer.expired():
                raise
            raise ModelLoadError(
                f"Model {model.name}: {kind} {path}: the environment was not ready within "
                f"{self._timeout:g} s (environment_timeout)."
            ) from None
        except (OSError, ValueError) as error:
            reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
            made = ModelLoadError(f"Model {model.name}: {kind} {path}: {reason}")
            made.what, made.raised = f"Model {model.name}: {kind}", type(error).__name__
            raise made from None

    async def _provide(self, kind: str, path: Path, model: ModelSettings) -> Environment:
        if kind == "environment_path":
            return await _check(hashlib.sha256(str(path).encode()).hexdigest()[:16], path)

        def progress(line: str) -> None:
            logger.info("Model %s: %s", model.name, line)

        async def build(folder: Path, lock: int) -> None:
            progress(f"building the environment {folder} from {path}")
            if kind == "environment_tarball":
                await _unpack(path, folder, progress, lock)
            else:
                await install(path, folder, progress, [lock])

        content = await run_in_own_thread(_hash_file, path)
        if kind == "environment_requirements":
            about = f"{content} {sys.version} {platform.machine()}"
            content = hashlib.sha256(about.encode()).hexdigest()
        folder = await self._get_or_build(content, build, progress)
        # An environment that was removed and built again needs new workers: its id differs.
        built = (folder / _COMPLETE).stat().st_mtime_ns
        return await _check(f"{content[:16]}-{built}", _prefix(folder))

    async def _get_or_build(self, name: str, build: Build, progress: Callable[[str], None]) -> Path:
        """Return the folder of this name. It is built unless it is complete, by one process at a time."""
        folder = (self._root / name).absolute()
        # Before taking the lock: a program that an installer left running may hold it for long.
        if not (folder / _COMPLETE).exists():
            await run_in_own_thread(folder.parent.mkdir, parents=True, exist_ok=True)
            async with _locked(folder.with_suffix(".lock"), progress) as lock:
                if not (folder / _COMPLETE).exists():
                    await _build(folder, lock, build)
        _check_owner(folder)
        return folder


def _check_owner(folder: Path) -> None:
    """Check that no other user can have put code into an environment: workers run it.

    Raises:
        ValueError: another one can.
    """
    found = folder.lstat()
    owned = stat.S_ISDIR(found.st_mode) and found.st_uid in (os.geteuid(), 0)
    if not owned or found.st_mode & stat.S_IWOTH:
        raise ValueError(
            f"{folder} does not belong to the user of this server, or everybody may write into it; remove "
            "it, or let environments_dir name a folder of this user."
        )


async def _build(folder: Path, lock: int, build: Build) -> None:
    """Build a complete folder, or leave none.

    The programs of `build` inherit the lock, since they may outlive the server.
    """
    await _remove(folder)
    try:
        await run_in_own_thread(folder.mkdir)
        await build(folder, lock)
        (folder / _COMPLETE).touch()
    except BaseException:
        await _remove(folder)
        raise


async def _remove(folder: Path) -> None:
    """Remove a folder if it exists; the removal is complete even when this is cancelled."""
    removal = asyncio.ensure_future(run_in_own_thread(shutil.rmtree, folder, ignore_errors=True))
    try:
        await asyncio.shield(removal)
    finally:
        await removal


async def _unpack(tarball: Path, folder: Path, progress: Callable[[str], None], lock: int) -> None:
    command = [sys.executable, "-I", "-S", unpack.__file__, str(tarball), str(folder)]
    await run_program(command, progress, descriptors=[lock])
    executables = _prefix(folder) / "bin"
    if (executables / "conda-unpack").exists():
        command = [str(executables / "python"), str(executables / "conda-unpack")]
        await run_program(command, progress, descriptors=[lock])


def _prefix(folder: Path) -> Path:
    """Return the prefix of an unpacked environment: the folder itself, or the only folder in it."""
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    return folder / names[0] if len(names) == 1 and names[0] not in ("bin", "lib") else folder


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _check(name: str, folder: Path) -> Environment:
    """Return the environment in a folder, after checking its interpreter."""
    python = shutil.which("python", path=str(folder / "bin"))
    if python is not None:
        return Environment(name, str(folder), python, await _python_version(python))
    sites = _sites(folder)
    if not sites:
        raise ValueError("it has neither bin/python nor lib/python3.*/site-packages")
    version = OWN_VERSION if OWN_VERSION in sites else max(sites)
    name_of_version = f"python{_text(version)}"
    python = sys.executable if version == OWN_VERSION else shutil.which(name_of_version)
    if python is None:
        raise ValueError(
            f"it has no interpreter for its packages in lib/{name_of_version}, and no {name_of_version} "
            "is on the PATH"
        )
    if await _python_version(python) != version:
        raise ValueError(f"{python} has another version than its name says")
    return Environment(name, str(folder), python, version, (str(sites[version]),))


def _sites(folder: Path) -> dict[tuple[int, int], Path]:
    """Return the folders of packages, by Python's minor version."""
    return {_version_of(site.parent): site for site in folder.glob("lib/python*/site-packages")}


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _version_of(folder: Path) -> tuple[int, int]:
    """Return the minor version in the name of a folder, such as ``python3.10``."""
    major, _, minor = folder.name.removeprefix("python").partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


async def _python_version(python: str) -> tuple[int, int]:
    """Return the version that an interpreter prints, which may follow warnings.

    Raises:
        ValueError: it is too old, or prints none.
    """
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        async with asyncio.timeout(VERSION_TIMEOUT):
            output = await run_program([python, "-I", "-c", code])
    except TimeoutError:
        raise ValueError(f"its bin/python said nothing for {VERSION_TIMEOUT:.0f} s") from None
    version = _version_of(Path(output.rpartition("\n")[2]))
    if version < OLDEST:
        raise ValueError(f"it has Python {_text(version)}, and workers need {_text(OLDEST)} or newer")
    return version


@asynccontextmanager
async def _locked(path: Path, progress: Callable[[str], None]) -> AsyncIterator[int]:
    """Hold a lock among processes; programs that inherit its descriptor hold it, too."""
    with path.open("w") as file:
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    progress(f"waiting until the environment {path.with_suffix('')} is built")
                waiting = True
                await asyncio.sleep(0.2)
        yield file.fileno()
