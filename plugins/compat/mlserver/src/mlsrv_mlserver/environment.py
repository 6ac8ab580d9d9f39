"""Environment: MLServer's variables, and its file ``.env``, in the words of mlsrv."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREFIX = "MLSERVER_"
_OURS = "MLSRV_"

_OF_IMAGES = frozenset(["MLSERVER_ENV_TARBALL", "MLSERVER_PATH"])
"""Variables of MLServer's images and their scripts, which set nothing in the server."""

_OF_OTHERS = ("MLSERVER_INFER_",)
"""Prefixes of variables of other commands."""

_OF_RUNTIMES = ("MODEL_HUGGINGFACE_", "MODEL_ALIBI_DETECT_", "MODEL_ALIBI_EXPLAIN_")
"""Prefixes of variables that become keys of ``parameters.extra``."""

DEFAULTS: Mapping[str, Any] = {"unloaded_models": "not_found", "grpc_stream_responses": "plain"}
"""Server settings with the values that MLServer has by default, where clients depend on them."""


def translated(environ: Mapping[str, str]) -> tuple[dict[str, str], set[str]]:
    """Return the variables of mlsrv that correspond to those of MLServer, and the names of the latter."""
    found: dict[str, str] = {}
    read: set[str] = set()
    extra: dict[str, Any] = {}
    for name, value in environ.items():
        upper = name.upper()
        if not upper.startswith(PREFIX):
            continue
        read.add(name)
        if upper in _OF_IMAGES or upper.startswith(_OF_OTHERS):
            continue
        rest = upper.removeprefix(PREFIX)
        of_runtime = next((prefix for prefix in _OF_RUNTIMES if rest.startswith(prefix)), None)
        if of_runtime is None:
            found[_OURS + rest] = value
        else:
            extra[rest.removeprefix(of_runtime).lower()] = _plain(value)
    if extra and "MLSRV_MODEL_EXTRA" not in found:
        found["MLSRV_MODEL_EXTRA"] = json.dumps(extra)
    if _false(found.get("MLSRV_KAFKA_ENABLED", "true")):
        found = {name: value for name, value in found.items() if not name.startswith("MLSRV_KAFKA_")}
    return found, read


def dotenv(folder: Path) -> dict[str, str]:
    """Return MLServer's variables in the file ``.env`` of a folder; none if there is no such file.

    A line is ``NAME=value``, with ``export`` before it or not; the value may be quoted.
    """
    try:
        lines = (folder / ".env").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):  # not there, or nothing that sets variables
        return {}
    found = {}
    for line in lines:
        name, sign, value = line.strip().removeprefix("export ").partition("=")
        if sign and name.strip().upper().startswith(PREFIX):
            found[name.strip()] = _unquoted(value.strip())
    return found


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _false(text: str) -> bool:
    return text.strip().lower() in ("false", "0", "no", "off")
