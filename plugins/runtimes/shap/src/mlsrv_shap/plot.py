"""Plot: an explanation as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from mlsrv.errors import InferenceError
from mlsrv_shap.explainers import Explanation
from mlsrv_shap.options import Matrix

SHOWN = 20
"""Features that are drawn, the strongest."""

UP, DOWN = "#b42318", "#1f5fa8"


def drawn(
    model: str, names: Sequence[str], labels: Sequence[str], space: str, rows: Matrix, found: Explanation
) -> bytes:
    """Return a PNG: a bar for each feature, of the only row, or the mean of the sizes for several rows.

    Of a model with several outputs it shows the one that the first row has the highest value of.

    Raises:
        InferenceError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InferenceError(
            f"Model {model}: a plot needs matplotlib, which is missing (pip install mlsrv-shap[plot])."
        ) from error
    values, output = found.values, ""
    if values.ndim == 3:
        chosen = int(np.argmax(values[0].sum(axis=0) + found.expected))
        values = values[:, :, chosen]
        label = labels[chosen] if chosen < len(labels) else str(chosen)
        output = f" of output {label}"
    is_single = len(rows) == 1
    shown = values[0] if is_single else np.abs(values).mean(axis=0)
    order = np.argsort(np.abs(shown))[-SHOWN:]
    shown_names = [names[index] if names else f"feature {index}" for index in order]
    if is_single:
        shown_names = [
            f"{name} = {rows[0, index]:.4g}" for name, index in zip(shown_names, order, strict=True)
        ]
    figure = Figure(figsize=(8, 1.2 + 0.35 * len(order)), layout="constrained")
    axes = figure.subplots()
    axes.barh(shown_names, shown[order], color=[UP if value > 0 else DOWN for value in shown[order]])
    axes.axvline(0, color="black", linewidth=0.8)
    what = "Contribution to the" if is_single else "Mean size of the contribution to the"
    axes.set_xlabel(f"{what} {space}{output}")
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    return stream.getvalue()
