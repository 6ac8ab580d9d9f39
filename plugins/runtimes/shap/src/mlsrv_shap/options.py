"""Options: what ``parameters.extra`` says of an explanation."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import numpy as np
import numpy.typing as npt
from attrs import frozen

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv_runtime_kit import extra_value

KINDS = ("auto", "tree", "linear", "permutation", "kernel")

_KNOWN = (
    "model",
    "version",
    "explainer",
    "background",
    "background_rows",
    "feature_names",
    "max_rows",
    "output",
    "seed",
)

Matrix = npt.NDArray[np.float64]


@frozen(eq=False)
class Options:
    """The way in which a model is explained.

    Attributes:
        explainer: one of `KINDS`.
        background: rows that stand for a feature that is left out, [rows, features]; None if there are none.
        names: of the features; empty if unknown.
        most_rows: rows that one request may have.
        seed: of the order in which the permutation explainer leaves features out.
    """

    explainer: str
    background: Matrix | None
    names: tuple[str, ...]
    most_rows: int
    seed: int

    def background_for(self, model: str, kind: str) -> Matrix:
        """Return the background. Raises `ModelLoadError` if there is none."""
        if self.background is None:
            raise ModelLoadError(
                f"Model {model}: the explainer {kind} needs a sample of the data; name a .npy or .csv file "
                "in parameters.extra.background."
            )
        return self.background


def read_options(settings: ModelSettings, kinds: Container[str] = KINDS) -> Options:
    """Return the options of a model.

    Args:
        settings: of the model.
        kinds: explainers that it may have.

    Raises:
        ModelLoadError: one is wrong, or unknown.
    """
    name = settings.name
    unknown = sorted(set(settings.parameters.extra) - set(_KNOWN))
    if unknown:
        raise ModelLoadError(
            f"Model {name}: parameters.extra.{unknown[0]} is unknown; there are {', '.join(_KNOWN)}."
        )
    kind = extra_value(settings, "explainer", str, "auto")
    if kind not in kinds:
        known = ", ".join(one for one in KINDS if one in kinds)
        raise ModelLoadError(f"Model {name}: parameters.extra.explainer is one of {known}, not {kind!r}.")
    names = tuple(map(str, extra_value(settings, "feature_names", list, [])))
    background, found = _background(settings)
    most_rows = extra_value(settings, "max_rows", int, 100)
    if most_rows < 1:
        raise ModelLoadError(f"Model {name}: parameters.extra.max_rows must be at least 1.")
    return Options(kind, background, names or found, most_rows, extra_value(settings, "seed", int, 0))


def _background(settings: ModelSettings) -> tuple[Matrix | None, tuple[str, ...]]:
    text = extra_value(settings, "background", str, "")
    if not text:
        return None, ()
    path = Path(text) if settings.folder is None else settings.folder / text
    most = extra_value(settings, "background_rows", int, 100)
    try:
        names, table = _read(path)
        if table.ndim != 2 or not len(table) or not np.isfinite(table).all():
            raise ValueError("it must be a table of finite numbers")
    except (OSError, EOFError, ValueError) as error:
        raise ModelLoadError(
            f"Model {settings.name}: parameters.extra.background {path} cannot be used: {error}."
        ) from error
    return table[:: -(-len(table) // max(most, 1))], names


def _read(path: Path) -> tuple[tuple[str, ...], Matrix]:
    if path.suffix.lower() == ".npy":
        return (), np.asarray(np.load(path, allow_pickle=False), np.float64)
    if path.suffix.lower() != ".csv":
        raise ValueError("the ending must be .npy or .csv")
    with path.open(encoding="utf-8-sig") as file:
        names = tuple(name.strip().strip('"') for name in file.readline().split(","))
        return names, np.loadtxt(file, delimiter=",", ndmin=2)
