"""The console in a real browser: a model is asked, unloaded and loaded, on a desktop and on a phone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import httpx
import numpy as np
import pandas as pd
import pytest
from browsing import SIZES, assert_accessible, browsing, look, served
from numpy.typing import NDArray
from playwright.async_api import Page, expect

import mlsrv
import mlsrv_batching.plugin
import mlsrv_console.plugin
import mlsrv_drift.plugin
import mlsrv_kafka.plugin
import mlsrv_numpy.plugin
import mlsrv_pandas.plugin
import mlsrv_rest.plugin
import mlsrv_text.plugin
import mlsrv_workers.plugin
from mlsrv import MLModel, ModelSettings
from mlsrv.codecs import decode_args
from mlsrv.testing import EchoModel
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput
from mock_broker import Mock

PLUGINS = [
    mlsrv_rest.plugin,
    mlsrv_numpy.plugin,
    mlsrv_pandas.plugin,
    mlsrv_text.plugin,
    mlsrv_console.plugin,
]


@mlsrv.predictor
def shop(
    rows: NDArray[np.float64],
    note: str,
    mode: Literal["sum", "mean"] = "sum",
    top: int = 1,
    loud: bool = False,
) -> tuple[NDArray[np.float64], str]:
    found = rows.sum(axis=1) if mode == "sum" else rows.mean(axis=1)
    return found, f"{note} {top} {loud}"


class House(TypedDict):
    city: str
    rooms: int
    price: float


class Houses(MLModel):
    @decode_args
    def predict(self, houses: Annotated[pd.DataFrame, House]) -> pd.DataFrame:
        return houses[["city", "price"]].assign(price=houses.price / houses.rooms)


class Anything(MLModel):
    @decode_args
    def predict(self, table: pd.DataFrame) -> list[str]:
        return [f"{name} {kind}" for name, kind in table.dtypes.items()]


class Picture(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        return InferenceResponse(
            outputs=[ResponseOutput("seen", [1, 4], "INT64", [*tensor.shape[1:], int(tensor.data[0])])]
        )


class Why(MLModel):
    """Answers as models of mlsrv-shap do."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        values = np.array([[[0.5, -0.5], [-2.0, 2.0]], [[9.0, 9.0], [9.0, 9.0]]])
        parameters = Parameters(
            feature_names=["area", "<b>age</b>"], labels=["cheap", "dear"], output_space="margin"
        )
        return InferenceResponse(
            outputs=[
                ResponseOutput("shap_values", [2, 2, 2], "FP64", values.reshape(-1)),
                ResponseOutput("expected_value", [2], "FP64", np.array([0.25, -0.25])),
            ],
            parameters=parameters,
        )


class Broken(MLModel):
    async def load(self) -> bool:
        raise ValueError("the licence <b>is</b> missing")


