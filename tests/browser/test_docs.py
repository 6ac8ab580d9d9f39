"""The documentation pages in a real browser: Debian's Chromium, driven headless by playwright."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

import mlsrv_openapi.plugin
import mlsrv_rest.plugin
from mlsrv import Kernel, ModelSettings
from mlsrv.testing import EchoModel

MODEL = ModelSettings(
    name="echo",
    implementation=EchoModel,
    inputs=[
        {"name": "x", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "t", "datatype": "BYTES", "shape": [-1]},
    ],
)
# The browser must not look for its own services: there may be no network but loopback.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    plugins = [mlsrv_rest.plugin, mlsrv_openapi.plugin]
    values = {"host": "127.0.0.1", "http_port": 0}
    async with Kernel(values, models=[MODEL], plugins=plugins, discover=False) as kernel:
        await kernel.loaded()
        started, stop = asyncio.Event(), asyncio.Event()
        serving = asyncio.create_task(kernel.serve(stop.wait, started.set))
        try:
            async with asyncio.timeout(20):
                await started.wait()
            yield kernel.transports["rest"].endpoints[0]
        finally:
            stop.set()
            await serving


@asynccontextmanager
async def browsing(size: str) -> AsyncIterator[Page]:
    """A page of the browser, which must not miss a single file."""
    program = shutil.which("chromium")
    assert program, "this test needs Chromium (Debian: apt-get install chromium)"
    width, height = SIZES[size]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = await browser.new_page(viewport={"width": width, "height": height})
        failed: list[str] = []
        page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
        page.on("pageerror", lambda error: failed.append(str(error)))
        yield page
        await browser.close()
        assert not failed


async def look(page: Page, name: str) -> None:
    """Keep a picture where ``MLSRV_TEST_SCREENSHOTS`` says."""
    folder = os.environ.get("MLSRV_TEST_SCREENSHOTS")
    if folder:
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", ["/v2", "/v2/models/echo"])
async def test_the_pages_show_what_there_is(size: str, path: str) -> None:
    async with served() as url, browsing(size) as page:
        await page.goto(f"{url}{path}/docs")
        await expect(page.locator(".opblock-tag-section")).not_to_have_count(0)
        await expect(page.get_by_text("Ask the model").first).to_be_visible()
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= SIZES[size][0], "the page must not scroll sideways"
        await look(page, f"{path.strip('/').replace('/', '-')}-{size}")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", SIZES)
async def test_try_it_out_works_at_once(size: str) -> None:
    async with served() as url, browsing(size) as page:
        await page.goto(f"{url}/v2/models/echo/docs")
        block = page.locator(".opblock-post", has_text="/v2/models/echo/infer").first
        await block.locator(".opblock-summary").click()
        await block.get_by_role("button", name="Try it out").click()
        await block.get_by_role("button", name="Execute").click()
        answer = block.locator(".live-responses-table")
        await expect(answer).to_contain_text("200")
        await expect(answer).to_contain_text('"model_name"')
        await look(page, f"executed-{size}")
