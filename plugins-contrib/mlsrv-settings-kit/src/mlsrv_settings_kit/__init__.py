"""mlsrv-settings-kit: typed settings from files, the environment and the command line; see its modules.

Authors of plugins find what they need in `mlsrv.settings`.
"""
