"""What Airflow's database can store of data, whatever document the data is from."""

from __future__ import annotations

import re
from typing import Any

_UNKEPT = re.compile(r"[\x00\ud800-\udfff]")
"""What PostgreSQL takes in no text, nor escaped in JSONB: NUL, and half a surrogate pair."""


def storable_text(text: str) -> str:
    """The text with a mark in the place of each character that Airflow's database refuses."""
    return _UNKEPT.sub("\N{REPLACEMENT CHARACTER}", text)


def storable(value: Any) -> Any:
    """JSON-ready data with all texts in it storable, names too."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, dict):
        return {storable(name): storable(inner) for name, inner in value.items()}
    return [storable(inner) for inner in value] if isinstance(value, list | tuple) else value
