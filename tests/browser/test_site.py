"""The site of the documentation in a real browser: whom its colours leave out, and what its search finds."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import docs_site
import pytest
from browsing import assert_accessible, browsing, look
from playwright.async_api import Page, expect

QUESTIONS = {
    "timeout": "cli/guides/timeouts-and-limits.html",
    "too many requests limit": "cli/guides/timeouts-and-limits.html",
    "memory worker": "cli/guides/memory.html",
    "encrypt certificate": "cli/guides/tls.html",
    "new version without downtime": "cli/guides/new-version.html",
    "model slow": "cli/guides/slow-model.html",
    "several environments": "cli/guides/several-models.html",
    "install from a clone": "cli/guides/install.html",
    "handler state worker": "core/guides/handlers.html",
    "notebook": "core/guides/embedding.html",
}
"""Questions of operators as they are typed, and the page that answers each, which must be among the first."""
FIRST = 5
PAGES = (
    "index.html",
    "cli/guides/slow-model.html",
    "core/guides/settings.html",
    "reference/mlsrv.html",
)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the site, which is built for this."""
    folder = tmp_path_factory.mktemp("site") / "built"
    docs_site.build(folder)
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


async def found(page: Page, question: str) -> list[str]:
    """Return the pages that the search of the page finds, the first ones first."""
    await page.keyboard.press("/")
    await page.keyboard.type(question)
    hits = page.locator("a[href*='?h=']")
    await expect(hits.first).to_be_visible(timeout=30_000)
    links = await hits.evaluate_all("links => links.map(link => new URL(link.href).pathname.slice(1))")
    return list(dict.fromkeys(links))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_pages_can_be_read(site: str, scheme: Literal["light", "dark"]) -> None:
    async with browsing("desktop", scheme) as page:
        for path in PAGES:
            await page.goto(f"{site}/{path}")
            await expect(page.locator("h1").first).to_be_visible()
            await assert_accessible(page)
            await look(page, f"site-{Path(path).stem}-{scheme}")


@pytest.mark.timeout(400)
async def test_questions_of_operators_are_answered_by_the_search(site: str) -> None:
    missed = {}
    async with browsing("desktop") as page:
        for question, answer in QUESTIONS.items():
            await page.goto(f"{site}/cli/guides/questions.html")
            await expect(page.locator("h1").first).to_be_visible()
            pages = await found(page, question)
            if answer not in pages[:FIRST]:
                missed[question] = pages[:FIRST]
    assert missed == {}
