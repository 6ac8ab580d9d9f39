"""Plugin: the hooks of mlsrv-classification."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlsrv

if TYPE_CHECKING:
    from mlsrv.executor import ModelInfo
    from mlsrv.interceptor import Interceptor


@mlsrv.hookimpl
def mlsrv_extensions() -> str:
    """Return the name of the extension."""
    return "classification"


@mlsrv.hookimpl
def mlsrv_interceptors(info: ModelInfo) -> Interceptor:
    """Return the interceptor that turns outputs of a model into classes."""
    from mlsrv_classification.interceptor import Classification

    return Classification(info)
