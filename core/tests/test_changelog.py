"""The changelog knows each module that has moved, and its new place."""

import importlib.util
import re
from pathlib import Path

import pytest

import mlsrv

ROOM = Path(__file__).resolve().parent.parent
TEXT = (ROOM / "CHANGELOG.md").read_text(encoding="utf-8")
MOVED = dict(re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", TEXT, flags=re.MULTILINE))


def test_moved_modules_were_found() -> None:
    assert len(MOVED) > 30


@pytest.mark.parametrize("new", sorted(set(MOVED.values())))
def test_the_new_place_exists(new: str) -> None:
    assert importlib.util.find_spec(new) is not None


def test_each_alias_is_listed_as_deprecated() -> None:
    deprecated = TEXT.partition("\n### Deprecated\n")[2].partition("\n### ")[0]
    aliases = sorted(path.stem for path in (Path(mlsrv.__file__).parent / "moved").glob("*.py"))
    assert [name for name in aliases if f"| `mlsrv.{name}` |" not in deprecated] == []
