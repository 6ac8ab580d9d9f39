"""Builds the documentation as one site with search: python tests/support/docs_site.py FOLDER

The pages are the READMEs and guides of the repository, where they are; the generator is Zensical. Links
between pages lead from page to page, and links to other files of the repository become plain text. The
reference has a page for each public module, from its docstrings. A link or an anchor that leads nowhere ends
the build.
"""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from workspace import ROOT, Room, kit_guides, rooms, text_files

LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(?P<language>\w+) (?P<file>[\w./-]+)$", re.MULTILINE)
STYLE = """[data-md-color-scheme="default"] { --md-typeset-a-color: #14532d; --md-accent-fg-color: #14532d; }
[data-md-color-scheme="slate"] { --md-typeset-a-color: #86d9a4; --md-accent-fg-color: #86d9a4; }
.md-nav .md-nav__link--active, .md-nav__link--active .md-ellipsis { color: var(--md-typeset-a-color); }
.doc-label code { color: var(--md-default-fg-color); }
"""
"""Links, the place in the navigation and labels of the reference with enough contrast."""
PROJECT = (
    ROOT / "core/ARCHITECTURE.md",
    ROOT / "core/PERFORMANCE.md",
    ROOT / ".github/CONTRIBUTING.md",
    ROOT / "core/CHANGELOG.md",
)
PUBLIC = ROOT / "tests/boundaries/public_names.txt"


def pages() -> list[Path]:
    """Every page of the site: READMEs, guides, the map of the kernel, the changelog, how to contribute."""
    found = [path for path in text_files() if path.name == "README.md"]
    found += [page for room in rooms() for page in room.pages()[1:]] + kit_guides()
    return sorted({*found, *PROJECT})


def home_of(page: Path) -> str:
    """The path of a page in the site's sources, which has no hidden folders."""
    return page.relative_to(ROOT).as_posix().removeprefix(".github/")


def site_text(page: Path, known: Mapping[Path, str]) -> str:
    """The text of a page with links as the site needs them.

    Raises:
        ValueError: a link leads to a file that is not there.
    """
    text = page.read_text(encoding="utf-8")

    def replaced(match: re.Match[str]) -> str:
        target, _, anchor = match["target"].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        path = (page.parent / target).resolve()
        path = path / "README.md" if path.is_dir() and path / "README.md" in known else path
        if not path.exists():
            raise ValueError(f"{page.relative_to(ROOT)} links to {match['target']}, which is not there.")
        if path not in known:
            return str(match["text"])
        up = "../" * home_of(page).count("/")
        return f"[{match['text']}]({up}{known[path]}{'#' if anchor else ''}{anchor})"

    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [LINK.sub(replaced, text[end : fence.start()]), fence[0]]
        end = fence.end()
    whole = "".join([*parts, LINK.sub(replaced, text[end:])])
    return BLOCK.sub(lambda block: f'```{block["language"]} title="{block["file"]}"', whole)


def reference(folder: Path) -> list[dict[str, str]]:
    """Write a page for each public module; what the navigation says of them."""
    names: dict[str, list[str]] = {}
    for line in PUBLIC.read_text(encoding="utf-8").splitlines():
        module, _, name = line.partition(":")
        names.setdefault(module, []).append(name)
    entries = []
    for module, members in sorted(names.items()):
        options = json.dumps({"members": members, "show_root_heading": False})
        text = f"# `{module}`\n\n::: {module}\n    options: {options}\n"
        (folder / f"{module}.md").write_text(text, encoding="utf-8")
        entries.append({module: f"reference/{module}.md"})
    return entries


