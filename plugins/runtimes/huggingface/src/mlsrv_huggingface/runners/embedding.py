"""Embedding: vectors of texts, pooled and normalised as the model's own files say."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from mlsrv.errors import InferenceError, ModelLoadError
from mlsrv.types import Datatype, MetadataTensor
from mlsrv_huggingface.encoders import open_encoder
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.location import read_json
from mlsrv_huggingface.reading import Given
from mlsrv_huggingface.runners.base import OUTPUT, Runner
from mlsrv_huggingface.sentence_files import SentenceFiles
from mlsrv_huggingface.task import Task
from mlsrv_huggingface.tokenizing import Tokenizing


class EmbeddingRunner(Runner):
    """Gives the vectors of all tokens as JSON, as pipelines do, or one vector for each text as a tensor."""

    def __init__(self, source: Source, task: Task) -> None:
        super().__init__(source, task)
        self._files = SentenceFiles.of(source.name, source.folder)
        options = source.options
        self._pooling = options.pooling or self._files.pooling
        if self._pooling not in _POOLINGS:
            raise ModelLoadError(
                f"Model {source.name}: parameters.extra.pooling must be one of {', '.join(_POOLINGS)}, not "
                f"{self._pooling!r}."
            )
        self._normalizes = self._files.normalizes if options.normalize is None else options.normalize
        self._prompts = read_json(source.folder / "config_sentence_transformers.json").get("prompts") or {}
        self._encoder = open_encoder(source, "AutoModel")
        self._tokenizing = Tokenizing(
            source.name,
            source.tokenizer,
            source.config.to_dict(),
            options.truncation,
            self._files.max_tokens,
        )
        size = getattr(source.config, "hidden_size", -1)
        self.tensors = (
            MetadataTensor("embedding", Datatype.FP32, [-1, size]),
            MetadataTensor("prompt_tokens", Datatype.INT64, [-1]),
        )

    def run(self, given: Given, wanted: Collection[str]) -> dict[str, Any]:
        texts = [self._prompt(given.options) + text for text in given.rows]
        tokens = self._tokenizing(
            texts,
            truncation=given.options.get("truncation"),
            max_length=given.options.get("max_length"),
        )
        vectors: Any = None
        every: list[Any] = [None] * len(texts)
        for indices, arrays in self._tokenizing.batches(tokens):
            states = self._encoder(arrays)["last_hidden_state"]
            mask = arrays["attention_mask"]
            if "embedding" in wanted:
                pooled = self._pooled(states, mask)
                if vectors is None:
                    vectors = np.empty((len(texts), pooled.shape[1]), np.float32)
                vectors[indices] = pooled
            if OUTPUT in wanted:
                for index, row, kept in zip(indices, states, mask, strict=True):
                    every[index] = row[kept.astype(bool)][np.newaxis]
        counts = np.array([len(one) for one in tokens], np.int64)
        return {OUTPUT: every, "embedding": vectors, "prompt_tokens": counts}

    def _prompt(self, options: dict[str, Any]) -> str:
        name = options.get("prompt_name")
        if name is None:
            return ""
        if name not in self._prompts:
            known = ", ".join(sorted(self._prompts)) or "none"
            raise InferenceError(f'Model {self.name} has no prompt "{name[:100]}"; it has {known}.')
        return str(self._prompts[name])

    def _pooled(self, states: Any, mask: Any) -> Any:
        pooled = _POOLINGS[self._pooling](states, mask.astype(np.float32))
        if not self._normalizes:
            return pooled
        return pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)


def _mean(states: Any, mask: Any) -> Any:
    # One small matrix product for each text: a weighted sum over its tokens.
    summed = np.matmul(mask[:, np.newaxis, :], states)[:, 0, :]
    return summed / np.maximum(mask.sum(axis=1, keepdims=True), 1e-9)


def _first(states: Any, mask: Any) -> Any:
    return states[np.arange(len(states)), mask.argmax(axis=1)]


def _last(states: Any, mask: Any) -> Any:
    return states[np.arange(len(states)), mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)]


def _max(states: Any, mask: Any) -> Any:
    return np.where(mask[:, :, np.newaxis] > 0, states, -np.inf).max(axis=1)


_POOLINGS = {"mean": _mean, "cls": _first, "max": _max, "lasttoken": _last}
