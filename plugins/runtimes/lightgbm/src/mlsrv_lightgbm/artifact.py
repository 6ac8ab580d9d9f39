"""LightGBM artifacts: reads a booster, or an estimator of the scikit-learn interface, from its file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import joblib
import lightgbm

from mlsrv.errors import ModelLoadError
from mlsrv_lightgbm.plugin import PICKLES
from mlsrv_runtime_kit import missing_module, unreadable

KNOWN_FORM = 4
"""The newest version of the text form (``version=v4``) that the oldest LightGBM we promise writes."""

_HEADER = re.compile(rb"^(\w+)=(.*?)\r?$", re.MULTILINE)
_END = b"end of trees"


def read(name: str, path: Path) -> Any:
    """Return the `lightgbm.Booster`, or the fitted `lightgbm.LGBMModel`, in a file. A file with the ending of
    a pickle is unpickled, which runs its code.

    Raises:
        ModelLoadError: with what to do about it.
    """
    return _read_pickle(name, path) if path.suffix.lower() in PICKLES else _read_text(name, path)


def _read_text(name: str, path: Path) -> Any:
    content = path.read_bytes()
    try:
        _check(content)
        return lightgbm.Booster(model_str=content.decode())
    except (ValueError, lightgbm.basic.LightGBMError) as error:
        form = re.match(rb"tree\r?\nversion=v(\d+)", content)
        if form is not None and int(form[1]) > KNOWN_FORM:
            raise ModelLoadError(
                f"Model {name}: {path} has version {int(form[1])} of LightGBM's form, which LightGBM "
                f"{lightgbm.__version__} cannot read; install a newer one."
            ) from error
        raise unreadable(
            name, path, "a model of LightGBM", error, "save it again with save_model of the booster"
        ) from error


def _check(content: bytes) -> None:
    """Raise `ValueError` for a truncated file. LightGBM reads beyond its end, which may end the process."""
    if not content.startswith((b"tree\n", b"tree\r\n")):
        raise ValueError('it does not begin with "tree"')
    header, found, _ = content.partition(b"Tree=0")
    if not found:
        if _END in content:
            return  # no trees: a model that was stopped at once
        raise ValueError("it has no trees")
    fields = dict(_HEADER.findall(header))
    at = len(header)
    for number, size in enumerate(fields.get(b"tree_sizes", b"").split()):
        tree = content[at : at + int(size)]
        if not tree.startswith(b"Tree=%d" % number) or b"leaf_value=" not in tree:
            raise ValueError(f"tree {number} is damaged")
        at += int(size)
    if b"tree_sizes" in fields and not content[at:].lstrip().startswith(_END):
        raise ValueError("it is cut off")
    if _END not in content:
        raise ValueError("it is cut off")


def _read_pickle(name: str, path: Path) -> Any:
    advice = "save the fitted estimator again with joblib"
    try:
        found = joblib.load(path)
    except ModuleNotFoundError as error:
        raise missing_module(name, path, error) from error
    except Exception as error:  # a damaged file, or one of another kind, fails in any way
        raise unreadable(name, path, "a joblib or pickle file", error, advice) from error
    if not isinstance(found, lightgbm.LGBMModel | lightgbm.Booster):
        raise ModelLoadError(
            f"Model {name}: {path} holds a {type(found).__name__}, which is no model of LightGBM; for "
            'pipelines and the like use "implementation": "sklearn".'
        )
    if isinstance(found, lightgbm.LGBMModel) and not found.__sklearn_is_fitted__():
        raise ModelLoadError(
            f"Model {name}: the {type(found).__name__} is not fitted; call fit before it is saved."
        )
    return found
