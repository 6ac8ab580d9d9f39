"""Hugging Face runtime, under the name of the module that MLServer has it in."""

from __future__ import annotations

from mlserver_huggingface import HuggingFaceRuntime

__all__ = ["HuggingFaceRuntime"]
