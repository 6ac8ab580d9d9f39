"""Tokenizing: texts to numbered tokens, and into batches of nearly equal lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from mlsrv.errors import InferenceError

_ROBERTAS = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer", "xmod", "data2vec-text")
"""Types of models that number positions from the padding token on, two later than others."""

MAX_TOKENS = 8192
"""Tokens, padding included, that go through a model at once."""
_SPREAD = 1.25
"""How much longer than its shortest text the longest of a batch may be."""


@frozen
class Tokens:
    """The tokens of one text or pair of texts.

    Attributes:
        columns: the model's inputs by name (``input_ids``, ``attention_mask``, …), a list of integers each.
    """

    columns: dict[str, list[int]]

    def __len__(self) -> int:
        return len(self.columns["input_ids"])


class Tokenizing:
    """A tokenizer with what a model takes.

    A tokenizer keeps the last padding and truncation that it was told: only one thread at a time may use it.

    Args:
        model: name of the model, for messages.
        tokenizer: of transformers.
        config: the model's configuration, as plain values.
        truncation: whether texts that are too long are cut, unless a request says so.
        max_length: further limit of the tokens of a text.
    """

    def __init__(
        self,
        model: str,
        tokenizer: Any,
        config: dict[str, Any],
        truncation: bool,
        max_length: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self._model = model
        self._truncation = truncation
        self.max_length = longest(tokenizer, config, max_length)

    def __call__(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        truncation: bool | None = None,
        max_length: int | None = None,
    ) -> list[Tokens]:
        """Return the tokens of texts, or of pairs of texts.

        Raises:
            InferenceError: a text is too long, and is not to be cut.
        """
        if not texts:
            return []
        limit = min(value for value in (max_length, self.max_length, 1 << 30) if value is not None)
        cuts = self._truncation if truncation is None else truncation
        found = self.tokenizer(
            list(texts),
            None if pairs is None else list(pairs),
            truncation=cuts,
            max_length=limit if cuts else None,
            verbose=False,
        )
        names = [name for name in found if name in self.tokenizer.model_input_names]
        made = [
            Tokens(dict(zip(names, columns, strict=True)))
            for columns in zip(*(found[name] for name in names), strict=True)
        ]
        for index, tokens in enumerate(made):
            if len(tokens) > limit:
                raise InferenceError(
                    f"Model {self._model}: text {index} has {len(tokens)} tokens, but the model takes "
                    f"{limit}; "
                    "send a shorter one, or let it be cut (truncation)."
                )
        return made

    def batches(self, tokens: Sequence[Tokens]) -> Iterator[tuple[list[int], dict[str, Any]]]:
        """Yield batches: the indices of their texts, and the arrays of their tokens, padded.

        Texts of similar lengths go together, so that a long one does not pad many short ones.
        """
        alone = self.tokenizer.pad_token_id is None
        for indices in grouped([len(one) for one in tokens], alone):
            yield indices, self._padded([tokens[index] for index in indices])

    def _padded(self, tokens: Sequence[Tokens]) -> dict[str, Any]:
        width = max(len(one) for one in tokens)
        fill = {
            "input_ids": self.tokenizer.pad_token_id or 0,
            "token_type_ids": getattr(self.tokenizer, "pad_token_type_id", 0) or 0,
        }
        left = self.tokenizer.padding_side == "left"
        arrays = {}
        for name in tokens[0].columns:
            array = np.full((len(tokens), width), fill.get(name, 0), np.int64)
            for row, one in zip(array, tokens, strict=True):
                column = one.columns[name]
                row[width - len(column) if left else 0 : width if left else len(column)] = column
            arrays[name] = array
        return arrays


def grouped(lengths: Sequence[int], alone: bool = False, budget: int = MAX_TOKENS) -> Iterator[list[int]]:
    """Yield the indices of texts that go through a model together, the shortest first.

    Args:
        lengths: tokens of each text.
        alone: whether each text goes by itself.
        budget: tokens of a batch, padding included; one text may have more.
    """
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if group:
            shortest, longest_now = lengths[group[0]], lengths[index]
            is_full = longest_now * (len(group) + 1) > budget
            if alone or is_full or longest_now > max(shortest * _SPREAD, shortest + 4):
                yield group
                group = []
        group.append(index)
    if group:
        yield group


def longest(tokenizer: Any, config: dict[str, Any], further: int | None = None) -> int | None:
    """Return how many tokens a text may have, special ones included; None if nothing says so."""
    limits = [further] if further else []
    stated = getattr(tokenizer, "model_max_length", None)
    if isinstance(stated, int) and stated < 1 << 30:
        limits.append(stated)
    positions = positions_of(config)
    if positions is not None:
        limits.append(positions)
    return min(limits, default=None)


def positions_of(config: dict[str, Any]) -> int | None:
    """Return the positions of a model; None if its configuration does not say."""
    for key in ("max_position_embeddings", "n_positions", "max_seq_len"):
        value = config.get(key)
        if isinstance(value, int) and value > 0:
            return value - 2 if config.get("model_type") in _ROBERTAS else value
    return None
