"""Kit for authors of plugins: contract suites for pytest, and the check of an installed plugin.

`mlsrv_testing.contracts` has a suite for each kind of plugin; `mlsrv_testing.checks` runs them against an
installed plugin, as ``mlsrv plugins check`` does. Tiny models and kernels are in `mlsrv.testing`.
"""
