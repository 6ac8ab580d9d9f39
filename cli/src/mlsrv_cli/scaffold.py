"""Scaffolds: folders made from ``mlsrv_cli/templates`` by filling in names with `string.Template`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path, PurePosixPath
from string import Template

from mlsrv.errors import ConfigurationError

PLUGIN_KINDS = ("codec", "runtime", "transport", "repository", "interceptor", "executor", "meter")

LONGEST = 30
"""Characters of a name; with longer ones, lines of the templates would have to be broken."""

_PREFIX = "mlsrv-"
_SUFFIX = ".tmpl"
_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?")

_DESCRIPTIONS = {
    "codec": "A content type of mlsrv.",
    "runtime": "An inference runtime for mlsrv.",
    "transport": "A way into mlsrv for requests.",
    "repository": "A model repository of mlsrv.",
    "interceptor": "Something around each call of a model of mlsrv.",
    "executor": "A place where models of mlsrv run.",
    "meter": "A backend for the metrics of mlsrv.",
}


def model_files(name: str) -> dict[str, str]:
    """Return the files of a folder with a custom model: their contents by relative path.

    Raises:
        ConfigurationError: the name is none for a model here.
    """
    return _rendered(["model"], {"name": _checked(name)}, str)


def plugin_files(kind: str, name: str) -> dict[str, str]:
    """Return the files of a folder with a plugin of one of `PLUGIN_KINDS`.

    Args:
        kind: what it offers.
        name: what it is called; its distribution is ``mlsrv-NAME``.

    Raises:
        ConfigurationError: the name is none for a distribution, or that distribution is installed here.
    """
    distribution = distribution_of(name)
    plain = distribution.removeprefix(_PREFIX)
    package = distribution.replace("-", "_")
    parts = plain.split("-")
    if len(parts) > 1 and parts[-1] == kind:
        parts.pop()  # JsonCodec, not JsonCodecCodec
    core = version("mlsrv-core")
    needs = ["mlsrv-core", *(["mlsrv-runtime-kit"] if kind == "runtime" else [])]
    values = {
        "name": plain,
        "distribution": distribution,
        "package": package,
        "setting": plain.replace("-", "_"),
        "cls": "".join(part[:1].upper() + part[1:] for part in parts),
        "description": _DESCRIPTIONS[kind],
        "core": core,
        "needs": ", ".join(f'"{name}>={core}"' for name in needs),
    }
    return _rendered(["plugin", kind], values, lambda file: _place(file, package))


def distribution_of(name: str) -> str:
    """Return the normalised distribution of a plugin: ``"My_Codec"`` gives ``"mlsrv-my-codec"``.

    Raises:
        ConfigurationError: as `plugin_files`.
    """
    plain = re.sub(r"[-_.]+", "-", _checked(name.removeprefix(_PREFIX))).lower()
    distribution = _PREFIX + plain
    try:
        installed = version(distribution)
    except PackageNotFoundError:
        return distribution
    raise ConfigurationError(f'The name "{plain}" is taken: {distribution} {installed} is installed here.')


def write_folder(folder: Path, contents: Mapping[str, str], wrote: Callable[[str], None]) -> None:
    """Write a folder, or nothing at all.

    Args:
        folder: must not exist, or be empty.
        contents: texts by path in the folder.
        wrote: is told of each file.

    Raises:
        ConfigurationError: something is there already, or the folder cannot be written.
    """
    _check_place(folder)
    # Beside the folder and not elsewhere: to be moved at once, it must be on the same file system.
    unfinished = folder.parent / f".{folder.name}.{os.getpid()}"
    missing = [parent for parent in folder.parents if not parent.exists()]
    try:
        for name, text in contents.items():
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            wrote(name)
        unfinished.rename(folder)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not folder.exists():
            for parent in missing:
                with suppress(OSError):  # it was not made, or holds something by now
                    parent.rmdir()


def _check_place(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ConfigurationError(f"{folder} exists, and is not a folder.")
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigurationError(f"The folder {folder} is not empty; nothing was written.")


def _checked(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ConfigurationError(
            f"{name!r} is no name: it must begin with a letter, end with a letter or a digit, "
            "and have only letters, digits, '-', '_' and '.' in between."
        )
    if len(name) > LONGEST:
        raise ConfigurationError(f"The name {name!r} is longer than {LONGEST} characters.")
    return name


def _rendered(sets: Iterable[str], values: Mapping[str, str], place: Callable[[str], str]) -> dict[str, str]:
    made = {}
    for folder in sets:
        for template in sorted(
            (files("mlsrv_cli") / "templates" / folder).iterdir(), key=lambda one: one.name
        ):
            text = Template(template.read_text(encoding="utf-8")).substitute(values)
            made[place(template.name.removesuffix(_SUFFIX))] = text
    return made


def _place(file: str, package: str) -> str:
    """Return the path at which a file of a plugin belongs."""
    if file.startswith("test_"):
        return str(PurePosixPath("tests", file))
    if file.endswith((".py", ".typed")):
        return str(PurePosixPath("src", package, file))
    return file
