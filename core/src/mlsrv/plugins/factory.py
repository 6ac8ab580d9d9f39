"""Factory: imports the classes that offers name, and makes instances of them."""

from __future__ import annotations

from typing import Any

from mlsrv.errors import ConfigurationError
from mlsrv.kernel_api import KernelAPI
from mlsrv.plugins.offers import NamedOffer, Target, adapted, resolve_target


def make_offered(offer: NamedOffer, kernel: KernelAPI, kind: type[Any]) -> Any:
    """Import the class that an offer names, and make an instance for a kernel.

    Raises:
        ConfigurationError: as `resolve_class`.
    """
    return resolve_class(offer.target, kind, f'The {kind.__name__.lower()} "{offer.name}"')(kernel)


def resolve_class(target: Target, kind: type[Any], what: str) -> type[Any]:
    """Import the class that a target names.

    Args:
        target: the class, or where it is.
        kind: what it must be a subclass of, or be adapted to (`mlsrv.plugins.offers.adapted`).
        what: how messages begin, for example ``'The transport "rest"'``.

    Raises:
        ConfigurationError: it cannot be imported, or is something else.
    """
    try:
        found: Any = adapted(resolve_target(target), kind)
    except Exception as error:  # importing runs the code of others, which may raise anything
        raise ConfigurationError(f"{what} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise ConfigurationError(f"{what} is {found!r}, not a subclass of {kind.__module__}.{kind.__name__}.")
    return found
