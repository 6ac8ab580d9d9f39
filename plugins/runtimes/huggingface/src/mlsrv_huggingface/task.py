"""Task: what a task takes, which options it has, and which runner does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from mlsrv_huggingface.options import Check, choice, flag, number, text, texts, values, whole

Kind = Literal["text", "json", "image", "audio", "video"]
"""What one row of an input is: a text, any JSON value, an image, a waveform, or the frames of a film."""

CUT: dict[str, Check] = {"truncation": flag, "max_length": whole(1)}
"""Options of tasks that cut texts to what the model takes."""
TOP: dict[str, Check] = {
    "top_k": whole(1),
    "function_to_apply": choice("sigmoid", "softmax", "none"),
}
"""Options of tasks that give labels."""
LABELS: dict[str, Check] = {"candidate_labels": texts, "hypothesis_template": text}
"""Options of tasks whose labels come with the request."""
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
SEARCH: dict[str, Check] = {
    "num_beams": whole(1, 64),
    "num_return_sequences": whole(1, 64),
    "length_penalty": number(-100.0, 100.0),
    "early_stopping": flag,
}
"""Options of the search with beams."""
MEDIA: dict[str, Check] = {"generate_kwargs": values}
"""Options of pipelines that generate, and hand on what they are given for it."""


@frozen
class Field:
    """One field of a row.

    Attributes:
        name: of the input.
        kind: what its elements are.
        aliases: other names that the input may have.
        optional: whether a request may leave it out.
        content_type: of its elements, where it is not that of its kind.
    """

    name: str
    kind: Kind
    aliases: tuple[str, ...] = ()
    optional: bool = False
    content_type: str | None = None


@frozen
class Task:
    """A task.

    Attributes:
        name: as transformers has it.
        fields: the inputs that have one element for each row.
        options: what a request may set, with checks.
        required: options that it must set.
        gives: whether the answer for a row is one object, or a list of them.
        runner: what makes its runner, ``module:name`` in `mlsrv_huggingface.runners`.
        needs: modules beside the framework without which it cannot be done.
    """

    name: str
    fields: tuple[Field, ...]
    options: Mapping[str, Check] = field(factory=dict)
    required: tuple[str, ...] = ()
    gives: Literal["object", "list"] = "object"
    runner: str = "library:LibraryRunner"
    needs: tuple[str, ...] = ()


POSITIONAL = ("array_inputs", "inputs")
"""Names that MLServer gives to an input without a name of its own."""
TEXT = (Field("args", "text", (*POSITIONAL, "text", "texts", "text_inputs")),)
IMAGE = (Field("args", "image", (*POSITIONAL, "image", "images")),)
