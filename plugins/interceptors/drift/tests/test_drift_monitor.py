"""Monitors: what they find in the requests of a model that is served."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import mlsrv_drift.plugin
from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput
from mlsrv_drift import monitor as monitor_module
from mlsrv_drift.monitors import Monitors

RANDOM = np.random.default_rng(7)
REFERENCE = RANDOM.normal(size=(500, 3))


class Colours(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = len(payload.inputs[0].data)
        return InferenceResponse(outputs=[ResponseOutput("n", [rows], "INT64", np.arange(rows))])


def saved(tmp_path: Path, values: Any) -> str:
    np.save(tmp_path / "reference.npy", values)
    return str(tmp_path / "reference.npy")


async def test_statistics_are_those_of_scipy_on_the_same_window(watch: Any, tmp_path: Path) -> None:
    window = RANDOM.normal(0.2, 1.3, size=(100, 3)).astype(np.float32)
    async with watch(drift_reference=saved(tmp_path, REFERENCE), drift_correction="none") as watched:
        for row in window:
            await watched.ask(row[None])
        part = await watched.windows(1)
    assert part["latest"]["rows"] == 100
    for index, found in enumerate(part["latest"]["features"]):
        first = REFERENCE[:, index].astype(np.float32).astype(float)
        second = window[:, index].astype(float)
        expected = stats.ks_2samp(first, second)
        assert (found["statistic"], found["p_value"]) == (expected.statistic, expected.pvalue)
        distance = stats.wasserstein_distance(first, second) / first.std()
        assert found["wasserstein"] == pytest.approx(distance, rel=1e-9)
        assert found["corrected_p_value"] == expected.pvalue
        assert found["drift"] == (expected.pvalue < 0.05)


async def test_answers_are_those_of_the_model(watch: Any) -> None:
    async with watch() as watched:
        answer = await watched.ask([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        assert answer.outputs[0].data.tolist() == [6.0, 15.0]


def shifted(random: np.random.Generator) -> Any:
    return random.normal(0.7, 1.0, size=(200, 3))


def wider(random: np.random.Generator) -> Any:
    return random.normal(0.0, 2.0, size=(200, 3))


def one_feature(random: np.random.Generator) -> Any:
    values = random.normal(size=(200, 3))
    values[:, 1] = random.exponential(size=200) - 1  # the same mean and spread, another form
    return values


def missing(random: np.random.Generator) -> Any:
    values = random.normal(size=(200, 3))
    values[::5, 2] = np.nan
    return values


@pytest.mark.parametrize("decides", ["p_value", "psi"])
@pytest.mark.parametrize("kind", [shifted, wider, one_feature], ids=["mean", "spread", "form"])
async def test_drift_of_numbers_is_found(watch: Any, tmp_path: Path, kind: Any, decides: str) -> None:
    random = np.random.default_rng(11)
    settings = {"drift_reference": saved(tmp_path, REFERENCE), "drift_decides": decides, "drift_window": 200}
    async with watch(**settings) as watched:
        await watched.ask(kind(random))
        part = await watched.windows(1)
        report = watched.monitor.report
    assert part["latest"]["drift"]
    assert report["drift"]
    expected = [False, True, False] if kind is one_feature else [True, True, True]
    assert [found["drift"] for found in part["latest"]["features"]] == expected


async def test_a_change_of_what_is_missing_is_found(watch: Any, tmp_path: Path) -> None:
    settings = {"drift_reference": saved(tmp_path, REFERENCE), "drift_window": 200}
    async with watch(**settings) as watched:
        await watched.ask(missing(np.random.default_rng(12)))
        part = await watched.windows(1)
    *others, last = part["latest"]["features"]
    assert last["drift"]
    assert last["missing"] == pytest.approx(0.2)
    assert not any(found["drift"] for found in others)
    assert "20.0% of the values are missing" in part["latest"]["explanation"]


async def test_drift_of_categories_is_found(watch: Any) -> None:
    random = np.random.default_rng(13)
    before = random.choice(["red", "green"], 200, p=[0.8, 0.2]).tolist()
    after = random.choice(["red", "green", "pink"], 100, p=[0.4, 0.2, 0.4]).tolist()
    async with watch(implementation=Colours, drift_predictions=False) as watched:
        for colour in [*before, *before[:100], *after]:
            await watched.kernel.infer(text_request("m", [colour]))
        part = await watched.windows(2)
    (found,) = part["latest"]["features"]
    assert (found["test"], found["drift"], part["windows_drifted"]) == ("chi2", True, 1)
    assert found["window"]["new"] == ["pink"]
    assert '"pink" is new' in found["explanation"]
    counted = [[before.count(name), after.count(name)] for name in ("red", "green", "pink")]
    expected = stats.chi2_contingency(np.array(counted).T, correction=False)
    assert found["statistic"] == pytest.approx(expected.statistic)


async def test_numbers_may_be_categories(watch: Any) -> None:
    async with watch(drift_categorical=["input"], drift_predictions=False) as watched:
        await watched.ask(np.tile([1, 2], 100)[:, None])
        await watched.ask(np.tile([1.0, 3.0], 50)[:, None])
        part = await watched.windows(1)
    (found,) = part["latest"]["features"]
    assert (found["test"], found["drift"], found["window"]["new"]) == ("chi2", True, ["3"])


async def test_predictions_are_watched(watch: Any) -> None:
    """Each input keeps its values, in another order: what goes together changes, and so do the sums."""
    random = np.random.default_rng(14)
    first = random.normal(size=400)
    together = np.stack((first, -first), axis=1)
    apart = np.stack((first, -random.permutation(first)), axis=1)
    async with watch(drift_learn=400, drift_window=400) as watched:
        await watched.ask(together)
        await watched.ask(apart)
        inputs, outputs = await watched.windows(1), await watched.windows(1, "outputs")
    assert not inputs["latest"]["drift"]
    assert outputs["latest"]["drift"]
    assert [found["name"] for found in outputs["latest"]["features"]] == ["sum"]


async def test_a_reference_file_may_have_predictions(watch: Any, tmp_path: Path) -> None:
    rows = np.random.default_rng(15).normal(size=(300, 2))
    lines = ["a,b,sum", *(f"{a},{b},{a + b}" for a, b in rows)]
    (tmp_path / "reference.csv").write_text("\n".join(lines), encoding="utf-8")
    async with watch(drift_reference=str(tmp_path / "reference.csv"), drift_window=300) as watched:
        await watched.ask(rows)
        report = await watched.until(lambda found: found["parts"]["outputs"]["windows"] == 1)
    for part, names in (("inputs", ["a", "b"]), ("outputs", ["sum"])):
        latest = report["parts"][part]["latest"]
        assert [(found["name"], found["statistic"]) for found in latest["features"]] == [
            (name, 0.0) for name in names
        ]


async def test_a_reference_that_does_not_fit_is_told_of(watch: Any, tmp_path: Path) -> None:
    async with watch(drift_reference=saved(tmp_path, REFERENCE)) as watched:
        await watched.ask(np.zeros((5, 2)))
        report = await watched.until(lambda found: found["rows"] == 5)
        assert "3 columns" in report["explanation"]
        assert report["parts"]["inputs"]["state"] == "learning"
        await watched.ask(np.zeros((5, 3)))  # one client's mistake does not end the watch
        await watched.until(lambda found: found["parts"]["inputs"]["state"] == "watching")


async def test_a_missing_reference_refuses_the_model(watch: Any, tmp_path: Path) -> None:
    model = ModelSettings(
        name="m", implementation=Colours, drift_enabled=True, drift_reference=str(tmp_path / "none.csv")
    )
    async with Kernel(models=[model], plugins=[mlsrv_drift.plugin], discover=False) as kernel:
        await kernel.loaded()
        assert "drift_reference" in kernel.handle("m").reason
        assert "Traceback" not in kernel.handle("m").reason


async def test_too_few_values_are_not_compared(watch: Any, tmp_path: Path) -> None:
    async with watch(drift_reference=saved(tmp_path, REFERENCE[:, :2])) as watched:
        rows = np.stack((RANDOM.normal(size=100), np.full(100, np.nan)), axis=1)
        rows[:10, 1] = 100.0
        await watched.ask(rows)
        part = await watched.windows(1)
    assert [found["name"] for found in part["latest"]["features"]] == ["input[0]"]
    assert part["latest"]["too_few_values"] == ["input[1]"]


async def test_a_window_may_end_by_time(watch: Any, tmp_path: Path) -> None:
    settings = {"drift_window": 1000, "drift_window_time": 0.2, "drift_minimum": 40}
    async with watch(drift_reference=saved(tmp_path, REFERENCE), **settings) as watched:
        await watched.ask(RANDOM.normal(size=(40, 3)))
        part = await watched.windows(1)
    assert part["latest"]["rows"] == 40


async def test_nothing_is_lost_or_slowed_when_the_watch_cannot_follow(watch: Any) -> None:
    async with watch(drift_queue=3) as watched:
        monitors = watched.kernel.shared.get(Monitors, Monitors)
        with monitors._lock:  # the thread is kept from its work
            answers = await asyncio.gather(*(watched.ask([[float(number), 1.0]]) for number in range(20)))
            assert watched.monitor.waiting <= 4  # with the one that the thread may have taken already
            assert watched.monitor.dropped >= 16
        assert [answer.outputs[0].data[0] for answer in answers] == [number + 1.0 for number in range(20)]
        dropped = watched.monitor.dropped
        await watched.until(lambda found: found["rows"] + dropped == 20)


async def test_sampling_leaves_requests_out(watch: Any) -> None:
    async with watch(drift_sample=0.0) as watched:
        await watched.ask([[1.0]])
        assert watched.monitor.waiting == 0
        assert watched.monitor.dropped == 0


class Strange(MLModel):
    """Answers what does not fit its own shape."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        output = ResponseOutput("y", [3, 2], "FP32", np.zeros(6, np.float32))
        if payload.inputs[0].data[0] < 0:
            output.shape = [7, 100_000]
            output.data = np.zeros(100_000, np.float32)
        return InferenceResponse(outputs=[output])


