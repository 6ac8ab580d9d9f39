"""Plugin: the hooks of mlsrv-sklearn."""

from __future__ import annotations

import mlsrv

ARTIFACTS = (
    "model.skops",
    "model.joblib",
    "model.pickle",
    "model.pkl",
    "*.skops",
    "*.joblib",
    "*.pickle",
    "*.pkl",
)
"""File names that are looked for, in this order, when ``parameters.uri`` is a folder: first the form that
runs no code when it is read."""


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``sklearn``."""
    return mlsrv.RuntimeOffer(
        "sklearn",
        "mlsrv_sklearn.runtime:SKLearnModel",
        artifacts=ARTIFACTS,
        aliases=("mlserver_sklearn.SKLearnModel", "mlsrv_sklearn.SKLearnModel"),
    )
