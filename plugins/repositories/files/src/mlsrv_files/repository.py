"""File repository: the models that the settings files below a folder describe."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlsrv.errors import ConfigurationError
from mlsrv.repository import BrokenModel, Listing, ModelRepository
from mlsrv.settings import ModelSettings
from mlsrv_files.identity import known_identity, name_problem
from mlsrv_files.search import settings_files
from mlsrv_files.stamps import Stamps


class FilesRepository(ModelRepository):
    """Lists every ``model-settings.json`` in or below a folder, at any depth, as one version of one model.

    Hidden folders are skipped and linked folders followed; the order is that of the paths. A file that cannot
    be used, and one that describes a model and version which another file already describes, is listed as a
    `BrokenModel` that says so.

    Args:
        root: the folder.

    Raises:
        ConfigurationError: `root` is not a folder, or there are further arguments. `list` raises the same
            when the folder is gone later on.
    """

    def __init__(self, root: str, **args: Any) -> None:
        super().__init__(root)
        if args:
            raise ConfigurationError(
                'model_repository_implementation_args: the repository "files" takes none, '
                f"but got {', '.join(sorted(args))}."
            )
        self._check_root()
        self._stamps = Stamps()

    async def list(self) -> builtins.list[Listing]:
        """Read every model and version anew, in a thread."""
        return await asyncio.to_thread(self._read)

    async def stamps(self) -> Mapping[str, str]:
        """Return a value for each settings file that changes with the file, its folder or its artifact;
        computed in a thread."""
        return await asyncio.to_thread(lambda: self._stamps.look(self._check_root()))

    def _check_root(self) -> Path:
        root = Path(self.root)
        if not root.is_dir():
            what = "is not a folder" if root.exists() else "does not exist"
            raise ConfigurationError(f"model_repository_root: {root.absolute()} {what}.")
        return root

    def _read(self) -> builtins.list[Listing]:
        return read_models(self._check_root())


def read_models(root: Path) -> list[Listing]:
    """Return the model of each settings file in or below a folder."""
    listed: list[Listing] = []
    sources: dict[tuple[str, str | None], Path] = {}
    for path in settings_files(root):
        found = _describe(path)
        if isinstance(found, ModelSettings):
            first = sources.setdefault((found.name, found.version), path)
            if first is not path:
                if first.resolve() == path.resolve():  # one file, reached again through a link
                    continue
                found = _duplicate(found, path, first)
        listed.append(found)
    return listed


def _describe(path: Path) -> Listing:
    if path.exists() and not path.is_file():  # a named pipe would block for ever
        return BrokenModel(path.parent.name, str(path), f"{path}: is not a regular file.")
    try:
        settings = ModelSettings.parse_file(path)
    except ConfigurationError as error:
        name, version = known_identity(path)
        return BrokenModel(name, str(path), str(error), version)
    problem = name_problem(settings.name)
    if problem is not None:
        return BrokenModel(path.parent.name, str(path), f"{path}: name: {problem}", settings.version)
    return settings


def _duplicate(settings: ModelSettings, path: Path, first: Path) -> BrokenModel:
    version = "without a version" if settings.version is None else f"version {settings.version}"
    reason = (
        f"{path} describes {settings.name} {version}, but {first} already does; "
        "change the name or parameters.version in one of them."
    )
    return BrokenModel(settings.name, str(path), reason, settings.version)
