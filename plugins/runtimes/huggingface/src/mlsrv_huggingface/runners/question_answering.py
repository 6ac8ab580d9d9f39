"""Question answering: the part of a context that answers a question.

transformers has no such task since version 5. The answers are those of its version 4: long contexts are read
in windows that overlap, the score of an answer is the probability of its first and of its last token, equal
texts add up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from mlsrv.errors import InferenceError, ModelLoadError
from mlsrv_huggingface.encoders import open_encoder
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.reading import Given
from mlsrv_huggingface.runners.base import OUTPUT, Runner
from mlsrv_huggingface.task import Task
from mlsrv_huggingface.tokenizing import longest

_WINDOW = 384
_STRIDE = 128
_FORBIDDEN = -10000.0
"""Stands for the logit of a token that cannot begin or end an answer."""


class QuestionAnsweringRunner(Runner):
    """Gives ``{"score", "start", "end", "answer"}`` for each question, or a list of them with ``top_k``."""

    def __init__(self, source: Source, task: Task) -> None:
        super().__init__(source, task)
        self._encoder = open_encoder(source, "AutoModelForQuestionAnswering")
        self._tokenizer = source.tokenizer
        if not self._tokenizer.is_fast:
            raise ModelLoadError(
                f"Model {source.name}: question-answering needs a fast tokenizer (tokenizer.json), "
                "which tells "
                "where a token is in the text."
            )
        self._longest = longest(self._tokenizer, source.config.to_dict()) or _WINDOW

    def run(self, given: Given, wanted: Collection[str]) -> dict[str, Any]:
        return {OUTPUT: [self._answer(row["question"], row["context"], given.options) for row in given.rows]}

    def _answer(self, question: str, context: str, options: dict[str, Any]) -> Any:
        if not question.strip() or not context.strip():
            raise InferenceError(f"Model {self.name}: question and context must not be empty.")
        count = options.get("top_k", 1)
        aligns = options.get("align_to_words", True)
        takes_none = options.get("handle_impossible_answer", False)
        candidates = count * 2 + 10 if aligns else count
        found: dict[str, dict[str, Any]] = {}
        impossible = 1e6
        for encoding, begins, ends, allowed in self._windows(question, context, options):
            first, last = _probabilities(begins, allowed), _probabilities(ends, allowed)
            if takes_none:
                impossible = min(impossible, float(first[0] * last[0]))
            first[0] = last[0] = 0.0
            spans = _spans(first, last, allowed, options.get("max_answer_len", 15), candidates)
            for start, end, score in spans:
                begin, stop = self._characters(encoding, start, end, aligns)
                text = context[begin:stop]
                known = found.setdefault(
                    text.lower(), {"score": 0.0, "start": begin, "end": stop, "answer": text}
                )
                known["score"] += score
        answers = list(found.values())
        if takes_none:
            answers.append({"score": impossible, "start": 0, "end": 0, "answer": ""})
        answers = sorted(answers, key=lambda one: -one["score"])[:count]
        return answers[0] if len(answers) == 1 else answers

    def _windows(
        self, question: str, context: str, options: dict[str, Any]
    ) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Yield for each window its encoding, two rows of logits, and which tokens may be in an answer."""
        tokenizer = self._tokenizer
        window = min(options.get("max_seq_len") or _WINDOW, self._longest)
        stride = options.get("doc_stride", min(window // 2, _STRIDE))
        second = self._is_context_second
        try:
            encoded = tokenizer(
                question if second else context,
                context if second else question,
                truncation="only_second" if second else "only_first",
                max_length=window,
                stride=stride,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
                return_token_type_ids=True,
                return_special_tokens_mask=True,
            )
        except (ValueError, OverflowError, BaseException) as error:
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise InferenceError(
                f"Model {self.name}: the question does not fit a window of {window} tokens with a stride of "
                f"{stride}; shorten it."
            ) from error
        for index, ids in enumerate(encoded["input_ids"]):
            sequences = encoded.sequence_ids(index)
            allowed = np.array([one == (1 if second else 0) for one in sequences])
            if tokenizer.cls_token_id is not None:
                allowed |= np.array(ids) == tokenizer.cls_token_id
            arrays = {
                name: np.array([encoded[name][index]], np.int64)
                for name in tokenizer.model_input_names
                if name in encoded
            }
            logits = self._encoder(arrays)
            yield encoded[index], logits["start_logits"][0], logits["end_logits"][0], allowed

    @property
    def _is_context_second(self) -> bool:
        return bool(self._tokenizer.padding_side == "right")

    def _characters(self, encoding: Any, start: int, end: int, aligns: bool) -> tuple[int, int]:
        """Return where the tokens from `start` to `end` are in the context, whole words if `aligns`."""
        if aligns:
            sequence = 1 if self._is_context_second else 0
            words = encoding.token_to_word(start), encoding.token_to_word(end)
            if None not in words:
                first = encoding.word_to_chars(words[0], sequence_index=sequence)
                last = encoding.word_to_chars(words[1], sequence_index=sequence)
                if first is not None and last is not None:
                    return int(first[0]), int(last[1])
        return int(encoding.offsets[start][0]), int(encoding.offsets[end][1])


def _probabilities(logits: Any, allowed: Any) -> Any:
    """Return the softmax of logits [tokens] over those that are allowed."""
    found = np.where(allowed, logits, _FORBIDDEN)
    shifted = np.exp(found - found.max())
    return shifted / shifted.sum()


def _spans(
    first: Any, last: Any, allowed: Any, longest_span: int, count: int
) -> list[tuple[int, int, float]]:
    """Return the best spans as (first token, last token, score), best first."""
    scores = np.tril(np.triu(np.outer(first, last)), longest_span - 1)
    flat = scores.ravel()
    if len(flat) > count:
        best = np.argpartition(-flat, count)[:count]
        best = best[np.argsort(-flat[best])]
    else:
        best = np.argsort(-flat)
    starts, ends = np.unravel_index(best, scores.shape)
    return [
        (int(start), int(end), float(scores[start, end]))
        for start, end in zip(starts, ends, strict=True)
        if allowed[start] and allowed[end]
    ]
