"""Generation: texts that continue a prompt or a conversation, whole or as a stream of pieces."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from mlsrv.context import current_context
from mlsrv.errors import InferenceError, ModelLoadError
from mlsrv.types import Datatype, InferenceRequest, MetadataTensor, Parameters
from mlsrv_huggingface.generate import ends_early, generation_arguments, seeded
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.reading import Given
from mlsrv_huggingface.runners.base import OUTPUT, Runner
from mlsrv_huggingface.task import Task
from mlsrv_huggingface.text_stream import TextStream, cut_at
from mlsrv_huggingface.token_loop import Token, TokenLoop, end_tokens, penalty_of
from mlsrv_huggingface.tokenizing import longest

_NEW_TOKENS = 256
"""Tokens that are made at most, where neither the request nor the model says how many."""
_PLAIN = ("text_input", "messages")
"""Inputs whose requests want the text alone."""


class GenerationRunner(Runner):
    """Gives ``{"generated_text"}`` for each prompt, or a list of them with ``num_return_sequences``.

    As tensors it gives the new text alone, why it ended, and how many tokens there were.
    """

    def __init__(self, source: Source, task: Task) -> None:
        super().__init__(source, task)
        if source.options.optimum_model:
            raise ModelLoadError(
                f"Model {source.name}: text generation with ONNX Runtime is not supported; leave "
                "parameters.extra.optimum_model out."
            )
        self._torch = source.torch()
        self._model = source.model("AutoModelForCausalLM")
        self._tokenizer = source.tokenizer
        self._ends = end_tokens(self._model)
        self._pad = self._tokenizer.pad_token_id
        if self._pad is None:
            self._pad = min(self._ends, default=0)
        starts = self._tokenizer.bos_token_id
        self._start = min(self._ends, default=0) if starts is None else starts
        self._positions = longest(self._tokenizer, source.config.to_dict())
        texts = Parameters("str")
        self.tensors = (
            MetadataTensor("text_output", Datatype.BYTES, [-1], texts),
            MetadataTensor("finish_reason", Datatype.BYTES, [-1], texts),
            MetadataTensor("prompt_tokens", Datatype.INT64, [-1]),
            MetadataTensor("completion_tokens", Datatype.INT64, [-1]),
            MetadataTensor("logprobs", Datatype.BYTES, [-1], Parameters("hg_jsonlist")),
        )

    @property
    def inputs(self) -> list[MetadataTensor]:
        parameters = Parameters("hg_json", optional=True, by_row=False)
        return [
            MetadataTensor("text_input", Datatype.BYTES, [-1], Parameters("str", optional=True)),
            MetadataTensor("messages", Datatype.BYTES, [1], parameters),
        ]

    def default_outputs(self, request: InferenceRequest, tensors: bool) -> list[str]:
        if tensors or any(tensor.name in _PLAIN for tensor in request.inputs):
            return [tensor.name for tensor in self.tensors[:4]]
        return [OUTPUT]

    # --- whole texts ----------------------------------------------------------------------------------------

    def run(self, given: Given, wanted: Collection[str]) -> dict[str, Any]:
        options = given.options
        if "logprobs" in options:
            raise InferenceError(f'Model {self.name}: the option "logprobs" is for streams.')
        prompts = self._prompts(given)
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
        groups = [every[start : start + count] for start in range(0, len(every), count)]
        firsts = [group[0] for group in groups]
        return {
            OUTPUT: self._answers(given, groups) if OUTPUT in wanted else None,
            "text_output": [text for text, _, _ in firsts],
            "finish_reason": [reason for _, reason, _ in firsts],
            "prompt_tokens": np.array([len(prompt) for prompt in prompts], np.int64),
            "completion_tokens": np.array([tokens for _, _, tokens in firsts], np.int64),
        }

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

    def _finished(self, prompt: Sequence[int], made: list[int], stops: Sequence[str]) -> tuple[str, str, int]:
        """Return the new text, why it ended, and how many tokens it has."""
        ends = next((index for index, token in enumerate(made) if token in self._ends), None)
        kept = made if ends is None else made[:ends]
        before = self._decode(list(prompt))
        text, stopped = cut_at(self._decode([*prompt, *kept])[len(before) :], stops)
        reason = "stop" if ends is not None or stopped else "length"
        return text, reason, len(kept) + (ends is not None)

    def _answers(self, given: Given, groups: Sequence[Sequence[tuple[str, str, int]]]) -> list[Any]:
        is_full = given.options.get("return_full_text", True)
        answers: list[Any] = []
        for index, group in enumerate(groups):
            found = []
            for text, _, _ in group:
                told: Any = text
                if given.chat is not None and is_full:
                    told = [*given.chat, {"role": "assistant", "content": text}]
                elif given.chat is None and is_full:
                    told = given.rows[index] + text
                found.append({"generated_text": told})
            answers.append(found[0] if len(found) == 1 else found)
        return answers

    # --- streams --------------------------------------------------------------------------------------------

    def stream(self, given: Given) -> Iterator[dict[str, Any]]:
        options = given.options
        for name in ("num_beams", "num_return_sequences"):
            if options.get(name, 1) != 1:
                raise InferenceError(f'Model {self.name}: a stream has one text; leave "{name}" out.')
        with self.lock:
            prompts = self._prompts(given)
            if len(prompts) != 1:
                raise InferenceError(
                    f"Model {self.name}: a stream takes one prompt, not {len(prompts)}; send each by itself."
                )
            limit = self._limit(len(prompts[0]), options)
            loop = TokenLoop(self._torch, self._model, prompts[0], options, options.get("logprobs"))
        pieces = TextStream(self._decode, options.get("stop", ()))
        count, reason = 0, "length"
        told: list[dict[str, Any]] = []
        while count < limit:
            if (context := current_context.get()) is not None:
                context.check()
            with self.lock:
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
                yield self._piece(piece + pieces.end(), reason, len(prompts[0]), count, told)
                return
            if piece:
                yield self._piece(piece, "", len(prompts[0]), count, told)
                told = []
        yield self._piece(pieces.end(), reason, len(prompts[0]), count, told)

    def _piece(
        self, text: str, reason: str, prompt: int, count: int, told: list[dict[str, Any]]
    ) -> dict[str, Any]:
        made: dict[str, Any] = {
            "text_output": [text],
            "finish_reason": [reason],
            "prompt_tokens": np.array([prompt], np.int64),
            "completion_tokens": np.array([count], np.int64),
        }
        return made | ({"logprobs": [json.dumps(told)]} if told else {})

    def _probability(self, token: Token) -> dict[str, Any]:
        return {
            "token": self._tokenizer.decode([token.id]),
            "logprob": token.logprob,
            "top": [{"token": self._tokenizer.decode([one]), "logprob": value} for one, value in token.top],
        }

    # --- prompts --------------------------------------------------------------------------------------------

    def _prompts(self, given: Given) -> list[list[int]]:
        """Return the tokens of each prompt. Raises `InferenceError` for one that is empty or too long."""
        if given.chat is not None:
            found = [self._chat(given.chat)]
        else:
            found = self._tokenizer(list(given.rows), verbose=False)["input_ids"]
        prompts = [list(ids) or [self._start] for ids in found]
        for index, prompt in enumerate(prompts):
            if self._positions is not None and len(prompt) >= self._positions:
                raise InferenceError(
                    f"Model {self.name}: prompt {index} has {len(prompt)} tokens, which leaves no "
                    "room for new "
                    f"ones: the model has {self._positions} positions."
                )
        return prompts

    def _chat(self, messages: list[dict[str, Any]]) -> list[int]:
        if not self._tokenizer.chat_template:
            raise InferenceError(
                f"Model {self.name} takes no conversations: its tokenizer has no chat template; send "
                "a prompt."
            )
        try:
            text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # templates raise what they like
            why = " ".join(str(error).split())[:200].rstrip(".")
            raise InferenceError(
                f"Model {self.name}: its chat template refuses the messages: {why}."
            ) from error
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _limit(self, prompt: int, options: dict[str, Any]) -> int:
        """Return how many tokens may be made after a prompt of so many."""
        wanted = options.get("max_new_tokens")
        if wanted is None and "max_length" in options:
            wanted = max(1, options["max_length"] - prompt)
        if wanted is None:
            wanted = self._model.generation_config.max_new_tokens or _NEW_TOKENS
        return int(wanted if self._positions is None else min(wanted, self._positions - prompt))

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))
