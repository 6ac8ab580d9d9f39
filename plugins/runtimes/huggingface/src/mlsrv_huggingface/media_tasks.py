"""Media tasks: those that take or compare images, films and sounds."""

from __future__ import annotations

from mlsrv_huggingface.options import Check, choice, flag, number, texts, whole
from mlsrv_huggingface.task import (
    GENERATION,
    IMAGE,
    LABELS,
    MEDIA,
    POSITIONAL,
    SEARCH,
    TEXT,
    TOP,
    Field,
    Task,
)

_AUDIO = (Field("args", "audio", (*POSITIONAL, "audio", "raw")),)
_VIDEO = (Field("args", "video", (*POSITIONAL, "video", "videos")),)
_RATE: dict[str, Check] = {"sampling_rate": whole(1)}

MEDIA_TASKS = (
    # Images.
    Task("image-classification", IMAGE, TOP, gives="list"),
    Task("image-feature-extraction", IMAGE, {"pool": flag}, gives="list"),
    Task(
        "image-segmentation",
        IMAGE,
        {
            "subtask": choice("panoptic", "instance", "semantic"),
            "threshold": number(0.0, 1.0),
            "mask_threshold": number(0.0, 1.0),
            "overlap_mask_area_threshold": number(0.0, 1.0),
        },
        gives="list",
    ),
    Task("object-detection", IMAGE, {"threshold": number(0.0, 1.0)}, gives="list"),
    Task("depth-estimation", IMAGE),
    Task(
        "mask-generation",
        IMAGE,
        {
            "points_per_batch": whole(1),
            "pred_iou_thresh": number(0.0, 1.0),
            "stability_score_thresh": number(0.0, 1.0),
            "mask_threshold": number(),
        },
        needs=("torchvision",),
    ),
    Task(
        "zero-shot-image-classification",
        IMAGE,
        LABELS,
        required=("candidate_labels",),
        gives="list",
    ),
    Task(
        "zero-shot-object-detection",
        IMAGE,
        {"candidate_labels": texts, "threshold": number(0.0, 1.0), "top_k": whole(1)},
        required=("candidate_labels",),
        gives="list",
    ),
    Task(
        "document-question-answering",
        (
            Field("image", "image", ("images",), optional=True),
            Field("question", "text", ("questions",)),
            Field("word_boxes", "json", optional=True, content_type="hg_jsonlist"),
        ),
        {"top_k": whole(1), "max_answer_len": whole(1), "handle_impossible_answer": flag},
        gives="list",
    ),
    Task(
        "image-text-to-text",
        (Field("images", "image", ("image",)), Field("text", "text", ("args",))),
        {"max_new_tokens": whole(1), "return_full_text": flag, **MEDIA},
        gives="list",
    ),
    Task(
        "image-to-text",
        IMAGE,
        {**GENERATION, **SEARCH},
        gives="list",
        runner="vision:CaptionRunner",
    ),
    Task("image-to-image", IMAGE, runner="vision:ImageToImageRunner"),
    Task(
        "visual-question-answering",
        (Field("image", "image", ("images",)), Field("question", "text", ("questions",))),
        {"top_k": whole(1)},
        gives="list",
        runner="vision:VisualQuestionRunner",
    ),
    Task(
        "keypoint-matching",
        (Field("image_0", "image"), Field("image_1", "image")),
        {"threshold": number(0.0, 1.0)},
        gives="list",
    ),
    Task(
        "video-classification",
        _VIDEO,
        {**TOP, "num_frames": whole(1), "frame_sampling_rate": whole(1)},
        gives="list",
        runner="vision:VideoRunner",
    ),
    Task(
        "any-to-any",
        (
            Field("text", "text", ("args", "texts")),
            Field("images", "image", ("image",), optional=True),
            Field("audio", "audio", ("sounds",), optional=True),
        ),
        {"max_new_tokens": whole(1), "return_full_text": flag, **MEDIA},
        gives="list",
    ),
    # Sounds.
    Task("text-to-audio", TEXT, MEDIA),
    Task("audio-classification", _AUDIO, {**TOP, **_RATE}, gives="list"),
    Task(
        "automatic-speech-recognition",
        _AUDIO,
        {
            "return_timestamps": choice("word", "char"),
            "chunk_length_s": number(0.0, 3600.0),
            **MEDIA,
            **_RATE,
        },
    ),
    Task(
        "zero-shot-audio-classification",
        _AUDIO,
        LABELS,
        required=("candidate_labels",),
        gives="list",
    ),
)
