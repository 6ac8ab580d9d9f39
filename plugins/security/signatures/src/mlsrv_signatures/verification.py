"""Verification: a private copy of a model's folder that has passed every check."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mlsrv import ModelSettings
from mlsrv.errors import ModelLoadError
from mlsrv.repository import VerifiedFolder
from mlsrv.utils import local_path
from mlsrv_signatures.bundle import LONGEST_BUNDLE, InvalidBundle, Signed, read_bundle
from mlsrv_signatures.pickles import is_pickle
from mlsrv_signatures.settings import SignaturesSettings
from mlsrv_signatures.staging import UnsafeFile, copy_hashed
from mlsrv_signatures.trust import Trust

logger = logging.getLogger("mlsrv.signatures")


@contextmanager
def verified_copy(
    settings: SignaturesSettings, pins: Mapping[str, str], model: ModelSettings
) -> Iterator[VerifiedFolder | None]:
    """Copy a model's folder and check the copy; it is removed when the model is unloaded.

    Args:
        settings: of the server.
        pins: SHA-256 digests of files by name.
        model: resolved.

    Yields:
        The copy, and what was found; None for a model without files of its own, which need not be signed.

    Raises:
        ModelLoadError: a check fails; the sentence has the name of the file.
        ConfigurationError: the keys or certificates cannot be read.
    """
    folder = _folder_of(model)
    if folder is None:
        if settings.level == "required":
            raise ModelLoadError(f"Model {model.name} has no folder of its own, which could be signed.")
        yield None
        return
    staging = Path(tempfile.mkdtemp(prefix="mlsrv-model-", dir=settings.model_staging_folder))
    try:
        copy = staging / folder.name
        copy.mkdir(mode=0o700)
        try:
            digests = copy_hashed(folder, copy)
        except UnsafeFile as error:
            raise ModelLoadError(f"Model {model.name}: {error}; it is not copied to be checked.") from error
        except OSError as error:
            raise ModelLoadError(
                f"Model {model.name}: its folder cannot be copied to be checked: {error.strerror}"
            ) from error
        _check_pins(model.name, pins, digests)
        found = [] if settings.level == "off" else [_check_signature(settings, model.name, copy, digests)]
        if pins:
            found.append(f"{len(pins)} digests of its settings match")
        if not settings.allow_pickle:
            _refuse_pickles(model.name, copy, digests)
            found.append("no pickles")
        yield VerifiedFolder(copy, "; ".join(found))
    finally:
        shutil.rmtree(staging, onerror=_report)


def _folder_of(model: ModelSettings) -> Path | None:
    """Return the folder of a model; None if it has none, and no files elsewhere.

    Raises:
        ModelLoadError: its artifact is elsewhere.
    """
    uri = model.parameters.uri
    artifact = local_path(uri)
    if model.folder is None:
        if uri is None:
            return None
        raise ModelLoadError(
            f"Model {model.name} is not in a folder with its settings, and cannot be checked."
        )
    folder = model.folder.resolve()
    if uri is not None and (artifact is None or not artifact.resolve().is_relative_to(folder)):
        raise ModelLoadError(
            f"Model {model.name}: its artifact is outside its folder, and cannot be checked."
        )
    return folder


def _check_pins(name: str, pins: Mapping[str, str], digests: Mapping[str, str]) -> None:
    for file, wanted in pins.items():
        if file not in digests:
            raise ModelLoadError(f"Model {name}: {file}, which has a digest in its settings, is missing.")
        if digests[file] != wanted:
            raise ModelLoadError(f"Model {name}: {file} has another SHA-256 digest than in its settings.")


def _check_signature(settings: SignaturesSettings, name: str, copy: Path, digests: Mapping[str, str]) -> str:
    """Return a sentence about the signature of a copy."""
    try:
        signer = _signer(settings, copy, digests)
    except InvalidBundle as problem:
        if settings.level == "required":
            raise ModelLoadError(f"Model {name} is refused: {problem}.") from None
        logger.warning("Model %s is loaded although %s", name, problem)
        return f"no valid signature: {problem}"
    logger.info("Model %s: the signature of its %d files is valid: %s", name, len(digests) - 1, signer)
    return f"signed: {signer}"


def _signer(settings: SignaturesSettings, copy: Path, digests: Mapping[str, str]) -> str:
    """Return who has signed a copy just as it is.

    Raises:
        InvalidBundle: no trusted signer has.
    """
    file = settings.model_signature_file
    if file not in digests:
        raise InvalidBundle(f"it has no signature {file}")
    if (copy / file).stat().st_size > LONGEST_BUNDLE:
        raise InvalidBundle(f"its signature {file} has more than {LONGEST_BUNDLE} bytes")
    try:
        signed: Signed = read_bundle((copy / file).read_bytes(), Trust.of(settings))
    except InvalidBundle as error:
        raise InvalidBundle(f"its signature {file} is not valid: {error}") from None
    for name in sorted(signed.digests.keys() | digests.keys() - {file}):
        if name not in digests:
            raise InvalidBundle(f"{name} was signed and is missing")
        if name not in signed.digests:
            raise InvalidBundle(f"{name} is not signed")
        if digests[name] != signed.digests[name]:
            raise InvalidBundle(f"{name} was changed since it was signed")
    return signed.signer


def _refuse_pickles(name: str, copy: Path, digests: Mapping[str, str]) -> None:
    for file in sorted(digests):
        if is_pickle(copy / file):
            raise ModelLoadError(
                f"Model {name}: {file} is a pickle, which can run any code, and allow_pickle is false."
            )


def _report(function: object, path: str, _error: object) -> None:
    if os.path.lexists(path):
        logger.warning("The copy of a model cannot be removed: %s", path)
