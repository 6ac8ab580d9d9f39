"""Tasks with images, films, sounds, tables and decisions give what the library gives."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
import transformers
from PIL import Image
from transformers.pipelines import PIPELINE_REGISTRY

from mlsrv.codecs import NumpyCodec
from mlsrv.errors import InferenceError, ModelLoadError
from mlsrv_huggingface import ImageCodec, JSONListCodec, NumpyListCodec
from mlsrv_huggingface.plain import plain
from mlsrv_huggingface.tasks import TASKS
from tiny_media import MEDIA_MODELS
from tiny_models import MODELS
from tiny_requests import ask, close, picture, texts

FIVE = int(transformers.__version__.split(".")[0]) >= 5
PICTURES = [picture(0, 64), picture(90, 64)]
SOUND = np.sin(np.arange(8000, dtype=np.float32))
LABELS = ["a house", "the river"]
only_five = pytest.mark.skipif(not FIVE, reason="transformers 4 has no such task")


jit = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script:DeprecationWarning"
)  # in models of transformers 4


def images(name: str, values: list[Any]) -> Any:
    return ImageCodec.encode_input(name, values)


@pytest.fixture
def library(folders: Callable[[str], Path]) -> Callable[[str], Any]:
    """The pipeline of the library for a tiny model."""
    return lambda task: transformers.pipeline(task, str(folders(task)), dtype="float32")


def test_every_task_of_the_library_is_known_and_tested() -> None:
    known = set(PIPELINE_REGISTRY.supported_tasks)
    assert known <= set(TASKS)
    tested = {task for task, _ in MODELS.values()} | set(MEDIA_MODELS)
    # These three are tested with the model of text2text-generation and that of image-classification.
    tested |= {"summarization", "translation", "image-feature-extraction"}
    assert tested == set(TASKS)


# --- images -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("object-detection", {"threshold": 0.0}),
        ("image-segmentation", {}),
        ("zero-shot-image-classification", {"candidate_labels": LABELS}),
        ("zero-shot-object-detection", {"candidate_labels": LABELS, "threshold": 0.0}),
        ("depth-estimation", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_images(load: Any, library: Any, task: str, options: dict[str, Any]) -> None:
    pipe = library(task)
    found = ask(load(task), images("args", PICTURES), **options)
    close(found, [plain(pipe(one, **options)) for one in PICTURES], 1e-4)


def test_masks(load: Any, library: Any) -> None:
    """Runs where torchvision does: there is no build for CPUs in every index of packages."""
    pytest.importorskip("torchvision")
    options = {"points_per_batch": 64, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    pipe = library("mask-generation")
    found = ask(load("mask-generation"), images("args", PICTURES[:1]), **options)
    close(found, [plain(pipe(PICTURES[0], **options))], 1e-4)


def test_what_a_task_needs(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelLoadError, match="the task mask-generation needs torchvision"):
        load("mask-generation")


def test_documents(load: Any, library: Any) -> None:
    words = [["the", [0, 0, 100, 100]], ["red", [100, 0, 200, 100]], ["house", [200, 0, 300, 100]]]
    question = "where is it?"
    found = ask(
        load("document-question-answering"),
        texts("question", [question]),
        JSONListCodec.encode_input("word_boxes", [words]),
    )
    boxes = [(word, box) for word, box in words]
    expected = library("document-question-answering")(image=None, question=question, word_boxes=boxes)
    close(found, [expected])


def test_images_and_texts(load: Any, library: Any) -> None:
    prompt = "<image> the red house"
    found = ask(
        load("image-text-to-text"), images("images", PICTURES), texts("text", [prompt]), max_new_tokens=5
    )
    pipe = library("image-text-to-text")
    assert found == [pipe(images=one, text=prompt, max_new_tokens=5) for one in PICTURES]


def test_keypoints(load: Any, library: Any) -> None:
    other = PICTURES[0].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    found = ask(load("keypoint-matching"), images("image_0", PICTURES), images("image_1", [other]))
    pipe = library("keypoint-matching")
    assert found[0]
    close(found, [plain(pipe([one, other])) for one in PICTURES])


def direct(folder: Path, auto_class: str, processor: str = "AutoImageProcessor") -> tuple[Any, Any]:
    """A model and what prepares its inputs."""
    model = getattr(transformers, auto_class).from_pretrained(folder).eval()
    return model, getattr(transformers, processor).from_pretrained(folder)


def test_films(load: Any, folders: Any) -> None:
    films = np.stack([np.stack([np.asarray(picture(7 * i + k)) for i in range(6)]) for k in (0, 40)])
    model, prepare = direct(folders("video-classification"), "AutoModelForVideoClassification")
    served = load("video-classification")
    tensors = ask(served, NumpyCodec.encode_input("args", films), outputs=["logits"])["logits"]
    found = ask(served, NumpyCodec.encode_input("args", films), top_k=2)
    for film, answer, row in zip(films, found, tensors, strict=True):
        with torch.inference_mode():
            logits = model(**prepare(list(film[[0, 1, 2, 3]]), return_tensors="pt")).logits[0]
        assert np.allclose(row, logits.numpy(), atol=1e-5)
        scores, numbers = logits.softmax(-1).topk(2)
        names = [model.config.id2label[int(number)] for number in numbers]
        close(
            answer,
            [{"score": float(s), "label": n} for s, n in zip(scores, names, strict=True)],
        )
    with pytest.raises(InferenceError, match="takes 8 frames of a film, but one has 6"):
        ask(served, NumpyCodec.encode_input("args", films), num_frames=8)
    with pytest.raises(InferenceError, match="films come as UINT8"):
        ask(served, NumpyCodec.encode_input("args", films.astype(np.float32)))


def test_questions_about_images(load: Any, library: Any, folders: Any) -> None:
    question = "where is the red house?"
    found = ask(
        load("visual-question-answering"), images("image", PICTURES), texts("question", [question]), top_k=2
    )
    if FIVE:
        model, prepare = direct(
            folders("visual-question-answering"), "AutoModelForVisualQuestionAnswering", "AutoProcessor"
        )
        expected = []
        for one in PICTURES:
            with torch.inference_mode():
                logits = model(**prepare(images=one, text=question, return_tensors="pt")).logits[0]
            scores, numbers = logits.sigmoid().topk(2)
            pairs = zip(scores.tolist(), numbers.tolist(), strict=True)
            expected.append(
                [{"score": score, "answer": model.config.id2label[number]} for score, number in pairs]
            )
    else:
        pipe = library("visual-question-answering")
        expected = [pipe(one, question, top_k=2) for one in PICTURES]
    close(found, expected)


def opened(text: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_images_of_images(load: Any, library: Any, folders: Any) -> None:
    found = ask(load("image-to-image"), images("args", PICTURES))
    for one, answer in zip(PICTURES, found, strict=True):
        if FIVE:
            model, prepare = direct(folders("image-to-image"), "AutoModelForImageToImage")
            with torch.inference_mode():
                made = model(**prepare(images=[one], return_tensors="pt")).reconstruction[0].clamp(0, 1)
            expected = (made.permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
        else:
            expected = np.asarray(library("image-to-image")(one))
        assert np.array_equal(opened(answer), expected)


@pytest.mark.filterwarnings("ignore:The class .AutoModelForVision2Seq:FutureWarning")  # in transformers 4
def test_captions(load: Any, library: Any, folders: Any) -> None:
    found = ask(load("image-to-text"), images("args", PICTURES), max_new_tokens=6)
    if FIVE:
        model, prepare = direct(folders("image-to-text"), "AutoModelForImageTextToText")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folders("image-to-text"))
        expected = []
        for one in PICTURES:
            made = model.generate(**prepare(one, return_tensors="pt"), max_new_tokens=6, do_sample=False)
            told = tokenizer.batch_decode(made, skip_special_tokens=True)
            expected.append([{"generated_text": text} for text in told])
    else:
        pipe = library("image-to-text")
        expected = [pipe(one, max_new_tokens=6) for one in PICTURES]
    assert found == expected


# --- sounds -------------------------------------------------------------------------------------------------


def test_speech(load: Any, library: Any) -> None:
    model, pipe = load("automatic-speech-recognition"), library("automatic-speech-recognition")
    sounds = [SOUND[:1600], SOUND[1600:3200]]
    assert ask(model, NumpyListCodec.encode_input("args", sounds)) == [pipe(one) for one in sounds]
    found = ask(model, NumpyCodec.encode_input("args", SOUND[:1600]), return_timestamps="char")
    close(found, [plain(pipe(SOUND[:1600], return_timestamps="char"))])


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_labels_of_sounds(load: Any, library: Any) -> None:
    model, pipe = load("zero-shot-audio-classification"), library("zero-shot-audio-classification")
    found = ask(model, NumpyCodec.encode_input("args", SOUND), candidate_labels=LABELS)
    close(found, [pipe(SOUND, candidate_labels=LABELS)])


@jit
def test_sounds_of_texts(load: Any, library: Any) -> None:
    model, pipe = load("text-to-audio"), library("text-to-audio")
    expected = pipe("the red house")
    (found,) = ask(model, texts("args", ["the red house"]))
    close(found, plain(expected))
    tensors = ask(model, texts("args", ["the red house"]), outputs=["audio", "sampling_rate"])
    assert np.allclose(tensors["audio"], expected["audio"].reshape(1, -1), atol=1e-5)
    assert tensors["sampling_rate"].tolist() == [8000]


@only_five
def test_sounds_and_texts(load: Any, library: Any) -> None:
    prompt = "<|audio_bos|><|AUDIO|><|audio_eos|> the red"
    model, pipe = load("any-to-any"), library("any-to-any")
    sound = NumpyCodec.encode_input("audio", SOUND)
    found = ask(model, texts("text", [prompt]), sound, max_new_tokens=5)
    assert found == [pipe(text=prompt, audio=SOUND, max_new_tokens=5)]
    assert ask(model, texts("text", ["a red house"]), max_new_tokens=5) == [
        pipe(text="a red house", max_new_tokens=5)
    ]


# --- tables and decisions -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Series.__getitem__ treating keys:FutureWarning")  # in transformers 4
def test_tables(load: Any, library: Any) -> None:
    table = {"city": ["paris", "london"], "old": ["1", "2"]}
    found = ask(
        load("table-question-answering"),
        texts("query", ["where is it?", "a good city"]),
        JSONListCodec.encode_input("table", [table]),
    )
    pipe = library("table-question-answering")
    close(
        found,
        [pipe(table=pandas.DataFrame(table), query=query) for query in ("where is it?", "a good city")],
    )


@pytest.mark.skipif(FIVE, reason="transformers 5 takes every pandas")
def test_tables_of_transformers_4(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pandas, "__version__", "3.1.1")
    with pytest.raises(ModelLoadError, match="tables need pandas 2 where transformers is 4"):
        load("table-question-answering")


@only_five
def test_decisions(load: Any, library: Any) -> None:
    request = {
        "state": "the red house",
        "questions": {
            "old": {"type": "noul", "instructions": "is it old"},
            "which": {"type": "choice", "instructions": "which", "criteria": {"one": "red", "two": "blue"}},
        },
    }
    model, pipe = load("decision"), library("decision")
    expected = plain(pipe(request))
    close(ask(model, JSONListCodec.encode_input("args", [request, request])), [expected, expected])
    close(ask(model, texts("args", [json.dumps(request)])), [expected])
    for bad, message in [
        ([1], "a row is a JSON object"),
        ({"state": "a", "questions": {}, "assets": {"x": "/etc/passwd"}}, "assets"),
        ({"state": "a"}, "refuses the request"),
    ]:
        with pytest.raises(InferenceError, match=message):
            ask(model, JSONListCodec.encode_input("args", [bad]))


# --- tensors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "task", "names", "options"),
    [
        ("vision", "image-classification", ["logits"], {}),
        ("object-detection", "object-detection", ["logits", "pred_boxes"], {"threshold": 0.0}),
        ("image-segmentation", "image-segmentation", ["logits"], {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tensors_of_images(
    load: Any, folders: Any, which: str, task: str, names: list[str], options: dict[str, Any]
) -> None:
    pipe = transformers.pipeline(task, str(folders(which)), dtype="float32")
    model = load(which, task)
    found = ask(model, images("args", PICTURES), outputs=names, **options)
    for index, one in enumerate(PICTURES):
        with torch.inference_mode():
            expected = pipe.model(**pipe.image_processor(one, return_tensors="pt"))
        for name in names:
            assert np.allclose(found[name][index], expected[name][0].numpy(), atol=1e-4)
    declared = {tensor.name: len(tensor.shape) for tensor in model.outputs}
    assert all(found[name].ndim == declared[name] for name in names)
    # All of them, where a request asks for tensors without names.
    every = ask(model, images("args", PICTURES), outputs=[], raw_outputs=True, **options)
    assert sorted(every) == sorted(names)


def test_embeddings_of_images(load: Any, folders: Any) -> None:
    pipe = transformers.pipeline("image-feature-extraction", str(folders("vision")), dtype="float32")
    model = load("vision", "image-feature-extraction")
    found = ask(model, images("args", PICTURES), outputs=["embedding", "last_hidden_state"])
    for index, one in enumerate(PICTURES):
        states = np.array(pipe(one)[0])
        assert np.allclose(found["last_hidden_state"][index], states, atol=1e-4)
        # Not what the model pools itself: this file has no weights for that, they are random.
        assert np.allclose(found["embedding"][index], states.mean(axis=0), atol=1e-4)


def test_depths(load: Any, library: Any) -> None:
    found = ask(load("depth-estimation"), images("args", PICTURES), outputs=["predicted_depth"])
    expected = [library("depth-estimation")(one)["predicted_depth"].numpy() for one in PICTURES]
    assert found["predicted_depth"].shape == (2, 64, 64)
    assert np.allclose(found["predicted_depth"], np.stack(expected).reshape(2, 64, 64), atol=1e-4)


def test_tensors_of_sounds(load: Any, folders: Any) -> None:
    for which, task, pipe_model in (
        ("hearing", "audio-classification", "AutoModelForAudioClassification"),
        ("automatic-speech-recognition", "automatic-speech-recognition", "AutoModelForCTC"),
    ):
        model, prepare = direct(folders(which), pipe_model, "AutoFeatureExtractor")
        sounds = [SOUND[:1600], SOUND[1600:3200]]
        found = ask(load(which, task), NumpyListCodec.encode_input("args", sounds), outputs=["logits"])
        for sound, row in zip(sounds, found["logits"], strict=True):
            with torch.inference_mode():
                inputs = prepare(sound, sampling_rate=16000, return_tensors="pt")
                assert np.allclose(row, model(**inputs).logits[0].numpy(), atol=1e-4)


def test_scores_of_labels_as_tensors(load: Any, library: Any) -> None:
    model, pipe = load("zero-shot-image-classification"), library("zero-shot-image-classification")
    options = {"candidate_labels": LABELS}
    found = ask(model, images("args", PICTURES), outputs=["logits_per_image"], **options)["logits_per_image"]
    for row, one in zip(found, PICTURES, strict=True):
        scores = torch.softmax(torch.from_numpy(row), 0).tolist()
        expected = {told["label"]: told["score"] for told in pipe(one, **options)}
        assert scores == pytest.approx([expected[label] for label in LABELS], abs=1e-5)


@jit
def test_rows_that_make_no_tensor(load: Any) -> None:
    model = load("text-to-audio")
    with pytest.raises(InferenceError, match='rows of its output "audio" are of different shapes'):
        ask(model, texts("args", ["a", "the red house"]), outputs=["audio"])
    with pytest.raises(InferenceError, match="has none of the tensors class_queries_logits"):
        ask(load("image-segmentation"), images("args", PICTURES[:1]), outputs=["class_queries_logits"])
