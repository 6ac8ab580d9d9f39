"""Text tasks: those that take nothing but texts, or tables and JSON."""

from __future__ import annotations

from mlsrv_huggingface.options import Check, choice, flag, number, text, texts, whole
from mlsrv_huggingface.task import CUT, GENERATION, LABELS, POSITIONAL, SEARCH, TEXT, TOP, Field, Task

_MAYBE_PAIR = (Field("args", "json", (*POSITIONAL, "text", "texts")),)
_SEQUENCE = "seq2seq:SequenceRunner"
_STREAMED: dict[str, Check] = {"stop": texts, "logprobs": whole(0, 20)}
_SEQUENCES: dict[str, Check] = {**GENERATION, **SEARCH, **_STREAMED, "truncation": flag}

TEXT_TASKS = (
    Task(
        "text-classification",
        _MAYBE_PAIR,
        {**TOP, **CUT, "return_all_scores": flag},
        runner="classification:ClassificationRunner",
    ),
    Task(
        "token-classification",
        TEXT,
        {
            "aggregation_strategy": choice("none", "simple", "first", "average", "max"),
            "ignore_labels": texts,
            "stride": whole(0),
        },
        gives="list",
    ),
    Task("fill-mask", TEXT, {"top_k": whole(1), "targets": texts}, gives="list"),
    Task(
        "zero-shot-classification",
        (Field("args", "text", (*POSITIONAL, "sequences")),),
        {**LABELS, "multi_label": flag, "multi_class": flag},
        required=("candidate_labels",),
    ),
    Task(
        "feature-extraction",
        TEXT,
        {**CUT, "prompt_name": text},
        gives="list",
        runner="embedding:EmbeddingRunner",
    ),
    Task(
        "text-ranking",
        (Field("query", "text"), Field("documents", "text", ("texts", "args"))),
        CUT,
        runner="ranking:RankingRunner",
    ),
    Task(
        "text-generation",
        (Field("args", "text", (*POSITIONAL, "text_inputs", "text_input", "prompt", "text")),),
        {
            **GENERATION,
            **SEARCH,
            **_STREAMED,
            "return_full_text": flag,
            "frequency_penalty": number(-2.0, 2.0),
            "presence_penalty": number(-2.0, 2.0),
        },
        gives="list",
        runner="generators:open_generator",
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
        (Field("query", "text", ("queries",)), Field("table", "json", content_type="hg_jsonlist")),
        {"sequential": flag},
        needs=("pandas",),
    ),
    Task("summarization", TEXT, {**_SEQUENCES}, runner=_SEQUENCE),
    Task(
        "translation",
        TEXT,
        {**_SEQUENCES, "src_lang": text, "tgt_lang": text},
        runner=_SEQUENCE,
    ),
    Task("text2text-generation", TEXT, {**_SEQUENCES}, runner=_SEQUENCE),
    Task(
        "decision",
        (Field("args", "json", (*POSITIONAL, "requests"), content_type="hg_jsonlist"),),
    ),
)
