"""Tensors: the inputs and outputs of a model that stand for prompts, texts, vectors and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from mlsrv.errors import InferenceError, ModelFailed
from mlsrv.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
)

_FLOATS = (Datatype.FP16, Datatype.FP32, Datatype.FP64, Datatype.BF16)
_DETAILS = ("finish_reason", "prompt_tokens", "completion_tokens")


@frozen
class Roles:
    """Roles of the declared tensors of a model; None for one that no tensor has.

    Attributes:
        prompt: the input of texts: ``text_input``, or the only one of texts that is needed.
        messages: the input of a conversation, the JSON text of its messages: ``messages``.
        text: the output of made texts: ``text_output``, or the only one of texts.
        vector: the output of embeddings: ``embedding``, or the only one of floating-point rows. Unless they
            have these names, a model with outputs of both kinds has neither role.
        query, documents: the inputs of texts to rank; ``scores`` is their output.
        details: outputs beside the text: ``finish_reason``, ``prompt_tokens`` and ``completion_tokens``.
    """

    name: str
    prompt: str | None
    messages: str | None
    text: str | None
    vector: str | None
    ranks: bool
    details: tuple[str, ...]
    has_logprobs: bool

    @classmethod
    def of(cls, metadata: MetadataModelResponse) -> Roles:
        """Return the roles of a model's tensors."""
        inputs = {tensor.name: tensor for tensor in metadata.inputs}
        outputs = {tensor.name: tensor for tensor in metadata.outputs}
        needed = [
            tensor
            for tensor in metadata.inputs
            if tensor.parameters is None or not tensor.parameters.get("optional")
        ]
        ranks = {"query", "documents"} <= inputs.keys() and "scores" in outputs
        prompt = _named(inputs, "text_input") or _only_text(needed)
        rows = [tensor for tensor in metadata.outputs if len(tensor.shape) == 2]
        vector = _named(outputs, "embedding", "embeddings")
        text = _named(outputs, "text_output")
        if vector is None and text is None:
            # A model with outputs of both kinds, such as labels and their scores, makes neither.
            if not any(tensor.datatype is Datatype.BYTES for tensor in metadata.outputs):
                vector = _only(rows, _FLOATS)
            elif _only(rows, _FLOATS) is None:
                text = _only_text(metadata.outputs)
        return cls(
            metadata.name,
            prompt,
            _named(inputs, "messages"),
            text,
            vector,
            ranks,
            tuple(name for name in _DETAILS if name in outputs),
            "logprobs" in outputs,
        )

    @property
    def is_useful(self) -> bool:
        """True if one of the routes can use the model."""
        makes = self.text is not None and (self.prompt or self.messages) is not None
        return makes or self.ranks or (self.vector is not None and self.prompt is not None)

    def generation(
        self, prompt: str | None, chat: Sequence[Mapping[str, Any]] | None, parameters: dict[str, Any]
    ) -> InferenceRequest:
        """Return the request for the text that follows a prompt or a conversation.

        Raises:
            InferenceError: the model has no tensors for it.
        """
        asked = dict(parameters)
        if self.text is None:
            raise self._unable("texts (a BYTES output text_output)")
        if chat is not None:
            if self.messages is None:
                raise self._unable("conversations (a BYTES input messages); use /v1/completions")
            content = json.dumps(list(chat), ensure_ascii=False)
            tensor = RequestInput(self.messages, [1], Datatype.BYTES, [content])
        else:
            if self.prompt is None:
                raise self._unable("prompts (a BYTES input text_input)")
            tensor = _texts(self.prompt, [str(prompt)])
        names = [self.text, *self.details]
        if "logprobs" in asked:
            if not self.has_logprobs:
                raise self._unable("probabilities of tokens (an output logprobs)")
            names.append("logprobs")
        return self._request([tensor], asked, names)

    def embedding(self, texts: Sequence[str]) -> InferenceRequest:
        """Return the request for the vectors of texts. Raises `InferenceError`."""
        if self.vector is None or self.prompt is None:
            raise self._unable("embeddings (a BYTES input, and an output embedding)")
        counts = [name for name in self.details if name == "prompt_tokens"]
        return self._request([_texts(self.prompt, texts)], {}, [self.vector, *counts])

    def ranking(self, query: str, documents: Sequence[str]) -> InferenceRequest:
        """Return the request for the scores of documents. Raises `InferenceError`."""
        if not self.ranks:
            raise self._unable("rankings (BYTES inputs query and documents, and an output scores)")
        counts = [name for name in self.details if name == "prompt_tokens"]
        inputs = [_texts("query", [query]), _texts("documents", documents)]
        return self._request(inputs, {}, ["scores", *counts])

    def _request(
        self, inputs: list[RequestInput], parameters: dict[str, Any], outputs: Sequence[str]
    ) -> InferenceRequest:
        return InferenceRequest(
            inputs=inputs,
            parameters=Parameters(**parameters),
            outputs=[RequestOutput(name) for name in outputs],
            model_name=self.name,
        )

    def _unable(self, what: str) -> InferenceError:
        return InferenceError(f"Model {self.name} declares no tensors for {what}.")


