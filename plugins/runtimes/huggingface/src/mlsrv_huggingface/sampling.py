"""Sampling: chooses tokens by their scores, with NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlsrv_huggingface.generate import samples

_TOP_K = 50
"""What sampling leaves by default, as in transformers."""


class Sampler:
    """Chooses the likeliest token, or draws one, as the options say; with the rules of transformers.

    Args:
        options: of the request.
        defaults: the model's own, from its ``generation_config.json``.
        prompt: how many tokens the prompt has.
        ends: tokens that end a text.
    """

    def __init__(
        self, options: Mapping[str, Any], defaults: Mapping[str, Any], prompt: int, ends: set[int]
    ) -> None:
        self._options = options
        self._defaults = defaults
        self._prompt = prompt
        self._ends = sorted(ends)
        self._draws = samples(dict(options))
        self._random = np.random.default_rng(options.get("seed"))

    def choose(self, ids: Sequence[int], scores: Any) -> int:
        """Return the next token.

        Args:
            ids: tokens so far, those of the prompt first.
            scores: float32 [tokens], logits of the model.
        """
        scores = self._penalised(ids, scores.astype(np.float64))
        if not self._draws:
            return int(scores.argmax())
        chances = self._warped(scores)
        return int(self._random.choice(len(chances), p=chances))

    def _option(self, name: str, neutral: Any) -> Any:
        value = self._options.get(name, self._defaults.get(name))
        return neutral if value is None else value

    def _penalised(self, ids: Sequence[int], scores: Any) -> Any:
        """Return the scores after what counts with and without draws."""
        made = list(ids[self._prompt :])
        if (penalty := self._option("repetition_penalty", 1.0)) != 1.0:
            seen = np.unique(ids)
            old = scores[seen]
            scores[seen] = np.where(old < 0, old * penalty, old / penalty)
        if size := self._option("no_repeat_ngram_size", 0):
            scores[_repeating(ids, size)] = -np.inf
        if len(made) < self._option("min_new_tokens", 0):
            scores[self._ends] = -np.inf
        frequency = self._options.get("frequency_penalty", 0.0)
        presence = self._options.get("presence_penalty", 0.0)
        if made and (frequency or presence):
            tokens, counts = np.unique(made, return_counts=True)
            scores[tokens] -= counts * frequency + presence
        return scores

    def _warped(self, scores: Any) -> Any:
        """Return the chances of all tokens, of which temperature and limits leave some."""
        scores = scores / self._option("temperature", 1.0)
        count = self._option("top_k", _TOP_K)
        if 0 < count < len(scores):
            scores = np.where(scores < np.partition(scores, -count)[-count], -np.inf, scores)
        if (most := self._option("top_p", 1.0)) < 1.0:
            order = np.argsort(-scores, kind="stable")
            before = np.cumsum(_softmax(scores)[order]) - _softmax(scores)[order]
            scores[order[1:][before[1:] >= most]] = -np.inf
        if least := self._option("min_p", 0.0):
            chances = _softmax(scores)
            scores = np.where(chances < least * chances.max(), -np.inf, scores)
        return _softmax(scores)


def log_softmax(scores: Any) -> Any:
    """Return the natural logarithms of the probabilities of scores [tokens]."""
    shifted = scores.astype(np.float64) - scores.max()
    return shifted - np.log(np.exp(shifted).sum())


def _softmax(scores: Any) -> Any:
    made = np.exp(scores - scores.max())
    return made / made.sum()


def _repeating(ids: Sequence[int], size: int) -> list[int]:
    """Return the tokens that would make a sequence of so many tokens a second time."""
    last = tuple(ids[len(ids) - size + 1 :])
    starts = range(len(ids) - size + 1)
    return [ids[start + size - 1] for start in starts if tuple(ids[start : start + size - 1]) == last]
