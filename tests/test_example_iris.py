"""The example model as a newcomer serves it: found by files, decoded by numpy, answered by sklearn."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlsrv import Kernel, Settings
from mlsrv.codecs import NumpyCodec
from mlsrv.errors import InferenceError
from mlsrv.testing import tensor_request
from mlsrv.types import RequestOutput

IRIS = Path(__file__).parent / "examples/iris"
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]

# The artifact is read by every scikit-learn that we promise, also by those that did not save it.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")


def test_the_artifact_is_small_and_no_pickle() -> None:
    artifact = IRIS / "model.skops"
    assert artifact.stat().st_size < 100_000
    assert artifact.read_bytes()[:2] == b"PK"


async def test_the_example_is_served() -> None:
    async with Kernel(Settings(model_repository_root=str(IRIS), executor="inline")) as kernel:
        await kernel.loaded()
        assert kernel.problems() == []
        assert kernel.model_names() == ["iris"]
        assert kernel.model_metadata("iris").platform == "sklearn"
        response = await kernel.infer(tensor_request("iris", FLOWERS))
        assert NumpyCodec.decode_output(response.outputs[0]).tolist() == [[0], [2]]
        request = tensor_request("iris", FLOWERS)
        request.outputs = [RequestOutput("predict_proba"), RequestOutput("transform")]
        probabilities, plane = map(NumpyCodec.decode_output, (await kernel.infer(request)).outputs)
        assert probabilities.argmax(axis=1).tolist() == [0, 2]
        assert plane.shape == (2, 2)
        with pytest.raises(InferenceError, match=r"X has 3 features, but .* is expecting 4 features"):
            await kernel.infer(tensor_request("iris", [FLOWERS[0][:3]]))
