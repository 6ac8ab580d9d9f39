"""The runtime: settings, loading, inputs, options, and what it refuses."""

from __future__ import annotations

import json
import pickle
import shutil
import socket
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from PIL import Image

from mlsrv import ModelSettings
from mlsrv.codecs import NumpyCodec
from mlsrv.context import CallContext, current_context
from mlsrv.errors import (
    CodecError,
    InferenceError,
    InputsNotFound,
    InvalidModelURI,
    ModelLoadError,
    OutputNotFound,
    RequestCancelled,
    Unsupported,
)
from mlsrv.settings import Owner
from mlsrv.types import InferenceRequest, Parameters, RequestInput, RequestOutput
from mlsrv_huggingface import HuggingFaceRuntime, ImageCodec, JSONListCodec
from mlsrv_huggingface.configuration import options_of
from mlsrv_huggingface.plugin import mlsrv_select_runtime
from mlsrv_huggingface.settings import HuggingFaceSettings
from tiny_models import TEXTS


def texts(name: str, values: list[Any]) -> RequestInput:
    return RequestInput(name, [len(values)], "BYTES", list(values))


def request(*inputs: RequestInput, outputs: Any = None, **options: Any) -> InferenceRequest:
    return InferenceRequest(
        inputs=list(inputs),
        parameters=Parameters(**options),
        outputs=None if outputs is None else [RequestOutput(name) for name in outputs],
    )


def settings_with(extra: dict[str, Any], **fields: Any) -> ModelSettings:
    made = ModelSettings(name="m", implementation="huggingface", parameters={"extra": extra}, **fields)
    return made.resolve([Owner("mlsrv-huggingface", HuggingFaceSettings)])


# --- settings -----------------------------------------------------------------------------------------------


def test_precedence_of_settings() -> None:
    fields = {"huggingface_task": "fill-mask", "huggingface_device": 1, "huggingface_framework": "pt"}
    settings = settings_with({"task": "translation", "device": "cpu"}, **fields)
    assert options_of(settings, {}).task == "translation"
    assert options_of(settings, {}).device == "cpu"
    assert options_of(settings, {}).framework == "pt"
    seldon = json.dumps(
        [
            {"name": "task", "value": "summarization", "type": "STRING"},
            {"name": "optimum_model", "value": "true", "type": "BOOL"},
            {"name": "intra_op_threads", "value": "3", "type": "INT"},
            {"name": "model_uri", "value": "elsewhere", "type": "STRING"},
        ]
    )
    found = options_of(settings, {"PREDICTIVE_UNIT_PARAMETERS": seldon})
    assert (found.task, found.optimum_model, found.intra_op_threads) == ("summarization", True, 3)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"tsk": "fill-mask"}, "tsk.*task"),
        ({"task": 5}, "extra.task: expected a text, got 5"),
        ({"model_kwargs": [1]}, "extra.model_kwargs: expected an object"),
        ({"intra_op_threads": 0}, "extra.intra_op_threads: expected at least 1"),
        ({"trust_remote_code": "perhaps"}, "expected true or false"),
    ],
    ids=["unknown", "text", "object", "threads", "flag"],
)
def test_wrong_settings(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        options_of(settings_with(extra), {})
    with pytest.raises(ModelLoadError, match="PREDICTIVE_UNIT_PARAMETERS must be a JSON list"):
        options_of(settings_with({}), {"PREDICTIVE_UNIT_PARAMETERS": '{"a": 1}'})


# --- loading ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "extra", "message"),
    [
        ("classifier", {"task": "fil-mask"}, "'fil-mask' is not known; known are any-to-any, audio-"),
        ("classifier", {"framework": "tf"}, "must be pt or onnx, not 'tf'"),
        ("classifier", {"device": "cuda:7"}, "'cuda:7' is not a device of this machine"),
        ("classifier", {"framework": "onnx"}, "has no model.onnx; export"),
        ("classifier", {"task": "rerank"}, "a model that ranks has one label, this one has 3"),
        ("encoder", {"pooling": "median"}, "pooling must be one of mean, cls, max, lasttoken"),
        ("classifier", {"task": "summarization"}, "transformers cannot read the folder"),
        ("vision", {"task": "text-classification"}, "transformers cannot read the folder"),
        ("encoder", {"task": ""}, "do not tell what it is for; set parameters.extra.task"),
        ("encoder", {"pretrained_model": "nobody/nothing"}, "nor in the hub's cache.*set.*allow_hub"),
        ("encoder", {"pretrained_model": "no such/name at all!"}, "nor in the hub's cache"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else None,
)
def test_refused_at_load(load: Any, which: str, extra: dict[str, Any], message: str) -> None:
    extra = dict(extra)
    task = extra.pop("task", None)
    with pytest.raises(ModelLoadError, match=message):
        load(which, task, **extra)


def test_no_model() -> None:
    with pytest.raises(InvalidModelURI, match=r"names no folder; set parameters.uri"):
        HuggingFaceRuntime(settings_with({"task": "fill-mask"})).load()
    with pytest.raises(InvalidModelURI, match="names no folder"):
        HuggingFaceRuntime.artifact_of(settings_with({"task": "fill-mask"}))


def test_a_folder_without_a_model(load: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidModelURI, match=r"has no config.json of transformers"):
        load(tmp_path, "fill-mask")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelLoadError, match=r"has no weights \(\*.safetensors\)|cannot read"):
        load(tmp_path, "fill-mask")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelLoadError, match="cannot read the folder"):
        load(tmp_path, "text-generation")


