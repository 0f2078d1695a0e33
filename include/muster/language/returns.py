"""Checks of `returns`: a JSON Schema that can be sent to a model, or the name of a type that there is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache

from muster.language.foreign import JSON_TYPES
from muster.language.problems import all_of
from muster.skills.index import SkillIndex


def mistake(returns: str | Mapping[str, object] | None, skills: SkillIndex) -> tuple[str, str | None] | None:
    """What is wrong with a `returns`, and what to do; None when nothing is."""
    if returns is None:
        return None
    if not isinstance(returns, str):
        return schema_mistake(returns)
    if returns in JSON_TYPES:
        return f"there is no type `{returns}`", f"Write `returns: {{ type: {returns} }}`."
    name = returns
    while inner := re.fullmatch(r"list\[(.+)\]", name):
        name = inner[1]
    if name.startswith("skill:"):
        skill = name.removeprefix("skill:")
        return None if skills.get(skill) else (f"there is no skill `{skill}`", skills.unreadable(skill))
    if skills.has_type(name):
        return None
    domain = name.partition(".")[0]
    return (
        f"there is no type `{name}`",
        f"Name a class of `skills/{domain}.py`, as `{domain}.<class>`, or a JSON Schema.",
    )


def schema_mistake(returns: Mapping[str, object]) -> tuple[str, str | None] | None:
    """What is wrong with a JSON Schema, and what to do; None when nothing is."""
    if returns and not returns.keys() & _WORDS:
        shown = ", ".join(f"{name}: {{ type: {kind} }}" for name, kind in returns.items() if kind in JSON_TYPES)
        remedy = f"Write `{{ type: object, properties: {{ {shown or 'name: { type: string }'} }} }}`."
        return f"not a JSON Schema: it says nothing of {all_of(returns)}", remedy
    found = _schema_mistake(json.dumps(returns))
    return (found, None) if found else None


_WORDS = frozenset(
    {"type", "properties", "items", "prefixItems", "enum", "const", "anyOf", "oneOf", "allOf", "not", "if", "$ref"}
    | {"title", "description", "required", "format", "additionalProperties", "pattern", "minimum", "maximum"}
)
"""One of which every schema has that says anything."""


@lru_cache(maxsize=1024)
def _schema_mistake(schema_json: str) -> str | None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    schema = json.loads(schema_json)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"not a JSON Schema: {error.message}"
    return _lost(schema, schema, ())


def _lost(node: object, root: Mapping[str, object], within: tuple[str, ...]) -> str | None:
    """What is wrong with a schema's references: models are sent one without any, so each must be replaceable."""
    if isinstance(node, list):
        return next(filter(None, (_lost(inner, root, within) for inner in node)), None)
    if not isinstance(node, Mapping):
        return None
    reference = node.get("$ref")
    if not isinstance(reference, str):
        return next(filter(None, (_lost(inner, root, within) for key, inner in node.items() if key != "$defs")), None)
    if reference in within or not reference.startswith("#/"):
        return f"the schema refers (`$ref`) to `{reference}`: it can refer neither to itself nor elsewhere"
    target: object = root
    for part in reference[2:].split("/"):
        target = target.get(part) if isinstance(target, Mapping) else None
    if not isinstance(target, Mapping):
        return f"the schema refers (`$ref`) to `{reference}`, which is not in it"
    return _lost(target, root, (*within, reference))
