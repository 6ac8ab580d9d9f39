"""Settings, batches, state and errors of the alibi-detect runtime."""

from __future__ import annotations

import logging
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import mlserver_alibi_detect
import numpy as np
import pytest
from alibi_detect.saving import load_detector

from mlsrv.errors import InferenceError, OutputNotFound
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest, RequestInput
from mlsrv_alibi_detect import state
from mlsrv_alibi_detect.answer import arrays
from served import ask, asking, kernel_of, model, reason


def detector(folder: Path, **extra: Any) -> Any:
    return model(folder, "alibi-detect", extra)


async def test_parameters_of_predict(saved: Any, sample: Any) -> None:
    chosen = {"drift_type": "feature", "return_distance": False}
    async with kernel_of(detector(saved("ks"), predict_parameters=chosen)) as kernel:
        got = await ask(kernel, sample("ks"))
    assert got["is_drift"].shape == (1, 3)
    assert np.isnan(got["distance"]).all()


async def test_requests_are_collected_until_there_is_a_batch(saved: Any, sample: Any) -> None:
    rows = sample("ks")
    async with kernel_of(detector(saved("ks"), batch_size=3)) as kernel:
        assert await ask(kernel, rows[:2]) == {}
        with pytest.raises(InferenceError, match=r"rows of the shape \[2\] do not fit"):
            await ask(kernel, rows[:2, :2])
        assert await ask(kernel, rows[2:5]) == {}
        found = await ask(kernel, rows[5:])
        again = await ask(kernel, rows)
    async with kernel_of(detector(saved("ks"))) as kernel:
        whole = await ask(kernel, rows)
    assert again == {}
    assert found.keys() == whole.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, whole[name])


async def test_chosen_outputs_and_what_describes_the_detector(saved: Any, sample: Any) -> None:
    async with kernel_of(detector(saved("tabular"))) as kernel:
        answer = await kernel.infer(asking(sample("tabular"), "p_val"))
        assert [output.name for output in answer.outputs] == ["p_val"]
        with pytest.raises(OutputNotFound, match="nonsense"):
            await ask(kernel, sample("tabular"), "nonsense")
        metadata = kernel.model_metadata("m")
    assert answer.parameters is not None
    assert answer.parameters.extra["detector_type"] == "drift"
    assert metadata.platform == "alibi-detect"
    assert metadata.parameters is not None
    assert metadata.parameters.extra["method"] == "tabular"


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (np.zeros((4, 2), "float32"), "refuses the input"),
        (np.zeros((0, 3), "float32"), "has no rows"),
    ],
)
async def test_wrong_inputs(saved: Any, rows: Any, match: str) -> None:
    async with kernel_of(detector(saved("ks"))) as kernel:
        with pytest.raises(InferenceError, match=match):
            await ask(kernel, rows)


async def test_texts_are_refused(saved: Any) -> None:
    texts = InferenceRequest([RequestInput("x", [2, 3], "BYTES", list("abcdef"))])
    async with kernel_of(detector(saved("mmd"))) as kernel:
        with pytest.raises(InferenceError, match="refuses the input"):
            await ask(kernel, texts)


