"""The base class of models, as an author sees it in a test of their own, without a kernel."""

from collections.abc import AsyncIterator

import pytest

from mlsrv import CodecOffer, MLModel, ModelSettings
from mlsrv.errors import Unsupported
from mlsrv.plugins import Plugins
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, MetadataTensor

TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
SETTINGS = ModelSettings(
    name="m", parameters={"version": "v1"}, inputs=[TENSOR], platform="toy", versions=["1"], max_batch_size=4
)


async def requests() -> AsyncIterator[InferenceRequest]:
    yield text_request("m", ["a"])


async def test_the_metadata_is_that_of_the_settings() -> None:
    model = MLModel(SETTINGS)
    assert (model.name, model.version, model.ready) == ("m", "v1", False)
    metadata = await model.metadata()
    assert (metadata.name, metadata.platform, metadata.versions) == ("m", "toy", ["1"])
    assert metadata.inputs == [MetadataTensor(**TENSOR)]  # type: ignore[arg-type]  # the fields of one
    model.inputs.clear()
    assert len(SETTINGS.inputs) == 1


async def test_load_and_unload_are_optional() -> None:
    model = MLModel(SETTINGS)
    assert await model.load()
    assert await model.unload()


async def test_a_method_that_is_not_overridden_is_unsupported() -> None:
    model = MLModel(SETTINGS)
    with pytest.raises(Unsupported, match=r"^Model m answers streams only"):
        await model.predict(text_request("m", ["a"]))
    with pytest.raises(Unsupported, match=r"^Model m does not stream"):
        model.predict_stream(requests())


def test_without_a_kernel_it_has_the_codecs_of_the_installed_plugins() -> None:
    model = MLModel(SETTINGS)
    assert model.codecs is model.codecs
    assert model.codecs.content_types("input") == sorted(
        offer.name for offer in Plugins().offers(CodecOffer) if offer.kind == "input"
    )
