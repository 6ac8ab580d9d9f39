"""Adapted source: imports the server's packages in an environment whose Python is of another minor version.

The source is the server's and is changed while it is imported, as little as that version needs:

* Compiled packages of the server cannot be imported there. Where the environment has no such package either,
  ``import orjson`` in a module of the server imports `plain_json`, and ``import simdjson`` `plain_simdjson`.
  Modules of others see no stand-ins.
* Before Python 3.11, attributes in `older_python.ATTRIBUTES` are read by its functions: ``code.co_qualname``
  becomes ``mlsrv_attributes["co_qualname"](code)``.
* Python 3.9 cannot evaluate ``X | Y`` for types and has no ``zip(strict=True)``: unions in annotations and
  aliases become ``Union[X, Y]``, those in calls of `isinstance` tuples; `zip` is `older_python.strict_zip`.

Nothing in this module may need a newer Python than 3.9.
"""

from __future__ import annotations

import ast
import re
import sys
import typing
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

OLDER = sys.version_info < (3, 11)
UNIONS = sys.version_info < (3, 10)
"""True where unions of types have to be rewritten."""


class AdaptingFinder(MetaPathFinder):
    """Finds packages of the server, and all modules in them.

    Args:
        folders: the folder of each package, by name.
        stand_ins: modules that stand for compiled ones, by name.
    """

    def __init__(self, folders: Mapping[str, str], stand_ins: Mapping[str, str]) -> None:
        self._folders = folders
        self._stand_ins = stand_ins

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top, _, rest = fullname.partition(".")
        if top not in self._folders:
            return None
        spec = PathFinder.find_spec(fullname, path if rest else [self._folders[top]])
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = AdaptingLoader(spec.loader, self._stand_ins)
        return spec


class AdaptingLoader(SourceFileLoader):
    """Loads a module from source that it adapts. The code is not kept on disk, where others would find it."""

    def __init__(self, original: SourceFileLoader, stand_ins: Mapping[str, str]) -> None:
        super().__init__(original.name, original.path)
        self._stand_ins = stand_ins

    def get_code(self, fullname: str) -> CodeType | None:
        source = self.get_data(self.path).decode()
        words = rf"^\s*import ({'|'.join(self._stand_ins) or '-'})$|\.({'|'.join(_attributes()) or '-'})\b"
        if UNIONS or re.search(words, source, re.MULTILINE):
            return compile(adapted(source, self._stand_ins), self.path, "exec", dont_inherit=True)
        return super().get_code(fullname)

    def exec_module(self, module: ModuleType) -> None:
        if OLDER:
            vars(module).update(mlsrv_attributes=_attributes())
        if UNIONS:
            from mlsrv_workers.worker import older_python

            vars(module).update(
                zip=older_python.strict_zip, mlsrv_union=typing.Union, mlsrv_either=older_python.either
            )
        super().exec_module(module)


def _attributes() -> Mapping[str, Any]:
    if not OLDER:
        return {}
    from mlsrv_workers.worker import older_python  # which a newer Python need not import

    return older_python.ATTRIBUTES


def adapted(source: str, stand_ins: Mapping[str, str], unions: bool = UNIONS) -> ast.Module:
    """Return the syntax tree of a module's source, adapted."""
    tree = _Attributes().visit(_Imports(stand_ins).visit(ast.parse(source)))
    if unions:
        tree = _Unions().visit(tree)
    return typing.cast(ast.Module, ast.fix_missing_locations(tree))


class _Imports(ast.NodeTransformer):
    """Imports stand-ins under the names of the modules for which they stand."""

    def __init__(self, stand_ins: Mapping[str, str]) -> None:
        self._stand_ins = stand_ins

    def visit_Import(self, node: ast.Import) -> ast.AST:
        name = node.names[0].name
        if len(node.names) > 1 or name not in self._stand_ins:
            return node
        package, _, module = self._stand_ins[name].rpartition(".")
        found = ast.ImportFrom(package, [ast.alias(module, node.names[0].asname or name)], 0)
        return ast.copy_location(found, node)


class _Attributes(ast.NodeTransformer):
    """Has the functions of `older_python` read attributes."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if node.attr not in _attributes() or not isinstance(node.ctx, ast.Load):
            return node
        table = ast.Name("mlsrv_attributes", ast.Load())
        function = ast.Subscript(table, ast.Constant(node.attr), ast.Load())
        return ast.copy_location(ast.Call(function, [node.value], []), node)


class _Unions(ast.NodeTransformer):
    """Rewrites unions of types."""

    def __init__(self) -> None:
        self._functions = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: Any) -> ast.AST:
        node.returns = _hint(node.returns)
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        node.args = self.visit(node.args)
        self._functions += 1
        node.body = [self.visit(each) for each in node.body]
        self._functions -= 1
        return typing.cast(ast.AST, node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = _hint(node.annotation)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = typing.cast(ast.expr, _hint(node.annotation))
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id in ("isinstance", "issubclass"):
            kinds = _members(node.args[1])
            if len(kinds) > 1:  # before the union itself is visited
                node.args[1] = ast.copy_location(ast.Tuple(kinds, ast.Load()), node.args[1])
        return self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Rewrite a union outside functions, where it may be an alias of types."""
        self.generic_visit(node)
        if self._functions or not isinstance(node.op, ast.BitOr):
            return node
        function = ast.Name("mlsrv_either", ast.Load())
        return ast.copy_location(ast.Call(function, [node.left, node.right], []), node)


class _Hints(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.BitOr):
            return node
        members = ast.Tuple([node.left, node.right], ast.Load())
        union = ast.Subscript(ast.Name("mlsrv_union", ast.Load()), members, ast.Load())
        return ast.copy_location(union, node)


def _hint(node: ast.expr | None) -> ast.expr | None:
    return None if node is None else typing.cast(ast.expr, _Hints().visit(node))


def _members(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_members(node.left), *_members(node.right)]
    if isinstance(node, ast.Constant) and node.value is None:
        return [ast.copy_location(ast.Call(ast.Name("type", ast.Load()), [node], []), node)]
    return [node]
