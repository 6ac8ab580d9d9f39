"""Proxy: a model that passes requests on to a server with the API of OpenAI, such as vLLM or llama.cpp."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mlsrv.errors import InferenceError, InputsNotFound, ModelFailed, ModelLoadError
from mlsrv.model import MLModel
from mlsrv.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    ResponseOutput,
)
from mlsrv_openai.upstream import Upstream

SERVES = ("chat", "completions", "embeddings", "rerank")
_NOT_PASSED = frozenset({"timeout", "priority", "sequence_id", "binary_data_output", "logprobs"})
_EXTRAS = ("base_url", "model", "api_key", "api_key_file", "serves")


class ProxyModel(MLModel):
    """Passes on texts, conversations, embeddings and rankings.

    ``parameters.extra``: ``base_url`` (such as ``"http://127.0.0.1:8000/v1"``), ``model`` (its name there,
    else the name here), ``api_key`` or ``api_key_file``, and ``serves``, a list of what the model there
    does: ``chat``, ``completions``, ``embeddings``, ``rerank`` (the first two, if it is not set).
    """

    own_input_checks: ClassVar[bool] = True  # a prompt or a conversation, not both

    async def load(self) -> bool:
        """Open the client; the upstream server need not be there yet.

        Raises:
            ModelLoadError: a setting is missing or wrong.
        """
        extra = self.settings.parameters.extra
        if unknown := [key for key in extra if key not in _EXTRAS]:
            raise self._wrong(unknown[0], f"is unknown; known are {', '.join(_EXTRAS)}")
        url = extra.get("base_url")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise self._wrong("base_url", "must be a URL such as http://127.0.0.1:8000/v1")
        serves = extra.get("serves", list(SERVES[:2]))
        if not isinstance(serves, list) or not serves or not set(serves) <= set(SERVES):
            raise self._wrong("serves", f"must be a list of {', '.join(SERVES)}")
        self._serves = frozenset(serves)
        self._upstream_model = extra.get("model") or self.name
        self._upstream = Upstream(self.name, url, self._key(extra))
        self.inputs = self.inputs or list(_inputs(self._serves))
        self.outputs = self.outputs or list(_outputs(self._serves))
        return True

    async def unload(self) -> bool:
        """Close the connections."""
        await self._upstream.close()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request.

        Raises:
            InferenceError: the upstream server refuses it, or it is none that this model passes on.
            Overloaded, ModelFailed, DeadlineExceeded: as the upstream server.
        """
        texts = self._texts(payload)
        if "query" in texts and "documents" in texts:
            return await self._rank(texts)
        wanted = {output.name for output in payload.outputs or ()}
        if "embeddings" in self._serves and ("embedding" in wanted or not self._makes_texts):
            return await self._embed(texts)
        route, body = self._generation(payload, texts)
        found = await self._upstream.ask(route, body)
        choice = _choice(found)
        if choice is None:
            raise ModelFailed(f"Model {self.name}: the upstream server answered without a choice.")
        message = choice.get("message")
        text = message.get("content") if isinstance(message, dict) else choice.get("text")
        return _piece(str(text or ""), str(choice.get("finish_reason") or ""), found.get("usage"), choice)

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        """Answer each request with the pieces that the upstream server sends. Raises as `predict`."""
        async for payload in payloads:
            if not self._makes_texts:
                yield await self.predict(payload)
                continue
            route, body = self._generation(payload, self._texts(payload))
            body["stream_options"] = {"include_usage": True}
            end: tuple[str, str, dict[str, Any]] | None = None
            usage: Any = None
            async for found in self._upstream.events(route, body):
                usage = found.get("usage") or usage
                choice = _choice(found)
                if choice is None:
                    continue
                delta = choice.get("delta")
                text = str((delta.get("content") if isinstance(delta, dict) else choice.get("text")) or "")
                if choice.get("finish_reason"):
                    # Held back for the counts, which come after it.
                    end = text, str(choice["finish_reason"]), choice
                elif text:
                    yield _piece(text, "", usage, choice)
            if end is not None:
                yield _piece(end[0], end[1], usage, end[2])

    @property
    def _makes_texts(self) -> bool:
        return bool(self._serves & {"chat", "completions"})

    async def _embed(self, texts: dict[str, list[str]]) -> InferenceResponse:
        found = await self._upstream.ask(
            "/embeddings", {"model": self._upstream_model, "input": self._need(texts, "text_input")}
        )
        try:
            rows = sorted(found["data"], key=lambda row: row["index"])
            array = np.array([row["embedding"] for row in rows], np.float32)
            assert array.ndim == 2
        except (KeyError, TypeError, ValueError, AssertionError):
            raise ModelFailed(
                f"Model {self.name}: the upstream server answered without embeddings."
            ) from None
        return InferenceResponse(
            outputs=[
                ResponseOutput("embedding", list(array.shape), Datatype.FP32, array.reshape(-1)),
                _counts("prompt_tokens", _shared(found.get("usage"), len(array))),
            ]
        )

    async def _rank(self, texts: dict[str, list[str]]) -> InferenceResponse:
        if "rerank" not in self._serves:
            raise InferenceError(f"Model {self.name} passes on no rankings (parameters.extra.serves).")
        documents = self._need(texts, "documents")
        query = self._need(texts, "query")[0]
        body = {"model": self._upstream_model, "query": query, "documents": documents}
        found = await self._upstream.ask("/rerank", body)
        scores = np.full(len(documents), np.nan, np.float32)
        try:
            for result in found["results"]:
                scores[result["index"]] = result["relevance_score"]
        except (KeyError, TypeError, IndexError, ValueError):
            raise ModelFailed(f"Model {self.name}: the upstream server answered without scores.") from None
        if np.isnan(scores).any():
            raise ModelFailed(f"Model {self.name}: the upstream server did not rank all documents.")
        counts = _shared(found.get("usage"), len(documents))
        return InferenceResponse(
            outputs=[
                ResponseOutput("scores", [len(scores)], Datatype.FP32, scores),
                _counts("prompt_tokens", counts),
            ]
        )

    def _generation(
        self, payload: InferenceRequest, texts: dict[str, list[str]]
    ) -> tuple[str, dict[str, Any]]:
        """Return the route and the body for a request that wants a text."""
        given = dict(payload.parameters.extra) if payload.parameters is not None else {}
        logprobs = given.get("logprobs")
        passed = {key: value for key, value in given.items() if key not in _NOT_PASSED and value is not None}
        body: dict[str, Any] = {**passed, "model": self._upstream_model}
        if "messages" in texts:
            if "chat" not in self._serves:
                raise InferenceError(
                    f"Model {self.name} passes on no conversations (parameters.extra.serves)."
                )
            try:
                body["messages"] = json.loads(texts["messages"][0])
            except (ValueError, IndexError):
                raise InferenceError(f"Model {self.name}: the input messages must be JSON.") from None
            if logprobs is not None:
                body |= {"logprobs": True, "top_logprobs": logprobs}
            return "/chat/completions", body
        if "completions" not in self._serves:
            raise InferenceError(f"Model {self.name} passes on no prompts; send the input messages.")
        prompts = self._need(texts, "text_input")
        if len(prompts) != 1:
            raise InferenceError(f"Model {self.name} takes one prompt at a time, not {len(prompts)}.")
        if logprobs is not None:
            body["logprobs"] = logprobs
        return "/completions", {**body, "prompt": prompts[0]}

    def _texts(self, payload: InferenceRequest) -> dict[str, list[str]]:
        return {tensor.name: _decoded(self.name, tensor) for tensor in payload.inputs}

    def _need(self, texts: dict[str, list[str]], name: str) -> list[str]:
        if not texts.get(name):
            raise InputsNotFound.missing(self.name, [name], [tensor.name for tensor in self.inputs])
        return texts[name]

    def _key(self, extra: dict[str, Any]) -> str | None:
        path = extra.get("api_key_file")
        if path is None:
            key = extra.get("api_key")
            return None if key is None else str(key)
        folder = self.settings.folder or Path()
        try:
            return (folder / str(path)).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise self._wrong("api_key_file", f"cannot be read ({error.strerror})") from error

    def _wrong(self, key: str, what: str) -> ModelLoadError:
        return ModelLoadError(f"Model {self.name}: parameters.extra.{key} {what}.")


