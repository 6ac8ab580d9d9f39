"""Plugin: the hooks of mlsrv-mlserver."""

from __future__ import annotations

from mlsrv_mlserver.presence import check_alone

check_alone()
