"""What Airflow shows on a Dag's page: the description, and the automation as it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muster.language.definition import Definition


def documentation(definition: Definition, source: str) -> str:
    """Markdown with the description, the version and the YAML."""
    parts = [
        definition.description or "",
        f"Version `{definition.hash[:12]}`",
        f"```yaml\n{source.strip()}\n```",
    ]
    return "\n\n".join(part for part in parts if part)