def _inputs(serves: frozenset[str]) -> list[MetadataTensor]:
    found = []
    both = {"chat", "completions"} <= serves
    if serves & {"completions", "embeddings"}:
        found.append(_tensor("text_input", "str", both))
    if "chat" in serves:
        found.append(_tensor("messages", None, both or "embeddings" in serves))
    if "rerank" in serves:
        found += [_tensor(name, "str", len(serves) > 1) for name in ("query", "documents")]
    return found


def _tensor(name: str, content_type: str | None, optional: bool) -> MetadataTensor:
    parameters = Parameters(content_type, optional=True) if optional else Parameters(content_type)
    return MetadataTensor(name, Datatype.BYTES, [1] if name == "messages" else [-1], parameters)


def _outputs(serves: frozenset[str]) -> list[MetadataTensor]:
    found = []
    if serves & {"chat", "completions"}:
        found += [MetadataTensor(name, Datatype.BYTES, [1]) for name in ("text_output", "finish_reason")]
        found += [
            MetadataTensor("completion_tokens", Datatype.INT64, [1]),
            MetadataTensor("logprobs", Datatype.BYTES, [1]),
        ]
    if "embeddings" in serves:
        found.append(MetadataTensor("embedding", Datatype.FP32, [-1, -1]))
    if "rerank" in serves:
        found.append(MetadataTensor("scores", Datatype.FP32, [-1]))
    return [*found, MetadataTensor("prompt_tokens", Datatype.INT64, [-1])]


