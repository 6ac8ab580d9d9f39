"""Source models: the names of the models in Python code, found without running it."""

from __future__ import annotations

import ast

BASE = "MLModel"
DECORATOR = "predictor"


def models_in(text: str, name: str = "<unknown>") -> list[str]:
    """Return the names of models at the top of a module, in their order.

    They are functions with the decorator `mlsrv.predictor`, classes derived from `mlsrv.MLModel`, directly or
    through another class of the module, and classes that have a base and a method ``predict`` or
    ``predict_stream``. Names that begin with an underscore, and classes from which others of the module
    derive, are left out.

    Raises:
        SyntaxError: the text is no Python; it names the file ``name``.
    """
    classes: dict[str, list[str]] = {}
    found: list[str] = []
    for node in ast.parse(text, name).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(_last_name(decorator) == DECORATOR for decorator in node.decorator_list):
                found.append(node.name)
        elif isinstance(node, ast.ClassDef):
            bases = [_last_name(base) for base in node.bases]
            if any(base == BASE or base in classes for base in bases) or (bases and _predicts(node)):
                classes[node.name] = bases
                found.append(node.name)
    derived_from = {base for bases in classes.values() for base in bases}
    return [name for name in found if not name.startswith("_") and name not in derived_from]


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return _last_name(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _predicts(node: ast.ClassDef) -> bool:
    methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
    return bool(methods & {"predict", "predict_stream"})
