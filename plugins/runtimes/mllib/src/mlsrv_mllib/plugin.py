"""Plugin: the hooks of mlsrv-mllib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mlsrv


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``mllib``."""
    return mlsrv.RuntimeOffer(
        "mllib",
        "mlsrv_mllib.runtime:MLlibModel",
        aliases=("mlserver_mllib.MLlibModel", "mlsrv_mllib.MLlibModel"),
    )


@mlsrv.hookimpl
def mlsrv_select_runtime(model: mlsrv.ModelSettings, files: Sequence[Path]) -> str | None:
    """Choose ``mllib`` for a folder that Spark has saved a model to."""
    from mlsrv.utils import local_path
    from mlsrv_mllib.saved import saved_in

    folder = local_path(model.parameters.uri)
    found = saved_in(folder) if folder is not None else None
    return "mllib" if found is not None and found.is_spark else None
