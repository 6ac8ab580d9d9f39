"""Makes the models beside it importable, and saves them."""

import os
import sys
import warnings
from pathlib import Path

import pytest

# Before MLflow is imported: neither tests nor the servers that they start send usage statistics.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
sys.path.insert(0, str(Path(__file__).parent))

# MLflow warns of the type hints of its own classes.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mlflow_models import save_all

    import mlsrv_mlflow.runtime  # noqa: F401


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each model."""
    return save_all(tmp_path_factory.mktemp("models"))
