"""Artifacts: copies of models' files for nodes that do not share them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from attrs import frozen
from ray._private.runtime_env import packaging  # actors, unlike jobs, take no folder

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv.settings.parameters import ModelParameters
from mlsrv.utils import local_path


@frozen
class Archive:
    """The files of a model.

    Attributes:
        key: SHA-256 of the content, in hexadecimal digits.
        content: a tar archive, without compression, or None where it is the working directory.
        root: the folder that was packed, on the server.
    """

    key: str
    content: bytes | None
    root: str


def pack(model: ModelSettings) -> Archive:
    """Return the files of a model: its folder, or what its URI names where it has no folder.

    Raises:
        ModelLoadError: its artifact is not in its folder, or cannot be read.
    """
    uri = model.parameters.uri
    artifact = local_path(uri)
    root = model.folder or (artifact if artifact is None or artifact.is_dir() else artifact.parent)
    if root is None:
        raise ModelLoadError(f"Model {model.name} has no files that could be sent to the cluster.")
    root = root.absolute()
    if artifact is not None and not artifact.absolute().is_relative_to(root):
        raise ModelLoadError(
            f"Model {model.name}: only files of its folder are sent to the cluster, which {uri} is not."
        )
    chosen = root if model.folder is not None or artifact is None or artifact.is_dir() else artifact
    try:
        content = _tar(chosen, root)
    except OSError as error:
        what = f"Model {model.name}: its files cannot be read"
        raise ModelLoadError.of_unexpected(what, error, str(error)) from None
    return Archive(hashlib.sha256(content).hexdigest(), content, str(root))


def unpack(archive: Archive, model: ModelSettings) -> ModelSettings:
    """Write the files to this machine, unless they are there, and return settings that name them here."""
    folder = Path.cwd() if archive.content is None else _unpacked(archive.key, archive.content)
    here = model.copy()
    if model.source is not None:
        here.source = folder / model.source.name
    artifact = local_path(model.parameters.uri)
    if artifact is not None:
        uri = str(folder / artifact.absolute().relative_to(archive.root))
        here.parameters = ModelParameters(**model.parameters.dict() | {"uri": uri})
    return here


def publish(archive: Archive) -> str:
    """Store the files in the cluster, unless it has them, and return the address for a working directory.

    Raises:
        ModelLoadError: the cluster does not take them.
    """
    address = f"gcs://_ray_pkg_{archive.key}.tar.gz"
    try:
        packaging.pin_runtime_env_uri(address)
        if not packaging.package_exists(address):
            packed = gzip.compress(archive.content or b"", compresslevel=1, mtime=0)
            packaging.upload_package_to_gcs(address, packed)
    except Exception as error:  # of any kind: too large, or whatever Ray raises
        what = "The model's files cannot be stored in the cluster"
        raise ModelLoadError.of_unexpected(what, error, str(error)) from error
    return address


def _unpacked(key: str, content: bytes) -> Path:
    home = Path(tempfile.gettempdir()) / f"mlsrv-ray-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid != os.getuid():
        raise ModelLoadError(f"The folder {home} belongs to another user.")
    folder = home / key
    if not folder.is_dir():
        made = Path(tempfile.mkdtemp(dir=home))
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            tar.extractall(made, filter="data")
        try:
            made.rename(folder)
        except OSError:  # another replica was first
            shutil.rmtree(made)
    return folder


def _tar(chosen: Path, root: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        files = [chosen] if chosen.is_file() else sorted(path for path in chosen.rglob("*") if path.is_file())
        for path in files:
            name = path.relative_to(root)
            if not any(part.startswith(".") or part == "__pycache__" for part in name.parts):
                info = tar.gettarinfo(path, str(name))
                info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
                with path.open("rb") as file:
                    tar.addfile(info, file)
    return buffer.getvalue()
