"""scikit-learn artifacts: reads a fitted estimator from its file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from mlsrv.errors import ModelLoadError
from mlsrv_runtime_kit import missing_module


def read(name: str, path: Path, trusted: Sequence[str]) -> Any:
    """Return the object in a file: skops if the file is called ``.skops``, else joblib or pickle, which run
    its code.

    Args:
        name: of the model, for messages.
        path: the file.
        trusted: types that a skops file may have beside those that are known to be safe.

    Raises:
        ModelLoadError: with what to do about it.
    """
    is_skops = path.suffix.lower() == ".skops"
    try:
        return _read_skops(name, path, trusted) if is_skops else joblib.load(path)
    except ModelLoadError:
        raise
    except ModuleNotFoundError as error:
        raise missing_module(name, path, error) from error
    except (AttributeError, ImportError) as error:
        raise ModelLoadError(
            f"Model {name}: {path} needs something that cannot be imported here ({error}); install the "
            "versions that it was saved with, or save it again with these. Classes of a script cannot be "
            "found at all: put them into a module."
        ) from error
    except Exception as error:  # a damaged file, or one of another kind, fails in any way
        form = "skops file" if is_skops else "joblib or pickle file"
        raise ModelLoadError(
            f"Model {name}: {path} cannot be read as a {form} ({type(error).__name__}: {error}); "
            "save the fitted estimator again."
        ) from error


def check_fitted(name: str, estimator: Any) -> None:
    """Refuse an estimator that is not fitted. Classes outside scikit-learn need not mark fitted attributes as
    it does, so they are accepted.

    Raises:
        ModelLoadError: it is not fitted.
    """
    last = estimator
    while hasattr(last, "steps"):
        last = last.steps[-1][1]
    if not type(last).__module__.startswith("sklearn."):
        return
    try:
        check_is_fitted(last)
    except NotFittedError:
        raise ModelLoadError(
            f"Model {name}: the {type(last).__name__} is not fitted; call fit before it is saved."
        ) from None


def _read_skops(name: str, path: Path, trusted: Sequence[str]) -> Any:
    from skops import io

    unknown = sorted(set(io.get_untrusted_types(file=path)).difference(trusted))
    if unknown:
        raise ModelLoadError(
            f"Model {name}: {path} holds the types {', '.join(unknown)}, which are not known to be safe; "
            "if you trust them, list them in parameters.extra.trusted_types."
        )
    return io.load(path, trusted=list(trusted))
