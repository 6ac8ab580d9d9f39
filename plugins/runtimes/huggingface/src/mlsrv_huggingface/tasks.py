"""Tasks: what each takes, which options it has, and which runner does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from mlsrv_huggingface.options import Check, choice, flag, number, text, texts, values, whole

Kind = Literal["text", "json", "image", "audio"]
"""What one row of an input is: a text, any JSON value, an image, or a waveform."""

_CUT: dict[str, Check] = {"truncation": flag, "max_length": whole(1)}
_TOP: dict[str, Check] = {
    "top_k": whole(1),
    "function_to_apply": choice("sigmoid", "softmax", "none"),
}
_LABELS: dict[str, Check] = {"candidate_labels": texts, "hypothesis_template": text}
GENERATION: dict[str, Check] = {
    "max_new_tokens": whole(1),
    "max_tokens": whole(1),
    "max_length": whole(1),
    "min_new_tokens": whole(0),
    "do_sample": flag,
    "temperature": number(0.0, 100.0),
    "top_k": whole(1),
    "top_p": number(0.0, 1.0),
    "min_p": number(0.0, 1.0),
    "repetition_penalty": number(0.01, 100.0),
    "no_repeat_ngram_size": whole(0),
    "seed": whole(0, 2**63 - 1),
}
"""Options of everything that generates."""
_SEARCH: dict[str, Check] = {
    "num_beams": whole(1, 64),
    "num_return_sequences": whole(1, 64),
    "length_penalty": number(-100.0, 100.0),
    "early_stopping": flag,
}
_MEDIA: dict[str, Check] = {"generate_kwargs": values}


@frozen
class Field:
    """One field of a row.

    Attributes:
        name: of the input.
        kind: what its elements are.
        aliases: other names that the input may have.
    """

    name: str
    kind: Kind
    aliases: tuple[str, ...] = ()


@frozen
class Task:
    """A task.

    Attributes:
        name: as transformers has it.
        fields: the inputs that have one element for each row.
        options: what a request may set, with checks.
        required: options that it must set.
        gives: whether the answer for a row is one object, or a list of them.
        runner: the class that does it, ``module:Class`` in `mlsrv_huggingface.runners`.
    """

    name: str
    fields: tuple[Field, ...]
    options: Mapping[str, Check] = field(factory=dict)
    required: tuple[str, ...] = ()
    gives: Literal["object", "list"] = "object"
    runner: str = "library:LibraryRunner"


_POSITIONAL = ("array_inputs", "inputs")
_TEXT = (Field("args", "text", (*_POSITIONAL, "text", "texts", "text_inputs")),)
_MAYBE_PAIR = (Field("args", "json", (*_POSITIONAL, "text", "texts")),)
_IMAGE = (Field("args", "image", (*_POSITIONAL, "image", "images")),)
_AUDIO = (Field("args", "audio", (*_POSITIONAL, "audio", "raw")),)
_RATE: dict[str, Check] = {"sampling_rate": whole(1)}
_SEQUENCE = "seq2seq:SequenceRunner"

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        # Texts.
        Task(
            "text-classification",
            _MAYBE_PAIR,
            {**_TOP, **_CUT, "return_all_scores": flag},
            runner="classification:ClassificationRunner",
        ),
        Task(
            "token-classification",
            _TEXT,
            {
                "aggregation_strategy": choice("none", "simple", "first", "average", "max"),
                "ignore_labels": texts,
                "stride": whole(0),
            },
            gives="list",
        ),
        Task("fill-mask", _TEXT, {"top_k": whole(1), "targets": texts}, gives="list"),
        Task(
            "zero-shot-classification",
            (Field("args", "text", (*_POSITIONAL, "sequences")),),
            {**_LABELS, "multi_label": flag, "multi_class": flag},
            required=("candidate_labels",),
        ),
        Task(
            "feature-extraction",
            _TEXT,
            {**_CUT, "prompt_name": text},
            gives="list",
            runner="embedding:EmbeddingRunner",
        ),
        Task(
            "text-ranking",
            (Field("query", "text"), Field("documents", "text", ("texts", "args"))),
            _CUT,
            runner="ranking:RankingRunner",
        ),
        Task(
            "text-generation",
            (Field("args", "text", (*_POSITIONAL, "text_inputs", "text_input", "prompt", "text")),),
            {
                **GENERATION,
                **_SEARCH,
                "stop": texts,
                "return_full_text": flag,
                "logprobs": whole(0, 20),
                "frequency_penalty": number(-2.0, 2.0),
                "presence_penalty": number(-2.0, 2.0),
            },
            gives="list",
            runner="generation:GenerationRunner",
        ),
        Task(
            "question-answering",
            (Field("question", "text", ("questions",)), Field("context", "text", ("contexts",))),
            {
                "top_k": whole(1),
                "max_answer_len": whole(1),
                "max_seq_len": whole(1),
                "doc_stride": whole(0),
                "max_question_len": whole(1),
                "handle_impossible_answer": flag,
                "align_to_words": flag,
            },
            runner="question_answering:QuestionAnsweringRunner",
        ),
        Task(
            "table-question-answering",
            (Field("query", "text", ("queries",)), Field("table", "json")),
            {"sequential": flag},
        ),
        Task("summarization", _TEXT, {**GENERATION, **_SEARCH, "truncation": flag}, runner=_SEQUENCE),
        Task(
            "translation",
            _TEXT,
            {**GENERATION, **_SEARCH, "truncation": flag, "src_lang": text, "tgt_lang": text},
            runner=_SEQUENCE,
        ),
        Task("text2text-generation", _TEXT, {**GENERATION, **_SEARCH, "truncation": flag}, runner=_SEQUENCE),
        Task("text-to-audio", _TEXT, _MEDIA),
        # Images.
        Task("image-classification", _IMAGE, _TOP, gives="list"),
        Task("image-feature-extraction", _IMAGE, {"pool": flag}, gives="list"),
        Task(
            "image-segmentation",
            _IMAGE,
            {
                "subtask": choice("panoptic", "instance", "semantic"),
                "threshold": number(0.0, 1.0),
                "mask_threshold": number(0.0, 1.0),
                "overlap_mask_area_threshold": number(0.0, 1.0),
            },
            gives="list",
        ),
        Task("object-detection", _IMAGE, {"threshold": number(0.0, 1.0)}, gives="list"),
        Task("depth-estimation", _IMAGE),
        Task(
            "mask-generation",
            _IMAGE,
            {"points_per_batch": whole(1), "pred_iou_thresh": number(0.0, 1.0), "mask_threshold": number()},
        ),
        Task(
            "zero-shot-image-classification",
            _IMAGE,
            _LABELS,
            required=("candidate_labels",),
            gives="list",
        ),
        Task(
            "zero-shot-object-detection",
            _IMAGE,
            {"candidate_labels": texts, "threshold": number(0.0, 1.0), "top_k": whole(1)},
            required=("candidate_labels",),
            gives="list",
        ),
        Task(
            "document-question-answering",
            (
                Field("image", "image", ("images",)),
                Field("question", "text", ("questions",)),
                Field("word_boxes", "json"),
            ),
            {"top_k": whole(1), "max_answer_len": whole(1), "handle_impossible_answer": flag},
            gives="list",
        ),
        Task(
            "image-text-to-text",
            (Field("images", "image", ("image",)), Field("text", "text", ("args",))),
            {"max_new_tokens": whole(1), "return_full_text": flag, **_MEDIA},
            gives="list",
        ),
        # Sounds.
        Task("audio-classification", _AUDIO, {**_TOP, **_RATE}, gives="list"),
        Task(
            "automatic-speech-recognition",
            _AUDIO,
            {
                "return_timestamps": choice("word", "char"),
                "chunk_length_s": number(0.0, 3600.0),
                **_MEDIA,
                **_RATE,
            },
        ),
        Task(
            "zero-shot-audio-classification",
            _AUDIO,
            _LABELS,
            required=("candidate_labels",),
            gives="list",
        ),
    )
}

ALIASES = {
    "sentiment-analysis": "text-classification",
    "ner": "token-classification",
    "text-to-speech": "text-to-audio",
    "text-embedding": "feature-extraction",
    "sentence-similarity": "feature-extraction",
    "embedding": "feature-extraction",
    "rerank": "text-ranking",
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
    "ForCTC": "automatic-speech-recognition",
}
"""Endings of the classes of models, and what they are for."""


def task_of_architecture(name: str) -> str | None:
    """Return the task that a class of models is for, or None."""
    return next((task for ending, task in _ARCHITECTURES.items() if name.endswith(ending)), None)
