"""Ranking: how well documents fit a query, by a cross-encoder."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mlsrv.errors import ModelLoadError
from mlsrv.types import Datatype, MetadataTensor
from mlsrv_huggingface.encoders import open_encoder
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.reading import Given
from mlsrv_huggingface.runners.base import OUTPUT, Runner
from mlsrv_huggingface.runners.classification import encoded_logits, scored
from mlsrv_huggingface.task import Task
from mlsrv_huggingface.tokenizing import Tokenizing


class RankingRunner(Runner):
    """Gives a score for each document: of one query for all, or of one for each."""

    def __init__(self, source: Source, task: Task) -> None:
        super().__init__(source, task)
        if source.config.num_labels != 1:
            raise ModelLoadError(
                f"Model {source.name}: a model that ranks has one label, this one has "
                f"{source.config.num_labels}; use the task text-classification."
            )
        self._encoder = open_encoder(source, "AutoModelForSequenceClassification")
        self._tokenizing = Tokenizing(
            source.name, source.tokenizer, source.config.to_dict(), source.options.truncation
        )
        self._is_identity = _activation(source.facts).endswith("Identity")
        self.tensors = (
            MetadataTensor("scores", Datatype.FP32, [-1]),
            MetadataTensor("prompt_tokens", Datatype.INT64, [-1]),
        )

    def run(self, given: Given, wanted: Collection[str]) -> dict[str, Any]:
        queries = [row["query"] for row in given.rows]
        documents = [row["documents"] for row in given.rows]
        logits, counts = encoded_logits(self._encoder, self._tokenizing, queries, documents, given.options)
        scores = scored(logits[:, 0], "none" if self._is_identity else "sigmoid")
        answers = [{"score": float(score)} for score in scores]
        return {OUTPUT: answers, "scores": scores, "prompt_tokens": counts}


def _activation(facts: dict[str, Any]) -> str:
    """Return the class that sentence-transformers applies to the logits of a cross-encoder."""
    stated = facts.get("sentence_transformers")
    if isinstance(stated, dict) and isinstance(stated.get("activation_fn"), str):
        return str(stated["activation_fn"])
    older = facts.get("sbert_ce_default_activation_function")
    return older if isinstance(older, str) else ""
