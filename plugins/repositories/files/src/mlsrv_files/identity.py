"""Model identity: the name and version of a model whose settings file is broken."""

from __future__ import annotations

from pathlib import Path

from mlsrv.controlplane.loader import check_name
from mlsrv.errors import ConfigurationError, ModelLoadError
from mlsrv_settings_kit.sources import read_object


def name_problem(name: str) -> str | None:
    """Return the reason for which a model cannot have this name, or None."""
    try:
        check_name(name)
    except ModelLoadError as error:
        return str(error)
    return None


def known_identity(path: Path) -> tuple[str, str | None]:
    """Return the name and version in a settings file as far as it can be read; else its folder's name."""
    try:
        values = read_object(path)
    except ConfigurationError:  # the caller has reported it already
        values = {}
    name = values.get("name", values.get("model"))
    parameters = values.get("parameters")
    version = parameters.get("version") if isinstance(parameters, dict) else None
    if not isinstance(name, str) or name_problem(name) is not None:
        name = path.parent.name
    return name, version if isinstance(version, str) else None
