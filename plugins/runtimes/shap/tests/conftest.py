"""Imports shap once, whose own imports warn of what will change in matplotlib."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    import shap  # noqa: F401  # is imported for its side effect
