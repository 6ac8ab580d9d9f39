"""Adapted source: what is changed in the server's modules for an environment of another Python."""

import ast
import subprocess
import sys
import textwrap
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Union

import pytest

from mlsrv_workers.environments.shared_packages import STAND_INS
from mlsrv_workers.worker import adapted_source, older_python

STAND_IN_NAMES = {package: module for package, _, module in STAND_INS.values()}


def adapted(source: str) -> str:
    return ast.unparse(adapted_source.adapted(textwrap.dedent(source), STAND_IN_NAMES, unions=True))


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("import orjson", "from mlsrv_workers.worker import plain_json as orjson"),
        ("import simdjson as s", "from mlsrv_workers.worker import plain_simdjson as s"),
        ("import json", "import json"),
        (
            "def f(a: int | None) -> str | None: ...",
            "def f(a: mlsrv_union[int, None]) -> mlsrv_union[str, None]: ...",
        ),
        ("x: list[int | str] = []", "x: list[mlsrv_union[int, str]] = []"),
        ("Body = bytes | str", "Body = mlsrv_either(bytes, str)"),
        ("def f(a): return a | 1", "def f(a): return a | 1"),
        (
            "def f(a): return isinstance(a, int | str | None)",
            "def f(a): return isinstance(a, (int, str, type(None)))",
        ),
        ("test = isinstance(a, int | str)", "test = isinstance(a, (int, str))"),
    ],
)
def test_source_is_rewritten(source: str, wanted: str) -> None:
    assert adapted(source) == ast.unparse(ast.parse(wanted))


def test_unions_of_types_are_made_where_the_operator_cannot() -> None:
    assert older_python.either({1}, {2}) == {1, 2}
    assert older_python.either(None, "text") == Union[None, "text"]  # noqa: F821  # a forward reference


def test_zip_is_strict_if_asked() -> None:
    assert list(older_python.strict_zip([1, 2], "ab", strict=True)) == [(1, "a"), (2, "b")]
    assert list(older_python.strict_zip([1, 2], "a")) == [(1, "a")]
    with pytest.raises(ValueError, match="different lengths"):
        list(older_python.strict_zip([1, 2], "a", strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "2020-01-02",
        "20200102T0304",
        "2020-01-02T03:04:05.123456789Z",
        "2020-01-02 03:04:05,5+01",
        "2020-01-02T03:04Z",
    ],
)
def test_dates_are_read_as_by_a_newer_python(text: str) -> None:
    assert older_python.ATTRIBUTES["fromisoformat"](_Old)(text) == datetime.fromisoformat(text)
    assert older_python.ATTRIBUTES["fromisoformat"](date)("2020-01-02") == date(2020, 1, 2)
    with pytest.raises(ValueError, match="soon"):
        older_python.ATTRIBUTES["fromisoformat"](date)("soon")


class _Old:
    """Reads dates in the form of Python 3.10 alone."""

    @staticmethod
    def fromisoformat(text: str) -> datetime:
        plain = text.removesuffix("+00:00")
        for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f%z"):
            try:
                found = datetime.strptime(plain, form)
            except ValueError:
                continue
            return found if plain == text else found.replace(tzinfo=UTC)
        raise ValueError(text)


def test_qualified_names_are_found_by_code() -> None:
    class Late:  # not collected by `gc.freeze`, whose objects refer to nothing that Python tells
        def method(self) -> None: ...

    name = older_python.ATTRIBUTES["co_qualname"]
    assert name(Late.method.__code__) == Late.method.__qualname__
    assert name(compile("1", "", "eval")) == "<module>"


def test_a_task_counts_the_requests_to_cancel_it() -> None:
    code = """
        import asyncio
        from mlsrv_workers.worker.older_python import Runner

        async def main():
            task = asyncio.ensure_future(asyncio.sleep(60))
            await asyncio.sleep(0)
            assert task.cancelling() == 0
            task.cancel(); task.cancel()
            assert task.cancelling() == 2
            assert task.uncancel() == 1
            try:
                await task
            except asyncio.CancelledError:
                assert not task.cancel() and task.cancelling() == 1
                return 5

        with Runner() as runner:
            assert runner.run(main()) == 5
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0


def test_adapted_code_is_not_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lent"
    package.mkdir()
    (package / "__init__.py").write_text("import orjson\n")
    (package / "plain.py").write_text("X = 1\n")
    finder = adapted_source.AdaptingFinder({"lent": str(tmp_path)}, STAND_IN_NAMES)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    import lent  # type: ignore[import-not-found]  # made above
    import lent.plain  # type: ignore[import-not-found]

    assert lent.orjson.__name__ == "mlsrv_workers.worker.plain_json"
    found: Any = list((package / "__pycache__").iterdir())
    assert [path.name.partition(".")[0] for path in found] == ["plain"]
    del sys.modules["lent"], sys.modules["lent.plain"]


def test_paths_that_a_newer_python_has_pickled_are_read() -> None:
    code = """
        import pathlib, pickle
        from mlsrv_workers.worker.older_python import complete

        complete()
        assert pickle.loads(b"cpathlib._local\\nPosixPath\\n(V/a\\ntR.") == pathlib.Path("/a")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0
