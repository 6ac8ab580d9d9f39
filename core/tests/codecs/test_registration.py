"""Codecs in a model's own modules: registered there, seen by that model and by no other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from mlsrv.codecs import InputCodec, RequestCodec, register_input_codec, register_request_codec
from mlsrv.errors import CodecNotFound
from mlsrv.kernel import Kernel
from mlsrv.model import MLModel
from mlsrv.settings import ModelSettings
from mlsrv.types import InferenceRequest, InferenceResponse, RequestInput, RequestOutput, ResponseOutput

CODEC = """
from mlsrv.codecs import InputCodec, register_input_codec
from mlsrv.types import ResponseOutput

@register_input_codec
class {name}Codec(InputCodec):
    ContentType = "{type}"

    @classmethod
    def decode_input(cls, request_input):
        return "{name} " + request_input.data[0]
"""

MODEL = """
from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput

class Model(MLModel):
    async def predict(self, payload):
        found = self.decode(payload.inputs[0])
        return InferenceResponse(outputs=[ResponseOutput("found", [1], "BYTES", [found])])
"""


def folder(root: Path, name: str, **files: str) -> ModelSettings:
    path = root / name
    path.mkdir()
    for module, text in files.items():
        (path / f"{module}.py").write_text(dedent(text))
    return ModelSettings(name=name, implementation="models.Model", source=path / "model-settings.json")


async def ask(kernel: Kernel, model: str, content_type: str = "own") -> str:
    tensor = RequestInput("x", [1], "BYTES", ["text"], {"content_type": content_type})
    response = await kernel.infer(InferenceRequest([tensor], model_name=model))
    return str(response.outputs[0].data[0])


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed modules, whose names all start with `surely_`."""
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(path)
    yield path
    for name in [name for name in sys.modules if name.startswith("surely_")]:
        del sys.modules[name]


async def test_a_codec_belongs_to_the_model_whose_module_has_it(tmp_path: Path) -> None:
    models = [
        folder(tmp_path, "a", models=MODEL + CODEC.format(name="A", type="own")),
        folder(tmp_path, "b", models=MODEL + "import helper", helper=CODEC.format(name="B", type="own")),
        folder(tmp_path, "c", models=MODEL),
    ]
    async with Kernel(models=models, discover=False) as kernel:
        await kernel.loaded()
        assert await ask(kernel, "a") == "A text"
        assert await ask(kernel, "b") == "B text"
        with pytest.raises(CodecNotFound, match=r'unknown content type "own"; known are none\.'):
            await ask(kernel, "c")
        assert kernel.catalog.codecs.content_types("input") == []


async def test_a_codec_may_be_imported_from_an_installed_module(tmp_path: Path, installed: Path) -> None:
    (installed / "surely_codecs.py").write_text(CODEC.format(name="Installed", type="own"))
    models = [
        folder(tmp_path, "a", models=MODEL + "from surely_codecs import InstalledCodec"),
        folder(tmp_path, "b", models=MODEL + "import surely_codecs"),
    ]
    async with Kernel(models=models, discover=False) as kernel:
        await kernel.loaded()
        assert await ask(kernel, "a") == "Installed text"
        with pytest.raises(CodecNotFound):  # the module is known to the model, the class is not
            await ask(kernel, "b")


async def test_the_module_of_an_installed_runtime_counts(tmp_path: Path, installed: Path) -> None:
    (installed / "surely_runtime.py").write_text(MODEL + CODEC.format(name="Runtime", type="own"))
    derived = folder(
        tmp_path, "b", models="from surely_runtime import Model as Base\nclass Model(Base): pass"
    )
    direct = ModelSettings(name="a", implementation="surely_runtime.Model")
    async with Kernel(models=[direct, derived], discover=False) as kernel:
        await kernel.loaded()
        assert await ask(kernel, "a") == "Runtime text"
        assert await ask(kernel, "b") == "Runtime text"


async def test_a_models_codec_comes_before_that_of_a_plugin(tmp_path: Path) -> None:
    import mlsrv
    from mlsrv.plugins.markers import hookimpl

    class Plugin:
        @hookimpl
        def mlsrv_codecs(self) -> mlsrv.CodecOffer:
            return mlsrv.CodecOffer("own", Plain)

    models = [
        folder(tmp_path, "a", models=MODEL + CODEC.format(name="A", type="own")),
        folder(tmp_path, "b", models=MODEL),
    ]
    async with Kernel(models=models, plugins=[Plugin()], discover=False) as kernel:
        await kernel.loaded()
        assert await ask(kernel, "a") == "A text"
        assert await ask(kernel, "b") == "plain text"


async def test_two_codecs_of_one_content_type_fail_the_load(tmp_path: Path) -> None:
    codecs = CODEC.format(name="One", type="own") + CODEC.format(name="Two", type="own")
    async with Kernel(models=[folder(tmp_path, "a", models=MODEL + codecs)], discover=False) as kernel:
        await kernel.loaded()
        reason = kernel.handle("a").reason
        assert (
            'The input codec "own" is offered by both OneCodec of model a and TwoCodec of model a' in reason
        )


@register_input_codec
class Plain(InputCodec):
    ContentType = "plain"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, complex)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> str:
        return f"plain {request_input.data[0]}"

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        return ResponseOutput(name, [1], "BYTES", [str(payload)])


@register_request_codec
class First(RequestCodec):
    ContentType = "first"

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        return request.inputs[0].data


class Uses(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        assert self.decode_request(payload, First) == ["text"]
        return InferenceResponse(outputs=[self.encode(1j, RequestOutput("y"))])


async def test_a_class_that_is_given_directly_has_the_codecs_of_its_module() -> None:
    async with Kernel(models=[ModelSettings(name="m", implementation=Uses)], discover=False) as kernel:
        await kernel.loaded()
        tensor = RequestInput("x", [1], "BYTES", ["text"])
        request = InferenceRequest([tensor], model_name="m", parameters={"content_type": "first"})
        assert (await kernel.infer(request)).outputs[0].data == ["1j"]


@pytest.mark.parametrize(
    ("register", "codec", "sentence"),
    [
        (register_input_codec, First, r"is not a subclass of mlsrv\.codecs\.InputCodec"),
        (register_request_codec, Plain, r"is not a subclass of mlsrv\.codecs\.RequestCodec"),
        (register_input_codec, Plain(), "is not a subclass"),
        (
            register_input_codec,
            type("Nameless", (InputCodec,), {}),
            "Nameless cannot be registered: it has no Content",
        ),
    ],
)
def test_classes_that_cannot_be_registered(register: Any, codec: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        register(codec)


def test_registering_does_not_reach_subclasses() -> None:
    from mlsrv.codecs.registration import registered_codecs

    module = type(sys)("module")
    vars(module).update(Plain=Plain, Again=Plain, Sub=type("Sub", (Plain,), {}), First=First, other=1)
    assert [(name, offer.kind) for name, offer in registered_codecs([module, module])] == [
        ("Plain", "input"),
        ("First", "request"),
    ]
