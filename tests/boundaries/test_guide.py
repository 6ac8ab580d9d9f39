"""The guide for plugin authors shows the finished codec as it is, and that codec stays small."""

from pathlib import Path

from workspace import ROOT

GUIDE = ROOT / "plugins-contrib/README.md"
CODEC = ROOT / "plugins-contrib/mlsrv-hex"


def sources() -> list[Path]:
    return [CODEC / "pyproject.toml", *sorted((CODEC / "src/mlsrv_hex").glob("*.py"))]


def test_the_guide_shows_the_codec_as_it_is() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    assert [path.name for path in sources() if path.read_text(encoding="utf-8") not in guide] == []


def test_a_codec_takes_less_than_twenty_lines() -> None:
    lines = [line for path in sources() for line in path.read_text(encoding="utf-8").splitlines()]
    assert len([line for line in lines if line.strip()]) < 20
