"""Detectors of every kind that needs no TensorFlow, made and saved by alibi-detect itself."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import alibi_detect.cd as cd
    import torch
    from alibi_detect.saving import save_detector
    from alibi_detect.utils.pytorch.kernels import DeepKernel
    from sklearn.linear_model import LogisticRegression

CONTINUOUS = np.random.default_rng(1).normal(size=(60, 3)).astype("float32")
BINARY = (CONTINUOUS > 0).astype("int64")
MIXED = np.concatenate([CONTINUOUS[:, :2], BINARY[:, 2:]], axis=1)


def torch_net(*further: Any) -> Any:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), *further)


ONLINE: dict[str, Any] = {
    "ert": 30.0,
    "window_size": 5,
    "n_bootstraps": 100,
    "backend": "pytorch",
    "verbose": False,
}
WINDOWS: dict[str, Any] = {"ert": 20.0, "window_sizes": [5], "n_bootstraps": 1000, "verbose": False}
TRAINED: dict[str, Any] = {"backend": "pytorch", "epochs": 1, "verbose": 0}

DETECTORS: dict[str, Any] = {
    "ks": (CONTINUOUS, lambda x: cd.KSDrift(x, p_val=0.05)),
    "cvm": (CONTINUOUS, lambda x: cd.CVMDrift(x, p_val=0.05)),
    "chisquare": (BINARY, lambda x: cd.ChiSquareDrift(x, p_val=0.05)),
    "tabular": (MIXED, lambda x: cd.TabularDrift(x, p_val=0.05, categories_per_feature={2: None})),
    "fet": (BINARY[:, :1], lambda x: cd.FETDrift(x, p_val=0.05, alternative="two-sided")),
    "mmd": (CONTINUOUS, lambda x: cd.MMDDrift(x, backend="pytorch", n_permutations=20)),
    "lsdd": (CONTINUOUS, lambda x: cd.LSDDDrift(x, backend="pytorch", n_permutations=20)),
    "classifier-sklearn": (
        CONTINUOUS,
        lambda x: cd.ClassifierDrift(x, LogisticRegression(), backend="sklearn", preds_type="probs", seed=1),
    ),
    "classifier": (CONTINUOUS, lambda x: cd.ClassifierDrift(x, torch_net(), **TRAINED)),
    "spot-the-diff": (CONTINUOUS, lambda x: cd.SpotTheDiffDrift(x, **TRAINED)),
    "learned-kernel": (CONTINUOUS, lambda x: cd.LearnedKernelDrift(x, DeepKernel(torch_net()), **TRAINED)),
    "classifier-uncertainty": (
        CONTINUOUS,
        lambda x: cd.ClassifierUncertaintyDrift(
            x, torch_net(torch.nn.Softmax(-1)), backend="pytorch", preds_type="probs"
        ),
    ),
    "regressor-uncertainty": (
        CONTINUOUS,
        lambda x: cd.RegressorUncertaintyDrift(
            x,
            torch_net(torch.nn.Dropout(0.5), torch.nn.Linear(2, 1)),
            backend="pytorch",
            uncertainty_type="mc_dropout",
            n_evals=5,
        ),
    ),
    "mmd-online": (CONTINUOUS, lambda x: cd.MMDDriftOnline(x, **ONLINE)),
    "lsdd-online": (CONTINUOUS, lambda x: cd.LSDDDriftOnline(x, **ONLINE)),
    "cvm-online": (CONTINUOUS[:, :1], lambda x: cd.CVMDriftOnline(x, **WINDOWS)),
    "fet-online": (BINARY[:, :1], lambda x: cd.FETDriftOnline(x, **WINDOWS)),
}
"""The reference sample of each, and how it is made."""


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Gives the folder of a saved detector by name; each is made once."""
    root = tmp_path_factory.mktemp("detectors")

    def folder(name: str) -> Path:
        path = root / name
        if not path.exists():
            reference, make = DETECTORS[name]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                save_detector(make(reference), path)
        return path

    return folder


@pytest.fixture(scope="session")
def sample() -> Any:
    """Gives rows to ask a detector with, which have drifted."""

    def rows(name: str, count: int = 8) -> Any:
        reference = DETECTORS[name][0]
        shift = 1 if reference.dtype.kind == "i" else 3
        return (
            np.minimum(reference[:count] + shift, 1) if shift == 1 else reference[:count] + np.float32(shift)
        )

    return rows
