"""`inputs` as Airflow params: the trigger form, and the check of what comes over REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

if TYPE_CHECKING:
    from muster.language.definition import Definition


def params(definition: Definition) -> dict[str, Param]:
    """One Airflow param for each input, carrying its JSON Schema."""
    return {name: _param(schema) for name, schema in definition.inputs.items()}


def _param(schema: dict[str, Any]) -> Param:
    rest = dict(schema)
    default = [rest.pop("default")] if "default" in rest else []
    return Param(*default, **rest)
