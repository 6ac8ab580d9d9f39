"""A real browser for tests: Debian's Chromium, driven headless by playwright, and axe for accessibility."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, async_playwright

from mlsrv import Kernel, ModelSettings

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
async def served(models: Sequence[ModelSettings], *plugins: object, **settings: Any) -> AsyncIterator[str]:
    """Serve models over REST with these plugins alone; the address."""
    values = {"host": "127.0.0.1", "http_port": 0} | settings
    async with Kernel(values, models=models, plugins=plugins, discover=False) as kernel:
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
async def browsing(
    size: str, scheme: Literal["light", "dark"] = "light", allowed: Sequence[int] = ()
) -> AsyncIterator[Page]:
    """A page of the browser, whose scripts must not fail and which must not miss a single file.

    Args:
        size: one of `SIZES`.
        scheme: the colours that the user prefers.
        allowed: statuses of answers that are no failure.
    """
    program = shutil.which("chromium")
    assert program, "this test needs Chromium (Debian: apt-get install chromium)"
    width, height = SIZES[size]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        failed: list[str] = []

        def note(answer: Any) -> None:
            if answer.status >= 400 and answer.status not in allowed:
                failed.append(f"{answer.status} {answer.url}")

        page.on("response", note)
        page.on("pageerror", lambda error: failed.append(str(error)))
        yield page
        await browser.close()
        assert not failed


async def look(page: Page, name: str) -> None:
    """Keep a picture where ``MLSRV_TEST_SCREENSHOTS`` says."""
    folder = os.environ.get("MLSRV_TEST_SCREENSHOTS")
    if folder:
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


async def assert_accessible(page: Page) -> None:
    """Fail if axe finds a serious or critical violation."""
    results = await Axe().run(page)
    grave = [one for one in results.response["violations"] if one["impact"] in ("serious", "critical")]
    assert not grave, [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in grave]
