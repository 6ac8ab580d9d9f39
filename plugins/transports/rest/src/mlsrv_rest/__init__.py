"""The Open Inference Protocol over HTTP.

A server loads this distribution as the plugin ``rest``; an application with a web server of its own mounts
`create_app`. Importing the package is cheap: the web framework is imported on first use.
"""

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports
from mlsrv_rest.settings import CORSSettings, RestSettings

if TYPE_CHECKING:
    from mlsrv_rest.app import RestApp, create_app
    from mlsrv_rest.transport import RestTransport

__all__ = ["CORSSettings", "RestApp", "RestSettings", "RestTransport", "create_app"]

__getattr__ = lazy_exports(
    __name__,
    {
        "RestApp": "mlsrv_rest.app",
        "create_app": "mlsrv_rest.app",
        "RestTransport": "mlsrv_rest.transport",
    },
)
