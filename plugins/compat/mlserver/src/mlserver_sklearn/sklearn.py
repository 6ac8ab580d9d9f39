"""scikit-learn runtime, under the name of the module that MLServer has it in."""

from __future__ import annotations

from mlserver_sklearn import SKLearnModel

__all__ = ["SKLearnModel"]
