"""Plugin: the hooks of mlsrv-lightgbm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mlsrv

ARTIFACTS = (
    "model.bst",
    "model.txt",
    "model.joblib",
    "model.pkl",
    "*lightgbm*.bst",
    "*.bst",
    "*lightgbm*.txt",
    "*.joblib",
)
"""File names that are looked for, in this order, when ``parameters.uri`` is a folder."""

PICKLES = (".joblib", ".pkl", ".pickle")
"""Endings of files that joblib reads."""


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``lightgbm``."""
    return mlsrv.RuntimeOffer(
        "lightgbm",
        "mlsrv_lightgbm.runtime:LightGBMModel",
        artifacts=("model.bst", "*.bst"),
        aliases=("mlserver_lightgbm.LightGBMModel", "mlsrv_lightgbm.LightGBMModel"),
    )


@mlsrv.hookimpl
def mlsrv_select_runtime(model: mlsrv.ModelSettings, files: Sequence[Path]) -> str | None:
    """Choose ``lightgbm`` for a file that begins as its models do: other frameworks use the same endings."""
    return "lightgbm" if any(map(is_artifact, files)) else None


def is_artifact(path: Path) -> bool:
    """Return whether a file begins as the models of this framework do."""
    if path.suffix not in (".bst", ".txt", *PICKLES):
        return False
    with path.open("rb") as file:
        beginning = file.read(128)
    if path.suffix in PICKLES:
        return b"lightgbm.sklearn" in beginning or b"lightgbm.basic" in beginning
    return beginning.startswith((b"tree\n", b"tree\r\n"))
