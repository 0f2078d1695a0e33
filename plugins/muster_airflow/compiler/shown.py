"""A text as Airflow may keep and show it, whatever the document holds that it was published in."""

from __future__ import annotations

from muster.redaction import redact
from muster_airflow.storable import storable_text


def shown(text: str) -> str:
    """The text without secrets, and without characters that Airflow's database refuses.

    One such character rolls back all Dags that are registered with it.
    """
    return storable_text(redact(text))
