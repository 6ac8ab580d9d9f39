"""The README's tables agree with the sources. To renew those of settings: python core/tests/test_readme.py"""

import json
import re
from pathlib import Path

import attrs
import pytest

from mlsrv import errors
from mlsrv.errors import MLSrvError
from mlsrv.plugins import hookspecs
from mlsrv.settings import KernelModelSettings, KernelSettings, help_of
from mlsrv.settings.fields import default_of
from mlsrv.types import State

README = Path(__file__).resolve().parent.parent / "README.md"
TABLES = {"settings of the server": KernelSettings, "settings of a model": KernelModelSettings}


def table(cls: type) -> str:
    """The settings of a class as a table."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for field in attrs.fields(cls):
        default = default_of(field)
        shown = "none" if default is None else f"`{json.dumps(default)}`"
        lines.append(f"| `{field.name}` | {shown} | {help_of(field)} |")
    return "\n".join(lines) + "\n"


def with_tables(text: str) -> str:
    """The README with its tables of settings as they should be."""
    for marker, cls in TABLES.items():
        pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- end -->)", re.DOTALL)
        found = pattern.search(text)
        assert found, marker
        text = text[: found.end(1)] + table(cls) + text[found.start(2) :]
    return text


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables below a heading."""
    section = README.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section, heading
    return [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]


def test_the_tables_of_settings() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == with_tables(text), "renew the tables: python core/tests/test_readme.py"


def test_every_hook_is_listed_in_order() -> None:
    specs = [name for name in vars(hookspecs) if name.startswith("mlsrv_")]
    assert [cells[0].strip(" `") for cells in rows("Hooks")] == specs


def test_every_error_is_listed_with_its_code() -> None:
    listed = {name: cells[1].strip() for cells in rows("Errors") for name in re.findall(r"`(\w+)`", cells[0])}
    real = {name: getattr(errors, name) for name in errors.__all__ if name not in ("Code", "MLSrvError")}
    assert listed == {name: str(cls.code) for name, cls in real.items()}
    assert all(issubclass(cls, MLSrvError) for cls in real.values())


@pytest.mark.parametrize("state", State)
def test_every_state_is_explained(state: State) -> None:
    assert str(state) in [cells[0].strip() for cells in rows("Life of a kernel and of a model")]


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
