"""Library: one that users install beside a runtime, under a licence of its own."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence

from mlsrv.errors import ModelLoadError


def import_library(model: str, name: str, distribution: str, modules: Sequence[str] = ()) -> str:
    """Import a library, without the warnings of what it imports, and return its version.

    Args:
        model: name of the model that needs it.
        name: of the library, as users install it; its package has the same name with underscores.
        distribution: of the runtime, whose extra ``library`` installs it.
        modules: those of its modules that are imported, too.

    Raises:
        ModelLoadError: it cannot be imported where the model runs.
    """
    package = name.replace("-", "_")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = str(importlib.import_module(package).__version__)
            for module in modules:
                importlib.import_module(f"{package}.{module}")
    except ImportError as error:
        raise ModelLoadError(
            f"Model {model} needs {name}, which cannot be imported here ({error}); name an environment with "
            f"it in parameters.environment_requirements, or install {distribution}[library]."
        ) from error
    return version


def licence_of(name: str, version: str, changed: tuple[int, ...]) -> str:
    """Return a sentence on the licence of a release: Apache's, or the Business Source License.

    Args:
        name: of the library.
        version: of the release.
        changed: the first release under the Business Source License.
    """
    if tuple(int(part) for part in version.split(".")[: len(changed)]) < changed:
        return f"{name} {version} is under the Apache licence."
    return (
        f"{name} {version} is under the Business Source License 1.1: use in production needs a licence of "
        "its vendor."
    )
