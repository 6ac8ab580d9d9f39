"""Texts: what all runners have that make texts token by token."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from mlsrv.context import current_context
from mlsrv.errors import InferenceError
from mlsrv.types import Datatype, InferenceRequest, MetadataTensor, Parameters
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.runners.base import OUTPUT, Runner
from mlsrv_huggingface.task import Task
from mlsrv_huggingface.text_stream import TextStream
from mlsrv_huggingface.token_loop import Loop, Token

NEW_TOKENS = 256
"""Tokens that are made at most, where neither the request nor the model says how many."""
_PLAIN = ("text_input", "messages")
"""Inputs whose requests want the text alone."""


class TextRunner(Runner):
    """Makes texts: as JSON, or as the tensors ``text_output`` and what goes with it, and as streams."""

    def __init__(self, source: Source, task: Task) -> None:
        super().__init__(source, task)
        self._tokenizer = source.tokenizer
        self._ends: set[int] = set()
        texts = Parameters("str")
        self.tensors = (
            MetadataTensor("text_output", Datatype.BYTES, [-1], texts),
            MetadataTensor("finish_reason", Datatype.BYTES, [-1], texts),
            MetadataTensor("prompt_tokens", Datatype.INT64, [-1]),
            MetadataTensor("completion_tokens", Datatype.INT64, [-1]),
            MetadataTensor("logprobs", Datatype.BYTES, [-1], Parameters("hg_jsonlist")),
        )

    def default_outputs(self, request: InferenceRequest, tensors: bool) -> list[str]:
        if tensors or any(tensor.name in _PLAIN for tensor in request.inputs):
            return [tensor.name for tensor in self.tensors[:4]]
        return [OUTPUT]

    def written(
        self, loop: Loop, prompt: int, limit: int, options: dict[str, Any], lock: threading.Lock | None
    ) -> Iterator[dict[str, Any]]:
        """Yield the outputs of a stream, the last with a ``finish_reason``.

        Args:
            loop: makes the tokens.
            prompt: how many tokens there were before.
            limit: how many it makes at most.
            options: of the request.
            lock: held for each token; None if the caller holds it.
        """
        held: AbstractContextManager[Any] = nullcontext() if lock is None else lock
        pieces = TextStream(self._decode, options.get("stop", ()))
        count, reason = 0, "length"
        told: list[dict[str, Any]] = []
        while count < limit:
            if (context := current_context.get()) is not None:
                context.check()
            with held:
                token = loop.next()
            count += 1
            if token.id in self._ends:
                reason = "stop"
                break
            piece = pieces.add(token.id)
            if token.logprob is not None:
                told.append(self._probability(token))
            if pieces.stopped:
                reason = "stop"
            if pieces.stopped or count == limit:
                yield self._piece(piece + pieces.end(), reason, prompt, count, told)
                return
            if piece:
                yield self._piece(piece, "", prompt, count, told)
                told = []
        yield self._piece(pieces.end(), reason, prompt, count, told)

    def tensors_of(self, texts: list[str], reasons: list[str], prompts: list[int], made: list[int]) -> Any:
        """Return the tensors of whole texts."""
        return {
            "text_output": texts,
            "finish_reason": reasons,
            "prompt_tokens": np.array(prompts, np.int64),
            "completion_tokens": np.array(made, np.int64),
        }

    def refuse_several(self, options: dict[str, Any], what: str) -> None:
        """Refuse options that ask for several texts. Raises `InferenceError`."""
        for name in ("num_beams", "num_return_sequences"):
            if options.get(name, 1) != 1:
                raise InferenceError(f'Model {self.name}: {what} has one text; leave "{name}" out.')

    def refuse_logprobs(self, options: dict[str, Any]) -> None:
        """Refuse probabilities of a whole text. Raises `InferenceError`."""
        if "logprobs" in options:
            raise InferenceError(f'Model {self.name}: the option "logprobs" is for streams.')

    def only_prompt(self, count: int) -> None:
        """Refuse a stream of several prompts. Raises `InferenceError`."""
        if count != 1:
            raise InferenceError(
                f"Model {self.name}: a stream takes one prompt, not {count}; send each by itself."
            )

    def _piece(
        self, text: str, reason: str, prompt: int, count: int, told: list[dict[str, Any]]
    ) -> dict[str, Any]:
        made: dict[str, Any] = self.tensors_of([text], [reason], [prompt], [count])
        return made | ({"logprobs": [json.dumps(told)]} if told else {})

    def _probability(self, token: Token) -> dict[str, Any]:
        return {
            "token": self._tokenizer.decode([token.id]),
            "logprob": token.logprob,
            "top": [{"token": self._tokenizer.decode([one]), "logprob": value} for one, value in token.top],
        }

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))
