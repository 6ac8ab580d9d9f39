"""Models that explainers explain, and the same as plain functions, for comparison."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlsrv import MLModel
from mlsrv.errors import InferenceError
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput

TOO_MUCH = 1e6
"""A value that the model refuses."""


def scores(rows: Any) -> Any:
    """The probabilities of two classes, [rows, 2]."""
    rows = np.asarray(rows, float).reshape(len(rows), -1)
    positive = 1 / (1 + np.exp(-(2 * rows[:, 0] - rows[:, 1] * rows[:, 2])))
    return np.column_stack([1 - positive, positive])


def image_class(images: Any) -> Any:
    """The class of pictures: whether the first corner is bright."""
    images = np.asarray(images, float)
    return (images[:, :4, :4].mean(axis=(1, 2, 3)) > 0.5).astype(int)


def text_class(texts: Sequence[str]) -> Any:
    """The class of texts: whether they say "good"."""
    return np.array([int("good" in text) for text in texts])


def segments(image: Any) -> Any:
    """The four squares of a picture, by number."""
    half = image.shape[0] // 2
    found = np.zeros(image.shape[:2], int)
    found[:half, half:], found[half:, :half], found[half:, half:] = 1, 2, 3
    return found


class Scores(MLModel):
    """Answers with `scores`, and with a text."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = np.asarray(payload.inputs[0].data, float).reshape(payload.inputs[0].shape)
        if rows.shape[1:] != (3,):
            raise InferenceError(f"It takes 3 features, not the shape {rows.shape}.")
        if np.any(rows >= TOO_MUCH):
            raise ValueError("not this one")
        if np.any(rows <= -TOO_MUCH):
            await asyncio.sleep(60)
        found = scores(rows)
        return InferenceResponse(
            outputs=[
                ResponseOutput("scores", [len(rows), 2], "FP64", found.reshape(-1)),
                ResponseOutput("name", [len(rows)], "BYTES", ["x"] * len(rows)),
            ]
        )


class Images(MLModel):
    """Answers with `image_class`."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        pictures = np.asarray(payload.inputs[0].data, float).reshape(payload.inputs[0].shape)
        found = image_class(pictures)
        return InferenceResponse(outputs=[ResponseOutput("class", [len(found), 1], "INT64", found)])


class Texts(MLModel):
    """Answers with `text_class`."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        found = text_class([str(text) for text in payload.inputs[0].data])
        return InferenceResponse(outputs=[ResponseOutput("class", [len(found)], "INT64", found)])
