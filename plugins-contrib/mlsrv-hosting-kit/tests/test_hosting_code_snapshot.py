"""A snapshot of a folder's modules, and imports from it."""

import shutil
from pathlib import Path

import pytest

from mlsrv_hosting_kit import code_snapshot
from mlsrv_hosting_kit.code_importer import CodeImporter
from mlsrv_hosting_kit.code_snapshot import take_snapshot


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file, text in {
        "model.py": "import parts.one\nfrom helper import WORD",
        "helper.py": "WORD = 'old'",
        "parts/one.py": "from helper import WORD as ONE",
        "parts/deep/__init__.py": "DEEP = 1",
        "data/values.csv": "1",
        "__pycache__/model.py": "",
        ".hidden/secret.py": "",
    }.items():
        (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / file).write_text(text)
    return tmp_path


def test_a_snapshot_has_all_modules_and_nothing_else(folder: Path) -> None:
    found = take_snapshot(folder)
    assert found is not None
    names = {str(Path(path).relative_to(folder)) for path in found}
    assert names == {"model.py", "helper.py", "parts/one.py", "parts/deep/__init__.py"}


def test_modules_are_imported_from_the_snapshot_after_the_folder_has_changed(folder: Path) -> None:
    snapshot = take_snapshot(folder)
    (folder / "helper.py").write_text("WORD = 'new'")
    (folder / "model.py").unlink()
    shutil.rmtree(folder / "parts")
    code = CodeImporter(folder, "m", snapshot)
    try:
        assert code.names == {"model", "helper", "parts"}
        assert code.import_module("model").WORD == "old"
        assert code.import_module("parts.one").ONE == "old"
        assert code.import_module("parts.deep").DEEP == 1
        assert Path(str(code.import_module("helper").__file__)) == folder / "helper.py"
    finally:
        code.forget()


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_ENTRIES"])
def test_no_snapshot_is_taken_of_what_is_too_large(
    folder: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_snapshot, limit, 3)
    assert take_snapshot(folder) is None
