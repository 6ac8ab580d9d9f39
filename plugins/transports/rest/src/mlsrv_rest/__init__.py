"""The Open Inference Protocol over HTTP.

A server loads this distribution as the plugin ``rest``; an application that has a web server of its own
mounts `create_app`. Importing the package is cheap: the web framework is imported when it is first needed.
"""

from typing import TYPE_CHECKING, Any

from mlsrv_rest.settings import CORSSettings, RestSettings

if TYPE_CHECKING:
    from mlsrv_rest.app import RestApp, create_app
    from mlsrv_rest.transport import RestTransport

__all__ = ["CORSSettings", "RestApp", "RestSettings", "RestTransport", "create_app"]


def __getattr__(name: str) -> Any:
    if name in ("RestApp", "create_app"):
        from mlsrv_rest import app

        return getattr(app, name)
    if name == "RestTransport":
        from mlsrv_rest.transport import RestTransport

        return RestTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
