"""alibi runtime, under the name of the module that MLServer has it in."""

from __future__ import annotations

from mlserver_alibi_explain import AlibiExplainRuntime

__all__ = ["AlibiExplainRuntime"]
