"""Tolerance: keys of settings files that nothing here knows are told of, and no reason to stop."""

from __future__ import annotations

from typing import ClassVar

from mlsrv.settings import settings_class


@settings_class
class TolerantSettings:
    """No setting; its presence lets unknown keys of the server's settings pass, as MLServer does."""

    tolerates_unknown_keys: ClassVar[bool] = True


@settings_class
class TolerantModelSettings:
    """The same for the settings of models."""

    tolerates_unknown_keys: ClassVar[bool] = True
