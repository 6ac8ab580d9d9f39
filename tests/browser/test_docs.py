"""The documentation pages in a real browser: Debian's Chromium, driven headless by playwright."""

from __future__ import annotations

import pytest
from browsing import SIZES, browsing, look, served
from playwright.async_api import expect

import mlsrv_openapi.plugin
import mlsrv_rest.plugin
from mlsrv import ModelSettings
from mlsrv.testing import EchoModel

MODEL = ModelSettings(
    name="echo",
    implementation=EchoModel,
    inputs=[
        {"name": "x", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "t", "datatype": "BYTES", "shape": [-1]},
    ],
)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", ["/v2", "/v2/models/echo"])
async def test_the_pages_show_what_there_is(size: str, path: str) -> None:
    async with served([MODEL], mlsrv_rest.plugin, mlsrv_openapi.plugin) as url, browsing(size) as page:
        await page.goto(f"{url}{path}/docs")
        await expect(page.locator(".opblock-tag-section")).not_to_have_count(0)
        await expect(page.get_by_text("Ask the model").first).to_be_visible()
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= SIZES[size][0], "the page must not scroll sideways"
        await look(page, f"{path.strip('/').replace('/', '-')}-{size}")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", SIZES)
async def test_try_it_out_works_at_once(size: str) -> None:
    async with served([MODEL], mlsrv_rest.plugin, mlsrv_openapi.plugin) as url, browsing(size) as page:
        await page.goto(f"{url}/v2/models/echo/docs")
        block = page.locator(".opblock-post", has_text="/v2/models/echo/infer").first
        await block.locator(".opblock-summary").click()
        await block.get_by_role("button", name="Try it out").click()
        await block.get_by_role("button", name="Execute").click()
        answer = block.locator(".live-responses-table")
        await expect(answer).to_contain_text("200")
        await expect(answer).to_contain_text('"model_name"')
        await look(page, f"executed-{size}")
