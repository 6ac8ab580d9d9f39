"""Answers: bodies and events in the form of OpenAI."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import define

from mlsrv_openai.tensors import Piece

DONE = b"data: [DONE]\n\n"


def event(body: dict[str, Any]) -> bytes:
    """Return a server-sent event."""
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


@define
class Frame:
    """Frame of all bodies of one answer.

    Attributes:
        id: of the request, with the prefix that clients know.
        model: as the client named it.
        created: seconds since 1970.
        chat: whether it is an answer in a conversation.
    """

    id: str
    model: str
    created: int
    chat: bool

    def body(self, choices: Sequence[dict[str, Any]], is_chunk: bool = False) -> dict[str, Any]:
        """Return a body with choices."""
        kind = "text_completion"
        if self.chat:
            kind = "chat.completion.chunk" if is_chunk else "chat.completion"
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": list(choices),
        }

    def whole(self, index: int, text: str, reason: str, told: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the choice with a whole text."""
        choice: dict[str, Any] = {"index": index, "finish_reason": reason or "stop"}
        if self.chat:
            choice["message"] = {"role": "assistant", "content": text, "refusal": None}
        else:
            choice["text"] = text
        choice["logprobs"] = self._probabilities(told)
        return choice

    def part(self, index: int, piece: Piece | None) -> dict[str, Any]:
        """Return the choice with a piece of a text; without one, that which begins an answer in a
        conversation."""
        choice: dict[str, Any] = {"index": index, "finish_reason": (piece.reason if piece else "") or None}
        if self.chat:
            choice["delta"] = {"content": piece.text} if piece else {"role": "assistant", "content": ""}
        else:
            choice["text"] = piece.text if piece else ""
        choice["logprobs"] = self._probabilities(piece.logprobs if piece else ())
        return choice

    def _probabilities(self, told: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        if not told:
            return None
        if self.chat:
            return {
                "content": [
                    {**_token(one), "top_logprobs": [_token(other) for other in one["top"]]} for one in told
                ],
                "refusal": None,
            }
        starts = np.cumsum([0, *(len(one["token"]) for one in told)]).tolist()
        return {
            "tokens": [one["token"] for one in told],
            "token_logprobs": [one["logprob"] for one in told],
            "top_logprobs": [{other["token"]: other["logprob"] for other in one["top"]} for one in told],
            "text_offset": starts[:-1],
        }


def usage(prompt: int | None, completion: int | None = None) -> dict[str, int]:
    """Return the counts of tokens; what is not known counts as 0."""
    found = {"prompt_tokens": prompt or 0}
    if completion is not None:
        found["completion_tokens"] = completion
    return {**found, "total_tokens": (prompt or 0) + (completion or 0)}


def vectors(array: Any, as_base64: bool, dimensions: int | None) -> list[dict[str, Any]]:
    """Return the embeddings of a float32 array [texts, size], shortened and normalised to `dimensions`."""
    if dimensions is not None and dimensions < array.shape[1]:
        array = array[:, :dimensions]
        array = array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12)
    rows = np.ascontiguousarray(array, "<f4")
    return [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.tobytes()).decode() if as_base64 else row.tolist(),
        }
        for index, row in enumerate(rows)
    ]


def _token(told: dict[str, Any]) -> dict[str, Any]:
    token = told["token"]
    return {"token": token, "logprob": told["logprob"], "bytes": list(token.encode(errors="replace"))}
