"""Generation: texts that continue a prompt or a conversation, whole or as a stream of pieces."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from mlsrv.errors import InferenceError
from mlsrv.types import Datatype, MetadataTensor, Parameters
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.reading import Given
from mlsrv_huggingface.runners.base import OUTPUT
from mlsrv_huggingface.runners.texts import NEW_TOKENS, TextRunner
from mlsrv_huggingface.task import Task
from mlsrv_huggingface.token_loop import Loop
from mlsrv_huggingface.tokenizing import longest

Finished = tuple[str, str, int]
"""A new text, why it ended, and how many tokens it has."""


class GenerationRunner(TextRunner):
    """Gives ``{"generated_text"}`` for each prompt, or a list of them with ``num_return_sequences``.

    As tensors it gives the new text alone, why it ended, and how many tokens there were.

    Args:
        source, task: as of every runner.
        ends: tokens that end a text.
        stated_tokens: how many tokens the model's own configuration has made, or None.
    """

    def __init__(self, source: Source, task: Task, ends: set[int], stated_tokens: int | None) -> None:
        super().__init__(source, task)
        self._ends = ends
        self._stated_tokens = stated_tokens
        starts = self._tokenizer.bos_token_id
        self._start = min(self._ends, default=0) if starts is None else starts
        self._positions = longest(self._tokenizer, source.facts)

    @property
    def inputs(self) -> list[MetadataTensor]:
        parameters = Parameters("hg_json", optional=True, by_row=False)
        return [
            MetadataTensor("text_input", Datatype.BYTES, [-1], Parameters("str", optional=True)),
            MetadataTensor("messages", Datatype.BYTES, [1], parameters),
        ]

    def run(self, given: Given, wanted: Collection[str]) -> dict[str, Any]:
        self.refuse_logprobs(given.options)
        prompts = self._prompts(given)
        groups = self._made(prompts, given.options)
        texts, reasons, counts = zip(*(group[0] for group in groups), strict=True)
        tensors = self.tensors_of(list(texts), list(reasons), [len(one) for one in prompts], list(counts))
        return {OUTPUT: self._answers(given, groups) if OUTPUT in wanted else None, **tensors}

    def stream(self, given: Given) -> Iterator[dict[str, Any]]:
        options = given.options
        self.refuse_several(options, "a stream")
        with self.lock:
            prompts = self._prompts(given)
            self.only_prompt(len(prompts))
            limit = self._limit(len(prompts[0]), options)
            loop = self._loop(prompts[0], options)
        yield from self.written(loop, len(prompts[0]), limit, options, self.lock)

    @abstractmethod
    def _made(self, prompts: Sequence[list[int]], options: dict[str, Any]) -> list[list[Finished]]:
        """Return the texts that follow each prompt: one, or as many as the options ask for."""

    @abstractmethod
    def _loop(self, prompt: list[int], options: dict[str, Any]) -> Loop:
        """Return what makes the tokens after a prompt."""

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
            wanted = self._stated_tokens or NEW_TOKENS
        return int(wanted if self._positions is None else min(wanted, self._positions - prompt))
