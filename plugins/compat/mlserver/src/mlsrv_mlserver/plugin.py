"""Plugin: the hooks of mlsrv-mlserver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import mlsrv
from mlsrv_mlserver.presence import check_alone
from mlsrv_mlserver.tolerance import TolerantModelSettings, TolerantSettings
from mlsrv_settings_kit.foreign import ForeignEnvironment

check_alone()

MODEL_PACKAGES = (
    "mlserver",
    "mlserver_catboost",
    "mlserver_huggingface",
    "mlserver_lightgbm",
    "mlserver_mllib",
    "mlserver_mlflow",
    "mlserver_sklearn",
    "mlserver_xgboost",
)
"""Packages that models import, which a worker in an environment gets from here, whatever that has."""


@mlsrv.hookimpl
def mlsrv_settings() -> tuple[mlsrv.SettingsOffer, ...]:
    """Let unknown keys pass."""
    return (
        mlsrv.SettingsOffer("server", TolerantSettings),
        mlsrv.SettingsOffer("model", TolerantModelSettings),
    )


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_cli_environment(environ: Mapping[str, str]) -> ForeignEnvironment:
    """Read MLServer's variables, of the environment and of a file ``.env`` in the working directory."""
    from mlsrv_mlserver.environment import DEFAULTS, dotenv, translated

    variables, read = translated(dotenv(Path.cwd()) | dict(environ))
    return ForeignEnvironment(variables, read, DEFAULTS)
