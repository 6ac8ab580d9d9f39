"""Plugin: the hooks of mlsrv-huggingface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import mlsrv
from mlsrv_huggingface.settings import HuggingFaceSettings

if TYPE_CHECKING:
    from mlsrv.placement import ModelInfo
    from mlsrv.types import InferenceRequest


@mlsrv.hookimpl
def mlsrv_settings() -> mlsrv.SettingsOffer:
    """Offer the settings of Hugging Face models, which the environment may give, too."""
    return mlsrv.SettingsOffer("model", HuggingFaceSettings)


@mlsrv.hookimpl
def mlsrv_codecs() -> list[mlsrv.CodecOffer]:
    """Offer the content types of requests and answers, under the names that MLServer gives them."""
    return [
        mlsrv.CodecOffer("hg_json", "mlsrv_huggingface.codecs:JSONCodec", sample="{}"),
        mlsrv.CodecOffer("hg_jsonlist", "mlsrv_huggingface.codecs:JSONListCodec", sample="{}"),
        mlsrv.CodecOffer("nplist", "mlsrv_huggingface.codecs:NumpyListCodec"),
        mlsrv.CodecOffer("pillow_image", "mlsrv_huggingface.codecs:ImageCodec"),
        mlsrv.CodecOffer("raw", "mlsrv_huggingface.codecs:RawCodec"),
    ]


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``huggingface``."""
    return mlsrv.RuntimeOffer(
        "huggingface",
        "mlsrv_huggingface.runtime:HuggingFaceRuntime",
        aliases=(
            "mlserver_huggingface.HuggingFaceRuntime",
            "mlserver_huggingface.runtime.HuggingFaceRuntime",
            "mlsrv_huggingface.HuggingFaceRuntime",
        ),
    )


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_batch_cost(model: mlsrv.ModelSettings, info: ModelInfo) -> Callable[[InferenceRequest], int] | None:
    """Count the tokens of requests to a model of this runtime."""
    if info.platform != "huggingface":
        return None
    from mlsrv_huggingface.costs import TokenCounter

    return TokenCounter(model)


@mlsrv.hookimpl
def mlsrv_select_runtime(files: Sequence[Path]) -> str | None:
    """Choose ``huggingface`` for a folder with a configuration of transformers."""
    for file in files:
        if file.name == "config.json":
            from mlsrv_huggingface.location import has_model_type

            return "huggingface" if has_model_type(file) else None
    return None
