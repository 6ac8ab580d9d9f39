"""scikit-learn runtime of mlsrv under MLServer's name."""

from __future__ import annotations

from typing import ClassVar

from mlsrv_mlserver.runtimes import Runtime

__all__ = ["SKLearnModel"]


class SKLearnModel(Runtime):
    """Serves models of scikit-learn, and may be derived from."""

    target: ClassVar[str] = "mlsrv_sklearn:SKLearnModel"
    plugin: ClassVar[str] = "mlsrv-sklearn"
    attribute: ClassVar[str] = "_estimator"
