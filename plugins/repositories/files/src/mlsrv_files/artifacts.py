"""Artifacts repository: models without settings files: an artifact, a folder of artifacts, or Python code."""

from __future__ import annotations

import asyncio
import builtins
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlsrv.errors import ConfigurationError
from mlsrv.repository import BrokenModel, Listing, ModelRepository
from mlsrv.settings import ModelSettings
from mlsrv_files.identity import name_problem
from mlsrv_files.repository import read_models
from mlsrv_files.source_models import models_in
from mlsrv_files.stamps import tree_stamp

MLFLOW = "MLmodel"
"""The file that makes a folder a model of MLflow, which has one artifact for all its files."""
CODE = ".py"
_NO_ARTIFACTS = frozenset(
    {".cfg", ".csv", ".html", ".ini", ".ipynb", ".lock", ".log", ".md", ".parquet", ".pdf", ".png", ".rst"}
    | {".sh", ".toml", ".yaml", ".yml", CODE}
)
_NO_ARTIFACT_NAMES = frozenset({"Dockerfile", "LICENSE", "Makefile", "requirements.txt", "settings.json"})


class ArtifactsRepository(ModelRepository):
    """Lists models that have no settings file. The runtime of an artifact is found by its file.

    Args:
        root: an artifact; a folder of MLflow; a folder, each of whose artifacts (and folders of MLflow) is a
            model under its file's name, unless it has settings files; Python code, ``models.py``, for every
            model in it under its own name; or one of them, ``models.py:Name``.

    Raises:
        ConfigurationError: there is no such thing, or there are further arguments.
    """

    def __init__(self, root: str, **args: Any) -> None:
        super().__init__(root)
        if args:
            raise ConfigurationError(
                'model_repository_implementation_args: the repository "artifacts" takes none, '
                f"but got {', '.join(sorted(args))}."
            )
        path, self._wanted = split_target(root)
        self._path = path.absolute()
        self._names: builtins.list[str] = []
        if not self._path.exists():
            raise ConfigurationError(f"model_repository_root: {self._path} does not exist.")

    async def list(self) -> builtins.list[Listing]:
        """Find every model anew, in a thread."""
        return await asyncio.to_thread(lambda: [*self._read()])

    async def stamps(self) -> Mapping[str, str]:
        """Return a value for each artifact and each model of code, which changes with all modules of its
        folder; computed in a thread."""
        return await asyncio.to_thread(self._stamps)

    def _stamps(self) -> Mapping[str, str]:
        found = {str(model.source) for model in self._read()}
        return {source: _stamp(split_target(source)[0]) for source in sorted(found)}

    def _read(self) -> Iterator[Listing]:
        if self._path.suffix == CODE and self._path.is_file():
            yield from self._of_code()
        elif not self._path.is_dir() or (self._path / MLFLOW).is_file():
            yield _of_artifact(self._path)
        elif described := read_models(self._path):
            yield from described
        else:
            yield from map(_of_artifact, artifacts_in(self._path))

    def _of_code(self) -> Iterator[Listing]:
        path = self._path
        try:
            problem = _code_problem(path)
            self._names = models_in(path.read_text(encoding="utf-8"), path.name)
        except (SyntaxError, UnicodeDecodeError) as error:
            problem = f"{path} is no Python code: {error}"
        names = self._names if self._wanted is None else [self._wanted]
        if not names and problem is None:
            problem = (
                f"{path} has no model: no class derived from MLModel, and no function with @mlsrv.predictor; "
                f"name the class, {path.name}:NAME."
            )
        for name in names or [path.stem]:
            source = Path(f"{path}:{name}")
            if problem is not None:  # of a model that is loaded: it goes on as it is
                yield BrokenModel(name, str(source), problem)
            else:
                yield ModelSettings(name=name, implementation=f"{path.stem}.{name}", source=source)


def _code_problem(path: Path) -> str | None:
    if path.stem.isidentifier():
        return None
    return f"{path}: the name of the file must be that of a module."


def split_target(root: str) -> tuple[Path, str | None]:
    """Return the path, and the name behind it in ``models.py:Name``."""
    before, colon, name = root.rpartition(":")
    if colon and before.endswith(CODE) and not Path(root).exists():
        return Path(before), name
    return Path(root), None


def artifacts_in(folder: Path) -> builtins.list[Path]:
    """Return the artifacts directly in a folder, folders of MLflow included, sorted by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and (_is_artifact(path) or (path / MLFLOW).is_file())
    )


def _is_artifact(path: Path) -> bool:
    return path.is_file() and path.suffix not in _NO_ARTIFACTS and path.name not in _NO_ARTIFACT_NAMES


def _of_artifact(path: Path) -> Listing:
    name = path.name if path.is_dir() else path.stem
    problem = name_problem(name)
    if problem is not None:
        return BrokenModel(name, str(path), f"{path}: the name of the file is the model's: {problem}")
    return ModelSettings(name=name, parameters={"uri": str(path)}, source=path)


def _stamp(source: Path) -> str:
    paths = [source]
    if source.suffix == CODE:
        paths = sorted(path for path in source.parent.rglob(f"*{CODE}") if "__pycache__" not in path.parts)
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        tree_stamp(str(path), digest)
    return digest.hexdigest()
