"""``mlsrv top``: watch a running server."""
