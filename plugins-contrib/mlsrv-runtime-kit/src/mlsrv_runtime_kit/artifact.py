"""Artifact: finds the file of a model, and words the error when it cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlsrv.errors import InvalidModelURI, ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv.settings.parameters import has_scheme
from mlsrv.utils import model_uri


def find_artifact(settings: ModelSettings, artifacts: Sequence[str], framework: str) -> Path:
    """Return the path of a model's artifact.

    Args:
        settings: the model's settings.
        artifacts: names or patterns looked for, in this order, when ``parameters.uri`` is a folder.
        framework: whose artifact it is, for messages.

    Raises:
        InvalidModelURI: ``parameters.uri`` leads nowhere, to another machine, or to a folder without an
            artifact.
    """
    uri = model_uri(settings, artifacts)
    if has_scheme(uri):
        raise InvalidModelURI(
            f"Model {settings.name}: parameters.uri {uri!r} is not local; fetch the artifact first."
        )
    path = Path(uri)
    if path.is_dir():
        raise InvalidModelURI(
            f"Model {settings.name}: the folder {path} has no artifact of {framework} "
            f"({', '.join(artifacts)}); put it there, or name the file in parameters.uri."
        )
    return path


def unreadable(name: str, path: Path, what: str, error: Exception | str, advice: str) -> ModelLoadError:
    """Return the error for a file that is damaged or of another kind.

    Args:
        name: of the model.
        path: the file.
        what: the kind of thing it was read as, with its article: "a model of XGBoost".
        error: the reason; of several lines only the first is reported.
        advice: the remedy.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = f"{lines[0][:300].rstrip('.')}" if lines else "no reason given"
    if isinstance(error, Exception):
        why = f"{type(error).__name__}: {why}"
    return ModelLoadError(f"Model {name}: {path} cannot be read as {what} ({why}); {advice}.")
