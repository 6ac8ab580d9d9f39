"""References: secrets that a settings file takes from the environment or from other files.

``${env:NAME}`` stands for a variable of the environment, ``${file:PATH}`` for the text of a file without the
line break at its end; a relative path counts from the folder of the settings file. ``$${`` stands for ``${``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MOST_BYTES = 2**16
"""Bytes of a file that is taken."""

_REFERENCE = re.compile(r"\$(\$)?\{(env|file):([^{}]+)\}")


def resolved(
    value: Any, base: Path | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Any, bool]:
    """Return a value of a settings file with the texts that its references stand for, and whether it had any.

    Args:
        value: plain data; texts in lists and objects are searched, too.
        base: the folder from which relative paths count; the working directory by default.
        environ: the variables; those of the process by default.

    Raises:
        ValueError: a variable is not set, or a file cannot be read; the sentence has the name and no value.
    """
    if isinstance(value, str):
        if "${" not in value:
            return value, False
        found = False

        def text_of(match: re.Match[str]) -> str:
            nonlocal found
            escaped, kind, name = match.groups()
            if escaped:
                return match[0][1:]
            found = True
            return _variable(name, environ) if kind == "env" else _file(name, base)

        return _REFERENCE.sub(text_of, value), found
    if isinstance(value, Mapping):
        pairs = {key: resolved(item, base, environ) for key, item in value.items()}
        return {key: item for key, (item, _) in pairs.items()}, any(has for _, has in pairs.values())
    if isinstance(value, list):
        items = [resolved(item, base, environ) for item in value]
        return [item for item, _ in items], any(has for _, has in items)
    return value, False


def _variable(name: str, environ: Mapping[str, str] | None) -> str:
    variables = os.environ if environ is None else environ
    if name not in variables:
        raise ValueError(f"the variable {name} of the environment is not set")
    return variables[name]


def _file(name: str, base: Path | None) -> str:
    path = Path(name) if base is None else base / name
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"the file {path} has more than {MOST_BYTES} bytes")
        return content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not UTF-8 text") from None
