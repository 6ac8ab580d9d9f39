"""alibi-detect runtime, under the name of the module that MLServer has it in."""

from __future__ import annotations

from mlserver_alibi_detect import AlibiDetectRuntime

__all__ = ["AlibiDetectRuntime"]