def _choice(found: dict[str, Any]) -> dict[str, Any] | None:
    choices = found.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _piece(text: str, reason: str, usage: Any, choice: dict[str, Any] | None) -> InferenceResponse:
    outputs = [
        ResponseOutput("text_output", [1], Datatype.BYTES, [text], Parameters("str")),
        ResponseOutput("finish_reason", [1], Datatype.BYTES, [reason], Parameters("str")),
    ]
    if isinstance(usage, dict):
        for name in ("prompt_tokens", "completion_tokens"):
            outputs.append(_counts(name, [int(usage.get(name) or 0)]))
    if told := _probabilities((choice or {}).get("logprobs")):
        outputs.append(ResponseOutput("logprobs", [1], Datatype.BYTES, [json.dumps(told)]))
    return InferenceResponse(outputs=outputs)


def _probabilities(told: Any) -> list[dict[str, Any]]:
    """Return the probabilities of tokens, from either form of OpenAI."""
    if not isinstance(told, dict):
        return []
    if isinstance(told.get("content"), list):
        return [
            {
                "token": one["token"],
                "logprob": one["logprob"],
                "top": [
                    {"token": other["token"], "logprob": other["logprob"]}
                    for other in one.get("top_logprobs") or ()
                ],
            }
            for one in told["content"]
        ]
    tops = told.get("top_logprobs") or [{}] * len(told.get("tokens") or ())
    return [
        {
            "token": token,
            "logprob": logprob,
            "top": [{"token": other, "logprob": value} for other, value in (top or {}).items()],
        }
        for token, logprob, top in zip(
            told.get("tokens") or (), told.get("token_logprobs") or (), tops, strict=False
        )
    ]


def _counts(name: str, values: list[int]) -> ResponseOutput:
    return ResponseOutput(name, [len(values)], Datatype.INT64, np.array(values, np.int64))


def _shared(usage: Any, rows: int) -> list[int]:
    """Return the tokens of each of several texts, of which only the sum is known."""
    total = int(usage.get("prompt_tokens") or 0) if isinstance(usage, dict) else 0
    return [total // rows + (index < total % rows) for index in range(rows)] if rows else []


def _decoded(model: str, tensor: RequestInput) -> list[str]:
    if tensor.datatype is not Datatype.BYTES:
        raise InferenceError(
            f'Model {model}: the input "{tensor.name}" must be BYTES, not {tensor.datatype}.'
        )
    try:
        return [one.decode() if isinstance(one, bytes) else str(one) for one in tensor.to_plain()["data"]]
    except UnicodeDecodeError:
        raise InferenceError(f'Model {model}: the input "{tensor.name}" is not UTF-8.') from None
