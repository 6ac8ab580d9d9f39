"""Explainers that alibi has saved, and files of the fitted models that some of them look into."""

import warnings
from pathlib import Path
from typing import Any

import joblib
import pytest
from tiny_explainers import CURVE, EXPLAINERS, FOREST

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from alibi.saving import save_explainer


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Gives the folder of a saved explainer by name; each is made once."""
    root = tmp_path_factory.mktemp("explainers")

    def folder(name: str) -> Path:
        path = root / name
        if not path.exists():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                save_explainer(EXPLAINERS[name][0](), path)
        return path

    return folder


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Gives the files of the fitted models."""
    root = tmp_path_factory.mktemp("fitted")
    joblib.dump(FOREST, root / "forest.joblib")
    joblib.dump(CURVE, root / "curve.joblib")
    return root