async def test_what_cannot_be_watched_is_counted_and_told_of_once(
    watch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with watch(implementation=Strange) as watched:
        tap = watched.kernel.handle("m").loaded().interceptors[0]
        broken = InferenceResponse("m", [ResponseOutput("y", [7, 100_000], "FP32", np.zeros(100_000))])

        async def answer(request: Any, context: Any) -> InferenceResponse:
            return broken

        request = InferenceRequest([RequestInput("x", [1], "FP64", np.zeros(1))])
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                assert await tap(request, None, answer) is broken
        assert watched.monitor.failed == 2
        assert len([one for one in caplog.records if "cannot be watched" in one.message]) == 1


async def test_failed_requests_are_not_looked_at(watch: Any) -> None:
    class Fails(MLModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            raise ValueError("no")

    async with watch(implementation=Fails) as watched:
        with pytest.raises(Exception, match="no"):
            await watched.ask([[1.0]])
        assert watched.monitor.waiting == 0


async def test_the_state_outlives_a_restart(watch: Any) -> None:
    rows = np.random.default_rng(16).normal(size=(340, 2))
    async with watch(drift_stream="page_hinkley") as watched:
        await watched.ask(rows[:200])
        await watched.ask(rows[200:300])
        await watched.ask(rows[300:])
        before = await watched.until(lambda found: found["rows"] == 340)
    async with watch(drift_stream="page_hinkley") as watched:
        after = watched.monitor.report
        assert after["rows"] == 340
        for part in ("inputs", "outputs"):
            assert after["parts"][part]["state"] == "watching"
            assert after["parts"][part]["open_window"] == {"rows": 40, "of": 100}
            assert after["parts"][part]["windows"] == before["parts"][part]["windows"] == 1
        await watched.ask(rows[:60] + 5.0)
        found = await watched.windows(2)
        expected = stats.ks_2samp(rows[:200, 0], np.concatenate((rows[300:, 0], rows[:60, 0] + 5.0)))
        assert found["latest"]["features"][0]["statistic"] == pytest.approx(expected.statistic)


async def test_the_state_is_written_before_the_end(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is killed has lost no more than the last half minute."""
    monkeypatch.setattr(monitor_module, "SAVE_SECONDS", 0.0)
    async with watch() as watched:
        await watched.ask(RANDOM.normal(size=(250, 2)))
        await watched.until(lambda found: found["rows"] == 250)
        assert watched.monitor._file is not None
        found = watched.monitor._file.read()
    assert found is not None
    assert found[0]["rows"] == 250


async def test_another_reference_begins_anew(watch: Any, tmp_path: Path) -> None:
    async with watch(drift_reference=saved(tmp_path, REFERENCE)) as watched:
        await watched.ask(RANDOM.normal(size=(50, 3)))
        await watched.until(lambda found: found["rows"] == 50)
    async with watch(drift_reference=saved(tmp_path, REFERENCE + 1.0)) as watched:
        assert watched.monitor.report["rows"] == 0


async def test_a_reload_goes_on_with_the_same_monitor(watch: Any) -> None:
    async with watch() as watched:
        await watched.ask(RANDOM.normal(size=(150, 2)))
        await watched.until(lambda found: found["rows"] == 150)
        monitor = watched.monitor
        await watched.kernel.load("m")
        assert watched.monitor is monitor
        await watched.ask(RANDOM.normal(size=(60, 2)))
        await watched.until(lambda found: found["parts"]["inputs"]["state"] == "watching")
        await watched.kernel.unload("m")
        assert watched.kernel.shared.get(Monitors, Monitors).find("m", None) is None


async def test_a_reset_learns_anew(watch: Any) -> None:
    async with watch() as watched:
        await watched.ask(RANDOM.normal(size=(250, 2)))
        await watched.until(lambda found: found["parts"]["inputs"]["state"] == "watching")
        watched.monitor.reset()
        report = await watched.until(lambda found: found["parts"]["inputs"]["state"] == "learning")
        assert report["rows"] == 0


WORKER_MODEL = """
import os
import numpy as np
from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput

class Identified(MLModel):
    async def predict(self, payload):
        values = np.array([float(os.getpid())])
        return InferenceResponse(outputs=[ResponseOutput("pid", [1], "FP64", values)])
"""


async def test_all_workers_have_one_state(watch: Any, tmp_path: Path) -> None:
    (tmp_path / "identified.py").write_text(WORKER_MODEL, encoding="utf-8")
    settings = {"source": tmp_path / "model-settings.json", "drift_learn": 10, "drift_window": 30}
    async with watch(
        implementation="identified.Identified", server={"parallel_workers": 2}, **settings
    ) as watched:
        pids = set()
        for number in range(40):
            answers = await asyncio.gather(*(watched.ask([[float(number)]]) for _ in range(2)))
            pids |= {float(answer.outputs[0].data[0]) for answer in answers}
        report = await watched.until(lambda found: found["rows"] == 80)
    assert len(pids) == 2
    assert report["parts"]["inputs"]["windows"] == 2


async def test_streams_and_handlers_pass(watch: Any) -> None:
    async with watch() as watched:
        request = InferenceRequest([RequestInput("x", [1, 1], "FP64", np.zeros(1))], model_name="m")
        answers = [answer async for answer in watched.kernel.stream(request)]
        assert len(answers) == 1
        assert watched.monitor.waiting == 0
