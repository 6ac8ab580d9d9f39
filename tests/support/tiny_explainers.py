"""Explainers of every kind that needs no TensorFlow, made by alibi itself, and what they explain."""

import warnings
from typing import Any

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import alibi.explainers as explainers
    import spacy
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from explained_models import image_class, scores, segments, text_class

FEATURES = ["a", "b", "c"]
ROWS = np.random.default_rng(1).normal(size=(60, 3)).astype("float32")
IMAGE = np.zeros((12, 12, 1), "float32")
IMAGE[:6, :6] = 1.0
FOREST = RandomForestClassifier(10, max_depth=3, random_state=0).fit(ROWS, ROWS[:, 0] > 0)
CURVE = RandomForestRegressor(10, max_depth=3, random_state=0).fit(ROWS, ROWS[:, 0] * 2 + ROWS[:, 1])


def anchor_tabular() -> Any:
    made = explainers.AnchorTabular(scores, FEATURES, seed=1)
    return made.fit(ROWS)


def kernel_shap() -> Any:
    return explainers.KernelShap(scores, seed=1, feature_names=FEATURES).fit(ROWS[:10])


def tree_shap() -> Any:
    return explainers.TreeShap(FOREST, feature_names=FEATURES).fit()


EXPLAINERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "ale": (lambda: explainers.ALE(scores, feature_names=FEATURES), scores, {}),
    "anchor_image": (
        lambda: explainers.AnchorImage(image_class, IMAGE.shape, segmentation_fn=segments, seed=1),
        image_class,
        {"p_sample": 0.5, "coverage_samples": 200},
    ),
    "anchor_tabular": (anchor_tabular, scores, {"coverage_samples": 200}),
    "anchor_text": (
        lambda: explainers.AnchorText(text_class, nlp=spacy.blank("en"), seed=1),
        text_class,
        {"coverage_samples": 200},
    ),
    "kernel_shap": (kernel_shap, scores, {"nsamples": 64}),
    "partial_dependence": (
        lambda: explainers.PartialDependence(scores, feature_names=FEATURES),
        scores,
        {"grid_resolution": 5},
    ),
    "permutation_importance": (
        lambda: explainers.PermutationImportance(scores, loss_fns=["log_loss"], feature_names=FEATURES),
        scores,
        {"y": [int(value > 0) for value in ROWS[:8, 0]], "n_repeats": 2},
    ),
    "tree_partial_dependence": (
        lambda: explainers.TreePartialDependence(CURVE, feature_names=FEATURES),
        CURVE,
        {"grid_resolution": 5},
    ),
    "tree_shap": (tree_shap, FOREST, {}),
}
"""How each is made, what it explains, and parameters of `explain`."""