@frozen
class Piece:
    """One piece of a made text.

    Attributes:
        text: the piece, or the whole text.
        reason: why the text ended, or empty.
        prompt_tokens, completion_tokens: counts so far; None if the model does not tell.
        logprobs: of its tokens, each ``{"token", "logprob", "top"}``.
    """

    text: str
    reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    logprobs: list[dict[str, Any]]


def piece_of(roles: Roles, response: InferenceResponse) -> Piece:
    """Return the piece of text in a response. Raises `ModelFailed` if it has none."""
    found = {output.name: output for output in response.outputs}
    if roles.text not in found:
        raise ModelFailed(f"Model {roles.name} answered without its output {roles.text}.")
    told = _text(found.get("logprobs"))
    return Piece(
        _text(found[roles.text]),
        _text(found.get("finish_reason")),
        _number(found.get("prompt_tokens")),
        _number(found.get("completion_tokens")),
        json.loads(told) if told else [],
    )


def array_of(response: InferenceResponse, name: str | None, rows: int, model: str) -> Any:
    """Return an output as a float32 array with one row for each text.

    Raises:
        ModelFailed: the answer has another number of rows, or no such output.
    """
    for output in response.outputs:
        if output.name == name and output.shape[:1] == [rows]:
            data = output.to_plain()["data"]
            return np.asarray(data, np.float32).reshape(output.shape)
    raise ModelFailed(f"Model {model} did not answer with one row of {name} for each of {rows} texts.")


def counted(response: InferenceResponse) -> int:
    """Return the tokens of all texts of a request; 0 if the model does not tell."""
    for output in response.outputs:
        if output.name == "prompt_tokens":
            return int(np.sum(np.asarray(output.to_plain()["data"])))
    return 0


def _named(tensors: Mapping[str, MetadataTensor], *names: str) -> str | None:
    return next((name for name in names if name in tensors), None)


def _only(tensors: Sequence[MetadataTensor], datatypes: Sequence[Datatype]) -> str | None:
    found = [tensor.name for tensor in tensors if tensor.datatype in datatypes]
    return found[0] if len(found) == 1 else None


def _only_text(tensors: Sequence[MetadataTensor]) -> str | None:
    """Return the only BYTES tensor, unless its content type says that it has something else than texts."""
    name = _only(tensors, (Datatype.BYTES,))
    for tensor in tensors:
        content_type = tensor.parameters.content_type if tensor.parameters is not None else None
        if tensor.name == name and content_type not in (None, "str"):
            return None
    return name


def _texts(name: str, values: Sequence[str]) -> RequestInput:
    return RequestInput(name, [len(values)], Datatype.BYTES, list(values), Parameters("str"))


def _text(output: Any) -> str:
    if output is None:
        return ""
    data = output.to_plain()["data"]
    return "".join(one.decode() if isinstance(one, bytes) else str(one) for one in data)


def _number(output: Any) -> int | None:
    return None if output is None else int(np.asarray(output.to_plain()["data"]).reshape(-1)[0])
