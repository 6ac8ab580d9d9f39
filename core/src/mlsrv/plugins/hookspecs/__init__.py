"""Hook specifications: every hook of the kernel, in the order in which the kernel calls them.

Hooks decide, objects work: a hook runs at boot or when a model is loaded, never for a request. It returns
small frozen offers, or plain objects that the kernel then calls directly. A hook may take fewer parameters
than its specification has; one that raises stops what was being done (the boot, the load), with the plugin's
name in the message. Each docstring says: what for; when, how often and in which process; parameters; what is
returned.
"""

# ruff: noqa: F401, I001  # all hooks, in the order of their calls

from mlsrv.plugins.hookspecs.offers import (
    mlsrv_addhooks,
    mlsrv_settings,
    mlsrv_codecs,
    mlsrv_runtimes,
    mlsrv_repositories,
    mlsrv_executors,
    mlsrv_transports,
    mlsrv_meters,
)
from mlsrv.plugins.hookspecs.lifetime import (
    mlsrv_extensions,
    mlsrv_metrics,
    mlsrv_lifespan,
    mlsrv_authorize,
)
from mlsrv.plugins.hookspecs.model_load import (
    mlsrv_verified_folder,
    mlsrv_select_runtime,
    mlsrv_interceptors,
    mlsrv_user_code,
    mlsrv_model_state,
)
