"""MLflow artifacts: finds a model and loads it."""

from __future__ import annotations

import logging
import re
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow import MlflowClient, get_tracking_uri, pyfunc
from mlflow.artifacts import download_artifacts
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel
from mlflow.store.artifact.utils.models import get_model_name_and_version
from mlflow.version import VERSION
from packaging.version import InvalidVersion, Version

from mlsrv.errors import InvalidModelURI, ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv.utils import local_path, model_uri
from mlsrv_mlflow.plugin import DESCRIPTION
from mlsrv_runtime_kit import extra_value, unreadable

logger = logging.getLogger("mlsrv.mlflow")

_MODELS = "models:/"
_RUNS = "runs:/"
_SQLITE = "sqlite:///"
_DATABASE = re.compile(r"(?:sqlite|mysql|mssql|postgresql)\b")


def find_model(settings: ModelSettings, stack: ExitStack) -> Path:
    """Return the folder of a model.

    Args:
        settings: the model's settings. ``parameters.uri`` is a path, or any URI that MLflow knows; those of
            runs and registered models are asked from ``parameters.extra.tracking_uri`` (and ``registry_uri``
            if that is another server), else from where MLflow is told to by its environment variables.
        stack: gets the temporary folder of a model that is not on this machine.

    Raises:
        InvalidModelURI: there is no model of MLflow at the URI; says what to do.
    """
    uri = model_uri(settings)
    folder = local_path(uri) or _fetched(settings, uri, stack)
    if folder.name == DESCRIPTION and folder.is_file():
        folder = folder.parent
    if not (folder / DESCRIPTION).is_file():
        raise InvalidModelURI(
            f"Model {settings.name}: {folder} is no model of MLflow, which is a folder with a file "
            f"{DESCRIPTION}; save one with mlflow.pyfunc.save_model, or that of a flavour."
        )
    return folder


def load_model(settings: ModelSettings, folder: Path) -> PyFuncModel:
    """Load the model in a folder, with ``parameters.extra.model_config``.

    Raises:
        ModelLoadError: it is damaged, of a flavour without Python functions, needs a package that is not
            installed, or cannot be loaded; says what to do.
    """
    name = settings.name
    config = extra_value(settings, "model_config", dict, {})
    description = _description(name, folder / DESCRIPTION)
    if pyfunc.FLAVOR_NAME not in description.flavors:
        flavours = ", ".join(map(str, description.flavors)) or "none"
        raise ModelLoadError(
            f"Model {name}: {folder} has no flavour {pyfunc.FLAVOR_NAME} (it has {flavours}), so that MLflow "
            "cannot serve it; save it with a flavour that has one."
        )
    newer, requirements = _newer(description.mlflow_version), folder / "requirements.txt"
    try:
        model = pyfunc.load_model(str(folder), model_config=config or None)
    except ModuleNotFoundError as error:
        raise ModelLoadError(
            f"Model {name}: {folder} needs the package {error.name}, which is not installed; install it, and "
            f"what else {requirements} lists."
        ) from error
    except Exception as error:  # unpickling runs arbitrary code of the model
        advice = f"compare what is installed with {requirements}"
        if newer:
            advice = f"it was saved by MLflow {newer}, but {VERSION} is installed: install a newer one"
        raise unreadable(name, folder, "a model of MLflow", error, advice) from error
    if newer:
        logger.warning(
            "Model %s was saved by MLflow %s, newer than %s, which is installed", name, newer, VERSION
        )
    return model


def _fetched(settings: ModelSettings, uri: str, stack: ExitStack) -> Path:
    tracking_uri = extra_value(settings, "tracking_uri", str, "") or None
    registry_uri = extra_value(settings, "registry_uri", str, "") or tracking_uri
    try:
        source = uri
        if uri.startswith((_MODELS, _RUNS)):
            _check_store(tracking_uri or get_tracking_uri())
            source = _location(MlflowClient(tracking_uri, registry_uri), uri)
        found = local_path(source)
        if found is not None:
            return found
        scratch = stack.enter_context(TemporaryDirectory(prefix="mlsrv-mlflow-", ignore_cleanup_errors=True))
        return Path(download_artifacts(artifact_uri=source, dst_path=scratch, tracking_uri=tracking_uri))
    except ModuleNotFoundError as error:
        raise InvalidModelURI(
            f"Model {settings.name}: parameters.uri {uri!r} needs the package {error.name}, which is not "
            "installed; pip install mlsrv-mlflow[tracking] brings what MLflow needs for databases."
        ) from error
    except Exception as error:  # errors of MLflow, a database, HTTP or a cloud have no common base
        why = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        raise InvalidModelURI(
            f"Model {settings.name}: parameters.uri {uri!r} leads to no model ({why}); check it, and "
            "parameters.extra.tracking_uri or MLFLOW_TRACKING_URI."
        ) from error


def _check_store(tracking_uri: str) -> None:
    """Raise an error for a database without its driver, and for one that does not exist.

    MLflow's own errors are less clear: it would create an empty database and report that the model is
    missing.
    """
    if _DATABASE.match(tracking_uri) and find_spec("sqlalchemy") is None:
        raise ModuleNotFoundError(name="sqlalchemy")
    path = tracking_uri.removeprefix(_SQLITE)
    if path != tracking_uri and not Path(path.partition("?")[0]).is_file():
        raise FileNotFoundError(f"there is no tracking store {tracking_uri}")


def _location(client: MlflowClient, uri: str) -> str:
    """Return the location of the artifacts of a registered model, a logged model or a run."""
    # Not by `download_artifacts`, which looks these up in the one store that the whole process has.
    if uri.startswith(_RUNS):
        return _location_of_run(client, uri)
    found = get_model_name_and_version(client, uri)
    location = client.get_model_version_download_uri(*found) if len(found) == 2 else _MODELS + found[0]
    if location.startswith(_MODELS):
        location = client.get_logged_model(location.removeprefix(_MODELS)).artifact_location
    return str(location)


def _location_of_run(client: MlflowClient, uri: str) -> str:
    run_id, _, path = uri.removeprefix(_RUNS).partition("/")
    run = client.get_run(run_id)
    for logged in run.outputs.model_outputs if run.outputs is not None else ():
        model = client.get_logged_model(logged.model_id)
        if model.name == path.rstrip("/"):
            return str(model.artifact_location)
    return f"{run.info.artifact_uri}/{path}"


def _description(name: str, path: Path) -> Model:
    try:
        found = Model.load(str(path))
        if not isinstance(found.flavors, dict):
            raise TypeError("flavors is no mapping")
        return found
    except Exception as error:  # invalid YAML, missing keys, or the format of a later MLflow
        raise unreadable(
            name, path, "the description of a model of MLflow", error, "save the model again"
        ) from error


def _newer(version: Any) -> str:
    """Return the version of MLflow that saved a model if it is newer than the installed one, else ""."""
    try:
        is_newer = Version(str(version)).release[:2] > Version(VERSION).release[:2]
    except InvalidVersion:  # old models have none
        return ""
    return str(version) if is_newer else ""
