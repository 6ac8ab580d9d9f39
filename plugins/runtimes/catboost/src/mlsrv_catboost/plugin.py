"""Plugin: the hooks of mlsrv-catboost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mlsrv

ARTIFACTS = ("model.cbm", "model.bin", "model.json", "*.cbm")
"""File names that are looked for, in this order, when ``parameters.uri`` is a folder."""

_BINARY = b"CBM1"
_JSON = (b'"oblivious_trees"', b'"features_info"', b'"model_info"')
"""Keys that CatBoost's models in JSON have, in the first part of the file or the last."""


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``catboost``."""
    return mlsrv.RuntimeOffer(
        "catboost",
        "mlsrv_catboost.runtime:CatboostModel",
        artifacts=("model.cbm", "*.cbm"),
        aliases=("mlserver_catboost.CatboostModel", "mlsrv_catboost.CatboostModel"),
    )


@mlsrv.hookimpl
def mlsrv_select_runtime(model: mlsrv.ModelSettings, files: Sequence[Path]) -> str | None:
    """Choose ``catboost`` for a file that begins as its models do: other frameworks use the same endings."""
    return "catboost" if any(map(is_artifact, files)) else None


def is_artifact(path: Path) -> bool:
    """Return whether a file begins as the models of this framework do."""
    if path.suffix not in (".cbm", ".bin", ".json"):
        return False
    with path.open("rb") as file:
        beginning = file.read(256)
        if path.suffix == ".json":
            return beginning.lstrip().startswith(b"{") and any(key in beginning for key in _JSON)
    return beginning.startswith(_BINARY)
