"""Classification: labels of texts, and of pairs of texts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

import numpy as np

from mlsrv.errors import CodecError
from mlsrv.types import Datatype, MetadataTensor
from mlsrv_huggingface.encoders import open_encoder
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.reading import Given
from mlsrv_huggingface.runners.base import OUTPUT, Runner
from mlsrv_huggingface.task import Task
from mlsrv_huggingface.tokenizing import Tokenizing

Function = Literal["sigmoid", "softmax", "none"]


class ClassificationRunner(Runner):
    """Gives ``{"label", "score"}`` for each text; a list with ``top_k`` or ``return_all_scores``."""

    def __init__(self, source: Source, task: Task) -> None:
        super().__init__(source, task)
        self._encoder = open_encoder(source, "AutoModelForSequenceClassification")
        self._tokenizing = Tokenizing(
            source.name, source.tokenizer, source.config.to_dict(), source.options.truncation
        )
        self._labels = [str(label) for _, label in sorted(source.config.id2label.items())]
        self._function = score_function(source.config)
        self.tensors = (MetadataTensor("logits", Datatype.FP32, [-1, len(self._labels)]),)

    def run(self, given: Given, wanted: Collection[str]) -> dict[str, Any]:
        texts, pairs = split_pairs(self.name, given.rows)
        logits, _ = encoded_logits(self._encoder, self._tokenizing, texts, pairs, given.options)
        made: dict[str, Any] = {"logits": logits}
        if OUTPUT in wanted:
            options = given.options
            scores = scored(logits, options.get("function_to_apply", self._function))
            made[OUTPUT] = [self._answer(row, options) for row in scores]
        return made

    def _answer(self, scores: Any, options: dict[str, Any]) -> Any:
        order = np.argsort(-scores, kind="stable")
        found = [{"label": self._labels[index], "score": float(scores[index])} for index in order]
        if options.get("return_all_scores"):
            return found
        count = options.get("top_k")
        return found[0] if count is None else found[:count]


def encoded_logits(
    encoder: Any,
    tokenizing: Tokenizing,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    options: dict[str, Any],
) -> tuple[Any, Any]:
    """Return the logits of texts, or pairs of texts, float32 [texts, labels], and the tokens of each, int64.

    Raises:
        InferenceError: a text is too long, and is not to be cut.
    """
    tokens = tokenizing(
        texts, pairs, truncation=options.get("truncation"), max_length=options.get("max_length")
    )
    made: Any = None
    for indices, arrays in tokenizing.batches(tokens):
        logits = encoder(arrays)["logits"]
        if made is None:
            made = np.empty((len(texts), *logits.shape[1:]), np.float32)
        made[indices] = logits
    return made, np.array([len(one) for one in tokens], np.int64)


def score_function(config: Any) -> Function:
    """Return what makes scores of a model's logits, as its configuration says."""
    if config.problem_type == "regression":
        return "none"
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return "sigmoid"
    return "softmax"


def scored(logits: Any, function: Function) -> Any:
    """Return the scores of logits [texts, labels]."""
    if function == "none":
        return logits
    if function == "sigmoid":
        return 1.0 / (1.0 + np.exp(-logits))
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def split_pairs(model: str, rows: Sequence[Any]) -> tuple[list[str], list[str] | None]:
    """Return the texts of rows, and the second texts where rows are ``{"text", "text_pair"}``.

    Raises:
        CodecError: a row is neither a text nor such an object, or only some have a second text.
    """
    texts, pairs = [], []
    for row in rows:
        first, second = (row.get("text"), row.get("text_pair")) if isinstance(row, dict) else (row, None)
        if not isinstance(first, str) or not isinstance(second, str | None):
            raise CodecError(
                f'Model {model}: each row must be a text, or an object of "text" and "text_pair".'
            )
        texts.append(first)
        pairs.append(second)
    if all(second is None for second in pairs):
        return texts, None
    if any(second is None for second in pairs):
        raise CodecError(f'Model {model}: either all rows have a "text_pair", or none.')
    return texts, [str(second) for second in pairs]
