"""A text as Airflow may keep and show it, whatever the document holds that it was published in."""

from __future__ import annotations

import re

from muster.redaction import redact

_UNKEPT = re.compile(r"[\x00\ud800-\udfff]")
"""What PostgreSQL takes in no text: one such character rolls back all Dags that are registered with it."""


def shown(text: str) -> str:
    """The text without secrets, and without characters that Airflow's database refuses."""
    return _UNKEPT.sub("\N{REPLACEMENT CHARACTER}", redact(text))
