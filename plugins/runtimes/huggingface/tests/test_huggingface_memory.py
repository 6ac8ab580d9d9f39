"""A served model is in memory once: in its worker, and nowhere else."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers

import tiny_models
from mlsrv import Kernel, ModelSettings
from mlsrv.testing import text_request

SIZE, LAYERS = 1024, 4


def large(folder: Path) -> Path:
    """Save a model whose weights outweigh what else a process may need for it."""
    config = transformers.BertConfig(
        vocab_size=160,
        hidden_size=SIZE,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        intermediate_size=4 * SIZE,
    )
    with torch.device("meta"):
        model = transformers.BertModel(config)
    # Made without the draws of millions of random numbers.
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    model.save_pretrained(folder)
    tiny_models.word_pieces().save_pretrained(folder)
    return folder


def memory(process: psutil.Process) -> int:
    """Bytes that a process has for itself, with its share of what others have, too."""
    gc.collect()
    pss: int = process.memory_full_info().pss
    return pss


def settings(name: str, folder: Path) -> ModelSettings:
    parameters = {"uri": str(folder), "extra": {"task": "embedding"}}
    return ModelSettings(name=name, implementation="huggingface", parameters=parameters)


async def test_one_copy(folders: Any, tmp_path: Path) -> None:
    models = [settings("small", folders("encoder")), settings("large", large(tmp_path / "large"))]
    weights = sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    assert weights > 190e6
    values = {"parallel_workers": 1, "load_models_at_startup": False}
    async with Kernel(values, models=models) as kernel:
        grown = []
        for name in ("small", "large"):
            await kernel.load(name)
            response = await kernel.infer(text_request(name, ["the red house"], name="args"))
            assert response.outputs[0].name == "embedding"
            server = psutil.Process()
            (worker,) = server.children()
            grown.append((memory(server), memory(worker)))
    front, below = (after - before for before, after in zip(*grown, strict=True))
    # The small model has loaded the framework, so what the other one adds are its weights.
    assert 0.9 * weights < below < 1.5 * weights
    assert front < 0.3 * weights
