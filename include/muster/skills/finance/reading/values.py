"""Conventions of single values that the syntaxes share."""

from __future__ import annotations

import re

_PLACEHOLDERS = frozenset({"na", "n/a", "none", "-", ".", "dummy", "dummywert"})


def account(value: str | None) -> str | None:
    """An account number as machines write it: without the spaces people put in, an IBAN in capitals."""
    if value is None:
        return None
    plain = re.sub(r"\s+", "", value)
    return plain.upper() if re.match(r"[A-Za-z]{2}\d{2}", plain) else plain


def without_placeholder(value: str | None) -> str | None:
    """None for what is written where a syntax demands a reference and there is none, such as `NA`."""
    return None if value is not None and value.lower() in _PLACEHOLDERS else value
