"""mlsrv-hosting-kit: runs code of models in a process that others share; see its modules.

Authors of models and plugins find what they need in `mlsrv.threads` and `mlsrv.timeline`.
"""
