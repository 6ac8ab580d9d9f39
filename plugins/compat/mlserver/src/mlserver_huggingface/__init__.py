"""Hugging Face runtime of mlsrv under MLServer's name."""

from __future__ import annotations

from typing import ClassVar

from mlsrv_mlserver.runtimes import Runtime

__all__ = ["HuggingFaceRuntime"]


class HuggingFaceRuntime(Runtime):
    """Serves models of Hugging Face, and may be derived from."""

    target: ClassVar[str] = "mlsrv_huggingface:HuggingFaceRuntime"
    plugin: ClassVar[str] = "mlsrv-huggingface"
    attribute: ClassVar[str] = "_model"