@pytest.mark.timeout(600)  # alibi-detect compiles
async def test_the_state_of_an_online_detector_survives_a_restart(
    saved: Any, sample: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "online"
    shutil.copytree(saved("cvm-online"), folder)
    rows = sample("cvm-online")
    async with kernel_of(detector(folder, state_save_freq=2)) as kernel:
        first = await ask(kernel, rows[:5])
        assert first["time"].ravel().tolist() == [1, 2, 3, 4, 5]
    assert (folder / "state").is_dir()
    np.random.seed(7)
    async with kernel_of(detector(folder, state_save_freq=None)) as kernel:
        second = await ask(kernel, rows[4:])
    assert second["time"].ravel().tolist() == [5, 6, 7, 8]  # what was seen when it was saved, at 4, counts
    np.random.seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        direct = load_detector(folder)
    for index, row in enumerate(rows[4:]):
        found = direct.predict(row)["data"]
        np.testing.assert_array_equal(second["test_stat"][index].ravel(), found["test_stat"].ravel())
        assert second["is_drift"][index] == found["is_drift"]


def test_a_state_between_renamings_is_put_back(tmp_path: Path) -> None:
    (tmp_path / "state.old").mkdir()
    state.recover(tmp_path)
    assert (tmp_path / "state").is_dir()
    state.recover(tmp_path)


@pytest.mark.timeout(600)
async def test_a_state_that_cannot_be_saved_costs_no_answer(
    saved: Any, sample: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "online"
    shutil.copytree(saved("cvm-online"), folder)
    (folder / "state.new").write_text("is in the way")
    async with kernel_of(detector(folder, state_save_freq=1)) as kernel:
        assert await ask(kernel, sample("cvm-online")[:1])
    assert "the state of the detector cannot be saved" in caplog.text


async def test_missing_artifacts_and_damaged_ones(saved: Any, tmp_path: Path) -> None:
    assert "is neither a file nor a folder" in await reason(detector(tmp_path / "nowhere"))
    assert "is no folder with a saved detector" in await reason(detector(tmp_path))
    folder = tmp_path / "damaged"
    shutil.copytree(saved("ks"), folder)
    (folder / "config.toml").write_text("name = ")
    assert "cannot be read as a detector of alibi-detect" in await reason(detector(folder))
    assert "is not local" in await reason(model("s3://bucket/detector", "alibi-detect"))


@pytest.mark.parametrize(("backend", "name"), [("tensorflow", "TensorFlow"), ("keops", "KeOps")])
async def test_a_missing_backend_is_named(saved: Any, tmp_path: Path, backend: str, name: str) -> None:
    folder = tmp_path / "elsewhere"
    shutil.copytree(saved("mmd"), folder)
    config = folder / "config.toml"
    config.write_text(config.read_text().replace('backend = "pytorch"', f'backend = "{backend}"'))
    assert f"needs {name}, which is not installed" in await reason(detector(folder))


async def test_a_detector_in_the_older_form_needs_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "meta.dill").write_bytes(b"")
    assert "needs TensorFlow, which is not installed" in await reason(detector(tmp_path))


async def test_a_missing_library_is_named(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alibi_detect.saving", None)
    why = await reason(detector(saved("ks")))
    assert "needs alibi-detect, which cannot be imported here" in why
    assert "environment_requirements" in why


@pytest.mark.parametrize(
    ("extra", "match"),
    [
        ({"batchsize": 1}, "parameters.extra.batchsize is unknown"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"state_save_freq": 0}, "state_save_freq must be at least 1"),
        ({"predict_parameters": []}, "predict_parameters must be an object"),
    ],
)
async def test_wrong_settings(saved: Any, extra: Any, match: str) -> None:
    assert match in await reason(detector(saved("ks"), **extra))


async def test_wrong_parameters_of_predict(saved: Any, sample: Any) -> None:
    async with kernel_of(detector(saved("ks"), predict_parameters={"drift_typ": "batch"})) as kernel:
        with pytest.raises(InferenceError, match="drift_typ"):
            await ask(kernel, sample("ks"))


async def test_the_licence_is_logged(saved: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mlsrv.alibi-detect"):
        async with kernel_of(detector(saved("ks"))):
            pass
    assert caplog.text.count("Business Source License 1.1") == 1


def test_rows_without_a_value_yet_beside_rows_with_several() -> None:
    found = arrays([{"data": {"p_val": None, "x": 1}}, {"data": {"p_val": np.ones(2), "x": 2}}])
    np.testing.assert_array_equal(found["p_val"], [[np.nan, np.nan], [1, 1]])
    assert found["x"].tolist() == [1, 2]


async def test_a_request_of_a_kernel(saved: Any, sample: Any) -> None:
    async with kernel_of(detector(saved("fet"))) as kernel:
        answer = await kernel.infer(tensor_request("m", sample("fet")))
    assert answer.outputs[0].name == "is_drift"
    assert np.asarray(answer.outputs[0].data).tolist() == [1]


class Own(mlserver_alibi_detect.AlibiDetectRuntime):
    """A model of MLServer that derives from the runtime."""

    async def predict(self, payload: Any) -> Any:
        response = await super().predict(payload)
        response.outputs = response.outputs[:1]
        return response


async def test_a_model_of_mlserver_that_derives_from_the_runtime(saved: Any, sample: Any) -> None:
    async with kernel_of(model(saved("ks"), Own)) as kernel:
        assert kernel.problems() == []
        found = await ask(kernel, sample("ks"))
    assert found["is_drift"].tolist() == [[1]]
    assert list(found) == ["is_drift"]