def test_damaged_weights(load: Any, folders: Any, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(folders("classifier"), folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelLoadError, match="cannot read the folder"):
        load(folder, "text-classification")


def test_pickles_are_refused_unless_allowed(load: Any, folders: Any, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(folders("classifier"), folder)
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"pytorch_model.bin is a pickle.*allow_pickle"):
        load(folder, "text-classification")
    allowed = load(folder, "text-classification", allow_pickle=True)
    asked = request(texts("args", TEXTS), outputs=["logits"])
    found, expected = (model.predict(asked).outputs[0].data for model in (allowed, load("classifier")))
    assert np.allclose(found, expected, atol=1e-5)


class Boom:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("boom"),)


def test_code_is_not_run(load: Any, folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the code of a folder, nor that of a pickle beside safetensors."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "coded"
    shutil.copytree(folders("classifier"), folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Boom()))
    load(folder, "text-classification")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("open('boom', 'w')\n")
    with pytest.raises(ModelLoadError, match=r"brings along; set.*trust_remote_code"):
        load(folder, "text-classification")
    assert not (tmp_path / "boom").exists()


def test_nothing_is_fetched(load: Any, minilm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: tried.append(address))
    load(minilm, "embedding")
    for which in ("classifier", "entities", "writer", "sequences"):
        load(which)
    assert tried == []


def test_found_tasks(load: Any, folders: Any, minilm: Path) -> None:
    found = {
        which: load(which, "")._task.name
        for which in ("classifier", "entities", "masked", "answering", "writer", "vision")
    }
    assert found == {
        "classifier": "text-classification",
        "entities": "token-classification",
        "masked": "fill-mask",
        "answering": "question-answering",
        "writer": "text-generation",
        "vision": "image-classification",
    }
    (output,) = load(minilm, None).predict(request(texts("args", ["a text"]))).outputs
    assert (output.name, output.shape) == ("embedding", [1, 384])


def test_the_folder_selects_the_runtime(minilm: Path, tmp_path: Path) -> None:
    assert mlsrv_select_runtime(sorted(minilm.iterdir())) == "huggingface"
    (tmp_path / "config.json").write_text('{"other": 1}')
    assert mlsrv_select_runtime(sorted(tmp_path.iterdir())) is None
    assert mlsrv_select_runtime([]) is None


