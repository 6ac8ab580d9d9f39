"""Markers: the two pluggy markers of the project."""

import pluggy

PROJECT = "mlsrv"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function or method of a plugin as the implementation of the hook of the same name."""
