"""Which names a model may have, and what is known of the name of one that is broken."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from mlsrv.errors import ConfigurationError
from mlsrv.settings.server import read_object

_TAKEN = frozenset({"stats", ".", ".."})


def name_problem(name: str) -> str | None:
    """Why a model cannot be called so, or None. A name is one segment of a URL, where ``stats`` is taken."""
    if not name:
        return "it is empty, and so is the name of the folder."
    if name in _TAKEN or name != name.strip() or "/" in name or "\\" in name or not _printable(name):
        return f"{name!r} cannot be the name of a model."
    return None


def known_identity(path: Path) -> tuple[str, str | None]:
    """The name and version that a settings file gives, as far as it can be read; else its folder's name."""
    try:
        values = read_object(path)
    except ConfigurationError:  # already told by whoever found the file broken
        values = {}
    name = values.get("name", values.get("model"))
    parameters = values.get("parameters")
    version = parameters.get("version") if isinstance(parameters, dict) else None
    if not isinstance(name, str) or name_problem(name) is not None:
        name = path.parent.name
    return name, version if isinstance(version, str) else None


def _printable(name: str) -> bool:
    # Control characters, and halves of surrogate pairs, which have no UTF-8 form.
    return all(unicodedata.category(character) not in ("Cc", "Cs") for character in name)
