"""Presence: tells whether MLServer itself is installed, whose package has the same name as ours."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution


def check_alone() -> None:
    """Raise ImportError where the distribution ``mlserver`` is installed beside this one."""
    try:
        found = distribution("mlserver")
    except PackageNotFoundError:
        return
    raise ImportError(
        f"MLServer {found.version} is installed, too, and both bring a package called mlserver; "
        "uninstall one of them (pip uninstall mlserver, then pip install --force-reinstall mlsrv-mlserver)"
    )
