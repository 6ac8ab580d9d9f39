"""Vision: tasks with images and films that transformers has no pipeline for, or one that reads files.

The answers are those of the pipelines of transformers 4.57.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar

import numpy as np

from mlsrv.context import current_context
from mlsrv.errors import InferenceError
from mlsrv.types import Datatype, MetadataTensor
from mlsrv_huggingface.generate import ends_early, generation_arguments, seeded
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.reading import Given
from mlsrv_huggingface.runners.base import OUTPUT, Runner
from mlsrv_huggingface.runners.classification import score_function, scored
from mlsrv_huggingface.stacking import stacked
from mlsrv_huggingface.task import Task

_MOST_LABELS = 5
"""Labels that are told where a request does not say how many."""


class VisionRunner(Runner):
    """Reads a model and what prepares its inputs, and does one row after the other."""

    auto_class: ClassVar[str]
    processors: ClassVar[tuple[str, ...]] = ("AutoImageProcessor",)

    def __init__(self, source: Source, task: Task) -> None:
        super().__init__(source, task)
        self.torch = source.torch()
        self.model = source.model(self.auto_class)
        self.processor = source.processor(*self.processors)

    def run(self, given: Given, wanted: Collection[str]) -> dict[str, Any]:
        answers: list[Any] = []
        tensors: dict[str, list[Any]] = {}
        for row in given.rows:
            if (context := current_context.get()) is not None:
                context.check()
            with self.torch.inference_mode():
                answer, found = self.one(row, given.options)
            answers.append(answer)
            for name, array in found.items():
                tensors.setdefault(name, []).append(array)
        made = {name: stacked(self.name, name, rows) for name, rows in tensors.items() if name in wanted}
        return {OUTPUT: answers, **made}

    @abstractmethod
    def one(self, row: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return the answer for a row, and its tensors, each with a first dimension of 1."""

    def prepared(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the model's inputs, on its device. Raises `InferenceError`."""
        try:
            found = self.processor(*args, return_tensors="pt", **kwargs)
        except (ValueError, TypeError, IndexError) as error:
            text = " ".join(str(error).split())[:300].rstrip(".")
            raise InferenceError(f"Model {self.name} cannot prepare the request: {text}.") from error
        kind = self.model.dtype
        return {
            name: (value.to(kind) if value.is_floating_point() else value).to(self.source.device)
            for name, value in found.items()
        }

    def labelled(self, logits: Any, function: Any, count: int) -> list[tuple[str, float]]:
        """Return the likeliest labels of logits [1, labels] with their scores."""
        scores = scored(logits, function)[0]
        order = np.argsort(-scores, kind="stable")[:count]
        labels = self.model.config.id2label
        return [(str(labels[int(index)]), float(scores[index])) for index in order]


class VideoRunner(VisionRunner):
    """Gives a list of ``{"score", "label"}`` for the frames of each film."""

    auto_class = "AutoModelForVideoClassification"
    processors = ("AutoVideoProcessor", "AutoImageProcessor")
    tensors = (MetadataTensor("logits", Datatype.FP32, [-1, -1]),)

    def one(self, row: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        stated = getattr(self.model.config, "num_frames", None) or len(row)
        count = options.get("num_frames", stated)
        last = count * options.get("frame_sampling_rate", 1) - 1
        if last >= len(row):
            raise InferenceError(
                f"Model {self.name} takes {last + 1} frames of a film, but one has {len(row)}; send more, "
                "or set num_frames or frame_sampling_rate."
            )
        frames = row[np.linspace(0, last, num=count, dtype=np.int64)]
        logits = self.model(**self.prepared(list(frames))).logits.float().cpu().numpy()
        function = options.get("function_to_apply", score_function(self.model.config))
        told = self.labelled(logits, function, options.get("top_k", _MOST_LABELS))
        return [{"score": score, "label": label} for label, score in told], {"logits": logits}


class VisualQuestionRunner(VisionRunner):
    """Gives a list of ``{"score", "answer"}`` for each image with a question, by a model of fixed answers."""

    auto_class = "AutoModelForVisualQuestionAnswering"
    processors = ("AutoProcessor",)
    tensors = (MetadataTensor("logits", Datatype.FP32, [-1, -1]),)

    def one(self, row: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        inputs = self.prepared(images=row["image"].convert("RGB"), text=row["question"])
        logits = self.model(**inputs).logits.float().cpu().numpy()
        told = self.labelled(logits, "sigmoid", options.get("top_k", _MOST_LABELS))
        return [{"score": score, "answer": answer} for answer, score in told], {"logits": logits}


class ImageToImageRunner(VisionRunner):
    """Gives an image for each image, as base64 of a PNG."""

    auto_class = "AutoModelForImageToImage"
    tensors = (MetadataTensor("reconstruction", Datatype.FP32, [-1, -1, -1, -1]),)

    def one(self, row: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        from PIL import Image

        made = self.model(**self.prepared(images=[row.convert("RGB")])).reconstruction
        array = made.float().cpu().clamp(0, 1).numpy()
        pixels = (np.moveaxis(array[0], 0, -1) * 255.0).round().astype(np.uint8)
        return Image.fromarray(pixels), {"reconstruction": array}


class CaptionRunner(VisionRunner):
    """Gives ``[{"generated_text"}]`` for each image: what an encoder of images and a decoder of texts say."""

    auto_class = "AutoModelForImageTextToText"

    def __init__(self, source: Source, task: Task) -> None:
        super().__init__(source, task)
        self._tokenizer = source.tokenizer

    def one(self, row: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        arguments = generation_arguments(self.model, options)
        if "max_new_tokens" not in arguments and "max_length" not in arguments:
            arguments["max_new_tokens"] = self.model.generation_config.max_new_tokens or 256
        inputs = self.prepared(images=row.convert("RGB"))
        with seeded(self.torch, options.get("seed")):
            made = self.model.generate(**inputs, **arguments, **ends_early())
        texts = self._tokenizer.batch_decode(made, skip_special_tokens=True)
        return [{"generated_text": text} for text in texts], {}
