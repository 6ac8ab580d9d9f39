"""The pages of the site: their links, before it is built and in what was built."""

from pathlib import Path

import docs_site
import pytest
from docs_site import dead_links, home_of, pages, site_text

PAGES = {page: home_of(page) for page in pages()}


@pytest.mark.parametrize("page", PAGES, ids=home_of)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    site_text(page, PAGES)


def test_links_between_pages_stay_and_others_become_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs_site, "ROOT", tmp_path)
    page, other = tmp_path / "core/x.md", tmp_path / "y.md"
    page.parent.mkdir()
    known = {page: "core/x.md", other: "y.md"}
    other.touch()
    (page.parent / "z.py").touch()
    code = "```console\n$ [g](h)\n```"
    page.write_text(f"[a](../y.md#b) [c](z.py) [d](https://x.org)\n{code}\n")
    assert site_text(page, known) == f"[a](../y.md#b) c [d](https://x.org)\n{code}\n"
    page.write_text("[x](nowhere.md)")
    with pytest.raises(ValueError, match=r"core/x\.md links to nowhere\.md"):
        site_text(page, known)


def test_dead_links_of_a_site_are_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.html").write_text(
        '<h1 id="x">a</h1><a href="../index.html#y">b</a><a href="b.html">c</a>'
    )
    (tmp_path / "index.html").write_text('<a href="sub/a.html#x">a</a><a href="https://x.org">b</a>')
    assert dead_links(tmp_path) == ["sub/a.html: ../index.html#y", "sub/a.html: b.html"]
