"""Every task gives what the library gives when it is called directly."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from mlsrv.codecs import NumpyCodec
from mlsrv.errors import InferenceError
from mlsrv.types import InferenceRequest, Parameters, RequestInput, RequestOutput
from mlsrv_huggingface import ImageCodec, JSONListCodec, NumpyListCodec
from tiny_models import MODELS, TEXTS
from tiny_requests import ask, close, picture, texts

VERSION = int(transformers.__version__.split(".")[0])
MASKED = ["a [MASK] house", "the [MASK] river is [MASK] old"]
QUESTIONS = ["who lives in paris?", "where is the red house?"]
CONTEXTS = [TEXTS[3], " ".join(["the red house is in london, not in berlin."] * 9)]


@pytest.fixture
def library(folders: Callable[[str], Path]) -> Callable[..., Any]:
    """The pipeline of the library for a tiny model."""

    def make(name: str) -> Any:
        return transformers.pipeline(MODELS[name][0], str(folders(name)), dtype="float32")

    return make


def test_classification(load: Any, library: Any) -> None:
    model, pipe = load("classifier"), library("classifier")
    close(ask(model, texts("args", TEXTS)), pipe(TEXTS))
    close(ask(model, texts("args", TEXTS), top_k=2), pipe(TEXTS, top_k=2))
    close(ask(model, texts("args", TEXTS), return_all_scores=True), pipe(TEXTS, top_k=None))
    close(
        ask(model, texts("args", TEXTS), function_to_apply="sigmoid"),
        pipe(TEXTS, function_to_apply="sigmoid"),
    )
    pairs = [{"text": TEXTS[0], "text_pair": TEXTS[1]}, {"text": "a", "text_pair": "the good"}]
    close(ask(model, JSONListCodec.encode_input("args", pairs)), [pipe(pair) for pair in pairs])
    long = "the red house " * 60
    close(ask(model, texts("args", [long])), pipe([long], truncation=True))


def test_logits_of_classification(load: Any, library: Any) -> None:
    pipe = library("classifier")
    found = ask(load("classifier"), texts("args", TEXTS), outputs=["logits"])["logits"]
    for text, row in zip(TEXTS, found, strict=True):
        with torch.inference_mode():
            expected = pipe.model(**pipe.tokenizer(text, return_tensors="pt")).logits[0].numpy()
        assert np.allclose(row, expected, atol=2e-5)


def test_token_classification(load: Any, library: Any) -> None:
    model, pipe = load("entities"), library("entities")
    close(ask(model, texts("args", TEXTS)), pipe(TEXTS), 1e-4)
    close(
        ask(model, texts("args", TEXTS[:1]), aggregation_strategy="simple"),
        [pipe(TEXTS[0], aggregation_strategy="simple")],
    )


def test_fill_mask(load: Any, library: Any) -> None:
    model, pipe = load("masked"), library("masked")
    close(ask(model, texts("args", MASKED)), [pipe(text) for text in MASKED])
    close(ask(model, texts("args", MASKED[:1])), [pipe(MASKED[0])])
    close(ask(model, texts("args", MASKED[1:])), [pipe(MASKED[1])])
    close(ask(model, texts("args", MASKED[:1]), top_k=2), [pipe(MASKED[0], top_k=2)])


def test_zero_shot_classification(load: Any, library: Any) -> None:
    model, pipe = load("entailing"), library("entailing")
    labels = ["a house", "a question", "the river"]
    expected = [pipe(text, candidate_labels=labels) for text in TEXTS]
    close(ask(model, texts("array_inputs", TEXTS), texts("candidate_labels", labels)), expected)
    close(ask(model, texts("args", TEXTS), candidate_labels=labels), expected)
    multi = [pipe(text, candidate_labels=labels, multi_label=True) for text in TEXTS]
    close(ask(model, texts("args", TEXTS), candidate_labels=labels, multi_class=True), multi)
    with_commas = ask(model, texts("args", TEXTS[:1]), candidate_labels=["one, two", "three"])
    assert sorted(with_commas[0]["labels"]) == ["one, two", "three"]


def test_feature_extraction(load: Any, library: Any) -> None:
    model, pipe = load("encoder"), library("encoder")
    close(ask(model, texts("args", TEXTS)), pipe(TEXTS), 1e-4)
    found = ask(model, texts("args", TEXTS), outputs=["embedding", "prompt_tokens"])
    for text, row, count in zip(TEXTS, found["embedding"], found["prompt_tokens"], strict=True):
        vectors = np.array(pipe(text)[0])
        assert np.allclose(row, vectors.mean(axis=0), atol=1e-4)
        assert count == len(vectors)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
def test_poolings(load: Any, library: Any, pooling: str) -> None:
    model = load("encoder", "embedding", pooling=pooling, normalize=True)
    pipe = library("encoder")
    found = ask(model, texts("args", TEXTS), outputs=["embedding"])["embedding"]
    for text, row in zip(TEXTS, found, strict=True):
        vectors = np.array(pipe(text)[0])
        expected = {
            "mean": vectors.mean(axis=0),
            "cls": vectors[0],
            "max": vectors.max(axis=0),
            "lasttoken": vectors[-1],
        }[pooling]
        assert np.allclose(row, expected / np.linalg.norm(expected), atol=1e-4)


def test_ranking(load: Any, folders: Any) -> None:
    model = load("ranker", "rerank")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders("ranker"))
    direct = transformers.AutoModelForSequenceClassification.from_pretrained(folders("ranker")).eval()
    query = QUESTIONS[0]
    expected = []
    for text in TEXTS:
        with torch.inference_mode():
            logits = direct(**tokenizer(query, text, return_tensors="pt")).logits
        expected.append(torch.sigmoid(logits)[0, 0].item())
    found = ask(model, texts("query", [query]), texts("documents", TEXTS), outputs=["scores"])["scores"]
    assert found.shape == (len(TEXTS),)
    assert np.allclose(found, expected, atol=2e-5)


@pytest.mark.skipif(VERSION >= 5, reason="transformers 5 has no such pipeline")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # that of transformers 4
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 4},
        {"handle_impossible_answer": True, "top_k": 3},
        {"align_to_words": False, "top_k": 2},
        {"max_seq_len": 40, "doc_stride": 10, "top_k": 3},
        {"max_answer_len": 2, "top_k": 3},
    ],
    ids=str,
)
def test_question_answering_is_that_of_version_4(load: Any, library: Any, options: dict[str, Any]) -> None:
    model, pipe = load("answering"), library("answering")
    found = ask(model, texts("question", QUESTIONS), texts("context", CONTEXTS), **options)
    expected = [
        pipe(question=question, context=context, **{"max_seq_len": 64, **options})
        for question, context in zip(QUESTIONS, CONTEXTS, strict=True)
    ]
    close(found, expected, 1e-6)


def test_question_answering(load: Any, folders: Any) -> None:
    """The best span, found by trying all of them."""
    model = load("answering")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders("answering"))
    direct = transformers.AutoModelForQuestionAnswering.from_pretrained(folders("answering")).eval()
    encoded = tokenizer(QUESTIONS[0], CONTEXTS[0], return_tensors="pt", return_offsets_mapping=True)
    offsets = encoded.pop("offset_mapping")[0].tolist()
    with torch.inference_mode():
        logits = direct(**encoded)
    inside = [index for index, one in enumerate(encoded.sequence_ids(0)) if one == 1]
    able = [0, *inside]
    first = torch.softmax(logits.start_logits[0][able], 0)[1:]
    last = torch.softmax(logits.end_logits[0][able], 0)[1:]
    score, start, end = max(
        (float(first[a] * last[b]), inside[a], inside[b])
        for a in range(len(inside))
        for b in range(a, min(a + 15, len(inside)))
    )
    found = ask(
        model,
        texts("question", QUESTIONS[:1]),
        texts("context", CONTEXTS[:1]),
        align_to_words=False,
    )[0]
    assert found["score"] == pytest.approx(score, rel=1e-4)
    assert (found["start"], found["end"]) == (offsets[start][0], offsets[end][1])
    assert found["answer"] == CONTEXTS[0][found["start"] : found["end"]]
    # One context for several questions.
    both = ask(model, texts("question", QUESTIONS), texts("context", CONTEXTS[:1]))
    assert both[0]["answer"] in CONTEXTS[0]
    assert len(both) == 2


@pytest.mark.parametrize(
    ("task", "key"),
    [
        ("text2text-generation", "generated_text"),
        ("summarization", "summary_text"),
        ("translation", "translation_text"),
    ],
)
def test_sequences(load: Any, folders: Any, task: str, key: str) -> None:
    model = load("sequences", task)
    folder = str(folders("sequences"))
    if VERSION < 5:
        pipe = transformers.pipeline(task, folder)
        expected = [pipe(text, max_new_tokens=8)[0] for text in TEXTS]
        several = pipe(TEXTS[0], max_new_tokens=8, num_return_sequences=2)
    else:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        direct = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()

        def generated(text: str, **more: Any) -> list[dict[str, str]]:
            encoded = tokenizer(text, return_tensors="pt")
            made = direct.generate(
                encoded.input_ids,
                attention_mask=encoded.attention_mask,
                max_new_tokens=8,
                num_beams=4,
                **more,
            )
            return [{key: one} for one in tokenizer.batch_decode(made, skip_special_tokens=True)]

        expected = [generated(text)[0] for text in TEXTS]
        several = generated(TEXTS[0], num_return_sequences=2)
    assert ask(model, texts("args", TEXTS), max_new_tokens=8) == expected
    assert ask(model, texts("args", TEXTS[:1]), max_new_tokens=8, num_return_sequences=2) == [several]


@pytest.mark.parametrize(
    "options", [{}, {"repetition_penalty": 1.5}, {"no_repeat_ngram_size": 2}, {"min_new_tokens": 8}], ids=str
)
def test_streams_of_sequences(load: Any, folders: Any, options: dict[str, Any]) -> None:
    """They have the texts of a search with one beam."""
    folder = str(folders("sequences"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    direct = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    model = load("sequences")
    for text in TEXTS:
        encoded = tokenizer(text, return_tensors="pt")
        made = direct.generate(
            encoded.input_ids, attention_mask=encoded.attention_mask, max_new_tokens=12, **options
        )[0]
        parameters = Parameters(max_new_tokens=12, **options)
        asked = InferenceRequest(inputs=[texts("args", [text])], parameters=parameters)
        pieces = [
            {output.name: output.data for output in response.outputs}
            for response in model.predict_stream([asked])
        ]
        found = "".join(piece["text_output"][0] for piece in pieces)
        assert found == tokenizer.decode(made, skip_special_tokens=True)
        ends = made[-1] == tokenizer.eos_token_id
        assert pieces[-1]["finish_reason"] == ["stop" if ends else "length"]
        assert pieces[-1]["completion_tokens"][0] == len(made) - 1
        assert pieces[-1]["prompt_tokens"][0] == encoded.input_ids.shape[1]
        # The same as a whole, with its tensors.
        parameters.num_beams = 1
        asked.inputs[0].name = "text_input"
        whole = {output.name: output.data for output in model.predict(asked).outputs}
        assert whole["text_output"] == [found]
        assert whole["finish_reason"] == pieces[-1]["finish_reason"]
        assert whole["completion_tokens"][0] == pieces[-1]["completion_tokens"][0]


def test_sequences_stop_at_texts(load: Any) -> None:
    model = load("sequences")
    made = [
        ask(model, texts("args", [one]), max_new_tokens=12, num_beams=1)[0]["generated_text"] for one in TEXTS
    ]
    # Random weights make other texts in each version of transformers, not all with a letter.
    prompt, text = next(pair for pair in zip(TEXTS, made, strict=True) if re.search("[a-zA-Z]", pair[1][1:]))
    stop = re.search("[a-zA-Z]", text[1:])[0]  # type: ignore[index]  # there is one
    expected = text[: text.index(stop)]
    (cut,) = ask(model, texts("args", [prompt]), max_new_tokens=12, num_beams=1, stop=[stop])
    assert cut["generated_text"] == expected
    parameters = Parameters(max_new_tokens=12, stop=[stop])
    asked = InferenceRequest(inputs=[texts("args", [prompt])], parameters=parameters)
    pieces = [response.outputs[0].data[0] for response in model.predict_stream([asked])]
    assert "".join(pieces) == expected
    with pytest.raises(InferenceError, match='a stream has one text; leave "num_beams" out'):
        next(
            model.predict_stream([InferenceRequest(inputs=asked.inputs, parameters=Parameters(num_beams=2))])
        )
    with pytest.raises(InferenceError, match="a stream takes one prompt, not 2"):
        next(model.predict_stream([InferenceRequest(inputs=[texts("args", TEXTS[:2])])]))


def test_generation(load: Any, library: Any) -> None:
    model, pipe = load("writer"), library("writer")
    found = ask(model, texts("args", TEXTS), max_new_tokens=6)
    expected = [pipe(text, max_new_tokens=6, do_sample=False)[0] for text in TEXTS]
    assert found == expected
    assert ask(model, texts("args", TEXTS[:1]), max_new_tokens=6, return_full_text=False) == [
        pipe(TEXTS[0], max_new_tokens=6, do_sample=False, return_full_text=False)[0]
    ]
    beams = {"max_new_tokens": 6, "num_beams": 3, "num_return_sequences": 2}
    assert ask(model, texts("args", TEXTS[:1]), **beams) == [pipe(TEXTS[0], do_sample=False, **beams)]


def test_conversations(load: Any, library: Any) -> None:
    messages = [{"role": "user", "content": "who lives in paris?"}]
    model, pipe = load("writer"), library("writer")
    tensor = RequestInput("messages", [1], "BYTES", [json.dumps(messages)])
    response = model.predict(
        InferenceRequest(
            inputs=[tensor], parameters=Parameters(max_new_tokens=6), outputs=[RequestOutput("output")]
        )
    )
    found = JSONListCodec.decode_output(response.outputs[0])
    assert found == [pipe(messages, max_new_tokens=6, do_sample=False)[0]]


def test_image_classification(load: Any, library: Any) -> None:
    model, pipe = load("vision"), library("vision")
    pictures = [picture(0), picture(90)]
    expected = [pipe(one) for one in pictures]
    close(ask(model, ImageCodec.encode_input("args", pictures)), expected)
    plain = ImageCodec.encode_input("images", pictures)
    plain.parameters = None
    close(ask(model, plain, top_k=1), [one[:1] for one in expected])
    arrays = np.stack([np.asarray(one) for one in pictures])
    close(ask(model, NumpyCodec.encode_input("args", arrays)), expected)


def test_image_features(load: Any, folders: Any) -> None:
    pipe = transformers.pipeline("image-feature-extraction", str(folders("vision")), dtype="float32")
    found = ask(load("vision", "image-feature-extraction"), ImageCodec.encode_input("args", [picture(0)]))
    close(found, [pipe(picture(0))], 1e-4)


def test_audio_classification(load: Any, library: Any) -> None:
    model, pipe = load("hearing"), library("hearing")
    sounds = np.sin(np.arange(2 * 800, dtype=np.float32)).reshape(2, 800)
    expected = [pipe(one) for one in sounds]
    close(ask(model, NumpyListCodec.encode_input("args", list(sounds))), expected)
    close(ask(model, NumpyCodec.encode_input("args", sounds[0])), expected[:1])
    whole = (sounds * 32767).round().astype(np.int16)
    close(ask(model, NumpyCodec.encode_input("args", whole)), [pipe(one / 32768) for one in whole], 1e-3)