def test_weights_of_16_bits_are_computed_with_in_32(load: Any, folders: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "half"
    shutil.copytree(folders("classifier"), folder)
    weights = load_file(folder / "model.safetensors")
    halves = {name: value.bfloat16().contiguous() for name, value in weights.items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    for key in ("dtype", "torch_dtype"):
        config.pop(key, None)
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    exact = load(folder, "text-classification")
    assert exact._runner._encoder.model.dtype is torch.float32
    rough = load(folder, "text-classification", model_kwargs={"dtype": "bfloat16"})
    assert rough._runner._encoder.model.dtype is torch.bfloat16
    for model in (exact, rough):
        (output,) = model.predict(request(texts("args", TEXTS), outputs=["logits"])).outputs
        assert output.data.dtype == np.float32


# --- requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "asked", "error", "message"),
    [
        ("classifier", request(), InputsNotFound, "needs the inputs args"),
        ("classifier", request(texts("args", ["a"]), texts("array_inputs", ["b"])), InferenceError, "twice"),
        ("classifier", request(texts("args", ["a"]), tpo_k=2), InferenceError, 'did you mean "top_k"'),
        ("classifier", request(texts("args", ["a"]), texts("zzz", ["b"])), InferenceError, 'no option "zzz"'),
        (
            "classifier",
            request(texts("args", ["a"]), top_k=0),
            InferenceError,
            "at least 1, not 0",
        ),
        ("classifier", request(texts("args", ["a"]), top_k=True), InferenceError, "integer of at least 1"),
        (
            "classifier",
            request(texts("args", ["a"]), function_to_apply="sigmid"),
            InferenceError,
            "one of sigmoid, softmax, none",
        ),
        ("classifier", request(texts("args", ["a"]), raw_outputs=3), InferenceError, "true or false"),
        ("classifier", request(texts("args", ["a"]), outputs=["zzz"]), OutputNotFound, 'no output "zzz"'),
        ("masked", request(texts("args", ["a"]), raw_outputs=True), Unsupported, "has no tensors"),
        ("masked", request(texts("args", ["no mask here"])), InferenceError, "refuses the request"),
        ("masked", request(RequestInput("args", [1], "INT64", [1])), CodecError, "BYTES, not INT64"),
        ("entailing", request(texts("args", ["a"])), InputsNotFound, "candidate_labels"),
        ("entailing", request(texts("args", ["a"]), candidate_labels=[]), InferenceError, "one at least"),
        ("answering", request(texts("question", ["a"])), InputsNotFound, "context"),
        (
            "answering",
            request(texts("question", ["a", "b", "c"]), texts("context", ["a", "b"])),
            InferenceError,
            "equally many rows",
        ),
        (
            "answering",
            request(texts("question", [" "]), texts("context", ["a"])),
            InferenceError,
            "must not be empty",
        ),
        ("vision", request(texts("args", ["%"])), CodecError, "not base64"),
        ("vision", request(texts("args", ["AAAA"])), CodecError, "not an image"),
        (
            "vision",
            request(RequestInput("args", [1], "BYTES", ["/etc/hostname"], Parameters("str"))),
            CodecError,
            "images come as base64",
        ),
        ("hearing", request(RequestInput("args", [1, 2, 2], "FP32", [1.0] * 4)), CodecError, "sounds come"),
        (
            "hearing",
            request(RequestInput("args", [800], "FP32", [0.5] * 800), sampling_rate=8000),
            InferenceError,
            "16000 samples a second, not 8000",
        ),
        ("writer", request(texts("args", ["a " * 90])), InferenceError, "leaves no room"),
        ("writer", request(texts("args", ["a"]), logprobs=1), InferenceError, "for streams"),
        (
            "writer",
            request(texts("messages", ["[]"])),
            CodecError,
            "a JSON list of messages",
        ),
        ("writer", request(texts("messages", ["{"])), CodecError, "not JSON"),
        ("encoder", request(texts("args", ["a"]), prompt_name="query"), InferenceError, "no prompt"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_refused(
    load: Any, which: str, asked: InferenceRequest, error: type[Exception], message: str
) -> None:
    model = load(which)
    with pytest.raises(error, match=message):
        model.predict(asked)


@pytest.mark.parametrize(
    "which", ["classifier", "entities", "masked", "encoder", "writer", "sequences", "vision"]
)
def test_no_rows(load: Any, which: str) -> None:
    (output,) = load(which).predict(request(texts("args", []))).outputs
    assert (output.name, output.shape, output.data) == ("output", [0, 1], [])


def test_no_rows_of_tensors(load: Any) -> None:
    (output,) = load("classifier").predict(request(texts("args", []), outputs=["logits"])).outputs
    assert output.shape == [0, 3]


@pytest.mark.parametrize("which", ["classifier", "entities", "encoder", "sequences", "writer"])
def test_long_and_empty_texts(load: Any, which: str) -> None:
    model = load(which)
    rows = ["", "\n", "a" * 200, "\x00é😀"]
    if which == "writer":
        rows[2] = "a" * 20
    options = {"max_new_tokens": 4} if which in ("sequences", "writer") else {}
    (output,) = model.predict(request(texts("args", rows), **options)).outputs
    assert output.shape == [4, 1]
    for element in output.data:
        json.loads(element)


def test_truncation(load: Any) -> None:
    long = request(texts("args", ["the red house " * 60]))
    assert load("classifier").predict(long).outputs[0].shape == [1, 1]
    with pytest.raises(InferenceError, match=r"text 0 has 182 tokens, but the model takes 64.*truncation"):
        load("classifier", truncation=False).predict(long)
    with pytest.raises(InferenceError, match="takes 64"):
        load("classifier").predict(attrs.evolve(long, parameters=Parameters(truncation=False)))


def test_options_as_inputs(load: Any) -> None:
    model = load("classifier")
    expected = model.predict(request(texts("args", TEXTS), top_k=2)).outputs[0].data
    found = model.predict(request(texts("args", TEXTS), RequestInput("top_k", [1], "INT64", [2])))
    assert found.outputs[0].data == expected
    found = model.predict(
        request(texts("args", TEXTS), JSONListCodec.encode_input("top_k", [2]), function_to_apply="softmax")
    )
    assert found.outputs[0].data == expected


def test_content_types(load: Any) -> None:
    """The content type of the request does not matter, that of an input does."""
    model = load("classifier")
    expected = model.predict(request(texts("args", TEXTS))).outputs[0].data
    asked = request(texts("args", TEXTS))
    asked.parameters = Parameters("no-such-type")
    assert model.predict(asked).outputs[0].data == expected
    asked = request(NumpyCodec.encode_input("args", np.array(TEXTS)))
    assert model.predict(asked).outputs[0].data == expected


def test_the_metadata(load: Any) -> None:
    import asyncio

    model = load("entailing")
    found = asyncio.run(model.metadata())
    assert found.platform == "huggingface"
    assert found.parameters.task == "zero-shot-classification"
    assert [(tensor.name, tensor.datatype.value) for tensor in found.inputs] == [
        ("args", "BYTES"),
        ("candidate_labels", "BYTES"),
    ]
    assert [tensor.name for tensor in found.outputs] == ["output"]


def test_a_request_that_was_given_up_is_not_begun(load: Any) -> None:
    model = load("classifier")
    context = CallContext()
    context.cancel()
    token = current_context.set(context)
    try:
        with pytest.raises(RequestCancelled):
            model.predict(request(texts("args", TEXTS)))
    finally:
        current_context.reset(token)


def test_many_threads_get_their_own_answers(load: Any) -> None:
    """A tokenizer remembers the last padding and truncation that it was told."""
    from concurrent.futures import ThreadPoolExecutor

    model = load("classifier")
    long = "the red house is in london " * 4
    asked = [
        request(texts("args", [long, "a"]), max_length=8),
        request(texts("args", [long])),
        request(texts("args", ["a good model"]), truncation=False),
        request(texts("args", [long, long, "a"]), max_length=32),
    ]
    expected = [model.predict(one).outputs[0].data for one in asked]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda index: model.predict(asked[index % 4]).outputs[0].data, range(200)))
    assert all(data == expected[index % 4] for index, data in enumerate(found))


def test_images_of_all_kinds(load: Any) -> None:
    pixels = np.arange(24 * 24, dtype=np.uint8).reshape(24, 24)
    model = load("vision")
    for mode in ("RGB", "L", "RGBA", "P", "1"):
        tensor = ImageCodec.encode_input("args", [Image.fromarray(pixels).convert(mode)])
        assert model.predict(request(tensor)).outputs[0].shape == [1, 1]


def test_the_real_model(load: Any, minilm: Path) -> None:
    model: HuggingFaceRuntime = load(minilm, "embedding")
    sentences = ["A man is eating food.", "Someone has a meal.", "The sky is full of stars tonight."]
    (output,) = model.predict(request(texts("args", sentences))).outputs
    vectors = output.data.reshape(output.shape)
    assert vectors.shape == (3, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > 0.5
    assert far < 0.2


def test_models_are_read_one_after_the_other(load: Any, folders: Any) -> None:
    """transformers makes models by a setting of the whole process."""
    from concurrent.futures import ThreadPoolExecutor

    for which in ("classifier", "writer", "encoder", "masked"):
        folders(which)
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(load, ["classifier", "writer", "encoder", "masked"] * 4))
    for model in models[::4]:
        assert model.predict(request(texts("args", TEXTS))).outputs[0].shape == [4, 1]


def test_arrays_as_json() -> None:
    """Arrays have the digits of their type; those with what JSON does not know are written like lists."""
    short = np.array([[0.1, -2.0], [2.5, 1 / 3]], np.float32)
    strided = np.arange(6, dtype=np.float64).reshape(2, 3)[:, ::2] / 3
    odd = np.array([np.nan, np.inf, 0.5], np.float32)
    values = [short, strided, odd, odd[:0], np.array([1, 2])]
    output = JSONListCodec.encode_output("output", values)
    assert output.data[0] == b"[[0.1,-2.0],[2.5,0.33333334]]"
    found = JSONListCodec.decode_output(output)
    assert np.array_equal(np.array(found[0], np.float32), short)
    assert np.array_equal(found[1], strided)
    assert found[2:] == [[None, None, 0.5], [], [1, 2]]
