"""Sequence to sequence: texts made of texts, by an encoder and a decoder.

transformers has no such tasks since version 5. The answers are those of its version 4, whose defaults were
256 new tokens and a search with 4 beams.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from mlsrv.errors import InferenceError
from mlsrv_huggingface.generate import ends_early, generation_arguments, seeded
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.reading import Given
from mlsrv_huggingface.runners.base import OUTPUT
from mlsrv_huggingface.runners.texts import NEW_TOKENS, TextRunner
from mlsrv_huggingface.task import Task
from mlsrv_huggingface.text_stream import cut_at
from mlsrv_huggingface.token_loop import SequenceLoop, end_tokens
from mlsrv_huggingface.tokenizing import longest

_KEYS = {"summarization": "summary_text", "translation": "translation_text"}
_BEAMS = 4


class SequenceRunner(TextRunner):
    """Gives ``{"summary_text"}``, ``{"translation_text"}`` or ``{"generated_text"}`` for each text, or a list
    of them with ``num_return_sequences``. A stream searches with one beam."""

    def __init__(self, source: Source, task: Task) -> None:
        super().__init__(source, task)
        self._torch = source.torch()
        self._model = source.model("AutoModelForSeq2SeqLM")
        self._ends = end_tokens(self._model)
        self._key = _KEYS.get(task.name, "generated_text")
        config = source.config.to_dict()
        self._longest = longest(self._tokenizer, config)
        stated = source.facts.get("task_specific_params") or {}
        own = stated.get(task.name + source.options.task_suffix) or {}
        self._prefix = str(own.get("prefix") or source.facts.get("prefix") or "")
        self._defaults = {key: own[key] for key in task.options if key in own}
        suffix = source.options.task_suffix.strip("_").split("_to_")
        self._languages = suffix if task.name == "translation" and len(suffix) == 2 else [None, None]

    def run(self, given: Given, wanted: Collection[str]) -> dict[str, Any]:
        self.refuse_logprobs(given.options)
        options = {**self._defaults, **given.options}
        count = options.get("num_return_sequences", 1)
        encoded, languages = self._encode(given.rows, options)
        arguments = generation_arguments(self._model, options)
        if "num_beams" not in options and not arguments.get("do_sample"):
            stated = self._model.generation_config.num_beams
            arguments["num_beams"] = stated if stated not in (None, 1) else max(_BEAMS, count)
        if "max_new_tokens" not in arguments and "max_length" not in arguments and self._has_no_length:
            arguments["max_new_tokens"] = NEW_TOKENS
        stops = options.get("stop", ())
        try:
            with self._torch.inference_mode(), seeded(self._torch, options.get("seed")):
                made = self._model.generate(**encoded, **arguments, **languages, **self._ending(stops))
        except ValueError as error:
            raise InferenceError(f"Model {self.name}: {' '.join(str(error).split())[:300]}") from error
        decoded = self._tokenizer.batch_decode(made, skip_special_tokens=True)
        texts, stopped = zip(*(cut_at(text, stops) for text in decoded), strict=True)
        answers = [{self._key: text} for text in texts]
        grouped = [answers[start : start + count] for start in range(0, len(answers), count)]
        ended = [
            self._ended(row, was_stopped) for row, was_stopped in zip(made.tolist(), stopped, strict=True)
        ][::count]
        tensors = self.tensors_of(
            list(texts[::count]),
            [reason for reason, _ in ended],
            encoded["attention_mask"].sum(dim=1).tolist(),
            [tokens for _, tokens in ended],
        )
        return {OUTPUT: answers if count == 1 else grouped, **tensors}

    def stream(self, given: Given) -> Iterator[dict[str, Any]]:
        self.refuse_several(given.options, "a stream")
        self.only_prompt(len(given.rows))
        options = {**self._defaults, **given.options}
        with self.lock:
            encoded, languages = self._encode(given.rows, options)
            loop = SequenceLoop(
                self._torch,
                self._model,
                encoded,
                options,
                options.get("logprobs"),
                languages.get("forced_bos_token_id"),
            )
        prompt = encoded["input_ids"].shape[1]
        yield from self.written(loop, prompt, self._limit(options), options, self.lock)

    def _limit(self, options: dict[str, Any]) -> int:
        """Return how many tokens a stream may have."""
        if "max_new_tokens" in options:
            return int(options["max_new_tokens"])
        config = self._model.generation_config
        # The token that begins a text counts towards its length.
        stated = options.get("max_length") or (None if self._has_no_length else config.max_length)
        return int(config.max_new_tokens or NEW_TOKENS) if stated is None else max(1, int(stated) - 1)

    def _ended(self, row: list[int], was_stopped: bool) -> tuple[str, int]:
        """Return why a text ended, and how many tokens it has, from those behind the one that begins it."""
        ends = next((index for index, token in enumerate(row[1:], 1) if token in self._ends), None)
        reason = "length" if ends is None and not was_stopped else "stop"
        return reason, len(row) - 1 if ends is None else ends

    def _ending(self, stops: Sequence[str]) -> dict[str, Any]:
        """Return what ends a whole text early: a stop text, or a request that was given up."""
        found = ends_early()
        if stops:
            from transformers import StoppingCriteriaList, StopStringCriteria

            # Not by arguments of ``generate``: transformers 4 would hand them to a model with an encoder.
            criteria = [*found.get("stopping_criteria", ()), StopStringCriteria(self._tokenizer, list(stops))]
            found["stopping_criteria"] = StoppingCriteriaList(criteria)
        return found

    @property
    def _has_no_length(self) -> bool:
        config = self._model.generation_config
        return config.max_new_tokens is None and config.max_length in (None, 20)

    def _encode(self, rows: list[str], options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        texts = [self._prefix + text for text in rows]
        cuts = options.get("truncation", self.source.options.truncation)
        source_language = options.get("src_lang", self._languages[0])
        target_language = options.get("tgt_lang", self._languages[1])
        extra: dict[str, Any] = {}
        tokenizer = self._tokenizer
        if hasattr(tokenizer, "_build_translation_inputs"):
            if source_language is None or target_language is None:
                raise InferenceError(
                    f'Model {self.name} knows many languages: give the options "src_lang" and "tgt_lang", or '
                    "the setting task_suffix."
                )
            tokenizer.src_lang = source_language
            extra["forced_bos_token_id"] = tokenizer.convert_tokens_to_ids(target_language)
        encoded = tokenizer(
            texts,
            padding=len(texts) > 1,
            truncation=cuts,
            max_length=self._longest if cuts else None,
            return_tensors="pt",
            verbose=False,
        )
        if self._longest is not None and encoded["input_ids"].shape[1] > self._longest:
            raise InferenceError(
                f"Model {self.name} takes {self._longest} tokens, but a text has "
                f"{encoded['input_ids'].shape[1]}; "
                "send a shorter one, or let it be cut (truncation)."
            )
        names = ("input_ids", "attention_mask")
        return {name: encoded[name].to(self.source.device) for name in names}, extra
