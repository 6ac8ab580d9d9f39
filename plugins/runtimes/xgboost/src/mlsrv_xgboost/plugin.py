"""Plugin: the hooks of mlsrv-xgboost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import mlsrv

ARTIFACTS = ("model.json", "model.ubj", "model.bst", "*.ubj", "*.bst")
"""File names that are looked for, in this order, when ``parameters.uri`` is a folder."""

_BEGINNING = re.compile(rb'\{(?:\s*"learner"|L.{8}learner)', re.DOTALL)
"""Of a model in JSON, or in UBJSON; both have their keys in this order."""


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``xgboost``."""
    return mlsrv.RuntimeOffer(
        "xgboost",
        "mlsrv_xgboost.runtime:XGBoostModel",
        artifacts=ARTIFACTS,
        aliases=("mlserver_xgboost.XGBoostModel", "mlsrv_xgboost.XGBoostModel"),
    )


@mlsrv.hookimpl
def mlsrv_select_runtime(model: mlsrv.ModelSettings, files: Sequence[Path]) -> str | None:
    """Choose ``xgboost`` for a file that begins as its models do: other frameworks use the same endings."""
    return "xgboost" if any(map(is_artifact, files)) else None


def is_artifact(path: Path) -> bool:
    """Return whether a file begins as the models of this framework do."""
    if path.suffix not in (".json", ".ubj", ".bst"):
        return False
    with path.open("rb") as file:
        return _BEGINNING.match(file.read(64)) is not None
