"""What Airflow shows on a Dag's page: the description, and the automation as it was written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from muster.redaction import redact
from muster_airflow.compiler.shown import shown

if TYPE_CHECKING:
    from muster.language.definition import Definition


def documentation(definition: Definition, source: str) -> str:
    """Markdown with the description, the version and the YAML."""
    parts = [
        shown(definition.description or ""),
        f"Version `{definition.hash[:12]}`",
        f"```yaml\n{redact(source.strip())}\n```",
    ]
    return "\n\n".join(part for part in parts if part)


class Written(NamedTuple):
    """An automation as a person wrote it."""

    version: str
    """How the definition's hash begins."""
    source: str


def as_written(doc_md: str) -> Written | None:
    """What `documentation` put into the text, without secrets; None when the text is another Dag's."""
    match = _WRITTEN.search(doc_md)
    # Redacted here too: Airflow keeps texts that earlier versions of this program wrote, and they may hold secrets.
    return Written(match[1], redact(match[2])) if match else None


_WRITTEN = re.compile(r"^Version `([0-9a-f]{12})`\n\n```yaml\n(.*)\n```\Z", re.DOTALL | re.MULTILINE)
