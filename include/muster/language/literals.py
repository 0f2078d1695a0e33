"""Arguments without expressions: whether a skill takes them, by the types that its source annotates."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from muster.language.expressions import texts

_TYPES: dict[str, object] = {
    "str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict, "tuple": tuple, "set": set,
    "Any": object, "Literal": Literal,
}  # fmt: skip
"""The names in an annotation that mean the same in every module."""


def fits(value: object, annotation: str) -> bool:
    """False when a skill would refuse the value for a parameter of this type.

    True also when that is known only as the skill is called: for expressions, and for types that must be imported.
    """
    adapter = _adapter(annotation)
    if adapter is None or any(texts(value)):
        return True
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


@lru_cache(maxsize=512)
def _adapter(annotation: str) -> TypeAdapter[object] | None:
    try:
        return TypeAdapter(_type(ast.parse(annotation, mode="eval").body))
    except (SyntaxError, LookupError, TypeError, ValueError):
        return None


def _type(node: ast.expr) -> Any:
    """The type that an annotation means. Raises LookupError for what has to be imported."""
    if isinstance(node, ast.Constant) and node.value in (None, ...):
        return node.value
    if isinstance(node, ast.Name):
        return _TYPES[node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _type(node.left) | _type(node.right)
    if isinstance(node, ast.Subscript):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        outer = _type(node.value)
        return outer[tuple(map(ast.literal_eval if outer is Literal else _type, inner))]
    raise LookupError(ast.dump(node))
