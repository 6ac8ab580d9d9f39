"""Making what plugins offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlsrv.errors import ConfigurationError
from mlsrv.offers import NamedOffer, resolve_target

if TYPE_CHECKING:
    from mlsrv.kernel import Kernel


def make_offered(offer: NamedOffer, kernel: Kernel, kind: type[Any]) -> Any:
    """Import the class that an offer names, and make an instance for a kernel.

    Raises:
        ConfigurationError: it cannot be imported, or is not of the right kind.
    """
    try:
        cls: Any = resolve_target(offer.target)
    except Exception as error:  # importing runs the code of others, which may raise anything
        raise ConfigurationError(
            f'The {kind.__name__.lower()} "{offer.name}" cannot be imported: {type(error).__name__}: {error}'
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, kind)):
        raise ConfigurationError(
            f'The {kind.__name__.lower()} "{offer.name}" is {cls!r}, '
            f"not a subclass of {kind.__module__}.{kind.__name__}."
        )
    return cls(kernel)
