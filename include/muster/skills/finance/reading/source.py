"""Where an invoice's bytes come from."""

from __future__ import annotations

from muster.documents import DocumentRefused, Documents, DocumentTooLarge
from muster.errors import SetAside
from muster.findings import Finding

MAX_BYTES = 20 * 1024 * 1024
"""Largest content that a document may unpack to."""


def refusal(rule: str, message: str, *, path: str | None = None, remedy: str | None = None) -> SetAside:
    """The error for a file that cannot be read, with its one finding."""
    return SetAside(message, [Finding(rule=rule, message=message, path=path)], remedy=remedy)


def content_of(uri: str, documents: Documents) -> bytes:
    """The bytes of a file, given by its path or `file://` URI.

    Raises:
        SetAside: it may not be read or is not there, is empty or too large.
    """
    try:
        data = documents.read(uri)
    except DocumentRefused as error:
        raise refusal("MU-FILE-REFUSED", error.message, remedy=error.remedy) from None
    except DocumentTooLarge as error:
        raise refusal("MU-FILE-TOO-LARGE", error.message) from None
    if not data.strip():
        raise refusal("MU-FILE-EMPTY", f"{uri} is empty.")
    return data
