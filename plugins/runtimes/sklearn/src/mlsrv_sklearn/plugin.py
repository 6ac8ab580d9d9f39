"""Plugin: the hooks of mlsrv-sklearn."""

from __future__ import annotations

import mlsrv

ARTIFACTS = (
    "model.joblib",
    "model.pickle",
    "model.pkl",
    "model.skops",
    "*.joblib",
    "*.pickle",
    "*.pkl",
    "*.skops",
)
"""File names that are looked for, in this order, when ``parameters.uri`` is a folder."""


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``sklearn``."""
    return mlsrv.RuntimeOffer(
        "sklearn",
        "mlsrv_sklearn.runtime:SKLearnModel",
        artifacts=ARTIFACTS,
        aliases=("mlserver_sklearn.SKLearnModel", "mlsrv_sklearn.SKLearnModel"),
    )
