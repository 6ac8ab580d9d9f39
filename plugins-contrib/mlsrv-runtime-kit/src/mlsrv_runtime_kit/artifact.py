"""Artifact: finds the file of a model, and words the error when it cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mlsrv.errors import InvalidModelURI, ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv.utils import model_uri
from mlsrv_settings_kit.uris import has_scheme


def find_artifact(
    settings: ModelSettings,
    artifacts: Sequence[str],
    framework: str,
    is_artifact: Callable[[Path], bool] | None = None,
) -> Path:
    """Return the path of a model's artifact.

    Args:
        settings: the model's settings.
        artifacts: names or patterns looked for, in this order, when ``parameters.uri`` is a folder.
        framework: whose artifact it is, for messages.
        is_artifact: whether a file begins as an artifact does. If no name fits, the only such file of the
            folder is the artifact.

    Raises:
        InvalidModelURI: ``parameters.uri`` leads nowhere, to another machine, to a folder without an
            artifact, or to one with several of other names.
    """
    uri = model_uri(settings, artifacts)
    if has_scheme(uri):
        raise InvalidModelURI(
            f"Model {settings.name}: parameters.uri {uri!r} is not local; fetch the artifact first."
        )
    path = Path(uri)
    if path.is_dir():
        found = sorted(filter(is_artifact, filter(Path.is_file, path.iterdir()))) if is_artifact else []
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidModelURI(
                f"Model {settings.name}: the folder {path} has several artifacts of {framework} "
                f"({', '.join(file.name for file in found[:8])}); name one in parameters.uri."
            )
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


def missing_module(name: str, path: Path, error: ImportError) -> ModelLoadError:
    """Return the error for a file that needs a module which is not there.

    Args:
        name: of the model.
        path: the file.
        error: it has the name of the module.
    """
    return ModelLoadError(
        f"Model {name}: {path} needs the module {error.name}, which cannot be imported here; install it."
    )
