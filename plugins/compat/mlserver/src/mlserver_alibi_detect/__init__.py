"""alibi-detect runtime of mlsrv under MLServer's name."""

from __future__ import annotations

from typing import ClassVar

from mlsrv_mlserver.runtimes import Runtime

__all__ = ["AlibiDetectRuntime"]


class AlibiDetectRuntime(Runtime):
    """Serves detectors of alibi-detect, and may be derived from."""

    target: ClassVar[str] = "mlsrv_alibi_detect:AlibiDetectRuntime"
    plugin: ClassVar[str] = "mlsrv-alibi-detect"
    attribute: ClassVar[str] = "_model"
