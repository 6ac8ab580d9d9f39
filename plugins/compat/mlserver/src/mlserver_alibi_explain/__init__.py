"""alibi runtime of mlsrv under MLServer's name."""

from __future__ import annotations

from typing import ClassVar

from mlsrv_mlserver.runtimes import Runtime

__all__ = ["AlibiExplainRuntime"]


class AlibiExplainRuntime(Runtime):
    """Serves explainers of alibi, and may be derived from."""

    target: ClassVar[str] = "mlsrv_alibi_explain:AlibiExplainRuntime"
    plugin: ClassVar[str] = "mlsrv-alibi-explain"
    attribute: ClassVar[str] = "_model"
