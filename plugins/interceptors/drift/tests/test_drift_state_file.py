"""State file: what is written is read again, and what cannot be is told of."""

import logging
from pathlib import Path

import numpy as np
import pytest

from mlsrv_drift.state_file import StateFile


def test_arrays_and_texts_come_back(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "new", "a/b", "1")
    texts = np.array(["é\udcff", None, "x"], object)
    file.write({"rows": 3}, {"numbers": np.array([1.5, np.nan]), "texts": texts})
    found = file.read()
    assert found is not None
    meta, arrays = found
    assert meta["rows"] == 3
    np.testing.assert_array_equal(arrays["numbers"], [1.5, np.nan])
    assert arrays["texts"].tolist() == texts.tolist()
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]


def test_each_version_has_a_file_of_its_own(tmp_path: Path) -> None:
    names = [("a", None), ("a", "1"), ("a/b", None), ("a_b", None), ("../a", None)]
    paths = {StateFile(tmp_path, name, version).path for name, version in names}
    assert len(paths) == len(names)
    assert {path.parent for path in paths} == {tmp_path}


@pytest.mark.parametrize("content", [b"", b"PK nothing", b"\x00" * 100])
def test_a_broken_file_begins_anew(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    file = StateFile(tmp_path, "m", None)
    assert file.read() is None
    assert not caplog.records
    file.path.write_bytes(content)
    assert file.read() is None
    assert "begins anew" in caplog.text


def test_a_folder_that_cannot_be_written_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    file = StateFile(tmp_path / "taken", "m", None)
    with caplog.at_level(logging.WARNING):
        file.write({}, {})
        file.write({}, {})
    assert len(caplog.records) == 1
