"""Costs: the tokens of requests, counted in the server's process for batches that are limited by them."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv.types import Datatype, InferenceRequest
from mlsrv_huggingface.configuration import options_of
from mlsrv_huggingface.location import model_folder, read_json, tokenizer_folder
from mlsrv_huggingface.tokenizing import positions_of

_LONGEST = 8192
"""Tokens of a text that count, where the model does not say how many it takes."""
_CHARACTERS = 16
"""Characters that one token has at most, on average: what is beyond that is cut before it is counted."""


class TokenCounter:
    """Counts the tokens of all texts of a request, as the model gets them: each up to its limit.

    Args:
        settings: of the model, whose folder has a ``tokenizer.json``.

    Raises:
        ModelLoadError: it has none.
    """

    def __init__(self, settings: ModelSettings) -> None:
        options = options_of(settings)
        folder = model_folder(settings, options)
        path = tokenizer_folder(settings, options, folder) / "tokenizer.json"
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # the library has no class for it
            raise ModelLoadError(
                f"Model {settings.name}: max_batch_tokens needs a fast tokenizer, but {path} cannot be read "
                f"({error})."
            ) from error
        stated = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
        limits = [stated, positions_of(read_json(folder / "config.json")), _LONGEST]
        self._longest = min(limit for limit in limits if isinstance(limit, int))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._longest)

    def __call__(self, request: InferenceRequest) -> int:
        """Return the tokens of a request; the elements of numeric tensors count as nothing."""
        cut = self._longest * _CHARACTERS
        texts = [
            (one.decode(errors="replace") if isinstance(one, bytes) else str(one))[:cut]
            for tensor in request.inputs
            if tensor.datatype is Datatype.BYTES and isinstance(tensor.data, list)
            for one in tensor.data
        ]
        return sum(len(found.ids) for found in self._tokenizer.encode_batch_fast(texts))
