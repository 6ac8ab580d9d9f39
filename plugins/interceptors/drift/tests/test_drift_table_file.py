"""Table file: references in files, and what is wrong with them."""

import math
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from mlsrv.errors import ModelLoadError
from mlsrv_drift.table_file import MOST_ROWS, read


def test_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1, 2], [3, 4]], np.int32))
    table = read("m", tmp_path / "a.npy")
    assert table.names == ()
    assert [column.tolist() for column in table.columns] == [[1, 3], [2, 4]]
    np.save(tmp_path / "b.npy", np.array([("red", 1.5), ("blue", 2.5)], [("colour", "U4"), ("size", "f4")]))
    table = read("m", tmp_path / "b.npy")
    assert table.names == ("colour", "size")
    assert [column.tolist() for column in table.columns] == [["red", "blue"], [1.5, 2.5]]


def test_csv_and_parquet_hold_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('colour,size,n\n"red, dark",1.5,1\nblue,,2\n\n', encoding="utf-8")
    values = {"colour": ["red, dark", "blue"], "size": [1.5, None], "n": [1, 2]}
    pyarrow.parquet.write_table(pyarrow.table(values), tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        table = read("m", tmp_path / name)
        assert table.names == ("colour", "size", "n")
        colour, size, n = (column.tolist() for column in table.columns)
        assert (colour, n) == (["red, dark", "blue"], [1, 2])
        assert size[0] == 1.5
        assert math.isnan(size[1])


def test_columns_are_parted_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n", encoding="utf-8")
    table = read("m", tmp_path / "a.csv")
    assert table.only({"y"}).names == ("y",)
    assert table.only({"y"}, wanted=False).names == ("x",)


def test_a_large_reference_is_thinned(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(MOST_ROWS * 2 + 1.0))
    (column,) = read("m", tmp_path / "a.npy").columns
    assert MOST_ROWS / 2 < len(column) <= MOST_ROWS


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.txt", b"1", "the ending must be"),
        ("a.csv", b"", "a name for each column"),
        ("a.csv", b"x,x\n1,2\n", "each once"),
        ("a.csv", b"x,y\n1\n2\n", "line 2 has 1 cells"),
        ("a.csv", b"x\n1\n", "1 rows"),
        ("a.csv", b"x\n\xff\xfe\n", "utf-8"),
        ("a.npy", b"nothing", "pickle"),
        ("a.parquet", b"nothing", "Parquet"),
    ],
)
def test_what_cannot_be_used_says_why(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"Model m: drift_reference .* cannot be used") as caught:
        read("m", path)
    assert what.lower() in str(caught.value).lower()


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}, None], object), allow_pickle=True)
    with pytest.raises(ModelLoadError, match="cannot be used"):
        read("m", tmp_path / "a.npy")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="No such file"):
        read("m", tmp_path / "a.npy")
