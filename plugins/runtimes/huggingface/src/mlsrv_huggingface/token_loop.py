"""Token loop: makes one token after the other, so that a caller can stop at any of them."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from mlsrv_huggingface.generate import samples

_TOP_K = 50
"""What sampling leaves by default, in every version of transformers."""


@frozen
class Token:
    """One token that was made.

    Attributes:
        id: its number.
        logprob: natural logarithm of its probability, before sampling options; None if it was not asked for.
        top: the likeliest tokens with theirs.
    """

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Loop(ABC):
    """Makes tokens."""

    @abstractmethod
    def next(self) -> Token:
        """Return the next token."""


class TokenLoop(Loop):
    """Makes tokens that continue a prompt: the likeliest, or drawn ones, as the options say.

    Args:
        torch: the module.
        model: a causal language model of transformers.
        ids: the tokens of the prompt.
        options: those of the request.
        logprobs: how many of the likeliest tokens each token names; None for no probabilities.
    """

    def __init__(
        self, torch: Any, model: Any, ids: Sequence[int], options: dict[str, Any], logprobs: int | None = None
    ) -> None:
        self._torch = torch
        self._model = model
        self._ids = torch.tensor([list(ids)], device=model.device)
        self._prompt = len(ids)
        self._cache: Any = None
        self._cache_name = cache_name(type(model).forward)
        self._logprobs = logprobs
        self._samples = samples(options)
        self._processors = processors_of(torch, model, options, self._prompt, self._samples)
        self._generator = torch.Generator(device=model.device)
        seed = options.get("seed")
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)

    def next(self) -> Token:
        torch = self._torch
        with torch.inference_mode():
            known = self._ids if self._cache is None else self._ids[:, -1:]
            found = self._forward(known)
            # Models with another kind of memory read everything again.
            self._cache = found.get(self._cache_name)
            scores = found.logits[:, -1].float()
            processed = self._processors(self._ids, scores)
            if self._samples:
                chances = torch.softmax(processed, dim=-1)
                made = torch.multinomial(chances, 1, generator=self._generator)
            else:
                made = processed.argmax(dim=-1, keepdim=True)
            self._ids = torch.cat([self._ids, made], dim=1)
            return self._token(int(made), scores)

    def _forward(self, known: Any) -> Any:
        """Return what the model makes of the tokens that it has not seen yet."""
        return self._model(
            input_ids=known,
            attention_mask=self._torch.ones_like(self._ids),
            use_cache=True,
            **{self._cache_name: self._cache},
        )

    def _token(self, number: int, scores: Any) -> Token:
        if self._logprobs is None:
            return Token(number)
        logs = self._torch.log_softmax(scores[0], dim=-1)
        best = logs.topk(min(self._logprobs, len(logs)))
        top = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return Token(number, float(logs[number]), tuple(top))


class SequenceLoop(TokenLoop):
    """Makes the tokens of a text that an encoder has read another text for.

    Args:
        torch, model, options, logprobs: as of `TokenLoop`.
        encoded: tokens of the other text: ``input_ids`` and ``attention_mask``.
        forced: the token that comes first, or None.
    """

    def __init__(
        self,
        torch: Any,
        model: Any,
        encoded: dict[str, Any],
        options: dict[str, Any],
        logprobs: int | None = None,
        forced: int | None = None,
    ) -> None:
        config = model.generation_config
        start = config.decoder_start_token_id
        start = config.bos_token_id if start is None else start
        super().__init__(torch, model, [start], options, logprobs)
        self._processors.extend(_of_sequences(config, forced))
        self._mask = encoded["attention_mask"]
        with torch.inference_mode():
            self._read = model.get_encoder()(**encoded)

    def _forward(self, known: Any) -> Any:
        return self._model(
            encoder_outputs=self._read,
            attention_mask=self._mask,
            decoder_input_ids=known,
            use_cache=True,
            **{self._cache_name: self._cache},
        )


def _of_sequences(config: Any, forced: int | None) -> list[Any]:
    """Return what changes scores beside `processors_of`, for a model with an encoder."""
    import transformers as library

    found: list[Any] = []
    first = config.forced_bos_token_id if forced is None else forced
    ends = config.eos_token_id
    if config.min_length and ends is not None:
        found.append(library.MinLengthLogitsProcessor(config.min_length, ends))
    if first is not None:
        found.append(library.ForcedBOSTokenLogitsProcessor(first))
    return found


@functools.lru_cache(32)
def cache_name(forward: Any) -> str:
    """Return what the method `forward` of a class of models calls its memory of earlier tokens; the name
    changed with transformers 5.24. A signature takes too long to be read for each request."""
    return "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"


def processors_of(torch: Any, model: Any, options: dict[str, Any], prompt: int, draws: bool) -> Any:
    """Return what changes the scores of tokens before one is chosen, in the order of ``generate``.

    Args:
        torch: the module.
        model: its generation configuration has the defaults.
        options: those of the request.
        prompt: tokens of the prompt.
        draws: whether tokens are drawn.
    """
    import transformers as library

    def option(name: str, neutral: Any) -> Any:
        value = options.get(name, getattr(model.generation_config, name, None))
        return None if value is None or value == neutral else value

    made = library.LogitsProcessorList()
    if (value := option("repetition_penalty", 1.0)) is not None:
        made.append(library.RepetitionPenaltyLogitsProcessor(penalty=value))
    if value := option("no_repeat_ngram_size", 0):
        made.append(library.NoRepeatNGramLogitsProcessor(value))
    ends = end_tokens(model)
    if (value := option("min_new_tokens", 0)) and ends:
        made.append(library.MinNewTokensLengthLogitsProcessor(prompt, value, sorted(ends)))
    made += penalty_of(torch, options, prompt)
    if not draws:
        return made
    if (value := option("temperature", 1.0)) is not None:
        made.append(library.TemperatureLogitsWarper(value))
    value = option("top_k", 0)
    made.append(library.TopKLogitsWarper(_TOP_K if value is None else value))
    if (value := option("top_p", 1.0)) is not None:
        made.append(library.TopPLogitsWarper(value))
    if (value := option("min_p", 0.0)) is not None:
        made.append(library.MinPLogitsWarper(value))
    return made


def end_tokens(model: Any) -> set[int]:
    """Return the tokens that end a text."""
    stated = model.generation_config.eos_token_id
    if stated is None:
        stated = getattr(model.config, "eos_token_id", None)
    return set() if stated is None else set(stated) if isinstance(stated, list | tuple) else {int(stated)}


def penalty_of(torch: Any, options: dict[str, Any], prompt: int) -> list[Any]:
    """Return the processor of the frequency and presence penalties, if a request has one."""
    penalties = options.get("frequency_penalty", 0.0), options.get("presence_penalty", 0.0)
    return [_penalty(torch, *penalties, prompt)] if any(penalties) else []


def _penalty(torch: Any, frequency: float, presence: float, prompt: int) -> Any:
    from transformers import LogitsProcessor

    class Penalty(LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            made = input_ids[:, prompt:]
            counts = torch.zeros_like(scores).scatter_add_(1, made, torch.ones_like(made, dtype=scores.dtype))
            return scores - counts * frequency - (counts > 0) * presence

    return Penalty()
