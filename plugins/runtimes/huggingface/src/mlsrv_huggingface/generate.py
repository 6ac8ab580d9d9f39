"""Generate: arguments for ``generate`` of transformers from the options of a request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlsrv.context import current_context

_PASSED = (
    "max_new_tokens",
    "min_new_tokens",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "num_beams",
    "num_return_sequences",
    "length_penalty",
    "early_stopping",
)


def samples(options: dict[str, Any]) -> bool:
    """Return whether tokens are drawn: where a request asks for it, or for what only drawing has."""
    if options.get("temperature") == 0.0:
        return False
    if "do_sample" in options:
        return bool(options["do_sample"])
    return any(name in options for name in ("temperature", "top_k", "top_p", "min_p"))


def generation_arguments(model: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``model.generate`` beside the tokens. Without sampling, unless it is asked."""
    arguments = {name: options[name] for name in _PASSED if name in options}
    arguments["do_sample"] = samples(options)
    if arguments["do_sample"] and options.get("temperature"):
        arguments["temperature"] = options["temperature"]
    if not arguments["do_sample"]:
        for name in ("top_k", "top_p", "min_p"):
            arguments.pop(name, None)
    if "max_length" in options and "max_new_tokens" not in options:
        arguments["max_length"] = options["max_length"]
    return arguments


@contextmanager
def seeded(torch: Any, seed: int | None) -> Iterator[None]:
    """Give the draws inside a seed. The caller sees to it that no other thread draws."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def ends_early() -> dict[str, Any]:
    """Return the argument that ends ``generate`` when the request was given up, or is late."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    context = current_context.get()
    if context is None:
        return {}

    check = context.check

    class GivenUp(StoppingCriteria):
        def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
            check()
            import torch

            return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)

    return {"stopping_criteria": StoppingCriteriaList([GivenUp()])}
