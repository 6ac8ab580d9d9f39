"""Version: the release of MLServer whose interface this package has."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "1.7.1"
