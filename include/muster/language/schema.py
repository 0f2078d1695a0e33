"""JSON Schemas of the files a person writes, for editors and pre-commit, from the models themselves."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from muster.agents.spec import AgentFile
from muster.language.automation import Automation, FolderDefaults

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def automation_schema() -> dict[str, object]:
    """The schema of `automations/**/*.yaml`."""
    schema = _schema(Automation, "An automation of Muster")
    schema["$defs"]["PartialStep"] = _partial_step(schema)
    # A file that extends another one need not say everything.
    complete, partial = schema["properties"].pop("steps"), {"$ref": "#/$defs/PartialStep"}
    schema["properties"]["steps"] = {"description": complete["description"]}
    schema["required"] = ["automation"]
    schema["if"] = {"required": ["extends"]}
    schema["then"] = {"properties": {"steps": {"type": "array", "items": partial}}}
    schema["else"] = {"properties": {"steps": complete}, "required": ["steps"]}
    return schema


def agents_schema() -> dict[str, object]:
    """The schema of `agents/*.yaml`."""
    return _schema(AgentFile, "Agents of Muster")


def defaults_schema() -> dict[str, object]:
    """The schema of `automations/**/_defaults.yaml`."""
    return _schema(FolderDefaults, "Defaults of a folder of automations of Muster")


SCHEMAS = {
    "automation.schema.json": automation_schema,
    "agents.schema.json": agents_schema,
    "defaults.schema.json": defaults_schema,
}
"""The schemas by the name of their file."""


def as_text(schema: dict[str, object]) -> str:
    """A schema as it is written to a file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    tidied = _tidy(model.model_json_schema(by_alias=True, mode="validation"), is_schema=True)
    return {"$schema": DIALECT, "title": title, **tidied}


def _tidy(value: object, *, is_schema: bool) -> Any:
    """The schema without what only repeats a key's name or says that nothing is the default."""
    if isinstance(value, list):
        return [_tidy(inner, is_schema=True) for inner in value]
    if not isinstance(value, dict):
        return value
    if not is_schema:
        return {name: _tidy(inner, is_schema=True) for name, inner in value.items()}
    result: dict[str, object] = {}
    for key, inner in value.items():
        if key == "title" or (key == "default" and (inner in (None, []) or isinstance(inner, dict))):
            continue
        if key == "description" and isinstance(inner, str):
            result[key] = " ".join(inner.split())
        elif key in ("default", "enum", "const", "examples"):
            result[key] = inner
        else:
            result[key] = _tidy(inner, is_schema=key not in ("properties", "$defs"))
    return result


def _partial_step(schema: dict[str, Any]) -> dict[str, object]:
    properties: dict[str, object] = {}
    for reference in schema["properties"]["steps"]["items"]["oneOf"]:
        properties |= schema["$defs"][reference["$ref"].rpartition("/")[2]]["properties"]
    return {
        "type": "object",
        "description": "What differs from the step of that id in the file this one extends, or a new step.",
        "properties": properties,
        "required": ["id"],
        "additionalProperties": False,
    }
