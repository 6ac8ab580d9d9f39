"""Exports of tiny models to ONNX, as folders that are served."""

from __future__ import annotations

import gc
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

NAMES = ["input_ids", "attention_mask", "token_type_ids"]


class Graph(torch.nn.Module):
    """A model with positional inputs and plain outputs, as the exporter takes it."""

    def __init__(self, model: Any, outputs: list[str]) -> None:
        super().__init__()
        self.model = model
        self.outputs = outputs

    def forward(self, *tensors: Any) -> Any:
        found = self.model(**dict(zip(NAMES, tensors, strict=True)))
        return tuple(found[name] for name in self.outputs)


class Writer(torch.nn.Module):
    """A model that continues texts, with or without a memory of earlier tokens as inputs and outputs."""

    def __init__(self, model: Any, layers: int) -> None:
        super().__init__()
        self.model = model
        self.layers = layers

    def forward(self, ids: Any, mask: Any, positions: Any, *past: Any) -> Any:
        cache: Any = None
        if self.layers:
            cache = transformers.DynamicCache()
            for layer in range(self.layers):
                cache.update(past[2 * layer], past[2 * layer + 1], layer)
        named = {self._cache_name: cache} if self.layers else {"use_cache": False}
        found = self.model(input_ids=ids, attention_mask=mask, position_ids=positions, **named)
        if not self.layers:
            return found.logits
        after = found[self._cache_name]
        pairs = [(layer.keys, layer.values) for layer in after.layers]
        return (found.logits, *(tensor for pair in pairs for tensor in pair))

    @property
    def _cache_name(self) -> str:
        from mlsrv_huggingface.token_loop import cache_name

        return cache_name(type(self.model).forward)


def export(
    graph: Any, inputs: tuple[Any, ...], path: Path, names: Sequence[str], outputs: Sequence[str], axes: Any
) -> None:
    """Write a graph."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of the exporter about itself
        torch.onnx.export(
            graph,
            inputs,
            str(path),
            input_names=list(names),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )


def copied(source: Path, folder: Path, weights: bool) -> None:
    ignored = () if weights else ("*.safetensors",)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*ignored))


def exported(source: Path, folder: Path, auto_class: str, *outputs: str, weights: bool = False) -> Path:
    """A copy of a model's folder with an exported graph, and without weights unless they are wanted."""
    copied(source, folder, weights)
    model = getattr(transformers, auto_class).from_pretrained(source, attn_implementation="eager").eval()
    ids = torch.ones(2, 6, dtype=torch.long)
    axes = {name: {0: "texts", 1: "tokens"} for name in NAMES}
    axes |= {name: {0: "texts"} if name == "logits" else {0: "texts", 1: "tokens"} for name in outputs}
    export(Graph(model, list(outputs)), (ids, ids, ids * 0), folder / "model.onnx", NAMES, outputs, axes)
    return folder


def exported_by_optimum(source: Path, folder: Path, remembers: bool) -> Path:
    """A folder with the export that optimum makes of a model that continues texts."""
    library = pytest.importorskip("optimum.onnxruntime")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        model = library.ORTModelForCausalLM.from_pretrained(source, export=True, use_cache=remembers)
        model.save_pretrained(folder)
        del model
        gc.collect()  # a folder of optimum goes with the model, and a warning says so
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


def exported_writer(source: Path, folder: Path, remembers: bool, weights: bool = False) -> Path:
    """A copy of the folder of a GPT-2 with an exported graph, which has a memory of earlier tokens or not."""
    if transformers.__version__.startswith("4."):  # whose masks the exporter of this PyTorch cannot trace
        return exported_by_optimum(source, folder, remembers)
    copied(source, folder, weights)
    model = transformers.AutoModelForCausalLM.from_pretrained(source, attn_implementation="eager").eval()
    layers = model.config.n_layer if remembers else 0
    old = [f"past_key_values.{layer}.{kind}" for layer in range(layers) for kind in ("key", "value")]
    new = [f"present.{layer}.{kind}" for layer in range(layers) for kind in ("key", "value")]
    heads, size = model.config.n_head, model.config.n_embd // model.config.n_head
    ids = torch.ones(1, 3, dtype=torch.long)
    past = [torch.zeros(1, heads, 2, size) for _ in old]
    mask = torch.ones(1, 3 + (2 if layers else 0), dtype=torch.long)
    positions = torch.arange(3)[None] + (2 if layers else 0)
    names = ["input_ids", "attention_mask", "position_ids", *old]
    axes: dict[str, dict[int, str]] = {
        "input_ids": {0: "texts", 1: "tokens"},
        "attention_mask": {0: "texts", 1: "all"},
        "position_ids": {0: "texts", 1: "tokens"},
        "logits": {0: "texts", 1: "tokens"},
        **{name: {0: "texts", 2: "past"} for name in old},
        **{name: {0: "texts", 2: "all"} for name in new},
    }
    graph = Writer(model, layers)
    export(graph, (ids, mask, positions, *past), folder / "model.onnx", names, ["logits", *new], axes)
    return folder
