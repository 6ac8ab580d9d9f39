"""The tables of the README's guides agree with the sources.

To renew those of settings: python core/tests/test_readme.py
"""

import json
import re
from pathlib import Path

import attrs
import pytest

from mlsrv import errors
from mlsrv.errors import MLSrvError
from mlsrv.plugins import hookspecs
from mlsrv.settings import KernelModelSettings, KernelSettings, help_of
from mlsrv.types import State
from mlsrv_settings_kit.fields import default_of

ROOM = Path(__file__).resolve().parent.parent
README = ROOM / "README.md"
GUIDES = sorted((ROOM / "guides").glob("*.md"))
TABLES = {
    "settings of the server": (ROOM / "guides/operating.md", KernelSettings),
    "settings of a model": (ROOM / "guides/models.md", KernelModelSettings),
}


def table(cls: type) -> str:
    """Return the settings of a class as a table."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for field in attrs.fields(cls):
        default = default_of(field)
        shown = "none" if default is None else f"`{json.dumps(default)}`"
        lines.append(f"| `{field.name}` | {shown} | {help_of(field)} |")
    return "\n".join(lines) + "\n"


def with_table(marker: str) -> str:
    """Return the text of a guide with its table of settings as it should be."""
    path, cls = TABLES[marker]
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- end -->)", re.DOTALL)
    found = pattern.search(text)
    assert found, marker
    return text[: found.end(1)] + table(cls) + text[found.start(2) :]


def rows(guide: str, heading: str) -> list[list[str]]:
    """Return the cells of the tables below a heading of a guide."""
    text = (ROOM / f"guides/{guide}.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section, heading
    return [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]


@pytest.mark.parametrize("marker", TABLES)
def test_the_tables_of_settings(marker: str) -> None:
    path, _ = TABLES[marker]
    renewed = with_table(marker)
    assert path.read_text(encoding="utf-8") == renewed, "renew them: python core/tests/test_readme.py"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_the_readme_links_to_each_guide(guide: Path) -> None:
    assert f"(guides/{guide.name})" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [README, *GUIDES], ids=lambda path: path.stem)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_hook_is_listed_in_order() -> None:
    specs = [name for name in vars(hookspecs) if name.startswith("mlsrv_")]
    assert [cells[0].strip(" `") for cells in rows("plugins", "Hooks")] == specs


def test_every_error_is_listed_with_its_code() -> None:
    listed = {
        name: cells[1].strip()
        for cells in rows("embedding", "Errors")
        for name in re.findall(r"`(\w+)`", cells[0])
    }
    real = {name: getattr(errors, name) for name in errors.__all__ if name not in ("Code", "MLSrvError")}
    assert listed == {name: str(cls.code) for name, cls in real.items()}
    assert all(issubclass(cls, MLSrvError) for cls in real.values())


@pytest.mark.parametrize("state", State)
def test_every_state_is_explained(state: State) -> None:
    assert str(state) in [cells[0].strip() for cells in rows("operating", "Model states")]


if __name__ == "__main__":
    for marker, (path, _) in TABLES.items():
        path.write_text(with_table(marker), encoding="utf-8")
