"""Presence: tells whether MLServer itself is installed, whose package has the same name as ours."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path


def check_alone() -> None:
    """Raise ImportError where the package ``mlserver`` is, or may be, that of the distribution ``mlserver``.

    In a model's environment, which may have MLServer, the worker finds ours first, in another folder.
    """
    try:
        found = distribution("mlserver")
    except PackageNotFoundError:
        return
    here = Path(__file__).parent.parent
    spec = find_spec("mlserver")
    ours = spec is not None and spec.origin is not None and Path(spec.origin).parent.parent == here
    if ours and Path(str(found.locate_file(""))) != here:
        return
    raise ImportError(
        f"MLServer {found.version} is installed, too, and both bring a package called mlserver; "
        "uninstall one of them (pip uninstall mlserver, then pip install --force-reinstall mlsrv-mlserver)"
    )
