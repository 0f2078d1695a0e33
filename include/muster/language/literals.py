"""Arguments that stand in the file as they are: whether a skill takes them, by what its source says of its types."""

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
"""What an annotation is looked for that has the same meaning in every module."""


def fits(value: object, annotation: str) -> bool:
    """False when a skill with such a parameter would refuse the value, as it does when it is called.

    What an expression gives, and what a type is made of that has to be imported, is only known then.
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
