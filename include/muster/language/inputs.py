"""Checks of `inputs`: each is a valid JSON Schema, and its default fits it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from muster.language.explain import Located
from muster.language.foreign import JSON_TYPES, SCHEMA_WORDS, TYPES
from muster.language.problems import Problem, did_you_mean
from muster.language.reading import Path

PARENT = "muster_parent"
"""The key of a run's conf that names the run which asked for it; no input may have this name."""


def check(inputs: Mapping[str, dict[str, object]], document: Located) -> Iterator[Problem]:
    """One problem for each input whose schema is wrong or whose default does not fit."""
    for name, schema in inputs.items():
        if name == PARENT:
            message = f"`{name}` is a name Muster uses itself, so this input would never be given"
            yield document.problem(message, ("inputs", name), key=True, suggestion="Rename it.")
        for word in schema.keys() & SCHEMA_WORDS:
            message = f"`{word}` is no word of JSON Schema"
            yield document.problem(message, ("inputs", name, word), key=True, suggestion=SCHEMA_WORDS[word])
        # As JSON, because a cache needs a key: many automations have the same few schemas.
        if mistake := _mistake(json.dumps(schema)):
            path, message = mistake
            yield document.problem(message, ("inputs", name, *path), suggestion=_meant(path, schema))


def _meant(path: Path, schema: Mapping[str, object]) -> str | None:
    """What to write for a type by the name that other tools give it, or for `required` as they use it."""
    if path == ("type",) and isinstance(kind := schema["type"], str):
        lowered = kind.lower()
        meant = lowered if lowered in JSON_TYPES else TYPES.get(lowered)
        return f"Write `type: {meant}`." if meant else did_you_mean(lowered, JSON_TYPES) or _TYPES
    if path == ("required",) and isinstance(schema["required"], bool):
        wanted = schema["required"]
        return "Leave it out: without `default` an input is required." if wanted else "Give it a `default` instead."
    return None


_TYPES = f"The types are {', '.join(JSON_TYPES)}."


@lru_cache(maxsize=4096)
def _mistake(schema_json: str) -> tuple[Path, str] | None:
    # Imported late: an automation without inputs does not pay for it.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, best_match

    schema = json.loads(schema_json)
    if _refers_outside(schema):
        return (), "a schema cannot refer (`$ref`) to another document"
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        # The validator's own words, `under any of the given schemas`, name nothing that is in the file.
        kind = "" if tuple(error.path) != ("type",) else f"there is no type `{schema['type']}`"
        if tuple(error.path) == ("required",):
            kind = "`required` is a list of names, of what an object must have"
        return tuple(error.path), f"not a JSON Schema: {kind or error.message}"
    if "default" not in schema:
        return None
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    mismatch = best_match(validator.iter_errors(schema["default"]))
    return (
        (("default", *mismatch.absolute_path), f"the default does not fit its schema: {mismatch.message}")
        if mismatch
        else None
    )


class Nothing(NamedTuple):
    """Why there is nothing at a path, and what may be meant."""

    message: str
    suggestion: str | None


def inside(path: Sequence[str], schemas: Mapping[str, object], parent: str = "inputs") -> Nothing | None:
    """Why there is nothing at a path inside an input, or what else has a schema; None when that allows it, or is none.

    Args:
        path: The name under which the schema stands in `schemas`, and the names behind it.
        parent: How expressions call all of them.
    """
    found = _followed(path, schemas, parent)
    return found if isinstance(found, Nothing) else None


def is_no_list(path: Sequence[str], inputs: Mapping[str, object]) -> str | None:
    """What an input is whose schema rules out a list; None when it may be one."""
    kinds = _kinds(_followed(path, inputs)) if path else []
    return " or ".join(kinds) if kinds and "array" not in kinds else None


def is_text(path: Sequence[str], inputs: Mapping[str, object]) -> bool:
    """True for what has a schema that allows nothing but text."""
    return bool(path) and _kinds(_followed(path, inputs)) == ["string"]


def _followed(path: Sequence[str], schemas: Mapping[str, object], parent: str = "inputs") -> object:
    """The schema of what is at a path; None where that is not said, or not in a JSON Schema."""
    schema, there = schemas.get(path[0]), f"{parent}.{path[0]}"
    has_no, there_are = ("declares no", "Declared are") if parent == "inputs" else ("has no", "There are")
    given = schema.get("default") if isinstance(schema, Mapping) else None
    for place, name in enumerate(path[1:], start=2):
        given = given.get(name) if isinstance(given, Mapping) else None
        if not isinstance(schema, Mapping) or not _ANYTHING.isdisjoint(schema):
            return None
        if (kinds := _kinds(schema)) and "object" not in kinds:
            return Nothing(f"`{there}` is {' or '.join(kinds)}, which has no `{name}`", None)
        known = schema.get("properties")
        if not isinstance(known, Mapping):
            return None
        if name not in known:
            if not known or _is_open(schema) or given is not None or name in _list(schema.get("required")):
                return None
            # Others put a word such as `output` before the names of what a step gave back.
            superfluous = path[place : place + 1] and path[place] in known
            without = f"Write `{'.'.join((there, *path[place:]))}`." if superfluous else None
            meant = without or did_you_mean(name, known) or f"{there_are} {', '.join(f'`{each}`' for each in known)}."
            return Nothing(f"`{there}` {has_no} `{name}`", meant)
        schema, there = known[name], f"{there}.{name}"
    return schema


_ANYTHING = frozenset(
    ("$ref", "$dynamicRef", "anyOf", "oneOf", "allOf", "if", "then", "else", "dependentSchemas", "patternProperties")
)
"""Keywords of JSON Schema that are not followed here."""


def _kinds(schema: object) -> list[str]:
    """The types that a schema allows; empty where it does not say, or says it with keywords that are not followed."""
    if not isinstance(schema, Mapping) or not _ANYTHING.isdisjoint(schema):
        return []
    kinds = schema.get("type")
    return [kinds] if isinstance(kinds, str) else [str(kind) for kind in _list(kinds)]


def _is_open(schema: Mapping[str, object]) -> bool:
    """True when a schema allows more than its properties; one that does not say is taken for closed."""
    return schema.get("additionalProperties", schema.get("unevaluatedProperties", False)) is not False


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def undeclared(given: Iterable[str], declared: Collection[str]) -> list[str]:
    """The names among `given` that the automation does not declare."""
    return [name for name in given if name not in declared]


def suggestion(names: Iterable[str], declared: Collection[str]) -> str:
    """Which inputs may be meant by names that the automation does not declare, and those there are."""
    meant = filter(None, (did_you_mean(name, declared) for name in names))
    there = f"Its inputs are {', '.join(f'`{name}`' for name in declared)}." if declared else "It has no inputs."
    return " ".join([*meant, there])


def _refers_outside(schema: object) -> bool:
    """True when a reference could make a validator read a file or the network."""
    if isinstance(schema, list):
        return any(_refers_outside(inner) for inner in schema)
    if not isinstance(schema, dict):
        return False
    targets = (schema.get(key) for key in ("$ref", "$dynamicRef"))
    if any(isinstance(target, str) and not target.startswith("#") for target in targets):
        return True
    return any(_refers_outside(inner) for inner in schema.values())
