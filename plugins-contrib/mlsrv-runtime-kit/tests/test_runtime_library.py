"""Libraries that users install beside a runtime: imported, missing, and under which licence."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from mlsrv.errors import ModelLoadError
from mlsrv_runtime_kit import import_library, licence_of


def test_a_library_is_imported_without_its_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "kit_library"
    package.mkdir()
    (package / "__init__.py").write_text("import warnings\nwarnings.warn('old')\n__version__ = '1.2.3'\n")
    (package / "saving.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert import_library("m", "kit-library", "mlsrv-own", ["saving"]) == "1.2.3"
    with pytest.raises(ModelLoadError, match=r"No module named 'kit_library\.explainers'"):
        import_library("m", "kit-library", "mlsrv-own", ["explainers"])


def test_a_library_that_is_missing_is_named_with_the_ways_to_have_it() -> None:
    with pytest.raises(ModelLoadError) as caught:
        import_library("m", "kit-missing", "mlsrv-own")
    assert str(caught.value) == (
        "Model m needs kit-missing, which cannot be imported here (No module named 'kit_missing'); name an "
        "environment with it in parameters.environment_requirements, or install mlsrv-own[library]."
    )


@pytest.mark.parametrize(
    ("version", "changed", "licence"),
    [
        ("0.9.4", (0, 9, 5), "Apache licence"),
        ("0.9.5", (0, 9, 5), "Business Source License 1.1"),
        ("0.11.4", (0, 12), "Apache licence"),
        ("0.12.0", (0, 12), "Business Source License 1.1"),
        ("1.0.0", (0, 12), "Business Source License 1.1"),
    ],
)
def test_the_licence_of_a_release(version: str, changed: tuple[int, ...], licence: str) -> None:
    assert licence_of("kit", version, changed).startswith(f"kit {version} is under the {licence}")
