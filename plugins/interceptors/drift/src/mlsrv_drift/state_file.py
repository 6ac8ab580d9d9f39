"""State file: references that were learned and open windows, which outlive the process."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

logger = logging.getLogger("mlsrv.drift")

FORM = 1
"""Number of the form; a file of another one is not read."""

_META = "meta"


class StateFile:
    """The state of one version of a model: plain data and arrays in an ``.npz`` file.

    Args:
        folder: made when something is first written.
        model, version: whose it is.
    """

    def __init__(self, folder: Path, model: str, version: str | None) -> None:
        key = f"{model}\n{version or ''}"
        readable = re.sub(r"[^A-Za-z0-9_.-]", "_", model)[:60]
        self.path = folder / f"{readable}-{hashlib.blake2b(key.encode(), digest_size=6).hexdigest()}.npz"
        self._is_failing = False

    def write(self, meta: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Replace the file. A failure is logged once until it works again: the watch goes on."""
        temporary = self.path.with_suffix(".tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                text = json.dumps({**meta, "form": FORM}).encode()
                content: dict[str, Any] = {_META: np.frombuffer(text, np.uint8), **_plain(arrays)}
                np.savez(file, **content)
            os.replace(temporary, self.path)
        except OSError as error:
            if not self._is_failing:
                logger.warning("The state of drift cannot be written to %s: %s", self.path, error)
            self._is_failing = True
            return
        self._is_failing = False

    def read(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]] | None:
        """Return what was written last; None if nothing was, or it cannot be read, which is logged."""
        try:
            with np.load(self.path, allow_pickle=False) as found:
                meta = json.loads(found[_META].tobytes())
                if meta["form"] != FORM:
                    return None
                return meta, {name: _original(found[name]) for name in found.files if name != _META}
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            logger.warning("The state of drift in %s cannot be read, and begins anew: %s", self.path, error)
            return None

    def delete(self) -> None:
        """Delete the file, if there is one."""
        self.path.unlink(missing_ok=True)


def _plain(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return arrays of texts as the bytes of a JSON text, for an object array would be a pickle."""
    return {
        name: np.frombuffer(json.dumps(values.tolist()).encode(), np.uint8)
        if values.dtype == object
        else values
        for name, values in arrays.items()
    }


def _original(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype != np.uint8:
        return values
    texts = json.loads(values.tobytes())
    made = np.empty(len(texts), object)
    made[:] = texts
    return made
