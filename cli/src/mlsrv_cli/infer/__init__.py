"""Command ``mlsrv infer``: sends what files hold to a model of a running server, and writes its answers."""
