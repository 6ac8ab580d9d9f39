"""Library tensors: what a pipeline's model gives, beside the pipeline's answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from attrs import frozen

from mlsrv.types import Datatype, MetadataTensor

Read = Callable[[Any, Any], Any]
"""Takes what the model gave, or None, and the pipeline's answer to a row. Returns [1, …], or None."""


@frozen
class LibraryTensor:
    """One tensor of a task.

    Attributes:
        declared: its name, datatype and shape.
        read: finds it.
    """

    declared: MetadataTensor
    read: Read


@contextmanager
def watched(model: Any) -> Iterator[list[Any]]:
    """Give a list that gets what a model of PyTorch returns inside."""
    found: list[Any] = []
    handle = model.register_forward_hook(lambda module, args, output: found.append(output))
    try:
        yield found
    finally:
        handle.remove()


def arrays_of(
    tensors: Sequence[LibraryTensor], given: Sequence[Any], answer: Any, names: Sequence[str]
) -> dict[str, Any]:
    """Return the tensors of a row by name, as far as the model has them.

    Args:
        tensors: of the task.
        given: what the model returned for the row; only one call can be told.
        answer: of the pipeline.
        names: of the tensors to find.
    """
    output = given[0] if len(given) == 1 else None
    found = {one.declared.name: one.read(output, answer) for one in tensors if one.declared.name in names}
    return {name: array for name, array in found.items() if array is not None}


def _numpy(value: Any) -> Any:
    return value.detach().float().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


def _given(name: str, *shape: int) -> LibraryTensor:
    """The tensor of this name among those that the model gives."""

    def read(output: Any, answer: Any) -> Any:
        value = None if output is None else output.get(name)
        return None if value is None else np.asarray(_numpy(value), np.float32)

    return LibraryTensor(MetadataTensor(name, Datatype.FP32, list(shape)), read)


def _told(name: str, datatype: Datatype, *shape: int) -> LibraryTensor:
    """The part of this name of the pipeline's answer."""

    def read(output: Any, answer: Any) -> Any:
        value = answer[name]
        if isinstance(value, list):
            array = np.stack([_numpy(one) for one in value]) if value else np.zeros([0] * (len(shape) - 1))
        else:
            array = _numpy(value)
        ends = array.shape if len(shape) > 2 else (-1,) * (len(shape) - 1)
        return array.astype(datatype.dtype).reshape(1, *ends)

    return LibraryTensor(MetadataTensor(name, datatype, list(shape)), read)


def _embedding(output: Any, answer: Any) -> Any:
    """The mean of the model's last states: its pooler may have random weights, where its file has none."""
    if output is None:
        return None
    states = _numpy(output["last_hidden_state"])
    return states.mean(axis=1) if states.ndim == 3 else states.reshape(*states.shape[:2], -1).mean(axis=2)


_LOGITS = _given("logits", -1, -1)

TENSORS: dict[str, tuple[LibraryTensor, ...]] = {
    "image-classification": (_LOGITS,),
    "audio-classification": (_LOGITS,),
    "image-feature-extraction": (
        LibraryTensor(MetadataTensor("embedding", Datatype.FP32, [-1, -1]), _embedding),
        _given("last_hidden_state", -1, -1, -1),
    ),
    "image-segmentation": (
        _given("logits", -1, -1, -1, -1),
        _given("class_queries_logits", -1, -1, -1),
        _given("masks_queries_logits", -1, -1, -1, -1),
    ),
    "object-detection": (_given("logits", -1, -1, -1), _given("pred_boxes", -1, -1, 4)),
    "depth-estimation": (_told("predicted_depth", Datatype.FP32, -1, -1, -1),),
    "mask-generation": (
        _told("masks", Datatype.BOOL, -1, -1, -1, -1),
        _told("scores", Datatype.FP32, -1, -1),
    ),
    "zero-shot-image-classification": (_given("logits_per_image", -1, -1),),
    "zero-shot-audio-classification": (_given("logits_per_audio", -1, -1),),
    "automatic-speech-recognition": (_given("logits", -1, -1, -1),),
    "text-to-audio": (
        _told("audio", Datatype.FP32, -1, -1),
        _told("sampling_rate", Datatype.INT64, -1),
    ),
}
"""Tensors of the tasks that have natural ones."""
