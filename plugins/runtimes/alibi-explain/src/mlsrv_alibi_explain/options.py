"""Options: what ``parameters.extra`` says of an explainer."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv_runtime_kit import extra_value


@frozen
class Kind:
    """A type of explainer.

    Attributes:
        cls: its name in `alibi.explainers`.
        takes_one: whether it explains one row, picture or text at a time.
        takes_model: whether it takes a fitted model, and not a function that predicts.
        needs: the extra of alibi that it needs.
    """

    cls: str
    takes_one: bool = False
    takes_model: bool = False
    needs: str = ""


KINDS = {
    "ale": Kind("ALE"),
    "anchor_image": Kind("AnchorImage", takes_one=True),
    "anchor_tabular": Kind("AnchorTabular", takes_one=True),
    "anchor_text": Kind("AnchorText", takes_one=True),
    "integrated_gradients": Kind("IntegratedGradients", takes_model=True, needs="tensorflow"),
    "kernel_shap": Kind("KernelShap", needs="shap"),
    "partial_dependence": Kind("PartialDependence"),
    "permutation_importance": Kind("PermutationImportance"),
    "tree_partial_dependence": Kind("TreePartialDependence", takes_model=True),
    "tree_partial_dependence_variance": Kind("PartialDependenceVariance", takes_model=True),
    "tree_shap": Kind("TreeShap", takes_model=True, needs="shap"),
}
"""By the value of ``explainer_type``."""

_KNOWN = (
    "explainer_type",
    "model",
    "version",
    "infer_uri",
    "infer_output",
    "init_parameters",
    "explainer_batch",
    "ssl_verify_path",
)


@frozen
class Options:
    """The way in which a model is explained.

    Attributes:
        kind: of the explainer.
        model, version: of this server, which is explained; empty for another way.
        infer_uri: where another server answers, or the file of a fitted model.
        infer_output: the output that is explained; empty for the first.
        init_parameters: arguments that the explainer is made with; None if it was saved.
        explainer_batch: whether all rows of a request are explained, and not its first.
        ssl_verify_path: file or folder with certificates of authorities to trust; empty: the system's.
    """

    kind: Kind
    model: str
    version: str | None
    infer_uri: str
    infer_output: str
    init_parameters: dict[str, Any] | None
    explainer_batch: bool
    ssl_verify_path: str


def read_options(settings: ModelSettings) -> Options:
    """Return the options of a model.

    Raises:
        ModelLoadError: one is wrong, missing or unknown.
    """
    name, given = settings.name, settings.parameters.extra
    unknown = sorted(set(given) - set(_KNOWN))
    if unknown:
        raise ModelLoadError(
            f"Model {name}: parameters.extra.{unknown[0]} is unknown; there are {', '.join(_KNOWN)}."
        )
    kind = extra_value(settings, "explainer_type", str, "")
    if kind not in KINDS:
        raise ModelLoadError(
            f"Model {name}: parameters.extra.explainer_type is one of {', '.join(KINDS)}, not {kind!r}."
        )
    model = extra_value(settings, "model", str, "")
    uri = extra_value(settings, "infer_uri", str, "")
    if bool(model) == bool(uri):
        raise ModelLoadError(
            f"Model {name}: name the model to explain, either one of this server in parameters.extra.model "
            "or another in parameters.extra.infer_uri."
        )
    if model == name:
        raise ModelLoadError(f"Model {name}: parameters.extra.model must name another model.")
    if model and KINDS[kind].takes_model:
        raise ModelLoadError(
            f"Model {name}: {kind} looks into a fitted model; name its file in parameters.extra.infer_uri."
        )
    if uri and not KINDS[kind].takes_model and not uri.startswith(("http://", "https://")):
        raise ModelLoadError(
            f"Model {name}: parameters.extra.infer_uri must be the URL of a model's infer endpoint "
            f"(http://…/v2/models/NAME/infer), not {uri!r}."
        )
    version = given.get("version")
    return Options(
        KINDS[kind],
        model,
        None if version is None else str(version),
        uri,
        extra_value(settings, "infer_output", str, ""),
        extra_value(settings, "init_parameters", dict, None),
        extra_value(settings, "explainer_batch", bool, False),
        extra_value(settings, "ssl_verify_path", str, ""),
    )
