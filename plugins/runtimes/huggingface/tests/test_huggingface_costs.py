"""Costs: tokens are counted as the model gets them, and bound the batches of a served model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from mlsrv import Kernel, ModelSettings
from mlsrv.errors import ModelLoadError
from mlsrv.testing import tensor_request, text_request
from mlsrv_huggingface.costs import TokenCounter
from mlsrv_huggingface.tokenizing import grouped
from tiny_models import TEXTS


def settings(folder: Path, **more: Any) -> ModelSettings:
    parameters = {"uri": str(folder), "extra": {"task": "embedding"}}
    return ModelSettings(name="m", implementation="huggingface", parameters=parameters, **more)


def test_tokens_are_those_of_the_model(folders: Any) -> None:
    counter = TokenCounter(settings(folders("encoder")))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders("encoder"))
    for text in (*TEXTS, "", "é😀" * 400, "the red house " * 1000):
        expected = len(tokenizer(text, truncation=True, max_length=64).input_ids)
        assert counter(text_request("m", [text])) == expected
        assert counter(text_request("m", [text, text])) == 2 * expected
    assert counter(tensor_request("m", np.ones((2, 3)))) == 0


def test_a_model_without_a_fast_tokenizer(folders: Any, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelLoadError, match="needs a fast tokenizer"):
        TokenCounter(settings(tmp_path))


async def test_a_served_model(folders: Any) -> None:
    limits = {"max_batch_size": 64, "max_batch_time": 5.0, "max_batch_tokens": 64}
    model = settings(folders("encoder"), **limits)
    async with Kernel({"executor": "inline"}, models=[model]) as kernel:
        await kernel.loaded()
        assert kernel.problems() == []
        asked = [text_request("m", [TEXTS[index % 4] * (1 + index % 5)], name="args") for index in range(60)]
        alone = [await kernel.infer(request) for request in asked[:20]]
        together = await asyncio.gather(*map(kernel.infer, asked))
        for one, other in zip(alone, together[:20], strict=True):
            assert np.allclose(one.outputs[0].data, other.outputs[0].data, atol=1e-4)


def test_groups() -> None:
    assert list(grouped([])) == []
    assert list(grouped([5, 5, 5])) == [[0, 1, 2]]
    assert list(grouped([100, 3, 4, 101, 5])) == [[1, 2, 4], [0, 3]]
    assert list(grouped([10, 10, 10], budget=20)) == [[0, 1], [2]]
    assert list(grouped([50], budget=20)) == [[0]]
    assert list(grouped([3, 1, 2], alone=True)) == [[1], [2], [0]]
    lengths = np.random.default_rng(0).integers(1, 400, 500).tolist()
    found = list(grouped(lengths, budget=2048))
    assert sorted(index for group in found for index in group) == list(range(500))
    for group in found:
        sizes = [lengths[index] for index in group]
        assert max(sizes) * len(sizes) <= 2048 or len(sizes) == 1
        assert max(sizes) <= max(min(sizes) * 1.25, min(sizes) + 4)
