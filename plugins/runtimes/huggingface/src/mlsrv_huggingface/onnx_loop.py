"""ONNX loop: makes one token after the other with an exported graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlsrv.errors import ModelLoadError
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.onnx_session import absent, open_session
from mlsrv_huggingface.sampling import Sampler, log_softmax
from mlsrv_huggingface.token_loop import Loop, Token

_PAST = "past_key_values"
_NUMBERS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxWriter:
    """An exported graph that continues texts: with a memory of earlier tokens (inputs ``past_key_values.…``
    and outputs ``present.…``, as optimum exports it), or without one, when it reads everything again.

    Args:
        source: of the model.
        path: the file.

    Raises:
        ModelLoadError: ONNX Runtime is not installed, or the file is no such graph.
    """

    def __init__(self, source: Source, path: Path) -> None:
        self._name = source.name
        self._session = open_session(source.name, source.options, path)
        self._inputs = {node.name: node for node in self._session.get_inputs()}
        self._outputs = [node.name for node in self._session.get_outputs()]
        self._memory = [name for name in self._inputs if name.startswith(_PAST)]
        if "logits" not in self._outputs or "input_ids" not in self._inputs:
            raise ModelLoadError(
                f"Model {source.name}: {path} is no export of a model that continues texts "
                "(input_ids, logits)."
            )
        for name in self._memory:
            if self._inputs[name].type not in _NUMBERS or self._present(name) not in self._outputs:
                raise ModelLoadError(
                    f"Model {source.name}: {path} has a memory {name} that is not supported."
                )

    @property
    def remembers(self) -> bool:
        """True if earlier tokens need not be read again."""
        return bool(self._memory)

    def empty(self) -> dict[str, Any]:
        """Return the memory of no tokens."""
        found = {}
        for name in self._memory:
            node = self._inputs[name]
            shape = [length if isinstance(length, int) else 0 for length in node.shape]
            found[name] = np.zeros([1, *shape[1:]], _NUMBERS[node.type])
        return found

    def scores(self, ids: Sequence[int], memory: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return the scores float32 [tokens] of what follows tokens, and the memory of all of them.

        Args:
            ids: all tokens.
            memory: of those before; the rest are read.
        """
        known = next(iter(memory.values())).shape[2] if memory else 0
        new = np.array([ids[known:]], np.int64)
        feeds: dict[str, Any] = {
            "input_ids": new,
            "attention_mask": np.ones((1, len(ids)), np.int64),
            "position_ids": np.arange(known, len(ids), dtype=np.int64)[np.newaxis],
            "use_cache_branch": np.array([known > 0]),
            **memory,
        }
        given = {
            name: feeds[name] if name in feeds else absent(self._name, name, new) for name in self._inputs
        }
        found = dict(zip(self._outputs, self._session.run(self._outputs, given), strict=True))
        after = {name: found[self._present(name)] for name in self._memory}
        return found["logits"][0, -1].astype(np.float32), after

    def _present(self, name: str) -> str:
        return name.replace(_PAST, "present", 1)


class OnnxLoop(Loop):
    """Makes tokens that continue a prompt.

    Args:
        writer: the graph.
        ids: the tokens of the prompt.
        sampler: chooses.
        logprobs: how many of the likeliest tokens each token names; None for no probabilities.
    """

    def __init__(
        self, writer: OnnxWriter, ids: Sequence[int], sampler: Sampler, logprobs: int | None = None
    ) -> None:
        self._writer = writer
        self._ids = list(ids)
        self._sampler = sampler
        self._logprobs = logprobs
        self._memory = writer.empty()

    def next(self) -> Token:
        scores, self._memory = self._writer.scores(self._ids, self._memory)
        token = self._sampler.choose(self._ids, scores)
        self._ids.append(token)
        if self._logprobs is None:
            return Token(token)
        logs = log_softmax(scores)
        best = np.argsort(-logs, kind="stable")[: self._logprobs]
        return Token(token, float(logs[token]), tuple((int(one), float(logs[one])) for one in best))