MODELS = [
    ModelSettings(name="broken", implementation=Broken),
    ModelSettings(
        name="picture",
        implementation=Picture,
        inputs=[{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
    ),
    ModelSettings(name="shop", implementation=shop),  # type: ignore[arg-type]  # a function with `predictor`
    ModelSettings(name="anything", implementation=Anything),
    ModelSettings(name="houses", implementation=Houses),
]


async def open_model(page: Page, url: str, name: str) -> None:
    await page.goto(f"{url}/v2/console")
    await page.get_by_role("button", name=name).first.click()
    await expect(page.get_by_role("heading", name=name)).to_be_visible()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_a_model_is_asked(size: str, scheme: Literal["light", "dark"]) -> None:
    async with served(MODELS, *PLUGINS) as url, browsing(size, scheme, allowed=(400, 503)) as page:
        await open_model(page, url, "shop")
        await page.get_by_label("rows").fill("1\t2\n3\t4")
        await page.get_by_label("note").fill("hello")
        await page.get_by_label("mode (optional)").select_option("mean")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#answer-facts")).to_contain_text("status 200")
        await expect(page.locator("#answer-body")).to_contain_text("[1.5, 3.5]")
        await expect(page.locator("#answer-body")).to_contain_text("hello 1 False")
        await page.get_by_text("The same with curl").click()
        await expect(page.locator("#as-curl")).to_contain_text(f"curl -s {url}/v2/models/shop/infer")
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= SIZES[size][0], "the page must not scroll sideways"
        await assert_accessible(page)
        await look(page, f"console-{size}-{scheme}")


@pytest.mark.timeout(120)
async def test_a_wrong_value_names_its_field() -> None:
    async with served(MODELS, *PLUGINS) as url, browsing("desktop", allowed=(503,)) as page:
        await open_model(page, url, "shop")
        for rows, sentence in (
            ("", "rows: a value is needed"),
            ("1 x", "rows: x is no number"),
            ("1 2\n3", "differ"),
        ):
            await page.get_by_label("rows").fill(rows)
            await page.get_by_role("button", name="Send").click()
            await expect(page.get_by_role("alert")).to_contain_text(sentence)
        await page.get_by_label("rows").fill("[[1, 2]]")
        await page.get_by_label("note").fill("n")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#answer-body")).to_contain_text("[3]")


@pytest.mark.timeout(120)
async def test_a_model_that_is_not_ready_says_why_and_is_loaded_by_keyboard() -> None:
    async with served(MODELS, *PLUGINS) as url, browsing("desktop", allowed=(400, 500, 503)) as page:
        await open_model(page, url, "broken")
        await expect(page.locator("#model-reason")).to_contain_text("the licence <b>is</b> missing")
        await expect(page.locator("#state")).to_have_text("not ready")
        await page.get_by_role("button", name="shop").click()
        await page.get_by_role("button", name="Unload").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_contain_text("Unload all versions of shop?")
        await assert_accessible(page)
        await page.keyboard.press("Escape")
        await expect(page.locator("#form")).to_be_visible()
        await page.get_by_role("button", name="Unload").click()
        await page.locator("#confirm-yes").click()
        await expect(page.locator("#form")).to_be_hidden()
        await page.get_by_role("button", name="Load", exact=True).click()
        await page.locator("#confirm-yes").click()
        await expect(page.locator("#form")).to_be_visible()


@pytest.mark.timeout(120)
async def test_an_image_is_sent_as_pixels() -> None:
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (5, 4), (10, 20, 30)).save(file, "PNG")
    content = {"name": "x.png", "mimeType": "image/png", "buffer": file.getvalue()}
    async with served(MODELS, *PLUGINS) as url, browsing("phone", allowed=(503,)) as page:
        await open_model(page, url, "picture")
        await page.get_by_label("image").set_input_files(content)  # type: ignore[arg-type]  # a FilePayload
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#answer-body")).to_contain_text("[4, 5, 3, 10]")


@pytest.mark.timeout(120)
async def test_an_example_can_be_sent_as_it_is() -> None:
    async with served(MODELS, *PLUGINS) as url, browsing("desktop", allowed=(503,)) as page:
        for name in ("shop", "houses", "anything"):
            await open_model(page, url, name)
            await page.get_by_role("button", name="Fill in an example").click()
            await page.get_by_role("button", name="Send").click()
            await expect(page.locator("#answer-facts")).to_contain_text("status 200")
        await expect(page.locator("#answer-body")).to_contain_text('"age int64", "city')


@pytest.mark.timeout(120)
async def test_a_table_fills_the_fields_of_its_columns() -> None:
    async with served(MODELS, *PLUGINS) as url, browsing("desktop", allowed=(503,)) as page:
        await open_model(page, url, "houses")
        await page.get_by_text("Paste a table").click()
        await page.get_by_label("Table with a header line").fill(
            "city\trooms\tprice\nNew York\t2\t100.5\nOslo\t4\t30"
        )
        await expect(page.get_by_label("city", exact=True)).to_have_value("New York\nOslo")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#answer-body")).to_contain_text("[50.25, 7.5]")
        await assert_accessible(page)
        await look(page, "console-table")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("size", SIZES)
async def test_workers_and_batches_are_shown(size: str) -> None:
    model = ModelSettings.parse_obj(
        {
            "name": "echo",
            "implementation": "mlsrv.testing.EchoModel",
            "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 2]}],
            "max_batch_size": 8,
            "max_batch_time": 0.01,
        }
    )
    plugins = [*PLUGINS, mlsrv_workers.plugin, mlsrv_batching.plugin]
    async with served([model], *plugins) as url, browsing(size, "dark") as page:
        await open_model(page, url, "echo")
        await page.get_by_role("button", name="Fill in an example").click()
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#answer-body")).to_contain_text("[0.5, 1.5, 2.5, 3.5]")
        await expect(page.locator("#workers tbody tr")).to_have_count(1)
        await expect(page.locator("#workers tbody td").first).to_have_text("1")
        await expect(page.locator("#workers tbody td").last).to_have_text("none")
        await expect(page.locator("#batching")).to_contain_text("at most 8 rows", timeout=20_000)
        await expect(page.locator("#batching tbody")).to_contain_text("idle", timeout=20_000)
        await expect(page.locator(".card b").first).not_to_have_text("–", timeout=20_000)
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= SIZES[size][0], "the page must not scroll sideways"
        await assert_accessible(page)
        await look(page, f"console-workers-{size}")


@pytest.mark.timeout(120)
async def test_activity_is_drawn_and_a_server_that_goes_is_told() -> None:
    async with browsing("desktop", allowed=(503,)) as page:
        async with served(MODELS, *PLUGINS) as url:
            await open_model(page, url, "shop")
            await expect(page.locator(".card b").first).to_have_text("0/s", timeout=20_000)
        await expect(page.get_by_role("alert")).to_contain_text("cannot be reached", timeout=20_000)


@pytest.mark.timeout(120)
async def test_drift_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the state of drift is kept
    fields = {"drift_enabled": True, "drift_learn": 20, "drift_window": 20}
    models = [ModelSettings(name="watched", implementation=EchoModel, **fields), MODELS[2]]
    async with (
        served(models, *PLUGINS, mlsrv_drift.plugin) as url,
        browsing("phone") as page,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        for first in (0, 0, 100):
            data = [float(first + number) for number in range(20)]
            tensor = {"name": "price", "shape": [20], "datatype": "FP64", "data": data}
            await client.post("/v2/models/watched/infer", json={"inputs": [tensor]})
        await open_model(page, url, "watched")
        await expect(page.locator("#drift-words")).to_contain_text(
            "price: mean 9.5 before, 109.5 now", timeout=30_000
        )
        await expect(page.locator("#drift-rows")).to_contain_text("price")
        await assert_accessible(page)
        await page.get_by_role("button", name="shop").first.click()
        await expect(page.locator("#drift")).to_be_hidden()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", SIZES)
async def test_an_explanation_is_drawn(size: str) -> None:
    tensor = {"name": "rows", "datatype": "FP64", "shape": [-1, 2]}
    why = ModelSettings(name="why", implementation=Why, inputs=[tensor])
    async with served([why, MODELS[2]], *PLUGINS) as url, browsing(size) as page:
        await open_model(page, url, "why")
        await page.get_by_label("rows").fill("1\t2\n3\t4")
        await page.get_by_role("button", name="Send").click()
        words = "The margin of dear is 1.25 for the first row; it is -0.25 where no feature is known."
        await expect(page.locator("#explanation-words")).to_have_text(words)
        rows = page.locator("#explanation-rows tr")
        await expect(rows).to_have_text(["<b>age</b>+2", "area-0.5"])
        await expect(rows.nth(1).locator(".bar.lower")).to_have_css("inline-size", "25px")
        await assert_accessible(page)
        await page.get_by_role("button", name="shop").first.click()
        await page.get_by_label("rows").fill("1\t2")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#answer-facts")).to_contain_text("status")
        await expect(page.locator("#explanation")).to_be_hidden()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", SIZES)
async def test_topics_of_kafka_are_shown(size: str) -> None:
    broker = Mock()
    await asyncio.to_thread(broker.create, "in", "out")
    plugins = [*PLUGINS, mlsrv_kafka.plugin]
    async with served(MODELS, *plugins, **broker.settings()) as url, browsing(size, allowed=(503,)) as page:
        await page.goto(f"{url}/v2/console")
        await expect(page.get_by_role("heading", name="Kafka")).to_be_visible()
        topics = page.locator("#topics")
        await expect(topics).to_contain_text("4 partitions", timeout=30_000)
        await expect(topics).to_contain_text("0 in work")
        await assert_accessible(page)
        await look(page, f"console-kafka-{size}")
