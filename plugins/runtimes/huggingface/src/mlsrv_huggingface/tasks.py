"""Tasks: all of them by name, their other names, and which one a model is for."""

from __future__ import annotations

from mlsrv_huggingface.media_tasks import MEDIA_TASKS
from mlsrv_huggingface.task import Task
from mlsrv_huggingface.text_tasks import TEXT_TASKS

TASKS: dict[str, Task] = {task.name: task for task in (*TEXT_TASKS, *MEDIA_TASKS)}

ALIASES = {
    "sentiment-analysis": "text-classification",
    "ner": "token-classification",
    "text-to-speech": "text-to-audio",
    "text-embedding": "feature-extraction",
    "sentence-similarity": "feature-extraction",
    "embedding": "feature-extraction",
    "rerank": "text-ranking",
    "vqa": "visual-question-answering",
}
"""Other names of tasks."""

TENSORS_FIRST = frozenset({"text-embedding", "sentence-similarity", "embedding", "rerank", "text-ranking"})
"""Names under which a task answers with tensors, unless it is told otherwise."""

_ARCHITECTURES = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
    "MTModel": "translation",
    "ForImageClassification": "image-classification",
    "ForObjectDetection": "object-detection",
    "ForSemanticSegmentation": "image-segmentation",
    "ForDepthEstimation": "depth-estimation",
    "ForVideoClassification": "video-classification",
    "ForKeypointMatching": "keypoint-matching",
    "ForAudioClassification": "audio-classification",
    "ForCTC": "automatic-speech-recognition",
}
"""Endings of the classes of models, and what they are for."""


def task_of_architecture(name: str) -> str | None:
    """Return the task that a class of models is for, or None."""
    return next((task for ending, task in _ARCHITECTURES.items() if name.endswith(ending)), None)
