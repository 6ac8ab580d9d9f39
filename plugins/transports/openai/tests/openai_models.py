"""Models with the tensors that the routes of OpenAI use: small, and predictable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from mlsrv import MLModel, ModelSettings
from mlsrv.context import current_context
from mlsrv.errors import InferenceError, Overloaded
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput

TEXT = {"datatype": "BYTES", "shape": [-1]}
OPTIONAL = {"parameters": {"optional": True}}
closed: list[str] = []
"""Prompts whose streams were closed."""
last: dict[str, Any] = {}
"""Parameters of the last request."""


def texts(payload: InferenceRequest) -> dict[str, list[str]]:
    return {
        tensor.name: [one.decode() if isinstance(one, bytes) else str(one) for one in tensor.data]
        for tensor in payload.inputs
    }


def outputs(text: str, reason: str, prompt: int, count: int, **more: Any) -> InferenceResponse:
    made = [
        ResponseOutput("text_output", [1], "BYTES", [text]),
        ResponseOutput("finish_reason", [1], "BYTES", [reason]),
        ResponseOutput("prompt_tokens", [1], "INT64", [prompt]),
        ResponseOutput("completion_tokens", [1], "INT64", [count]),
    ]
    made += [ResponseOutput(name, [1], "BYTES", [value]) for name, value in more.items()]
    return InferenceResponse(outputs=made)


class Echo(MLModel):
    """Streams the words of the prompt, or of the last message, as often as it is asked to."""

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            found = texts(payload)
            parameters = payload.parameters or Parameters()
            last.clear()
            last.update(parameters.extra)
            prompt = found.get("text_input", [""])[0]
            if "messages" in found:
                prompt = json.loads(found["messages"][0])[-1]["content"]
            if prompt == "refuse":
                raise InferenceError("Model echo does not like this prompt.")
            if prompt == "full":
                raise Overloaded("Model echo is full.")
            words = prompt.split()
            limit = int(parameters.get("max_tokens", len(words)))
            try:
                count = 0
                while count < limit:
                    word = words[count % len(words)]
                    if word == "break" and count:
                        raise ZeroDivisionError("broken")
                    count += 1
                    more = {}
                    if parameters.get("logprobs") is not None:
                        token = {"token": word, "logprob": -0.5}
                        more["logprobs"] = json.dumps([{**token, "top": [token]}])
                    reason = "" if count < limit else "length" if limit != len(words) else "stop"
                    yield outputs(word + (" " if count < limit else ""), reason, len(words), count, **more)
                    await asyncio.sleep(0)
            finally:
                closed.append(prompt)


class Whole(MLModel):
    """Answers a prompt as a whole, in capitals; knows neither reasons nor counts."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (values,) = texts(payload).values()
        return InferenceResponse(
            outputs=[ResponseOutput("answer", [len(values)], "BYTES", [value.upper() for value in values])]
        )


class Vectors(MLModel):
    """Gives [length, vowels, 1] for each text, normalised; and how many words there are."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        values = texts(payload)["texts"]
        rows = np.array([[len(one), sum(map(one.count, "aeiou")), 1.0] for one in values], np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        counts = np.array([len(one.split()) for one in values], np.int64)
        return InferenceResponse(
            outputs=[
                ResponseOutput("v", list(rows.shape), "FP32", rows.reshape(-1)),
                ResponseOutput("prompt_tokens", [len(counts)], "INT64", counts),
            ]
        )


class Ranks(MLModel):
    """Scores a document by the words that it shares with the query."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        found = texts(payload)
        words = set(found["query"][0].split())
        scores = np.array([len(words & set(one.split())) for one in found["documents"]], np.float32)
        return InferenceResponse(outputs=[ResponseOutput("scores", [len(scores)], "FP32", scores)])


class Plain(MLModel):
    """Has no tensors that the routes can use."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        assert current_context.get() is not None
        return InferenceResponse(outputs=[])


def model(name: str, kind: Any, inputs: Any, outputs: Any, **more: Any) -> ModelSettings:
    return ModelSettings(name=name, implementation=kind, inputs=inputs, outputs=outputs, **more)


MODELS = [
    model(
        "echo",
        Echo,
        [{"name": "text_input", **TEXT, **OPTIONAL}, {"name": "messages", **TEXT, **OPTIONAL}],
        [
            {"name": "text_output", **TEXT},
            {"name": "finish_reason", **TEXT},
            {"name": "prompt_tokens", "datatype": "INT64", "shape": [-1]},
            {"name": "completion_tokens", "datatype": "INT64", "shape": [-1]},
            {"name": "logprobs", **TEXT},
        ],
        check_inputs=False,
    ),
    model("whole", Whole, [{"name": "prompt", **TEXT}], [{"name": "answer", **TEXT}]),
    model(
        "vectors",
        Vectors,
        [{"name": "texts", **TEXT}],
        [
            {"name": "v", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "prompt_tokens", "datatype": "INT64", "shape": [-1]},
        ],
    ),
    model(
        "ranks",
        Ranks,
        [{"name": "query", **TEXT}, {"name": "documents", **TEXT}],
        [{"name": "scores", "datatype": "FP32", "shape": [-1]}],
        check_inputs=False,
    ),
    model(
        "plain",
        Plain,
        [{"name": "x", "datatype": "FP32", "shape": [-1]}],
        [{"name": "y", "datatype": "FP32", "shape": [-1]}],
    ),
    model(
        "labels",  # a classifier: JSON texts, and the scores behind them
        Plain,
        [{"name": "args", **TEXT, "parameters": {"content_type": "str"}}],
        [
            {"name": "output", **TEXT, "parameters": {"content_type": "hg_jsonlist"}},
            {"name": "logits", "datatype": "FP32", "shape": [-1, 3]},
        ],
    ),
    model(
        "objects",  # answers that are no texts
        Plain,
        [{"name": "args", **TEXT, "parameters": {"content_type": "str"}}],
        [{"name": "output", **TEXT, "parameters": {"content_type": "hg_jsonlist"}}],
    ),
    model(
        "images",
        Plain,
        [{"name": "x", **TEXT, "parameters": {"content_type": "pillow_image"}}],
        [{"name": "answer", **TEXT}],
    ),
]
