"""Torch generation: texts that continue a prompt, by a model in PyTorch, or one that acts like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlsrv.errors import InferenceError
from mlsrv_huggingface.generate import ends_early, generation_arguments, seeded
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.runners.generation import Finished, GenerationRunner
from mlsrv_huggingface.task import Task
from mlsrv_huggingface.text_stream import cut_at
from mlsrv_huggingface.token_loop import Loop, TokenLoop, end_tokens, penalty_of


class TorchGenerationRunner(GenerationRunner):
    """Generates with ``generate`` of transformers, and streams token by token."""

    def __init__(self, source: Source, task: Task) -> None:
        self._torch = source.torch()
        self._model = source.model("AutoModelForCausalLM")
        super().__init__(source, task, end_tokens(self._model), self._model.generation_config.max_new_tokens)
        self._pad = self._tokenizer.pad_token_id
        if self._pad is None:
            self._pad = min(self._ends, default=0)

    def _loop(self, prompt: list[int], options: dict[str, Any]) -> Loop:
        return TokenLoop(self._torch, self._model, prompt, options, options.get("logprobs"))

    def _made(self, prompts: Sequence[list[int]], options: dict[str, Any]) -> list[list[Finished]]:
        width = max(len(prompt) for prompt in prompts)
        arguments = generation_arguments(self._model, options)
        arguments.pop("max_length", None)
        arguments["max_new_tokens"] = self._limit(width, options)
        if stops := options.get("stop"):
            arguments |= {"stop_strings": stops, "tokenizer": self._tokenizer}
        made = self._generate(self._padded(prompts, width), arguments, options, width)
        count = options.get("num_return_sequences", 1)
        every = [
            self._finished(prompts[index // count], row[width:].tolist(), stops or ())
            for index, row in enumerate(made)
        ]
        return [every[start : start + count] for start in range(0, len(every), count)]

    def _generate(
        self, encoded: dict[str, Any], arguments: dict[str, Any], options: dict[str, Any], width: int
    ) -> Any:
        if penalties := penalty_of(self._torch, options, width):
            arguments["logits_processor"] = penalties
        try:
            with self._torch.inference_mode(), seeded(self._torch, options.get("seed")):
                return self._model.generate(
                    **encoded, **arguments, pad_token_id=self._pad, **ends_early()
                ).cpu()
        except ValueError as error:
            raise InferenceError(f"Model {self.name}: {' '.join(str(error).split())[:300]}") from error

    def _padded(self, prompts: Sequence[Sequence[int]], width: int) -> dict[str, Any]:
        # On the left: the new tokens must follow the prompt.
        ids = np.full((len(prompts), width), self._pad, np.int64)
        mask = np.zeros_like(ids)
        for row, kept, prompt in zip(ids, mask, prompts, strict=True):
            row[width - len(prompt) :] = prompt
            kept[width - len(prompt) :] = 1
        to = self.source.device
        return {
            "input_ids": self._torch.from_numpy(ids).to(to),
            "attention_mask": self._torch.from_numpy(mask).to(to),
        }

    def _finished(self, prompt: Sequence[int], made: list[int], stops: Sequence[str]) -> Finished:
        """Return the new text, why it ended, and how many tokens it has."""
        ends = next((index for index, token in enumerate(made) if token in self._ends), None)
        kept = made if ends is None else made[:ends]
        before = self._decode(list(prompt))
        text, stopped = cut_at(self._decode([*prompt, *kept])[len(before) :], stops)
        reason = "stop" if ends is not None or stopped else "length"
        return text, reason, len(kept) + (ends is not None)
