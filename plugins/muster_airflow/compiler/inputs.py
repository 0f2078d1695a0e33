"""`inputs` as Airflow params: the trigger form, and the check of what comes over REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param, ParamsDict

if TYPE_CHECKING:
    from muster.language.definition import Definition


def params(definition: Definition) -> ParamsDict:
    """One Airflow param for each input, carrying its JSON Schema."""
    return ParamsDict({name: _param(schema) for name, schema in definition.inputs.items()})


def _param(schema: dict[str, Any]) -> Param:
    rest = {key: value for key, value in schema.items() if key not in ("default", "description")}
    return Param(*([schema["default"]] if "default" in schema else []), description=schema.get("description"), **rest)