def navigation(known: Mapping[Path, str], api: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The pages in the order in which a reader needs them."""

    def of(found: Iterable[Room]) -> list[dict[str, Any]]:
        return [{room.distribution: known[room.folder / "README.md"]} for room in found]

    def guides(folder: str, *first: str) -> list[str]:
        """The guides of a folder, those that are read first before the others."""
        pages = sorted((ROOT / folder / "guides").glob("*.md"))
        order = sorted(pages, key=lambda page: first.index(page.stem) if page.stem in first else len(first))
        return [known[page] for page in order]

    every = rooms()
    kits = [room for room in every if room.folder.parent.name == "plugins-contrib"]
    return [
        {
            "Start": [
                known[ROOT / "README.md"],
                *guides("cli", "install", "first-model", "testing"),
                known[ROOT / "cli/README.md"],
            ]
        },
        {
            "Guides": [
                *guides("core", "models", "handlers", "embedding"),
                known[ROOT / "plugins-contrib/README.md"],
                *guides("plugins-contrib", "author"),
            ]
        },
        {"Plugins": of(room for room in every if room.is_plugin)},
        {"Libraries": of(room for room in every if room.where in ("protocol", "core"))},
        {"Kits": of(kits)},
        {"Examples": [known[page] for page in known if page.parent.parent == ROOT / "tests/examples"]},
        {"Reference": api},
        {"Project": [known[page] for page in PROJECT]},
    ]


def palette() -> list[dict[str, Any]]:
    """Light and dark colours: those that the reader prefers, with a switch."""
    rows = (("light", "default", "lucide/moon", "dark"), ("dark", "slate", "lucide/sun", "light"))
    return [
        {
            "media": f"(prefers-color-scheme: {preferred})",
            "scheme": scheme,
            "primary": "green",
            "toggle": {"icon": icon, "name": f"Switch to {other} colours"},
        }
        for preferred, scheme, icon, other in rows
    ]


def configuration(api: list[dict[str, str]], known: Mapping[Path, str]) -> dict[str, Any]:
    """The configuration of the generator."""
    python = {
        "paths": [str(source.parent) for room in rooms() for source in room.sources],
        "options": {"docstring_style": "google", "show_source": False, "heading_level": 2},
    }
    return {
        "site_name": "mlsrv",
        "docs_dir": "docs",
        "site_dir": "site",
        "use_directory_urls": False,
        "extra_css": ["extra.css"],
        "theme": {
            "name": "material",
            "font": False,
            "palette": palette(),
            "features": ["navigation.tabs", "navigation.indexes", "search.highlight", "content.code.copy"],
        },
        "plugins": ["search", {"mkdocstrings": {"handlers": {"python": python}}}],
        "markdown_extensions": [
            "tables",
            "pymdownx.superfences",
            "pymdownx.highlight",
            {"toc": {"permalink": True}},
        ],
        "nav": navigation(known, api),
    }


class _Page(html.parser.HTMLParser):
    """Collects the anchors and the links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := found.get(key))}
        link = found.get("href" if tag in ("a", "link") else "src")
        if link:
            self.links.append(link)


def dead_links(site: Path) -> list[str]:
    """Every link of the site that leads to no page, file or anchor of it."""
    found = {path: _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    dead = []
    for path, page in found.items():
        for link in page.links:
            target, _, anchor = unquote(link).partition("#")
            if "://" in target or target.startswith(("mailto:", "data:")) or path.name == "404.html":
                continue
            there = (path.parent / target).resolve() if target else path
            there = there / "index.html" if there.is_dir() else there
            if not there.exists() or (anchor and there in found and anchor not in found[there].anchors):
                dead.append(f"{path.relative_to(site)}: {link}")
    return dead


def build(target: Path) -> None:
    """Write the site to a folder.

    Raises:
        ValueError: a link leads to a file or an anchor that is not there.
        subprocess.CalledProcessError: the generator finds something wrong.
    """
    known = {page: home_of(page) for page in pages()}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        sources = folder / "docs"
        for page, home in known.items():
            (sources / home).parent.mkdir(parents=True, exist_ok=True)
            (sources / home).write_text(site_text(page, known), encoding="utf-8")
        (sources / "extra.css").write_text(STYLE, encoding="utf-8")
        (sources / "reference").mkdir()
        settings = configuration(reference(sources / "reference"), known)
        # Its format is YAML, of which JSON is a part.
        (folder / "mkdocs.yml").write_text(json.dumps(settings), encoding="utf-8")
        program = Path(sys.executable).with_name("zensical")
        subprocess.run([program, "build", "--strict", "-f", "mkdocs.yml"], cwd=folder, check=True)
        dead = dead_links(folder / "site")
        if dead:
            raise ValueError("Links that lead nowhere:\n" + "\n".join(dead))
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / "site", target)


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve())
